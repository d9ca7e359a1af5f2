//! Panels: what a shorthand stands for, and where its words are in the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::*;
use crate::project::Project;
use crate::render::render;

const SOURCE: &str = "\
[source.trades]
finnhub = { token = '${TOKEN}', symbols = ['AAPL'] }
[stream.changes]
sql = 'SELECT * FROM trades'
[model.next_price]
features = 'changes'
target   = 'price'
horizon  = '1m'
time     = 'ts'
key      = ['symbol']
";

/// The one panel of a dashboard with a filter `symbol`.
fn panel(panel: &str) -> Panel {
    let text = format!(
        "{SOURCE}[dashboard.d]\nfilters = [{{ name = 'symbol', options = 'SELECT 1' }}]\nrows = [[{panel}]]"
    );
    let files: BTreeMap<PathBuf, Vec<u8>> = [("thalweg.toml".into(), text.into_bytes())].into();
    let loaded = Project::load_from(Path::new("/p"), &files, &|_| Some("x".to_owned()));
    assert_eq!(render(&loaded.problems, &loaded.sources, false), "");
    let project = loaded.project.expect("a project without problems");
    project.dashboards[0].rows[0][0].clone()
}

#[track_caller]
fn check(written: &str, sql: &str, key: &[&str], params: &[&str]) {
    let panel = panel(written);
    assert_eq!(panel.sql.as_str(), sql);
    assert_eq!(panel.key, key);
    assert_eq!(panel.params, params);
}

#[test]
fn a_shorthand_is_the_sql_it_stands_for() {
    check("{ kpi = 'SELECT max(ts) FROM trades' }", "SELECT max(ts) FROM trades", &[], &[]);
    check(
        "{ ranking = 'latest(trades)', order_by = 'price desc' }",
        "SELECT * FROM latest(trades) ORDER BY price desc NULLS LAST LIMIT 100",
        &["symbol"],
        &[],
    );
    check(
        "{ ranking = 'changes', order_by = 'price desc nulls first, ts', limit = 5 }",
        "SELECT * FROM changes ORDER BY price desc nulls first, ts LIMIT 5",
        &[],
        &[],
    );
    check("{ table = 'changes' }", "SELECT * FROM changes LIMIT 100", &[], &[]);
    check(
        "{ candles = 'trades', price = 'price', volume = 'volume', bucket = '1s', by = '$symbol' }",
        "SELECT symbol, window_start, first_value(price ORDER BY ts) AS open, max(price) AS high, \
         min(price) AS low, last_value(price ORDER BY ts) AS close, sum(volume) AS volume \
         FROM tumble(trades, ts, interval '1 second') WHERE symbol = $symbol \
         GROUP BY symbol, window_start ORDER BY window_start DESC LIMIT 300",
        &["symbol", "window_start"],
        &["symbol"],
    );
    check(
        "{ candles = 'changes', price = 'Last Price', bucket = '90s', time = 'ts' }",
        "SELECT window_start, first_value(\"Last Price\" ORDER BY ts) AS open, \
         max(\"Last Price\") AS high, min(\"Last Price\") AS low, \
         last_value(\"Last Price\" ORDER BY ts) AS close \
         FROM tumble(changes, ts, interval '90 seconds') \
         GROUP BY window_start ORDER BY window_start DESC LIMIT 300",
        &["window_start"],
        &[],
    );
    check(
        "{ candles = 'changes', volume = 'size', time = 'minute', by = 'symbol', points = 60 }",
        "SELECT symbol, minute AS window_start, open, high, low, close, size AS volume \
         FROM changes ORDER BY window_start DESC LIMIT 60",
        &["symbol", "window_start"],
        &[],
    );
    check(
        "{ line = 'changes', x = 'ts', y = 'avg(price)', by = '$symbol' }",
        "SELECT ts AS x, avg(price) AS y, symbol AS color FROM changes WHERE symbol = $symbol \
         ORDER BY 1 DESC LIMIT 300",
        &["x", "color"],
        &["symbol"],
    );
    check(
        "{ bars = 'SELECT 1 AS a', x = 'a', y = 'a', color = 'a % 2' }",
        "SELECT a AS x, a AS y, a % 2 AS color FROM (SELECT 1 AS a) AS panel \
         ORDER BY 1 DESC LIMIT 300",
        &["x", "color"],
        &[],
    );
    check(
        "{ pivot = 'changes', rows = 'symbol', columns = 'hour(ts)', values = 'sum(volume)' }",
        "SELECT symbol AS pivot_row, hour(ts) AS pivot_column, sum(volume) AS pivot_value \
         FROM changes GROUP BY 1, 2 ORDER BY 1, 2",
        &["pivot_row", "pivot_column"],
        &[],
    );
}

#[test]
fn a_band_reads_the_predictions_of_its_series() {
    let panel =
        panel("{ line = 'changes', x = 'ts', y = 'price', by = '$symbol', band = 'next_price' }");
    let options = panel.options();
    assert_eq!(options["band"]["model"], "next_price");
    assert_eq!(
        options["band"]["sql"],
        "SELECT symbol, for_time, prediction, lower, upper FROM next_price \
         WHERE symbol = $symbol ORDER BY for_time DESC LIMIT 300"
    );
}

#[test]
fn options_are_those_of_the_file() {
    let panel = panel(
        "{ ranking = 'latest(trades)', order_by = 'price', flash = 'price', sets = 'symbol', label = 'Top' }",
    );
    assert_eq!((panel.kind.name(), panel.label.as_str(), panel.width), ("ranking", "Top", 12));
    assert_eq!(Json::from(panel.options()), json!({ "flash": "price" }));
    assert_eq!((panel.sets.as_deref(), panel.id.as_str()), (Some("symbol"), "1-1"));
}

#[test]
fn a_word_of_a_shorthand_keeps_its_place() {
    let panel = panel("{ ranking = 'latest(trades)', order_by = 'pirce desc' }");
    let sql = panel.sql.as_str();
    let (relation, column) = (sql.find("trades").unwrap_or(0), sql.find("pirce").unwrap_or(0));
    let relation = panel.sql.place(relation..relation + 6).range;
    let column = panel.sql.place(column..column + 5).range;
    assert_eq!(column.start - relation.start, "trades)', order_by = '".len());
    assert_eq!((relation.len(), column.len()), (6, 5));
}

#[test]
fn what_has_no_width_shares_what_is_left() {
    let text = format!(
        "{SOURCE}[dashboard.d]\nrows = [[{{ table = 'trades', width = 2 }}, {{ table = 'trades' }}, \
         {{ table = 'trades' }}, {{ table = 'trades' }}]]"
    );
    let files: BTreeMap<PathBuf, Vec<u8>> = [("thalweg.toml".into(), text.into_bytes())].into();
    let loaded = Project::load_from(Path::new("/p"), &files, &|_| Some("x".to_owned()));
    let project = loaded.project.expect("a project");
    let widths: Vec<usize> =
        project.dashboards[0].rows[0].iter().map(|panel| panel.width).collect();
    assert_eq!(widths, [2, 4, 3, 3]);
}
