//! Where runs, the state of jobs, logs and histories are kept in the [`Store`].
//!
//! | what | where | form |
//! |---|---|---|
//! | a job's cursor and whether it is paused | row `job` / name | [`JobState`] |
//! | a run that has not ended | row `run` / id | [`Run`] |
//! | a run that has | row `run_ended` / id | [`Run`] |
//! | the log of an attempt | row `task_log` / `id/task/attempt` | list of [`LogLine`] |
//! | what was done and what came of it | history `job/` name | [`JobEvent`] |
//!
//! A start reads the few runs that have not ended and none of the many that have. A run that ends is
//! written as ended where it is, then moved; a crash in between leaves it in both places, and the
//! first counts until it is moved again.
//!
//! The newest [`RUNS_KEPT`] ended runs of a job are kept, with their logs, and the newest
//! [`EVENTS_KEPT`] of its events. Histories are for people: a crash right after a change may lose
//! its entry, never the change.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thalweg_core::store::{Expected, Store, StoredRow};
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};

pub use crate::log::LogLine;
use crate::run::{JobState, Run, State, Trigger};

/// How many ended runs of a job are kept.
pub const RUNS_KEPT: usize = 500;
/// How many events of a job are kept.
pub const EVENTS_KEPT: i64 = 2_000;

/// After how many more than is kept the oldest are taken away.
pub(crate) const PRUNE_EVERY: u32 = 50;

const JOB: &str = "job";
const RUN: &str = "run";
const RUN_ENDED: &str = "run_ended";
const TASK_LOG: &str = "task_log";

/// Reads and writes what jobs remember.
#[derive(Clone)]
pub struct Archive {
    store: Arc<dyn Store>,
}

/// A record and the version it was read or written at.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept<T> {
    /// The record.
    pub record: T,
    /// Its version in the store.
    pub version: u64,
}

/// An entry in the history of a job.
#[expect(missing_docs, reason = "the fields are what the variant's sentence speaks of")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum JobEvent {
    /// A run was asked for.
    RunCreated { run: String, trigger: Trigger },
    /// A run ended.
    RunEnded { run: String, state: State, reason: Option<String> },
    /// An attempt ended otherwise than it should.
    AttemptFailed { run: String, task: String, attempt: u32, note: String },
    /// Fires up to this one were passed over, because the job does not catch up.
    FiresMissed { before: Timestamp },
    /// A person held the schedule.
    Paused,
    /// A person let it go on.
    Resumed,
    /// A person cancelled a run.
    CancelAsked { run: String },
    /// A person asked for the tasks that had not succeeded.
    RetryAsked { run: String, from: Option<String> },
    /// A person said how a task ended.
    Marked { run: String, task: String, state: State },
}

/// An entry of a history, with its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HistoryEntry {
    /// Its number within the history of the job.
    pub number: i64,
    /// When it was, in µs.
    pub at: Timestamp,
    /// What it was.
    #[serde(flatten)]
    pub event: JobEvent,
}

impl Archive {
    /// The archive in a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// What is remembered of a job.
    pub async fn job(&self, job: &str) -> Result<Option<Kept<JobState>>> {
        self.store.get(JOB, job).await?.map(read).transpose()
    }

    /// Writes the state of a job; `Fenced` when it is not as expected.
    pub(crate) async fn put_job(
        &self,
        job: &str,
        expected: Expected,
        state: &JobState,
    ) -> Result<u64> {
        self.store.put(JOB, job, expected, &write(state)?).await
    }

    /// The runs that have not ended, or were not moved when they did.
    pub async fn open_runs(&self) -> Result<Vec<Kept<Run>>> {
        let rows = self.store.list(RUN, "", false, usize::MAX).await?;
        rows.into_iter().map(read).collect()
    }

    /// A run that has not ended.
    pub async fn open_run(&self, id: &str) -> Result<Option<Kept<Run>>> {
        self.store.get(RUN, id).await?.map(read).transpose()
    }

    /// A run that has ended.
    pub async fn ended_run(&self, id: &str) -> Result<Option<Run>> {
        Ok(self.store.get(RUN_ENDED, id).await?.map(read).transpose()?.map(|kept| kept.record))
    }

    /// A run, wherever it is.
    pub async fn run(&self, id: &str) -> Result<Option<Run>> {
        match self.open_run(id).await? {
            Some(kept) => Ok(Some(kept.record)),
            None => self.ended_run(id).await,
        }
    }

    /// The newest runs, of one job or of all, by when they were asked for.
    pub async fn runs(&self, job: Option<&str>, limit: usize) -> Result<Vec<Run>> {
        let prefix = job.map(|job| format!("{job}@")).unwrap_or_default();
        let open = self.store.list(RUN, &prefix, false, usize::MAX).await?;
        let ended = self.store.list(RUN_ENDED, &prefix, false, usize::MAX).await?;
        let is_open = |row: &StoredRow| open.iter().any(|other| other.id == row.id);
        let moved = ended.into_iter().filter(|row| !is_open(row)).collect::<Vec<_>>();
        let mut runs = Vec::with_capacity(open.len() + moved.len());
        for row in open.into_iter().chain(moved) {
            runs.push(read::<Run>(row)?.record);
        }
        runs.sort_by(|a, b| {
            (b.created_at, b.period_end, &b.id).cmp(&(a.created_at, a.period_end, &a.id))
        });
        runs.truncate(limit);
        Ok(runs)
    }

    /// Writes a run that has not ended, or has just ended; `Fenced` when it is not as expected.
    pub(crate) async fn put_open(&self, expected: Expected, run: &Run) -> Result<u64> {
        self.store.put(RUN, &run.id, expected, &write(run)?).await
    }

    /// Writes a run among those that have ended.
    pub(crate) async fn put_ended(&self, run: &Run) -> Result<()> {
        self.store.put(RUN_ENDED, &run.id, Expected::Any, &write(run)?).await?;
        Ok(())
    }

    /// Moves a run that has ended, and was written so, to the others that have.
    pub(crate) async fn file(&self, run: &Run) -> Result<()> {
        self.put_ended(run).await?;
        self.store.delete(RUN, &run.id).await
    }

    /// Moves a run that had ended back to those that have not; `Fenced` when it is there already.
    pub(crate) async fn reopen(&self, run: &Run) -> Result<u64> {
        let version = self.put_open(Expected::Absent, run).await?;
        self.store.delete(RUN_ENDED, &run.id).await?;
        Ok(version)
    }

    /// Takes away the oldest ended runs of a job and their logs, beyond those that are kept.
    pub(crate) async fn prune(&self, job: &str) -> Result<()> {
        let rows = self.store.list(RUN_ENDED, &format!("{job}@"), false, usize::MAX).await?;
        let mut runs = Vec::with_capacity(rows.len());
        for row in rows {
            runs.push(read::<Run>(row)?.record);
        }
        runs.sort_by_key(|run| run.ended_at);
        runs.truncate(runs.len().saturating_sub(RUNS_KEPT));
        for run in runs {
            let logs =
                self.store.list(TASK_LOG, &format!("{}/", run.id), false, usize::MAX).await?;
            for log in logs {
                self.store.delete(TASK_LOG, &log.id).await?;
            }
            self.store.delete(RUN_ENDED, &run.id).await?;
        }
        Ok(())
    }

    /// Writes the log of an attempt, so far.
    pub(crate) async fn put_log(
        &self,
        run: &str,
        task: &str,
        attempt: u32,
        lines: &[LogLine],
    ) -> Result<()> {
        let id = log_id(run, task, attempt);
        self.store.put(TASK_LOG, &id, Expected::Any, &write(lines)?).await?;
        Ok(())
    }

    /// The log of an attempt as it was stored last.
    pub async fn log(&self, run: &str, task: &str, attempt: u32) -> Result<Vec<LogLine>> {
        let row = self.store.get(TASK_LOG, &log_id(run, task, attempt)).await?;
        Ok(row.map(read).transpose()?.map(|kept| kept.record).unwrap_or_default())
    }

    /// Adds to the history of a job.
    pub(crate) async fn note(&self, job: &str, at: Timestamp, event: &JobEvent) -> Result<()> {
        let history = history_of(job);
        let number = self.store.append(&history, at, &write(event)?).await?;
        if number > EVENTS_KEPT && number % i64::from(PRUNE_EVERY) == 0 {
            self.store.trim(&history, number - EVENTS_KEPT).await?;
        }
        Ok(())
    }

    /// The newest entries of a job's history, oldest first.
    pub async fn history(&self, job: &str, limit: usize) -> Result<Vec<HistoryEntry>> {
        let mut entries = self.store.entries(&history_of(job), 0, usize::MAX).await?;
        entries.drain(..entries.len().saturating_sub(limit));
        entries
            .into_iter()
            .map(|entry| {
                let event = decode(entry.value, &format!("entry {} of {job}", entry.number))?;
                Ok(HistoryEntry { number: entry.number, at: entry.at, event })
            })
            .collect()
    }
}

fn history_of(job: &str) -> String {
    format!("job/{job}")
}

fn log_id(run: &str, task: &str, attempt: u32) -> String {
    // Ids are listed in byte order, attempts in that of their numbers.
    format!("{run}/{task}/{attempt:06}")
}

fn read<T: DeserializeOwned>(row: StoredRow) -> Result<Kept<T>> {
    let record = decode(row.value, &row.id)?;
    Ok(Kept { record, version: row.version })
}

fn decode<T: DeserializeOwned>(value: Value, name: &str) -> Result<T> {
    serde_json::from_value(value).map_err(|error| {
        Error::internal(format!("cannot read `{name}` as jobs wrote it")).with_source(error)
    })
}

fn write<T: Serialize + ?Sized>(record: &T) -> Result<Value> {
    serde_json::to_value(record)
        .map_err(|error| Error::internal("a record of jobs has no JSON form").with_source(error))
}
