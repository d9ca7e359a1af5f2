//! Control: what a person can ask a running server to do.
//!
//! The same actions from the command line, REST and the screen; the binary carries them out.

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::log::OffsetSpan;
use crate::log::tail::{Tail, TailRequest};
use crate::time::{Day, Timestamp};

/// Carries out actions.
#[async_trait]
pub trait Control: Send + Sync {
    /// Does it, and returns what there is to say, as a JSON object.
    ///
    /// # Errors
    ///
    /// `Invalid` when the named thing does not exist or the action does not fit its state.
    async fn act(&self, action: Action) -> Result<Value>;

    /// What an attempt of a task of a run has said so far, by default its newest attempt.
    ///
    /// # Errors
    ///
    /// `Invalid` when there is no such run or task.
    async fn task_log(&self, run: &str, task: &str, attempt: Option<u32>) -> Result<AttemptLog>;

    /// What the newest attempt of each task of a run has said so far, by the names of the tasks.
    ///
    /// # Errors
    ///
    /// `Invalid` when there is no such run.
    async fn run_log(&self, run: &str) -> Result<Vec<(String, AttemptLog)>>;

    /// Takes records that somebody posts to a source: a JSON value, or an array of them; one message,
    /// where the source's format is another.
    ///
    /// # Errors
    ///
    /// `Data` when it is no JSON and should be; `Invalid` when there is no such source, nothing can be posted to
    /// it, or it is too much; `Unavailable` while nothing is taken: try again.
    async fn push(&self, source: &str, _body: Bytes) -> Result<Pushed> {
        Err(Error::invalid(format!("no source `{source}`")))
    }

    /// Looks at records of a topic.
    ///
    /// # Errors
    ///
    /// `Invalid` when there is no such topic or partition.
    async fn topic_records(&self, request: TailRequest) -> Result<Tail> {
        Err(Error::invalid(format!("no topic `{}`", request.topic)))
    }
}

/// Records that were posted and are on stable storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// How many.
    pub records: u64,
    /// The offsets they took; none when there was none.
    pub offsets: Option<OffsetSpan>,
}

/// What one attempt of a task has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptLog {
    /// Number of the attempt, from 1; 0 while there was none.
    pub attempt: u32,
    /// Whether there will be no more lines.
    pub is_complete: bool,
    /// When each line was written and what it says, oldest first.
    pub lines: Vec<(Timestamp, String)>,
}

/// One action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Starts a run of a job, for the day given or the period that just ended.
    RunJob {
        /// Name of the job.
        job: String,
        /// The day; none for the period that just ended.
        day: Option<Day>,
    },
    /// Lists the days a back-fill would run, or starts it.
    Backfill {
        /// Name of the job.
        job: String,
        /// First day.
        first: Day,
        /// Last day.
        last: Day,
        /// Only list the days.
        preview: bool,
    },
    /// Cancels a run.
    CancelRun {
        /// Id of the run.
        run: String,
    },
    /// Runs the failed and skipped tasks of a run again.
    RetryRun {
        /// Id of the run.
        run: String,
        /// A task that is run again with all that comes after it, even if it succeeded.
        from: Option<String>,
    },
    /// Says how a task of a run ended.
    MarkTask {
        /// Id of the run.
        run: String,
        /// Name of the task.
        task: String,
        /// How it ended.
        outcome: TaskOutcome,
    },
    /// Holds the schedule of a job.
    PauseJob {
        /// Name of the job.
        job: String,
    },
    /// Lets the schedule of a job go on.
    ResumeJob {
        /// Name of the job.
        job: String,
    },
    /// Trains every candidate of a model now.
    TrainModel {
        /// Name of the model.
        model: String,
    },
    /// Evaluates a model and applies the champion rule now.
    EvaluateModel {
        /// Name of the model.
        model: String,
    },
    /// Makes a version champion by hand.
    PromoteModel {
        /// Name of the model.
        model: String,
        /// Number of the version.
        version: u64,
    },
    /// Makes the champion before this one champion again.
    RollbackModel {
        /// Name of the model.
        model: String,
    },
    /// Stops reading a source until it is resumed.
    PauseSource {
        /// Name of the source.
        source: String,
    },
    /// Reads a paused source again.
    ResumeSource {
        /// Name of the source.
        source: String,
    },
    /// Stops a stream at the end of an epoch until it is resumed.
    PauseStream {
        /// Name of the stream.
        stream: String,
    },
    /// Lets a paused stream go on.
    ResumeStream {
        /// Name of the stream.
        stream: String,
    },
    /// Merges the small files of a table.
    CompactTable {
        /// Name of the table.
        table: String,
    },
    /// Removes files of a table that no version of the last days needs.
    VacuumTable {
        /// Name of the table.
        table: String,
        /// Versions younger than so many days stay readable.
        keep_days: u32,
    },
    /// Takes over a target that holds another incarnation's stamp, from where that stands.
    AdoptSink {
        /// Name of the sink.
        sink: String,
    },
    /// Forgets what a target holds and writes it anew from what is kept.
    ResetSink {
        /// Name of the sink.
        sink: String,
    },
    /// Finishes the epoch, makes a checkpoint and ends the process.
    Shutdown,
}

/// How a person says that a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskOutcome {
    /// As it should: what comes after it may run.
    Succeeded,
    /// Otherwise.
    Failed,
    /// It was left out.
    Skipped,
}
