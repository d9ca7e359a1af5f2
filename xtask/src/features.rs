//! The feature list: what thalweg shall do, and the tests that prove it does.
//!
//! `tests/features.toml` has a `[[feature]]` for each row, in order:
//!
//! ```toml
//! [[feature]]
//! id     = "L1"
//! group  = "Log"                     # the heading it stands under
//! what   = "embedded durable log"    # the whole capability
//! tests  = ["crates/log/src/tests/recovery.rs::a_torn_tail_is_cut"]
//! proven = "group commit, recovery"  # only if the tests prove less than the whole
//! ```
//!
//! A row without `tests` is not built. `docs/features.md` is made from it.

use std::fmt::Write as _;

use toml::{Table, Value};

use crate::tree::Tree;

/// The list.
pub(crate) const LIST: &str = "tests/features.toml";

/// The page made from it.
pub(crate) const PAGE: &str = "docs/features.md";

/// A row.
pub(crate) struct Feature {
    /// Short name, such as `L1`.
    pub id: String,
    group: String,
    what: String,
    /// Tests as `<file>::<name>`.
    pub tests: Vec<String>,
    proven: Option<String>,
}

/// Reads the list.
pub(crate) fn parse(text: &str) -> Result<Vec<Feature>, String> {
    let list: Table = text.parse().map_err(|error: toml::de::Error| error.message().to_owned())?;
    let rows = list.get("feature").and_then(Value::as_array);
    let rows = rows.ok_or("there is no [[feature]]")?;
    let mut features: Vec<Feature> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let feature = parse_row(row).map_err(|reason| format!("row {}: {reason}", index + 1))?;
        if features.iter().any(|other| other.id == feature.id) {
            return Err(format!("`{}` is there twice", feature.id));
        }
        features.push(feature);
    }
    Ok(features)
}

fn parse_row(row: &Value) -> Result<Feature, String> {
    let row = row.as_table().ok_or("is no table")?;
    let known = ["id", "group", "what", "tests", "proven"];
    if let Some(key) = row.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(format!("`{key}` is none of {}", known.join(", ")));
    }
    let text = |key: &str| row.get(key).and_then(Value::as_str).map(str::to_owned);
    let required = |key: &str| text(key).ok_or(format!("`{key}` is missing"));
    let tests = row.get("tests").and_then(Value::as_array).into_iter().flatten();
    let feature = Feature {
        id: required("id")?,
        group: required("group")?,
        what: required("what")?,
        tests: tests.filter_map(Value::as_str).map(str::to_owned).collect(),
        proven: text("proven"),
    };
    match (feature.proven.is_some(), feature.tests.is_empty()) {
        (true, true) => Err(format!("`{}` is proven in part, but by no test", feature.id)),
        _ => Ok(feature),
    }
}

/// Whether a test exists: a function of a Rust file, or a title in a file of the screen's.
pub(crate) fn is_there(tree: &Tree, test: &str) -> bool {
    let Some((path, name)) = test.split_once("::") else { return false };
    let Some(text) = tree.text(path) else { return false };
    if path.ends_with(".rs") {
        text.contains(&format!("fn {name}("))
    } else {
        ['\'', '"', '`'].iter().any(|quote| text.contains(&format!("{quote}{name}{quote}")))
    }
}

/// The page.
pub(crate) fn page(features: &[Feature]) -> String {
    let whole = features.iter().filter(|it| !it.tests.is_empty() && it.proven.is_none()).count();
    let part = features.iter().filter(|it| it.proven.is_some()).count();
    let mut page = format!(
        "# Features\n\nWhat thalweg shall do, and the tests that prove it does: of {} rows {whole} \
         are proven whole and {part} in part. Made from `{LIST}` by `cargo xtask docs`.\n",
        features.len()
    );
    let mut group = "";
    for feature in features {
        if feature.group != group {
            group = &feature.group;
            // Writing to a string cannot fail.
            let _ = write!(page, "\n## {group}\n\n| | capability | proven by |\n|---|---|---|\n");
        }
        let tests: Vec<String> = feature.tests.iter().map(|test| shown(test)).collect();
        let proof = match (&feature.proven, tests.is_empty()) {
            (_, true) => "not yet".to_owned(),
            (None, false) => tests.join(", "),
            (Some(proven), false) => format!("in part: {proven}. {}", tests.join(", ")),
        };
        let cells = [&feature.id, &feature.what, &proof].map(|cell| cell.replace('|', "\\|"));
        let _ = writeln!(page, "| {} |", cells.join(" | "));
    }
    page
}

/// A test as a link to its file.
fn shown(test: &str) -> String {
    let (path, name) = test.split_once("::").unwrap_or((test, test));
    format!("[{name}](../{path})")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = "[[feature]]\nid = \"L1\"\ngroup = \"Log\"\nwhat = \"a log\"\n";

    fn check(more: &str, expected: Result<&str, &str>) {
        let page = parse(&format!("{ROW}{more}")).map(|features| page(&features));
        let row = page.as_deref().map(|page| page.lines().last().unwrap_or_default());
        assert_eq!(row.map_err(ToString::to_string), expected.map_err(ToString::to_string));
    }

    #[test]
    fn a_row_says_what_proves_it() {
        check("", Ok("| L1 | a log | not yet |"));
        check("tests = [\"a/b.rs::c\"]", Ok("| L1 | a log | [c](../a/b.rs) |"));
        check(
            "tests = [\"a.rs::b\"]\nproven = \"x | y\"",
            Ok("| L1 | a log | in part: x \\| y. [b](../a.rs) |"),
        );
    }

    #[test]
    fn what_is_wrong_with_a_row_is_named() {
        check("proven = \"all\"", Err("row 1: `L1` is proven in part, but by no test"));
        check("test = []", Err("row 1: `test` is none of id, group, what, tests, proven"));
        check("[[feature]]\nid = \"L2\"", Err("row 2: `group` is missing"));
        check(ROW, Err("`L1` is there twice"));
    }

    #[test]
    fn a_test_is_a_function_or_a_title() {
        let tree = Tree::from([("a.rs", "fn works() {}"), ("b.spec.ts", "test('shows it', …)")]);
        assert!(is_there(&tree, "a.rs::works"));
        assert!(is_there(&tree, "b.spec.ts::shows it"));
        for missing in ["a.rs::work", "c.rs::works", "b.spec.ts::shows", "a.rs"] {
            assert!(!is_there(&tree, missing), "{missing}");
        }
    }
}
