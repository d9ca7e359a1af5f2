//! System A: weeks of simulated pages pass in seconds; three jobs run by their schedules, models are
//! trained and judged, and each decision stands with its reasons.

use std::fs;

use crate::project::Project;
use crate::support::wait_for;

/// A Saturday: models learn on the two Mondays that come.
const BEGIN: &str = "2024-01-06T00:00:00Z@max";

/// A commit for each poll would be most of the work.
const LONG_CYCLES: &str = "\n[runtime]\ncheckpoint.every = \"1h\"\ncommit.every = \"1h\"\n";

#[test]
fn weeks_of_pages_train_models_judge_them_and_say_why() {
    let project = Project::init("crypto-forecast");
    // A week of polls before the first training, and a month to learn from, would be most of the test.
    let text = fs::read_to_string(project.path("thalweg.toml")).expect("init has made it");
    let text = text.replace("min_rows = 2000", "min_rows = 500");
    assert!(text.contains("= \"30d\""), "the example fetches a month");
    project.write("thalweg.toml", text.replace("= \"30d\"", "= \"3d\""));
    project.declare(LONG_CYCLES);
    let process = project.start(&["--http", "127.0.0.1:0", "--clock", BEGIN]);
    wait_for("the server listens", || process.stderr().contains("listening on").then_some(()));
    let succeeded = |job: &str, count: i64| {
        wait_for(&format!("{job} has run {count} times"), || {
            let sql = format!(
                "SELECT count(*) FROM system.runs WHERE job = '{job}' AND state = 'succeeded'"
            );
            (project.count(&sql) >= count).then_some(())
        });
    };
    succeeded("nightly", 2);
    succeeded("model.next_price.train", 1);
    for days in [3, 4, 5, 6, 7] {
        succeeded("model.next_volatility.evaluate", days);
    }
    succeeded("model.next_volatility.train", 2);
    succeeded("nightly", 8);

    let times = |job: &str| {
        let sql = format!(
            "SELECT started_at FROM system.runs WHERE job = '{job}' ORDER BY started_at LIMIT 2"
        );
        let rows = project.rows(&sql);
        rows.iter()
            .map(|row| row["started_at"].as_str().unwrap_or_default()[..16].to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(times("model.next_price.train"), ["2024-01-08T03:00", "2024-01-15T03:00"]);
    assert_eq!(times("model.next_price.evaluate"), ["2024-01-06T04:00", "2024-01-07T04:00"]);
    assert_eq!(times("nightly"), ["2024-01-06T00:15", "2024-01-07T00:15"]);

    // The past of five coins was fetched at the start, each bar once, and learnt from.
    let past = "SELECT count(*) FROM exchange_bars WHERE close_time < TIMESTAMP '2024-01-06'";
    // The bar that was open three days ago is one of them.
    assert_eq!(project.count(past), 5 * (3 * 288 + 1));
    let twice = "SELECT count(*) FROM (SELECT symbol FROM exchange_bars \
                 GROUP BY symbol, open_time HAVING count(*) > 1)";
    assert_eq!(project.count(twice), 0);
    let first = "SELECT CAST(min(window_end) < TIMESTAMP '2024-01-04' AS BIGINT) FROM features";
    assert_eq!(project.count(first), 1);

    // Both baselines are on every round of the leaderboard, and never champion.
    let rounds = project.rows(
        "SELECT model, evaluated_at, count(*) AS judged, \
         count(*) FILTER (WHERE candidate IN ('naive', 'strong_naive')) AS baselines \
         FROM leaderboard GROUP BY model, evaluated_at ORDER BY evaluated_at",
    );
    assert!(rounds.len() >= 8, "{rounds:?}");
    assert!(rounds.iter().all(|round| round["baselines"] == 2), "S23: {rounds:?}");
    assert!(rounds.last().is_some_and(|round| round["judged"].as_i64() > Some(2)), "{rounds:?}");
    let decisions = project.rows("SELECT model, action, reasons FROM system.decisions");
    assert!(!decisions.is_empty());
    for decision in &decisions {
        assert!(decision["reasons"].as_str().is_some_and(|it| it.len() > 2), "S23: {decision}");
    }
    let crowned = "SELECT count(*) FROM leaderboard WHERE was_champion AND candidate LIKE '%naive'";
    assert_eq!(project.count(crowned), 0, "S23");

    // The tables of the original, by name and column.
    let trained =
        project.rows("SELECT name, training_date FROM models_infos_table ORDER BY training_date");
    assert!(trained.iter().any(|row| row["name"] == "gradient_boosting"), "{trained:?}");
    assert!(
        project.count(
            "SELECT count(rmse) FROM models_testing_infos_table WHERE testing_date > '2024-01-08'"
        ) > 0
    );
    let columns = "SELECT name, price, \"24h_change\", \"24h_volume\", market_cap, datetime FROM crypto_data1 LIMIT 1";
    assert_eq!(project.rows(columns).len(), 1);

    // Predictions, with their versions, and the newest prices for whoever asks over HTTP.
    let predicted = "SELECT count(*) FROM next_volatility WHERE prediction BETWEEN lower AND upper";
    assert!(project.count(predicted) > 0);
    let coins = project.count("SELECT count(*) FROM latest(coins)");
    // The endpoint `get_latest_scraped_data` of the original.
    let latest = project.get("/api/v1/views/latest_prices");
    assert_eq!(latest["row_count"], coins, "{latest}");
    let names = ["name", "price", "change_24h", "volume_24h", "market_cap", "datetime"];
    for (number, name) in names.iter().enumerate() {
        assert_eq!(latest["columns"][number]["name"], *name, "{latest}");
    }
    // No poll was left out, and none drifted: jitter moves each by at most 10 s.
    let missed = "SELECT CAST(round((to_unixtime(max(at)) - to_unixtime(min(at))) / 300.0) AS BIGINT) + 1 - count(*) \
                  FROM (SELECT DISTINCT _received_at AS at FROM coins)";
    assert_eq!(project.count(missed), 0);
    project.balances();
    process.terminate();
    process.end().ended_with(0);
}
