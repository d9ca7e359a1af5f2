//! Pages and everything else: links that lead somewhere, and nothing of one machine.

use super::{Finding, folder};
use crate::tree::Tree;

/// What stands for one person's machine or company; written in pieces, as this file is read too.
const FOREIGN: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];

/// What a lock file of cargo says of a package from the public place; that of npm says nothing.
const PUBLIC: &str = "registry+https://github.com/rust-lang/";

/// A relative link of a page leads to a file or folder of the repository.
pub(super) fn links(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.ending(".md") {
        for (index, line) in text.lines().enumerate() {
            for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let target = target.split('#').next().unwrap_or_default();
                if target.is_empty() || target.contains("://") {
                    continue;
                }
                if !is_there(tree, &resolve(folder(path), target)) {
                    let what = format!("links to `{target}`, which does not exist");
                    findings.push(Finding::at(path, index, what, "Mend the link."));
                }
            }
        }
    }
    findings
}

/// No file names a folder of one machine, and no lock file a package of a private place.
pub(super) fn foreign_places(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in &tree.files {
        let is_lock = path.ends_with("Cargo.lock") || path.ends_with("package-lock.json");
        for (index, line) in text.lines().enumerate() {
            if let Some(word) = FOREIGN.iter().find(|word| line.contains(**word)) {
                let fix = "Make it relative, or read it from a variable.";
                findings.push(Finding::at(path, index, format!("names `{word}`"), fix));
            }
            let line = line.trim_start();
            let is_origin = line.starts_with("\"resolved\": ") || line.starts_with("source = ");
            if is_lock && is_origin && !line.contains(PUBLIC) {
                let fix = "Lock the package from the public registry.";
                findings.push(Finding::at(path, index, "has a package of another place", fix));
            }
        }
    }
    findings
}

/// `target` as seen from `folder`, without `.` and `..`.
fn resolve(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// Whether a path is a file, or a folder with files.
fn is_there(tree: &Tree, path: &str) -> bool {
    let inside = format!("{path}/");
    path.is_empty()
        || tree.files.contains_key(path)
        || tree.pictures.contains(path)
        || tree.files.keys().any(|file| file.starts_with(&inside))
}

#[cfg(test)]
mod tests {
    use super::super::places;
    use super::*;

    #[test]
    fn links_lead_somewhere() {
        let page = "docs/guide/a.md";
        let other = ("docs/b.md", "");
        for good in
            ["[b](../b.md#part)", "[root](../../docs/)", "[web](https://a.b/c)", "[here](#x)"]
        {
            assert!(places(links, [(page, good), other]).is_empty(), "{good}");
        }
        assert_eq!(
            places(links, [(page, "\n[b](../b.md) [c](c.md)"), other]),
            ["docs/guide/a.md:2"]
        );
    }

    #[test]
    fn nothing_is_of_one_machine() {
        for word in FOREIGN {
            assert_eq!(places(foreign_places, [("a.sh", word)]), ["a.sh:1"], "{word}");
        }
        let public = format!("source = \"{PUBLIC}an-index\"");
        let private = "\"resolved\": \"https://mirror.example/a-1.tgz\",";
        assert!(places(foreign_places, [("Cargo.lock", public.as_str())]).is_empty());
        assert_eq!(places(foreign_places, [("ui/package-lock.json", private)]).len(), 1);
        assert!(places(foreign_places, [("ui/package.json", private)]).is_empty());
    }
}
