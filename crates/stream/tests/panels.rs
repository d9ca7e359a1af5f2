//! S17a: what a panel shows from its hidden streams is what its SQL says of all rows, whatever the
//! reader chooses and however the rows are cut into epochs; and no row is read to show it.

#![expect(clippy::unwrap_used, reason = "a failed step of a test says enough by its line")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    Array, AsArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use arrow::util::pretty::pretty_format_batches;
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use proptest::prelude::*;
use serde_json::json;
use thalweg_core::env::{Clock, Env};
use thalweg_core::query::Query;
use thalweg_core::schema::{Column, ColumnType, source_schema};
use thalweg_core::sink::Epoch;
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};
use thalweg_sim::MemDisk;
use thalweg_stream::engine::{Engine, Entry, Panels, Readable, Records};
use thalweg_stream::operators::Tick;
use thalweg_stream::panels::{Compiled, compile};
use thalweg_stream::program::{Program, Sides};
use thalweg_stream::replay::{History, Until};
use thalweg_stream::results::Results;
use thalweg_stream::sql::{Named, Names, Planner};
use thalweg_stream::tail::{Older, Tail};
use thalweg_stream::watermark::Watermark;

/// Panels that streams can run whole, and how many streams each is.
const COMPILED: &[(&str, usize)] = &[
    ("SELECT max(ts) FROM trades", 1),
    ("SELECT count(*) AS n, sum(volume) AS v FROM trades WHERE volume > 2", 1),
    ("SELECT symbol, count(*) AS n FROM trades GROUP BY symbol ORDER BY n DESC, symbol LIMIT 2", 1),
    ("SELECT sum(volume) FROM trades WHERE symbol = $symbol GROUP BY symbol", 1),
    (
        "SELECT symbol, window_start, first_value(volume ORDER BY ts) AS open, max(volume) AS high, \
         min(volume) AS low, last_value(volume ORDER BY ts) AS close, sum(volume) AS volume \
         FROM tumble(trades, ts, interval '1 hour') WHERE symbol = $symbol \
         GROUP BY symbol, window_start ORDER BY window_start DESC LIMIT 5",
        1,
    ),
    (
        "SELECT date_bin(interval '2 hours', ts) AS at, sum(volume) AS v FROM trades \
         GROUP BY 1 ORDER BY 1 DESC LIMIT 4",
        1,
    ),
    (
        "SELECT date_trunc('day', ts) AS day, symbol, avg(volume) FROM trades \
         WHERE symbol <> 'C' GROUP BY 1, 2 ORDER BY 1, 2",
        1,
    ),
    ("SELECT max(n) FROM (SELECT symbol, count(*) AS n FROM trades GROUP BY symbol)", 1),
    (
        "SELECT a.symbol, a.n, b.v FROM (SELECT symbol, count(*) AS n FROM trades GROUP BY symbol) a \
         JOIN (SELECT symbol, sum(volume) AS v FROM trades GROUP BY symbol) b \
         ON a.symbol = b.symbol ORDER BY a.symbol",
        2,
    ),
];

/// Panels that would have to read rows.
const DIRECT: &[&str] = &[
    "SELECT * FROM trades ORDER BY volume DESC LIMIT 3",
    "SELECT count(*) FROM trades WHERE ts > now()",
    "SELECT count(*) FROM trades WHERE volume > $least",
    "SELECT ts, count(*) FROM trades GROUP BY ts",
    "SELECT symbol FROM trades WHERE volume > (SELECT 1)",
];

fn schema() -> SchemaRef {
    let column = |name: &str, kind| Column {
        name: name.to_owned(),
        kind,
        nullable: false,
        select: None,
        unit: None,
        allow_nan: false,
    };
    source_schema(&[
        column("symbol", ColumnType::Text),
        column("volume", ColumnType::Double),
        column("ts", ColumnType::Timestamp),
    ])
}

/// (symbol, volume, minute) of a row.
type Row = (u8, u8, u16);

fn batch(rows: &[Row], offset: i64) -> RecordBatch {
    let count = rows.len();
    let times: TimestampMicrosecondArray =
        rows.iter().map(|row| Some(i64::from(row.2) * 60_000_000)).collect();
    let symbols = rows.iter().map(|row| Some(["A", "B", "C"][usize::from(row.0)]));
    let columns: Vec<Arc<dyn Array>> = vec![
        Arc::new(symbols.collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| Some(f64::from(row.1))).collect::<Float64Array>()),
        Arc::new(times.with_timezone("UTC")),
        Arc::new(Int32Array::from(vec![0; count])),
        Arc::new(Int64Array::from(vec![offset; count])),
        Arc::new((0..count as i32).map(Some).collect::<Int32Array>()),
        Arc::new(TimestampMicrosecondArray::from(vec![0; count]).with_timezone("UTC")),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn names() -> Names {
    let mut names = Names::default();
    names.insert("trades", Named::Rows(schema()), vec!["symbol".to_owned()]);
    names
}

fn compiled(planner: &Planner, sql: &str) -> Compiled {
    let sources = BTreeSet::from(["trades".to_owned()]);
    compile(planner, sql, &names(), &sources).unwrap()
}

/// An input that nobody may read.
struct Untouchable;

#[async_trait]
impl History for Untouchable {
    async fn rows(
        &self,
        _: Epoch,
        _: Option<Until>,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        Ok(futures::stream::once(async { Err(Error::internal("the history was read")) }).boxed())
    }
}

fn engine(tail: &Arc<Tail>) -> Engine {
    let env = Env {
        clock: Clock::stepped(Timestamp(0)),
        disk: Arc::new(MemDisk::new(1)),
        shutdown: Default::default(),
        tasks: Default::default(),
        seed: 1,
    };
    let records = Records {
        tail: Arc::clone(tail),
        table: None,
        history: Some(Arc::new(Untouchable)),
        sql: None,
    };
    let entry = Entry {
        kind: "source",
        readable: Readable::Records(records),
        key: vec!["symbol".to_owned()],
        latest: None,
        columns: schema(),
    };
    Engine::new(env, BTreeMap::from([("trades".to_owned(), entry)]), Vec::new())
}

async fn answer(engine: &Engine, sql: &str, is_panel: bool) -> String {
    let params = BTreeMap::from([("symbol".to_owned(), json!("A"))]);
    let query = Query { params, is_panel, ..Query::new(sql) };
    let rows = engine.collect(query).await.unwrap();
    let rows: Vec<RecordBatch> = rows.into_iter().filter(|rows| rows.num_rows() > 0).collect();
    pretty_format_batches(&rows).unwrap().to_string()
}

async fn check(sql: &str, streams: usize, epochs: &[Vec<Row>]) {
    let planner = Planner::new();
    let Compiled { streams: found, direct, .. } = compiled(&planner, sql);
    assert_eq!((found.len(), direct), (streams, Vec::new()), "{sql}");
    let mut running = Vec::new();
    let mut panels = Panels { sources: BTreeSet::from(["trades".to_owned()]), ..Panels::default() };
    for (fingerprint, query) in &found {
        let results = Arc::new(Results::new(Arc::clone(&query.schema), &query.key).unwrap());
        running.push((Program::new(&planner, query).unwrap(), Arc::clone(&results)));
        panels.results.insert(fingerprint.clone(), results);
    }
    let fingerprints = found.iter().map(|(fingerprint, _)| fingerprint.clone()).collect();
    panels.by_sql.insert(sql.to_owned(), fingerprints);
    let (empty, whole) =
        (Arc::new(Tail::new(schema(), Older::Input)), Arc::new(Tail::new(schema(), Older::Input)));
    for tail in [&empty, &whole] {
        tail.begin(0, Timestamp::MIN, &BTreeMap::new());
    }
    let (shown, oracle) = (engine(&empty).with_panels(panels), engine(&whole));
    let before = answer(&shown, sql, true).await;
    assert_eq!(before, answer(&oracle, sql, true).await, "before the first row: {sql}");

    // So wide that nothing is late.
    let mut watermark = Watermark::new(10 * 86_400_000_000);
    for (epoch, rows) in (1..).zip(epochs) {
        let rows = batch(rows, epoch as i64);
        let before = watermark.current();
        for time in rows.column(2).as_primitive::<TimestampMicrosecondType>().values() {
            watermark.see(0, Timestamp(*time));
        }
        let tick = Tick { watermark: watermark.end_epoch(&[], None) };
        for (program, results) in &mut running {
            let mut sides = Sides::default();
            let mut out = program.process(rows.clone(), before, &mut sides).unwrap();
            out.extend(program.end_epoch(before, tick, &mut sides).unwrap());
            out.iter().for_each(|rows| results.apply(rows).unwrap());
            results.publish();
        }
        whole.push(epoch, Timestamp(0), tick.watermark, &[rows], &BTreeMap::new());
        assert_eq!(
            answer(&shown, sql, true).await,
            answer(&oracle, sql, true).await,
            "S17a: after epoch {epoch}: {sql}"
        );
    }
    // Who asks the same outside of a panel is answered from the rows: here there are none.
    assert_eq!(answer(&shown, sql, false).await, before, "{sql}");
}

fn cases() -> u32 {
    std::env::var("THALWEG_CASES").ok().and_then(|it| it.parse().ok()).unwrap_or(2_000) / 50
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_panel_shows_what_its_sql_says_of_all_rows(
        epochs in proptest::collection::vec(
            proptest::collection::vec((0..3_u8, 0..9_u8, 0..3_000_u16), 1..8),
            1..5,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for (sql, streams) in COMPILED {
            runtime.block_on(check(sql, *streams, &epochs));
        }
    }
}

#[test]
fn what_no_stream_can_run_is_told_and_reads_what_is_in_memory() {
    let planner = Planner::new();
    for sql in DIRECT {
        let compiled = compiled(&planner, sql);
        assert_eq!(compiled.streams.len(), 0, "{sql}");
        assert_eq!(compiled.direct, ["trades"], "{sql}");
    }
}

#[test]
fn a_panel_of_rows_that_were_looked_up_is_a_stream() {
    let mut names = names();
    for name in ["listed", "quoted"] {
        names.insert(name, Named::Rows(schema()), Vec::new());
    }
    names.let_look_up("listed");
    let sources = BTreeSet::from(["trades".to_owned()]);
    let found = |sql: &str| compile(&Planner::new(), sql, &names, &sources).unwrap();
    for sql in [
        "SELECT count(*) FROM trades WHERE symbol IN (SELECT symbol FROM listed)",
        "SELECT l.ts, count(*) FROM (SELECT t.symbol, l.volume AS ts FROM trades t \
         JOIN listed l ON t.symbol = l.symbol) l GROUP BY 1",
    ] {
        let found = found(sql);
        assert_eq!(
            (found.streams.len(), found.direct.len()),
            (1, 0),
            "{sql}: {:?}",
            found.refusals
        );
        assert!(found.streams[0].1.lookups.contains("listed"), "{sql}");
    }
    let live = found("SELECT count(*) FROM trades WHERE symbol IN (SELECT symbol FROM quoted)");
    assert_eq!((live.streams.len(), live.direct.len()), (0, 1));
    assert!(live.refusals[0].contains("quoted"), "{:?}", live.refusals);
}

#[test]
fn equal_panels_are_one_stream_whatever_is_chosen_above_them() {
    let planner = Planner::new();
    let fingerprint = |sql: &str| compiled(&planner, sql).streams.remove(0).0;
    let counted = fingerprint("SELECT symbol, count(*) FROM trades GROUP BY symbol");
    for same in [
        "SELECT count(*) AS n, symbol FROM trades GROUP BY symbol ORDER BY n LIMIT 3",
        "SELECT count(*) FROM trades WHERE symbol = $symbol GROUP BY symbol",
    ] {
        assert_eq!(fingerprint(same), counted, "{same}");
    }
    let other = fingerprint("SELECT count(*) FROM trades WHERE symbol = 'A' GROUP BY symbol");
    assert_ne!(other, counted);
}
