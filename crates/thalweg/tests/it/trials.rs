//! `thalweg test`: a project's own tests, run by the real binary.

use std::fs;

use serde_json::Value;

use crate::project::Project;
use crate::support::{Said, root, run, thalweg};

/// Trades of an exchange that sends several in a message, and a stream, a view and a table of them.
const SHOP: &str = r#"[project]
name = "shop"

[source.trades]
websocket.url = "wss://exchange.invalid/?key=${NOT_SET_ANYWHERE}"
format.json   = { rows = "$.data[*]", only_if = "$.type = 'trade'" }
key           = ["symbol"]
event_time    = "ts"
watermark     = "5s"
[source.trades.columns]
symbol = { type = "text not null",      select = "s" }
price  = { type = "decimal(12,4) not null", select = "p" }
ts     = { type = "timestamp not null", select = "t", unit = "ms" }
[source.trades.checks]
price_positive = "price > 0"

[stream.seen]
sql = "SELECT symbol, price, now() AS seen_at FROM trades"
[stream.minutes]
sql = '''
SELECT symbol, window_start, max(price) AS high, count(*) AS trades
FROM tumble(trades, ts, interval '1 minute')
GROUP BY symbol, window_start
'''
[table.history]
from       = "trades"
delta.path = "lake/trades"
[view.last_hour]
sql = "SELECT symbol, price FROM trades WHERE ts > now() - interval '1 hour'"
[sink.far]
from           = "seen"
postgres.url   = "postgres://${NOT_SET_ANYWHERE}@database.invalid/db"
postgres.table = "seen"
[alert.any]
when   = "SELECT * FROM seen"
notify = "ops"
[notify.ops]
webhook.url = "${NOT_SET_ANYWHERE}"
"#;

/// What a feed sends: two trades in one message, a ping, a trade without price, a broken message.
const MESSAGES: &str = r#"{"type":"trade","data":[{"s":"A","p":"1.50","t":1704110400000},{"s":"B","p":"2","t":1704110401000}]}
{"type":"ping"}
{"type":"trade","data":[{"s":"A","t":1704110402000}]}
{"type":"trade","data":
{"type":"trade","data":[{"s":"A","p":-1,"t":1704110403000}]}
"#;

fn test(project: &Project, options: &[&str]) -> Said {
    run(project.command("test", options))
}

#[test]
fn the_tests_of_market_lambda_pass_without_secrets_or_network() {
    let folder = root().join("examples/market-lambda");
    let mut command = thalweg();
    command.arg("test").arg(&folder);
    let said = run(command).ended_with(0);
    let passed = said.stdout.lines().filter(|line| line.starts_with("ok ")).count();
    assert_eq!((passed, said.stderr.as_str()), (3, "3 passed\n"), "{}", said.stdout);
    assert!(!folder.join(".thalweg").exists() && !folder.join("lake").exists());
}

#[test]
fn arms_and_lookups_are_tested_with_what_is_given_and_with_their_files() {
    let project = Project::new(LOOKED_UP);
    project.write("cities.csv", "city|size\nBonn|3\n");
    let said = test(&project, &[]).ended_with(0);
    assert_eq!(said.stderr, "1 passed\n", "{}", said.stdout);
}

/// A route by a lookup in a file, and a stream that looks up in a source, which is given.
const LOOKED_UP: &str = r#"
[project]
name = "looked_up"
[source.people]
file.path = "people.csv"
format.csv = {}
columns = { id = "bigint not null", city = "text" }
[source.towns]
file.path = "towns.csv"
format.csv = {}
columns = { city = "text", land = "text" }
[table.cities]
csv = { path = "cities.csv", delimiter = "|" }
[route.split]
from = "people"
arms = [{ name = "here", topic = "here-ones", when = "city IN (SELECT city FROM cities)" }, { name = "away" }]
[stream.lands]
sql = "SELECT p.id, t.land FROM people p JOIN towns t ON p.city = t.city"
[test.splits]
given.people = [{ id = 1, city = "Bonn" }, { id = 2, city = "Rom" }]
given.towns = [{ city = "Rom", land = "IT" }]
expect.here = [{ id = 1 }]
expect.away = [{ id = 2 }]
expect.lands = [{ id = 2, land = "IT" }]
"#;

#[test]
fn what_a_feed_sends_goes_the_real_way() {
    let project = Project::new(SHOP);
    project.write("messages.ndjson", MESSAGES);
    project.declare(
        r#"
[test.messages]
given  = { trades = { frames = "messages.ndjson" } }
[test.messages.expect]
trades  = [
  { symbol = "A", price = "1.5", _row = 0 },
  { symbol = "B", price = 2, _row = 1 },
]
seen    = [{ symbol = "A", seen_at = 2024-01-01T12:00:01Z }, { symbol = "B", seen_at = 2024-01-01T12:00:01Z }]
minutes = [
  { symbol = "B", window_start = 2024-01-01T12:00:00Z, high = 2, trades = 1 },
  { symbol = "A", window_start = 2024-01-01T12:00:00Z, high = "1.5", trades = 1 },
]
history   = [{ symbol = "B", price = 2 }, { symbol = "A", price = 1.5 }]
last_hour = [{ symbol = "A" }, { symbol = "B" }]
"system.quarantine" = [
  { name = "trades", check = "decode", offset = 2 },
  { name = "trades", check = "decode", offset = 3 },
  { name = "trades", check = "price_positive", offset = 4 },
]
[test.long_ago]
now    = 2024-01-01T13:30:00Z
given  = { trades = [{ symbol = "A", price = 1, ts = 2024-01-01T12:00:00Z }, { symbol = "A", price = 2, ts = 2024-01-01T12:31:00Z, _received_at = 2024-01-01T13:30:05Z }] }
expect = { last_hour = [{ symbol = "A", price = 2 }], seen = [{ seen_at = 2024-01-01T13:30:00Z }, { seen_at = 2024-01-01T13:30:05Z }] }
[test.from_the_future]
given  = { trades = [{ symbol = "A", price = 1, ts = 2024-01-01T12:02:00Z, _received_at = 2024-01-01T12:00:00Z }] }
expect = { trades = [], "system.quarantine" = [{ check = "max_ahead" }] }
"#,
    );
    // Offsets are those of the lines in the file.
    let lines: Vec<usize> = MESSAGES.match_indices('\n').map(|(at, _)| at + 1).collect();
    let text = fs::read_to_string(project.path("thalweg.toml")).expect("the project has a file");
    let text = (2..=4).fold(text, |text, line| {
        text.replace(&format!("offset = {line} "), &format!("offset = {} ", lines[line - 1]))
    });
    project.write("thalweg.toml", text);
    let said = test(&project, &[]).ended_with(0);
    assert_eq!(said.stderr, "3 passed\n", "{}", said.stdout);
    assert!(!project.data().exists(), "a test touches no data of the project");
}

/// A test with rows of its own files that fails in two of its three relations.
const WRONG: &str = r#"
[test.prices]
given = { trades = "given.jsonl" }
[test.prices.expect]
# in order of arrival
seen    = [
  { symbol = "A", price = 1 },           # the first
  { symbol = "B", price = 7 },           # wrong
]
minutes = "minutes.jsonl"
trades  = [{ symbol = "A" }, { symbol = "B" }]
"#;

const DIFFERENCE: &str = "  seen: 2 rows expected, 2 found
    --> thalweg.toml:LINE:1
      symbol  price
    = A       1.0000
    - B       7.0000  thalweg.toml:ROW:3
    + B       2.0000
  minutes: 1 rows expected, 2 found
    --> thalweg.toml:MINUTES:1
      symbol  high
    - A       2.0000  minutes.jsonl:1
    + A       1.0000
    + B       2.0000
";

fn wrong() -> Project {
    let project = Project::new(&format!("{SHOP}{WRONG}"));
    let rows = "{\"symbol\":\"A\",\"price\":1,\"ts\":\"2024-01-01T12:00:00Z\"}\n\n\
                {\"symbol\":\"B\",\"price\":2.0,\"ts\":1704110401000}\n";
    project.write("given.jsonl", rows);
    project.write("minutes.jsonl", "{\"symbol\":\"A\",\"high\":2}\n");
    project
}

fn line_of(text: &str, part: &str) -> String {
    let line = text.lines().position(|line| line.starts_with(part)).expect("it is there");
    (line + 1).to_string()
}

#[test]
fn a_difference_is_shown_row_by_row_with_its_place() {
    let project = wrong();
    let said = test(&project, &["prices"]).ended_with(1);
    assert!(said.stdout.starts_with("FAIL  prices"), "{}", said.stdout);
    let text = format!("{SHOP}{WRONG}");
    let expected = DIFFERENCE
        .replace("LINE", &line_of(&text, "seen    ="))
        .replace("ROW", &line_of(&text, "  { symbol = \"B\""))
        .replace("MINUTES", &line_of(&text, "minutes = \"minutes"));
    assert_eq!(said.stdout.split_once('\n').map(|(_, rest)| rest), Some(expected.as_str()));
    assert_eq!(said.stderr, "0 passed, 1 failed\n");

    let said = test(&project, &["--format", "json"]).ended_with(1);
    let all: Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!((&all[0]["test"], &all[0]["passed"]), (&"prices".into(), &false.into()));
    let relations = all[0]["relations"].as_array().expect("a list");
    let passed: Vec<&Value> = relations.iter().map(|relation| &relation["passed"]).collect();
    assert_eq!(passed, [&Value::from(false), &Value::from(false), &Value::from(true)]);
    assert_eq!(relations[0]["differences"][0]["row"]["price"], "7.0000");
}

#[test]
fn an_update_writes_what_is_there_and_keeps_the_rest() {
    let project = wrong();
    test(&project, &["--update"]).ended_with(0);
    let text = fs::read_to_string(project.path("thalweg.toml")).expect("the project has a file");
    let expected = format!("{SHOP}{WRONG}")
        .replace("symbol = \"A\", price = 1 }", "symbol = \"A\", price = \"1.0000\" }")
        .replace("price = 7 }", "price = \"2.0000\" }");
    assert_eq!(text, expected);
    let rows = fs::read_to_string(project.path("minutes.jsonl")).expect("it is there");
    let one = "{\"symbol\":\"A\",\"high\":\"1.0000\"}\n{\"symbol\":\"B\",\"high\":\"2.0000\"}\n";
    assert_eq!(rows, one);
    assert_eq!(test(&project, &[]).ended_with(0).stderr, "1 passed\n");
}

/// Mistakes in tests, each marked below with its code, at its column.
const MISTAKES: &str = r#"
[test.mistakes]
[test.mistakes.given]
trade  = []
#^ T0301
trades = [{ symbol = "A", pirce = 1 }]
                         #^ T0302
[test.mistakes.expect]
seeen   = []
#^ T0301
minutes = [{ hihg = 1 }, { trades = "many" }]
            #^ T0302
                          #^ T0205
history = "nowhere.jsonl"
         #^ T0102
seen    = "rows.jsonl"
         #^ T0302
"system.quarantined" = []
#^ T0301
[test.nothing]
given  = {}
expect = {}
#^ T0205
"#;

#[test]
fn check_finds_what_is_wrong_with_tests() {
    let project = Project::new(&format!("{SHOP}{MISTAKES}"));
    project.write("rows.jsonl", "{\"symbol\":\"A\"}\n{\"price\":1,\"symbl\":\"A\"}\n");
    project.write(".env", "NOT_SET_ANYWHERE=http://127.0.0.1:1/\n");
    let said = run(project.command("check", &["--format", "json"])).ended_with(1);
    let problems: Vec<Value> = serde_json::from_str(&said.stdout).expect("JSON");
    let found: Vec<(String, u64, u64)> = problems
        .iter()
        .map(|it| {
            let number = |key: &str| it[key].as_u64().expect("a number");
            (it["code"].as_str().expect("a code").to_owned(), number("line"), number("column"))
        })
        .collect();
    let text = format!("{SHOP}{MISTAKES}");
    let mut expected = Vec::new();
    let mut line = 0;
    for (number, text) in text.lines().enumerate() {
        match text.find("#^ T") {
            Some(at) => expected.push((text[at + 3..].to_owned(), line as u64, at as u64 + 2)),
            None => line = number + 1,
        }
    }
    for mark in expected.iter_mut().filter(|mark| mark.2 == 2) {
        // A mark has no room before the first column.
        mark.2 = 1;
    }
    assert_eq!(found, expected, "{}", said.stdout);
    test(&project, &[]).ended_with(1);
}

#[test]
fn a_test_that_is_not_there_is_wrong_usage() {
    let project = wrong();
    let said = test(&project, &["price"]).ended_with(2);
    assert!(said.stderr.contains("Did you mean `prices`?"), "{}", said.stderr);
    assert_eq!(test(&Project::new(SHOP), &[]).ended_with(0).stderr, "the project has no tests\n");
}
