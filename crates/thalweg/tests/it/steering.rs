//! What a person does with a running project from the command line, and what of it lasts.

use std::fs;

use serde_json::Value;

use crate::postgres::Database;
use crate::project::Project;
use crate::support::{Process, Said, capture, run, thalweg, wait_for};

/// Runs a verb on a project.
fn ask(project: &Project, arguments: &[&str]) -> Said {
    let mut command = thalweg();
    command.args(arguments).arg("--project").arg(project.path(""));
    run(command)
}

fn served(project: &Project, options: &[&str]) -> Process {
    let process = project.start(&[&["--http", "127.0.0.1:0"], options].concat());
    wait_for("the server listens", || process.stderr().contains("listening on").then_some(()));
    process
}

fn stop(process: Process) {
    process.terminate();
    process.end();
}

/// The one row of a query.
#[track_caller]
fn row(project: &Project, sql: &str) -> Value {
    let mut rows = project.rows(sql);
    assert_eq!(rows.len(), 1, "{sql}: {rows:?}");
    rows.remove(0)
}

fn wait_for_row(project: &Project, what: &str, sql: &str, is_there: impl Fn(&Value) -> bool) {
    wait_for(what, || project.rows(sql).iter().any(&is_there).then_some(()));
}

const SINK: &str = "SELECT state, reason FROM system.sinks WHERE name = 'speed_table'";
const TABLE: &str = "SELECT state FROM system.tables WHERE name = 'trades_history'";

#[test]
fn a_target_of_another_data_folder_is_adopted_or_written_anew_as_a_person_says() {
    let Some(capture) = capture() else { return };
    let database = Database::new();
    let project = Project::market_from_file(&capture, None, &database.url);
    project.drain().ended_with(0);
    let speed = "SELECT * FROM speed_table ORDER BY symbol";
    let before = database.rows(speed);
    assert!(!before.is_empty());
    let trades = project.count("SELECT count(*) FROM trades_history");
    let said = ask(&project, &["reset"]).ended_with(4);
    assert!(
        said.stderr.contains("--yes") && said.stderr.contains("are removed"),
        "{}",
        said.stderr
    );
    assert!(project.data().join("incarnation").exists(), "nothing is done without leave");
    ask(&project, &["reset", "--yes"]).ended_with(0);
    assert!(!project.data().join("incarnation").exists());

    let process = served(&project, &[]);
    wait_for_row(&project, "the sink stops", SINK, |row| row["state"] == "stopped");
    wait_for_row(&project, "the table stops", TABLE, |row| row["state"] == "stopped");
    let reason = row(&project, SINK)["reason"].to_string();
    assert!(
        reason.contains("another data folder") && reason.contains("sinks adopt"),
        "S9: {reason}"
    );
    // The whole file is read before anything is decided, so both ways can be told apart.
    wait_for_row(
        &project,
        "every trade was read",
        "SELECT rows_valid FROM system.sources WHERE name = 'trades'",
        |row| row["rows_valid"] == trades,
    );

    let said = ask(&project, &["sinks", "reset", "speed_table"]).ended_with(4);
    assert!(said.stderr.contains("loses all its rows"), "{}", said.stderr);
    ask(&project, &["sinks", "reset", "speed_tabel", "--yes"]).ended_with(1);
    assert_eq!(database.rows(speed), before, "S9: nothing was touched");

    for table in ["trades_history", "bars"] {
        ask(&project, &["sinks", "adopt", table, "--yes"]).ended_with(0);
    }
    ask(&project, &["sinks", "reset", "speed_table", "--yes"]).ended_with(0);
    wait_for_row(&project, "the table goes on", TABLE, |row| row["state"] == "running");
    wait_for_row(&project, "the sink goes on", SINK, |row| row["state"] == "running");
    wait_for("the sink is written anew", || (database.rows(speed) == before).then_some(()));
    stop(process);

    // Not one row is lost or there twice, and the counts say so.
    project.drain().ended_with(0);
    project.balances();
    assert_eq!(project.count("SELECT count(*) FROM trades_history"), trades);
    let distinct = "SELECT count(*) FROM (SELECT DISTINCT _offset, _row FROM trades_history)";
    assert_eq!(project.count(distinct), trades, "S9: a row is there twice");
    assert_eq!(database.rows(speed), before);
}

/// A meter read from a file, slowly, and what is made of it.
const METER: &str = r#"
[project]
name = "meter"

[source.readings]
file.path   = "readings.jsonl"
file.rate   = "20/s"
format.json = {}
key         = ["meter"]
event_time  = "ts"
[source.readings.columns]
meter = "text not null"
ts    = "timestamp not null"
kwh   = "double not null"

[stream.big]
sql = "SELECT meter, ts, kwh FROM readings WHERE kwh > 100"

[table.history]
from       = "readings"
delta.path = "lake/history"
[table.hourly_table]
batch_of   = "hourly"
delta.path = "lake/hourly"
replace    = "date(window_start)"
[stream.hourly]
sql = '''
SELECT meter, window_start, sum(kwh) AS kwh
FROM tumble(readings, ts, interval '1 hour')
GROUP BY meter, window_start
'''
[job.nightly]
schedule = "15 0 * * *"
[job.nightly.tasks]
hours = { refresh = "hourly_table", day = "$day" }
tidy  = { compact = "history", after = ["hours"] }

[runtime]
checkpoint.every = "100ms"
commit.every     = "200ms"
"#;

fn meter() -> Project {
    let project = Project::new(METER);
    let readings = (0..6_000).map(|number| {
        let (minute, second) = (number / 60 % 60, number % 60);
        format!("{{\"meter\":\"m\",\"ts\":\"2024-01-05T10:{minute:02}:{second:02}Z\",\"kwh\":{number}}}\n")
    });
    project.write("readings.jsonl", readings.collect::<String>());
    project
}

#[test]
fn a_pause_says_who_and_when_lasts_over_kill_and_is_undone() {
    let project = meter();
    let process = served(&project, &[]);
    let state = |kind: &str, name: &str| {
        row(&project, &format!("SELECT state, reason FROM system.{kind} WHERE name = '{name}'"))
    };
    ask(&project, &["streams", "pause", "big"]).ended_with(0);
    ask(&project, &["jobs", "pause", "nightly"]).ended_with(0);
    wait_for("the stream stands", || (state("streams", "big")["state"] == "paused").then_some(()));
    ask(&project, &["sources", "pause", "readings"]).ended_with(0);
    wait_for("the source stands", || {
        (state("sources", "readings")["state"] == "paused").then_some(())
    });
    let reason = state("sources", "readings")["reason"].to_string();
    assert!(reason.contains("paused by admin at 20"), "{reason}");
    ask(&project, &["streams", "pause", "bog"]).ended_with(1);

    // Killed, not stopped: what was asked for is still so.
    drop(process);
    fs::remove_file(project.data().join("addresses.json")).expect("it was killed");
    let process = served(&project, &[]);
    wait_for("the source still stands", || {
        (state("sources", "readings")["state"] == "paused").then_some(())
    });
    let jobs = "SELECT paused FROM system.jobs WHERE job = 'nightly'";
    assert_eq!(row(&project, jobs)["paused"], true);
    let count = || project.ledger("source", "readings", "rows_valid");
    let before = count();

    ask(&project, &["sources", "resume", "readings"]).ended_with(0);
    ask(&project, &["jobs", "resume", "nightly"]).ended_with(0);
    wait_for("rows come again", || (count() > before).then_some(()));
    assert_eq!(row(&project, jobs)["paused"], false);
    assert_eq!(state("streams", "big")["state"], "paused", "it was paused by itself");
    ask(&project, &["streams", "resume", "big"]).ended_with(0);
    wait_for("the stream goes on", || {
        (state("streams", "big")["state"] == "running").then_some(())
    });
    stop(process);
}

#[test]
fn a_run_is_marked_and_run_again_from_a_task() {
    let project = meter();
    let process = served(&project, &[]);
    wait_for("the history has rows", || {
        let rows = "SELECT count(*) FROM history";
        (project.count(rows) > 0).then_some(())
    });
    ask(&project, &["jobs", "run", "nightly", "--date", "2020-01-01"]).ended_with(0);
    let id = "nightly@2020-01-01.manual";
    let tasks = || {
        project.rows(&format!(
            "SELECT task, state, attempt FROM system.tasks WHERE run = '{id}' ORDER BY task"
        ))
    };
    let ended = || {
        wait_for("the run ends", || {
            let sql = format!("SELECT state FROM system.runs WHERE run = '{id}'");
            let state = row(&project, &sql)["state"].clone();
            (state == "succeeded" || state == "failed").then_some(state)
        })
    };
    assert_eq!(ended(), "succeeded");
    assert_eq!(tasks()[1]["attempt"], 1);
    ask(&project, &["jobs", "retry", id]).ended_with(1);
    ask(&project, &["jobs", "retry", id, "--from", "tidy"]).ended_with(0);
    wait_for("the task has run again", || {
        let tasks = tasks();
        (tasks[1]["attempt"] == 2 && tasks[1]["state"] == "succeeded").then_some(())
    });
    assert_eq!(tasks()[0]["attempt"], 1, "what came before it did not run again");
    ask(&project, &["jobs", "mark", id, "tidy", "failed"]).ended_with(0);
    assert_eq!(ended(), "failed");
    assert_eq!(tasks()[1]["state"], "failed");
    ask(&project, &["jobs", "mark", id, "tidi", "failed"]).ended_with(1);

    ask(&project, &["tables", "compact", "history"]).ended_with(0);
    let history = ask(&project, &["tables", "history", "history", "--format", "jsonl"]);
    assert!(!history.ended_with(0).json_lines().is_empty());
    ask(&project, &["tables", "vacuum", "history"]).ended_with(4);
    ask(&project, &["tables", "vacuum", "history", "--yes"]).ended_with(0);

    let doctor = ask(&project, &["doctor", "--format", "json"]).ended_with(0);
    let links: Value = serde_json::from_str(&doctor.stdout).expect("JSON");
    let names: Vec<&str> =
        links.as_array().expect("a list").iter().filter_map(|link| link["link"].as_str()).collect();
    for name in ["configuration", "data folder", "clock", "server", "source readings", "stream big"]
    {
        assert!(names.contains(&name), "{names:?}");
    }
    stop(process);
}

#[test]
fn what_init_makes_runs_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("shop");
    let make = || {
        let mut command = thalweg();
        command.arg("init").arg(&dir);
        run(command)
    };
    make().ended_with(0);
    assert!(make().ended_with(1).stderr.contains("would be overwritten"), "nothing is replaced");
    let mut command = thalweg();
    command.arg("run").arg(&dir).args(["--http", "127.0.0.1:0"]);
    let process = Process::start(command);
    wait_for("made-up trades come", || {
        let mut command = thalweg();
        command.args(["sql", "-c", "SELECT count(*) AS n FROM trades", "--format", "jsonl"]);
        command.arg("--project").arg(&dir);
        let said = run(command);
        (said.code == Some(0) && said.json_lines()[0]["n"].as_i64() > Some(0)).then_some(())
    });
    for (format, begins) in
        [("text", "source trades -> "), ("mermaid", "flowchart LR"), ("svg", "<svg ")]
    {
        let mut command = thalweg();
        command.args(["graph", "--format", format, "--project"]).arg(&dir);
        let drawn = run(command).ended_with(0).stdout;
        assert!(drawn.starts_with(begins), "{format}: {drawn}");
    }
    stop(process);
}

#[test]
fn a_plan_says_what_an_edit_does() {
    let project = meter();
    let does = |expected: &[(&str, &str)]| {
        let said = ask(&project, &["plan", "--format", "json"]).ended_with(0);
        let steps: Vec<Value> = serde_json::from_str(&said.stdout).expect("a list");
        let found: Vec<(&str, &str)> = steps
            .iter()
            .map(|step| (step["does"].as_str().unwrap(), step["part"].as_str().unwrap()))
            .collect();
        assert_eq!(found, expected);
    };
    let all = ["stream big", "stream hourly", "source readings"];
    does(&all.map(|part| ("start", part)));
    // Without a rate, so that it ends.
    let text = METER.replace("file.rate   = \"20/s\"\n", "");
    project.write("thalweg.toml", &text);
    project.drain().ended_with(0);
    does(&all.map(|part| ("keep", part)));
    project.write(
        "thalweg.toml",
        text.replace("sum(kwh) AS kwh", "max(kwh) AS kwh")
            .replace("[stream.big]", "[stream.large]"),
    );
    does(&[
        ("rebuild", "stream hourly"),
        ("back-fill", "table hourly_table"),
        ("start", "stream large"),
        ("keep", "source readings"),
        ("drop", "pipeline big"),
    ]);
}

#[test]
fn dev_runs_what_is_saved_and_nothing_that_is_wrong() {
    let project = meter();
    let process = Process::start(project.command("dev", &["--http", "127.0.0.1:0"]));
    let listened = |times: usize| {
        wait_for("it listens", || {
            (process.stderr().matches("listening on").count() == times).then_some(())
        });
    };
    listened(1);
    project.write("thalweg.toml", METER.replace("kwh > 100", "kwj > 100"));
    wait_for("the mistake is shown", || {
        let said = process.stderr();
        (said.contains("kwj") && said.contains("what ran before goes on")).then_some(())
    });
    project.write("thalweg.toml", METER.replace("kwh > 100", "kwh > 200"));
    listened(2);
    wait_for("the new query runs", || {
        let rows = project.rows("SELECT min(kwh) AS least FROM big");
        (rows[0]["least"].as_f64() > Some(200.0)).then_some(())
    });
    process.terminate();
    process.end().ended_with(0);
}
