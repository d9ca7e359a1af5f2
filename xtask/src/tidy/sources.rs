//! Rust files: contract, length, nothing left open, a reason for each exception.
//!
//! What is looked for is text, so a file that holds it for another purpose (this one) writes it in
//! pieces.

use super::Finding;
use crate::tree::Tree;

/// Lines beyond which a file must be split.
const LINES_MAX: usize = 800;

/// Lines beyond which a file needs a reason.
const LINES_AIM: usize = 500;

/// Files beyond [`LINES_AIM`], and why they are one file.
const LONG: [(&str, &str); 12] = [
    (
        "crates/connect/src/codecs/columns.rs",
        "the casts from carried to declared types, side by side",
    ),
    ("crates/connect/tests/sources/file.rs", "cases of one input, told by one check"),
    (
        "crates/project/src/kinds/source/lower.rs",
        "every connector and format of a source, side by side",
    ),
    ("crates/stream/src/delivery.rs", "one protocol between a pipeline and its sink"),
    ("crates/stream/src/engine.rs", "one way from a statement to rows, with all it can read"),
    ("crates/stream/src/pipeline/run.rs", "one life of a pipeline is read from start to end"),
    ("crates/stream/src/program.rs", "one walk over a plan: a node of it, an operator"),
    ("crates/stream/src/sql/rewrite.rs", "the additions to SQL share one walk over a statement"),
    ("crates/thalweg/src/app/pipelines.rs", "what each pipeline of a project is made of"),
    ("crates/thalweg/src/app/system.rs", "the columns of each system table beside what fills it"),
    ("crates/thalweg/src/check.rs", "the order in which a project is typed"),
    ("crates/thalweg/src/cli.rs", "every verb and option in one list"),
];

/// What is not committed.
const LEFT_OPEN: [(&str, &str); 6] = [
    (concat!("todo", "!("), "Write it, or refuse the case with an error."),
    (concat!("unimplemented", "!("), "Write it, or refuse the case with an error."),
    (concat!("dbg", "!("), "Take it out."),
    (concat!("#[igno", "re"), "A test runs or goes; a slow one gets a count that `deep` raises."),
    (concat!("FIX", "ME"), "Mend it, or write an issue."),
    (concat!("thread::sl", "eep("), "Wait for a condition with a bound."),
];

/// A file opens with what it is.
pub(super) fn contracts(tree: &Tree) -> Vec<Finding> {
    tree.rust()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(path, _)| {
            let fix = "Say in its first line what it is: `//! …` (style 1).";
            Finding::at(path, 0, "does not open with its contract", fix)
        })
        .collect()
}

/// A file is short enough to be read at once, or says why not.
pub(super) fn lengths(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        let lines = text.lines().count();
        let reason = LONG.iter().find(|(long, _)| *long == path);
        let (what, fix) = if lines > LINES_MAX {
            (format!("has {lines} lines"), "Make it a folder of files with clear names (style 3).")
        } else if lines > LINES_AIM && reason.is_none() {
            let fix = "Split it, or give the reason in `LONG` of tidy's sources.rs.";
            (format!("has {lines} lines, and no reason"), fix)
        } else if lines <= LINES_AIM && reason.is_some() {
            (format!("has only {lines} lines"), "Take it out of `LONG` in tidy's sources.rs.")
        } else {
            continue;
        };
        findings.push(Finding::new(path, what, fix));
    }
    findings
}

/// Nothing is left for later.
pub(super) fn left_open(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        for (index, line) in text.lines().enumerate() {
            for (word, fix) in LEFT_OPEN {
                if line.contains(word) {
                    findings.push(Finding::at(path, index, format!("has `{word}`"), fix));
                }
            }
        }
    }
    findings
}

/// Outside tests nothing is unwrapped without a word why that holds.
pub(super) fn unwraps(tree: &Tree) -> Vec<Finding> {
    let fix = "Handle it, or say why it holds: `expect(\"…\")`.";
    let mut findings = Vec::new();
    for (path, text) in tree.rust().filter(|(path, _)| !is_test(path)) {
        let lines: Vec<&str> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            if is_tests_module(&lines, index) {
                break;
            }
            let is_comment = line.trim_start().starts_with("//");
            if !is_comment && line.contains(concat!(".unw", "rap()")) {
                findings.push(Finding::at(path, index, "unwraps", fix));
            }
        }
    }
    findings
}

/// An exception from a lint says why.
pub(super) fn reasons(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        let lines: Vec<&str> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let line = line.trim_start();
            let starts = ["#[expect(", "#![expect(", "#[allow(", "#![allow("];
            if !starts.iter().any(|start| line.starts_with(start)) {
                continue;
            }
            let rest = &lines[index..];
            let end = rest.iter().position(|line| line.trim_end().ends_with(")]"));
            let attribute = &rest[..=end.unwrap_or(0)];
            if !attribute.iter().any(|line| line.contains("reason = \"")) {
                let fix = "Add `reason = \"…\"`.";
                findings.push(Finding::at(path, index, "excepts itself without a reason", fix));
            }
        }
    }
    findings
}

/// Whether all of a file is test.
fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs") || path.ends_with("/testing.rs")
}

/// Whether the tests of a file begin in this line: they stand at its end.
fn is_tests_module(lines: &[&str], index: usize) -> bool {
    let mut next = lines[index + 1..].iter().skip_while(|line| line.starts_with("#["));
    lines[index].starts_with("#[cfg(test)]") && next.next().is_some_and(|it| it.ends_with('{'))
}

#[cfg(test)]
mod tests {
    use super::super::places;
    use super::*;

    #[test]
    fn the_first_line_is_the_contract() {
        assert!(places(contracts, [("a.rs", "//! What it is.\n")]).is_empty());
        assert_eq!(places(contracts, [("a.rs", "use b;\n//! Late.\n")]), ["a.rs:1"]);
        assert_eq!(places(contracts, [("a.rs", "")]), ["a.rs:1"]);
    }

    #[test]
    fn a_long_file_has_a_reason_and_a_short_one_none() {
        let lines = |count: usize| "\n".repeat(count);
        let check = |path: &str, count: usize| places(lengths, [(path, &lines(count))]).len();
        let (excepted, _) = LONG[0];
        assert_eq!(check("a.rs", LINES_AIM), 0);
        assert_eq!(check("a.rs", LINES_AIM + 1), 1);
        assert_eq!(check(excepted, LINES_AIM + 1), 0);
        assert_eq!(check(excepted, LINES_MAX + 1), 1);
        assert_eq!(check(excepted, LINES_AIM), 1);
    }

    #[test]
    fn what_is_left_open_is_found() {
        for (word, _) in LEFT_OPEN {
            let text = format!("fn a() {{\n    {word}\n}}\n");
            assert_eq!(places(left_open, [("a.rs", &text)]), ["a.rs:2"], "{word}");
        }
    }

    #[test]
    fn tests_may_unwrap() {
        let line = concat!("    a.unw", "rap();\n");
        let tests = format!("#[cfg(test)]\nmod tests {{\n{line}}}\n");
        let before = format!("{line}{tests}");
        let declared = format!("#[cfg(test)]\nmod tests;\n{line}");
        assert!(places(unwraps, [("crates/a/src/b.rs", &tests)]).is_empty());
        assert!(places(unwraps, [("crates/a/src/tests.rs", line)]).is_empty());
        assert!(places(unwraps, [("crates/a/tests/it/b.rs", line)]).is_empty());
        assert!(places(unwraps, [("a.rs", &format!("//{line}"))]).is_empty());
        let excepted = tests.replace("mod", "#[expect(a, reason = \"b\")]\nmod");
        assert!(places(unwraps, [("a.rs", &excepted)]).is_empty());
        assert_eq!(places(unwraps, [("a.rs", &before)]), ["a.rs:1"]);
        assert_eq!(places(unwraps, [("a.rs", &declared)]), ["a.rs:3"]);
    }

    #[test]
    fn an_exception_has_a_reason() {
        let check = |text: &str| places(reasons, [("a.rs", text)]).len();
        assert_eq!(check("#[expect(dead_code, reason = \"for the document\")]"), 0);
        assert_eq!(check("#[expect(\n    dead_code,\n    reason = \"it is\"\n)]"), 0);
        assert_eq!(check("#[allow(dead_code)]\n#[expect(x, reason = \"y\")]"), 1);
        assert_eq!(check("#![expect(\n    dead_code,\n)]"), 1);
    }
}
