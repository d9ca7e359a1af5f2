//! Loading: every key is read, nothing makes it panic, problems stand at their place.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;
use thalweg_core::problem::SqlProblem;
use thalweg_core::schema::{ColumnType, EpochUnit};

use super::*;
use crate::keys::{State, keys, root};
use crate::kinds::*;
use crate::render::{problems_json, render};

const EXAMPLE: &str = include_str!("../../../../examples/market-lambda/thalweg.toml");
const EVERYTHING: &str = include_str!("../../../../tests/check/everything/thalweg.toml");
const DEAL: &str = include_str!("../../../../tests/check/everything/schemas/deal.avsc");
const HOURLY_SQL: &str = include_str!("../../../../tests/check/everything/sql/hourly.sql");

fn files(text: impl Into<Vec<u8>>) -> BTreeMap<PathBuf, Vec<u8>> {
    BTreeMap::from([
        ("thalweg.toml".into(), text.into()),
        ("sql/hourly.sql".into(), HOURLY_SQL.into()),
        ("schemas/deal.avsc".into(), DEAL.into()),
        ("schemas/deal-2.avsc".into(), DEAL.into()),
    ])
}

/// Every variable is set to its own name.
fn named(name: &str) -> Option<String> {
    Some(name.to_owned())
}

fn load_text(text: &str) -> (Loaded, BTreeSet<&'static str>) {
    load(Path::new("/project"), &files(text), &named)
}

#[track_caller]
fn sound(text: &str) -> Project {
    let (loaded, _) = load_text(text);
    assert_eq!(render(&loaded.problems, &loaded.sources, false), "");
    loaded.project.expect("a project without problems")
}

#[test]
fn every_key_that_is_built_is_read_and_nothing_else() {
    let (loaded, reads) = load_text(EVERYTHING);
    assert_eq!(render(&loaded.problems, &loaded.sources, false), "");
    let is_planned = |path: &str| {
        let nodes = path.split('.').scan(root(), |node, part| {
            *node = match part {
                "*" => node.any.as_deref()?,
                name => node.children.get(name)?,
            };
            Some(*node)
        });
        nodes.last().is_some_and(|node| node.planned.is_some())
    };
    let built: BTreeSet<&str> =
        keys().map(|key| key.path).filter(|path| !is_planned(path)).collect();
    // Sections whose kinds are not built are entered by nobody.
    let unread: Vec<&&str> = built.difference(&reads).collect();
    assert_eq!(unread, [&"function"]);
    let others: Vec<&&str> = reads.difference(&built).collect();
    assert!(others.is_empty(), "lowering reads what is not built: {others:?}");
}

#[test]
fn the_case_with_everything_has_every_key() {
    let (loaded, _) = load_text(EVERYTHING);
    let mut problems = Vec::new();
    let text = loaded.sources.text(Path::new("thalweg.toml")).expect("the file");
    let tree = tree::parse(&Arc::new("thalweg.toml".into()), text, &mut problems).root;
    let mut written = BTreeSet::new();
    names::visit(&tree, &mut |_, key, _| {
        written.insert(key.path);
    });
    for key in keys().filter(|key| key.state == State::Built && !key.shape.holds_tables()) {
        let is_planned = root().child(key.path).is_some_and(|node| node.planned.is_some());
        let parents: Vec<&str> = key.path.split('.').collect();
        let is_below_planned = (1..parents.len()).any(|depth| {
            let parent = parents[..depth].join(".");
            keys().any(|key| key.path == parent && matches!(key.state, State::Planned(_)))
        });
        if !is_planned && !is_below_planned {
            assert!(written.contains(key.path), "tests/check/everything lacks `{}`", key.path);
        }
    }
}

#[test]
fn the_example_is_lowered_as_it_is_written() {
    let project = sound(EXAMPLE);
    assert_eq!((project.name.as_str(), project.timezone_name()), ("market-lambda", "UTC"));

    let trades = project.source("trades").expect("a source");
    let Connector::Finnhub(finnhub) = &trades.connector else { panic!("Finnhub") };
    assert_eq!(finnhub.token.reveal(), "FINNHUB_TOKEN");
    assert_eq!(finnhub.symbols.len(), 6);
    assert_eq!(finnhub.url.reveal(), "wss://ws.finnhub.io");
    let Format::Json(json) = &trades.format else { panic!("JSON") };
    assert_eq!(json.rows.as_deref().map(String::as_str), Some("$.data[*]"));
    let columns: Vec<_> = trades
        .columns
        .iter()
        .map(|column| (column.name.as_str(), column.kind, column.path(), column.nullable))
        .collect();
    assert_eq!(
        columns,
        [
            ("symbol", ColumnType::Text, "s", false),
            ("price", ColumnType::Double, "p", false),
            ("volume", ColumnType::Double, "v", false),
            ("ts", ColumnType::Timestamp, "t", false),
        ]
    );
    assert_eq!(trades.columns[3].unit, Some(EpochUnit::Millis));
    let checks: Vec<_> =
        trades.checks.iter().map(|check| (check.name.as_str(), check.sql.as_str())).collect();
    assert_eq!(checks, [("price_positive", "price > 0"), ("volume_nonnegative", "volume >= 0")]);
    assert_eq!((trades.event_time.as_str(), &trades.key[..]), ("ts", &["symbol".to_owned()][..]));
    assert_eq!(trades.watermark, Duration::from_secs(5));
    assert!(trades.journal && trades.max_ahead == Some(Duration::from_secs(60)));

    let hourly = project.stream("hourly").expect("a stream");
    assert_eq!(hourly.emit.as_deref(), Some(&Emit::Update));
    let batch = project.table("hourly_batch").expect("a table");
    assert_eq!(batch.place, TablePlace::Disk("/project/lake/hourly".into()));
    let TableInput::BatchOf { stream, over, replace } = &batch.input else { panic!("a batch") };
    assert_eq!((stream.as_str(), replace.as_str()), ("hourly", "date(window_start)"));
    assert_eq!((over[0].0.as_str(), over[0].1.as_str()), ("trades", "trades_history"));

    let nightly = &project.jobs[0];
    assert!(nightly.catch_up && nightly.wait_for[0].value == "trades");
    assert_eq!(nightly.schedule.as_deref().map(String::as_str), Some("15 0 * * *"));
    let tasks: Vec<&str> = nightly.tasks.iter().map(|task| task.name.as_str()).collect();
    assert_eq!(tasks, ["hourly", "compact"]);
    assert_eq!((nightly.tasks[1].retries, nightly.tasks[1].timeout.as_secs()), (2, 1_800));

    let Target::Postgres(speed) = &project.sinks[0].target else { panic!("PostgreSQL") };
    assert_eq!((speed.url.reveal(), speed.table.as_str()), ("DATABASE_URL", "speed_table"));
    let model = project.model("next_volume").expect("a model");
    assert_eq!(model.candidates, [Candidate::Ridge]);
    assert_eq!(model.evaluate.as_ref().map(|evaluate| evaluate.gap.as_secs()), Some(60));
    assert_eq!(project.server.http, SocketAddr::from(([127, 0, 0, 1], 7070)));
    assert_eq!(project.runtime.disk, DiskBudget::Percent(80.0));
    assert!(!format!("{project:?}").contains("FINNHUB_TOKEN"), "Debug shows no secret");
}

#[test]
fn a_preset_brings_what_the_file_does_not_say() {
    let project = sound("[source.a]\nfinnhub = { token = '${T}', symbols = ['X'] }");
    let source = &project.sources[0];
    assert_eq!((source.columns.len(), source.event_time.as_str()), (4, "ts"));
    assert_eq!((source.key.clone(), source.stale_after.as_secs()), (vec!["symbol".into()], 300));

    let project = sound(
        "[source.a]\nfinnhub = { token = '${T}', symbols = ['X'] }\ncolumns.price = 'double'",
    );
    let source = &project.sources[0];
    assert_eq!((source.event_time.as_str(), source.key.len()), ("_received_at", 0));
    assert_eq!(source.watermark, Duration::ZERO, "receipt is never late");
}

#[test]
fn a_file_is_its_own_journal_and_has_no_future() {
    let project = sound("[source.a]\nfile.path = 'x.csv'\nformat.csv = {}\ncolumns.x = 'int'");
    let source = &project.sources[0];
    assert!(!source.journal && !source.is_live() && source.max_ahead.is_none());
    let Format::Csv(csv) = &source.format else { panic!("CSV") };
    assert!(csv.header && csv.null == [""] && csv.delimiter == ',' && csv.quote == '"');
}

#[test]
fn files_of_thalweg_d_are_part_of_the_project() {
    let mut files = files("[source.a]\nfile.path = 'x'\nformat.csv = {}\ncolumns.x = 'int'");
    files.insert("thalweg.d/b.toml".into(), b"[sink.s]\nfrom = 'a'\nconsole = {}".to_vec());
    files.insert("thalweg.d/a.toml".into(), b"[stream.b]\nsql_file = 'sql/hourly.sql'".to_vec());
    files.insert("thalweg.d/notes.txt".into(), b"[not toml".to_vec());
    let (loaded, _) = load(Path::new("/project"), &files, &named);
    assert_eq!(render(&loaded.problems, &loaded.sources, false), "");
    let project = loaded.project.expect("a project");
    assert_eq!((project.sinks.len(), project.streams[0].sql.as_str()), (1, HOURLY_SQL));
    let place = project.streams[0].sql.place(0..6);
    assert_eq!((place.file.as_path(), place.range), (Path::new("sql/hourly.sql"), 0..6));
}

#[test]
fn a_problem_of_the_engine_is_shown_where_the_sql_stands() {
    let project = sound(EXAMPLE);
    let sql = &project.stream("changes").expect("a stream").sql;
    let start = sql.as_str().find("absolute_price_change").expect("a word of the SQL");
    let problem = SqlProblem {
        code: "T0302",
        message: "no column `pirce` in source `trades`".to_owned(),
        label: Some("did you mean `price`?".to_owned()),
        hint: Some("`thalweg sql -c \"describe trades\"` shows the columns.".to_owned()),
        range: Some(start..start + "absolute_price_change".len()),
    };
    let problem = project.sql_problem(sql, &problem);
    let (loaded, _) = load_text(EXAMPLE);
    let rendered = render(std::slice::from_ref(&problem), &loaded.sources, false);
    let expected = "\
error[T0302]: no column `pirce` in source `trades`
  --> thalweg.toml:26:78
   |
26 |        price - lag(price) OVER w                                          AS absolute_price_change,
   |                                                                              ^^^^^^^^^^^^^^^^^^^^^ did you mean `price`?
   |
  ::: thalweg.toml:15:1
   |
15 | price  = { type = \"double not null\",    select = \"p\" }
   | ----- `price` is declared here
   |
help: `thalweg sql -c \"describe trades\"` shows the columns

";
    assert_eq!(rendered, expected);
    let json = &problems_json(std::slice::from_ref(&problem), &loaded.sources)[0];
    assert_eq!(
        (&json["line"], &json["column"], &json["end_column"]),
        (&26.into(), &78.into(), &99.into())
    );
    assert_eq!((&json["related"][0]["line"], &json["severity"]), (&15.into(), &"error".into()));
}

#[test]
fn relations_that_read_each_other_are_a_problem_with_places() {
    let project = sound("[stream.a]\nsql = 'SELECT * FROM b'\n[stream.b]\nsql = 'SELECT * FROM a'");
    let edge = |from: &str, to: &str| (from.to_owned(), BTreeSet::from([to.to_owned()]));
    let depends_on = BTreeMap::from([edge("a", "b"), edge("b", "a")]);
    let problem = project.cycle_problem(&depends_on).expect("a circle");
    assert_eq!(problem.message, "relations read each other: a reads b reads a");
    assert_eq!(problem.place.map(|place| place.range), Some(8..9));
    assert_eq!(problem.related.len(), 1);
}

#[test]
fn what_is_wrong_with_a_relation_is_remembered() {
    let text = "[source.a]\nfile.path = 'x'\nformat.csv = {}\ncolumns.x = 'in'\n\
                [source.b]\nfile.path = 'x'\nformat.csv = {}\ncolumns.x = 'int'\n\
                [sink.a_sink]\nfrom = 'b'\nconsole = { evry = '1s' }";
    let (loaded, _) = load_text(text);
    assert!(loaded.has_errors());
    assert_eq!(loaded.broken.iter().collect::<Vec<_>>(), ["a"]);
    let project = loaded.project.expect("what could be read");
    assert_eq!(project.sources.len(), 1);
}

/// Loads, renders both ways, and checks what holds of every file whatsoever.
fn survive(bytes: Vec<u8>) -> Result<(), TestCaseError> {
    let (loaded, _) = load(Path::new("/project"), &files(bytes), &|_| None);
    let rendered = render(&loaded.problems, &loaded.sources, true);
    let json = problems_json(&loaded.problems, &loaded.sources);
    prop_assert_eq!(json.as_array().map(Vec::len), Some(loaded.problems.len()));
    prop_assert_eq!(rendered.is_empty(), loaded.problems.is_empty());
    for place in loaded.problems.iter().filter_map(|problem| problem.place.as_ref()) {
        let text = loaded.sources.text(&place.file).expect("places name files that were read");
        prop_assert!(text.get(place.range.clone()).is_some(), "{place:?} lies in the text");
    }
    if let (false, Some(project)) = (loaded.has_errors(), &loaded.project) {
        prop_assert_eq!(project.sources.is_empty(), !rendered_has(&loaded, "source"));
        prop_assert_eq!(project.streams.is_empty(), !rendered_has(&loaded, "stream"));
    }
    Ok(())
}

/// Whether the file declares a thing of a section.
fn rendered_has(loaded: &Loaded, section: &str) -> bool {
    let text = loaded.sources.text(Path::new("thalweg.toml")).unwrap_or_default();
    let parsed = tree::parse(&Arc::default(), text, &mut Vec::new());
    parsed.root.member(section).is_some_and(|section| !section.node.members().is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        survive(bytes)?;
    }

    #[test]
    fn pieces_of_toml_never_panic(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "[source.a]\n", "[[", "]", "{", "}", "=", ".", ",", "\n", "'", "\"", "'''", "\"\"\"",
            "\\", "#", "x", "sql", "file.path", "rows", "[dashboard.a]\n", "1", "true", "ä", "\r",
            "[stream.a]\n", "columns", "{ kpi = 'SELECT $a' }", "job.a.tasks.b", "2024-01-31", " ",
        ]), 0..60)
    ) {
        survive(pieces.concat().into_bytes())?;
    }

    #[test]
    fn a_spoilt_file_never_panics(
        is_example in any::<bool>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..24_usize, "[ -~\\n]{0,6}"), 1..4),
    ) {
        let mut text = if is_example { EXAMPLE } else { EVERYTHING }.as_bytes().to_vec();
        for (at, cut, insert) in edits {
            let at = at.index(text.len() + 1);
            let end = (at + cut).min(text.len());
            text.splice(at..end, insert.into_bytes());
        }
        survive(text)?;
    }

    #[test]
    fn lines_in_any_order_never_panic(
        lines in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
    ) {
        let all: Vec<&str> = EVERYTHING.lines().collect();
        let text: Vec<&str> = lines.iter().map(|line| *line.get(&all)).collect();
        survive(text.join("\n").into_bytes())?;
    }
}
