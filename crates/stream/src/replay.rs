//! Replay: what a pipeline has read, decoded again for a query (S17a).
//!
//! A relation is its table, what lies between the table and the tail, and the tail. The middle part
//! is read here: from the journal, or from the files, which are their own journal (S0), by the same
//! decoder, checks and operators that the pipeline runs, from the state a checkpoint holds. So the
//! rows are those the pipeline had, in its order. One chunk is in memory at a time.
//!
//! Nothing is counted, quarantined or journaled here: the pipeline has done that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use thalweg_core::sink::Epoch;
use thalweg_core::source::{Input, ReadLimit};
use thalweg_core::time::Timestamp;
use thalweg_core::topic::Offset;
use thalweg_core::{Error, ErrorKind, Result};

use crate::checkpoint::{Checkpoints, Position};
use crate::epoch::EpochLog;
use crate::intake::Intake;
use crate::operators::{Answers, Snapshot};
use crate::pipeline::{Decoding, Pipeline, snapshots};
use crate::program::{Program, Sides};
use crate::tail::Ends;
use crate::unique::{self, Unique};

/// Frames decoded at a time.
const CHUNK_FRAMES_MAX: usize = 16_384;
/// Bytes of frames decoded at a time.
const CHUNK_BYTES_MAX: usize = 4 << 20;
/// How long one read waits for an input that has more but does not give it yet.
const UNSETTLED_WAIT: Duration = Duration::from_millis(100);

/// Rows of a relation that are no longer in its tail.
#[async_trait]
pub trait History: Send + Sync {
    /// The rows of the epochs behind `after`, in order, up to `until`; without it, all there is.
    ///
    /// # Errors
    ///
    /// `Unavailable` when retention passed while it was read: ask again.
    async fn rows(
        &self,
        after: Epoch,
        until: Option<Until>,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>>;
}

/// Where a replay ends.
#[derive(Clone, Debug)]
pub struct Until {
    /// The end in each partition, exclusive.
    pub ends: Arc<Ends>,
    /// What offsets mean, by partition.
    pub manifests: BTreeMap<u32, String>,
}

#[async_trait]
impl History for Pipeline {
    async fn rows(
        &self,
        after: Epoch,
        until: Option<Until>,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let Decoding { inputs, intake, mut unique, mut program } = self.decoding()?;
        if program.as_ref().is_some_and(|program| !program.models().is_empty()) {
            // Who answered then is not asked again: table and tail have the forecasts that were made.
            return Ok(stream::empty().boxed());
        }
        let begin = self.begin_after(after).await?;
        let Begin { positions, shown_from, operators, manifests, ids } = begin;
        if let Some(unique) = &mut unique {
            unique.restore(ids.as_ref())?;
        }
        if let Some(program) = &mut program {
            self.look_up_again(program).await?;
        }
        if let (Some(program), Some(operators)) = (&mut program, operators) {
            program.restore(operators, &Answers::default())?;
        }
        let mut parts = Vec::new();
        for (partition, mut input) in inputs {
            let position = match positions.get(&partition) {
                Some(position) => position.clone(),
                None => Position { next: input.start().await?, manifest: None },
            };
            let manifest = until.as_ref().and_then(|until| until.manifests.get(&partition));
            let manifest = manifest.or_else(|| manifests.get(&partition));
            input.restore(manifest.or(position.manifest.as_ref()).map(String::as_str))?;
            let end = match &until {
                // A partition that has no end yet was not read yet.
                Some(until) => Some(until.ends.get(&partition).copied().unwrap_or(position.next)),
                None => None,
            };
            parts.push(Part {
                shown_from: shown_from.get(&partition).copied().unwrap_or(position.next),
                at: position.next,
                input,
                end,
            });
        }
        parts.reverse();
        let replay = Replay { parts, intake, unique, program };
        let chunks = stream::try_unfold(replay, |mut replay| async move {
            Ok(replay.next().await?.map(|rows| (rows, replay)))
        });
        let rows = chunks.map_ok(|rows| stream::iter(rows.into_iter().map(Ok))).try_flatten();
        Ok(rows.boxed())
    }
}

/// Where a replay begins.
#[derive(Default)]
struct Begin {
    /// Where reading begins; empty: at the start of the input.
    positions: BTreeMap<u32, Position>,
    /// Up to here rows only bring the operators' state forward.
    shown_from: Ends,
    operators: Option<Vec<Snapshot>>,
    /// What offsets mean, where reading begins at the start of the input.
    manifests: BTreeMap<u32, String>,
    /// What `unique` remembers there.
    ids: Option<RecordBatch>,
}

impl Pipeline {
    /// Lets a program look up in the newest snapshots that the pipelines of the source have seen.
    async fn look_up_again(&self, program: &mut Program) -> Result<()> {
        if program.lookups().is_empty() {
            return Ok(());
        }
        let kept = snapshots(self.shared(), self.source());
        let mut rows = BTreeMap::new();
        for name in program.lookups() {
            let newest = kept.newest(name)?;
            let newest = newest.ok_or_else(|| {
                Error::unavailable(format!("`{}` has not looked up in `{name}` yet", self.name()))
            })?;
            rows.insert(name.clone(), newest);
        }
        program.look_up(&rows).await
    }

    /// The place behind epoch `after`, and the state to get there with.
    async fn begin_after(&self, after: Epoch) -> Result<Begin> {
        let mut begin = Begin::default();
        if after == 0 {
            return Ok(begin);
        }
        let shared = self.shared();
        let checkpoints = Checkpoints::open(
            Arc::clone(&shared.env.disk),
            Arc::clone(&shared.store),
            &shared.data.join("checkpoints"),
            self.name(),
        )
        .await?;
        let mut known = 0;
        let mut epochs_from = None;
        if let Some(checkpoint) = checkpoints.at_most(after)? {
            let head = checkpoint.head;
            (known, epochs_from) = (head.epoch, Some(head.epochs_from));
            begin.shown_from = head.positions.iter().map(|(at, it)| (*at, it.next)).collect();
            let manifests = head.positions.iter();
            begin.manifests =
                manifests.filter_map(|(at, it)| Some((*at, it.manifest.clone()?))).collect();
            if head.query == self.fingerprint() {
                begin.positions = head.positions;
                begin.operators = Some(checkpoint.operators);
                begin.ids = checkpoint.results.get(unique::NAME).cloned();
            }
        }
        if known < after {
            let records = EpochLog::new(Arc::clone(&shared.log), self.name());
            for record in records.read(epochs_from, known).await? {
                if record.epoch > after {
                    break;
                }
                known = record.epoch;
                for range in record.ranges {
                    begin.shown_from.insert(range.partition, range.to);
                    if let Some(manifest) = range.manifest {
                        begin.manifests.insert(range.partition, manifest);
                    }
                }
            }
        }
        if known < after {
            return Err(Error::unavailable(format!(
                "the table of `{}` is ahead of what is recorded",
                self.name()
            ))
            .with_hint("It was written by another data folder, or the log was cut."));
        }
        Ok(begin)
    }
}

/// One partition of a replay.
struct Part {
    input: Box<dyn Input>,
    at: Offset,
    shown_from: Offset,
    end: Option<Offset>,
}

struct Replay {
    // The next one last.
    parts: Vec<Part>,
    intake: Intake,
    unique: Option<Unique>,
    program: Option<Program>,
}

impl Replay {
    /// The rows of the next chunk that has some.
    async fn next(&mut self) -> Result<Option<Vec<RecordBatch>>> {
        let mut wait = Duration::ZERO;
        while let Some(part) = self.parts.last_mut() {
            if part.end.is_some_and(|end| part.at >= end) {
                self.parts.pop();
                continue;
            }
            let is_shown = part.at >= part.shown_from;
            let until = if is_shown { part.end } else { Some(part.shown_from) };
            let limit = ReadLimit {
                frames_max: CHUNK_FRAMES_MAX,
                bytes_max: CHUNK_BYTES_MAX,
                until,
                is_rerun: until.is_some(),
                wait,
            };
            let chunk = part.input.read(part.at, limit).await.map_err(passed_by)?;
            let has_moved = chunk.next > part.at;
            part.at = chunk.next;
            if !has_moved {
                if let Some(end) = limit.until {
                    return Err(Error::unavailable(format!(
                        "the input ends at {}, before {end}",
                        part.at
                    )));
                }
                if chunk.at_end {
                    self.parts.pop();
                }
                // A file that may still be written is not read yet.
                wait = UNSETTLED_WAIT;
                continue;
            }
            let taken = self.intake.take(&chunk)?.rows;
            let fresh = match &mut self.unique {
                Some(unique) => unique.keep(&taken)?.rows,
                None => taken,
            };
            if fresh.num_rows() == 0 {
                continue;
            }
            let rows = match &mut self.program {
                Some(program) => {
                    // A row-wise program looks at no watermark, and gives what it gives at once.
                    program.process(fresh, Timestamp::MIN, &mut Sides::default())?
                }
                None => vec![fresh],
            };
            if is_shown {
                return Ok(Some(rows));
            }
        }
        Ok(None)
    }
}

/// What retention removed meanwhile is not read wrongly, only not now.
fn passed_by(error: Error) -> Error {
    match error.kind {
        ErrorKind::Invalid => Error { kind: ErrorKind::Unavailable, ..error },
        _ => error,
    }
}
