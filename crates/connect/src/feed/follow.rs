//! Following ids: what `ids` finds goes to the store, and up to where it has looked.
//!
//! Not here: the frames themselves, which are journaled before.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use thalweg_core::Result;
use thalweg_core::log::{FetchLimit, OffsetSpan};
use thalweg_core::records::{self, decode_frames};
use thalweg_core::store::{Expected, Store};
use thalweg_core::time::Timestamp;
use tracing::warn;

use super::ids::{IDS_KIND, IdNote, IdRule, IdWatch};
use super::{Feed, patiently};

/// How often it is noted up to where ids were looked at: what is behind the note is looked at again.
const ID_NOTE_EVERY: Duration = Duration::from_secs(10);
/// How much of that is read at a time.
const CATCH_UP_BYTES: usize = 4 << 20;

/// Follows ids, and when that was noted last.
pub(super) struct Ids {
    // Of the note in the store.
    id: String,
    pub(super) watch: IdWatch,
    noted_at: Timestamp,
}

impl Ids {
    pub(super) fn new(source: &str, partition: u32, rule: &IdRule, now: Timestamp) -> Result<Self> {
        let watch = IdWatch::new(source, partition, rule)?;
        Ok(Self { id: format!("{source}/{partition}"), watch, noted_at: now })
    }

    pub(super) async fn put_note(&self, store: &dyn Store) -> Result<()> {
        let note = serde_json::to_value(self.watch.note());
        let note = note.expect("a note of numbers and texts is JSON");
        store.put(IDS_KIND, &self.id, Expected::Any, &note).await.map(|_| ())
    }
}

impl Feed {
    /// Looks at the ids of the frames that the process before had no time to look at. `None`: the
    /// process stops.
    pub(super) async fn take_up_ids(&mut self) -> Result<Option<()>> {
        let Self { env, status, log, store, partition, ids, .. } = self;
        let Some(Ids { id, watch, .. }) = ids else { return Ok(Some(())) };
        let Some(row) = patiently(env, status, || store.get(IDS_KIND, id)).await? else {
            return Ok(None);
        };
        let bounds = || log.bounds(partition);
        let Some(bounds) = patiently(env, status, bounds).await? else { return Ok(None) };
        // A note of an earlier version, or none: what was before is not looked at.
        let note = row.and_then(|row| IdNote::deserialize(&row.value).ok());
        let mut note = note.unwrap_or(IdNote::at(bounds.high_watermark));
        note.next = note.next.clamp(bounds.log_start, bounds.high_watermark);
        watch.resume(note);
        loop {
            let Some(Ids { watch, .. }) = &mut self.ids else { return Ok(Some(())) };
            let from = watch.note().next;
            if from >= bounds.high_watermark {
                return self.save_id_note(true).await;
            }
            let limit = FetchLimit { bytes_max: CATCH_UP_BYTES, wait: Duration::ZERO };
            let Self { env, status, log, partition, .. } = self;
            let fetch = || log.fetch(partition, from, limit);
            let Some(fetched) = patiently(env, status, fetch).await? else { return Ok(None) };
            let read = decode_frames(partition.partition, &fetched.batches, from)?;
            let rows = watch.look(&read.frames, fetched.next.max(from + 1))?;
            let Some(()) = self.save_gaps(rows).await? else { return Ok(None) };
        }
    }

    /// Marks the gaps that the ids of journaled frames show.
    pub(super) async fn look_at_ids(
        &mut self,
        batches: &Bytes,
        span: OffsetSpan,
    ) -> Result<Option<()>> {
        let Some(Ids { watch, .. }) = &mut self.ids else { return Ok(Some(())) };
        let mut rows = Vec::new();
        // The log has given them their offsets; here they count from 0, in each batch anew.
        for batch in records::batches(batches) {
            let batch = batches.slice_ref(batch?.bytes);
            let read = decode_frames(self.partition.partition, &batch, 0)?;
            rows.extend(watch.look(&read.frames, span.last + 1)?);
        }
        let has_gaps = !rows.is_empty();
        for (_, gap) in &rows {
            warn!(source = self.name, key = gap.key, "{}", gap.reason);
        }
        let Some(()) = self.save_gaps(rows).await? else { return Ok(None) };
        self.save_id_note(has_gaps).await
    }

    /// Notes up to where ids were looked at, now and then or `now`. `None`: the process stops.
    pub(super) async fn save_id_note(&mut self, now: bool) -> Result<Option<()>> {
        let Some(ids) = &mut self.ids else { return Ok(Some(())) };
        let at = self.env.clock.now();
        if !now && at.since(ids.noted_at) < ID_NOTE_EVERY {
            return Ok(Some(()));
        }
        ids.noted_at = at;
        let ids = &*ids;
        patiently(&self.env, &self.status, || ids.put_note(&*self.store)).await
    }
}
