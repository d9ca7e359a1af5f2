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

/// Mistakes with models, marked as above.
const FORECASTS: &str = r#"[project]
name     = "forecasts"

[source.trades]
file.path      = "trades.ndjson"
format.json    = {}
event_time     = "ts"
key            = ["symbol"]
columns.symbol = "text not null"
columns.price  = "double"
columns.side   = "text"
columns.ts     = "timestamp not null"

[stream.bars]
sql = '''
SELECT symbol, window_end, max(ts) AS newest, max(price) AS high
FROM tumble(trades, ts, interval '1 minute')
GROUP BY symbol, window_end
'''
[view.texts]
sql = "SELECT symbol, ts, side AS price FROM trades"

[model.next_price]
features = "trades"
target   = "price"
horizon  = "1m"
time     = "ts"
key      = ["symbol"]

[model.next_high]
features = "bars"
target   = "high"
horizon  = "1m"
time     = "newest"

[model.looks_ahead]
features = "around"
target   = "price"
horizon  = "1m"
time     = "ts"
[view.around]
sql = '''
SELECT ts, price, after, avg(price) OVER (ORDER BY ts ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS mean
                       --^ T0314
FROM ahead
'''
[view.ahead]
sql = '''
SELECT ts, price,
       lead(price) OVER w AS after, sum(price) OVER f AS five, sum(price) OVER (g ROWS 4 PRECEDING) AS past
     --^ T0314
FROM trades
WINDOW w AS (ORDER BY ts), g AS (w),
       f AS (ORDER BY ts ROWS BETWEEN CURRENT ROW AND 4 FOLLOWING)
     --^ T0314
'''
[view.no_window]
sql = "SELECT sum(price) OVER (w ROWS 4 PRECEDING) AS past FROM trades"
                              #^ T0304

[model.no_columns]
features = "trades"
target   = "prize"
          #^ T0302
horizon  = "1m"
time     = "price"
          #^ T0304
key      = ["simbol"]
           #^ T0302

[stream.unknown_model]
sql = "SELECT * FROM predict(next_prize, trades)"
                            #^ T0301

[stream.unknown_relation]
sql = "SELECT * FROM predict(next_price, trade)"
                                        #^ T0301

[stream.lows]
sql = "SELECT symbol, ts AS newest, price AS hihg FROM trades"
[stream.no_feature]
sql = "SELECT symbol FROM predict(next_high, lows)"
                                            #^ T0302

[view.wrong_type]
sql = '''
WITH part AS (SELECT symbol, price, ts FROM trades)
SELECT p.prediction, t.upper
FROM predict(next_price, part) p JOIN predict(next_price, texts) t ON p.ts = t.ts
                                                        --^ T0304
'''

[stream.no_relation]
sql = "SELECT * FROM predict(next_price)"
                    #^ T0305

[stream.no_order]
sql = "SELECT * FROM predict(next_high, bars)"
      #^ T0305

[model.in_a_circle]
features = "circle"
target   = "prediction"
horizon  = "1m"
time     = "ts"
[stream.circle]
       #^ T0310
sql = "SELECT * FROM predict(in_a_circle, trades)"
"#;

fn check(project: &Project) -> (Said, Vec<Value>) {
    let said = run(project.command("check", &["--format", "json"]));
    let problems: Value = serde_json::from_str(&said.stdout).expect("the problems are JSON");
    let problems = problems.as_array().expect("an array").clone();
    (said, problems)
}

/// Mistakes with databases, marked as above.
const DATABASES: &str = r#"[project]
name = "databases"

[source.claims]
file.path = "claims.csv"
format.csv = {}
columns = { state = "text not null", charge = "decimal(38,31)" }

[sink.another_server]
from = "claims"
mysql.url = "postgres://user@localhost/claims"
           #^ T0315
mysql.table = "claims"

[sink.wrong_parameter]
from = "claims"
postgres.url = "postgres://user@localhost/claims?sslmod=require"
              #^ T0315
postgres.table = "claims"

[sink.no_such_type]
from = "claims"
mysql.url = "mysql://user@localhost/claims"
mysql.table = "claims"
             #^ T0315

[sink.no_such_name]
from = "claims"
postgres.url = "postgres://user@localhost/claims"
postgres.table = "a.b.c"
                #^ T0315
"#;

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
    told(TYPES);
}

#[test]
fn what_a_database_cannot_take_is_known_before_it_is_asked() {
    assert_eq!(marks(DATABASES).len(), 4);
    told(DATABASES);
}

#[test]
fn nine_mistakes_are_nine_problems_each_at_its_place() {
    assert_eq!(marks(NINE).len(), 9);
    told(NINE);
}

#[test]
fn mistakes_with_models_are_told_at_their_places() {
    let text = Value::from(told(FORECASTS)).to_string();
    for said in [
        "did you mean `price`?",
        "did you mean `next_price`?",
        "did you mean `trades`?",
        "did you mean `hihg`?",
        "Model `next_high` reads: newest, high.",
        "needs a number",
        "reads in_a_circle",
        "only `window_start` and `window_end` tell their order",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
}

/// Fails unless the problems of a project are those that its text marks.
#[track_caller]
fn told(text: &str) -> Vec<Value> {
    let (said, problems) = check(&Project::new(text));
    let found: Vec<(u64, u64, String)> = problems
        .iter()
        .map(|problem| {
            let number = |key: &str| problem[key].as_u64().expect("a number");
            let code = problem["code"].as_str().expect("a code").to_owned();
            (number("line"), number("column"), code)
        })
        .collect();
    assert_eq!(found, marks(text), "{problems:#?}");
    assert_eq!(said.code, Some(1));
    problems
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
