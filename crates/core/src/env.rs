//! The only doors to the outside: clock, randomness, spawning, files.
//!
//! Everything that is not a function of its inputs comes from here, so that a test can supply its
//! own; clippy bans the others. The files of the machine are implemented in `log` ([`Disk`] is the
//! trait); failing ones in `sim`.
//!
//! Socket time-outs and fsync do not use this clock (S3): they are the machine's own business.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::time::{Timestamp, micros};

/// What a running part needs of the outside.
#[derive(Clone)]
pub struct Env {
    /// The one clock.
    pub clock: Clock,
    /// Files.
    pub disk: Arc<dyn Disk>,
    /// Fires when the process shall stop; every wait listens to it (S25).
    pub shutdown: CancellationToken,
    /// What [`Env::spawn`] started.
    pub tasks: TaskTracker,
    /// Seed of all randomness.
    pub seed: u64,
}

impl Env {
    /// Starts a task that the process waits for when it stops.
    pub fn spawn<F>(&self, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(future)
    }

    /// A source of randomness of its own for each purpose, fixed by the seed.
    pub fn rng(&self, purpose: &str) -> SmallRng {
        let mut seed = self.seed ^ 0x9E37_79B9_7F4A_7C15;
        for byte in purpose.bytes() {
            seed = (seed ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
        SmallRng::seed_from_u64(seed)
    }

    /// Sleeps for `duration` of the clock; returns `false` when the process stops first.
    pub async fn sleep(&self, duration: Duration) -> bool {
        tokio::select! {
            () = self.clock.sleep(duration) => true,
            () = self.shutdown.cancelled() => false,
        }
    }
}

/// The one clock: the machine's, or one with an origin and a rate, or one stepped by hand.
#[derive(Clone, Debug)]
pub struct Clock(Kind);

#[derive(Clone, Debug)]
enum Kind {
    System,
    Scaled { origin: Timestamp, started: Instant, rate: f64 },
    Stepped(Arc<Mutex<Steps>>),
}

#[derive(Debug)]
struct Steps {
    now: Timestamp,
    // Sleepers by deadline; the number keeps equal deadlines apart, in order of arrival.
    sleepers: BTreeMap<(Timestamp, u64), oneshot::Sender<()>>,
    next_number: u64,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Kind::System)
    }

    /// A clock that reads `origin` now and runs `rate` times as fast as the machine's.
    pub fn scaled(origin: Timestamp, rate: f64) -> Self {
        Self(Kind::Scaled { origin, started: Instant::now(), rate })
    }

    /// A clock that stands at `now` until it is stepped.
    pub fn stepped(now: Timestamp) -> Self {
        Self(Kind::Stepped(Arc::new(Mutex::new(Steps {
            now,
            sleepers: BTreeMap::new(),
            next_number: 0,
        }))))
    }

    /// The instant it is.
    #[expect(clippy::disallowed_methods, reason = "the one door to the machine's clock")]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Kind::System => Timestamp(
                SystemTime::now()
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .map_or_else(|before| -micros(before.duration()), micros),
            ),
            Kind::Scaled { origin, started, rate } => {
                origin.plus(started.elapsed().mul_f64(rate.max(0.0)))
            }
            Kind::Stepped(steps) => lock(steps).now,
        }
    }

    /// Waits until `duration` has passed on this clock.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    #[expect(clippy::disallowed_methods, reason = "the one door to the machine's timers")]
    pub async fn sleep(&self, duration: Duration) {
        match &self.0 {
            Kind::System => tokio::time::sleep(duration).await,
            Kind::Scaled { rate, .. } if *rate > 0.0 => {
                tokio::time::sleep(duration.div_f64(*rate)).await;
            }
            Kind::Scaled { .. } => std::future::pending().await,
            Kind::Stepped(steps) => {
                let woken = {
                    let mut steps = lock(steps);
                    if duration.is_zero() {
                        return;
                    }
                    let (wake, woken) = oneshot::channel();
                    let key = (steps.now.plus(duration), steps.next_number);
                    steps.next_number += 1;
                    steps.sleepers.insert(key, wake);
                    woken
                };
                // An error means the clock is gone, and with it everybody who could step it.
                let _ = woken.await;
            }
        }
    }

    /// Moves a stepped clock on to `to`, waking sleepers in order; does nothing to other clocks.
    pub fn step_to(&self, to: Timestamp) {
        let Kind::Stepped(steps) = &self.0 else { return };
        let mut steps = lock(steps);
        while let Some(entry) = steps.sleepers.first_entry() {
            if entry.key().0 > to {
                break;
            }
            let deadline = entry.key().0;
            // A dropped sleeper does not listen any more.
            let _ = entry.remove().send(());
            steps.now = steps.now.max(deadline);
        }
        steps.now = steps.now.max(to);
    }

    /// The earliest deadline anybody sleeps for on a stepped clock.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let Kind::Stepped(steps) = &self.0 else { return None };
        let mut steps = lock(steps);
        steps.sleepers.retain(|_, wake| !wake.is_closed());
        steps.sleepers.keys().next().map(|(deadline, _)| *deadline)
    }
}

fn lock(steps: &Mutex<Steps>) -> std::sync::MutexGuard<'_, Steps> {
    steps.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Files, as durable code sees them. Blocking; call it from a thread that may block.
///
/// Errors are `std::io`'s: `StorageFull` is the full disk.
pub trait Disk: Send + Sync {
    /// Makes a folder and those above it.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Names in a folder, sorted; empty when there is no such folder.
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;
    /// Opens a file to read and write, making it if `create`.
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file of somebody else's, never to write to it.
    ///
    /// The default opens it as one of ours, which a file without write permission refuses.
    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open(path, false)
    }
    /// Reads a whole file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Renames, replacing what is there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file; it is no error when there is none.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Size in bytes of the volume that holds a folder; none when it has no end.
    fn volume_bytes(&self, _path: &Path) -> io::Result<Option<u64>> {
        Ok(None)
    }

    /// Writes a file so that it is there whole or not at all: temporary name, sync, rename, sync
    /// of the folder.
    fn write_whole(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".tmp");
        let temporary = folder.join(name);
        let file = self.open(&temporary, true)?;
        file.truncate(0)?;
        file.write_at(bytes, 0)?;
        file.sync_data()?;
        self.rename(&temporary, path)?;
        self.sync_dir(folder)
    }
}

/// An open file. Positions are explicit, so threads can share it.
pub trait DiskFile: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether it holds nothing.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Reads up to `buffer.len()` bytes at `position`; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `position`.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;
    /// Cuts or extends to `length`.
    fn truncate(&self, length: u64) -> io::Result<()>;
    /// Makes the contents durable.
    fn sync_data(&self) -> io::Result<()>;
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the test waits for what it spawns itself")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stepped_clock_wakes_sleepers_in_order() {
        let clock = Clock::stepped(Timestamp(0));
        let long = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep(Duration::from_secs(2)).await;
                clock.now()
            }
        });
        let short = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep(Duration::from_secs(1)).await;
                clock.now()
            }
        });
        while clock.next_deadline() != Some(Timestamp(1_000_000)) {
            tokio::task::yield_now().await;
        }
        clock.step_to(Timestamp(1_500_000));
        assert_eq!(short.await.ok(), Some(Timestamp(1_500_000)));
        while clock.next_deadline() != Some(Timestamp(2_000_000)) {
            tokio::task::yield_now().await;
        }
        clock.step_to(Timestamp(3_000_000));
        assert_eq!(long.await.ok(), Some(Timestamp(3_000_000)));
    }
}
