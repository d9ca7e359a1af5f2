//! What the flusher does to a partition: sync it, move the high watermark, close a full segment.

use std::io;
use std::sync::Arc;

use thalweg_core::env::DiskFile;
use thalweg_core::topic::Offset;

use super::{MARKS_MAX, Partition, State};
use crate::error::is_full;
use crate::index::SegmentIndex;
use crate::segment;

impl Partition {
    /// Syncs what was appended until now; then closes the active segment if it is full.
    ///
    /// Runs on the flusher alone, so nobody else closes a segment or moves the high watermark.
    pub(crate) fn flush(&self) {
        let (file, active_end, changes) = {
            let mut state = self.lock();
            state.queued = false;
            if state.failure.is_some() {
                return;
            }
            (Arc::clone(&state.file), (state.active.end, state.active.length), state.changes)
        };
        // Appends go on meanwhile; what they add belongs to the next group.
        let synced = file.sync_data();

        let mut state = self.lock();
        if let Err(error) = synced {
            self.fail(&mut state, "a sync", &error);
            return;
        }
        self.advance(&mut state, active_end, changes);
        let full = state.synced_length >= state.settings.segment_bytes || state.closing;
        if full && !state.active.is_empty() {
            drop(state);
            self.roll();
        }
    }

    /// Refuses appends from now on, because a bug took the flusher out of its way.
    pub(crate) fn fail_after_panic(&self) {
        self.fail(&mut self.lock(), "the flusher", &"it panicked");
    }

    /// Moves the high watermark to `(offset, length)` and wakes who waits.
    fn advance(&self, state: &mut State, (offset, length): (Offset, u64), changes: u64) {
        debug_assert!(state.high_watermark <= offset, "L3: the high watermark never goes back");
        if offset > state.high_watermark {
            if state.marks.len() == MARKS_MAX {
                state.marks.pop_front();
            }
            state.marks.push_back((offset, length));
        }
        state.high_watermark = offset;
        state.synced_length = length;
        self.progress.send_modify(|progress| progress.changes_synced = changes);
    }

    /// Closes the active segment and begins the next.
    ///
    /// The order is what recovery relies on: the old segment is synced before the new one has a
    /// name, and the name is synced before anything in the new one counts as stable. On a full disk
    /// the active segment just stays, to be closed after a later group.
    fn roll(&self) {
        let file = match segment::create(&*self.disk, &self.folder) {
            Ok(file) => file,
            Err(error) if is_full(&error) => return,
            Err(error) => {
                self.fail(&mut self.lock(), "making a segment", &error);
                return;
            }
        };

        let closed = {
            let mut state = self.lock();
            match self.replace_active(&mut state, file) {
                Ok(Some(closed)) => closed,
                Ok(None) => return,
                Err(error) => {
                    self.fail(&mut state, "closing a segment", &error);
                    return;
                }
            }
        };
        if let Err(error) = self.disk.sync_dir(&self.folder) {
            self.fail(&mut self.lock(), "syncing a folder", &error);
            return;
        }
        closed.write(&*self.disk, &segment::index_path(&self.folder, closed.base));
    }

    /// Syncs the little that was appended since the last sync, and puts the unnamed segment in the
    /// place of the active one; `None` when the disk has no room for the name.
    ///
    /// Under the lock, so that nothing is appended in between: a sync that appends wait for, but
    /// once a segment, and right after another one.
    fn replace_active(
        &self,
        state: &mut State,
        file: Arc<dyn DiskFile>,
    ) -> io::Result<Option<Arc<SegmentIndex>>> {
        if state.active.length > state.synced_length {
            state.file.sync_data()?;
            let (end, changes) = ((state.active.end, state.active.length), state.changes);
            self.advance(state, end, changes);
        }
        let base = state.active.end;
        let unnamed = self.folder.join(segment::UNNAMED);
        match self.disk.rename(&unnamed, &segment::path(&self.folder, base)) {
            Err(error) if is_full(&error) => return Ok(None),
            renamed => renamed?,
        }
        let closed = Arc::new(std::mem::replace(&mut state.active, SegmentIndex::new(base)));
        state.closed.push_back(Arc::clone(&closed));
        state.file = file;
        self.budget.add(segment::HEADER_BYTES);
        state.synced_length = segment::HEADER_BYTES;
        state.marks.clear();
        state.closing = false;
        Ok(Some(closed))
    }
}
