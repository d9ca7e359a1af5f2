//! Attempts under way: starting them, watching over them, and what comes of them.
//!
//! An attempt is two spawned futures: the task itself, so that its panic is its own, and the one
//! that attends it, which keeps its log and puts its outcome into the inbox. The loop takes it from
//! there when the outcome is stored ([`super::board`]).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use thalweg_core::env::Busy;
use thalweg_core::task::{Task, TaskContext, TaskLog};
use thalweg_core::{ErrorKind, Result};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use super::{STOP_GRACE, Scheduler, lock};
use crate::log::{AttemptLog, cut};
use crate::machine::Event;
use crate::run::{Run, Trigger};

/// How long new log lines may stay in memory only, once there are some.
const LOG_FLUSH: Duration = Duration::from_secs(1);
/// Longest note of an attempt, in bytes.
const NOTE_BYTES: usize = 4 << 10;

/// What runs, and what has ended and is not stored yet. Of a task there is at most one of the two.
#[derive(Default)]
pub(super) struct Attempts {
    live: BTreeMap<(String, String), Live>,
    ended: Vec<Ended>,
}

struct Live {
    attempt: u32,
    cancel: CancellationToken,
    log: Arc<AttemptLog>,
}

/// Which attempt it is.
struct Name {
    run: String,
    task: String,
    attempt: u32,
}

/// An attempt that has ended.
#[derive(Clone)]
pub(super) struct Ended {
    pub(super) run: String,
    pub(super) task: String,
    pub(super) event: Event,
}

impl Attempts {
    /// How many slots are taken.
    pub(super) fn count(&self) -> usize {
        self.live.len()
    }

    /// Whether this attempt runs in this process, or its outcome is not stored yet.
    pub(super) fn has(&self, run: &str, task: &str, attempt: u32) -> bool {
        let key = (run.to_owned(), task.to_owned());
        self.live.get(&key).is_some_and(|live| live.attempt == attempt)
    }

    pub(super) fn log(&self, run: &str, task: &str, attempt: u32) -> Option<Arc<AttemptLog>> {
        let live = self.live.get(&(run.to_owned(), task.to_owned()))?;
        (live.attempt == attempt).then(|| Arc::clone(&live.log))
    }

    pub(super) fn stop(&self, run: &str, task: &str) {
        if let Some(live) = self.live.get(&(run.to_owned(), task.to_owned())) {
            live.cancel.cancel();
        }
    }

    /// The attempts that have ended, oldest first; they stay until [`Attempts::forget`].
    pub(super) fn ended(&self) -> Vec<Ended> {
        self.ended.clone()
    }

    pub(super) fn all_ended(&self) -> bool {
        self.ended.len() == self.live.len()
    }

    /// The outcome is stored: the slot is free.
    pub(super) fn forget(&mut self, ended: &Ended) {
        self.ended.retain(|other| (&other.run, &other.task) != (&ended.run, &ended.task));
        self.live.remove(&(ended.run.clone(), ended.task.clone()));
    }
}

impl Scheduler {
    /// Starts the newest attempt of a task, as it is recorded in the run.
    pub(super) fn start_attempt(self: &Arc<Self>, run: &Run, task: usize) {
        let record = &run.tasks[task];
        let attempt = record.attempt;
        let cancel = self.env.shutdown.child_token();
        let log = Arc::new(AttemptLog::new(self.env.clock.clone()));
        let context = TaskContext {
            run: run.task_key(&record.name),
            is_manual: run.trigger == Trigger::Manual,
            attempt,
            period_start: run.period_start,
            period_end: run.period_end,
            day: run.day(),
            cancel: cancel.clone(),
            log: Arc::clone(&log) as Arc<dyn TaskLog>,
        };
        let live = Live { attempt, cancel, log: Arc::clone(&log) };
        let key = (run.id.clone(), record.name.clone());
        let before = lock(&self.attempts).live.insert(key, live);
        debug_assert!(before.is_none(), "S19: a task has one attempt at a time");
        let work = (self.tasks)(&run.job, &record.name);
        let name = Name { run: run.id.clone(), task: record.name.clone(), attempt };
        let scheduler = Arc::clone(self);
        self.env.spawn(async move {
            let event = match work {
                Some(work) => scheduler.attend(work, context, &name, &log).await,
                None => {
                    let note = "the task is no longer in the project".to_owned();
                    Event::Failed {
                        task: name.task.clone(),
                        attempt,
                        note,
                        retry: false,
                        jitter: 0.0,
                    }
                }
            };
            let Name { run, task, .. } = name;
            lock(&scheduler.attempts).ended.push(Ended { run, task, event });
            scheduler.wake.notify_one();
        });
    }

    /// Runs an attempt to its end, storing its log on the way, and says what has come of it.
    async fn attend(
        &self,
        work: Arc<dyn Task>,
        context: TaskContext,
        name: &Name,
        log: &AttemptLog,
    ) -> Event {
        let cancel = context.cancel.clone();
        // What was asked to stop and does not is no reason for a clock to stand still.
        let busy = self.env.clock.busy();
        let mut running = self.env.spawn(async move { work.run(&context).await });
        let result = tokio::select! {
            result = &mut running => Some(result),
            never = self.keep_log(name, log) => match never {},
            () = self.overdue(&cancel, busy) => {
                running.abort();
                None
            }
        };
        let event = self.event(name, result);
        match &event {
            Event::Succeeded { note, .. } | Event::Failed { note, .. } => log.line(note),
            Event::Interrupted { .. } => log.line("interrupted"),
            _ => {}
        }
        self.save_log(name, log).await;
        event
    }

    fn event(&self, name: &Name, result: Option<Result<Result<String>, JoinError>>) -> Event {
        let (task, attempt) = (name.task.clone(), name.attempt);
        let jitter = self.jitter(&name.run, &task, attempt);
        let (note, retry) = match result {
            Some(Ok(Ok(note))) => {
                return Event::Succeeded { task, attempt, note: cut(&note, NOTE_BYTES) };
            }
            // What ends while the server stops was most likely cut off by that.
            _ if self.env.shutdown.is_cancelled() => {
                return Event::Interrupted { task, attempt, crashed: false, jitter };
            }
            Some(Ok(Err(error))) => {
                let retry = matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Data);
                (error.chain(), retry)
            }
            Some(Err(error)) => (panic_text(error), false),
            None => ("did not stop when it was asked to".to_owned(), true),
        };
        Event::Failed { task, attempt, note: cut(&note, NOTE_BYTES), retry, jitter }
    }

    /// From 0 to 1, fixed by the seed: by how much the wait after this attempt is shortened.
    pub(super) fn jitter(&self, run: &str, task: &str, attempt: u32) -> f64 {
        self.env.rng(&format!("jobs {run} {task} {attempt}")).random()
    }

    /// Comes back when a task has had its time to stop.
    async fn overdue(&self, cancel: &CancellationToken, busy: Busy) {
        cancel.cancelled().await;
        drop(busy);
        self.env.clock.sleep(STOP_GRACE).await;
    }

    /// Stores the log when there is a new line, and again a moment later when there are more.
    async fn keep_log(&self, name: &Name, log: &AttemptLog) -> Infallible {
        loop {
            log.written().await;
            self.save_log(name, log).await;
            self.env.clock.sleep(LOG_FLUSH).await;
        }
    }

    async fn save_log(&self, name: &Name, log: &AttemptLog) {
        let lines = log.lines();
        if lines.is_empty() {
            return;
        }
        let Name { run, task, attempt } = name;
        if let Err(error) = self.archive.put_log(run, task, *attempt, &lines).await {
            tracing::warn!(error = error.chain(), run, task, "cannot store the log of a task");
        }
    }
}

fn panic_text(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else {
        return "was dropped before it ended".to_owned();
    };
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("without a word"))
}
