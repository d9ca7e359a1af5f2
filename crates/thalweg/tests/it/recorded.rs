//! The recorded capture, replayed and drained: every number is held against another program's
//! answer from the file itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::postgres::Database;
use crate::project::Project;
use crate::support::{Simulator, assert_same_rows, capture, python, run, sorted};

/// Trades in the capture.
const TRADES: i64 = 6_959;

#[test]
fn the_capture_at_full_speed_is_in_every_table_to_the_row() {
    check(&["--speed", "max"]);
}

#[test]
fn the_capture_a_thousand_times_as_fast_gives_the_same() {
    // Three days in 5 minutes: the nights without a trade are cut short.
    check(&["--speed", "1000", "--max-pause", "20ms"]);
}

fn check(options: &[&str]) {
    let Some(capture) = capture() else { return };
    let (simulator, database) = (Simulator::replay(&capture, options), Database::new());
    let project = Project::market(&simulator.url, &database.url);
    let drained = project.drain().ended_with(0);
    let sent = simulator.stop();
    assert!(sent.contains(&format!("trades: {TRADES},")), "the simulator sent {sent}");

    project.balances();
    let ledger = run(project.command("ledger", &[])).ended_with(0);
    assert!(ledger.stdout.contains("| operator |"), "{}", ledger.stdout);
    assert!(drained.stdout.ends_with(&ledger.stdout), "S12: the ledger is in the checkpoint");
    let kept = project.count("SELECT count(*) FROM trades_history");
    let refused = project.count("SELECT count(*) FROM system.quarantine");
    assert_eq!((kept + refused, refused), (TRADES, 0));
    check_history(&project, &capture);
    check_hours(&project, &capture);
    let changes = changes_by_loop(&capture);
    check_changes(&project, &changes);
    check_speed_table(&database, &changes);
}

/// The Delta table, as DuckDB reads it, holds the file's trades, repeats included.
fn check_history(project: &Project, capture: &Path) {
    let script = r"
import duckdb, duckdb_extension_delta, pathlib, sys
extension = next(pathlib.Path(duckdb_extension_delta.__file__).parent.rglob('*.duckdb_extension'))
duckdb.execute('LOAD \'%s\'' % extension)
query = '''
WITH file AS (
    SELECT d.s AS symbol, d.p AS price, d.v AS volume, make_timestamp(d.t * 1000) AS ts
    FROM (SELECT unnest(data) AS d FROM read_json('%s', format = 'newline_delimited', columns =
        {'data': 'STRUCT(p DOUBLE, s VARCHAR, t BIGINT, v DOUBLE)[]', 'type': 'VARCHAR'}))),
lake AS (
    SELECT symbol, price, volume, ts AT TIME ZONE 'UTC' AS ts, day FROM delta_scan('%s'))
SELECT (SELECT count(*) FROM lake),
       (SELECT count(*) FROM (SELECT * FROM file EXCEPT ALL SELECT * EXCLUDE day FROM lake)),
       (SELECT count(*) FROM lake WHERE day <> ts::DATE)
''' % (sys.argv[1], sys.argv[2])
print(list(duckdb.sql(query).fetchone()))";
    let counts = python(script, &[capture, &project.path("lake/trades")]);
    assert_eq!(counts, [serde_json::json!([TRADES, 0, 0])]);
}

/// Hours as DuckDB computes them from the file, by symbol and hour.
pub(crate) fn hours_by_duckdb(capture: &Path) -> Vec<Value> {
    let script = r"
import duckdb, json, sys
rows = duckdb.sql('''
SELECT d.s AS symbol, strftime(date_trunc('hour', make_timestamp(d.t * 1000)), '%%Y-%%m-%%dT%%H:%%M:%%SZ') AS hour,
       fsum(d.v) AS volume, min(d.p) AS low, max(d.p) AS high, fsum(d.p) / count(*) AS mean, count(*) AS trades
FROM (SELECT unnest(data) AS d FROM read_json('%s', format = 'newline_delimited', columns =
    {'data': 'STRUCT(p DOUBLE, s VARCHAR, t BIGINT, v DOUBLE)[]', 'type': 'VARCHAR'}))
GROUP BY ALL ORDER BY ALL''' % sys.argv[1]).fetchall()
for row in rows:
    print(json.dumps(dict(zip(('symbol', 'window_start', 'volume', 'low', 'high', 'mean', 'trades'), row))))";
    python(script, &[capture])
}

fn check_hours(project: &Project, capture: &Path) {
    let expected = hours_by_duckdb(capture);
    for relation in ["hourly_volume", "hourly"] {
        let found = project.rows(&format!(
            "SELECT symbol, window_start, volume, low, high, mean, trades FROM {relation} \
             ORDER BY symbol, window_start"
        ));
        assert_same_hours(&found, &expected);
    }
}

/// Counts, minima and maxima exactly; sums and means within 1e-9 (S11).
#[track_caller]
pub(crate) fn assert_same_hours(found: &[Value], expected: &[Value]) {
    assert_eq!(found.len(), expected.len(), "hours of a symbol");
    for (found, expected) in found.iter().zip(expected) {
        for exact in ["symbol", "window_start", "low", "high", "trades"] {
            assert_eq!(found[exact], expected[exact], "{exact} of {found}, expected {expected}");
        }
        for sum in ["volume", "mean"] {
            let number = |row: &Value| row[sum].as_f64().expect("a number");
            let (found, expected) = (number(found), number(expected));
            assert!((found - expected).abs() <= 1e-9 * expected.abs(), "{sum}: {found} {expected}");
        }
    }
}

/// A trade and its change against the symbol's trade before it.
struct Change {
    symbol: String,
    price: f64,
    volume: f64,
    absolute: Option<f64>,
    percentage: Option<f64>,
}

/// The changes of the file's trades in the order they arrived.
fn changes_by_loop(capture: &Path) -> Vec<Change> {
    let text = fs::read_to_string(capture).expect("the capture is text");
    let mut before: BTreeMap<String, f64> = BTreeMap::new();
    let mut changes = Vec::new();
    for line in text.lines() {
        let message: Value = serde_json::from_str(line).expect("a message is JSON");
        for trade in message["data"].as_array().expect("a message has trades") {
            let price = trade["p"].as_f64().expect("a price");
            let symbol = trade["s"].as_str().expect("a symbol").to_owned();
            let last = before.insert(symbol.clone(), price);
            let absolute = last.map(|last| price - last);
            let percentage = last.map(|last| 100.0 * (price - last) / last);
            let volume = trade["v"].as_f64().expect("a volume");
            changes.push(Change { symbol, price, volume, absolute, percentage });
        }
    }
    changes
}

fn check_changes(project: &Project, expected: &[Change]) {
    let found = project.rows(
        "SELECT symbol, price, absolute_price_change, percentage_change \
         FROM changes ORDER BY _offset, _row",
    );
    assert_eq!(found.len(), expected.len());
    for (row, expected) in found.iter().zip(expected) {
        assert_eq!(row["symbol"], expected.symbol.as_str());
        assert_eq!(row["price"].as_f64(), Some(expected.price));
        assert_eq!(row["absolute_price_change"].as_f64(), expected.absolute, "{row}");
        assert_eq!(row["percentage_change"].as_f64(), expected.percentage, "{row}");
    }
}

/// PostgreSQL holds the last row of each symbol.
fn check_speed_table(database: &Database, changes: &[Change]) {
    let last: BTreeMap<&str, &Change> =
        changes.iter().map(|change| (change.symbol.as_str(), change)).collect();
    let expected: Vec<Value> = last
        .iter()
        .map(|(symbol, change)| {
            serde_json::json!([
                symbol,
                change.price,
                change.volume,
                change.absolute,
                change.percentage
            ])
        })
        .collect();
    let found = database.rows(
        "SELECT json_build_array(symbol, price, volume, absolute_price_change, percentage_change) \
         FROM speed_table",
    );
    let found: Vec<Value> = found
        .iter()
        .map(|row| {
            let mut row: Value = serde_json::from_str(row).expect("PostgreSQL writes JSON");
            // It writes 1.0 as 1.
            for cell in row.as_array_mut().expect("an array").iter_mut().skip(1) {
                *cell = cell.as_f64().map_or(Value::Null, Value::from);
            }
            row
        })
        .collect();
    assert_same_rows("speed_table", &sorted(&found), &sorted(&expected));
}
