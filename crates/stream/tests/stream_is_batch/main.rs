//! S11: for any input, cut into epochs, crash and partitioning that keeps a key in one partition,
//! the final rows of a stream equal the same SQL run by DataFusion over the input without the late
//! rows. DataFusion's batch answer is the oracle.

#![expect(clippy::unwrap_used, reason = "a failed step of a test says enough by its line")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arrow::array::{
    Array, AsArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Int32Type, Int64Type, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use proptest::prelude::*;
use thalweg_core::schema::{Column, ColumnType, source_schema};
use thalweg_core::time::Timestamp;
use thalweg_stream::checkpoint::{Checkpoint, Head};
use thalweg_stream::operators::{Answers, Tick};
use thalweg_stream::program::{self, Program, Shape, Sides, StreamQuery};
use thalweg_stream::results::Results;
use thalweg_stream::sql::rewrite::Mode;
use thalweg_stream::sql::{Named, Names, Planner};
use thalweg_stream::watermark::Watermark;

mod model;

use self::model::Fading;

/// Queries, and whether every change is asked for.
const QUERIES: &[(&str, bool)] = &[
    ("SELECT *, price * volume AS notional FROM trades", false),
    (
        "SELECT symbol, upper(symbol) AS name, coalesce(volume, price) AS size, price FROM trades WHERE price > 10 AND volume IS NOT NULL",
        false,
    ),
    (
        "SELECT symbol, ts, price, price - lag(price) OVER w AS change, \
         100 * (price - lag(price) OVER w) / nullif(lag(price) OVER w, 0) AS percentage \
         FROM trades WINDOW w AS (PARTITION BY symbol ORDER BY _offset)",
        false,
    ),
    (
        "SELECT symbol, lag(price, 3, -1.0) OVER (PARTITION BY symbol ORDER BY _offset) AS third FROM trades",
        false,
    ),
    (
        "SELECT symbol, first_value(price) OVER w AS first, last_value(price) OVER w AS last, \
         row_number() OVER w AS n, count(volume) OVER w AS c, max(price) OVER w AS high \
         FROM trades WINDOW w AS (PARTITION BY symbol ORDER BY _offset)",
        false,
    ),
    (
        "SELECT symbol, window_start, first_value(price ORDER BY ts) AS open, max(price) AS high, \
         min(price) AS low, last_value(price ORDER BY ts) AS close, sum(volume) AS volume, \
         avg(price) AS mean, count(*) AS trades FROM tumble(trades, ts, interval '10 seconds') \
         GROUP BY symbol, window_start",
        false,
    ),
    (
        "SELECT symbol, window_start, first_value(price ORDER BY ts) AS open, max(price) AS high, \
         min(price) AS low, last_value(price ORDER BY ts) AS close, sum(volume) AS volume, \
         avg(price) AS mean, count(*) AS trades FROM tumble(trades, ts, interval '10 seconds') \
         GROUP BY symbol, window_start",
        true,
    ),
    (
        "SELECT window_end, symbol, count(*) FILTER (WHERE price > 20) AS dear, \
         count(DISTINCT volume) AS volumes FROM tumble(trades, ts, interval '7 seconds') \
         WHERE symbol <> 'C' GROUP BY symbol, window_end HAVING count(*) > 1",
        false,
    ),
    (
        "SELECT symbol, min(price) AS low, max(price) AS high, sum(coalesce(volume, 0.0)) AS volume, count(*) AS n, avg(price) AS mean FROM trades GROUP BY symbol",
        true,
    ),
    (
        "SELECT symbol, last_value(price ORDER BY _offset) AS price, max(ts) AS ts FROM trades GROUP BY symbol",
        true,
    ),
    (
        "SELECT symbol, window_start, stddev(price) AS sd, sum(c) AS s FROM (SELECT symbol, price, \
         window_start, price + 1 AS c FROM tumble(trades, ts, interval '10 seconds')) \
         GROUP BY symbol, window_start",
        false,
    ),
    ("SELECT * FROM predict(next_price, trades)", false),
    (
        "SELECT symbol, p.prediction - price AS step, upper - lower AS width, model_version \
         FROM predict(next_price, trades) p WHERE volume > 1 OR prediction > 12",
        false,
    ),
    (
        "SELECT symbol, count(prediction) AS n, max(upper) AS high FROM predict(next_price, trades) \
         GROUP BY symbol",
        true,
    ),
    ("SELECT * FROM predict(next_high, bars)", false),
    // One series of all symbols: rows of one time come together.
    ("SELECT symbol, window_end, prediction FROM predict(market, bars) WHERE trades > 1", false),
];

/// What `bars` is in them.
const BARS: &str = "SELECT symbol, window_end, max(price) AS high, avg(volume) AS volume, \
                    count(*) AS trades FROM tumble(trades, ts, interval '3 seconds') \
                    GROUP BY symbol, window_end";

#[derive(Clone, Debug)]
struct Row {
    symbol: u8,
    price: i32,
    volume: Option<i32>,
    // Milliseconds, out of order.
    time: i64,
}

fn row() -> impl Strategy<Value = Row> {
    (0..4_u8, -5..40_i32, proptest::option::weighted(0.9, 0..9_i32), 0..40_000_i64)
        .prop_map(|(symbol, price, volume, time)| Row { symbol, price, volume, time })
}

#[derive(Clone, Debug)]
struct Case {
    query: usize,
    partitions: u32,
    delay_ms: i64,
    // Rows a record; a record is a frame.
    records: Vec<Vec<Row>>,
    // Records an epoch, used in a circle.
    epochs: Vec<usize>,
    // Epochs after which the process dies, used in a circle.
    crashes: Vec<bool>,
}

fn case() -> impl Strategy<Value = Case> {
    (
        0..QUERIES.len(),
        1..4_u32,
        0..20_000_i64,
        proptest::collection::vec(proptest::collection::vec(row(), 1..4), 1..60),
        proptest::collection::vec(1..9_usize, 1..5),
        proptest::collection::vec(any::<bool>(), 1..6),
        0..3_i64,
    )
        .prop_map(|(query, partitions, delay_ms, mut records, epochs, crashes, order)| {
            // Mostly in order of time, as feeds are, with some disorder left.
            let all: usize = records.iter().map(Vec::len).sum();
            for (at, row) in records.iter_mut().flatten().enumerate() {
                if order > 0 {
                    row.time = row.time / (4 * order) + at as i64 * 40_000 / all as i64;
                }
            }
            Case { query, partitions, delay_ms, records, epochs, crashes }
        })
}

fn schema() -> SchemaRef {
    let column = |name: &str, kind, nullable| Column {
        name: name.to_owned(),
        kind,
        nullable,
        select: None,
        unit: None,
        allow_nan: false,
    };
    source_schema(&[
        column("symbol", ColumnType::Text, false),
        column("price", ColumnType::Double, false),
        column("volume", ColumnType::Double, true),
        column("ts", ColumnType::Timestamp, false),
    ])
}

/// Rows of records, each record whole in the partition of its number; a key's records too.
fn batches(case: &Case) -> Vec<RecordBatch> {
    let mut offsets = vec![0_i64; case.partitions as usize];
    let mut batches = Vec::new();
    for record in &case.records {
        // A key lives in one partition, so a record is split by the partition of its keys.
        for partition in 0..case.partitions {
            let rows: Vec<&Row> = record
                .iter()
                .filter(|row| u32::from(row.symbol) % case.partitions == partition)
                .collect();
            if rows.is_empty() {
                continue;
            }
            let offset = offsets[partition as usize];
            offsets[partition as usize] += 1;
            let symbols: StringArray = rows
                .iter()
                .map(|row| Some(["A", "B", "C", "D"][usize::from(row.symbol)]))
                .collect();
            let prices: Float64Array =
                rows.iter().map(|row| Some(f64::from(row.price) / 4.0 + 10.0)).collect();
            let volumes: Float64Array = rows.iter().map(|row| row.volume.map(f64::from)).collect();
            let times: TimestampMicrosecondArray =
                rows.iter().map(|row| Some(row.time * 1000)).collect();
            let count = rows.len();
            let numbers: Int32Array = (0..count as i32).map(Some).collect();
            let columns: Vec<Arc<dyn Array>> = vec![
                Arc::new(symbols),
                Arc::new(prices),
                Arc::new(volumes),
                Arc::new(times.with_timezone("UTC")),
                Arc::new(Int32Array::from(vec![partition as i32; count])),
                Arc::new(Int64Array::from(vec![offset; count])),
                Arc::new(numbers),
                Arc::new(TimestampMicrosecondArray::from(vec![0; count]).with_timezone("UTC")),
            ];
            batches.push(RecordBatch::try_new(schema(), columns).unwrap());
        }
    }
    batches
}

struct Setup {
    planner: Planner,
    names: Names,
    models: BTreeMap<&'static str, Fading>,
}

fn setup() -> Setup {
    let planner = Planner::new();
    let models = BTreeMap::from([
        ("next_price", Fading::new(&["symbol"], "ts", &["price", "volume"])),
        ("next_high", Fading::new(&["symbol"], "window_end", &["high", "volume"])),
        ("market", Fading::new(&[], "window_end", &["high"])),
    ]);
    let mut names = Names::default();
    model::insert(&mut names, &models, 1);
    names.insert("trades", Named::Rows(schema()), vec!["symbol".to_owned()]);
    let bars = program::prepare(&planner, BARS, &names, false).unwrap();
    names.insert("bars", Named::Plan(bars.plan), bars.key);
    Setup { planner, names, models }
}

/// The stream's final rows, and the (partition, offset, row) of what was late.
fn run_stream(
    setup: &Setup,
    query: &StreamQuery,
    case: &Case,
    input: &[RecordBatch],
    version: impl Fn(usize) -> u64,
) -> (Vec<RecordBatch>, BTreeSet<(i32, i64, i32)>) {
    let mut program = Program::new(&setup.planner, query).unwrap();
    let mut watermark = Watermark::new(case.delay_ms * 1000);
    let results = Results::new(Arc::clone(&query.schema), &query.key).unwrap();
    let mut appended = Vec::new();
    let mut late = BTreeSet::new();
    let mut rest = input;
    let mut epoch = 0;
    while !rest.is_empty() || epoch == 0 {
        let count = case.epochs[epoch % case.epochs.len()].min(rest.len());
        let (now, after) = rest.split_at(count);
        rest = after;
        let before = watermark.current();
        let answers = model::answers(&setup.models, version(epoch));
        program.begin_epoch(&answers).unwrap();
        let mut sides = Sides::default();
        let mut out = Vec::new();
        for batch in now {
            out.extend(program.process(batch.clone(), before, &mut sides).unwrap());
            let partition =
                batch.column_by_name("_partition").unwrap().as_primitive::<Int32Type>().value(0);
            for time in batch
                .column_by_name("ts")
                .unwrap()
                .as_primitive::<arrow::datatypes::TimestampMicrosecondType>()
                .values()
            {
                watermark.see(u32::try_from(partition).unwrap(), Timestamp(*time));
            }
        }
        let mut reached = watermark.end_epoch(&[], None);
        if rest.is_empty() {
            // A bounded input has ended: its open windows close.
            reached = watermark.raise(Timestamp(1_000_000_000));
        }
        out.extend(program.end_epoch(before, Tick { watermark: reached }, &mut sides).unwrap());
        for batch in &out {
            match query.shape {
                Shape::Updating => results.apply(batch).unwrap(),
                Shape::RowWise | Shape::Final => appended.push(batch.clone()),
            }
        }
        for (_, rows) in sides.late {
            let ids = ["_partition", "_row"].map(|name| {
                rows.rows.column_by_name(name).unwrap().as_primitive::<Int32Type>().clone()
            });
            let offsets =
                rows.rows.column_by_name("_offset").unwrap().as_primitive::<Int64Type>().clone();
            for row in 0..rows.rows.num_rows() {
                late.insert((ids[0].value(row), offsets.value(row), ids[1].value(row)));
            }
        }
        for operator in program.operators() {
            assert_eq!(operator.ledger().broken(), Vec::<String>::new(), "S12");
        }
        if case.crashes[epoch % case.crashes.len()] {
            program = crash(setup, query, program, &answers);
        }
        epoch += 1;
    }
    results.publish();
    if query.shape == Shape::Updating {
        appended.push(results.read().unwrap());
    }
    (appended, late)
}

/// Kills a program and brings it back from a checkpoint's bytes.
fn crash(setup: &Setup, query: &StreamQuery, mut program: Program, answers: &Answers) -> Program {
    let head = Head {
        epoch: 1,
        positions: BTreeMap::new(),
        watermark: Watermark::new(0),
        source: Default::default(),
        sinks: BTreeMap::new(),
        ledgers: Vec::new(),
        epochs_from: 0,
        sides_from: BTreeMap::new(),
        models: BTreeMap::new(),
        lookups: Default::default(),
        route: Default::default(),
        query: String::new(),
    };
    let checkpoint =
        Checkpoint { head, operators: program.snapshot().unwrap(), results: BTreeMap::new() };
    // Taking a snapshot changes nothing, so a second one is the same.
    let again = Checkpoint { operators: program.snapshot().unwrap(), ..checkpoint.clone() };
    let bytes = checkpoint.encode().unwrap();
    assert_eq!(again.encode().unwrap().len(), bytes.len());
    let read = Checkpoint::decode(&bytes).unwrap();
    let mut back = Program::new(&setup.planner, query).unwrap();
    back.restore(read.operators, answers).unwrap();
    back
}

/// What DataFusion says about the input without the late rows.
fn run_batch(
    setup: &Setup,
    sql: &str,
    input: &[RecordBatch],
    late: &BTreeSet<(i32, i64, i32)>,
) -> Vec<RecordBatch> {
    let rows = concat_batches(&schema(), input).unwrap();
    let partitions = rows.column(4).as_primitive::<Int32Type>();
    let offsets = rows.column(5).as_primitive::<Int64Type>();
    let numbers = rows.column(6).as_primitive::<Int32Type>();
    let kept: UInt32Array = (0..rows.num_rows())
        .filter(|at| {
            !late.contains(&(partitions.value(*at), offsets.value(*at), numbers.value(*at)))
        })
        .map(|at| at as u32)
        .collect();
    let rows = take_record_batch(&rows, &kept).unwrap();
    let table = MemTable::try_new(schema(), vec![vec![rows]]).unwrap();
    let mut names = Names::default();
    model::insert(&mut names, &setup.models, 1);
    names.insert("trades", Named::Table(Arc::new(table)), vec![]);
    let bars = setup.planner.plan(BARS, &names, Mode::Stream).unwrap().plan;
    let key = ["symbol", "window_end"].map(str::to_owned).to_vec();
    names.insert("bars", Named::Plan(bars), key);
    let plan = setup.planner.plan(sql, &names, Mode::Stream).unwrap().plan;
    let context = SessionContext::new_with_state(setup.planner.state().clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        context.execute_logical_plan(plan).await.unwrap().collect().await.unwrap()
    })
}

/// Rows as text, floats rounded to nine significant digits, sorted; hidden columns left out.
fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let mut lines = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cells: Vec<String> = batch
                .columns()
                .iter()
                .zip(batch.schema().fields())
                .filter(|(_, field)| !field.name().starts_with('_'))
                .map(|(column, _)| match column.data_type() {
                    DataType::Float64 if column.is_valid(row) => {
                        let value =
                            column.as_primitive::<arrow::datatypes::Float64Type>().value(row);
                        format!("{:.8e}", value + 0.0)
                    }
                    _ => ArrayFormatter::try_new(column, &FormatOptions::default())
                        .unwrap()
                        .value(row)
                        .to_string(),
                })
                .collect();
            lines.push(cells.join(" | "));
        }
    }
    lines.sort();
    lines
}

fn check(case: &Case) {
    let setup = setup();
    let (sql, update) = QUERIES[case.query];
    let query = program::prepare(&setup.planner, sql, &setup.names, update).unwrap();
    let input = batches(case);
    let (stream, late) = run_stream(&setup, &query, case, &input, |_| 1);
    let batch = run_batch(&setup, sql, &input, &late);
    assert_eq!(lines(&stream), lines(&batch), "S11: {sql}");
}

/// Whatever answers when: each row once, by the version of its epoch, the same through crashes.
fn check_swaps(case: &Case, versions: &[u64]) {
    let setup = setup();
    let sql = "SELECT * FROM predict(next_price, trades)";
    let query = program::prepare(&setup.planner, sql, &setup.names, false).unwrap();
    let input = batches(case);
    let version = |epoch: usize| versions[epoch % versions.len()];
    let (cut, _) = run_stream(&setup, &query, case, &input, version);
    let uncut = Case { crashes: vec![false], ..case.clone() };
    let (uncut, _) = run_stream(&setup, &query, &uncut, &input, version);
    assert_eq!(cut, uncut, "S8");
    let rows: usize = input.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(cut.iter().map(RecordBatch::num_rows).sum::<usize>(), rows, "S23");
    // Row-wise, one batch gives one: find the epoch of each.
    let epochs =
        (0..).flat_map(|epoch| std::iter::repeat_n(epoch, case.epochs[epoch % case.epochs.len()]));
    for (batch, epoch) in cut.iter().zip(epochs) {
        let expected = format!("fading/{}", version(epoch));
        let said = batch.column_by_name("model_version").unwrap().as_string::<i32>();
        assert!(said.iter().flatten().all(|said| said == expected), "S23: {said:?} in {epoch}");
    }
}

fn cases() -> u32 {
    std::env::var("THALWEG_CASES").ok().and_then(|it| it.parse().ok()).unwrap_or(2_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_is_its_batch(case in case()) {
        check(&case);
        say_progress();
    }

    #[test]
    fn s23_a_swap_between_epochs_loses_no_row_through_crashes(
        case in case(),
        versions in proptest::collection::vec(1..4_u64, 1..6),
    ) {
        check_swaps(&case, &versions);
    }
}

/// Says how far the many cases of `cargo xtask deep` are, past the capture of the test's output.
fn say_progress() {
    static DONE: AtomicU32 = AtomicU32::new(0);
    let done = DONE.fetch_add(1, Ordering::Relaxed) + 1;
    if done.is_multiple_of(10_000) {
        let _ = writeln!(std::io::stderr(), "stream = batch: {done} of {} cases", cases());
    }
}
