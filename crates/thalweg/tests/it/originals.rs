//! What teams had built by hand, as our tables, by their names and columns: system B's Avro table and
//! its views, system D's polls into CSV files (examples/binance-poll).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

use crate::postgres::Database;
use crate::project::Project;
use crate::support::{
    Simulator, assert_close_rows, assert_same_rows, capture, sorted, spark, wait_for,
};
use crate::tables::Hdfs;

/// The tables of system B's batch layer, from the trades; its views keyed by symbol.
const BATCH_LAYER: &str = r#"
[stream.rows]
sql = '''
SELECT price AS p, CASE WHEN strpos(symbol, ':') > 0 THEN split_part(symbol, ':', 1) END AS exchange,
       substr(symbol, strpos(symbol, ':') + 1) AS crypto_pair, ts AS t, volume AS v
FROM trades
'''
[table.finnhub_table]
from      = "rows"
avro.path = "lake/finnhub_table"

[stream.hours]
sql = '''
SELECT symbol, window_start, sum(volume) AS sum
FROM tumble(trades, ts, interval '1 hour') GROUP BY symbol, window_start
'''
[table.sum_volume]
from         = "hours"
parquet.path = "lake/sum_volume"
partition_by = { date = "date(window_start)" }

[stream.days]
sql = '''
SELECT symbol, window_start, avg(price) AS mean, min(price) AS min, max(price) AS max
FROM tumble(trades, ts, interval '1 day') GROUP BY symbol, window_start
'''
[table.mean_price]
from         = "days"
parquet.path = "lake/mean_price"
partition_by = { date = "date(window_start)" }
"#;

#[test]
fn the_batch_layer_of_system_b_is_there_by_its_names() {
    let Some(capture) = capture() else { return };
    let project = Project::new(&format!(
        r#"[project]
name = "system-b"
[source.trades]
file.path   = "{}"
format.json = {{ rows = "$.data[*]", only_if = "$.type = 'trade'" }}
event_time  = "ts"
[source.trades.columns]
symbol = {{ type = "text not null",      select = "s" }}
price  = {{ type = "double not null",    select = "p" }}
volume = {{ type = "double not null",    select = "v" }}
ts     = {{ type = "timestamp not null", select = "t", unit = "ms" }}
{BATCH_LAYER}"#,
        capture.display()
    ));
    project.drain().ended_with(0);
    project.balances();

    // Every trade, once; an Avro reader sees the very columns.
    let table = "SELECT crypto_pair AS s, p, t, v FROM finnhub_table";
    let trades = "SELECT substr(symbol, strpos(symbol, ':') + 1) AS s, price AS p, ts AS t, volume AS v \
                  FROM trades";
    assert_same_rows(
        "finnhub_table",
        &sorted(&project.rows(table)),
        &sorted(&project.rows(trades)),
    );
    let script = "
import fastavro, json, pathlib, sys
names, rows, exchanges = None, 0, {}
for file in pathlib.Path(sys.argv[1]).glob('*.avro'):
    with open(file, 'rb') as read:
        reader = fastavro.reader(read)
        names = [field['name'] for field in reader.writer_schema['fields']]
        for row in reader:
            rows += 1
            exchanges[str(row['exchange'])] = exchanges.get(str(row['exchange']), 0) + 1
print(json.dumps([names, rows, exchanges]))
";
    let seen = spark(script, &[&project.path("lake/finnhub_table")]);
    let of_exchange = |is: &str| project.count(&format!("SELECT count(*) FROM trades WHERE {is}"));
    let (binance, none) =
        (of_exchange("symbol LIKE 'BINANCE:%'"), of_exchange("symbol NOT LIKE '%:%'"));
    let columns = ["p", "exchange", "crypto_pair", "t", "v"];
    assert_eq!(seen, [json!([columns, binance + none, { "BINANCE": binance, "None": none }])]);

    // The views: what a batch over all trades gives; the end of the file has closed every window.
    for (view, columns, size) in [
        ("sum_volume", "sum(volume) AS sum", "hour"),
        ("mean_price", "avg(price) AS mean, min(price) AS min, max(price) AS max", "day"),
    ] {
        let found = format!("SELECT * EXCEPT (date) FROM {view} ORDER BY symbol, window_start");
        let expected = format!(
            "SELECT symbol, date_trunc('{size}', ts) AS window_start, {columns} FROM trades \
             GROUP BY 1, 2 ORDER BY 1, 2"
        );
        let (found, expected) = (project.rows(&found), project.rows(&expected));
        assert!(found.len() > 5, "{view}: {found:?}");
        assert_close_rows(view, &found, &expected);
    }
    let folders = fs::read_dir(project.path("lake/sum_volume")).expect("it is there");
    let folders: BTreeSet<_> = folders.map(|it| it.expect("an entry").file_name()).collect();
    assert!(folders.contains(std::ffi::OsStr::new("date=2023-12-22")), "{folders:?}");
}

/// Days of trades from a Friday, so that models learn on the Monday that comes.
const DAYS: i64 = 4;
/// A trade each five minutes, of the one pair or the other.
const TRADES: i64 = DAYS * 24 * 12;
const FRIDAY: &str = "2023-12-29T00:00:00Z";
const FRIDAY_MILLIS: i64 = 1_703_808_000_000;

/// The speed layer's table with the columns that it had.
const SPEED_LAYER: &str = "
[stream.speed]
sql = '''
SELECT _offset AS id, 'trade' AS type, price AS p, symbol AS s, ts AS t, volume AS v,
       percentage_change, absolute_price_change
FROM changes
'''
";

/// The message of a trade: prices swing, and the pairs take turns.
fn message(number: i64) -> String {
    let symbol = ["BINANCE:BTCUSDT", "AAPL"][number as usize % 2];
    let trade = json!({
        "s": symbol,
        "p": 100.0 + (number % 97) as f64 / 4.0,
        "v": 1.0 + (number % 7) as f64,
        "t": FRIDAY_MILLIS + number * 300_000,
    });
    format!("{}\n", json!({ "type": "trade", "data": [trade] }))
}

#[test]
fn nights_of_system_b_agree_in_both_layers_and_train_its_models() {
    let database = Database::new();
    let folder = tempfile::tempdir().expect("a folder");
    let trades = folder.path().join("trades.ndjson");
    // An hour of the day after lets the watermark pass the last night.
    let count = TRADES + 12;
    fs::write(&trades, (0..count).map(message).collect::<String>()).expect("the folder is ours");
    let project = Project::market_from_file(&trades, Some("12/h"), &database.url);
    let text = fs::read_to_string(project.path("thalweg.toml")).expect("the project");
    let changed = text
        .replace("= \"100ms\"", "= \"10m\"")
        .replace("= \"200ms\"", "= \"10m\"")
        .replace("from           = \"changes\"", "from = \"speed\"")
        .replace("key            = [\"symbol\"]", "key = [\"s\"]")
        .replace("horizon    = \"1m\"", "horizon    = \"10m\"")
        .replace("min_rows = 2000", "min_rows = 300");
    project.write("thalweg.toml", format!("{changed}{SPEED_LAYER}{BATCH_LAYER}"));
    let clock = FRIDAY.replace("00Z", "30Z@max");
    let process = project.start(&["--http", "127.0.0.1:0", "--clock", &clock]);
    wait_for("the server listens", || process.stderr().contains("listening on").then_some(()));
    let nights = || {
        project.rows(
            "SELECT day FROM system.runs WHERE job = 'nightly' AND state = 'succeeded' ORDER BY day",
        )
    };
    // The first night is of the day before the trades begin.
    for passed in 1..=DAYS as usize + 1 {
        let what = format!("{passed} nights have had their run");
        wait_for(&what, || (nights().len() >= passed).then_some(()));
    }
    let nights: Vec<_> = nights().iter().map(|row| row["day"].clone()).collect();
    let expected = ["2023-12-28", "2023-12-29", "2023-12-30", "2023-12-31", "2024-01-01"];
    assert_eq!(nights[..=DAYS as usize], expected, "S19");
    wait_for("every trade is in the table", || {
        (project.count("SELECT count(*) FROM finnhub_table") == count).then_some(())
    });

    // The layers agree, and their view is the answer over every trade.
    assert_eq!(
        project.rows("SELECT * FROM system.layer_diff"),
        [] as [serde_json::Value; 0],
        "S18"
    );
    let hours = "SELECT symbol, date_trunc('hour', ts) AS window_start, sum(volume) AS volume, \
                 count(*) AS trades FROM trades_history GROUP BY 1, 2 ORDER BY 1, 2";
    let view = "SELECT symbol, window_start, volume, trades FROM hourly_volume ORDER BY 1, 2";
    wait_for("every trade is in the history", || {
        (project.count("SELECT count(*) FROM trades_history") == count).then_some(())
    });
    assert_close_rows("S17", &project.rows(view), &project.rows(hours));
    let layers = "SELECT _layer, count(DISTINCT date_trunc('day', window_start)) AS days \
                  FROM hourly_volume GROUP BY _layer ORDER BY _layer";
    let expected =
        [json!({ "_layer": "batch", "days": DAYS }), json!({ "_layer": "live", "days": 1 })];
    assert_eq!(project.rows(layers), expected, "S17");

    // On the Monday both models were trained, and it stands why which of them is used.
    let trained =
        "SELECT count(DISTINCT model) FROM system.model_versions WHERE candidate = 'ridge'";
    assert_eq!(project.count(trained), 2);
    let judged = project.rows(
        "SELECT model, count(*) AS decisions, min(length(reasons)) > 2 AS have_reasons \
         FROM system.decisions GROUP BY model ORDER BY model",
    );
    assert_eq!(judged.len(), 2, "S23: {judged:?}");
    assert!(judged.iter().all(|model| model["have_reasons"] == true), "S23: {judged:?}");
    project.balances();
    process.terminate();
    process.end().ended_with(0);

    // The last trade of each symbol, under the names that the original gave its columns.
    let found = database.rows(
        "SELECT id, type, p, s, t, v, percentage_change IS NOT NULL, absolute_price_change \
         FROM speed_table ORDER BY s",
    );
    assert_eq!(found.len(), 2, "{found:?}");
    let columns = database.rows(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'speed_table' \
         ORDER BY ordinal_position",
    );
    let expected = ["id", "type", "p", "s", "t", "v", "percentage_change", "absolute_price_change"];
    assert_eq!(columns, expected);
}

/// The example, polling the simulator.
fn binance_poll(address: &str, every: &str, more: &str) -> Project {
    let example = include_str!("../../../../examples/binance-poll/thalweg.toml");
    let polled = "binance.every   = \"5s\"";
    assert!(example.contains(polled), "the example polls every five seconds");
    let text = example
        .replace(polled, &format!("binance.every = \"{every}\"\nbinance.url = \"{address}\""))
        .replace("checkpoint.every = \"1s\"\ncommit.every     = \"5s\"", more);
    Project::new(&text)
}

/// The lines of every CSV file of the example, without the headers.
fn csv_lines(project: &Project) -> Vec<String> {
    let mut lines = Vec::new();
    let folder = project.path("lake/price_files");
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            let text = fs::read_to_string(&path).expect("a file is text");
            assert!(text.starts_with("symbol,price\n") && text.ends_with('\n'), "{path:?}: {text}");
            lines.extend(text.lines().skip(1).map(str::to_owned));
        }
    }
    lines.sort_unstable();
    lines
}

fn prices(project: &Project) -> Vec<String> {
    let rows = project.rows("SELECT symbol, CAST(price AS text) AS price FROM prices");
    let text = |row: &serde_json::Value, name: &str| row[name].as_str().expect("text").to_owned();
    let mut lines: Vec<String> =
        rows.iter().map(|row| format!("{},{}", text(row, "symbol"), text(row, "price"))).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_hundred_polls_take_a_hundred_periods_and_are_in_csv_files_once() {
    let simulator = Simulator::start(&[]);
    let project = binance_poll(&simulator.http(), "5s", "checkpoint.every = \"1s\"");
    let process = project.start(&["--http", "127.0.0.1:0", "--clock", "2026-01-01T00:00:00Z@max"]);
    let polls = "SELECT count(*) FROM price_history";
    wait_for("the server listens", || process.stderr().contains("listening on").then_some(()));
    wait_for("a hundred polls and one", || (project.count(polls) > 100).then_some(()));
    process.terminate();
    let said = process.end().ended_with(0);
    let took = project.count(
        "SELECT arrow_cast(max(_received_at) - min(_received_at), 'Int64') AS micros FROM \
         (SELECT _received_at FROM prices ORDER BY _offset LIMIT 101)",
    );
    // An answer is received a little after it was asked for.
    assert!((499_000_000..=501_000_000).contains(&took), "S19: 100 periods took {took} µs");
    assert!(said.stdout.contains("BTCUSDT"), "the console shows prices: {}", said.stdout);
    assert_eq!(csv_lines(&project), prices(&project));
}

/// The example, polling and writing much more often, so that a kill lands in between.
fn polled_often(simulator: &Simulator) -> Project {
    let often = "checkpoint.every = \"100ms\"\ncommit.every = \"150ms\"";
    let project = binance_poll(&simulator.http(), "100ms", often);
    let toml = fs::read_to_string(project.path("thalweg.toml")).expect("the project");
    project.write("thalweg.toml", toml.replace("every = \"1m\"", "every = \"200ms\""));
    project
}

/// Lives that each end with a kill.
fn kill(project: &Project, times: u32, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    for _ in 0..times {
        let life = Duration::from_millis(random.random_range(300..2_000));
        assert_eq!(project.start(&["--http", "127.0.0.1:0"]).run_for(life), None);
    }
}

#[test]
fn polled_prices_are_in_csv_files_once_through_kills() {
    let simulator = Simulator::start(&[]);
    let project = polled_often(&simulator);
    kill(&project, 10, 8);
    project.drain().ended_with(0);
    project.balances();
    let lines = csv_lines(&project);
    assert!(lines.len() > 20, "{} prices", lines.len());
    assert_same_rows("S9", &lines, &prices(&project));
    assert_eq!(project.count("SELECT count(*) FROM price_files") as usize, lines.len());
}

#[test]
fn polled_prices_are_on_hdfs_once_through_kills_and_a_restart_of_the_data_node() {
    let (simulator, mut hdfs) = (Simulator::start(&[]), Hdfs::start());
    let project = polled_often(&simulator);
    let place = format!("{}/binance/data", hdfs.url);
    project.write(".env", format!("PRICE_FILES={place}\n"));
    kill(&project, 5, 9);
    let running = project.start(&["--http", "127.0.0.1:0"]);
    wait_for("it polls", || running.stderr().contains("listening on").then_some(()));
    let polled = || project.count("SELECT count(*) FROM prices");
    let before = polled();
    hdfs.restart_data_node();
    wait_for("it polls on", || (polled() > before + 10).then_some(()));
    running.terminate();
    running.end().ended_with(0);
    kill(&project, 3, 10);
    project.drain().ended_with(0);
    project.balances();

    let script = r#"
import sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
for row in spark.read.option("header", "true").csv(sys.argv[1]).collect():
    print('"%s,%s"' % (row["symbol"], row["price"]))
"#;
    let seen = spark(script, &[Path::new(&place)]);
    let mut seen: Vec<String> =
        seen.iter().map(|line| line.as_str().expect("text").to_owned()).collect();
    seen.sort_unstable();
    assert!(seen.len() > 20, "{} prices", seen.len());
    assert_same_rows("S9", &seen, &prices(&project));
}

#[test]
fn the_template_runs_without_a_network() {
    let project = Project::init("binance-poll");
    project.drain().ended_with(0);
    project.balances();
    assert_eq!(csv_lines(&project), prices(&project));
    assert_eq!(csv_lines(&project).len(), 1, "a drain polls once");
}
