//! `thalweg test`: every `[test.X]` of a project, in process; what differs, row by row.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use thalweg_core::Error;
use thalweg_core::env::{Clock, Disk as _};
use thalweg_core::problem::{Place as FilePlace, nearest};
use thalweg_log::OsDisk;
use thalweg_project::{Project, SourceMap, Test, TestRows, edit};

use super::place::Place;
use super::{Failure, load_checked};
use crate::cli::{Dir, Format, Globals, TestArgs};
use crate::trial::{self, Compared, Line, RowPlace, Side};

/// Rows shown round a difference that are as expected.
const CONTEXT: usize = 3;
/// Rows of one relation that are shown at most.
const LINES_MAX: usize = 100;
/// Widest value shown, in characters.
const WIDTH_MAX: usize = 40;

/// What came of a test.
struct Ran<'a> {
    test: &'a Test,
    took: Duration,
    compared: Result<Vec<Compared>, Error>,
}

impl Ran<'_> {
    fn has_passed(&self) -> bool {
        self.compared.as_ref().is_ok_and(|all| all.iter().all(Compared::is_same))
    }
}

pub(super) async fn run(globals: &Globals, args: TestArgs) -> Result<u8, Failure> {
    let (dir, names) = split(args.names, globals.project.is_some(), &|path| path.is_dir());
    let place = Place::new(globals, dir);
    // A test reaches nothing that a secret opens; what looks like one that is missing is not judged.
    let loaded = Project::load(&place.dir, &|_| Some("${unset}".to_owned()));
    let sources = loaded.sources.clone();
    let (project, checked) = load_checked(loaded, place.is_colored)?;
    let tests = chosen(&project, &names)?;
    let clock = Clock::system();
    let mut ran = Vec::with_capacity(tests.len());
    for test in tests {
        let began = clock.now();
        let mut compared = trial::run(&project, &checked, test).await;
        if args.update
            && let Ok(all) = &mut compared
        {
            update(&project.dir, test, all)?;
        }
        let result = Ran { test, took: clock.now().since(began), compared };
        if place.format != Some(Format::Json) {
            print(&result, &sources, args.update, place.is_quiet);
        }
        ran.push(result);
    }
    let failed = ran.iter().filter(|it| !it.has_passed()).count();
    let errors = ran.iter().filter(|it| it.compared.is_err()).count();
    if place.format == Some(Format::Json) {
        let all: Vec<Value> = ran.iter().map(|it| as_json(it, &sources)).collect();
        println!("{:#}", json!(all));
    } else if !place.is_quiet {
        match (ran.len(), failed) {
            (0, _) => eprintln!("the project has no tests"),
            (count, 0) => eprintln!("{count} passed"),
            (count, failed) if args.update => {
                let updated = failed - errors;
                eprintln!("{} passed, {updated} updated, {errors} failed", count - failed);
            }
            (count, failed) => eprintln!("{} passed, {failed} failed", count - failed),
        }
    }
    Ok(u8::from(if args.update { errors > 0 } else { failed > 0 }))
}

/// The folder, if the first word is one, and the names of tests.
fn split(
    mut words: Vec<String>,
    has_project: bool,
    is_folder: &dyn Fn(&Path) -> bool,
) -> (Dir, Vec<String>) {
    let first = words.first().map(PathBuf::from);
    match first.filter(|first| !has_project && is_folder(first)) {
        Some(dir) => {
            words.remove(0);
            (Dir { dir: Some(dir) }, words)
        }
        None => (Dir::default(), words),
    }
}

/// The tests of these names, all without any; in the order of the file.
fn chosen<'a>(project: &'a Project, names: &[String]) -> Result<Vec<&'a Test>, Failure> {
    let all = || project.tests.iter().map(|test| test.name.as_str());
    if let Some(wrong) = names.iter().find(|name| all().all(|known| known != *name)) {
        let error = Error::invalid(format!("no test `{wrong}`"));
        let error = match nearest(wrong, all()) {
            Some(near) => error.with_hint(format!("Did you mean `{near}`?")),
            None if project.tests.is_empty() => error.with_hint("The project has no tests."),
            None => {
                error.with_hint(format!("There are: {}.", all().collect::<Vec<_>>().join(", ")))
            }
        };
        return Err(Failure { error, code: 2 });
    }
    let is_chosen = |test: &&Test| names.is_empty() || names.contains(&test.name.value);
    Ok(project.tests.iter().filter(is_chosen).collect())
}

/// Writes what is there in the place of what is expected.
fn update(dir: &Path, test: &Test, compared: &[Compared]) -> Result<(), Error> {
    for one in compared.iter().filter(|one| !one.is_same()) {
        let (file, text) = match &one.expected {
            TestRows::File(path) => (dir.join(path.as_str()), edit::json_lines(&one.found)),
            TestRows::Inline { place, .. } => {
                let file = dir.join(place.file.as_path());
                let text = std::fs::read_to_string(&file).map_err(|error| {
                    Error::unavailable(format!("cannot read {}", file.display())).with_source(error)
                })?;
                let text = edit::replace_rows(&text, &test.name, &one.relation, &one.found)?;
                (file, text)
            }
        };
        OsDisk.write_whole(&file, text.as_bytes()).map_err(|error| {
            Error::unavailable(format!("cannot write {}", file.display())).with_source(error)
        })?;
    }
    Ok(())
}

fn print(ran: &Ran<'_>, sources: &SourceMap, is_updating: bool, is_quiet: bool) {
    let seconds = ran.took.as_secs_f64();
    let name = ran.test.name.as_str();
    match &ran.compared {
        Err(error) => println!("FAIL  {name}  {seconds:.1} s\n  {}", error.chain()),
        Ok(_) if ran.has_passed() => {
            if !is_quiet {
                println!("ok    {name}  {seconds:.1} s");
            }
        }
        Ok(compared) => {
            let word = if is_updating { "new " } else { "FAIL" };
            println!("{word}  {name}  {seconds:.1} s");
            for one in compared.iter().filter(|one| !one.is_same()) {
                print!("{}", difference(one, sources));
            }
        }
    }
}

/// The rows of a relation that differ, with those round them.
fn difference(compared: &Compared, sources: &SourceMap) -> String {
    let (expected, found) = (compared.count(Side::Expected), compared.count(Side::Found));
    let mut text = format!(
        "  {}: {expected} rows expected, {found} found\n    --> {}\n",
        compared.relation,
        at(&compared.place, sources)
    );
    let is_near = |at: usize| {
        let (from, to) = (at.saturating_sub(CONTEXT), (at + CONTEXT + 1).min(compared.lines.len()));
        compared.lines[from..to].iter().any(|line| line.side != Side::Both)
    };
    let near: Vec<usize> = (0..compared.lines.len()).filter(|at| is_near(*at)).collect();
    let shown = &near[..near.len().min(LINES_MAX)];
    let cells = |line: &Line| -> Vec<String> {
        line.values.iter().map(|value| short(&value.to_string())).collect()
    };
    let mut table: Vec<(char, Vec<String>, String)> =
        vec![(' ', compared.columns.clone(), String::new())];
    let mut last = None;
    for at in shown {
        if last.is_some_and(|last| last + 1 < *at) {
            table.push(('…', Vec::new(), String::new()));
        }
        last = Some(*at);
        let line = &compared.lines[*at];
        let (sign, place) = match (line.side, &line.place) {
            (Side::Both, _) => ('=', String::new()),
            (Side::Expected, Some(place)) => ('-', row_at(place, sources)),
            (Side::Expected, None) => ('-', String::new()),
            (Side::Found, _) => ('+', String::new()),
        };
        table.push((sign, cells(line), place));
    }
    let widths: Vec<usize> = (0..compared.columns.len())
        .map(|at| {
            let cells = table.iter().filter_map(|(_, cells, _)| cells.get(at));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    for (sign, cells, place) in &table {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = format!("    {sign} {}  {place}", cells.collect::<Vec<_>>().join("  "));
        text.push_str(line.trim_end());
        text.push('\n');
    }
    if near.len() > shown.len() {
        text.push_str(&format!("    … {} rows more\n", near.len() - shown.len()));
    }
    text
}

fn short(text: &str) -> String {
    match text.char_indices().nth(WIDTH_MAX) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}

fn at(place: &FilePlace, sources: &SourceMap) -> String {
    let file = place.file.display();
    match sources.position(&place.file, place.range.start) {
        Some(at) => format!("{file}:{}:{}", at.line, at.column),
        None => file.to_string(),
    }
}

fn row_at(place: &RowPlace, sources: &SourceMap) -> String {
    match place {
        RowPlace::Inline(place) => at(place, sources),
        RowPlace::Line { .. } => place.to_string(),
    }
}

fn as_json(ran: &Ran<'_>, sources: &SourceMap) -> Value {
    let relation = |one: &Compared| {
        let differences: Vec<Value> = one
            .lines
            .iter()
            .filter(|line| line.side != Side::Both)
            .map(|line| {
                let cells = one.columns.iter().zip(&line.values).map(|(column, value)| {
                    let json = value.json().and_then(|json| serde_json::from_str(&json).ok());
                    (column.clone(), json.unwrap_or(Value::Null))
                });
                let side = if line.side == Side::Expected { "expected" } else { "found" };
                json!({
                    "only": side,
                    "row": cells.collect::<serde_json::Map<_, _>>(),
                    "at": line.place.as_ref().map(|place| row_at(place, sources)),
                })
            })
            .collect();
        json!({
            "relation": one.relation,
            "at": at(&one.place, sources),
            "passed": one.is_same(),
            "rows_expected": one.count(Side::Expected),
            "rows_found": one.count(Side::Found),
            "differences": differences,
        })
    };
    let relations =
        ran.compared.as_ref().map_or_else(|_| Vec::new(), |all| all.iter().map(relation).collect());
    json!({
        "test": ran.test.name.as_str(),
        "passed": ran.has_passed(),
        "seconds": ran.took.as_secs_f64(),
        "error": ran.compared.as_ref().err().map(Error::chain),
        "relations": relations,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_is_the_folder_if_it_is_one() {
        let check = |words: &[&str], has_project, dir: Option<&str>, names: &[&str]| {
            let words = words.iter().map(ToString::to_string).collect();
            let (found, left) = split(words, has_project, &|path| path == Path::new("shop"));
            assert_eq!(
                (found.dir.as_deref(), left.as_slice()),
                (
                    dir.map(Path::new),
                    &names.iter().map(ToString::to_string).collect::<Vec<_>>()[..]
                )
            );
        };
        check(&[], false, None, &[]);
        check(&["shop"], false, Some("shop"), &[]);
        check(&["shop", "a"], false, Some("shop"), &["a"]);
        check(&["a", "shop"], false, None, &["a", "shop"]);
        check(&["shop"], true, None, &["shop"]);
    }
}
