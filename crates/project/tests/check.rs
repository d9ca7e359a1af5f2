//! Projects as data: `tests/check/<case>/` holds a project and, in `expected.txt`, what
//! `thalweg check` says of it.
//!
//! `UPDATE_EXPECTED=1 cargo test -p thalweg-project` writes the files anew; read the difference.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use thalweg_core::problem::Severity;
use thalweg_project::{Loaded, Project, codes, explain, problems_json, reference, render};

/// Codes that the engine raises, over SQL.
const ENGINE: [&str; 8] = ["T0303", "T0304", "T0305", "T0306", "T0307", "T0313", "T0314", "T0315"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn cases() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("tests/check")).expect("the folder of cases");
    let mut cases: Vec<PathBuf> = entries.map(|entry| entry.expect("a case").path()).collect();
    cases.sort();
    cases
}

/// Loads a case; of the environment it sees only its own `.env`.
fn load(case: &Path) -> Loaded {
    Project::load(case, &|_| None)
}

#[test]
fn every_case_is_told_as_expected() {
    let mut wrong = Vec::new();
    for case in cases() {
        let loaded = load(&case);
        let found = render(&loaded.problems, &loaded.sources, false);
        let file = case.join("expected.txt");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&file, &found).expect("a case's expectation can be written");
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        if found != expected {
            wrong.push(format!("{}\n--- expected\n{expected}\n--- found\n{found}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_code_has_a_case_and_a_page() {
    let problems = cases().iter().flat_map(|case| load(case).problems).collect::<Vec<_>>();
    let found: BTreeSet<&str> = problems.iter().map(|problem| problem.code).collect();
    let expected: BTreeSet<&str> = codes().filter(|code| !ENGINE.contains(code)).collect();
    assert_eq!(found, expected);
    assert!(codes().all(|code| explain(code).is_some()));
}

#[test]
fn nine_mistakes_are_nine_problems_each_at_its_place() {
    let loaded = load(&root().join("tests/check/nine-mistakes"));
    let json = problems_json(&loaded.problems, &loaded.sources);
    let found: Vec<(String, u64, u64)> = json
        .as_array()
        .expect("an array")
        .iter()
        .map(|problem| {
            let number = |key: &str| problem[key].as_u64().expect("a number");
            let code = problem["code"].as_str().expect("a code").to_owned();
            (code, number("line"), number("column"))
        })
        .collect();
    // The file marks each mistake with the code it expects, at the column of the mistake.
    let text = fs::read_to_string(root().join("tests/check/nine-mistakes/thalweg.toml"));
    let text = text.expect("the case's file");
    let marked: Vec<(String, u64, u64)> = text
        .lines()
        .enumerate()
        .filter_map(|(line, text)| {
            let at = text.find("#^ T")?;
            let code = text[at + 3..].trim().to_owned();
            let column = text[..=at].chars().count() as u64 + 1;
            Some((code, line as u64, column))
        })
        .collect();
    assert_eq!(marked.len(), 9);
    assert_eq!(found, marked);
}

#[test]
fn the_example_has_no_problem_when_its_secrets_are_set() {
    let example = root().join("examples/market-lambda");
    let env_example = fs::read_to_string(example.join(".env.example")).expect(".env.example");
    let documented: BTreeSet<String> = env_example
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| Some(line.split_once('=')?.0.to_owned()))
        .collect();

    let bare = Project::load(&example, &|_| None);
    let missing: BTreeSet<String> = bare.secrets_missing.iter().cloned().collect();
    assert_eq!(missing, documented, "`.env.example` documents what the example reads");
    assert!(bare.broken.is_empty(), "a missing secret breaks no SQL");
    assert!(bare.problems.iter().all(|problem| problem.code == "T0401"));

    let set = |name: &str| documented.contains(name).then(|| format!("https://{name}.example"));
    let loaded = Project::load(&example, &set);
    assert_eq!(render(&loaded.problems, &loaded.sources, false), "");
    assert!(loaded.problems.iter().all(|problem| problem.severity != Severity::Error));
}

#[test]
fn the_reference_page_in_the_repository_is_fresh() {
    let file = root().join("docs/reference/project-file.md");
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&file, reference()).expect("the page can be written");
    }
    let page = fs::read_to_string(&file).unwrap_or_default();
    assert!(page == reference(), "docs/reference/project-file.md is old: run `cargo xtask docs`");
}
