//! S10 and S9: killed at random points and started again, everything equals an uncut run; a target
//! that another data folder has written is left alone.
//!
//! `THALWEG_KILLS` says how often each run is killed, 25 by default; `THALWEG_KILL_SEED` decides when.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::postgres::Database;
use crate::project::Project;
use crate::robust::bad_messages;
use crate::support::{Simulator, assert_close_rows, assert_same_rows, capture, sorted};

/// The longest that a run lives before it is killed; on average half of it.
const LIFE_MAX: Duration = Duration::from_millis(500);
/// Messages in the capture.
const MESSAGES: u32 = 864;
/// Trades in them.
const TRADES: i64 = 6_959;

/// A model of the first price of each second: nothing is trained, so `strong_naive` answers in every
/// run, and what it learns of its own errors must survive.
const FORECASTS: &str = r#"
[stream.ticks]
sql = "SELECT symbol, date_trunc('second', ts) AS second, price, volume FROM trades"
[model.next_tick]
features = "ticks"
target   = "price"
horizon  = "1s"
time     = "second"
key      = ["symbol"]
[stream.forecasts]
sql = "SELECT * FROM predict(next_tick, ticks)"
[table.forecasts_made]
from       = "forecasts"
delta.path = "lake/forecasts"
"#;

fn kills() -> u32 {
    let kills = std::env::var("THALWEG_KILLS").ok();
    kills.map_or(25, |kills| kills.parse().expect("THALWEG_KILLS is a number"))
}

#[test]
fn a_file_read_through_kills_gives_what_the_uncut_run_gives() {
    let Some(capture) = capture() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (capture, bad) = with_bad_messages(&capture, folder.path());
    // Slow enough that the last kill comes before the end of the file.
    let rate = format!("{}/s", (4 * MESSAGES / kills()).max(10));
    let cut_database = Database::new();
    let written = count_writes_to_speed_table(&cut_database);
    let cut = Project::market_from_file(&capture, Some(&rate), &cut_database.url);
    cut.declare(FORECASTS);
    drain_through_kills(&cut, 1);

    let uncut_database = Database::new();
    let uncut = Project::market_from_file(&capture, None, &uncut_database.url);
    uncut.declare(FORECASTS);
    uncut.drain().ended_with(0);

    assert_eq!(cut.count("SELECT count(*) FROM trades_history"), TRADES);
    assert_eq!(cut.count("SELECT count(*) FROM system.quarantine"), bad);
    // How rows are superseded depends on which epochs were committed together; the target knows.
    let counted = cut.ledger("sink", "speed_table", "rows_written").to_string();
    assert_eq!(cut_database.rows(written), [counted], "S10: the ledger after kills");
    assert_same((&cut, &cut_database), (&uncut, &uncut_database));
    let bands = cut.count("SELECT count(upper) FROM next_tick");
    assert!(bands > 500, "S24: there are {bands} intervals to compare");
}

#[test]
fn a_live_feed_through_kills_gives_what_one_drain_of_its_journal_gives() {
    let Some(capture) = capture() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (capture, bad) =
        with_bad_messages(&with_late_messages(&capture, folder.path()), folder.path());
    let sent = i64::from(MESSAGES) + bad;
    // What is under way when a kill comes is lost, so it must not all be under way at once.
    let (speed, pause) = ((1_250 / kills()).max(1).to_string(), format!("{}ms", kills()));
    let simulator = Simulator::replay(&capture, &["--speed", &speed, "--max-pause", &pause]);
    let cut_database = Database::new();
    let cut = Project::market(&simulator.url, &cut_database.url);
    cut.declare(FORECASTS);
    drain_through_kills(&cut, 2);
    drop(simulator);

    let uncut_database = Database::new();
    // Nobody listens there: what is left is the journal, and how it was cut into epochs, which
    // decides what is late (S2, S8).
    let uncut = Project::market("ws://127.0.0.1:1/finnhub", &uncut_database.url);
    uncut.declare(FORECASTS);
    for topic in ["trades.raw", "_epochs"] {
        copy(&cut.data().join("log").join(topic), &uncut.data().join("log").join(topic));
    }
    uncut.drain().ended_with(0);

    let kept = cut.count("SELECT count(*) FROM trades_history");
    assert!(kept > TRADES / 2 && kept <= TRADES, "S10: {kept} of {TRADES} trades");
    assert!(cut.count("SELECT count(*) FROM system.quarantine") > bad / 2);
    let kept_frames = cut.ledger("source", "trades", "frames_decoded")
        + cut.ledger("source", "trades", "frames_quarantined");
    let gaps = cut.count("SELECT count(*) FROM system.gaps");
    assert!(kept_frames == sent || gaps > 0, "S10: {kept_frames} of {sent} frames, and no gap");
    let late = cut.count("SELECT count(*) FROM system.late");
    assert!(late > 0, "S6: no row is late, so none is compared");
    assert_same((&cut, &cut_database), (&uncut, &uncut_database));
}

#[test]
fn a_wiped_data_folder_stops_sinks_whose_targets_it_has_not_written() {
    let Some(capture) = capture() else { return };
    let database = Database::new();
    let project = Project::market_from_file(&capture, None, &database.url);
    project.drain().ended_with(0);
    let before = targets(&project, &database);

    // Twice: it must not be talked into it by having failed once.
    fs::remove_dir_all(project.data()).expect("the data folder is there");
    for _ in 0..2 {
        let said = project.start(&["--drain", "--wait", "2s"]).end().ended_with(1);
        for sink in ["trades_history", "bars", "speed_table"] {
            for verb in ["adopt", "reset"] {
                let offer = format!("thalweg sinks {verb} {sink}");
                assert!(said.stderr.contains(&offer), "S9: no {offer}: {}", said.stderr);
            }
        }
        assert_same_rows("S9: the targets", &targets(&project, &database), &before);
    }
}

/// The capture with a bad message after every tenth of its own, and how many those are. Text only: a
/// feed of text frames can send nothing else.
fn with_bad_messages(capture: &Path, folder: &Path) -> (PathBuf, i64) {
    let text = fs::read_to_string(capture).expect("the capture is text");
    let bad = bad_messages();
    let mut bad = bad.iter().filter_map(|(_, bytes)| std::str::from_utf8(bytes).ok()).cycle();
    let (mut lines, mut count) = (Vec::new(), 0);
    for (number, line) in text.lines().enumerate() {
        lines.push(line);
        if number % 10 == 0 {
            lines.push(bad.next().expect("there are bad messages"));
            count += 1;
        }
    }
    let file = folder.join("messages.ndjson");
    fs::write(&file, lines.join("\n") + "\n").expect("the folder is ours");
    (file, count)
}

/// The capture with every 30th message sent 100 messages, some hours, after its time.
fn with_late_messages(capture: &Path, folder: &Path) -> PathBuf {
    let text = fs::read_to_string(capture).expect("the capture is text");
    let mut lines: Vec<(usize, &str)> = text.lines().enumerate().collect();
    lines.sort_by_key(|(number, _)| if number % 30 == 15 { number + 100 } else { *number });
    let lines: Vec<&str> = lines.into_iter().map(|(_, line)| line).collect();
    let file = folder.join("late.ndjson");
    fs::write(&file, lines.join("\n") + "\n").expect("the folder is ours");
    file
}

/// Has the database itself count rows that are put into `speed_table`, in the transactions that put
/// them; the query that says how many.
fn count_writes_to_speed_table(database: &Database) -> &'static str {
    for statement in [
        "CREATE TABLE speed_table (symbol text PRIMARY KEY, ts timestamptz, price float8, \
         volume float8, absolute_price_change float8, percentage_change float8)",
        "CREATE TABLE written (symbol text)",
        "CREATE FUNCTION count_write() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN INSERT INTO written VALUES (new.symbol); RETURN NULL; END'",
        "CREATE TRIGGER counted AFTER INSERT OR UPDATE ON speed_table \
         FOR EACH ROW EXECUTE FUNCTION count_write()",
    ] {
        database.rows(statement);
    }
    "SELECT count(*) FROM written"
}

/// Runs `--drain` again and again, killed each time after a random while; the last one ends.
fn drain_through_kills(project: &Project, seed: u64) {
    let seed = seed
        + std::env::var("THALWEG_KILL_SEED")
            .map_or(0, |seed| seed.parse::<u64>().expect("THALWEG_KILL_SEED is a number"));
    let mut random = SmallRng::seed_from_u64(seed);
    let mut killed = 0;
    while killed < kills() {
        let life = LIFE_MAX.mul_f64(random.random_range(0.0..1.0));
        let ended = project.start_drain().run_for(life);
        assert_eq!(ended, None, "it ended by itself after {killed} kills");
        killed += 1;
        if killed.is_multiple_of(25) {
            // Past the capture of the test's output: it can take long.
            let _ =
                writeln!(std::io::stderr(), "killed {killed} of {} times, seed {seed}", kills());
        }
    }
    project.drain().ended_with(0);
    project.balances();
}

/// Everything that S10 holds equal.
#[track_caller]
fn assert_same(
    (found, found_database): (&Project, &Database),
    (expected, expected_database): (&Project, &Database),
) {
    let exact = [
        "SELECT _partition, _offset, _row, * FROM trades_history",
        "SELECT _offset, _row, * FROM changes",
        "SELECT * FROM forecasts",
        "SELECT * FROM forecasts_made",
        "SELECT * FROM next_tick",
        "SELECT * EXCEPT (epoch, received_at) FROM system.quarantine",
        "SELECT * EXCEPT (epoch) FROM system.late",
        // How often an update is emitted is theirs, and so is how many rows of a key one commit takes
        // together.
        "SELECT part, name, \"count\", value FROM system.ledger \
         WHERE name NOT LIKE 'panel.%' \
         AND NOT (name LIKE 'hourly.%' AND \"count\" IN ('rows_emitted', 'rows_in')) \
         AND NOT (name = 'speed_table' AND \"count\" IN ('rows_written', 'rows_superseded'))",
        "SELECT name, sum(value) FROM system.ledger \
         WHERE \"count\" IN ('rows_written', 'rows_superseded') GROUP BY name",
    ];
    for query in exact {
        let (found, expected) = (found.rows(query), expected.rows(query));
        assert_same_rows(query, &sorted(&found), &sorted(&expected));
    }
    // Sums are added up epoch by epoch, so their last bits may differ (S11).
    let by_time = [
        ("bars", "window_start"),
        ("hourly", "window_start"),
        ("hourly_volume", "window_start"),
        ("bar_features", "window_end"),
        ("next_price", "for_time"),
    ];
    for (relation, time) in by_time {
        let query = format!("SELECT * FROM {relation} ORDER BY symbol, {time}");
        assert_close_rows(&query, &found.rows(&query), &expected.rows(&query));
    }
    let query = "SELECT * FROM speed_table ORDER BY symbol";
    assert_same_rows(query, &found_database.rows(query), &expected_database.rows(query));
}

/// What the targets hold: every file of the lake, every row of the database.
fn targets(project: &Project, database: &Database) -> Vec<String> {
    let mut all = Vec::new();
    for file in files(&project.path("lake")) {
        let bytes = fs::metadata(&file).expect("the file is there").len();
        all.push(format!("{} {bytes}", file.display()));
    }
    all.extend(database.rows("SELECT * FROM speed_table ORDER BY symbol"));
    all.extend(database.rows("SELECT to_jsonb(stamp) FROM thalweg_stamps stamp ORDER BY 1"));
    all
}

/// Every file below a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).expect("it is below the folder"));
        fs::create_dir_all(target.parent().expect("it is in a folder"))
            .expect("the folder is ours");
        fs::copy(&file, &target).expect("the folder is ours");
    }
}
