//! What a feed is doing, for `system.sources` and metrics; and the switch that pauses it.
//!
//! Written by the driver once a group of frames, read by anybody at any time.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thalweg_core::time::Timestamp;
use tokio::sync::watch;

/// How many errors are kept to be shown.
const ERRORS_KEPT: usize = 16;

/// What a feed is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedState {
    /// It connects and subscribes.
    Connecting,
    /// It receives.
    Live,
    /// It waits before it connects again.
    Waiting,
    /// The log or the store takes nothing, a full disk say; it goes on when they do.
    Blocked,
    /// Somebody paused it.
    Paused,
    /// It has ended because the process stops, or because the source has no more.
    Stopped,
    /// It has ended with an error.
    Failed,
}

impl fmt::Display for FeedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connecting => "connecting",
            Self::Live => "live",
            Self::Waiting => "waiting",
            Self::Blocked => "blocked",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        })
    }
}

/// State and counters of one feed.
#[derive(Debug)]
pub struct FeedStatus {
    frames: AtomicU64,
    bytes: AtomicU64,
    oversized: AtomicU64,
    reconnects: AtomicU64,
    errors: AtomicU64,
    // `i64::MIN` before the first.
    last_frame_at: AtomicI64,
    detail: Mutex<Detail>,
    pause: watch::Sender<bool>,
}

#[derive(Debug)]
struct Detail {
    state: FeedState,
    connected_since: Option<Timestamp>,
    // Lengths of the gaps that are over.
    gaps_closed: Duration,
    gap_since: Option<Timestamp>,
    errors: VecDeque<(Timestamp, String)>,
}

/// A reading of a [`FeedStatus`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedReading {
    /// What it is doing.
    pub state: FeedState,
    /// Since when the connection stands; none without one.
    pub connected_since: Option<Timestamp>,
    /// Frames on stable storage since the process started, those too long included.
    pub frames: u64,
    /// Bytes of those frames, as they came.
    pub bytes: u64,
    /// Frames that were too long to be kept whole.
    pub oversized: u64,
    /// Connections after the first.
    pub reconnects: u64,
    /// Time for which records may be missing, the gap that lasts included.
    pub gap: Duration,
    /// When the last frame was received that is on stable storage.
    pub last_frame_at: Option<Timestamp>,
    /// Errors so far: of the connection, and those the feed sent as data.
    pub errors: u64,
    /// The newest errors with their times, oldest first, at most 16.
    pub last_errors: Vec<(Timestamp, String)>,
}

impl Default for FeedStatus {
    fn default() -> Self {
        Self {
            frames: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            oversized: AtomicU64::new(0),
            reconnects: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            last_frame_at: AtomicI64::new(Timestamp::MIN.0),
            detail: Mutex::new(Detail {
                state: FeedState::Connecting,
                connected_since: None,
                gaps_closed: Duration::ZERO,
                gap_since: None,
                errors: VecDeque::new(),
            }),
            pause: watch::Sender::new(false),
        }
    }
}

impl FeedStatus {
    /// Closes the connection until [`resume`](Self::resume).
    pub fn pause(&self) {
        self.pause.send_replace(true);
    }

    /// Connects again after a [`pause`](Self::pause).
    pub fn resume(&self) {
        self.pause.send_replace(false);
    }

    /// Notes an error message that the feed sent as data, found when its frames were decoded.
    pub fn notice(&self, at: Timestamp, text: &str) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        let mut detail = self.detail();
        if detail.errors.len() == ERRORS_KEPT {
            detail.errors.pop_front();
        }
        detail.errors.push_back((at, text.to_owned()));
    }

    /// Everything as of `now`.
    pub fn read(&self, now: Timestamp) -> FeedReading {
        let detail = self.detail();
        let lasting = detail.gap_since.map_or(Duration::ZERO, |since| now.since(since));
        let last_frame_at = Timestamp(self.last_frame_at.load(Ordering::Relaxed));
        FeedReading {
            state: detail.state,
            connected_since: detail.connected_since,
            frames: self.frames.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            oversized: self.oversized.load(Ordering::Relaxed),
            reconnects: self.reconnects.load(Ordering::Relaxed),
            gap: detail.gaps_closed.saturating_add(lasting),
            last_frame_at: (last_frame_at != Timestamp::MIN).then_some(last_frame_at),
            errors: self.errors.load(Ordering::Relaxed),
            last_errors: detail.errors.iter().cloned().collect(),
        }
    }

    /// Waits until the switch stands at `paused`.
    pub(super) async fn until_paused(&self, paused: bool) {
        let mut switch = self.pause.subscribe();
        // The sender is `self`, so the channel does not close meanwhile.
        let _ = switch.wait_for(|now| *now == paused).await;
    }

    pub(crate) fn is_paused(&self) -> bool {
        *self.pause.borrow()
    }

    pub(super) fn state(&self) -> FeedState {
        self.detail().state
    }

    pub(crate) fn enter(&self, state: FeedState) {
        let mut detail = self.detail();
        detail.state = state;
        // A feed that is only held up keeps its connection.
        if !matches!(state, FeedState::Live | FeedState::Blocked) {
            detail.connected_since = None;
        }
    }

    pub(crate) fn connected(&self, at: Timestamp, is_first: bool) {
        if !is_first {
            self.reconnects.fetch_add(1, Ordering::Relaxed);
        }
        self.enter(FeedState::Live);
        self.detail().connected_since = Some(at);
    }

    pub(crate) fn received(&self, frames: u64, bytes: u64, oversized: u64, last_at: Timestamp) {
        self.frames.fetch_add(frames, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.oversized.fetch_add(oversized, Ordering::Relaxed);
        self.last_frame_at.fetch_max(last_at.0, Ordering::Relaxed);
    }

    pub(super) fn gap_opened(&self, since: Timestamp) {
        self.detail().gap_since.get_or_insert(since);
    }

    pub(super) fn gap_closed(&self, at: Timestamp) {
        let mut detail = self.detail();
        if let Some(since) = detail.gap_since.take() {
            detail.gaps_closed = detail.gaps_closed.saturating_add(at.since(since));
        }
    }

    fn detail(&self) -> MutexGuard<'_, Detail> {
        self.detail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gap_time_counts_the_gap_that_lasts() {
        let status = FeedStatus::default();
        status.gap_opened(Timestamp(1_000_000));
        status.gap_opened(Timestamp(2_000_000));
        assert_eq!(status.read(Timestamp(4_000_000)).gap, Duration::from_secs(3));
        status.gap_closed(Timestamp(6_000_000));
        assert_eq!(status.read(Timestamp(9_000_000)).gap, Duration::from_secs(5));
    }

    #[test]
    fn the_newest_errors_are_kept() {
        let status = FeedStatus::default();
        for number in 0..20 {
            status.notice(Timestamp(number), &format!("error {number}"));
        }
        let reading = status.read(Timestamp(20));
        assert_eq!((reading.errors, reading.last_errors.len()), (20, ERRORS_KEPT));
        assert_eq!(reading.last_errors.last(), Some(&(Timestamp(19), "error 19".to_owned())));
    }
}
