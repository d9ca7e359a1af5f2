//! Bad input, and surroundings that fail: refused rows with a reason, errors that say what to do.

use std::fs;

use serde_json::json;

use crate::postgres::{self, Database};
use crate::project::Project;
use crate::support::{Simulator, capture, run, wait_for};

/// A good message, with two trades.
const GOOD: &str = r#"{"data":[{"c":null,"p":10.5,"s":"AAPL","t":1703258644022,"v":1},{"c":null,"p":11,"s":"MSFT","t":1703258644023,"v":2}],"type":"trade"}"#;

/// Bad messages: what they are called, and rows or frames refused of each.
pub(crate) fn bad_messages() -> Vec<(&'static str, Vec<u8>)> {
    let trade = |row: &str| format!(r#"{{"data":[{row}],"type":"trade"}}"#).into_bytes();
    vec![
        ("truncated JSON", br#"{"data":[{"p":1.5,"s":"AAPL","t":17032586"#.to_vec()),
        ("text for a number", trade(r#"{"p":"much","s":"AAPL","t":1703258644022,"v":1}"#)),
        ("number for a text", trade(r#"{"p":1.5,"s":7,"t":1703258644022,"v":1}"#)),
        ("no time", trade(r#"{"p":1.5,"s":"AAPL","v":1}"#)),
        ("null price", trade(r#"{"p":null,"s":"AAPL","t":1703258644022,"v":1}"#)),
        ("negative volume", trade(r#"{"p":1.5,"s":"AAPL","t":1703258644022,"v":-1}"#)),
        ("NaN", trade(r#"{"p":NaN,"s":"AAPL","t":1703258644022,"v":1}"#)),
        ("NaN as text", trade(r#"{"p":"NaN","s":"AAPL","t":1703258644022,"v":1}"#)),
        ("beyond a double", trade(r#"{"p":1e999,"s":"AAPL","t":1703258644022,"v":1}"#)),
        (
            "invalid UTF-8",
            [&br#"{"data":[{"s":"AA"#[..], b"\xff\xfe\"}],\"type\":\"trade\"}"].concat(),
        ),
        ("not JSON", b"<html>502 Bad Gateway</html>".to_vec()),
        ("data that is no array", br#"{"data":{"p":1.5},"type":"trade"}"#.to_vec()),
    ]
}

/// Messages of a type that is not wanted: counted as filtered.
const OTHER: &str = r#"{"type":"news","data":[{"headline":"none"}]}"#;

#[test]
fn bad_lines_of_a_file_are_quarantined_with_a_reason_and_nothing_else_is() {
    let (bad, mut lines) = (bad_messages(), Vec::new());
    for (_, message) in &bad {
        lines.extend([GOOD.as_bytes(), message, OTHER.as_bytes()].map(<[u8]>::to_vec));
    }
    let large = format!(r#"{{"type":"trade","data":[],"padding":"{}"}}"#, "x".repeat(11 << 20));
    lines.push(large.into_bytes());
    lines.push(GOOD.as_bytes().to_vec());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("messages.ndjson");
    fs::write(&file, [lines.join(&b'\n'), b"\n".to_vec()].concat()).expect("the folder is ours");

    let database = Database::new();
    let project = Project::market_from_file(&file, None, &database.url);
    project.drain().ended_with(0);
    project.balances();

    let (good, refused) = (bad.len() as i64 + 1, bad.len() as i64 + 1);
    assert_eq!(project.count("SELECT count(*) FROM trades_history"), 2 * good);
    let rows =
        project.rows("SELECT \"check\", reason, length FROM system.quarantine ORDER BY \"offset\"");
    assert_eq!(rows.len() as i64, refused, "{rows:#?}");
    for ((what, message), row) in bad.iter().zip(&rows) {
        let reason = row["reason"].as_str().unwrap_or_default();
        assert!(!reason.is_empty(), "{what} has no reason: {row}");
        assert_eq!(row["length"], json!(message.len()), "S13: {what}: {row}");
    }
    let by_check = "SELECT count(*) FROM system.quarantine WHERE \"check\" = 'volume_nonnegative'";
    assert_eq!(project.count(by_check), 1);
    assert_eq!(project.ledger("source", "trades", "frames_filtered"), bad.len() as i64);
    let received = project.ledger("source", "trades", "frames_received");
    assert_eq!(received, lines.len() as i64, "S12");
}

#[test]
fn bad_messages_of_a_feed_are_quarantined_and_the_connection_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("messages.ndjson");
    // A text frame is UTF-8, so that one cannot be sent.
    let bad: Vec<_> =
        bad_messages().into_iter().filter(|(_, it)| std::str::from_utf8(it).is_ok()).collect();
    let mut lines = Vec::new();
    for (_, message) in &bad {
        lines.extend([GOOD.as_bytes(), message, OTHER.as_bytes()].map(<[u8]>::to_vec));
    }
    fs::write(&file, [lines.join(&b'\n'), b"\n".to_vec()].concat()).expect("the folder is ours");

    let simulator = Simulator::replay(&file, &["--speed", "max"]);
    let database = Database::new();
    let project = Project::market(&simulator.url, &database.url);
    project.drain().ended_with(0);
    project.balances();
    assert_eq!(project.count("SELECT count(*) FROM trades_history"), 2 * bad.len() as i64);
    assert_eq!(project.count("SELECT count(*) FROM system.quarantine"), bad.len() as i64);
    let said = simulator.stop();
    assert!(said.contains("connections: 1,"), "{said}");
}

#[test]
fn a_wrong_token_is_told_and_nothing_else_stops() {
    let simulator = Simulator::start(&["--token", "another"]);
    let database = Database::new();
    let project = Project::market(&simulator.url, &database.url);
    let mut process = project.start(&["--http", "127.0.0.1:0"]);
    wait_for("the source says what is wrong", || {
        assert!(process.is_alive(), "{}", process.stderr());
        process.stderr().contains("401").then_some(())
    });
    let rows = project.rows("SELECT state, reason FROM system.sources");
    assert!(rows[0]["reason"].to_string().contains("401"), "{rows:?}");
    assert!(!process.stderr().contains("token=demo"), "the token is a secret");
    process.terminate();
    process.end().ended_with(0);
}

#[test]
fn a_busy_port_is_told_with_its_number() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let database = Database::new();
    let project = Project::market("ws://127.0.0.1:1/finnhub", &database.url);
    let said = project.start(&["--http", &address]).end().ended_with(1);
    assert!(said.stderr.contains(&address), "{}", said.stderr);
}

#[test]
fn a_data_folder_that_cannot_be_made_is_told_by_name() {
    let database = Database::new();
    let project = Project::market("ws://127.0.0.1:1/finnhub", &database.url);
    // A file stands in the way: root may write anywhere, but not below a file.
    project.write("file", "");
    let data = project.path("file/data");
    let data = data.to_str().expect("UTF-8");
    let said = project.start(&["--drain", "--data-dir", data]).end().ended_with(1);
    assert!(said.stderr.contains(data) && said.stderr.contains("--data-dir"), "{}", said.stderr);
}

#[test]
fn a_second_instance_is_refused_with_the_pid_of_the_first() {
    let simulator = Simulator::start(&[]);
    let database = Database::new();
    let project = Project::market(&simulator.url, &database.url);
    let first = project.start(&["--http", "127.0.0.1:0"]);
    wait_for("the first one listens", || first.stderr().contains("listening on").then_some(()));
    let said = project.start(&["--drain"]).end().ended_with(1);
    let expected = format!("in use by process {}", first.pid());
    assert!(said.stderr.contains(&expected), "S27: {}", said.stderr);
    // Questions go to the first one.
    assert_eq!(run(project.command("status", &[])).ended_with(0).code, Some(0));
    first.terminate();
    first.end().ended_with(0);
}

#[test]
fn a_database_that_is_away_holds_up_nobody_and_gets_everything_when_it_is_back() {
    let Some(capture) = capture() else { return };
    let server = postgres::restartable();
    server.stop();
    let database = Database::of(&server);
    let project = Project::market_from_file(&capture, None, &database.url);
    let process = project.start(&["--http", "127.0.0.1:0"]);
    wait_for("the server listens", || process.stderr().contains("listening on").then_some(()));
    wait_for("the tables have every row", || {
        (project.count("SELECT count(*) FROM trades_history") == 6_959).then_some(())
    });
    let sink = project.rows("SELECT state, reason FROM system.sinks WHERE name = 'speed_table'");
    assert_eq!(sink[0]["state"], "retrying", "{sink:?}");
    assert!(sink[0]["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{sink:?}");

    server.start_again();
    wait_for("the sink has caught up", || {
        let query =
            "SELECT rows_written + rows_superseded FROM system.sinks WHERE name = 'speed_table'";
        (project.count(query) == 6_959).then_some(())
    });
    assert_eq!(database.rows("SELECT count(*) FROM speed_table"), ["5"]);
    process.terminate();
    process.end().ended_with(0);
    project.balances();
}
