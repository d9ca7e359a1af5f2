//! Removing old segments.

use std::sync::{Arc, PoisonError};

use thalweg_core::Result;
use thalweg_core::time::Timestamp;

use super::Partition;
use crate::error::cannot;
use crate::retention::{Removed, expired, has_outlived};
use crate::segment;

impl Partition {
    /// Removes the segments that may go. Blocks.
    ///
    /// The log starts later as soon as the decision is made. The files go afterwards, oldest first
    /// and each made durable before the next, so that a crash leaves no hole; what it leaves is
    /// there again when the log opens. An active segment that has outlived the age limit is closed,
    /// to go next time: else a quiet topic would keep its last records for ever.
    pub(crate) fn retain(self: &Arc<Self>, now: Timestamp) -> Result<Removed> {
        let mut condemned = self.condemned.lock().unwrap_or_else(PoisonError::into_inner);
        let mut removed = Removed::default();
        {
            let mut state = self.lock();
            if state.failure.is_some() {
                return Ok(removed);
            }
            let held_from = state.oldest_hold().map(|hold| hold.from);
            let closed = state.closed.iter().map(|segment| &**segment);
            let count = expired(closed, state.active.length, &state.settings, held_from, now);
            for segment in state.closed.drain(..count) {
                removed.segments += 1;
                removed.bytes += segment.length;
                condemned.push_back((segment.base, segment.length));
            }
            if !state.active.is_empty() && has_outlived(&state.active, &state.settings, now) {
                state.closing = true;
                self.enqueue(state);
            }
        }

        while let Some((base, length)) = condemned.front() {
            for path in
                [segment::index_path(&self.folder, *base), segment::path(&self.folder, *base)]
            {
                self.disk.remove(&path).map_err(|error| cannot("remove", &path, error))?;
            }
            if let Err(error) = self.disk.sync_dir(&self.folder) {
                return Err(self.fail(&mut self.lock(), "syncing a folder", &error));
            }
            self.budget.give_back(*length);
            condemned.pop_front();
        }
        Ok(removed)
    }
}
