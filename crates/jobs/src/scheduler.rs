//! The scheduler: runs what is due, and remembers it before it does it.
//!
//! One loop ([`Scheduler::run`]) takes down what ended, makes runs of the fires that are due, lets
//! the [`crate::machine`] decide about every run that has not ended, stores each decision, and only
//! then acts on it. What people ask for ([`actions`]) changes the same records under the same lock
//! and wakes the loop.
//!
//! # Invariants
//!
//! - S19: a transition is stored, by compare-and-swap, before anything is done about it. So an
//!   attempt is claimed once; one recorded as running that does not run in this process was cut off
//!   by the end of another, and is run again by its policy.
//! - What ended stays in the inbox until it is stored: a store that does not answer delays a
//!   success, it does not lose it.
//! - S25: at most [`TASKS_AT_ONCE`] tasks run at once, at most [`PENDING_MAX`] fires of a job have a
//!   run that has not ended (later ones wait in the schedule), and at most [`OPEN_RUNS_MAX`] runs in
//!   all have not. Every wait ends with the shutdown token.
//! - S27: on shutdown every task is asked to stop, and dropped when it has not within
//!   [`STOP_GRACE`]; what was cut off so is recorded, and goes on with the next start.
//!
//! One process schedules a store: the lock of the data folder sees to it. Two would not lose or
//! repeat a claim, but each would take the other's attempts for cut off.

mod actions;
mod attempt;
mod board;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thalweg_core::env::{Alarm, Env};
use thalweg_core::store::Store;
use thalweg_core::task::Task;
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};
use tokio::sync::Notify;

use self::attempt::Attempts;
use self::board::Board;
use crate::archive::{Archive, HistoryEntry};
use crate::definition::JobDefinition;
use crate::status::{JobStatus, RunRow, TaskLogView, TaskRow};

/// Most tasks that run at once.
pub const TASKS_AT_ONCE: usize = 4;
/// Most runs that the schedule of one job makes ahead of what has ended.
pub const PENDING_MAX: usize = 16;
/// Most runs that have not ended, of all jobs.
pub const OPEN_RUNS_MAX: usize = 5_000;
/// Most days of one back-fill.
pub const BACKFILL_DAYS_MAX: i32 = 2_000;
/// How long a task that was asked to stop may take.
pub const STOP_GRACE: Duration = Duration::from_secs(5);

/// How often watermarks are looked at while a run waits for one.
const WATERMARK_POLL: Duration = Duration::from_secs(1);
/// Longest sleep, so that a change of the machine's clock is seen.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// Gives the task of a job by the names of both; none when it is not in the project.
pub type TaskLookup = Arc<dyn Fn(&str, &str) -> Option<Arc<dyn Task>> + Send + Sync>;

/// Gives the watermark of a source by its name; none while it has none.
pub type Watermarks = Arc<dyn Fn(&str) -> Option<Timestamp> + Send + Sync>;

/// Runs jobs. See the module for what holds.
pub struct Scheduler {
    env: Env,
    archive: Archive,
    jobs: BTreeMap<String, JobDefinition>,
    tasks: TaskLookup,
    watermarks: Watermarks,
    board: tokio::sync::Mutex<Board>,
    attempts: Mutex<Attempts>,
    wake: Notify,
    stalled: Mutex<Option<String>>,
}

impl Scheduler {
    /// A scheduler of these jobs. Nothing is read or started before [`Scheduler::run`] or an action.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the definitions, each `Invalid`.
    pub fn new(
        env: Env,
        store: Arc<dyn Store>,
        jobs: Vec<JobDefinition>,
        tasks: TaskLookup,
        watermarks: Watermarks,
    ) -> Result<Arc<Self>, Vec<Error>> {
        let mut problems: Vec<Error> = jobs.iter().flat_map(JobDefinition::problems).collect();
        let mut by_name = BTreeMap::new();
        for job in jobs {
            if let Some(twin) = by_name.insert(job.name.clone(), job) {
                problems.push(Error::invalid(format!("there are two jobs named `{}`", twin.name)));
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Arc::new(Self {
            env,
            archive: Archive::new(store),
            jobs: by_name,
            tasks,
            watermarks,
            board: tokio::sync::Mutex::default(),
            attempts: Mutex::default(),
            wake: Notify::new(),
            stalled: Mutex::default(),
        }))
    }

    /// Runs until the shutdown token fires and what ran has stopped.
    ///
    /// A store that does not answer is asked again, with back-off, for ever; see
    /// [`Scheduler::stalled`].
    ///
    /// # Errors
    ///
    /// Of the last write, after shutdown; what it would have recorded is found at the next start.
    pub async fn run(self: &Arc<Self>) -> Result<()> {
        let mut failures = 0;
        while !self.env.shutdown.is_cancelled() {
            match self.busy_tick().await {
                Ok(next) => {
                    if failures > 0 {
                        tracing::info!("jobs go on");
                    }
                    failures = 0;
                    self.set_stalled(None);
                    let due = next.due_at.map(|at| self.env.clock.alarm(at));
                    tokio::select! {
                        () = wait_for(due) => {}
                        _ = self.env.doze(next.look_after) => {}
                        () = self.wake.notified() => {}
                        () = self.env.shutdown.cancelled() => {}
                    }
                }
                Err(error) => {
                    if failures == 0 {
                        tracing::error!(error = error.chain(), "jobs stand still");
                    }
                    self.set_stalled(Some(error.chain()));
                    let wait = Duration::from_secs(1 << failures.min(5));
                    failures += 1;
                    self.env.sleep(wait).await;
                }
            }
        }
        self.stop().await
    }

    async fn busy_tick(self: &Arc<Self>) -> Result<Next> {
        let _busy = self.env.clock.busy();
        self.tick().await
    }

    /// Why nothing is scheduled at the moment, when that is so.
    pub fn stalled(&self) -> Option<String> {
        lock(&self.stalled).clone()
    }

    /// The definitions, by name.
    pub fn definitions(&self) -> impl Iterator<Item = &JobDefinition> {
        self.jobs.values()
    }

    /// Every job and how it fares, by name.
    pub async fn jobs(&self) -> Result<Vec<JobStatus>> {
        let mut jobs = Vec::with_capacity(self.jobs.len());
        for definition in self.jobs.values() {
            jobs.push(JobStatus::read(&self.archive, definition, self.env.clock.now()).await?);
        }
        Ok(jobs)
    }

    /// The newest runs, of one job or of all, newest first.
    pub async fn runs(&self, job: Option<&str>, limit: usize) -> Result<Vec<RunRow>> {
        let now = self.env.clock.now();
        let runs = self.archive.runs(job, limit).await?;
        Ok(runs.iter().map(|run| RunRow::new(run, now)).collect())
    }

    /// The tasks of one run, or of the newest `limit` runs of all jobs.
    pub async fn tasks(&self, run: Option<&str>, limit: usize) -> Result<Vec<TaskRow>> {
        let now = self.env.clock.now();
        let runs = match run {
            Some(id) => vec![self.archive.run(id).await?.ok_or_else(|| no_such_run(id))?],
            None => self.archive.runs(None, limit).await?,
        };
        Ok(runs.iter().flat_map(|run| TaskRow::of_run(run, now)).collect())
    }

    /// The log of an attempt of a task, by default the newest one; of one that runs, as it is now.
    pub async fn log(&self, run: &str, task: &str, attempt: Option<u32>) -> Result<TaskLogView> {
        let record = self.archive.run(run).await?.ok_or_else(|| no_such_run(run))?;
        let known = record.task(task).ok_or_else(|| {
            let names: Vec<&str> = record.tasks.iter().map(|task| task.name.as_str()).collect();
            Error::invalid(format!("run `{run}` has no task `{task}`"))
                .with_hint(format!("Its tasks are {}.", names.join(", ")))
        })?;
        let attempt = attempt.unwrap_or(known.attempt);
        let live = lock(&self.attempts).log(run, task, attempt);
        let complete = live.is_none();
        let lines = match live {
            Some(log) => log.lines(),
            None => self.archive.log(run, task, attempt).await?,
        };
        Ok(TaskLogView { run: run.to_owned(), task: task.to_owned(), attempt, complete, lines })
    }

    /// The logs of a run: of each task its newest attempt, in the order of the file.
    ///
    /// # Errors
    ///
    /// `Invalid` when there is no such run.
    pub async fn logs(&self, run: &str) -> Result<Vec<TaskLogView>> {
        let record = self.archive.run(run).await?.ok_or_else(|| no_such_run(run))?;
        let mut logs = Vec::with_capacity(record.tasks.len());
        for task in &record.tasks {
            logs.push(self.log(run, &task.name, None).await?);
        }
        Ok(logs)
    }

    /// The newest `limit` entries of a job's history, oldest first.
    pub async fn history(&self, job: &str, limit: usize) -> Result<Vec<HistoryEntry>> {
        self.archive.history(job, limit).await
    }

    fn set_stalled(&self, reason: Option<String>) {
        *lock(&self.stalled) = reason;
    }
}

/// When the loop goes on.
struct Next {
    /// When something is due, if anything is.
    due_at: Option<Timestamp>,
    /// How long until it looks whether the world has changed.
    look_after: Duration,
}

async fn wait_for(alarm: Option<Alarm>) {
    match alarm {
        Some(mut alarm) => alarm.wait().await,
        None => std::future::pending().await,
    }
}

fn no_such_run(run: &str) -> Error {
    Error::invalid(format!("there is no run `{run}`"))
        .with_hint("`thalweg jobs history` lists the runs of a job.")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
