//! The repository as chores see it: the text of every file that git knows or would add.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository's folder.
pub(crate) fn root() -> PathBuf {
    // Asked for as it runs: checkouts may share a target folder, and so this program.
    let own =
        std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs this, and says where it is");
    Path::new(&own).parent().expect("xtask is a folder of the repository").to_owned()
}

/// Files by path from the root, with `/`.
#[derive(Default)]
pub(crate) struct Tree {
    /// Text of each; files that are no UTF-8 are left out.
    pub files: BTreeMap<String, String>,
    /// Paths of those left out, such as pictures.
    pub pictures: BTreeSet<String>,
}

impl Tree {
    /// Reads the repository: tracked files, and new ones that are not ignored.
    pub(crate) fn read() -> Result<Self, String> {
        let root = root();
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(&root)
            .output()
            .map_err(|error| format!("`git` cannot be run: {error}"))?;
        if !listed.status.success() {
            return Err(format!("git: {}", String::from_utf8_lossy(&listed.stderr).trim()));
        }
        let (mut files, mut pictures) = (BTreeMap::new(), BTreeSet::new());
        for path in listed.stdout.split(|byte| *byte == 0) {
            let Ok(path) = std::str::from_utf8(path) else { continue };
            // A file that is gone is still listed until that is committed.
            let Ok(bytes) = fs::read(root.join(path)) else { continue };
            match String::from_utf8(bytes) {
                Ok(text) => drop(files.insert(path.to_owned(), text)),
                Err(_) => drop(pictures.insert(path.to_owned())),
            }
        }
        Ok(Self { files, pictures })
    }

    /// The Rust files.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.ending(".rs")
    }

    /// The files whose path ends so.
    pub(crate) fn ending<'a>(&'a self, end: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let files = self.files.iter().filter(move |(path, _)| path.ends_with(end));
        files.map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The text of a file.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Tree {
    fn from(files: [(&str, &str); N]) -> Self {
        let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
        Self { files: files.into(), pictures: BTreeSet::new() }
    }
}
