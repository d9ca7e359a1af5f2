//! Modules: every file is declared, and lists that register things are in order.

use std::collections::BTreeSet;

use super::{Finding, folder, stem};
use crate::tree::Tree;

/// Files that list one component a line; each folder of their name holds one file a line.
const LISTS: [&str; 5] = [
    "crates/connect/src/codecs.rs",
    "crates/connect/src/presets.rs",
    "crates/connect/src/sinks.rs",
    "crates/connect/src/sources.rs",
    "crates/models/src/candidates.rs",
];

/// A file below `src/` or `tests/` that no module declares is not compiled, and tests nothing.
pub(super) fn declared(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, _) in tree.rust().filter(|(path, _)| is_module(path)) {
        let (name, home) = match stem(path) {
            "mod" => (stem(folder(path)), folder(folder(path))),
            name => (name, folder(path)),
        };
        let parents = [
            format!("{home}.rs"),
            format!("{home}/mod.rs"),
            format!("{home}/lib.rs"),
            format!("{home}/main.rs"),
        ];
        let is_declared = parents
            .iter()
            .filter_map(|parent| tree.text(parent))
            .any(|text| text.lines().any(|line| declares(line) == Some(name)));
        if !is_declared {
            let fix = format!("Add `mod {name};` to the file above it, or remove it.");
            findings.push(Finding::new(path, "belongs to no module", fix));
        }
    }
    findings
}

/// The modules of a list stand in the order of their names, and are the files of its folder.
pub(super) fn ordered(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for list in LISTS {
        let Some(text) = tree.text(list) else {
            let fix = "Take it out of `LISTS` in tidy's modules.rs.";
            findings.push(Finding::new(list, "is a list, but there is no such file", fix));
            continue;
        };
        let names: Vec<&str> = text.lines().filter_map(declares).collect();
        let inside = format!("{}/", list.trim_end_matches(".rs"));
        let files: BTreeSet<&str> = tree
            .rust()
            .filter_map(|(path, _)| path.strip_prefix(&inside))
            .map(|path| path.split('/').next().unwrap_or(path).trim_end_matches(".rs"))
            .collect();
        if !names.is_sorted() {
            let fix =
                format!("The order is {}.", files.iter().copied().collect::<Vec<_>>().join(", "));
            findings.push(Finding::new(list, "does not list its modules in order", fix));
        }
        let names: BTreeSet<&str> = names.into_iter().collect();
        for missing in names.symmetric_difference(&files) {
            let what = format!("and its folder differ by `{missing}`");
            findings.push(Finding::new(
                list,
                what,
                "List each file of the folder, and only those.",
            ));
        }
    }
    findings
}

/// Whether a file is a module: neither a root of a crate nor a program of its own.
fn is_module(path: &str) -> bool {
    if matches!(stem(path), "lib" | "main") || path.contains("/src/bin/") {
        return false;
    }
    // A file right below `tests` of a crate is a test binary.
    path.contains("/src/") || (path.contains("/tests/") && !folder(path).ends_with("/tests"))
}

/// The module that a line declares without a body.
fn declares(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(')')?.1.trim_start(),
        Some(rest) => rest.trim_start(),
        None => line,
    };
    line.strip_prefix("mod ")?.trim_end().strip_suffix(';')
}

#[cfg(test)]
mod tests {
    use super::super::places;
    use super::*;

    #[test]
    fn declarations_are_recognised() {
        assert_eq!(declares("mod a;"), Some("a"));
        assert_eq!(declares("    pub mod a;"), Some("a"));
        assert_eq!(declares("pub(crate) mod a;"), Some("a"));
        assert_eq!(declares("mod a {"), None);
        assert_eq!(declares("// mod a;"), None);
        assert_eq!(declares("modular;"), None);
    }

    #[test]
    fn a_file_is_declared_by_the_one_above_it() {
        let root = ("crates/a/src/lib.rs", "mod b;\npub mod f;\n");
        let b = ("crates/a/src/b.rs", "#[cfg(test)]\nmod tests;\n");
        let in_b = ("crates/a/src/b/tests.rs", "");
        let f = ("crates/a/src/f/mod.rs", "");
        let program = ("crates/a/tests/whole.rs", "");
        let suite = ("crates/a/tests/it/main.rs", "mod one;\n");
        let one = ("crates/a/tests/it/one.rs", "");
        assert!(places(declared, [root, b, in_b, f, program, suite, one]).is_empty());
        let stray = ("crates/a/src/b/stray.rs", "");
        let stray_test = ("crates/a/tests/it/two.rs", "");
        assert_eq!(
            places(declared, [root, b, f, stray, suite, stray_test]),
            [stray.0, stray_test.0]
        );
    }

    #[test]
    fn a_list_is_its_folder_in_order() {
        let tree = |list: &str, files: &[&str]| {
            let mut found: Vec<(String, String)> = LISTS
                .iter()
                .map(|path| (path.to_string(), String::new()))
                .chain(files.iter().map(|path| (path.to_string(), String::new())))
                .collect();
            found[0].1 = list.to_owned();
            ordered(&Tree { files: found.into_iter().collect(), ..Tree::default() }).len()
        };
        let (csv, json) =
            ("crates/connect/src/codecs/csv.rs", "crates/connect/src/codecs/json/scan.rs");
        assert_eq!(tree("pub mod csv;\nmod json;\n", &[csv, json]), 0);
        assert_eq!(tree("mod json;\npub mod csv;\n", &[csv, json]), 1);
        assert_eq!(tree("pub mod csv;\n", &[csv, json]), 1);
        assert_eq!(tree("pub mod csv;\nmod xml;\n", &[csv]), 1);
        assert_eq!(ordered(&Tree::from([])).len(), LISTS.len());
    }
}
