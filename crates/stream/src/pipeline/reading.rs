//! One reading of a source for all its pipelines.
//!
//! The pipelines of a source read the same frames and make the same rows of them. Whoever comes to
//! a position first has the one reader that they share read it; what came of it stays here until the
//! others have passed, [`PLACES_MAX`] portions at most. Nothing but speed depends on it: a portion is
//! what a pipeline would have read for itself, and it does so whenever there is none.
//!
//! The first one waits when the others are that far behind, but not for long: one that does not
//! come is not waited for again until it has caught up, so a pipeline that stands still holds nobody
//! up (S9). Whoever is behind and finds nothing reads alone; so does one whose offsets mean something
//! else, because it has listed other files (S1).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thalweg_core::source::ReadLimit;
use thalweg_core::topic::Offset;
use thalweg_core::{Error, Result};
use tokio::sync::{Notify, OnceCell};

use super::reader::{Portion, Reader};
use super::turns::Turns;
use crate::checkpoint::Position;
use crate::delivery::lock;

/// Portions of a partition that are kept at most.
const PLACES_MAX: usize = 4;

/// Where a portion will be once it has been read.
struct Place {
    /// What the offsets of its beginning mean.
    manifest: Option<String>,
    portion: OnceCell<Arc<Portion>>,
}

/// What the pipelines of one source share.
#[derive(Default)]
pub struct Reading {
    /// What they look up in.
    pub(super) turns: Turns,
    // None before the first pipeline runs: what to read with is decided then.
    front: tokio::sync::Mutex<Option<Reader>>,
    inner: Mutex<Inner>,
    moved: Notify,
}

#[derive(Default)]
struct Inner {
    members: Vec<Member>,
    places: BTreeMap<(u32, Offset), Arc<Place>>,
}

/// One pipeline.
struct Member {
    // By partition.
    offsets: BTreeMap<u32, Offset>,
    is_awaited: bool,
}

impl Member {
    fn offset(&self, partition: u32) -> Offset {
        self.offsets.get(&partition).copied().unwrap_or(Offset::MIN)
    }
}

/// Where somebody who wants a portion has to go.
enum Way {
    To(Arc<Place>),
    Alone,
    /// The others are too far behind.
    Full,
}

impl Reading {
    /// Reads with `front` from now on, unless there is a reader already.
    pub(super) async fn begin(&self, front: Reader) {
        self.front.lock().await.get_or_insert(front);
    }

    /// Counts one more pipeline in, before any of them runs; returns its number.
    pub(super) fn add(&self) -> usize {
        let mut inner = lock(&self.inner);
        inner.members.push(Member { offsets: BTreeMap::new(), is_awaited: true });
        inner.members.len() - 1
    }

    /// Says that a pipeline does not read for now. It joins again by reading.
    pub(super) fn leave(&self, member: usize) {
        let mut inner = lock(&self.inner);
        inner.members[member].is_awaited = false;
        inner.forget_passed();
        self.moved.notify_waiters();
    }

    /// The portion at a position; none when the pipeline has to read it alone. `patience` is how
    /// long to wait for those behind.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing; the next one who asks has it read.
    pub(super) async fn portion(
        &self,
        member: usize,
        (partition, position): (u32, &Position),
        limit: ReadLimit,
        patience: Duration,
    ) -> Result<Option<Arc<Portion>>> {
        let Some(place) = self.place(member, partition, position, patience).await else {
            return Ok(None);
        };
        let read = || async {
            let mut front = self.front.lock().await;
            let front =
                front.as_mut().ok_or_else(|| Error::internal("nobody has begun to read"))?;
            front.read(partition, position, limit).await.map(Arc::new)
        };
        let portion = place.portion.get_or_try_init(read).await;
        let has_moved = portion.as_ref().is_ok_and(|it| it.chunk.next > position.next);
        if !has_moved {
            // There may be more by the time that somebody comes again.
            let mut inner = lock(&self.inner);
            let at = (partition, position.next);
            if inner.places.get(&at).is_some_and(|it| Arc::ptr_eq(it, &place)) {
                inner.places.remove(&at);
            }
        }
        portion.map(|portion| Some(Arc::clone(portion)))
    }

    async fn place(
        &self,
        member: usize,
        partition: u32,
        position: &Position,
        patience: Duration,
    ) -> Option<Arc<Place>> {
        loop {
            let (way, moved) = {
                let mut inner = lock(&self.inner);
                if inner.arrive(member, partition, position) {
                    self.moved.notify_waiters();
                }
                // Made under the lock, under which everything moves: no move is missed.
                (inner.way(member, partition, position), self.moved.notified())
            };
            match way {
                Way::To(place) => return Some(place),
                Way::Alone => return None,
                Way::Full if tokio::time::timeout(patience, moved).await.is_ok() => {}
                Way::Full => {
                    lock(&self.inner).await_no_more(member, partition);
                    self.moved.notify_waiters();
                }
            }
        }
    }
}

impl Inner {
    /// Notes where somebody is; returns whether that is news.
    fn arrive(&mut self, member: usize, partition: u32, position: &Position) -> bool {
        let others = self.members.iter().enumerate().filter(|(number, _)| *number != member);
        let front = others.map(|(_, other)| other.offset(partition)).max();
        let is_at_front = front.is_none_or(|front| position.next >= front);
        let has_place = self
            .places
            .get(&(partition, position.next))
            .is_some_and(|place| place.manifest == position.manifest);
        let own = &mut self.members[member];
        let before = own.offsets.insert(partition, position.next);
        own.is_awaited = is_at_front || has_place;
        self.forget_passed();
        before != Some(position.next)
    }

    fn way(&mut self, member: usize, partition: u32, position: &Position) -> Way {
        let at = (partition, position.next);
        match self.places.get(&at) {
            Some(place) if place.manifest == position.manifest => {
                return Way::To(Arc::clone(place));
            }
            Some(_) => return Way::Alone,
            None => {}
        }
        if self.members.len() == 1 || !self.members[member].is_awaited {
            return Way::Alone;
        }
        if self.places.keys().filter(|(of, _)| *of == partition).count() >= PLACES_MAX {
            return Way::Full;
        }
        let place =
            Arc::new(Place { manifest: position.manifest.clone(), portion: OnceCell::new() });
        self.places.insert(at, Arc::clone(&place));
        Way::To(place)
    }

    /// Goes on without those who hold `member` up.
    fn await_no_more(&mut self, member: usize, partition: u32) {
        let at = self.members[member].offset(partition);
        for (number, other) in self.members.iter_mut().enumerate() {
            other.is_awaited &= number == member || other.offset(partition) >= at;
        }
        self.forget_passed();
    }

    /// Drops the portions that nobody who is awaited still comes to.
    fn forget_passed(&mut self) {
        let members = &self.members;
        self.places.retain(|(partition, from), _| {
            let mut awaited = members.iter().filter(|member| member.is_awaited);
            awaited.any(|member| member.offset(*partition) <= *from)
        });
    }
}

#[cfg(test)]
mod tests;
