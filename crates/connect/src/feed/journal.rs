//! What the driver asks of the journal.

use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
use thalweg_core::Result;
use thalweg_core::env::Env;
use thalweg_core::log::{Durability, FetchLimit, Log, OffsetSpan};
use thalweg_core::records::{batches, position};
use thalweg_core::time::Timestamp;
use thalweg_core::topic::TopicPartition;
use tokio::time::timeout;

use super::STOP_WAIT;

/// Appends; `None` when that took longer than [`STOP_WAIT`] after the process was told to stop.
pub(super) async fn append_unless_overdue(
    env: &Env,
    log: &dyn Log,
    partition: &TopicPartition,
    batches: Bytes,
) -> Result<Option<OffsetSpan>> {
    let overdue = async {
        env.shutdown.cancelled().await;
        let _ = timeout(STOP_WAIT, pending::<()>()).await;
    };
    tokio::select! {
        biased;
        appended = log.append(partition, batches, Durability::Synced) => appended.map(Some),
        () = overdue => Ok(None),
    }
}

/// What the journal says of its newest frame.
pub(crate) struct LastFrame {
    pub(crate) received_at: Timestamp,
    pub(super) position: Option<Bytes>,
}

/// The newest frame of the partition; none when there is none.
pub(crate) async fn last_frame(
    log: &dyn Log,
    partition: &TopicPartition,
) -> Result<Option<LastFrame>> {
    let bounds = log.bounds(partition).await?;
    if bounds.high_watermark <= bounds.log_start {
        return Ok(None);
    }
    let limit = FetchLimit { bytes_max: 1, wait: Duration::ZERO };
    let fetched = log.fetch(partition, bounds.high_watermark - 1, limit).await?;
    let mut last: Option<LastFrame> = None;
    for batch in batches(&fetched.batches) {
        let batch = batch?;
        let received_at = Timestamp::from_millis(batch.header.max_timestamp_ms);
        let mut at = None;
        for record in batch.records()? {
            at = position(&record?).map(Bytes::copy_from_slice);
        }
        last = Some(LastFrame { received_at, position: at });
    }
    Ok(last)
}
