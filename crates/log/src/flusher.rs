//! The flusher: the one thread that makes appends durable.
//!
//! It takes the partitions that have changed, syncs each, and looks again: what arrived meanwhile
//! is the next group. Group commit needs no timer. The queue is bounded, as a partition is in it at
//! most once. Everything that waits for a sync is on this thread, so async threads never do.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::watch;

use crate::partition::Partition;

/// The queue of partitions to sync, and the first failure.
pub(crate) struct Flusher {
    queue: Mutex<Queue>,
    wake: Condvar,
    failure: watch::Sender<Option<Arc<str>>>,
}

#[derive(Default)]
struct Queue {
    changed: Vec<Arc<Partition>>,
    stopping: bool,
}

impl Flusher {
    pub(crate) fn new() -> Self {
        Self { queue: Mutex::default(), wake: Condvar::new(), failure: watch::Sender::new(None) }
    }

    /// Starts the thread: the only one this crate starts. It ends after [`stop`](Self::stop), when
    /// everything in the queue is synced.
    pub(crate) fn start(self: &Arc<Self>) -> io::Result<JoinHandle<()>> {
        let flusher = Arc::clone(self);
        thread::Builder::new().name("log-flusher".to_owned()).spawn(move || {
            while let Some(group) = flusher.next_group() {
                sync(&group);
            }
        })
    }

    /// Puts a partition into the queue; it sees to it that it is there once.
    pub(crate) fn push(&self, partition: Arc<Partition>) {
        self.lock().changed.push(partition);
        self.wake.notify_one();
    }

    /// Lets the thread end.
    pub(crate) fn stop(&self) {
        self.lock().stopping = true;
        self.wake.notify_one();
    }

    /// Remembers the first failure and wakes who waits for one.
    pub(crate) fn report_failure(&self, reason: &Arc<str>) {
        self.failure.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert_with(|| Arc::clone(reason));
            is_first
        });
    }

    /// Whether anything has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failure.borrow().is_some()
    }

    /// Waits for the first failure.
    pub(crate) async fn failure(&self) -> Arc<str> {
        let mut failure = self.failure.subscribe();
        let reason = failure.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        reason.expect("the sender lives in self, and the value is some")
    }

    /// Syncs what is in the queue now, in place of the thread.
    #[cfg(test)]
    pub(crate) fn sync_group(&self) {
        let group = std::mem::take(&mut self.lock().changed);
        sync(&group);
    }

    /// Waits for a group; `None` when there is none and will be none.
    fn next_group(&self) -> Option<Vec<Arc<Partition>>> {
        let idle = |queue: &mut Queue| queue.changed.is_empty() && !queue.stopping;
        let mut queue =
            self.wake.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        let group = std::mem::take(&mut queue.changed);
        (!group.is_empty()).then_some(group)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sync(group: &[Arc<Partition>]) {
    for partition in group {
        // A panic must not leave everybody waiting for a thread that is gone.
        if catch_unwind(AssertUnwindSafe(|| partition.flush())).is_err() {
            partition.fail_after_panic();
        }
    }
}
