//! Side topics: quarantine and late rows, each exactly once (S6, S13).
//!
//! A record is JSON, stamped with (pipeline, epoch) and keyed by the source or stream it belongs to.
//! The rows of an epoch are one batch, so they are there whole or not at all; an epoch that is run
//! again finds its stamp in the topic and writes nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thalweg_core::log::{Durability, FetchLimit, Log};
use thalweg_core::records::{self, Record};
use thalweg_core::sink::Epoch;
use thalweg_core::time::Timestamp;
use thalweg_core::topic::{Offset, TopicPartition};
use thalweg_core::{Error, Result};

use crate::intake::Refused;

/// Topic of what was refused.
pub const QUARANTINE: &str = "_quarantine";
/// Topic of what came too late.
pub const LATE: &str = "_late";

/// A refused frame or row, as the topic holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineRecord {
    /// The pipeline that refused it.
    pub pipeline: String,
    /// The epoch in which it did.
    pub epoch: Epoch,
    /// The source or stream it belongs to.
    pub name: String,
    /// `_partition` of the record.
    pub partition: u32,
    /// `_offset` of the record.
    pub offset: Offset,
    /// `_row` within it; none when the whole frame is refused.
    pub row: Option<u32>,
    /// `_received_at` of the record.
    pub received_at: Timestamp,
    /// Name of the check that failed, `decode`, or `expression`.
    pub check: String,
    /// What is wrong.
    pub reason: String,
    /// First bytes of the frame, base64.
    pub bytes: String,
    /// Whole length of the frame.
    pub length: u64,
    /// CRC-32C of the bytes kept.
    pub hash: u32,
    /// Version of the source's columns.
    pub schema_version: u32,
    /// Where it stands in its file; none for what comes from no file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// A late row, as the topic holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LateRecord {
    /// The pipeline for which it was late.
    pub pipeline: String,
    /// The epoch in which it came.
    pub epoch: Epoch,
    /// Number of the operator, from 0.
    pub operator: usize,
    /// Start of the window it would have belonged to.
    pub window_start: Timestamp,
    /// `_partition` of its record.
    pub partition: i32,
    /// `_offset` of its record.
    pub offset: Offset,
    /// `_row` within it.
    pub row: i32,
    /// Its visible columns.
    pub columns: serde_json::Value,
}

impl QuarantineRecord {
    /// A frame or row that was refused, of the source or stream `name`.
    pub fn refused(pipeline: &str, epoch: Epoch, name: &str, refused: &Refused) -> Self {
        Self {
            pipeline: pipeline.to_owned(),
            epoch,
            name: name.to_owned(),
            partition: refused.partition,
            offset: refused.offset,
            row: refused.row,
            received_at: refused.received_at,
            check: refused.check.clone(),
            reason: refused.reason.clone(),
            bytes: STANDARD.encode(&refused.bytes),
            length: refused.length,
            hash: crc32c::crc32c(&refused.bytes),
            schema_version: 1,
            place: refused.place.clone(),
        }
    }

    /// The bytes kept of the frame.
    pub fn frame(&self) -> Vec<u8> {
        STANDARD.decode(&self.bytes).unwrap_or_default()
    }
}

/// Writes one pipeline's records to one side topic.
pub struct SideWriter {
    log: Arc<dyn Log>,
    partition: TopicPartition,
    pipeline: String,
    // Epochs after the checkpoint whose records are there already.
    written: BTreeSet<Epoch>,
}

#[derive(Deserialize)]
struct StampOnly {
    pipeline: String,
    epoch: Epoch,
}

impl SideWriter {
    /// Opens a topic and finds which epochs after `after` are there, looking from `from` on.
    pub async fn open(
        log: Arc<dyn Log>,
        topic: &'static str,
        pipeline: &str,
        from: Option<Offset>,
        after: Epoch,
    ) -> Result<Self> {
        let partition = TopicPartition::new(topic, 0);
        let mut written = BTreeSet::new();
        for_each(log.as_ref(), &partition, from, |_, value| {
            let stamp: StampOnly = serde_json::from_slice(value).map_err(broken)?;
            if stamp.pipeline == pipeline && stamp.epoch > after {
                written.insert(stamp.epoch);
            }
            Ok(())
        })
        .await?;
        Ok(Self { log, partition, pipeline: pipeline.to_owned(), written })
    }

    /// Writes the records of an epoch unless they are there; durable after the next `sync`.
    pub async fn write<T: Serialize>(
        &mut self,
        epoch: Epoch,
        key: &str,
        records: &[T],
        now: Timestamp,
    ) -> Result<()> {
        if records.is_empty() || self.written.remove(&epoch) {
            return Ok(());
        }
        let encoded: Result<Vec<Record>> = records
            .iter()
            .map(|record| {
                let value = serde_json::to_vec(record).map_err(broken)?;
                Ok(Record {
                    timestamp: now,
                    key: Some(Bytes::copy_from_slice(key.as_bytes())),
                    value: Some(Bytes::from(value)),
                    headers: Vec::new(),
                })
            })
            .collect();
        let batch = records::encode(&encoded?)?;
        self.log.append(&self.partition, batch, Durability::Buffered).await?;
        Ok(())
    }

    /// The offset the next record takes: where a restart looks from.
    pub async fn end(&self) -> Result<Offset> {
        Ok(self.log.bounds(&self.partition).await?.log_end)
    }

    /// Keeps records from `from` on for this pipeline.
    pub async fn hold(&self, from: Offset) -> Result<()> {
        let holder = format!("checkpoint {}", self.pipeline);
        self.log.hold(&self.partition, &holder, Some(from)).await
    }
}

/// Reads every record of a side topic, in order.
pub async fn read<T: for<'a> Deserialize<'a>>(log: &dyn Log, topic: &str) -> Result<Vec<T>> {
    let mut found = Vec::new();
    for_each(log, &TopicPartition::new(topic, 0), None, |_, value| {
        found.push(serde_json::from_slice(value).map_err(broken)?);
        Ok(())
    })
    .await?;
    Ok(found)
}

async fn for_each(
    log: &dyn Log,
    partition: &TopicPartition,
    from: Option<Offset>,
    mut each: impl FnMut(Offset, &[u8]) -> Result<()>,
) -> Result<()> {
    let bounds = log.bounds(partition).await?;
    let mut at = from.unwrap_or(bounds.log_start).max(bounds.log_start);
    while at < bounds.high_watermark {
        let limit = FetchLimit { bytes_max: 1 << 20, wait: Duration::ZERO };
        let fetched = log.fetch(partition, at, limit).await?;
        for decoded in records::decode(&fetched.batches)? {
            if decoded.offset >= at {
                each(decoded.offset, &decoded.record.value.unwrap_or_default())?;
            }
        }
        if fetched.next <= at {
            break;
        }
        at = fetched.next;
    }
    Ok(())
}

fn broken(error: serde_json::Error) -> Error {
    Error::internal("a record of a side topic is broken").with_source(error)
}
