//! Which files a path with wildcards names.
//!
//! `*` and `?` and `[…]` match within a name, `**` any number of folders. Names that begin with a
//! dot are matched only by a pattern that begins with one.

use std::io;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};
use thalweg_core::env::Disk;
use thalweg_core::error::{Error, Result};

pub(super) const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// A path, some names of which may hold wildcards.
#[derive(Clone, Debug)]
pub(super) struct PathPattern {
    // The folder, or the file, above the first wildcard.
    base: PathBuf,
    names: Vec<NamePattern>,
}

#[derive(Clone, Debug)]
enum NamePattern {
    One(Pattern),
    AnyFolders,
}

impl PathPattern {
    /// # Errors
    ///
    /// `Invalid` when it is empty or a wildcard is malformed.
    pub(super) fn parse(text: &str) -> Result<Self> {
        if text.trim().is_empty() {
            return Err(Error::invalid("the path of the files is empty"));
        }
        let mut base = PathBuf::new();
        let mut names = Vec::new();
        let rooted = text.starts_with('/');
        if rooted {
            base.push("/");
        }
        for name in text.split('/').filter(|name| !name.is_empty()) {
            if name == "**" {
                names.push(NamePattern::AnyFolders);
            } else if names.is_empty() && !name.contains(['*', '?', '[']) {
                base.push(name);
            } else {
                let pattern = Pattern::new(name).map_err(|error| {
                    Error::invalid(format!("`{name}` is no pattern for names of files"))
                        .with_source(error)
                })?;
                names.push(NamePattern::One(pattern));
            }
        }
        if base.as_os_str().is_empty() {
            base.push(".");
        }
        Ok(Self { base, names })
    }

    /// Every path that matches, sorted. Folders may be among them, and without wildcards a file
    /// that does not exist.
    pub(super) fn expand(&self, disk: &dyn Disk) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        walk(disk, &self.base, &self.names, &mut found)?;
        found.sort();
        found.dedup();
        Ok(found)
    }
}

fn walk(
    disk: &dyn Disk,
    path: &Path,
    names: &[NamePattern],
    found: &mut Vec<PathBuf>,
) -> io::Result<()> {
    let Some((name, below)) = names.split_first() else {
        found.push(path.to_owned());
        return Ok(());
    };
    let entries = match disk.list(path) {
        Ok(entries) => entries,
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotADirectory | io::ErrorKind::NotFound) =>
        {
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    let entries = entries.iter().filter_map(|entry| entry.file_name());
    match name {
        NamePattern::One(pattern) => {
            for entry in entries {
                if entry.to_str().is_some_and(|entry| pattern.matches_with(entry, OPTIONS)) {
                    walk(disk, &path.join(entry), below, found)?;
                }
            }
        }
        NamePattern::AnyFolders => {
            walk(disk, path, below, found)?;
            for entry in entries {
                if entry.to_str().is_some_and(|entry| !entry.starts_with('.')) {
                    walk(disk, &path.join(entry), names, found)?;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use thalweg_sim::MemDisk;

    use super::*;

    #[test]
    fn wildcards_match_names_and_folders() {
        check("/d/a.csv", &["/d/a.csv"]);
        check("/d/*.csv", &["/d/a.csv", "/d/b.csv"]);
        check("/d/?.csv", &["/d/a.csv", "/d/b.csv"]);
        check("/d/[b-d].*", &["/d/b.csv"]);
        check("/d/*/*.csv", &["/d/x/c.csv"]);
        check("/d/**/*.csv", &["/d/a.csv", "/d/b.csv", "/d/x/c.csv", "/d/x/y/d.csv"]);
        check("/d/x/**", &["/d/x", "/d/x/c.csv", "/d/x/y", "/d/x/y/d.csv"]);
        check("/d/.*.csv", &["/d/.hidden.csv"]);
        check("/nowhere/*.csv", &[]);
    }

    #[track_caller]
    fn check(pattern: &str, expected: &[&str]) {
        let disk = MemDisk::new(0);
        disk.create_dir_all(Path::new("/d/x/y")).expect("a folder");
        for file in ["a.csv", "b.csv", ".hidden.csv", "x/c.csv", "x/y/d.csv", "e.txt"] {
            disk.open(&Path::new("/d").join(file), true).expect("a file");
        }
        let found = PathPattern::parse(pattern).expect("a pattern").expand(&disk).expect("a list");
        let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
        assert_eq!(found, expected, "{pattern}");
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        assert!(PathPattern::parse(" ").is_err());
        assert!(PathPattern::parse("/d/[a.csv").is_err());
    }
}
