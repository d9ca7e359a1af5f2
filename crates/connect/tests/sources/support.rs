//! What the tests stand on: a clock they step, a log and a store in memory, a server they script.

mod log;
mod server;
mod store;
pub(crate) mod web;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use thalweg_core::env::{Clock, Disk, Env};
use thalweg_core::time::Timestamp;
use thalweg_sim::MemDisk;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::log::MemLog;
pub(crate) use self::server::Server;
pub(crate) use self::store::MemStore;

/// When tests begin.
pub(crate) const START: Timestamp = Timestamp(1_700_000_000_000_000);

/// An environment with a clock that stands still until it is stepped, and an empty disk.
pub(crate) fn env() -> Env {
    env_over(Arc::new(MemDisk::new(7)))
}

/// The same over a disk of the test's own.
pub(crate) fn env_over(disk: Arc<dyn Disk>) -> Env {
    Env {
        clock: Clock::stepped(START),
        disk,
        shutdown: CancellationToken::new(),
        tasks: TaskTracker::new(),
        seed: 7,
    }
}

/// Waits until `is_so`, at most 20 s of the machine's time.
#[track_caller]
pub(crate) fn eventually(what: &str, is_so: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    let mut is_so = is_so;
    let what = what.to_owned();
    async move {
        let mut tick = tokio::time::interval(Duration::from_millis(1));
        let holds = async {
            while !is_so() {
                tick.tick().await;
            }
        };
        assert!(
            tokio::time::timeout(Duration::from_secs(20), holds).await.is_ok(),
            "{caller}: waited in vain until {what}"
        );
    }
}

/// Awaits `future`, at most 20 s of the machine's time.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(20), future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// Steps the clock to the next instant somebody sleeps for, once somebody does.
pub(crate) async fn step_to_next_sleeper(clock: &Clock) -> Duration {
    let before = clock.now();
    eventually("somebody sleeps", || clock.next_deadline().is_some()).await;
    clock.step_to(clock.next_deadline().expect("somebody sleeps"));
    clock.now().since(before)
}

/// Appends to a file, making it and its folder.
pub(crate) fn append(disk: &dyn Disk, path: &str, bytes: &[u8]) {
    let path = Path::new(path);
    disk.create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let file = disk.open(path, true).expect("a file");
    let length = file.len().expect("a length");
    file.write_at(bytes, length).expect("room");
}
