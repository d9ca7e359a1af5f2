//! Tasks: what a job runs.
//!
//! `jobs` schedules, retries and remembers; what a task does is implemented elsewhere (refresh in
//! `stream`, compact in `lake`, train in `models`) and handed over by the binary.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::time::{Day, Timestamp};

/// One kind of work, ready to be run for any period.
///
/// # Contract
///
/// A task may be run again for the same period after a crash in the middle, and must then have the
/// effect of one run. `Unavailable` is retried by policy, as is `Data`; `Invalid` and `Fenced` fail at once.
#[async_trait]
pub trait Task: Send + Sync {
    /// Runs to its end, or stops soon after `context.cancel` fires. Returns a line about what it
    /// did, such as `replaced 2023-12-24: 118 rows`.
    async fn run(&self, context: &TaskContext) -> Result<String>;
}

/// What a task is told.
#[derive(Clone)]
pub struct TaskContext {
    /// Identifies run and task, the same on every attempt.
    pub run: String,
    /// Whether a person asked for the run, rather than a schedule or a back-fill.
    pub is_manual: bool,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Start of the period the run covers.
    pub period_start: Timestamp,
    /// End of the period the run covers.
    pub period_end: Timestamp,
    /// The day of the period's start: `$day`.
    pub day: Day,
    /// Fires when the run is cancelled, times out, or the server stops.
    pub cancel: CancellationToken,
    /// Where the task's log lines go.
    pub log: Arc<dyn TaskLog>,
}

/// Takes a task's log lines.
pub trait TaskLog: Send + Sync {
    /// One line, without its time.
    fn line(&self, text: &str);
}
