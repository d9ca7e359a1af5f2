//! Room: what a pipeline holds of memory, and when it must not read on (S26).
//!
//! Rows that are in are never dropped for want of room; a pipeline that finds none reads nothing
//! more, goes on to commit and to write checkpoints, and says who holds most.

use std::time::Duration;

use thalweg_core::budget::{Budget, Holding};
use thalweg_core::time::Timestamp;

use super::{Pipeline, Settings, Shared};
use crate::outbox::OutboxLimits;
use crate::program::Program;
use crate::unique::Unique;

/// What an outbox may take where there is plenty.
const OUTBOX: OutboxLimits =
    OutboxLimits { memory_bytes: 12 << 20, segment_bytes: 2 << 20, disk_bytes: 4 << 30 };
/// Of `runtime.memory`, what one outbox may keep: there are several, and it is held up to three times:
/// in the queue, the outbox and the commit.
const OUTBOX_PARTS: u64 = 32;
/// How often state is looked through.
const COUNT_EVERY: Duration = Duration::from_millis(50);
/// Of `runtime.memory`, what the newest rows of one relation may take.
const TAIL_PARTS: u64 = 16;

/// What one pipeline holds, and where it asks for room.
pub(super) struct Room {
    memory: Budget,
    // Only for inputs that are their own journal: others go on, so that their journal can shrink.
    disk: Option<Budget>,
    state: Holding,
    newest: Holding,
    counted_at: Timestamp,
    /// Since when there has been none.
    pub(super) short_since: Option<Timestamp>,
}

impl Room {
    pub(super) fn new(shared: &Shared, settings: &Settings) -> Self {
        let name = &settings.name;
        Self {
            memory: shared.memory.clone(),
            disk: settings.journal.is_none().then(|| shared.disk.clone()),
            state: shared.memory.holding(format!("the state of `{name}`")),
            newest: shared.memory.holding(format!("the newest rows of `{name}`")),
            counted_at: Timestamp::MIN,
            short_since: None,
        }
    }

    /// What each outbox may take.
    pub(super) fn outbox(&self) -> OutboxLimits {
        let share = usize::try_from(self.memory.limit() / OUTBOX_PARTS).unwrap_or(usize::MAX);
        let memory_bytes = OUTBOX.memory_bytes.min(share).max(1 << 20);
        let segment_bytes = OUTBOX.segment_bytes.min(memory_bytes / 2);
        OutboxLimits { memory_bytes, segment_bytes, ..OUTBOX }
    }

    /// What the newest rows may take when they may take `wanted`.
    pub(super) fn tail_bytes(&self, wanted: usize) -> usize {
        wanted.min(usize::try_from(self.memory.limit() / TAIL_PARTS).unwrap_or(usize::MAX))
    }

    /// Counts what is held now. State is looked through every now and then, not at each epoch.
    pub(super) fn count(
        &mut self,
        pipeline: &Pipeline,
        program: Option<&Program>,
        unique: Option<&Unique>,
        looked_up: usize,
    ) {
        self.newest.set(pipeline.tail.as_ref().map_or(0, |tail| tail.bytes()) as u64);
        let now = pipeline.shared.env.clock.now();
        if now.since(self.counted_at) < COUNT_EVERY {
            return;
        }
        self.counted_at = now;
        let state = program.map_or(0, Program::state_bytes) + unique.map_or(0, Unique::bytes);
        let results: usize = pipeline.kept.iter().map(|kept| kept.results.bytes()).sum();
        self.state.set((state + results + looked_up) as u64);
    }

    /// Why nothing more should be read; none while there is room.
    pub(super) fn shortage(&self) -> Option<String> {
        self.memory.shortage().or_else(|| self.disk.as_ref()?.shortage())
    }
}
