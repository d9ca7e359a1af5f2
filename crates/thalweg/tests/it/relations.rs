//! What a name in FROM is (S17a), and live held against batch (S18), through the real binary.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

use serde_json::{Value, json};

use crate::project::Project;
use crate::support::{PATIENCE, Process, python, run, thalweg, wait_for};

/// Trades of two days from a file, next to none of them in memory.
fn project(extra: &str) -> Project {
    let project = Project::new(&format!(
        r#"
[project]
name = "relations"
{extra}
[source.trades]
file.path   = "trades.ndjson"
event_time  = "ts"
key         = ["symbol"]
keep        = {{ age = "1s", size = "1KB" }}
format.json = {{}}
[source.trades.columns]
symbol = "text not null"
volume = "double not null"
ts     = "timestamp not null"
[stream.doubled]
sql = "SELECT symbol, ts, 2 * volume AS volume FROM trades"
[table.doubled_history]
from       = "doubled"
delta.path = "lake/doubled"
[stream.hourly]
sql  = "SELECT symbol, window_start, sum(volume) AS volume, count(*) AS trades FROM tumble(trades, ts, interval '1 hour') GROUP BY symbol, window_start"
emit = "update"
[table.history]
from         = "trades"
delta.path   = "lake/trades"
partition_by = {{ day = "date(ts)" }}
[table.hourly_batch]
batch_of   = "hourly"
over       = {{ trades = "history" }}
delta.path = "lake/hourly"
replace    = "date(window_start)"
[job.nightly.tasks]
hourly = {{ refresh = "hourly_batch", day = "$day" }}
[view.volumes]
merge = {{ batch = "hourly_batch", live = "hourly", on = "window_start" }}
[view.busy]
sql = "SELECT symbol, volume FROM volumes WHERE volume > 10"
[dashboard.page]
rows = [[
  {{ kpi = "SELECT count(*) FROM trades" }},
  {{ kpi = "SELECT max(volume) FROM trades WHERE volume > 1 + random()", label = "odd" }},
  {{ candles = "trades", price = "volume", bucket = "1h", by = "symbol" }},
]]
[runtime]
checkpoint.every = "100ms"
commit.every     = "200ms"
"#
    ));
    project.write("trades.ndjson", trades(0..48));
    project
}

/// A trade of each of two symbols every quarter of these hours since 2024-01-01, as lines.
fn trades(hours: std::ops::Range<i64>) -> String {
    let mut lines = String::new();
    for quarter in hours.start * 4..hours.end * 4 {
        for (symbol, volume) in [("A", 1.5), ("B", 3.0)] {
            let ms = 1_704_067_200_000_i64 + quarter * 900_000;
            let line = json!({ "symbol": symbol, "volume": volume, "ts": ms });
            writeln!(lines, "{line}").expect("memory takes it");
        }
    }
    lines
}

fn start(project: &Project) -> Process {
    let process = project.start(&["--http", "127.0.0.1:0"]);
    wait_for("the server listens", || process.stderr().contains("listening on").then_some(()));
    process
}

fn stop(process: Process) {
    process.terminate();
    process.end().ended_with(0);
}

#[test]
fn a_source_and_a_row_wise_stream_are_all_of_their_rows_whether_anything_runs() {
    let project = project("");
    // Nothing has ever run: the file itself.
    for relation in ["trades", "doubled"] {
        // A file that has just been written is not listed before it has settled.
        let count = format!("SELECT count(*) FROM {relation}");
        wait_for("every trade of the file (S17a)", || (project.count(&count) == 384).then_some(()));
    }
    let process = start(&project);
    wait_for("the table holds every trade", || {
        let held = project.rows("SELECT rows FROM system.tables WHERE name = 'history'");
        (held == [json!({ "rows": 384 })]).then_some(())
    });
    let all = |when: &str| {
        for (relation, volume) in [("trades", 864.0), ("doubled", 1_728.0)] {
            let sql = format!("SELECT count(*) AS n, sum(volume) AS v FROM {relation}");
            let expected = [json!({ "n": 384, "v": volume })];
            assert_eq!(project.rows(&sql), expected, "S17a: {relation}, {when}");
        }
        for relation in ["trades", "history"] {
            let topics = project.rows(&format!("SELECT DISTINCT _topic AS t FROM {relation}"));
            assert_eq!(topics, [json!({ "t": "trades" })], "S1: {relation}, {when}");
        }
        let latest = project.rows("SELECT symbol FROM latest(doubled) ORDER BY symbol");
        assert_eq!(latest, [json!({ "symbol": "A" }), json!({ "symbol": "B" })], "{when}");
    };
    all("while it runs");
    stop(process);
    all("beside a stopped server");
    project.write("trades.ndjson", trades(0..49));
    for relation in ["trades", "doubled"] {
        let count = format!("SELECT count(*) FROM {relation}");
        wait_for("what the file has grown by", || (project.count(&count) == 392).then_some(()));
    }
}

#[test]
fn panels_over_a_source_are_hidden_streams_whose_ledger_balances() {
    let project = project("");
    let said = run(project.command("check", &[])).ended_with(0);
    let (code, text) = ("T0313", "in memory, not all of them");
    assert!(said.stderr.contains(code), "{}", said.stderr);
    assert_eq!(said.stderr.matches(text).count(), 1, "{}", said.stderr);
    let process = start(&project);
    let hidden = "SELECT split_part(name, '.', 3) AS panel, max(value) AS rows FROM system.ledger \
                  WHERE name LIKE 'panel.page.%' AND \"count\" = 'rows_in' GROUP BY 1";
    wait_for("a KPI and candles have taken every trade", || {
        let rows = project.rows(hidden);
        (rows.len() == 2 && rows.iter().all(|row| row["rows"] == 384)).then_some(())
    });
    project.balances();
    let streams = project.rows("SELECT name FROM system.streams ORDER BY name");
    assert_eq!(streams, [json!({ "name": "doubled" }), json!({ "name": "hourly" })]);
    let graph = project.rows("SELECT * FROM system.graph");
    assert!(!graph.iter().any(|edge| edge.to_string().contains("panel.")), "{graph:?}");
    let of_view = project.rows("SELECT upstream FROM system.graph WHERE downstream = 'busy'");
    assert_eq!(of_view, [json!({ "upstream": "volumes" })]);
    // The SQL of the panel, from whoever it comes, is the same number.
    let shown = project.rows("SELECT count(*) FROM trades");
    assert_eq!(shown, [json!({ "count(*)": 384 })]);
    stop(process);
    let shown = project.rows("SELECT count(*) FROM trades");
    assert_eq!(shown, [json!({ "count(*)": 384 })], "beside a stopped server");
}

/// Takes one message and gives what it said.
fn notified() -> (String, mpsc::Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else { continue };
            let mut text = Vec::new();
            let mut part = [0; 4_096];
            let body = loop {
                let Ok(count) = connection.read(&mut part) else { break None };
                text.extend_from_slice(&part[..count]);
                let all = String::from_utf8_lossy(&text);
                let body = all.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
                if let Some(body) = body.and_then(|it| serde_json::from_str(&it).ok()) {
                    break Some(body);
                }
                if count == 0 {
                    break None;
                }
            };
            let answer = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
            let _ = connection.write_all(answer.as_bytes());
            if let Some(body) = body {
                let _ = sender.send(body);
            }
        }
    });
    (format!("http://{address}/ops"), receiver)
}

fn refresh(project: &Project, day: &str) {
    let mut command = thalweg();
    command.args(["jobs", "run", "nightly", "--date", day]).arg(project.path(""));
    run(command).ended_with(0);
    let state = wait_for("the run ends", || {
        let runs = project.rows(&format!(
            "SELECT state FROM system.runs WHERE day = '{day}' AND ended_at IS NOT NULL"
        ));
        runs.first().map(|run| run["state"].clone())
    });
    let tasks = project.rows("SELECT task, state, note FROM system.tasks");
    assert_eq!(state, "succeeded", "{day}: {tasks:#?}");
}

#[test]
fn days_that_differ_between_live_and_batch_are_told_row_by_row() {
    let (url, told) = notified();
    let project = project("notify = \"ops\"\n[notify.ops]\nwebhook.url = \"${OPS_WEBHOOK}\"\n");
    project.write(".env", format!("OPS_WEBHOOK={url}\n"));
    let process = start(&project);
    wait_for("the history holds every trade", || {
        let held = project.rows("SELECT rows FROM system.tables WHERE name = 'history'");
        (held == [json!({ "rows": 384 })]).then_some(())
    });
    refresh(&project, "2024-01-01");
    assert_eq!(project.rows("SELECT * FROM system.layer_diff"), [] as [Value; 0], "S18");
    stop(process);

    // Somebody else's hand in the history: an hour is gone, and a trade of another.
    let delete = "import sys, deltalake\n\
        table = deltalake.DeltaTable(sys.argv[1])\n\
        hour = \"symbol = 'B' and ts >= '2024-01-02T05:00:00Z' and ts < '2024-01-02T06:00:00Z'\"\n\
        trade = \"symbol = 'A' and ts = '2024-01-02T03:15:00Z'\"\n\
        table.delete(f'({hour}) or ({trade})')\n";
    python(delete, &[&project.path("lake/trades")]);
    project.write("trades.ndjson", trades(0..49));
    let process = start(&project);
    wait_for("the second day is over in the history", || {
        let held = project.count("SELECT count(*) FROM history");
        (held == 392 - 5).then_some(())
    });
    refresh(&project, "2024-01-02");
    let sql = "SELECT view, day, key, coalesce(\"column\", '') AS \"column\", live, \
               coalesce(batch, '') AS batch FROM system.layer_diff ORDER BY key, 4";
    let found = project.rows(sql);
    let row = |symbol: &str, hour: &str, column: Value, live: Value, batch: Value| {
        let key = json!({ "symbol": symbol, "window_start": format!("2024-01-02T{hour}:00:00Z") });
        json!({
            "view": "volumes", "day": "2024-01-02", "key": key.to_string(), "column": column,
            "live": live, "batch": batch,
        })
    };
    let whole = json!({
        "symbol": "B", "window_start": "2024-01-02T05:00:00Z", "volume": 12.0, "trades": 4,
    });
    let expected = [
        row("A", "03", json!("trades"), json!("4"), json!("3")),
        row("A", "03", json!("volume"), json!("6.0"), json!("4.5")),
        row("B", "05", json!(""), json!(whole.to_string()), json!("")),
    ];
    assert_eq!(found, expected, "S18: exactly what was doctored");
    let message = told.recv_timeout(PATIENCE).expect("S18: somebody is told");
    assert_eq!(
        (&message["row"]["view"], &message["row"]["differences"]),
        (&json!("volumes"), &json!(3))
    );
    stop(process);
    assert_eq!(project.rows(sql), expected, "they are stored");
}
