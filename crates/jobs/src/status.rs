//! What people see of jobs, runs and tasks: plain structs for the command line, REST, the screen and
//! `system.jobs`, `system.runs`, `system.tasks`.
//!
//! Everything is read from the [`Archive`], so it can be shown beside a stopped server too; only the
//! newest log lines of a task that runs are in the [`crate::Scheduler`]'s memory alone. Times are µs
//! since 1970 UTC, lengths ms.

use serde::Serialize;
use thalweg_core::Result;
use thalweg_core::time::Timestamp;

use crate::archive::{Archive, LogLine};
use crate::definition::{JobDefinition, TaskDefinition};
use crate::run::{Run, State, TaskRun, Trigger};

/// How many fires to come are shown.
const FIRES_SHOWN: usize = 5;

/// A job, its schedule and how it fares. A row of `system.jobs`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JobStatus {
    /// Its name.
    pub job: String,
    /// The schedule as it is written; none: only by hand.
    pub schedule: Option<String>,
    /// The time zone of the schedule.
    pub timezone: Option<String>,
    /// Whether missed fires are caught up with.
    pub catch_up: bool,
    /// The sources a scheduled run waits for.
    pub wait_for: Vec<String>,
    /// Most runs at once.
    pub max_active: u32,
    /// The group of jobs that run one at a time.
    pub concurrency_group: Option<String>,
    /// Whether its schedule is held.
    pub paused: bool,
    /// The next fires; none while it is paused.
    pub next_fires: Vec<Timestamp>,
    /// Runs that have not ended.
    pub open_runs: usize,
    /// The run asked for last.
    pub last_run: Option<RunRow>,
    /// Its tasks, in the order of the file.
    pub tasks: Vec<TaskShape>,
}

/// A task as it is written: a node of the job's graph.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskShape {
    /// Its name.
    pub task: String,
    /// What it does, in words.
    pub does: String,
    /// The tasks it comes after.
    pub after: Vec<String>,
    /// How often it is tried again.
    pub retries: u32,
    /// Wait before the first retry.
    pub backoff_ms: u64,
    /// How long an attempt may take.
    pub timeout_ms: Option<u64>,
}

/// A run. A row of `system.runs`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunRow {
    /// Its id.
    pub run: String,
    /// The job's name.
    pub job: String,
    /// Why there is this run.
    pub trigger: Trigger,
    /// The day it is about (`$day`), as `2023-12-22`.
    pub day: String,
    /// Start of its period.
    pub period_start: Timestamp,
    /// End of its period.
    pub period_end: Timestamp,
    /// Where it stands.
    pub state: State,
    /// What it waits for, or why it ended as it did.
    pub reason: Option<String>,
    /// Whether it has been asked to stop.
    pub cancelling: bool,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it left the queue.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// From its start to its end, or so far.
    pub duration_ms: Option<i64>,
    /// How many tasks it has.
    pub tasks: usize,
    /// How many of them have ended.
    pub tasks_ended: usize,
}

/// A task of a run. A row of `system.tasks`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskRow {
    /// The run's id.
    pub run: String,
    /// The job's name.
    pub job: String,
    /// The task's name.
    pub task: String,
    /// The tasks it comes after.
    pub after: Vec<String>,
    /// Where it stands.
    pub state: State,
    /// Number of the newest attempt; 0 before the first.
    pub attempt: u32,
    /// Attempts that failed.
    pub failures: u32,
    /// When it could have started.
    pub queued_at: Option<Timestamp>,
    /// When the newest attempt started.
    pub started_at: Option<Timestamp>,
    /// When the newest attempt ended.
    pub ended_at: Option<Timestamp>,
    /// How long the newest attempt took, or has taken so far.
    pub duration_ms: Option<i64>,
    /// When it is tried again.
    pub retried_at: Option<Timestamp>,
    /// What it did, why it failed, or what it waits for.
    pub note: Option<String>,
}

/// A day of a back-fill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackfillDay {
    /// The day, as `2023-12-22`.
    pub day: String,
    /// The run that is about it.
    pub run: String,
    /// Where that run stands, if the day has been back-filled before; running it again replaces it.
    pub state: Option<State>,
}

/// The log of one attempt of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskLogView {
    /// The run's id.
    pub run: String,
    /// The task's name.
    pub task: String,
    /// Number of the attempt.
    pub attempt: u32,
    /// Whether there will be no more lines.
    pub complete: bool,
    /// The lines, oldest first, with a note where some are left out.
    pub lines: Vec<LogLine>,
}

impl JobStatus {
    /// Reads how a job fares.
    pub async fn read(
        archive: &Archive,
        definition: &JobDefinition,
        now: Timestamp,
    ) -> Result<Self> {
        let paused = archive.job(&definition.name).await?.is_some_and(|kept| kept.record.paused);
        let runs = archive.runs(Some(&definition.name), usize::MAX).await?;
        let schedule = definition.schedule.as_ref();
        let next_fires = match schedule.filter(|_| !paused) {
            Some(schedule) => schedule.upcoming(now, FIRES_SHOWN),
            None => Vec::new(),
        };
        Ok(Self {
            job: definition.name.clone(),
            schedule: schedule.map(ToString::to_string),
            timezone: schedule.map(|schedule| schedule.timezone().to_owned()),
            catch_up: definition.catch_up,
            wait_for: definition.wait_for.clone(),
            max_active: definition.max_active,
            concurrency_group: definition.concurrency_group.clone(),
            paused,
            next_fires,
            open_runs: runs.iter().filter(|run| !run.state.has_ended()).count(),
            last_run: runs.first().map(|run| RunRow::new(run, now)),
            tasks: definition.tasks.iter().map(TaskShape::new).collect(),
        })
    }
}

impl TaskShape {
    fn new(task: &TaskDefinition) -> Self {
        let millis =
            |length: std::time::Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        Self {
            task: task.name.clone(),
            does: task.does.clone(),
            after: task.after.clone(),
            retries: task.retries,
            backoff_ms: millis(task.backoff),
            timeout_ms: task.timeout.map(millis),
        }
    }
}

impl RunRow {
    /// A run as it is seen at `now`.
    pub fn new(run: &Run, now: Timestamp) -> Self {
        Self {
            run: run.id.clone(),
            job: run.job.clone(),
            trigger: run.trigger,
            day: run.day().to_string(),
            period_start: run.period_start,
            period_end: run.period_end,
            state: run.state,
            reason: run.reason.clone(),
            cancelling: run.cancelling,
            created_at: run.created_at,
            started_at: run.started_at,
            ended_at: run.ended_at,
            duration_ms: duration_ms(run.started_at, run.ended_at, now),
            tasks: run.tasks.len(),
            tasks_ended: run.tasks.iter().filter(|task| task.state.has_ended()).count(),
        }
    }
}

impl TaskRow {
    /// The tasks of a run as they are seen at `now`, in the order of the file.
    pub fn of_run(run: &Run, now: Timestamp) -> Vec<Self> {
        let row = |task: &TaskRun| Self {
            run: run.id.clone(),
            job: run.job.clone(),
            task: task.name.clone(),
            after: task.after.clone(),
            state: task.state,
            attempt: task.attempt,
            failures: task.failures,
            queued_at: task.queued_at,
            started_at: task.started_at,
            ended_at: task.ended_at,
            duration_ms: duration_ms(task.started_at, task.ended_at, now),
            retried_at: task.not_before,
            note: task.note.clone(),
        };
        run.tasks.iter().map(row).collect()
    }
}

fn duration_ms(
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    now: Timestamp,
) -> Option<i64> {
    let length = ended_at.unwrap_or(now).since(started_at?);
    Some(i64::try_from(length.as_millis()).unwrap_or(i64::MAX))
}
