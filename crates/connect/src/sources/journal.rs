//! A partition of the log as an input: how the journal of a live source, and any topic, is read.
//!
//! Frames point into the buffer that the log handed over: nothing is copied. The log gives whole
//! batches, so one fetch may bring more than a read may give; the rest is kept for the next read.
//!
//! Not here: the layout of a record ([`thalweg_core::records`]).

use std::sync::Arc;

use async_trait::async_trait;
use thalweg_core::error::{Error, ErrorKind, Result};
use thalweg_core::frame::Frames;
use thalweg_core::log::{FetchLimit, Log};
use thalweg_core::records::{JournalFrames, decode_frames};
use thalweg_core::source::{Chunk, Input, Oversized, ReadLimit};
use thalweg_core::topic::{Offset, TopicPartition};

/// Most bytes of one fetch: positions in a buffer of frames are 32 bits, and one batch may exceed it.
const FETCH_BYTES_MAX: usize = 64 << 20;

/// Reads one partition of the log.
pub struct JournalInput {
    log: Arc<dyn Log>,
    partition: TopicPartition,
    fetched: Option<Fetch>,
}

/// What one fetch brought: all there is in `from .. next`.
struct Fetch {
    from: Offset,
    next: Offset,
    frames: Frames,
    oversized: Vec<Oversized>,
    // There was nothing at `next` at the time.
    is_last: bool,
}

impl JournalInput {
    /// Reads `partition` of `log`.
    pub fn new(log: Arc<dyn Log>, partition: TopicPartition) -> Self {
        Self { log, partition, fetched: None }
    }

    async fn fetch(&self, from: Offset, limit: &ReadLimit) -> Result<Fetch> {
        let fetch_limit =
            FetchLimit { bytes_max: limit.bytes_max.min(FETCH_BYTES_MAX), wait: limit.wait };
        let fetched = match self.log.fetch(&self.partition, from, fetch_limit).await {
            Ok(fetched) => fetched,
            Err(error) if error.kind == ErrorKind::Invalid => {
                return Err(self.out_of_bounds(from, error).await);
            }
            Err(error) => return Err(error),
        };
        let JournalFrames { frames, oversized } =
            decode_frames(self.partition.partition, &fetched.batches, from)
                // Nothing behind a batch that cannot be read is reached by trying again.
                .map_err(|error| Error { kind: ErrorKind::Invalid, ..error })?;
        let is_last = fetched.next >= fetched.bounds.high_watermark;
        Ok(Fetch { from, next: fetched.next.max(from), frames, oversized, is_last })
    }

    /// Says which way the position left the partition, when it did.
    async fn out_of_bounds(&self, from: Offset, error: Error) -> Error {
        let Ok(bounds) = self.log.bounds(&self.partition).await else { return error };
        let partition = &self.partition;
        if from < bounds.log_start {
            return Error::invalid(format!(
                "retention has removed what was still to be read of {partition}"
            ))
            .with_detail(format!("Offset {from} is next; the oldest held is {}.", bounds.log_start))
            .with_hint("Give the topic a longer retention, or reset what reads it.");
        }
        if from > bounds.high_watermark {
            return Error::invalid(format!("{partition} ends before the position it was read to"))
                .with_detail(format!(
                    "Offset {from} is next; the end is {}.",
                    bounds.high_watermark
                ))
                .with_hint("The log is not the one this position was taken from.");
        }
        error
    }
}

#[async_trait]
impl Input for JournalInput {
    fn restore(&mut self, _manifest: Option<&str>) -> Result<()> {
        // Offsets of a log mean nothing beyond themselves.
        self.fetched = None;
        Ok(())
    }

    async fn read(&mut self, from: Offset, limit: ReadLimit) -> Result<Chunk> {
        if limit.until.is_some_and(|until| from >= until) {
            return Ok(Chunk { next: from, ..Chunk::default() });
        }
        let fetch = match self.fetched.take() {
            Some(kept) if (kept.from..kept.next).contains(&from) => kept,
            _ => self.fetch(from, &limit).await?,
        };
        let chunk = cut(&fetch, self.partition.partition, from, &limit);
        if chunk.next < fetch.next {
            self.fetched = Some(fetch);
        }
        Ok(chunk)
    }

    async fn start(&mut self) -> Result<Offset> {
        Ok(self.log.bounds(&self.partition).await?.log_start)
    }

    async fn unread_heads(&mut self, _from: Offset) -> Result<Frames> {
        Ok(Frames { partition: self.partition.partition, ..Frames::default() })
    }

    fn is_bounded(&self) -> bool {
        false
    }
}

/// The part of a fetch from `from` on that fits the limits.
fn cut(fetch: &Fetch, partition: u32, from: Offset, limit: &ReadLimit) -> Chunk {
    let end = limit.until.unwrap_or(Offset::MAX).min(fetch.next);
    let spans = &fetch.frames.spans;
    let first = spans.partition_point(|span| span.offset < from);
    let within = &spans[first..spans.partition_point(|span| span.offset < end).max(first)];

    let mut bytes = 0_usize;
    let taken = within
        .iter()
        .take(limit.frames_max.max(1))
        .enumerate()
        .take_while(|(index, span)| {
            bytes = bytes.saturating_add(span.len as usize);
            *index == 0 || bytes <= limit.bytes_max
        })
        .count();
    // What is left over begins at the next frame; the last read takes what is between, too.
    let next = within.get(taken).map_or(end, |span| span.offset);
    let oversized = fetch
        .oversized
        .iter()
        .filter(|oversized| (from..next).contains(&oversized.offset))
        .cloned()
        .collect();
    Chunk {
        frames: Frames {
            partition,
            data: fetch.frames.data.clone(),
            spans: within[..taken].to_vec(),
            rows: None,
        },
        next,
        at_end: fetch.is_last && next == fetch.next,
        oversized,
        ..Chunk::default()
    }
}
