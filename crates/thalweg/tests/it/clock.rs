//! The clock that leaps over idle time: days of a project in seconds, in the order of the days.

use std::time::Instant;

use serde_json::Value;

use crate::project::Project;
use crate::support::{run, thalweg, wait_for};

/// A reading an hour for three days; the source hands out one an hour of the clock.
const METER: &str = r#"
[project]
name = "meter"

[source.readings]
file.path   = "readings.jsonl"
file.rate   = "1/h"
format.json = {}
key         = ["meter"]
event_time  = "ts"
[source.readings.columns]
meter = "text not null"
ts    = "timestamp not null"
kwh   = "double not null"

[stream.daily]
sql = '''
SELECT meter, window_start, sum(kwh) AS kwh, count(*) AS readings
FROM tumble(readings, ts, interval '1 day')
GROUP BY meter, window_start
'''
[table.history]
from       = "readings"
delta.path = "lake/history"
[table.days]
batch_of   = "daily"
delta.path = "lake/days"
replace    = "date(window_start)"

[job.nightly]
schedule = "15 0 * * *"
wait_for = ["readings"]
[job.nightly.tasks]
days = { refresh = "days", day = "$day" }
[job.tidy]
schedule = "30 3 * * *"
[job.tidy.tasks]
compact = { compact = "history" }

[runtime]
checkpoint.every = "1m"
commit.every     = "1m"
"#;

const DAYS: u32 = 3;

#[test]
fn weeks_of_a_project_pass_in_seconds_and_every_night_has_its_run() {
    let project = Project::new(METER);
    // The last reading is later than the night's run of the last day: its watermark lets it begin.
    let readings = (0..=DAYS * 24 + 1).map(|hour| {
        let (day, hour) = (1 + hour / 24, hour % 24);
        format!("{{\"meter\":\"m\",\"ts\":\"2024-01-{day:02}T{hour:02}:00:10Z\",\"kwh\":1.5}}\n")
    });
    project.write("readings.jsonl", readings.collect::<String>());
    let begun = Instant::now();
    let process = project.start(&["--http", "127.0.0.1:0", "--clock", "2024-01-01T00:00:30Z@max"]);
    wait_for("the server listens", || process.stderr().contains("listening on").then_some(()));

    // Three nights with data, then three weeks on which nothing comes any more.
    let runs = |job: &str| {
        let sql = format!(
            "SELECT day, started_at FROM system.runs \
             WHERE job = '{job}' AND state = 'succeeded' AND started_at >= '2024-01-01' \
             ORDER BY started_at"
        );
        project.rows(&sql)
    };
    // The first night is of the day before the readings begin.
    let nights = DAYS as usize + 1;
    wait_for("every day of readings was refreshed", || {
        (runs("nightly").len() >= nights).then_some(())
    });
    wait_for("three weeks have passed", || (runs("tidy").len() >= 21).then_some(()));
    let took = begun.elapsed();

    let days: Vec<Value> = runs("nightly").iter().map(|row| row["day"].clone()).collect();
    let expected = ["2023-12-31", "2024-01-01", "2024-01-02", "2024-01-03"];
    assert_eq!(days[..nights], expected, "S19: in order, none left out");
    for (number, row) in runs("tidy").iter().take(21).enumerate() {
        let started = row["started_at"].as_str().expect("a time");
        let expected = format!("2024-01-{:02}T03:30:", number + 1);
        assert!(started.starts_with(&expected), "S3: {started} is not at {expected}");
    }
    let days = project.rows("SELECT readings, kwh FROM days ORDER BY window_start");
    let whole = serde_json::json!({ "readings": 24, "kwh": 36.0 });
    assert_eq!(days[..DAYS as usize], vec![whole; DAYS as usize]);
    process.terminate();
    process.end().ended_with(0);
    println!("three weeks took {took:?}");
}

#[test]
fn the_clock_is_read_as_it_is_written() {
    for clock in ["yesterday", "2024-01-01@fast", "2024-01-01@0", "2024-01-01@-2"] {
        let mut command = thalweg();
        command.args(["run", "--clock", clock]);
        assert!(run(command).ended_with(2).stderr.contains("--clock"), "{clock}");
    }
}
