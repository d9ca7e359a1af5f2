//! Surroundings that give out: memory, disk, feeds and targets. Nothing acknowledged is lost, nothing
//! is there twice, and `status` says what is waited for.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::postgres::{self, Database};
use crate::project::Project;
use crate::support::{Process, Simulator, capture, run, thalweg, wait_for, webhook};

/// Trades from `trades.ndjson`, one a line.
const FROM_FILE: &str = r#"
[source.trades]
file.path      = "trades.ndjson"
format.json    = {}
event_time     = "ts"
key            = ["symbol"]
columns.symbol = "text not null"
columns.price  = "double not null"
columns.ts     = "timestamp not null"
columns.note   = "text"
"#;

/// Writes `trades.ndjson`: `count` rows, each of a symbol of its own if `distinct`.
fn write_trades(project: &Project, count: u32, distinct: bool, note: &str) {
    let mut lines = String::new();
    for number in 0..count {
        let symbol = if distinct { number } else { number % 5 };
        let second = number / 1_000;
        let (minute, second) = (second / 60 % 60, second % 60);
        writeln!(
            lines,
            r#"{{"symbol":"S{symbol}","price":{number},"ts":"2024-01-01T00:{minute:02}:{second:02}Z","note":"{note}"}}"#
        )
        .expect("a text grows");
    }
    project.write("trades.ndjson", lines);
}

// Targets that do not answer ------------------------------------------------------------------

fn alerting(url: &str) -> Project {
    let project = Project::new(&format!(
        "{FROM_FILE}\n[alert.any]\nwhen = \"SELECT * FROM trades WHERE price >= 0\"\n\
         notify = \"ops\"\n[notify.ops]\nwebhook.url = \"{url}\"\n"
    ));
    write_trades(&project, 100, false, "");
    project
}

/// Drains a project whose alert goes to `url`, with two seconds for it; what it said.
#[track_caller]
fn drain_with_alert_to(url: &str, code: i32) -> String {
    let project = alerting(url);
    let started = Instant::now();
    let said = project.start(&["--drain", "--wait", "2s"]).end().ended_with(code);
    // Two seconds for the target, a few to stop; what is left is for a busy machine.
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    assert_eq!(project.ledger("source", "trades", "rows_valid"), 100, "the others went on");
    said.stderr
}

#[test]
fn a_webhook_that_answers_is_told_and_the_drain_ends_well() {
    drain_with_alert_to(webhook(), 0);
}

#[test]
fn a_webhook_nobody_listens_at_ends_a_drain_when_its_wait_is_over_and_is_named() {
    let said = drain_with_alert_to("http://127.0.0.1:1/ops", 1);
    assert!(said.contains("`alert.any` did not commit: the webhook of alert `any`"), "{said}");
    assert!(said.contains("refused"), "{said}");
}

#[test]
fn a_webhook_that_never_answers_ends_a_drain_when_its_wait_is_over_and_is_named() {
    // The system accepts for it; nobody ever reads.
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    let said = drain_with_alert_to(&format!("http://{address}/ops"), 1);
    assert!(said.contains("`alert.any` did not commit: it has not answered within 2 s"), "{said}");
}

// Memory --------------------------------------------------------------------------------------

#[test]
fn state_beyond_the_cap_on_memory_pauses_the_stream_and_says_whose_it_is() {
    let project = Project::new(&format!(
        "[runtime]\nmemory = \"16MB\"\n{FROM_FILE}\n[stream.by_symbol]\n\
         sql = \"SELECT symbol, count(*) AS n, max(price) AS high FROM trades GROUP BY symbol\"\n"
    ));
    write_trades(&project, 150_000, true, "");
    let said = project.start(&["--drain", "--wait", "2s"]).end().ended_with(1).stderr;
    assert!(said.contains("of `runtime.memory` is held, most of it"), "S26: {said}");
    assert!(said.contains("the state of `by_symbol`"), "S26: {said}");

    // With more of it, it goes on where it stood.
    let text = fs::read_to_string(project.path("thalweg.toml")).expect("it was written");
    project.write("thalweg.toml", text.replace("16MB", "1GB"));
    project.drain().ended_with(0);
    project.balances();
    assert_eq!(project.count("SELECT count(*) FROM by_symbol"), 150_000);
    assert_eq!(project.count("SELECT sum(n) FROM by_symbol"), 150_000);
}

#[test]
fn the_process_stays_within_its_memory_while_a_target_is_away_and_when_it_recovers() {
    let project = Project::new(&format!(
        "[runtime]\nmemory = \"64MB\"\ncheckpoint.every = \"200ms\"\n{FROM_FILE}\n\
         [stream.louder]\nsql = \"SELECT symbol, ts, price, upper(note) AS note FROM trades\"\n\
         [sink.away]\nfrom = \"louder\"\npostgres.url = \"postgres://127.0.0.1:1/none\"\n\
         postgres.table = \"louder\"\nmode = \"append\"\n"
    ));
    // About 100 MB as rows: more than the cap, were they kept.
    write_trades(&project, 120_000, false, &"x".repeat(400));
    // Twice: the second goes through the recorded epochs again.
    for _ in 0..2 {
        let mut process = project.start(&["--http", "127.0.0.1:0"]);
        wait_for("the server listens", || process.stderr().contains("listening on").then_some(()));
        let mut most = 0;
        wait_for("the stream has read every row", || {
            most = most.max(anonymous_bytes(process.pid()));
            let query = "SELECT rows_waiting FROM system.sinks WHERE name = 'away'";
            (project.rows(query) == [serde_json::json!({ "rows_waiting": 120_000 })]).then_some(())
        });
        assert!(most <= 164_000_000, "S26: {most} bytes, with a cap of 64 MB");
        assert!(fs::read_dir(project.data().join("outbox/away")).expect("it is used").count() > 3);
        process.run_for(Duration::ZERO);
    }
}

/// Memory of a process that is its own. The pages of the binary, a development build here, are the
/// system's to drop.
fn anonymous_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    1024 * kib.unwrap_or(0)
}

// Disk ----------------------------------------------------------------------------------------

/// Trades of Finnhub's messages, which cost more room in the journal than as rows.
const FROM_FEED: &str = r#"
[source.trades]
finnhub.token   = "demo"
finnhub.symbols = ["AAPL"]
key             = ["symbol"]
event_time      = "ts"
"#;

/// A file of messages of one trade each and `bytes` of padding.
fn padded_messages(folder: &Path, count: u32, bytes: usize) -> PathBuf {
    let padding = "x".repeat(bytes);
    let mut lines = String::new();
    for number in 0..count {
        let time = 1_703_258_644_022_u64 + u64::from(number);
        writeln!(
            lines,
            r#"{{"type":"trade","data":[{{"p":{number}.5,"s":"AAPL","t":{time},"v":1}}],"padding":"{padding}"}}"#
        )
        .expect("a text grows");
    }
    let file = folder.join("messages.ndjson");
    fs::write(&file, lines).expect("the folder is ours");
    file
}

#[test]
fn beyond_the_budget_of_the_disk_the_source_waits_for_its_holder_and_then_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let simulator =
        Simulator::replay(&padded_messages(folder.path(), 3_000, 16_000), &["--speed", "max"]);
    let server = postgres::restartable();
    server.stop();
    let database = Database::of(&server);
    let project = Project::new(&format!(
        "[runtime]\ndisk = \"24MB\"\ncheckpoint.every = \"200ms\"\n{FROM_FEED}\
         finnhub.url = \"{}\"\n[sink.copy]\nfrom = \"trades\"\npostgres.url = \"{}\"\n\
         postgres.table = \"trades\"\nmode = \"append\"\n",
        simulator.url, database.url
    ));
    let process = project.start(&["--http", "127.0.0.1:0"]);
    wait_for("the server listens", || process.stderr().contains("listening on").then_some(()));
    let reason = wait_for("the source waits", || waiting_source(&project));
    assert!(reason.contains("disk budget"), "S26: {reason}");
    assert!(reason.contains("pipeline trades needs"), "S26: the holder is not named: {reason}");
    assert!(bytes_below(&project.data()) < 32_000_000, "{}", bytes_below(&project.data()));

    server.start_again();
    let written = || project.count("SELECT sum(rows_written) FROM system.sinks");
    wait_for("the sink writes again", || (written() > 0).then_some(()));
    wait_for("the source goes on", || waiting_source(&project).is_none().then_some(()));
    wait_for("everything has come", || (written() == 3_000).then_some(()));
    assert_eq!(database.rows("SELECT count(*), count(DISTINCT price) FROM trades"), ["3000|3000"]);
    process.terminate();
    process.end().ended_with(0);
    project.balances();
}

/// The reason why the source is not reading, if it is not.
fn waiting_source(project: &Project) -> Option<String> {
    let rows = project.rows("SELECT state, reason FROM system.sources");
    (rows[0]["state"] == "blocked").then(|| rows[0]["reason"].to_string())
}

fn bytes_below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("it is there").flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    bytes.sum()
}

#[test]
fn a_full_disk_pauses_the_source_until_there_is_room_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    fs::create_dir(&data).expect("the folder is ours");
    let mut probe = Command::new("unshare");
    probe.args(["-rm", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&data);
    if !probe.output().is_ok_and(|output| output.status.success()) {
        eprintln!(
            "SKIPPED: this machine lets nobody mount a small disk in a namespace (unshare -rm)"
        );
        return;
    }
    let simulator =
        Simulator::replay(&padded_messages(folder.path(), 1_000, 16_000), &["--speed", "max"]);
    let project = Project::new(&format!(
        "[runtime]\ndisk = \"1GB\"\ncheckpoint.every = \"200ms\"\n{FROM_FEED}finnhub.url = \"{}\"\n\
         [table.kept]\nfrom = \"trades\"\ndelta.path = \"lake/trades\"\n",
        simulator.url
    ));
    // 40 MB, of which something else takes 30.
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs -o size=40m tmpfs \"$0\" && \
                  dd if=/dev/zero of=\"$0/ballast\" bs=1M count=30 status=none && exec \"$@\"";
    command.args(["-rm", "sh", "-c", script]).arg(&data).arg(thalweg().get_program());
    command.arg("run").arg(project.path("")).arg("--data-dir").arg(&data);
    command.args(["--http", "127.0.0.1:0"]);
    let process = Process::start(command);
    wait_for("the server listens", || process.stderr().contains("listening on").then_some(()));
    // The disk as the process sees it.
    let inside = PathBuf::from(format!("/proc/{}/root{}", process.pid(), data.display()));
    let ask = |sql: &str| -> Vec<Value> {
        let mut command = project.command("sql", &["--format", "jsonl", "-c", sql]);
        command.env("THALWEG_DATA_DIR", &inside);
        run(command).ended_with(0).json_lines()
    };
    let reason = wait_for("the source waits", || {
        let rows = ask("SELECT state, reason FROM system.sources");
        (rows[0]["state"] == "blocked").then(|| rows[0]["reason"].to_string())
    });
    assert!(reason.contains("space") || reason.contains("full"), "S26: {reason}");

    fs::remove_file(inside.join("ballast")).expect("it is there");
    wait_for("everything has come", || {
        let query = "SELECT value FROM system.ledger \
                     WHERE name = 'kept' AND \"count\" = 'rows_written'";
        (ask(query) == [serde_json::json!({ "value": 1_000 })]).then_some(())
    });
    let counts = ask("SELECT count(*) AS n, count(DISTINCT price) AS prices FROM trades");
    assert_eq!(counts, [serde_json::json!({ "n": 1_000, "prices": 1_000 })]);
    let broken = ask("SELECT * FROM system.ledger WHERE NOT balanced");
    assert!(broken.is_empty(), "S12: {broken:?}");
    process.terminate();
    process.end().ended_with(0);
}

// Feeds ---------------------------------------------------------------------------------------

#[test]
fn silence_and_cut_connections_leave_a_gap_per_key_and_every_message_once() {
    let Some(capture) = capture() else { return };
    // Silent for a minute, which is five at this clock: dead by the feed's own cadence (S14).
    let faults = "stall@#200:60s,close@#400,goodbye@#600";
    let simulator = Simulator::replay(&capture, &["--speed", "max", "--faults", faults]);
    let symbols = ["AAPL", "AMZN", "MSFT", "GBP", "BINANCE:ETHUSDT", "BINANCE:BTCUSDT"];
    let project = Project::new(&format!(
        "[source.trades]\nfinnhub.token = \"demo\"\nfinnhub.url = \"{}\"\nfinnhub.symbols = {symbols:?}\n\
         key = [\"symbol\"]\nevent_time = \"ts\"\n\
         [table.kept]\nfrom = \"trades\"\ndelta.path = \"lake/trades\"\n",
        simulator.url
    ));
    let clock = ["--clock", "2026-01-01T00:00:00Z@60", "--drain", "--idle", "15m"];
    project.start(&clock).end().ended_with(0);
    project.balances();
    let said = simulator.stop();
    assert!(said.contains("faults: 3 "), "{said}");

    assert_eq!(project.count("SELECT count(*) FROM kept"), 6_959);
    assert_eq!(project.ledger("source", "trades", "frames_decoded"), 864);
    assert_eq!(project.count("SELECT count(*) FROM system.quarantine"), 0, "no wrong row");
    let gaps = project.rows("SELECT key, state, reason FROM system.gaps");
    let mut by_key: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for gap in &gaps {
        let reasons = by_key.entry(gap["key"].to_string()).or_default();
        reasons.push(gap["reason"].to_string());
    }
    assert_eq!(by_key.len(), symbols.len(), "S14: a gap per key: {gaps:?}");
    for (key, reasons) in by_key {
        // On a busy machine the fast clock makes a short pause a long silence, too.
        assert!(reasons.len() >= 3, "S14: {key}: {reasons:?}");
        assert!(reasons.iter().any(|reason| reason.contains("silent")), "S14: {key}: {reasons:?}");
    }
}
