//! S17: a merged view equals the whole-input answer, without the late rows, at every moment of a
//! random schedule of epochs, refreshes (out of order, of empty days, again) and reads.

#![expect(clippy::unwrap_used, reason = "a failed step of a test says enough by its line")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use arrow::array::{
    Array, AsArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int32Type, Int64Type, SchemaRef, TimestampMicrosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use async_trait::async_trait;
use datafusion::datasource::MemTable;
use proptest::prelude::*;
use thalweg_core::Result;
use thalweg_core::env::{Clock, Env};
use thalweg_core::log::{Log, TopicSettings};
use thalweg_core::query::Query;
use thalweg_core::schema::{Column, ColumnType, source_schema};
use thalweg_core::time::{Day, MICROS_PER_DAY, Timestamp};
use thalweg_log::EmbeddedLog;
use thalweg_sim::MemDisk;
use thalweg_stream::batch::BatchQuery;
use thalweg_stream::engine::{
    Engine, Entry, Merged, PinnedTable, Readable, RefreshNote, TableReader,
};
use thalweg_stream::operators::Tick;
use thalweg_stream::program::{self, Program, Sides};
use thalweg_stream::results::Results;
use thalweg_stream::sides::{LATE, LateRecord, SideWriter};
use thalweg_stream::sql::rewrite::Mode;
use thalweg_stream::sql::{Named, Names, Planner};
use thalweg_stream::watermark::Watermark;

const SQL: &str = "SELECT symbol, window_start, sum(volume) AS volume, count(*) AS trades \
                   FROM tumble(trades, ts, interval '6 hours') GROUP BY symbol, window_start";
/// Days of the test; some of them may stay empty.
const DAYS: i32 = 4;

#[derive(Clone, Debug)]
enum Step {
    /// An epoch: (symbol, volume, hour since the first day).
    Rows(Vec<(u8, u8, u16)>),
    /// Refreshes a day, if the watermark has passed it.
    Refresh(i32),
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    let hours = 24 * DAYS as u16;
    let row = (0..3_u8, 0..9_u8, 0..hours);
    prop_oneof![
        5 => proptest::collection::vec(row, 1..6).prop_map(Step::Rows),
        3 => (0..DAYS).prop_map(Step::Refresh),
        2 => Just(Step::Read),
    ]
}

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

fn batch(rows: &[(u8, u8, u16)], offset: i64) -> RecordBatch {
    let count = rows.len();
    let times: TimestampMicrosecondArray =
        rows.iter().map(|row| Some(i64::from(row.2) * 3_600_000_000)).collect();
    let columns: Vec<Arc<dyn Array>> = vec![
        Arc::new(
            rows.iter()
                .map(|row| Some(["A", "B", "C"][usize::from(row.0)]))
                .collect::<StringArray>(),
        ),
        Arc::new(rows.iter().map(|row| Some(f64::from(row.1))).collect::<Float64Array>()),
        Arc::new(times.with_timezone("UTC")),
        Arc::new(Int32Array::from(vec![0; count])),
        Arc::new(Int64Array::from(vec![offset; count])),
        Arc::new((0..count as i32).map(Some).collect::<Int32Array>()),
        Arc::new(TimestampMicrosecondArray::from(vec![0; count]).with_timezone("UTC")),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// A table in memory: its rows and the note of its newest refresh.
struct Table {
    schema: SchemaRef,
    state: Mutex<(Vec<RecordBatch>, Option<String>)>,
}

#[async_trait]
impl TableReader for Table {
    async fn pin(&self) -> Result<PinnedTable> {
        let (rows, note) = self.state.lock().unwrap().clone();
        let provider = Arc::new(MemTable::try_new(Arc::clone(&self.schema), vec![rows]).unwrap());
        Ok(PinnedTable { provider, epoch: 0, note })
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

fn lines(batches: &[RecordBatch]) -> BTreeSet<String> {
    let options = FormatOptions::default();
    let mut lines = BTreeSet::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cells: Vec<String> = batch
                .columns()
                .iter()
                .map(|column| {
                    ArrayFormatter::try_new(column, &options).unwrap().value(row).to_string()
                })
                .collect();
            assert!(lines.insert(cells.join(" | ")), "a row stands twice");
        }
    }
    lines
}

async fn check(steps: Vec<Step>, delay_hours: i64) {
    let disk = Arc::new(MemDisk::new(1));
    let env = Env {
        clock: Clock::stepped(Timestamp(0)),
        disk: disk.clone(),
        shutdown: Default::default(),
        tasks: Default::default(),
        seed: 1,
    };
    let (log, _) = EmbeddedLog::open(disk, "log").unwrap();
    let log: Arc<dyn Log> = Arc::new(log);
    log.create_topic(LATE, &TopicSettings::default()).await.unwrap();
    let mut late_writer =
        SideWriter::open(Arc::clone(&log), LATE, "hourly", None, 0).await.unwrap();

    let planner = Planner::new();
    let mut names = Names::default();
    names.insert("trades", Named::Rows(schema()), Vec::new());
    let query = program::prepare(&planner, SQL, &names, true).unwrap();
    let mut program = Program::new(&planner, &query).unwrap();
    let live = Arc::new(Results::new(Arc::clone(&query.schema), &query.key).unwrap());
    live.publish();
    let mut watermark = Watermark::new(delay_hours * 3_600_000_000);
    let history = Arc::new(Table { schema: schema(), state: Mutex::new((Vec::new(), None)) });
    let batch_table =
        Arc::new(Table { schema: query.visible(), state: Mutex::new((Vec::new(), None)) });
    let refresh = BatchQuery {
        stream: "hourly".to_owned(),
        sql: SQL.to_owned(),
        source: "trades".to_owned(),
        history: history.clone(),
        event_time: "ts".to_owned(),
        day_column: "window_start".to_owned(),
        window_size: query.window_size,
        lookups: Default::default(),
        models: Default::default(),
    };
    let merged = Merged {
        batch: batch_table.clone(),
        live: Arc::clone(&live),
        on: "window_start".to_owned(),
    };
    let entry = Entry {
        kind: "view",
        readable: Readable::Merged(merged),
        key: query.key.clone(),
        latest: None,
        columns: query.visible(),
    };
    let engine = Engine::new(env, BTreeMap::from([("v".to_owned(), entry)]), Vec::new());

    let mut late = BTreeSet::new();
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Rows(rows) => {
                let epoch = number as u64 + 1;
                let rows = batch(&rows, number as i64);
                history.state.lock().unwrap().0.push(rows.clone());
                let before = watermark.current();
                let mut sides = Sides::default();
                let mut out = program.process(rows.clone(), before, &mut sides).unwrap();
                for time in rows.column(2).as_primitive::<TimestampMicrosecondType>().values() {
                    watermark.see(0, Timestamp(*time));
                }
                let reached = watermark.end_epoch(&[], None);
                out.extend(
                    program.end_epoch(before, Tick { watermark: reached }, &mut sides).unwrap(),
                );
                for rows in &out {
                    live.apply(rows).unwrap();
                }
                live.publish();
                let mut records = Vec::new();
                for (operator, rows) in sides.late {
                    let offsets = rows
                        .rows
                        .column_by_name("_offset")
                        .unwrap()
                        .as_primitive::<Int64Type>()
                        .clone();
                    let numbers = rows
                        .rows
                        .column_by_name("_row")
                        .unwrap()
                        .as_primitive::<Int32Type>()
                        .clone();
                    for row in 0..rows.rows.num_rows() {
                        late.insert((offsets.value(row), numbers.value(row)));
                        records.push(LateRecord {
                            pipeline: "hourly".to_owned(),
                            epoch,
                            operator,
                            window_start: rows.window_starts[row],
                            partition: 0,
                            offset: offsets.value(row),
                            row: numbers.value(row),
                            columns: serde_json::Value::Null,
                        });
                    }
                }
                late_writer.write(epoch, "hourly", &records, Timestamp(0)).await.unwrap();
                log.sync().await.unwrap();
            }
            Step::Refresh(day) => {
                let day = Day(day);
                if watermark.current() < day.end() {
                    continue;
                }
                let first = refresh.first_day(&planner).await.unwrap();
                let rows = refresh.rows(&planner, log.as_ref(), day, day).await.unwrap();
                let boundary = {
                    let mut state = batch_table.state.lock().unwrap();
                    let mut note = match &state.1 {
                        Some(text) => RefreshNote::parse(text).unwrap(),
                        None => RefreshNote::new(first.unwrap_or(day)),
                    };
                    if let Some(first) = first {
                        note.begins(first);
                    }
                    note.days.insert(day.0);
                    state.0.retain(|old| {
                        let start =
                            old.column(1).as_primitive::<TimestampMicrosecondType>().value(0);
                        start.div_euclid(MICROS_PER_DAY) != i64::from(day.0)
                    });
                    state.0.extend(rows.into_iter().filter(|rows| rows.num_rows() > 0));
                    state.1 = Some(note.text().unwrap());
                    note.boundary()
                };
                if let Some(boundary) = boundary {
                    live.forget_before("window_start", boundary).unwrap();
                    live.publish();
                }
            }
            Step::Read => {
                let view = engine.collect(Query::new("SELECT * FROM v")).await.unwrap();
                let whole = whole(&planner, &history, &late).await;
                assert_eq!(lines(&view), lines(&whole), "S17 after step {number}");
            }
        }
    }
}

/// What DataFusion says about all rows so far without the late ones.
async fn whole(
    planner: &Planner,
    history: &Table,
    late: &BTreeSet<(i64, i32)>,
) -> Vec<RecordBatch> {
    let rows = concat_batches(&schema(), &history.state.lock().unwrap().0).unwrap();
    let offsets = rows.column(4).as_primitive::<Int64Type>();
    let numbers = rows.column(5).as_primitive::<Int32Type>();
    let kept: arrow::array::BooleanArray = (0..rows.num_rows())
        .map(|row| Some(!late.contains(&(offsets.value(row), numbers.value(row)))))
        .collect();
    let rows = arrow::compute::filter_record_batch(&rows, &kept).unwrap();
    let table = MemTable::try_new(schema(), vec![vec![rows]]).unwrap();
    let mut names = Names::default();
    names.insert("trades", Named::Table(Arc::new(table)), Vec::new());
    let plan = planner.plan(SQL, &names, Mode::Stream).unwrap().plan;
    let context = datafusion::prelude::SessionContext::new_with_state(planner.state().clone());
    context.execute_logical_plan(plan).await.unwrap().collect().await.unwrap()
}

fn cases() -> u32 {
    std::env::var("THALWEG_CASES").ok().and_then(|it| it.parse().ok()).unwrap_or(2_000) / 5
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_merged_view_has_no_hole_and_no_double_count(
        steps in proptest::collection::vec(step(), 1..40),
        delay_hours in 0..30_i64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(steps, delay_hours));
    }
}
