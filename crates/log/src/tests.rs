//! Tests of the log through its public face, on a disk that fails and on a real one.

mod concurrent;
mod disk_trouble;
mod formats;
mod model;
mod reading;
mod recovery;
mod topics;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::poll;
use thalweg_core::env::Disk;
use thalweg_core::log::{Durability, FetchLimit, Log, OffsetBounds, OffsetSpan, TopicSettings};
use thalweg_core::records::{Record, decode, encode};
use thalweg_core::time::Timestamp;
use thalweg_core::topic::{Offset, TopicPartition};
use thalweg_core::{ErrorKind, Result};
use thalweg_sim::MemDisk;

use crate::{EmbeddedLog, Recovery};

const FOLDER: &str = "/log";

/// The only partition of the topic that most tests use.
fn trades() -> TopicPartition {
    TopicPartition::new("trades.raw", 0)
}

fn file_in_trades(name: &str) -> PathBuf {
    Path::new(FOLDER).join("trades.raw/0").join(name)
}

fn settings(segment_bytes: u64) -> TopicSettings {
    TopicSettings { segment_bytes, ..TopicSettings::default() }
}

fn open(disk: &MemDisk) -> Result<(Arc<EmbeddedLog>, Recovery)> {
    let (log, recovery) = EmbeddedLog::open_without_thread(Arc::new(disk.clone()), FOLDER)?;
    Ok((Arc::new(log), recovery))
}

/// A log on an empty disk, with the topic of most tests.
async fn fresh(segment_bytes: u64) -> (MemDisk, Arc<EmbeddedLog>) {
    let disk = MemDisk::new(0);
    let (log, _) = open(&disk).unwrap();
    log.create_topic("trades.raw", &settings(segment_bytes)).await.unwrap();
    (disk, log)
}

fn record(millis: i64, value: impl Into<Bytes>) -> Record {
    Record {
        timestamp: Timestamp::from_millis(millis),
        key: None,
        value: Some(value.into()),
        headers: vec![],
    }
}

/// One batch with a record for each value, all with the time `millis`.
fn batch(millis: i64, values: &[&str]) -> Bytes {
    let records: Vec<Record> =
        values.iter().map(|value| record(millis, value.to_string())).collect();
    encode(&records).unwrap()
}

/// Runs the flusher whenever `act` waits, until it does not.
async fn with_syncs<T>(log: &EmbeddedLog, act: impl Future<Output = T>) -> T {
    let mut act = pin!(act);
    for _ in 0..100 {
        if let std::task::Poll::Ready(done) = poll!(&mut act) {
            return done;
        }
        log.sync_group();
    }
    panic!("it waits for something else than a sync");
}

async fn append_synced(log: &EmbeddedLog, batches: Bytes) -> Result<OffsetSpan> {
    with_syncs(log, log.append(&trades(), batches, Durability::Synced)).await
}

async fn append_buffered(log: &EmbeddedLog, batches: Bytes) -> Result<OffsetSpan> {
    log.append(&trades(), batches, Durability::Buffered).await
}

async fn bounds(log: &EmbeddedLog) -> OffsetBounds {
    log.bounds(&trades()).await.unwrap()
}

fn limit(bytes_max: usize) -> FetchLimit {
    FetchLimit { bytes_max, wait: Duration::ZERO }
}

/// The values from `from` on, as texts.
async fn values(log: &EmbeddedLog, from: Offset) -> Vec<String> {
    let mut values = Vec::new();
    let mut next = from;
    loop {
        let fetched = log.fetch(&trades(), next, limit(1 << 20)).await.unwrap();
        if fetched.batches.is_empty() {
            return values;
        }
        for decoded in decode(&fetched.batches).unwrap() {
            if decoded.offset >= next {
                let value = decoded.record.value.unwrap();
                values.push(String::from_utf8(value.to_vec()).unwrap());
            }
        }
        next = fetched.next;
    }
}

/// Three segments: records 0 and 1, 2 and 3, and the active one with 4 and 5.
async fn three_segments() -> (MemDisk, Arc<EmbeddedLog>) {
    let (disk, log) = fresh(1024).await;
    let filler = "x".repeat(1024);
    for pair in 0..2 {
        let values = [format!("{}", 2 * pair), format!("{} {filler}", 2 * pair + 1)];
        append_synced(&log, batch(pair, &[&values[0], &values[1]])).await.unwrap();
    }
    append_synced(&log, batch(2, &["4", "5"])).await.unwrap();
    (disk, log)
}

/// Changes a file as no program of ours would.
fn damage(disk: &MemDisk, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = disk.read(path).unwrap();
    change(&mut bytes);
    let file = disk.open(path, false).unwrap();
    file.truncate(0).unwrap();
    file.write_at(&bytes, 0).unwrap();
    file.sync_data().unwrap();
}

#[track_caller]
fn assert_kind<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind) -> thalweg_core::Error {
    let error = result.expect_err("it is refused");
    assert_eq!(error.kind, kind, "{}", error.chain());
    error
}
