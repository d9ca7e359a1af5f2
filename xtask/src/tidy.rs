//! What the compiler does not see, held by reading the repository as text.
//!
//! Each check is a function of a [`Tree`] to its findings; a finding says how to mend it. All of
//! them are shown at once. The files below [`FIXTURES`] are input of tests, wrong on purpose.

mod documents;
mod manifests;
mod modules;
mod sources;

use std::fmt;
use std::path::Path;

use crate::features;
use crate::tree::Tree;

/// Folders whose files nobody reads as code.
const FIXTURES: [&str; 2] = ["tests/check/", "tests/formats/"];

/// Something to mend.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// The file, with a line where there is one: `crates/log/src/index.rs:12`.
    place: String,
    /// What is wrong, as a clause.
    what: String,
    /// What to do about it, as a sentence.
    fix: String,
}

impl Finding {
    fn new(place: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into(), fix: fix.into() }
    }

    /// At the line with this index, counted from 0.
    fn at(path: &str, line: usize, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(format!("{path}:{}", line + 1), what, fix)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}\n    {}", self.place, self.what, self.fix)
    }
}

/// Every check, in the order of what they look at.
const CHECKS: [fn(&Tree) -> Vec<Finding>; 13] = [
    manifests::star,
    manifests::owners,
    manifests::shared_settings,
    manifests::one_version,
    modules::declared,
    modules::ordered,
    sources::contracts,
    sources::lengths,
    sources::left_open,
    sources::unwraps,
    sources::reasons,
    documents::links,
    documents::foreign_places,
];

/// Reads the repository and prints what is found.
pub(crate) fn run() -> Result<(), String> {
    let mut tree = Tree::read()?;
    tree.files.retain(|path, _| !FIXTURES.iter().any(|folder| path.starts_with(folder)));
    let mut findings: Vec<Finding> = CHECKS.iter().flat_map(|check| check(&tree)).collect();
    findings.extend(proofs(&tree));
    for finding in &findings {
        eprintln!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        1 => Err("tidy: 1 finding".to_owned()),
        count => Err(format!("tidy: {count} findings")),
    }
}

/// The feature list: it can be read, the tests that it names exist, its page is fresh.
fn proofs(tree: &Tree) -> Vec<Finding> {
    let Some(list) = tree.text(features::LIST) else {
        return vec![Finding::new(features::LIST, "is missing", "Bring it back.")];
    };
    let list = match features::parse(list) {
        Ok(list) => list,
        Err(reason) => return vec![Finding::new(features::LIST, reason, "Mend the row.")],
    };
    let mut findings: Vec<Finding> = list
        .iter()
        .flat_map(|feature| feature.tests.iter().map(move |test| (feature, test)))
        .filter(|(_, test)| !features::is_there(tree, test))
        .map(|(feature, test)| {
            let what = format!("{} names `{test}`, which does not exist", feature.id);
            Finding::new(features::LIST, what, "Name the test by its new name, or take it out.")
        })
        .collect();
    if tree.text(features::PAGE) != Some(features::page(&list).as_str()) {
        let fix = "Run `cargo xtask docs`, and read the difference.";
        findings.push(Finding::new(features::PAGE, "is not what the list gives", fix));
    }
    findings
}

/// The name of a path's last part, without its ending.
fn stem(path: &str) -> &str {
    Path::new(path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default()
}

/// The folder that a path stands in, without a `/` at its end.
fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
/// The places that a check finds in some files.
fn places<const N: usize>(
    check: fn(&Tree) -> Vec<Finding>,
    files: [(&str, &str); N],
) -> Vec<String> {
    check(&Tree::from(files)).into_iter().map(|finding| finding.place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_where_what_and_how_to_mend_it() {
        let finding = Finding::at("a.rs", 1, "is long", "Split it.");
        assert_eq!(finding.to_string(), "a.rs:2: is long\n    Split it.");
    }

    #[test]
    fn the_feature_list_names_tests_that_exist_and_its_page_is_fresh() {
        let list = "[[feature]]\nid = \"L1\"\ngroup = \"Log\"\nwhat = \"a log\"\ntests = [\"t.rs::works\"]\n";
        let parsed = features::parse(list).expect("a list");
        let page = features::page(&parsed);
        let found = |files: Vec<(&str, &str)>| {
            let files = files.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned()));
            let tree = Tree { files: files.collect(), ..Tree::default() };
            proofs(&tree).into_iter().map(|finding| finding.place).collect::<Vec<_>>()
        };
        let test = ("t.rs", "fn works() {}");
        assert!(found(vec![(features::LIST, list), (features::PAGE, &page), test]).is_empty());
        assert_eq!(found(vec![(features::LIST, list), test]), [features::PAGE]);
        assert_eq!(found(vec![(features::LIST, list), (features::PAGE, &page)]), [features::LIST]);
        assert_eq!(found(vec![]), [features::LIST]);
        assert_eq!(found(vec![(features::LIST, "[[feature]]\n")]), [features::LIST]);
    }
}
