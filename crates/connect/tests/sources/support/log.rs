//! A log of one partition, in memory.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use thalweg_core::log::{
    Durability, FetchLimit, Fetched, Log, OffsetBounds, OffsetSpan, TopicSettings,
};
use thalweg_core::records::{Batch, BatchHeader, batches, connection, decode};
use thalweg_core::topic::{Offset, TopicPartition};
use thalweg_core::{Error, Result};
use tokio::sync::watch;

/// Keeps batches; can be full, and can forget.
pub(crate) struct MemLog {
    state: Mutex<State>,
    end: watch::Sender<Offset>,
}

#[derive(Default)]
struct State {
    batches: Vec<Bytes>,
    log_start: Offset,
    is_full: bool,
    appends_refused: u64,
    appends: u64,
}

/// A record as tests look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) offset: Offset,
    pub(crate) connection: Option<u32>,
    pub(crate) received_ms: i64,
    pub(crate) value: String,
}

impl MemLog {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::new(State::default()), end: watch::Sender::new(0) }
    }

    /// Appends refuse with `Unavailable` while the disk is full.
    pub(crate) fn set_full(&self, is_full: bool) {
        self.state.lock().unwrap().is_full = is_full;
    }

    pub(crate) fn appends_refused(&self) -> u64 {
        self.state.lock().unwrap().appends_refused
    }

    /// Appends that were taken.
    pub(crate) fn appends(&self) -> u64 {
        self.state.lock().unwrap().appends
    }

    /// Forgets the oldest batch.
    pub(crate) fn forget_first(&self) {
        let mut state = self.state.lock().unwrap();
        let first = state.batches.remove(0);
        state.log_start = next_offset(&first);
    }

    /// Waits until there are `records`.
    pub(crate) async fn has(&self, records: Offset) {
        let mut end = self.end.subscribe();
        super::soon("records", end.wait_for(|end| *end >= records)).await.unwrap();
    }

    /// Everything in the log.
    pub(crate) fn records(&self) -> Vec<Seen> {
        let state = self.state.lock().unwrap();
        let seen = |buffer: &Bytes| {
            let connections: Vec<Option<u32>> = Batch::parse(buffer)
                .unwrap()
                .records()
                .unwrap()
                .map(|record| connection(&record.unwrap()))
                .collect();
            decode(buffer)
                .unwrap()
                .into_iter()
                .zip(connections)
                .map(|(decoded, connection)| Seen {
                    offset: decoded.offset,
                    connection,
                    received_ms: decoded.record.timestamp.millis(),
                    value: String::from_utf8_lossy(&decoded.record.value.unwrap()).into_owned(),
                })
                .collect::<Vec<_>>()
        };
        state.batches.iter().flat_map(seen).collect()
    }

    fn bounds_now(&self) -> OffsetBounds {
        let end = *self.end.borrow();
        let log_start = self.state.lock().unwrap().log_start;
        OffsetBounds { log_start, high_watermark: end, log_end: end }
    }
}

fn next_offset(batch: &[u8]) -> Offset {
    Batch::parse(batch).unwrap().header.next_offset()
}

#[async_trait]
impl Log for MemLog {
    async fn create_topic(&self, _topic: &str, _settings: &TopicSettings) -> Result<()> {
        Ok(())
    }

    async fn topics(&self) -> Result<Vec<(String, TopicSettings)>> {
        Ok(Vec::new())
    }

    async fn append(
        &self,
        _partition: &TopicPartition,
        encoded: Bytes,
        durability: Durability,
    ) -> Result<OffsetSpan> {
        assert_eq!(durability, Durability::Synced, "S7");
        let mut state = self.state.lock().unwrap();
        if state.is_full {
            state.appends_refused += 1;
            return Err(Error::unavailable("the disk is full"));
        }
        let first = *self.end.borrow();
        let mut next = first;
        for batch in batches(&encoded) {
            let batch = batch?;
            batch.check()?;
            let mut stamped = BytesMut::from(batch.bytes);
            BatchHeader::stamp(&mut stamped, next, 0);
            next = next_offset(&stamped);
            state.batches.push(stamped.freeze());
        }
        state.appends += 1;
        drop(state);
        self.end.send_replace(next);
        Ok(OffsetSpan { first, last: next - 1 })
    }

    async fn fetch(
        &self,
        _partition: &TopicPartition,
        from: Offset,
        limit: FetchLimit,
    ) -> Result<Fetched> {
        if limit.wait > Duration::ZERO {
            let mut end = self.end.subscribe();
            let _ = tokio::time::timeout(limit.wait, end.wait_for(|end| *end > from)).await;
        }
        let bounds = self.bounds_now();
        if !(bounds.log_start..=bounds.high_watermark).contains(&from) {
            return Err(Error::invalid("offset out of range"));
        }
        let state = self.state.lock().unwrap();
        let mut found = BytesMut::new();
        let mut next = from;
        for batch in state.batches.iter().filter(|batch| next_offset(batch) > from) {
            if !found.is_empty() && found.len() + batch.len() > limit.bytes_max {
                break;
            }
            found.extend_from_slice(batch);
            next = next_offset(batch);
        }
        Ok(Fetched { batches: found.freeze(), next, bounds })
    }

    async fn bounds(&self, _partition: &TopicPartition) -> Result<OffsetBounds> {
        Ok(self.bounds_now())
    }

    async fn hold(
        &self,
        _partition: &TopicPartition,
        _holder: &str,
        _from: Option<Offset>,
    ) -> Result<()> {
        Ok(())
    }

    async fn sync(&self) -> Result<()> {
        Ok(())
    }
}
