//! Epoch records: everything about an epoch that its rows do not determine (S8).
//!
//! A record is durable before the first commit outside that holds rows of its epoch. Running an
//! epoch again from its record gives the same bytes. Records are JSON in the internal topic
//! [`TOPIC`], keyed by pipeline, so they share the journal's group commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thalweg_core::log::{Durability, FetchLimit, Log};
use thalweg_core::model::Serving;
use thalweg_core::records::{self, Record};
use thalweg_core::sink::Epoch;
use thalweg_core::time::Timestamp;
use thalweg_core::topic::{Offset, TopicPartition};
use thalweg_core::{Error, Result};

use crate::lookups::SnapshotNumber;

/// The internal topic that holds epoch records.
pub const TOPIC: &str = "_epochs";
const FORMAT: u32 = 1;

/// One epoch of one pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Version of this format.
    pub format: u32,
    /// The pipeline.
    pub pipeline: String,
    /// Number of the epoch, from 1.
    pub epoch: Epoch,
    /// What was read of each partition.
    pub ranges: Vec<OffsetRange>,
    /// Partitions that were idle at the end of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub idle: Vec<u32>,
    /// Earliest event time known to be unread at the end of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_at: Option<Timestamp>,
    /// Whether a bounded input had ended, so that open windows close (`--drain`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closes: bool,
    /// Who answers for each model of the pipeline, from the first row of the epoch on (S23).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<String, Serving>,
    /// The snapshot of each lookup (S11).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lookups: BTreeMap<String, SnapshotNumber>,
}

/// What an epoch read of one partition: offsets in `from .. to`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetRange {
    /// The partition.
    pub partition: u32,
    /// First offset.
    pub from: Offset,
    /// End, exclusive.
    pub to: Offset,
    /// New manifest of the input, if it changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
}

impl EpochRecord {
    /// An epoch that has read nothing yet.
    pub fn new(pipeline: &str, epoch: Epoch) -> Self {
        Self {
            format: FORMAT,
            pipeline: pipeline.to_owned(),
            epoch,
            ranges: Vec::new(),
            idle: Vec::new(),
            held_at: None,
            closes: false,
            models: BTreeMap::new(),
            lookups: BTreeMap::new(),
        }
    }
}

/// The epoch records of one pipeline.
pub struct EpochLog {
    log: Arc<dyn Log>,
    partition: TopicPartition,
    pipeline: String,
}

impl EpochLog {
    /// The records of `pipeline` in `log`, whose topic exists.
    pub fn new(log: Arc<dyn Log>, pipeline: &str) -> Self {
        Self { log, partition: TopicPartition::new(TOPIC, 0), pipeline: pipeline.to_owned() }
    }

    /// Writes a record; durable after the next [`Log::sync`]. Returns its offset.
    pub async fn append(&self, record: &EpochRecord, now: Timestamp) -> Result<Offset> {
        let value = serde_json::to_vec(record)
            .map_err(|error| Error::internal("an epoch record is no JSON").with_source(error))?;
        let batch = records::encode(&[Record {
            timestamp: now,
            key: Some(Bytes::from(self.pipeline.clone())),
            value: Some(Bytes::from(value)),
            headers: Vec::new(),
        }])?;
        Ok(self.log.append(&self.partition, batch, Durability::Buffered).await?.first)
    }

    /// The records of this pipeline after epoch `after`, read from `from` on, and the offset behind
    /// the last of them.
    pub async fn read(&self, from: Option<Offset>, after: Epoch) -> Result<Vec<EpochRecord>> {
        let bounds = self.log.bounds(&self.partition).await?;
        let mut at = from.unwrap_or(bounds.log_start).max(bounds.log_start);
        let mut found = Vec::new();
        while at < bounds.high_watermark {
            let limit = FetchLimit { bytes_max: 1 << 20, wait: Duration::ZERO };
            let fetched = self.log.fetch(&self.partition, at, limit).await?;
            for decoded in records::decode(&fetched.batches)? {
                let record = decoded.record;
                if decoded.offset < at || record.key.as_deref() != Some(self.pipeline.as_bytes()) {
                    continue;
                }
                let value = record.value.unwrap_or_default();
                let record: EpochRecord = serde_json::from_slice(&value).map_err(|error| {
                    Error::internal(format!("epoch record {} is broken", decoded.offset))
                        .with_source(error)
                })?;
                if record.epoch > after {
                    found.push(record);
                }
            }
            if fetched.next <= at {
                break;
            }
            at = fetched.next;
        }
        for (record, epoch) in found.iter().zip(after + 1..) {
            if record.epoch != epoch {
                return Err(Error::internal(format!(
                    "epoch {epoch} of `{}` is missing from the log",
                    self.pipeline
                )));
            }
        }
        Ok(found)
    }

    /// Keeps records from `from` on.
    pub async fn hold(&self, from: Offset) -> Result<()> {
        self.log.hold(&self.partition, &format!("checkpoint {}", self.pipeline), Some(from)).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_of_format_1_reads_and_is_still_written_so() {
        let first = r#"{"format":1,"pipeline":"bars","epoch":7,"ranges":[{"partition":0,"from":40,"to":90}]}"#;
        let read: EpochRecord = serde_json::from_str(first).expect("format 1");
        let range = OffsetRange { partition: 0, from: 40, to: 90, manifest: None };
        let expected = EpochRecord { ranges: vec![range], ..EpochRecord::new("bars", 7) };
        assert_eq!(read, expected);
        assert_eq!(serde_json::to_string(&expected).expect("it writes"), first);

        let whole = r#"{"format":1,"pipeline":"bars","epoch":7,"ranges":[{"partition":0,"from":40,"to":90,"manifest":"m"}],"idle":[2],"held_at":5,"closes":true,"models":{"next":{"champion":3,"strong_naive":2}}}"#;
        let read: EpochRecord = serde_json::from_str(whole).expect("format 1");
        assert_eq!(read.models["next"], json!({ "champion": 3, "strong_naive": 2 }));
        assert_eq!(serde_json::to_string(&read).expect("it writes"), whole);
    }
}
