//! Delta tables from outside: what is written, what is read, and what a crash leaves.

mod elsewhere;
mod lookups;
mod model;
mod readers;
mod rewrites;
mod sinks;
mod tables;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray as _, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::prelude::SessionContext;
use thalweg_core::env::{Clock, Disk, DiskFile, Env};
use thalweg_core::schema::timestamp_type;
use thalweg_core::sink::{Epoch, Sink, Stamp};
use thalweg_core::table::{Replacement, Table as _};
use thalweg_core::time::{Day, Timestamp};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{DayPartition, Delta, DeltaOptions};

const PIPELINE: &str = "trades";
const FIRST_DAY: Day = Day(19_713);

/// A folder with a table in it, and the world the table sees.
struct Place {
    folder: tempfile::TempDir,
    env: Env,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), env: env() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("trades")
    }

    async fn open(&self, options: DeltaOptions) -> thalweg_core::Result<Delta> {
        self.open_as(schema(), options).await
    }

    async fn open_as(
        &self,
        schema: SchemaRef,
        options: DeltaOptions,
    ) -> thalweg_core::Result<Delta> {
        let place = crate::Place::on_disk(&self.path().display().to_string())?;
        Delta::open_or_create(&self.env, place, "trades_history", &schema, options).await
    }

    async fn by_day(&self) -> Delta {
        self.open(by_day()).await.unwrap()
    }

    /// The files and folders below the table's, but for its log.
    fn data_files(&self) -> Vec<String> {
        let mut found = Vec::new();
        collect_files(&self.path(), "", &mut found);
        found.sort();
        found
    }
}

fn collect_files(folder: &Path, prefix: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().into_string().unwrap());
        if entry.file_type().unwrap().is_dir() {
            if name != "_delta_log" {
                collect_files(&entry.path(), &format!("{name}/"), found);
            }
        } else {
            found.push(name);
        }
    }
}

/// A world whose clock stands still.
pub(crate) fn env() -> Env {
    Env {
        clock: Clock::stepped(Timestamp(1_703_258_644_000_000)),
        disk: Arc::new(NoDisk),
        shutdown: CancellationToken::new(),
        tasks: TaskTracker::new(),
        seed: 1,
    }
}

fn by_day() -> DeltaOptions {
    let partition = DayPartition { column: "day".to_owned(), source: "ts".to_owned() };
    DeltaOptions { partition_by: Some(partition), ..DeltaOptions::default() }
}

pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("symbol", DataType::Utf8, true),
        Field::new("price", DataType::Float64, true),
        Field::new("ts", timestamp_type(), false),
    ]))
}

/// Rows of the day `day` days after the first, told apart by `ids`.
pub(crate) fn rows(day: i32, ids: impl IntoIterator<Item = i64>) -> RecordBatch {
    let ids: Vec<i64> = ids.into_iter().collect();
    let start = Day(FIRST_DAY.0 + day).start().0;
    let times = ids.iter().map(|id| start + id * 1_001);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(ids.clone())),
        Arc::new(StringArray::from_iter_values(ids.iter().map(|id| format!("S{}", id % 3)))),
        Arc::new(Float64Array::from_iter_values(ids.iter().map(|id| *id as f64 / 2.0))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

pub(crate) fn stamp(epoch: Epoch) -> Stamp {
    stamp_of("i1", epoch)
}

pub(crate) fn stamp_of(incarnation: &str, epoch: Epoch) -> Stamp {
    Stamp { incarnation: incarnation.to_owned(), pipeline: PIPELINE.to_owned(), epoch }
}

/// A sink that has been opened.
async fn sink(delta: &Delta) -> Box<dyn Sink> {
    let mut sink = delta.sink().unwrap();
    sink.open().await.unwrap();
    sink
}

/// Writes rows as one epoch and commits it.
async fn commit(sink: &mut Box<dyn Sink>, epoch: Epoch, rows: &RecordBatch) -> u64 {
    sink.write(epoch, rows).await.unwrap();
    sink.commit(&stamp(epoch)).await.unwrap().rows_written
}

fn replacement(run: &str, day: i32, rows: Vec<RecordBatch>, note: Option<&str>) -> Replacement {
    let day = Day(FIRST_DAY.0 + day);
    Replacement {
        run: run.to_owned(),
        day_column: "day".to_owned(),
        first: day,
        last: day,
        rows,
        note: note.map(str::to_owned),
    }
}

/// One column of numbers that a query over the table, called `t`, gives.
async fn query(delta: &Delta, sql: &str) -> Vec<i64> {
    query_at(delta, None, sql).await
}

async fn query_at(delta: &Delta, version: Option<i64>, sql: &str) -> Vec<i64> {
    let context = SessionContext::new();
    let pinned = delta.pin(version).await.unwrap();
    context.register_table("t", pinned.provider).unwrap();
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    let values =
        |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().values().to_vec();
    batches.iter().flat_map(values).collect()
}

async fn ids(delta: &Delta) -> Vec<i64> {
    query(delta, "SELECT id FROM t ORDER BY id").await
}

async fn held(delta: &Delta) -> Option<Epoch> {
    delta.version(PIPELINE).await.unwrap().stamp.map(|stamp| stamp.epoch)
}

/// Tables keep no files of their own on it.
struct NoDisk;

impl Disk for NoDisk {
    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn list(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn open(&self, _: &Path, _: bool) -> io::Result<Box<dyn DiskFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn remove(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
