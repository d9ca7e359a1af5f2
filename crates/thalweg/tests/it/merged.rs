//! The merged view while days are refreshed, in any order: always the whole input's answer (S17).

use std::fs;

use serde_json::Value;

use crate::postgres::Database;
use crate::project::Project;
use crate::recorded::{assert_same_hours, hours_by_duckdb};
use crate::support::{Simulator, capture, run, thalweg, wait_for};

#[test]
fn the_view_is_the_whole_inputs_answer_whichever_days_are_refreshed() {
    view_through_refreshes(|_| {});
}

#[test]
fn tables_of_files_are_history_and_batch_as_delta_tables_are() {
    view_through_refreshes(|project| {
        let file = project.path("thalweg.toml");
        let text = fs::read_to_string(file).expect("the project");
        // Plain files are not compacted.
        let lines = text.lines().filter(|line| !line.contains("compact = "));
        let text = lines.collect::<Vec<_>>().join("\n").replace("delta.path", "parquet.path");
        project.write("thalweg.toml", text);
    });
}

/// market-lambda, changed by `change`, while its nights are run by hand.
fn view_through_refreshes(change: impl Fn(&Project)) {
    let Some(capture) = capture() else { return };
    let simulator = Simulator::replay(&capture, &["--speed", "max"]);
    let database = Database::new();
    let project = Project::market(&simulator.url, &database.url);
    change(&project);
    let process = project.start(&["--http", "127.0.0.1:0"]);
    wait_for("the server listens", || process.stderr().contains("listening on").then_some(()));
    wait_for("the table holds every trade", || {
        let query = "SELECT value FROM system.ledger \
                     WHERE name = 'trades_history' AND \"count\" = 'rows_written'";
        (project.rows(query) == [serde_json::json!({ "value": 6_959 })]).then_some(())
    });

    let expected = hours_by_duckdb(&capture);
    assert_view(&project, &expected, "2023-12-22");
    // A day that does not follow the refreshed ones is no part of what the batch answers for yet.
    refresh(&project, "2023-12-23");
    assert_view(&project, &expected, "2023-12-22");
    refresh(&project, "2023-12-22");
    assert_view(&project, &expected, "2023-12-24");
    // The same day once more changes nothing.
    refresh(&project, "2023-12-22");
    assert_view(&project, &expected, "2023-12-24");
    refresh(&project, "2023-12-24");
    assert_view(&project, &expected, "2023-12-25");

    process.terminate();
    process.end().ended_with(0);
    // Beside the stopped server it is the same.
    assert_view(&project, &expected, "2023-12-25");
}

/// Rows before `boundary`, a day, come from the batch, the others are live; together they are the
/// answer.
#[track_caller]
fn assert_view(project: &Project, expected: &[Value], boundary: &str) {
    let found = project.rows(
        "SELECT symbol, window_start, volume, low, high, mean, trades, _layer \
         FROM hourly_volume ORDER BY symbol, window_start",
    );
    assert_same_hours(&found, expected);
    for row in &found {
        let is_before = row["window_start"].as_str().expect("a time") < boundary;
        assert_eq!(row["_layer"], if is_before { "batch" } else { "live" }, "S17: {row}");
    }
}

/// Runs the nightly job for a day, and waits for its end.
fn refresh(project: &Project, day: &str) {
    let ended = || {
        let query = "SELECT state, ended_at FROM system.runs WHERE ended_at IS NOT NULL";
        project.rows(&format!("{query} AND job = 'nightly' AND day = '{day}'"))
    };
    let before = ended();
    let mut command = thalweg();
    command.args(["jobs", "run", "nightly", "--date", day]).arg(project.path(""));
    run(command).ended_with(0);
    let ended = wait_for("the run ends", || {
        let now = ended();
        (!now.is_empty() && now != before).then_some(now)
    });
    let tasks = project.rows("SELECT task, state, note FROM system.tasks");
    assert_eq!(ended[0]["state"], "succeeded", "{day}: {tasks:#?}");
}
