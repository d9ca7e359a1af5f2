//! Forecasts through the product: rows come, a model is trained and judged, and its champion answers
//! in streams, in `FROM <model>` and in `predict()`, each prediction with its version.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;

use crate::project::Project;
use crate::support::{assert_same_rows, run, sorted, thalweg, wait_for};

const MINUTES_A_DAY: usize = 1_440;

const PROJECT: &str = r#"
[project]
name = "forecasts"

[source.readings]
file.path   = "readings.ndjson"
format.json = {}
event_time  = "ts"
key         = ["meter"]
watermark   = "0s"
columns.meter = "text not null"
columns.ts    = "timestamp not null"
columns.level = "double"
columns.wind  = "double"

[table.history]
from       = "readings"
delta.path = "lake/history"

[model.next_level]
features = "readings"
target   = "level"
horizon  = "1m"
time     = "ts"
key      = ["meter"]
train    = { schedule = "0 0 * * *", window = "30d", min_rows = 1000 }
evaluate = { schedule = "0 0 * * *", window = "7d" }

[stream.forecasts]
sql = "SELECT meter, ts, prediction, lower, upper, model_version FROM predict(next_level, readings)"
[table.forecasts_made]
from       = "forecasts"
delta.path = "lake/forecasts"

[runtime]
checkpoint.every = "100ms"
commit.every     = "200ms"
"#;

/// Readings by the minute from 2024-01-01 on: the next level is the wind now, and noise.
struct Readings {
    random: SmallRng,
    minute: usize,
    next: f64,
}

impl Readings {
    fn new() -> Self {
        Self { random: SmallRng::seed_from_u64(7), minute: 0, next: 0.0 }
    }

    /// The sum of twelve uniform numbers is as good as normal.
    fn noise(&mut self) -> f64 {
        (0..12).map(|_| self.random.random_range(-0.5..0.5)).sum()
    }

    fn lines(&mut self, count: usize) -> String {
        let mut lines = String::new();
        for _ in 0..count {
            let at = 1_704_067_200_000 + 60_000 * self.minute;
            let (level, wind) = (50.0 + self.next, self.noise());
            self.next = wind + 0.5 * self.noise();
            self.minute += 1;
            let row = format!(r#"{{"meter":"m1","ts":{at},"level":{level},"wind":{wind}}}"#);
            writeln!(lines, "{row}").expect("text takes text");
        }
        lines
    }
}

fn append(project: &Project, lines: &str) {
    let file = OpenOptions::new().append(true).create(true).open(project.path("readings.ndjson"));
    file.and_then(|mut file| file.write_all(lines.as_bytes())).expect("the folder is ours");
}

/// Runs a job for a day, and waits until it has succeeded.
fn run_for_day(project: &Project, job: &str, day: &str) {
    let mut command = thalweg();
    command.args(["backfill", job, "--from", day, "--to", day, "--dir"]).arg(project.path(""));
    run(command).ended_with(0);
    wait_for("the job ends", || {
        let query = format!(
            "SELECT state, reason FROM system.runs WHERE job = '{job}' AND day = '{day}' \
             AND ended_at IS NOT NULL"
        );
        let ended = project.rows(&query);
        let state = ended.first()?["state"].clone();
        let tasks = project.rows("SELECT task, state, note FROM system.tasks");
        assert_eq!(state, "succeeded", "{tasks:#?}");
        Some(())
    });
}

fn ask(project: &Project, arguments: &[&str]) {
    let mut command = thalweg();
    command.args(arguments).arg(project.path(""));
    run(command).ended_with(0);
}

/// Waits until as many predictions are there, and in the table of the stream.
fn wait_for_predictions(project: &Project, count: usize) {
    for relation in ["next_level", "forecasts_made"] {
        wait_for(&format!("{count} rows of {relation}"), || {
            let found = project.count(&format!("SELECT count(*) FROM {relation}"));
            assert!(found <= count as i64, "{found} rows of {relation}, of {count}");
            (found == count as i64).then_some(())
        });
    }
}

/// Versions that answered, with how many rows each, by the first row.
fn versions(project: &Project) -> Vec<(String, i64)> {
    let query = "SELECT model_version, count(*) AS rows FROM next_level \
                 GROUP BY model_version ORDER BY min(made_at)";
    let rows = project.rows(query);
    let version = |row: &Value| row["model_version"].as_str().expect("a version").to_owned();
    rows.iter().map(|row| (version(row), row["rows"].as_i64().expect("a count"))).collect()
}

#[test]
fn a_champion_answers_in_streams_and_in_sql_and_each_prediction_has_its_version() {
    let project = Project::new(PROJECT);
    let mut readings = Readings::new();
    append(&project, &readings.lines(4 * MINUTES_A_DAY));
    let process = project.start(&["--http", "127.0.0.1:0"]);
    wait_for("the server listens", || process.stderr().contains("listening on").then_some(()));
    let mut count = 4 * MINUTES_A_DAY;
    wait_for_predictions(&project, count);
    assert_eq!(versions(&project), [("strong_naive".to_owned(), count as i64)]);

    // Learnt from the first two days, judged on the two after them.
    run_for_day(&project, "model.next_level.train", "2024-01-02");
    run_for_day(&project, "model.next_level.evaluate", "2024-01-04");
    let model = project.rows("SELECT state, serves FROM system.models");
    assert_eq!(model[0]["serves"], "ridge/3", "{model:?}");

    let mut newest = thalweg();
    newest.args(["models", "predict", "next_level", "-n", "3", "--format", "jsonl"]);
    newest.arg(project.path(""));
    let newest = run(newest).ended_with(0).json_lines();
    assert!(newest.len() == 3 && newest[0]["model_version"].is_string(), "{newest:?}");
    let mut card = thalweg();
    card.args(["models", "card", "next_level"]).arg(project.path(""));
    let card = run(card).ended_with(0).stdout;
    for part in [
        "# next_level, version 3 (ridge): champion",
        "| naive | 1 |",
        "| **ridge** | 3 |",
        "by the rule",
    ] {
        assert!(card.contains(part), "no {part} in {card}");
    }

    append(&project, &readings.lines(MINUTES_A_DAY));
    count += MINUTES_A_DAY;
    wait_for_predictions(&project, count);
    ask(&project, &["models", "rollback", "next_level"]);
    append(&project, &readings.lines(100));
    count += 100;
    wait_for_predictions(&project, count);
    let day = MINUTES_A_DAY as i64;
    let expected = [("strong_naive", 4 * day), ("ridge/3", day), ("strong_naive/2", 100)];
    assert_eq!(versions(&project), expected.map(|(version, rows)| (version.to_owned(), rows)));

    // What the stream gave, and what the model's own relation holds, is the same.
    let made = project.rows(
        "SELECT meter, ts AS made_at, prediction, lower, upper, model_version FROM forecasts_made",
    );
    let query = "SELECT meter, made_at, prediction, lower, upper, model_version FROM next_level";
    assert_same_rows("forecasts_made", &sorted(&made), &sorted(&project.rows(query)));
    assert_eq!(project.count("SELECT count(*) FROM forecasts"), count as i64);

    // Each instant that came is known, and the ninety per cent are ninety.
    assert_eq!(project.count("SELECT count(*) FROM next_level WHERE actual IS NULL"), 1);
    let wrong = "SELECT count(*) FROM next_level p JOIN history h \
                 ON p.for_time = h.ts AND p.meter = h.meter WHERE p.actual <> h.level";
    assert_eq!(project.count(wrong), 0);
    let within = project.count(
        "SELECT count(*) FROM next_level \
         WHERE model_version = 'ridge/3' AND actual BETWEEN lower AND upper",
    );
    let share = within as f64 / MINUTES_A_DAY as f64;
    assert!((share - 0.9).abs() < 0.03, "S24: {share}");
    let skill = project.rows(
        "SELECT avg(power(actual - prediction, 2)) AS mse, model_version FROM next_level \
         WHERE actual IS NOT NULL GROUP BY model_version ORDER BY min(made_at)",
    );
    let mse = |at: usize| skill[at]["mse"].as_f64().expect("a number");
    assert!(mse(1) < mse(0) / 2.0, "the champion knows the wind: {skill:?}");

    // In any SQL, over any relation with these columns, by who serves now.
    ask(&project, &["models", "promote", "next_level", "--number", "3"]);
    let query = "SELECT count(*) FROM predict(next_level, history) WHERE model_version = 'ridge/3'";
    assert_eq!(project.count(query), count as i64);
    let different = "SELECT count(*) FROM next_level p JOIN predict(next_level, history) h \
                     ON p.made_at = h.ts WHERE p.model_version = 'ridge/3' \
                     AND abs(p.prediction - h.prediction) > 1e-9";
    assert_eq!(project.count(different), 0, "S11");

    let before = sorted(&project.rows("SELECT * FROM next_level"));
    process.terminate();
    process.end().ended_with(0);
    let after = sorted(&project.rows("SELECT * FROM next_level"));
    assert_same_rows("beside the stopped server", &after, &before);
    project.balances();
}

#[test]
fn features_that_see_the_future_are_not_learnt_from() {
    let (text, _) = PROJECT.split_once("[stream.forecasts]").expect("the project forecasts");
    let text = text.replace("features = \"readings\"", "features = \"compared\"");
    // No look at the SQL tells.
    let project = Project::new(&format!(
        "{text}\n[view.compared]\nsql = \"SELECT meter, ts, level, wind, \
         level - avg(level) OVER (PARTITION BY meter) AS above FROM history\"\n"
    ));
    append(&project, &Readings::new().lines(2_000));
    project.drain().ended_with(0);
    let process = project.start(&["--http", "127.0.0.1:0"]);
    wait_for("the server listens", || process.stderr().contains("listening on").then_some(()));
    let day = ["--from", "2024-01-02", "--to", "2024-01-02", "--dir"];
    ask(&project, &[&["backfill", "model.next_level.train"], &day[..]].concat());
    let note = wait_for("the training fails", || {
        let tasks = project.rows("SELECT note FROM system.tasks WHERE state = 'failed'");
        Some(tasks.first()?["note"].as_str()?.to_owned())
    });
    assert!(note.contains("feature `above` of `m1`") && note.contains("sees the future"), "{note}");
    assert_eq!(project.count("SELECT count(*) FROM system.model_versions"), 0, "S21");
}

#[test]
fn what_a_window_goes_on_from_holds_for_it() {
    let project = Project::new(PROJECT);
    append(&project, &Readings::new().lines(300));
    project.drain().ended_with(0);
    let different = project.count(
        "SELECT count(*) FROM (SELECT \
         sum(level) OVER (w ROWS BETWEEN 4 PRECEDING AND CURRENT ROW) AS short, \
         sum(level) OVER (PARTITION BY hour(ts) ORDER BY ts ROWS BETWEEN 4 PRECEDING AND CURRENT ROW) \
         AS long FROM history WINDOW w AS (PARTITION BY hour(ts) ORDER BY ts DESC), \
         v AS (PARTITION BY hour(ts) ORDER BY ts)) WHERE abs(short - long) > 1e-9",
    );
    assert!(different > 0, "the other order gives other sums");
    let different = project.count(
        "SELECT count(*) FROM (SELECT \
         sum(level) OVER (w ROWS BETWEEN 4 PRECEDING AND CURRENT ROW) AS short, \
         sum(level) OVER (v ORDER BY ts ROWS BETWEEN 4 PRECEDING AND CURRENT ROW) AS other, \
         sum(level) OVER (PARTITION BY hour(ts) ORDER BY ts ROWS BETWEEN 4 PRECEDING AND CURRENT ROW) \
         AS long FROM history WINDOW v AS (PARTITION BY hour(ts)), w AS (v ORDER BY ts)) \
         WHERE abs(short - long) > 1e-9 OR abs(other - long) > 1e-9",
    );
    assert_eq!(different, 0);
    let by = |window: &str| {
        project.rows(&format!(
            "SELECT ts FROM history WINDOW w AS (PARTITION BY hour(ts) ORDER BY ts) \
             ORDER BY sum(level) OVER ({window} ROWS 4 PRECEDING), ts LIMIT 20"
        ))
    };
    assert_eq!(by("w"), by("PARTITION BY hour(ts) ORDER BY ts"), "in ORDER BY, too");
}

#[test]
fn over_a_view_predictions_are_made_when_they_are_asked_for() {
    let text = PROJECT
        .replace("features = \"readings\"", "features = \"smooth\"")
        .replace("FROM predict(next_level, readings)", "FROM predict(next_level, smooth_live)");
    let text = format!(
        "{text}\n[view.smooth]\nsql = \"SELECT meter, ts, level, wind, lag(wind) OVER \
         (PARTITION BY meter ORDER BY ts) AS wind_before FROM history\"\n\
         [stream.smooth_live]\nsql = \"SELECT meter, ts, level, wind, lag(wind) OVER \
         (PARTITION BY meter ORDER BY _offset) AS wind_before FROM readings\"\n"
    );
    let project = Project::new(&text);
    let mut readings = Readings::new();
    append(&project, &readings.lines(2_000));
    project.drain().ended_with(0);
    // As far back as a chart shows, from the newest row on.
    assert_eq!(project.count("SELECT count(*) FROM next_level"), 641);
    assert_eq!(project.count("SELECT count(*) FROM next_level WHERE actual IS NULL"), 1);
    assert_eq!(project.count("SELECT count(*) FROM forecasts_made"), 2_000);
    let wrong = "SELECT count(*) FROM next_level p JOIN history h \
                 ON p.for_time = h.ts WHERE p.actual <> h.level";
    assert_eq!(project.count(wrong), 0);
    let query = "SELECT count(*) FROM predict(next_level, smooth) p JOIN forecasts_made f \
                 ON p.ts = f.ts WHERE p.prediction = f.prediction \
                 AND p.upper IS NOT DISTINCT FROM f.upper";
    assert_eq!(project.count(query), 2_000, "S11");
}
