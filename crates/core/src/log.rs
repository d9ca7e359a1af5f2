//! The log: where records become durable and get their order.
//!
//! Everything behind the log reads from the log. The promises are numbered; the same numbers label
//! the assertions of the implementations and of their tests. The embedded log is the crate `log`;
//! a real Kafka cluster implements the same trait.
//!
//! Not here: the bytes of a record batch ([`crate::records`]) and of a segment (crate `log`).

pub mod tail;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Result;
use crate::topic::{Offset, TopicPartition};

/// An append-only, partitioned log of records.
///
/// # Contract
///
/// - **L1** Within a partition, offsets are given out densely and never twice.
/// - **L2** A record whose append returned under [`Durability::Synced`] survives a crash.
/// - **L3** No reader sees a record at or above the high watermark, and the high watermark is the
///   end of what is on stable storage.
/// - **L4** A batch is kept byte for byte, but for its base offset and leader epoch; a reader gets
///   whole batches.
/// - **L5** A failed sync is never retried: the partition refuses every later append until the
///   process has been restarted and the log recovered.
#[async_trait]
pub trait Log: Send + Sync {
    /// Makes a topic, or does nothing when it exists with as many partitions.
    ///
    /// # Errors
    ///
    /// `Invalid` for a bad name, or when the topic exists with another number of partitions.
    async fn create_topic(&self, topic: &str, settings: &TopicSettings) -> Result<()>;

    /// The topics, sorted by name, each with its settings.
    async fn topics(&self) -> Result<Vec<(String, TopicSettings)>>;

    /// Appends encoded batches as one unit and returns the offsets they took.
    ///
    /// # Errors
    ///
    /// `Invalid` when `batches` are not whole, valid v2 batches or the topic is unknown;
    /// `Unavailable` when the disk is full or over its budget: nothing was appended, try again.
    async fn append(
        &self,
        partition: &TopicPartition,
        batches: Bytes,
        durability: Durability,
    ) -> Result<OffsetSpan>;

    /// Returns whole batches from the one that holds `from`, waiting up to `limit.wait` while
    /// there are none below the high watermark. The first batch may begin before `from`.
    ///
    /// # Errors
    ///
    /// `Invalid` when `from` is outside [`bounds`](Self::bounds): retention may have passed it.
    async fn fetch(
        &self,
        partition: &TopicPartition,
        from: Offset,
        limit: FetchLimit,
    ) -> Result<Fetched>;

    /// The offsets that describe the partition now.
    async fn bounds(&self, partition: &TopicPartition) -> Result<OffsetBounds>;

    /// Tells retention what somebody still needs: it never removes `from` or later (S26).
    /// `None` lifts the hold of `holder`.
    async fn hold(
        &self,
        partition: &TopicPartition,
        holder: &str,
        from: Option<Offset>,
    ) -> Result<()>;

    /// Waits until everything appended before the call is on stable storage.
    async fn sync(&self) -> Result<()>;
}

/// How a topic is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// Number of partitions, at least 1.
    pub partitions: u32,
    /// Age after which a whole segment may go; none keeps it. Default 7 days.
    pub retention_age: Option<Duration>,
    /// Bytes per partition above which the oldest segments may go; none keeps them. Default 10 GB.
    pub retention_bytes: Option<u64>,
    /// Size at which a segment is closed and the next begun. Default 256 MiB.
    pub segment_bytes: u64,
}

impl Default for TopicSettings {
    fn default() -> Self {
        Self {
            partitions: 1,
            retention_age: Some(Duration::from_secs(7 * 86_400)),
            retention_bytes: Some(10_000_000_000),
            segment_bytes: 256 << 20,
        }
    }
}

/// When an append returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// After the records are in the operating system's hands. A power cut may lose them.
    Buffered,
    /// After they are on stable storage (S7).
    Synced,
}

/// Offsets taken by an append: `first ..= last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetSpan {
    /// Offset of the first record.
    pub first: Offset,
    /// Offset of the last record.
    pub last: Offset,
}

/// How much a fetch may bring and how long it may wait.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimit {
    /// Bytes of batches; the first batch comes whole even when it is larger.
    pub bytes_max: usize,
    /// How long to wait while there is nothing.
    pub wait: Duration,
}

/// What a fetch brought.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Whole encoded batches, possibly none.
    pub batches: Bytes,
    /// Where to fetch next.
    pub next: Offset,
    /// The partition's offsets at the time of the fetch.
    pub bounds: OffsetBounds,
}

/// The offsets that describe a partition: `log_start <= high_watermark <= log_end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetBounds {
    /// The oldest offset still held.
    pub log_start: Offset,
    /// Readers see offsets below this one; all of them are on stable storage.
    pub high_watermark: Offset,
    /// The next record takes this offset.
    pub log_end: Offset,
}
