//! One partition: its segments, its offsets, and who waits for what.
//!
//! The state is under one lock, held for a buffered write at most: an append writes into the page
//! cache from an async thread, which takes microseconds for a frame and well below a millisecond
//! for a megabyte. More than [`UNSYNCED_BYTES_MAX`] ahead of the disk nobody may write, which keeps
//! the system from stopping a writer in the middle to clean its cache. Syncs and the closing of
//! segments are on the flusher ([`flush`]), reads ([`read`]) on threads that may block.
//!
//! Invariants, beside L1 to L5: the high watermark lies in the active segment, at `synced_length`;
//! the offsets of closed segments and the active one join without holes.

mod flush;
mod read;
mod retain;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use thalweg_core::env::{Disk, DiskFile};
use thalweg_core::log::{Durability, OffsetBounds, OffsetSpan, TopicSettings};
use thalweg_core::records::{BatchHeader, batches};
use thalweg_core::topic::{Offset, TopicPartition};
use thalweg_core::{Error, Result};
use tokio::sync::watch;

use crate::budget::Budget;
use crate::error::{cannot, is_full};
use crate::flusher::Flusher;
use crate::index::SegmentIndex;
use crate::segment;

/// How far appends may run ahead of the disk before they wait.
pub(crate) const UNSYNCED_BYTES_MAX: u64 = 64 << 20;

/// How many ends of groups are remembered for readers who follow closely.
const MARKS_MAX: usize = 16;

/// One partition.
pub(crate) struct Partition {
    pub(crate) name: TopicPartition,
    folder: PathBuf,
    disk: Arc<dyn Disk>,
    flusher: Arc<Flusher>,
    budget: Arc<Budget>,
    state: Mutex<State>,
    progress: watch::Sender<Progress>,
    // Base and length of segments that retention took out of the state and still has to remove,
    // oldest first.
    condemned: Mutex<VecDeque<(Offset, u64)>>,
}

/// What the partitions of a log share.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) flusher: Arc<Flusher>,
    pub(crate) budget: Arc<Budget>,
}

/// What is in the partition now.
struct State {
    // Oldest first.
    closed: VecDeque<Arc<SegmentIndex>>,
    active: SegmentIndex,
    file: Arc<dyn DiskFile>,
    // The stable end, as an offset and as a length of the active segment.
    high_watermark: Offset,
    synced_length: u64,
    // Ends of the last groups in the active segment: where readers at the tail go on.
    marks: VecDeque<(Offset, u64)>,
    // Counts what was done to the active segment: writes and cuts.
    changes: u64,
    // Whether the partition waits in the flusher's queue.
    queued: bool,
    // Whether the active segment shall be closed whatever its size.
    closing: bool,
    holds: BTreeMap<String, Offset>,
    settings: TopicSettings,
    failure: Option<Arc<str>>,
}

/// What waiters see.
#[derive(Clone, Debug, Default)]
struct Progress {
    // Changes that are on stable storage.
    changes_synced: u64,
    failure: Option<Arc<str>>,
}

/// What a partition holds, and why it cannot hold less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionUsage {
    /// The partition.
    pub partition: TopicPartition,
    /// Its offsets.
    pub bounds: OffsetBounds,
    /// Bytes of its segments.
    pub bytes: u64,
    /// Who keeps the oldest record of those that are kept for somebody.
    pub oldest_hold: Option<Hold>,
}

/// Somebody's need of records (S26).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Who needs them.
    pub holder: String,
    /// The first one needed; all later ones are too.
    pub from: Offset,
}

/// What became of a write.
enum Written {
    /// It took offsets, as the change of this number.
    Done(OffsetSpan, u64),
    /// It did not fit the disk; taking it back was the change of this number.
    Full(Error, u64),
    /// The disk is too far behind; nothing was done.
    Behind,
}

impl Partition {
    /// A partition whose segments are complete and synced.
    pub(crate) fn new(
        name: TopicPartition,
        folder: PathBuf,
        parts: Parts,
        settings: TopicSettings,
        closed: VecDeque<Arc<SegmentIndex>>,
        (active, file): (SegmentIndex, Arc<dyn DiskFile>),
    ) -> Self {
        let state = State {
            high_watermark: active.end,
            synced_length: active.length,
            closed,
            active,
            file,
            marks: VecDeque::new(),
            changes: 0,
            queued: false,
            closing: false,
            holds: BTreeMap::new(),
            settings,
            failure: None,
        };
        let Parts { disk, flusher, budget } = parts;
        budget.add(state.bytes());
        Self {
            name,
            folder,
            disk,
            flusher,
            budget,
            state: Mutex::new(state),
            progress: watch::Sender::default(),
            condemned: Mutex::default(),
        }
    }

    /// Appends, and waits as `durability` says.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped has appended everything or nothing.
    pub(crate) async fn append(
        self: &Arc<Self>,
        batches: Bytes,
        durability: Durability,
    ) -> Result<OffsetSpan> {
        let count = check_batches(&batches)?;
        // Offsets are stamped in place when nobody else holds the buffer.
        let mut bytes = batches.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        let mut progress = self.progress.subscribe();
        loop {
            progress.mark_unchanged();
            match self.write(&mut bytes, count)? {
                Written::Done(span, change) => {
                    if durability == Durability::Synced {
                        self.wait_synced(&mut progress, change).await?;
                    }
                    return Ok(span);
                }
                Written::Full(error, change) => {
                    // Until the cut is durable, a crash could bring back what was refused.
                    self.wait_synced(&mut progress, change).await?;
                    return Err(error);
                }
                Written::Behind => {
                    progress.changed().await.expect("the sender lives in self");
                }
            }
        }
    }

    /// The offsets that describe the partition now.
    pub(crate) fn bounds(&self) -> OffsetBounds {
        self.lock().bounds()
    }

    /// What it holds now.
    pub(crate) fn usage(&self) -> PartitionUsage {
        let state = self.lock();
        PartitionUsage {
            partition: self.name.clone(),
            bounds: state.bounds(),
            bytes: state.bytes(),
            oldest_hold: state.oldest_hold(),
        }
    }

    /// Keeps `from` and what follows for `holder`, or lets go.
    pub(crate) fn hold(&self, holder: &str, from: Option<Offset>) {
        let holds = &mut self.lock().holds;
        match from {
            Some(from) => holds.insert(holder.to_owned(), from),
            None => holds.remove(holder),
        };
    }

    /// Follows changed settings.
    pub(crate) fn set_settings(&self, settings: &TopicSettings) {
        self.lock().settings = settings.clone();
    }

    /// Waits until everything appended before the call is on stable storage.
    pub(crate) async fn sync(&self) -> Result<()> {
        let change = self.lock().changes;
        self.wait_synced(&mut self.progress.subscribe(), change).await
    }

    /// Writes to the active segment; `bytes` hold `count` records.
    fn write(self: &Arc<Self>, bytes: &mut [u8], count: i64) -> Result<Written> {
        let mut state = self.lock();
        if let Some(reason) = &state.failure {
            return Err(self.refusal(reason));
        }
        let unsynced = state.active.length - state.synced_length;
        if unsynced > 0 && unsynced + bytes.len() as u64 > UNSYNCED_BYTES_MAX {
            return Ok(Written::Behind);
        }

        let first = state.active.end;
        let end = first.checked_add(count).ok_or_else(|| {
            Error::internal(format!("partition {} has no offsets left", self.name))
        })?;
        if self.is_internal() {
            // Without records of epochs nobody could let go of what it holds.
            self.budget.add(bytes.len() as u64);
        } else if !self.budget.take(bytes.len() as u64) {
            return Err(self.over_budget(&state));
        }
        stamp(bytes, first);
        let position = state.active.length;
        let written = match state.file.write_at(bytes, position) {
            Ok(()) => {
                for batch in batches(bytes) {
                    state.active.note(&batch.expect("checked before").header);
                }
                debug_assert_eq!(state.active.end, end, "L1: offsets are dense");
                state.changes += 1;
                Written::Done(OffsetSpan { first, last: end - 1 }, state.changes)
            }
            Err(error) if is_full(&error) => {
                self.budget.give_back(bytes.len() as u64);
                // Part of it may be there; a later, shorter append must not leave the rest behind.
                if let Err(error) = state.file.truncate(position) {
                    return Err(self.fail(&mut state, "taking back an append", &error));
                }
                state.changes += 1;
                let segment = segment::path(&self.folder, state.active.base);
                Written::Full(cannot("append to", &segment, error), state.changes)
            }
            Err(error) => return Err(self.fail(&mut state, "writing", &error)),
        };
        self.enqueue(state);
        Ok(written)
    }

    /// Whether its topic is one of the program's own.
    fn is_internal(&self) -> bool {
        self.name.topic.starts_with('_')
    }

    /// Puts the partition into the flusher's queue unless it is there.
    fn enqueue(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let was_queued = std::mem::replace(&mut state.queued, true);
        drop(state);
        if !was_queued {
            self.flusher.push(Arc::clone(self));
        }
    }

    /// Waits until `change` is on stable storage.
    ///
    /// There is no deadline, as nobody could say then what became of the append: the flusher always
    /// answers, if need be with a failure, unless the operating system hangs in a sync.
    async fn wait_synced(
        &self,
        progress: &mut watch::Receiver<Progress>,
        change: u64,
    ) -> Result<()> {
        let progress = progress
            .wait_for(|progress| progress.changes_synced >= change || progress.failure.is_some())
            .await
            .expect("the sender lives in self");
        match &progress.failure {
            Some(reason) if progress.changes_synced < change => Err(self.refusal(reason)),
            _ => Ok(()),
        }
    }

    /// Refuses appends from now on (L5), and tells everybody.
    fn fail(&self, state: &mut State, doing: &str, error: &dyn std::fmt::Display) -> Error {
        let reason = state.failure.get_or_insert_with(|| {
            let reason = format!("{doing} failed in partition {}: {error}", self.name);
            segment::mark_sync_failed(&*self.disk, &self.folder, &reason);
            Arc::from(reason)
        });
        self.progress.send_modify(|progress| progress.failure = Some(Arc::clone(reason)));
        self.flusher.report_failure(reason);
        self.refusal(reason)
    }

    fn over_budget(&self, state: &State) -> Error {
        let (used, limit) = (self.budget.used(), self.budget.limit());
        let held = state.oldest_hold().filter(|hold| hold.from < state.active.end);
        let held = held.map_or_else(
            || "what it holds is kept for its retention".to_owned(),
            |hold| format!("{} needs what follows offset {}", hold.holder, hold.from),
        );
        Error::unavailable("the log has no room in its disk budget")
            .with_detail(format!("It holds {used} of {limit} bytes; of {}, {held}.", self.name))
            .with_hint("Keep less, wait until holders let go, or give the log more of the disk.")
    }

    fn refusal(&self, reason: &str) -> Error {
        Error::internal(format!("partition {} takes no more appends", self.name))
            .with_detail(format!("It cannot be known what is on stable storage: {reason}."))
            .with_hint("Check the disk, then restart: opening the log finds out what is there.")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn bytes(&self) -> u64 {
        self.closed.iter().map(|segment| segment.length).sum::<u64>() + self.active.length
    }

    fn oldest_hold(&self) -> Option<Hold> {
        let (holder, from) = self.holds.iter().min_by_key(|(_, from)| **from)?;
        Some(Hold { holder: holder.clone(), from: *from })
    }

    fn bounds(&self) -> OffsetBounds {
        let bounds = OffsetBounds {
            log_start: self.closed.front().map_or(self.active.base, |oldest| oldest.base),
            high_watermark: self.high_watermark,
            log_end: self.active.end,
        };
        debug_assert!(bounds.high_watermark <= bounds.log_end, "L3: {bounds:?}");
        bounds
    }
}

/// Checks that `bytes` are whole, valid batches, and counts their records.
fn check_batches(bytes: &[u8]) -> Result<i64> {
    let mut count = 0;
    for batch in batches(bytes) {
        let checked = batch.and_then(|batch| batch.check().map(|()| batch.header.count));
        count += i64::from(
            checked.map_err(|error| Error { kind: thalweg_core::ErrorKind::Invalid, ..error })?,
        );
    }
    if count == 0 {
        return Err(Error::invalid("there are no record batches to append"));
    }
    Ok(count)
}

/// Gives the batches their offsets from `first` on (L4: nothing else changes).
fn stamp(bytes: &mut [u8], first: Offset) {
    let mut rest = bytes;
    let mut offset = first;
    while !rest.is_empty() {
        BatchHeader::stamp(rest, offset, 0);
        let header = BatchHeader::parse(rest).expect("checked before");
        offset = header.next_offset();
        rest = &mut rest[header.length..];
    }
}
