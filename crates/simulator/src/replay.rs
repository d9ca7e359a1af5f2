//! Recorded messages, sent again: each once, in order, at their pace.
//!
//! The pace is that of the newest event time so far: a message waits for as long as it is newer
//! than all before it, divided by the speed, at most `max_pause`. One that has no event time, or an
//! older one, does not wait. While nobody is subscribed the wait stands still.

mod recording;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use thalweg_core::env::Env;
use thalweg_core::error::{Error, Result};
use thalweg_core::time::Timestamp;
use tokio::sync::watch;

use self::recording::Recording;
use crate::config::{ReplayConfig, Speed};

/// How far a replay has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayState {
    /// Nobody has subscribed yet.
    Waiting,
    /// Messages are being sent, or wait for a connection.
    Playing,
    /// Every message has been sent.
    Ended,
    /// A file could not be read on; the log says why. No message comes any more.
    Failed,
}

/// A replay: the next message, and when it is due.
pub(crate) struct Replay {
    // Behind a lock because a thread that may block reads the files.
    recording: Arc<Mutex<Recording>>,
    speed: Speed,
    max_pause: Duration,
    // When the last message was due, or somebody subscribed since.
    paced_from: Option<Timestamp>,
    newest: Option<Timestamp>,
    state: watch::Sender<ReplayState>,
}

/// What a replay has to send.
#[derive(Debug, PartialEq)]
pub(crate) enum Cue {
    /// A message, due.
    Message(Recorded),
    /// Nothing before then; `None`: nothing.
    Nothing(Option<Timestamp>),
}

/// A recorded message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Recorded {
    /// As it was on the wire.
    pub(crate) text: Bytes,
    /// Its newest event time, if it has one.
    pub(crate) newest: Option<Timestamp>,
    /// Trades in it.
    pub(crate) trades: u64,
}

impl Replay {
    /// Opens the files; reading begins when somebody asks.
    ///
    /// # Errors
    ///
    /// `Invalid` when a file cannot be opened.
    pub(crate) async fn open(config: &ReplayConfig, env: &Env) -> Result<Self> {
        let (disk, files) = (Arc::clone(&env.disk), config.files.clone());
        let recording = blocking(move || Recording::open(&*disk, &files)).await??;
        Ok(Self {
            recording: Arc::new(Mutex::new(recording)),
            speed: config.speed,
            max_pause: config.max_pause,
            paced_from: None,
            newest: None,
            state: watch::Sender::new(ReplayState::Waiting),
        })
    }

    pub(crate) fn state(&self) -> watch::Receiver<ReplayState> {
        self.state.subscribe()
    }

    /// Starts, or goes on after a time without a subscription or of silence.
    pub(crate) fn resume(&mut self, now: Timestamp) {
        self.state.send_if_modified(|state| {
            let is_first = *state == ReplayState::Waiting;
            if is_first {
                *state = ReplayState::Playing;
            }
            is_first
        });
        self.paced_from = Some(self.paced_from.map_or(now, |from| from.max(now)));
    }

    /// What there is to send at `now`; the same message again until [`Replay::sent`].
    ///
    /// # Cancel safety
    ///
    /// No message is lost.
    pub(crate) async fn cue(&mut self, now: Timestamp) -> Cue {
        if *self.state.borrow() != ReplayState::Playing {
            return Cue::Nothing(None);
        }
        if self.recording().front().is_none() {
            let recording = Arc::clone(&self.recording);
            let filled = blocking(move || lock(&recording).fill()).await.flatten();
            if let Err(error) = filled {
                tracing::error!(error = %error.chain(), "the replay cannot go on");
                self.state.send_replace(ReplayState::Failed);
                return Cue::Nothing(None);
            }
        }
        let front = self.recording().front().cloned();
        let Some(message) = front else {
            self.state.send_replace(ReplayState::Ended);
            return Cue::Nothing(None);
        };
        let due = self.due(&message);
        match due {
            Some(due) if due > now => Cue::Nothing(Some(due)),
            _ => Cue::Message(message),
        }
    }

    /// Counts the message last cued as sent, so that the next one follows.
    pub(crate) fn sent(&mut self) {
        let message = self.recording().pop();
        if let Some(message) = message {
            self.paced_from = self.due(&message).or(self.paced_from);
            self.newest = self.newest.max(message.newest);
        }
    }

    /// When `message` is due, if it waits at all.
    fn due(&self, message: &Recorded) -> Option<Timestamp> {
        let Speed::Times(times) = self.speed else { return None };
        let pause = match (self.newest, message.newest) {
            (Some(before), Some(newest)) => newest.since(before).div_f64(times),
            _ => Duration::ZERO,
        };
        self.paced_from.map(|from| from.plus(pause.min(self.max_pause)))
    }

    fn recording(&self) -> MutexGuard<'_, Recording> {
        lock(&self.recording)
    }
}

fn lock(recording: &Mutex<Recording>) -> MutexGuard<'_, Recording> {
    recording.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `work` on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal("reading a recording was cut short").with_source(error))
}
