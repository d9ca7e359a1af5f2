//! `thalweg check`: every problem at once, each at its place.

use serde_json::Value;

use crate::project::Project;
use crate::support::{Said, run};

/// Nine mistakes; below each, a mark at its column with the code it must be told by.
const NINE: &str = r#"[project]
name     = "nine"
timezone = "Mars/Olympus"
          #^ T0205

[source.trades]
file.path      = "trades.ndjson"
format.json    = {}
event_time     = "ts"
columns.symbol = "text"
columns.price  = "double"
columns.ts     = "timestamp"
columns.volume = "double"
[source.trades.checks]
volume = "volum >= 0"
         #^ T0302

[source.quotes]
file.path   = "quotes.ndjson"
format.json = {}
columns.bid = "doubel"
             #^ T0205

[stream.unknown_column]
sql = '''
SELECT symbol,
       prise
     --^ T0302
FROM trades
'''

[stream.unknown_relation]
sql = "SELECT symbol FROM tradez"
                         #^ T0301

[stream.wrong_type]
sql = '''
SELECT symbol, ts
FROM trades
WHERE symbol + ts > 1
    --^ T0304
'''

[view.half]
sql = "SELECT symbol FROM trades WHERE"
                                #^ T0303

[table.history]
from       = "trade"
            #^ T0301
delta.path = "lake/trades"

[job.nightly]
schedule = "15 25 * * *"
          #^ T0205
tasks.compact = { compact = "history" }
"#;

fn check(project: &Project) -> (Said, Vec<Value>) {
    let said = run(project.command("check", &["--format", "json"]));
    let problems: Value = serde_json::from_str(&said.stdout).expect("the problems are JSON");
    let problems = problems.as_array().expect("an array").clone();
    (said, problems)
}

/// Places and codes that a text marks: the column of each `^` in the line above it.
fn marks(text: &str) -> Vec<(u64, u64, String)> {
    let mut marks = Vec::new();
    for (line, mark) in text.lines().enumerate() {
        let Some(at) = mark.find("^ T") else { continue };
        let column = mark[..at].chars().count() as u64 + 1;
        marks.push((line as u64, column, mark[at + 2..].to_owned()));
    }
    marks
}

/// Types that do not fit, where only a part of a text is wrong.
const TYPES: &str = r#"[source.trades]
file.path      = "trades.ndjson"
format.json    = {}
event_time     = "ts"
columns.symbol = "text"
columns.price  = "double"
columns.ts     = "timestamp"
[source.trades.checks]
sane = "price > 0 AND symbol + ts > 1"
                     #^ T0304

[view.in_subquery]
sql = '''
SELECT symbol FROM trades WHERE price > (
    SELECT max(price) FROM trades WHERE symbol + ts > 1
                                     --^ T0304
)
'''

[view.in_from]
sql = '''
WITH dear AS (SELECT * FROM trades WHERE price > 10)
SELECT n FROM (
    SELECT symbol + ts AS n FROM dear
         --^ T0304
)
'''
"#;

#[test]
fn types_that_do_not_fit_are_shown_at_their_place_in_checks_and_subqueries() {
    let (said, problems) = check(&Project::new(TYPES));
    assert_eq!(places(&problems), marks(TYPES), "{problems:#?}");
    assert_eq!(said.code, Some(1));
}

/// Lines, columns and codes of problems.
fn places(problems: &[Value]) -> Vec<(u64, u64, String)> {
    problems
        .iter()
        .map(|problem| {
            let number = |key: &str| problem[key].as_u64().expect("a number");
            let code = problem["code"].as_str().expect("a code").to_owned();
            (number("line"), number("column"), code)
        })
        .collect()
}

#[test]
fn nine_mistakes_are_nine_problems_each_at_its_place() {
    let (said, problems) = check(&Project::new(NINE));
    assert_eq!(marks(NINE).len(), 9);
    assert_eq!(places(&problems), marks(NINE), "{problems:#?}");
    assert_eq!(said.code, Some(1));
}

#[test]
fn market_lambda_has_no_problems() {
    let project = Project::market("ws://127.0.0.1:1/finnhub", "postgres://127.0.0.1:1/none");
    let (said, problems) = check(&project);
    assert!(problems.is_empty(), "{problems:#?}");
    assert_eq!(said.code, Some(0));
}

#[test]
fn a_project_with_problems_does_not_run() {
    let project = Project::new(NINE);
    let said = project.start(&["--drain"]).end().ended_with(1);
    assert!(said.stderr.contains("did you mean `price`?"), "{}", said.stderr);
    assert!(!project.data().exists());
}
