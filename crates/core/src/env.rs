//! The only doors to the outside: clock, randomness, spawning, files.
//!
//! Everything that is not a function of its inputs comes from here, so that a test can supply its
//! own; clippy bans the others. The files of the machine are implemented in `log` ([`Disk`] is the
//! trait); failing ones in `sim`.
//!
//! Socket time-outs and fsync do not use this clock (S3): they are the machine's own business.

mod clock;

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::clock::{Alarm, Busy, Clock};
use crate::time::Timestamp;

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
        if self.clock.leaps() {
            self.tasks.spawn(self.clock.clone().watch(future))
        } else {
            self.tasks.spawn(future)
        }
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

    /// Sleeps as [`Self::sleep`] does, but is no reason for the clock to leap: for loops that only
    /// look whether there is something to do.
    pub async fn doze(&self, duration: Duration) -> bool {
        tokio::select! {
            () = self.clock.doze(duration) => true,
            () = self.shutdown.cancelled() => false,
        }
    }
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
    /// When a file was last written, by the machine's clock; none where that is not known.
    fn written_at(&self, _path: &Path) -> io::Result<Option<Timestamp>> {
        Ok(None)
    }
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
