//! The run state machine: pure functions of plain data.
//!
//! Two things move a run. [`observe`] takes down what has happened to it: an attempt ended, a person
//! asked for something. [`decide`] says what to do next, given the time and the [`Facts`] about the
//! world; [`apply`] takes down that it is done. [`settle`] does the last two until nothing is left
//! to do. The caller ([`crate::scheduler`]) stores the record *before* it acts on a command.
//!
//! ```text
//! run   scheduled ─▶ queued ─▶ running ⇄ retrying ─▶ succeeded │ failed │ skipped │ cancelled
//! task  scheduled ─▶ queued ─▶ running ⇄ retrying ─▶ succeeded │ failed │ cancelled
//!           └────────────────────────────────────▶ skipped
//! ```
//!
//! # Invariants (S19)
//!
//! - A task starts only when all tasks it comes after have succeeded, and is skipped as soon as one
//!   of them has ended otherwise.
//! - A task has one attempt at a time. Of its attempts at most 1 + `retries` fail; what ended with
//!   the process is not a failure, up to [`event::INTERRUPTIONS_MAX`].
//! - A job has at most `max_active` runs under way, and a concurrency group one.
//! - What has ended stays so until a person asks for more, and every run ends.
//! - [`settle`] ends: each command moves a task or the run on.

mod event;

use std::collections::BTreeMap;

use thalweg_core::time::Timestamp;

pub(crate) use self::event::{Event, fit, observe, renew};
use crate::definition::JobDefinition;
use crate::run::{Run, State, Stop, TaskRun, Trigger};

/// What is so outside the run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facts {
    /// Watermarks of the sources that have one.
    pub(crate) watermarks: BTreeMap<String, Timestamp>,
    /// Other runs of the job that are under way.
    pub(crate) active_runs: u32,
    /// The run of the job's concurrency group that is under way, if it is another one.
    pub(crate) group_holder: Option<String>,
    /// How many more tasks may start.
    pub(crate) free_slots: usize,
}

/// The next thing to do with a run. Tasks are named by their place in the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Show what it waits for.
    Wait { reason: String },
    /// All it waited for is there: let it wait for its turn.
    Queue,
    /// It is its turn.
    Start,
    /// Start the next attempt of a task.
    StartTask { task: usize },
    /// A task could start, but all slots are taken.
    QueueTask { task: usize },
    /// Ask the attempt that runs to stop.
    StopTask { task: usize, why: Stop },
    /// A task will not run, because of one it comes after.
    SkipTask { task: usize, upstream: String, state: State },
    /// A task that is not running will not run any more.
    CancelTask { task: usize },
    /// All its tasks have ended.
    End,
}

/// What to do next, in order; empty when there is nothing to do at `now`.
pub(crate) fn decide(
    now: Timestamp,
    definition: &JobDefinition,
    run: &Run,
    facts: &Facts,
) -> Vec<Command> {
    if run.state.has_ended() {
        return Vec::new();
    }
    if run.tasks.iter().all(|task| task.state.has_ended()) {
        return vec![Command::End];
    }
    if run.cancelling {
        return decide_cancelling(run);
    }
    match run.state {
        State::Scheduled => match waits_for(definition, run, facts) {
            Some(reason) => say(run, reason),
            None => vec![Command::Queue],
        },
        State::Queued => match blocked_by(definition, facts) {
            Some(reason) => say(run, reason),
            None => vec![Command::Start],
        },
        _ => decide_tasks(now, run, facts),
    }
}

fn say(run: &Run, reason: String) -> Vec<Command> {
    if run.reason.as_ref() == Some(&reason) {
        return Vec::new();
    }
    vec![Command::Wait { reason }]
}

/// What of `wait_for` has not come yet; a run that a person asked for does not wait.
fn waits_for(definition: &JobDefinition, run: &Run, facts: &Facts) -> Option<String> {
    if run.trigger != Trigger::Schedule {
        return None;
    }
    let late = |source: &&String| {
        facts.watermarks.get(*source).is_none_or(|watermark| *watermark < run.period_end)
    };
    let late: Vec<&str> = definition.wait_for.iter().filter(late).map(String::as_str).collect();
    (!late.is_empty()).then(|| format!("waits for {} to pass {}", late.join(", "), run.period_end))
}

fn blocked_by(definition: &JobDefinition, facts: &Facts) -> Option<String> {
    if facts.active_runs >= definition.max_active {
        return Some(match definition.max_active {
            1 => "waits for another run of the job".to_owned(),
            several => format!("waits for one of {several} runs of the job"),
        });
    }
    if let Some(holder) = &facts.group_holder {
        let group = definition.concurrency_group.as_deref().unwrap_or_default();
        return Some(format!("waits for {holder} of group {group}"));
    }
    (facts.free_slots == 0).then(|| "waits for a free slot".to_owned())
}

fn decide_cancelling(run: &Run) -> Vec<Command> {
    let command = |(task, record): (usize, &TaskRun)| match record.state {
        State::Running if record.stopping.is_none() => {
            Some(Command::StopTask { task, why: Stop::Cancelled })
        }
        State::Scheduled | State::Queued | State::Retrying => Some(Command::CancelTask { task }),
        _ => None,
    };
    run.tasks.iter().enumerate().filter_map(command).collect()
}

fn decide_tasks(now: Timestamp, run: &Run, facts: &Facts) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut slots = facts.free_slots;
    for (task, record) in run.tasks.iter().enumerate() {
        let ready = match record.state {
            State::Running => {
                if record.stopping.is_none() && record.deadline.is_some_and(|at| at <= now) {
                    commands.push(Command::StopTask { task, why: Stop::TimedOut });
                }
                false
            }
            State::Retrying => record.not_before.is_none_or(|at| at <= now),
            State::Scheduled | State::Queued => {
                let upstream = || record.after.iter().filter_map(|name| run.task(name));
                let missed =
                    |task: &&TaskRun| task.state.has_ended() && task.state != State::Succeeded;
                if let Some(missed) = upstream().find(missed) {
                    let (upstream, state) = (missed.name.clone(), missed.state);
                    commands.push(Command::SkipTask { task, upstream, state });
                    false
                } else {
                    upstream().all(|task| task.state == State::Succeeded)
                }
            }
            _ => false,
        };
        if ready && slots > 0 {
            slots -= 1;
            commands.push(Command::StartTask { task });
        } else if ready && record.state == State::Scheduled {
            commands.push(Command::QueueTask { task });
        }
    }
    commands
}

/// Takes down that a command of [`decide`] is carried out.
pub(crate) fn apply(now: Timestamp, definition: &JobDefinition, run: &mut Run, command: &Command) {
    match command {
        Command::Wait { reason } => run.reason = Some(reason.clone()),
        Command::Queue => {
            run.state = State::Queued;
            run.reason = None;
        }
        Command::Start => {
            run.state = State::Running;
            run.started_at = Some(now);
            run.reason = None;
        }
        Command::StartTask { task } => {
            let record = &mut run.tasks[*task];
            let timeout = definition.task(&record.name).and_then(|policy| policy.timeout);
            record.state = State::Running;
            record.attempt += 1;
            record.queued_at = record.queued_at.or(Some(now));
            record.not_before = None;
            record.deadline = timeout.map(|timeout| now.plus(timeout));
            record.stopping = None;
            record.started_at = Some(now);
            record.ended_at = None;
            record.note = None;
            record.by_hand = false;
        }
        Command::QueueTask { task } => {
            let record = &mut run.tasks[*task];
            record.state = State::Queued;
            record.queued_at = Some(now);
            record.note = Some("waits for a free slot".to_owned());
        }
        Command::StopTask { task, why } => run.tasks[*task].stopping = Some(*why),
        Command::SkipTask { task, upstream, state } => {
            let note = format!("{upstream} is {state}");
            end_task(&mut run.tasks[*task], State::Skipped, note, now);
        }
        Command::CancelTask { task } => {
            end_task(&mut run.tasks[*task], State::Cancelled, "the run was cancelled", now);
        }
        Command::End => {
            (run.state, run.reason) = outcome(run);
            run.ended_at = Some(now);
        }
    }
    note_retrying(run);
}

/// Decides and applies until nothing is left to do at `now`; returns all commands in order.
pub(crate) fn settle(
    now: Timestamp,
    definition: &JobDefinition,
    run: &mut Run,
    facts: &Facts,
) -> Vec<Command> {
    let mut facts = facts.clone();
    let mut done = Vec::new();
    loop {
        let commands = decide(now, definition, run, &facts);
        if commands.is_empty() {
            return done;
        }
        for command in &commands {
            apply(now, definition, run, command);
            if matches!(command, Command::StartTask { .. }) {
                facts.free_slots -= 1;
            }
        }
        done.extend(commands);
    }
}

/// When time alone will change what [`decide`] says, if it will.
pub(crate) fn wakes_at(run: &Run, now: Timestamp) -> Option<Timestamp> {
    let next = |task: &TaskRun| match task.state {
        State::Running if task.stopping.is_none() => task.deadline,
        State::Retrying => task.not_before,
        _ => None,
    };
    run.tasks.iter().filter_map(next).filter(|at| *at > now).min()
}

/// How a run of tasks that have all ended has ended itself, and why.
fn outcome(run: &Run) -> (State, Option<String>) {
    let named = |state: State| -> Vec<&str> {
        run.tasks.iter().filter(|t| t.state == state).map(|t| t.name.as_str()).collect()
    };
    let failed = named(State::Failed);
    if !failed.is_empty() {
        return (State::Failed, Some(format!("{} failed", failed.join(", "))));
    }
    if !named(State::Cancelled).is_empty() {
        return (State::Cancelled, Some("cancelled".to_owned()));
    }
    let skipped = named(State::Skipped);
    if skipped.len() == run.tasks.len() {
        return (State::Skipped, None);
    }
    let reason = (!skipped.is_empty()).then(|| format!("{} skipped", skipped.join(", ")));
    (State::Succeeded, reason)
}

/// An active run is retrying while nothing of it runs or could run, and something will.
fn note_retrying(run: &mut Run) {
    if run.is_active() {
        let some = |state: State| run.tasks.iter().any(|task| task.state == state);
        let busy = some(State::Running) || some(State::Queued);
        run.state = if some(State::Retrying) && !busy { State::Retrying } else { State::Running };
    }
}

fn end_task(record: &mut TaskRun, state: State, note: impl Into<String>, now: Timestamp) {
    record.state = state;
    record.not_before = None;
    record.deadline = None;
    record.stopping = None;
    record.ended_at = Some(now);
    record.note = Some(note.into());
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod properties;
