//! What happens to a run from outside: attempts end, processes stop, people ask.
//!
//! Pure, like the rest of [`crate::machine`]; here is also what a changed definition does to a run
//! that has not ended ([`fit`]), and how the same run is asked for once more ([`renew`]).

use std::time::Duration;

use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};

use super::{end_task, note_retrying, outcome};
use crate::definition::{JobDefinition, TaskDefinition};
use crate::run::{Run, State, Stop, TaskRun};

/// How often an attempt may end with the process before the task is given up: it may well be what
/// ends the process.
pub(crate) const INTERRUPTIONS_MAX: u32 = 10;

/// Longest wait before a retry, unless its `backoff` is longer.
const BACKOFF_MAX: Duration = Duration::from_secs(3600);

/// Something that has happened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// An attempt did its work, and says what that was.
    Succeeded { task: String, attempt: u32, note: String },
    /// An attempt failed; `retry`: another may fare better. `jitter` from 0 to 1 shortens the wait.
    Failed { task: String, attempt: u32, note: String, retry: bool, jitter: f64 },
    /// An attempt ended with the process. `crashed`: without being told to.
    Interrupted { task: String, attempt: u32, crashed: bool, jitter: f64 },
    /// A person wants the run to stop.
    CancelAsked,
    /// A person wants the tasks that have not succeeded run again, and with `from` also that task
    /// and all that comes after it.
    RetryAsked { from: Option<String> },
    /// A person says how a task ended.
    Marked { task: String, state: State },
}

/// Takes down what has happened. An event about an attempt that is not the one running is stale and
/// changes nothing.
///
/// # Errors
///
/// `Invalid` when a person asks for something that does not fit the state; the run is unchanged.
pub(crate) fn observe(
    now: Timestamp,
    definition: &JobDefinition,
    run: &mut Run,
    event: Event,
) -> Result<()> {
    match event {
        Event::Succeeded { task, attempt, note } => {
            if let Some(record) = running(run, &task, attempt) {
                end_task(record, State::Succeeded, note, now);
            }
        }
        Event::Failed { task, attempt, note, retry, jitter } => {
            let policy = definition.task(&task);
            let cancelling = run.cancelling;
            if let Some(record) = running(run, &task, attempt) {
                fail(record, policy, cancelling, (note, retry), jitter, now);
            }
        }
        Event::Interrupted { task, attempt, crashed, jitter } => {
            let policy = definition.task(&task);
            let cancelling = run.cancelling;
            if let Some(record) = running(run, &task, attempt) {
                interrupt(record, policy, cancelling, crashed, jitter, now);
            }
        }
        Event::CancelAsked => {
            if run.state.has_ended() {
                return Err(Error::invalid(format!("run `{}` is already {}", run.id, run.state)));
            }
            run.cancelling = true;
        }
        Event::RetryAsked { from } => ask_again(definition, run, from.as_deref())?,
        Event::Marked { task, state } => mark(definition, run, &task, state, now)?,
    }
    note_retrying(run);
    Ok(())
}

/// Brings a run in line with the definition as it is now: tasks that are gone and have not ended
/// leave it, new ones join it. Nothing of it may be running.
pub(crate) fn fit(definition: &JobDefinition, run: &mut Run) {
    let mut old = std::mem::take(&mut run.tasks);
    for policy in &definition.tasks {
        let known = old.iter().position(|task| task.name == policy.name);
        run.tasks.push(match known {
            Some(known) => TaskRun { after: policy.after.clone(), ..old.remove(known) },
            None => TaskRun::new(policy),
        });
    }
    run.tasks.extend(old.into_iter().filter(|task| task.state.has_ended()));
}

/// Makes a run that has ended one that has just been asked for, with every task to be run.
pub(crate) fn renew(definition: &JobDefinition, run: &mut Run, now: Timestamp) {
    let attempts: Vec<(String, u32)> =
        run.tasks.iter().map(|task| (task.name.clone(), task.attempt)).collect();
    run.tasks = definition.tasks.iter().map(TaskRun::new).collect();
    for task in &mut run.tasks {
        // Attempts go on counting, so that their logs stay apart.
        let old = attempts.iter().find(|(name, _)| *name == task.name);
        task.attempt = old.map_or(0, |(_, attempt)| *attempt);
    }
    run.generation += 1;
    run.created_at = now;
    reopen(run);
}

fn running<'a>(run: &'a mut Run, task: &str, attempt: u32) -> Option<&'a mut TaskRun> {
    run.tasks
        .iter_mut()
        .find(|record| record.name == task)
        .filter(|record| record.state == State::Running && record.attempt == attempt)
}

fn fail(
    record: &mut TaskRun,
    policy: Option<&TaskDefinition>,
    cancelling: bool,
    (note, retry): (String, bool),
    jitter: f64,
    now: Timestamp,
) {
    if cancelling {
        return end_task(record, State::Cancelled, note, now);
    }
    record.failures += 1;
    let (note, retry) = match record.stopping {
        Some(Stop::TimedOut) => ("took longer than its time-out".to_owned(), true),
        _ => (note, retry),
    };
    match policy.filter(|policy| retry && record.failures <= policy.retries) {
        Some(policy) => {
            let delay = delay(policy, record.failures, jitter);
            try_again(record, note, now, now.plus(delay));
        }
        None => end_task(record, State::Failed, note, now),
    }
}

fn interrupt(
    record: &mut TaskRun,
    policy: Option<&TaskDefinition>,
    cancelling: bool,
    crashed: bool,
    jitter: f64,
    now: Timestamp,
) {
    if cancelling {
        return end_task(record, State::Cancelled, "the run was cancelled", now);
    }
    let Some(policy) = policy else {
        return end_task(record, State::Failed, "the task is no longer in the project", now);
    };
    if !crashed {
        return try_again(record, "interrupted when the server stopped", now, now);
    }
    record.interruptions += 1;
    if record.interruptions > INTERRUPTIONS_MAX {
        let note = format!("interrupted {} times", record.interruptions);
        return end_task(record, State::Failed, note, now);
    }
    let delay = delay(policy, record.interruptions, jitter);
    try_again(record, "interrupted", now, now.plus(delay));
}

/// The wait before the `nth` retry: exponential, capped, shortened by up to half.
pub(super) fn delay(policy: &TaskDefinition, nth: u32, jitter: f64) -> Duration {
    let doubled = 1u32.checked_shl(nth.saturating_sub(1)).unwrap_or(u32::MAX);
    let full = policy.backoff.saturating_mul(doubled).min(BACKOFF_MAX.max(policy.backoff));
    full.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
}

fn try_again(record: &mut TaskRun, note: impl Into<String>, now: Timestamp, at: Timestamp) {
    record.state = State::Retrying;
    record.not_before = Some(at);
    record.deadline = None;
    record.stopping = None;
    record.ended_at = Some(now);
    record.note = Some(note.into());
}

fn ask_again(definition: &JobDefinition, run: &mut Run, from: Option<&str>) -> Result<()> {
    if !run.state.has_ended() {
        return Err(Error::invalid(format!("run `{}` is {}", run.id, run.state))
            .with_hint("A run can be retried when it has ended; cancel it first."));
    }
    let again = match from {
        Some(from) if definition.task(from).is_none() => {
            return Err(unknown_task(definition, from));
        }
        Some(from) => definition.downstream(from),
        None => Default::default(),
    };
    let wanted =
        |task: &TaskRun| task.state != State::Succeeded || again.contains(task.name.as_str());
    if !run.tasks.iter().any(wanted) {
        return Err(Error::invalid(format!("every task of run `{}` has succeeded", run.id))
            .with_hint("Name the task to begin from, or run the job again."));
    }
    for task in run.tasks.iter_mut().filter(|task| wanted(task)) {
        reset(task);
    }
    fit(definition, run);
    reopen(run);
    Ok(())
}

fn mark(
    definition: &JobDefinition,
    run: &mut Run,
    task: &str,
    state: State,
    now: Timestamp,
) -> Result<()> {
    if !matches!(state, State::Succeeded | State::Failed | State::Skipped) {
        return Err(Error::invalid(format!("a task cannot be marked {state}"))
            .with_hint("It can be marked succeeded, failed or skipped."));
    }
    let id = run.id.clone();
    let Some(record) = run.tasks.iter_mut().find(|record| record.name == task) else {
        return Err(unknown_task(definition, task));
    };
    if record.state == State::Running {
        return Err(Error::invalid(format!("task `{task}` of run `{id}` is running"))
            .with_hint("Cancel the run before it is marked."));
    }
    end_task(record, state, "marked by hand", now);
    record.by_hand = true;
    // What was skipped because of it gets another chance; what a person skipped does not.
    let after = definition.downstream(task);
    for record in &mut run.tasks {
        let follows = record.name != task && after.contains(record.name.as_str());
        let held_back = record.state == State::Skipped && !record.by_hand;
        if state == State::Succeeded && follows && held_back {
            reset(record);
        }
    }
    if run.state.has_ended() {
        if run.tasks.iter().all(|record| record.state.has_ended()) {
            (run.state, run.reason) = outcome(run);
        } else {
            reopen(run);
        }
    }
    Ok(())
}

fn unknown_task(definition: &JobDefinition, task: &str) -> Error {
    let names: Vec<&str> = definition.tasks.iter().map(|task| task.name.as_str()).collect();
    Error::invalid(format!("job `{}` has no task `{task}`", definition.name))
        .with_hint(format!("Its tasks are {}.", names.join(", ")))
}

fn reset(task: &mut TaskRun) {
    task.state = State::Scheduled;
    task.failures = 0;
    task.interruptions = 0;
    task.queued_at = None;
    task.started_at = None;
    task.ended_at = None;
    task.note = None;
    task.by_hand = false;
}

/// Lets a run that had ended wait for its turn again.
fn reopen(run: &mut Run) {
    run.state = State::Queued;
    run.reason = None;
    run.cancelling = false;
    run.started_at = None;
    run.ended_at = None;
}
