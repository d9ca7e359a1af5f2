//! A pipeline of numbers: an input, a decoder, a table and a store in memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{Array, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::datasource::MemTable;
use thalweg_core::budget::Budget;
use thalweg_core::decode::{Decoded, Decoder, FrameCounts};
use thalweg_core::env::{Clock, Env};
use thalweg_core::frame::{FrameSpan, Frames};
use thalweg_core::log::{Log, TopicSettings};
use thalweg_core::schema::{Column, ColumnType, source_schema, with_topic};
use thalweg_core::sink::{Committed, Epoch, Guarantee, Sink, Stamp};
use thalweg_core::source::{Chunk, Input, ReadLimit};
use thalweg_core::time::Timestamp;
use thalweg_core::topic::Offset;
use thalweg_core::{Error, Result};
use thalweg_log::EmbeddedLog;
use thalweg_sim::MemDisk;
use thalweg_stream::engine::{PinnedTable, TableReader};
use thalweg_stream::epoch;
use thalweg_stream::intake::{Intake, IntakeConfig};
use thalweg_stream::lookups::Lookup;
use thalweg_stream::pipeline::{
    Decoding, Drain, Factory, Models, Outlet, Parts, Pipeline, PipelineState, Reader, Reading,
    Settings, Shared,
};
use thalweg_stream::program::{self, Program, StreamQuery};
use thalweg_stream::sides::{LATE, QUARANTINE};
use thalweg_stream::sql::{Named, Names, Planner};
use thalweg_stream::tail::{Older, Tail};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::outside::{MemStore, Picked, values};

/// Whose pipeline it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The source's own.
    Source,
    /// A row-wise stream's, with state.
    Stream,
    /// That of a stream of closed windows, with a table.
    Windows,
    /// A stream's that takes the rows that are picked by a lookup, or those that are not.
    Arm {
        /// Which of them.
        is_picked: bool,
    },
}

/// `v` counts the valid rows by their frame; `before` takes state to know.
const STREAM: &str = "SELECT v, lag(v) OVER (ORDER BY _offset) AS before, ts FROM numbers";

/// A window for each valid row.
const WINDOWS: &str = "SELECT min(v) AS v, window_end AS ts \
    FROM tumble(numbers, ts, interval '2 microseconds') GROUP BY window_end";

const PICKED: &str = "SELECT v, ts FROM numbers WHERE v IN (SELECT v FROM picked)";
const NOT_PICKED: &str = "SELECT v, ts FROM numbers WHERE v NOT IN (SELECT v FROM picked)";

fn schema() -> SchemaRef {
    let column = |name: &str, kind| Column {
        name: name.to_owned(),
        kind,
        nullable: false,
        select: None,
        unit: None,
        allow_nan: false,
    };
    source_schema(&[column("v", ColumnType::Bigint), column("ts", ColumnType::Timestamp)])
}

/// Everything that outlives a process.
pub(crate) struct World {
    /// Whose pipeline it is.
    pub(crate) kind: Kind,
    received: watch::Sender<i64>,
    commits: watch::Sender<bool>,
    frames_read: Arc<AtomicUsize>,
    last: Arc<Mutex<Option<u8>>>,
    silent: watch::Sender<bool>,
    disk: Arc<MemDisk>,
    log: Arc<EmbeddedLog>,
    store: Arc<MemStore>,
    life: Mutex<Env>,
    /// The table of the pipeline.
    pub(crate) table: Arc<Table>,
    /// What is looked up in.
    pub(crate) picked: Arc<Picked>,
}

impl World {
    /// Nothing has come.
    pub(crate) async fn new(kind: Kind) -> Self {
        let disk = Arc::new(MemDisk::new(1));
        let (log, _) = EmbeddedLog::open(disk.clone(), "log").unwrap();
        for topic in [epoch::TOPIC, QUARANTINE, LATE] {
            log.create_topic(topic, &TopicSettings::default()).await.unwrap();
        }
        let commits = watch::Sender::new(true);
        let table = Arc::<Table>::default();
        let life = Mutex::new(env(&disk));
        Self {
            kind,
            received: watch::Sender::new(0),
            commits,
            frames_read: Arc::default(),
            last: Arc::default(),
            silent: watch::Sender::new(false),
            disk,
            log: Arc::new(log),
            store: Arc::default(),
            life,
            table,
            picked: Arc::default(),
        }
    }

    /// The world as this life of the process sees it.
    pub(crate) fn env(&self) -> Env {
        self.life.lock().unwrap().clone()
    }

    /// Frames come in.
    pub(crate) fn receive(&self, count: u8) {
        self.received.send_modify(|received| *received += i64::from(count));
    }

    /// Once the input has been read the next time, frames come in and then the feed is silent.
    pub(crate) fn end_after_next_read(&self, count: u8) {
        *self.last.lock().unwrap() = Some(count);
    }

    /// Lets the table commit, or not.
    pub(crate) fn let_commit(&self, commits: bool) {
        self.commits.send_replace(commits);
    }

    /// Frames that inputs have given out so far.
    pub(crate) fn frames_read(&self) -> usize {
        self.frames_read.load(Ordering::Relaxed)
    }

    /// The rows of everything that came: frames of even numbers. The newest window is open.
    pub(crate) fn expected(&self) -> Vec<i64> {
        let received = *self.received.borrow();
        let closed = if self.kind == Kind::Windows { received - 2 } else { received };
        (0..closed).filter(|number| number % 2 == 0).collect()
    }

    /// Waits until everything that came was run.
    pub(crate) async fn settled(&self, pipeline: &Pipeline) {
        loop {
            let reading = pipeline.status().read();
            let is_running = reading.state == PipelineState::Running;
            let received = u64::try_from(*self.received.borrow()).unwrap();
            if is_running && reading.source.frames_received == received {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Everything the process had started is gone.
    pub(crate) async fn end_life(&self) {
        let ended = std::mem::replace(&mut *self.life.lock().unwrap(), env(&self.disk));
        ended.shutdown.cancel();
        ended.tasks.close();
        ended.tasks.wait().await;
        // What was written is there or it is not; nothing comes later.
        self.log.sync().await.unwrap();
    }

    /// The pipeline, declared and not running.
    pub(crate) fn pipeline(&self, has_table: bool) -> Arc<Pipeline> {
        self.pipeline_until(None, has_table)
    }

    /// The same, which ends when the feed is silent.
    pub(crate) fn draining_pipeline(&self, has_table: bool) -> Arc<Pipeline> {
        let wait = Duration::from_secs(10);
        self.pipeline_until(Some(Drain { feeds_silent: self.silent.subscribe(), wait }), has_table)
    }

    /// The pipelines of both arms, with a table each.
    pub(crate) fn arms(&self, tables: &[Arc<Table>; 2]) -> [Arc<Pipeline>; 2] {
        let reading: Arc<Reading> = Arc::default();
        let arm = |is_picked: bool, table: &Arc<Table>| {
            let kind = Kind::Arm { is_picked };
            let name = if is_picked { "picked_rows" } else { "other_rows" };
            self.declare((kind, name), &reading, None, Some(Arc::clone(table)))
        };
        [arm(true, &tables[0]), arm(false, &tables[1])]
    }

    fn pipeline_until(&self, drain: Option<Drain>, has_table: bool) -> Arc<Pipeline> {
        let table = has_table.then(|| Arc::clone(&self.table));
        self.declare((self.kind, "x"), &Arc::default(), drain, table)
    }

    fn declare(
        &self,
        (kind, name): (Kind, &str),
        reading: &Arc<Reading>,
        drain: Option<Drain>,
        table: Option<Arc<Table>>,
    ) -> Arc<Pipeline> {
        let planner = Planner::new();
        let sql = match kind {
            Kind::Source => None,
            Kind::Stream => Some(STREAM),
            Kind::Windows => Some(WINDOWS),
            Kind::Arm { is_picked: true } => Some(PICKED),
            Kind::Arm { is_picked: false } => Some(NOT_PICKED),
        };
        let query = sql.map(|sql| {
            let mut names = Names::default();
            names.insert("numbers", Named::Rows(with_topic(&schema())), Vec::new());
            names.insert("picked", Named::Rows(Picked::schema()), Vec::new());
            names.let_look_up("picked");
            program::prepare(&planner, sql, &names, false).unwrap()
        });
        let rows =
            query.as_ref().map_or_else(|| with_topic(&schema()), |query| Arc::clone(&query.schema));
        let of_table = table.as_ref().unwrap_or(&self.table);
        *of_table.rows.lock().unwrap() = Some(Arc::clone(&rows));
        let lookup: Arc<dyn Lookup> = self.picked.clone();
        let shared = Shared {
            env: self.env(),
            log: self.log.clone(),
            store: self.store.clone(),
            data: "data".into(),
            incarnation: "test".to_owned(),
            has_readers: true,
            lookups: Arc::new(BTreeMap::from([("picked".to_owned(), lookup)])),
            models: Models::default(),
            memory: Budget::unlimited("memory"),
            disk: Budget::unlimited("disk"),
        };
        let settings = Settings {
            name: name.to_owned(),
            source: "numbers".to_owned(),
            is_source: kind == Kind::Source,
            keeps_late: true,
            delay_micros: 0,
            checkpoint_every: Duration::from_millis(3),
            journal: None,
            fingerprint: "1".to_owned(),
            // A few epochs.
            keep: (Duration::from_secs(600), 4_000),
        };
        let factory = Numbers {
            planner,
            query: query.clone(),
            rows: Arc::clone(&rows),
            received: self.received.clone(),
            last: Arc::clone(&self.last),
            silent: self.silent.clone(),
            commits: self.commits.subscribe(),
            frames_read: Arc::clone(&self.frames_read),
            table: table.clone(),
            env: shared.env.clone(),
        };
        let older = match (kind, table.is_some()) {
            (Kind::Windows, _) => Older::Table,
            (_, true) => Older::TableAndInput,
            (_, false) => Older::Input,
        };
        let tail = Arc::new(Tail::new(rows, older));
        let (factory, tail) = (Box::new(factory), Some(tail));
        Arc::new(Pipeline::new(shared, settings, reading, factory, query, tail, Vec::new(), drain))
    }
}

fn env(disk: &Arc<MemDisk>) -> Env {
    Env {
        clock: Clock::system(),
        disk: disk.clone(),
        shutdown: CancellationToken::new(),
        tasks: Default::default(),
        seed: 1,
    }
}

struct Numbers {
    planner: Planner,
    query: Option<StreamQuery>,
    rows: SchemaRef,
    received: watch::Sender<i64>,
    last: Arc<Mutex<Option<u8>>>,
    silent: watch::Sender<bool>,
    commits: watch::Receiver<bool>,
    frames_read: Arc<AtomicUsize>,
    table: Option<Arc<Table>>,
    env: Env,
}

#[async_trait]
impl Factory for Numbers {
    async fn parts(&self) -> Result<Parts> {
        let outlets = self.table.iter().map(|table| Outlet {
            name: "table".to_owned(),
            sink: Box::new(TableSink {
                table: Arc::clone(table),
                commits: self.commits.clone(),
                shutdown: self.env.shutdown.clone(),
                staged: Vec::new(),
            }),
            columns: Arc::clone(&self.rows),
            commit_every: None,
            arm: None,
            is_lossless_table: true,
        });
        let Decoding { inputs, intake, .. } = self.decoding()?;
        let front = Reader::new(inputs, intake, &self.env);
        Ok(Parts { outlets: outlets.collect(), decoding: self.decoding()?, front })
    }

    fn decoding(&self) -> Result<Decoding> {
        let input = NumberInput {
            received: self.received.clone(),
            last: Arc::clone(&self.last),
            silent: self.silent.clone(),
            frames_read: Arc::clone(&self.frames_read),
        };
        let config = IntakeConfig {
            source: "numbers".to_owned(),
            topic: "numbers.raw".to_owned(),
            event_time: "ts".to_owned(),
            max_ahead_micros: None,
            checks: vec![("even".to_owned(), "coalesce(v, 1) % 2 = 0".to_owned())],
        };
        let decoder = Box::new(NumberDecoder { schema: schema() });
        let intake = Intake::new(&self.planner, config, decoder)?;
        let query = self.query.as_ref();
        let program = query.map(|query| Program::new(&self.planner, query)).transpose()?;
        let inputs: BTreeMap<u32, Box<dyn Input>> = BTreeMap::from([(0, Box::new(input) as _)]);
        Ok(Decoding { inputs, intake, unique: None, program })
    }
}

/// Frame `n` is the number `n`.
struct NumberInput {
    received: watch::Sender<i64>,
    last: Arc<Mutex<Option<u8>>>,
    silent: watch::Sender<bool>,
    frames_read: Arc<AtomicUsize>,
}

#[async_trait]
impl Input for NumberInput {
    fn restore(&mut self, _: Option<&str>) -> Result<()> {
        Ok(())
    }

    async fn read(&mut self, from: Offset, limit: ReadLimit) -> Result<Chunk> {
        let mut there = self.received.subscribe();
        let there = there.wait_for(|received| *received > from);
        // Time is up, or something is there.
        let _ = tokio::time::timeout(limit.wait, there).await;
        let received = *self.received.borrow();
        let most = from.saturating_add(i64::try_from(limit.frames_max.min(16_384)).unwrap());
        let next = received.min(limit.until.unwrap_or(i64::MAX)).min(most).max(from);
        let spans = (from..next).map(|offset| FrameSpan {
            start: 0,
            len: 0,
            offset,
            received_at: Timestamp(offset),
        });
        let frames = Frames { spans: spans.collect(), ..Frames::default() };
        self.frames_read.fetch_add(frames.len(), Ordering::Relaxed);
        if let Some(last) = self.last.lock().unwrap().take() {
            self.received.send_modify(|received| *received += i64::from(last));
            self.silent.send_replace(true);
        }
        Ok(Chunk { frames, next, at_end: next == received, ..Chunk::default() })
    }

    async fn start(&mut self) -> Result<Offset> {
        Ok(0)
    }

    async fn unread_heads(&mut self, _: Offset) -> Result<Frames> {
        Ok(Frames::default())
    }

    fn is_bounded(&self) -> bool {
        false
    }
}

struct NumberDecoder {
    schema: SchemaRef,
}

impl Decoder for NumberDecoder {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn decode(&mut self, frames: &Frames) -> Result<Decoded> {
        let numbers: Vec<i64> = frames.spans.iter().map(|span| span.offset).collect();
        let times = TimestampMicrosecondArray::from(numbers.clone()).with_timezone("UTC");
        let columns: Vec<Arc<dyn Array>> = vec![
            Arc::new(Int64Array::from(numbers.clone())),
            Arc::new(times.clone()),
            Arc::new(Int32Array::from(vec![0; numbers.len()])),
            Arc::new(Int64Array::from(numbers)),
            Arc::new(Int32Array::from(vec![0; frames.len()])),
            Arc::new(times),
        ];
        Ok(Decoded {
            rows: RecordBatch::try_new(Arc::clone(&self.schema), columns).unwrap(),
            rejects: Vec::new(),
            frames: FrameCounts { decoded: frames.len() as u64, ..FrameCounts::default() },
            notices: Vec::new(),
        })
    }
}

/// A table that remembers whose epochs it holds.
#[derive(Default)]
pub(crate) struct Table {
    state: Mutex<(Vec<RecordBatch>, Option<Stamp>)>,
    rows: Mutex<Option<SchemaRef>>,
}

#[async_trait]
impl TableReader for Table {
    async fn pin(&self) -> Result<PinnedTable> {
        let (rows, stamp) = self.state.lock().unwrap().clone();
        let provider = Arc::new(MemTable::try_new(self.schema(), vec![rows]).unwrap());
        Ok(PinnedTable { provider, epoch: stamp.map_or(0, |stamp| stamp.epoch), note: None })
    }

    fn schema(&self) -> SchemaRef {
        self.rows.lock().unwrap().clone().unwrap()
    }
}

impl Table {
    /// The numbers it holds.
    pub(crate) fn numbers(&self) -> Vec<i64> {
        values(&self.state.lock().unwrap().0, "v")
    }
}

struct TableSink {
    table: Arc<Table>,
    commits: watch::Receiver<bool>,
    shutdown: CancellationToken,
    staged: Vec<RecordBatch>,
}

#[async_trait]
impl Sink for TableSink {
    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    async fn open(&mut self) -> Result<Option<Stamp>> {
        Ok(self.table.state.lock().unwrap().1.clone())
    }

    async fn write(&mut self, _: Epoch, rows: &RecordBatch) -> Result<()> {
        self.staged.push(rows.clone());
        Ok(())
    }

    async fn commit(&mut self, stamp: &Stamp) -> Result<Committed> {
        tokio::select! {
            _ = self.commits.wait_for(|commits| *commits) => {}
            () = self.shutdown.cancelled() => return Err(Error::unavailable("the process ends")),
        }
        let rows_written = self.staged.iter().map(|rows| rows.num_rows() as u64).sum();
        let mut state = self.table.state.lock().unwrap();
        state.0.append(&mut self.staged);
        state.1 = Some(stamp.clone());
        Ok(Committed { rows_written, rows_superseded: 0 })
    }

    async fn discard(&mut self) {
        self.staged.clear();
    }
}
