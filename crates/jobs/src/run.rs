//! Runs as they are remembered: plain records, in the form they have in the store.
//!
//! | record | store kind | id | form |
//! |---|---|---|---|
//! | [`Run`], not ended | `run` | its id | JSON of the struct |
//! | [`Run`], ended | `run_ended` | its id | the same |
//! | [`JobState`] | `job` | the job's name | the same |
//!
//! A run's id is the same whenever the same is asked for: job, period and reason. So a fire is
//! claimed once, and a day asked for twice is one run (S20):
//!
//! | reason | id |
//! |---|---|
//! | a fire | `nightly@2023-12-23T00:15:00Z` |
//! | a person, for a day | `nightly@2023-12-22.manual` |
//! | a person, for the last fire | `nightly@2023-12-23T00:15:00Z.manual` |
//! | a back-fill | `nightly@2023-12-22.backfill` |
//!
//! How a record moves from state to state is [`crate::machine`]'s; reading and writing it,
//! [`crate::archive`]'s. Fields that a later version adds must have a default.

use std::fmt;

use serde::{Deserialize, Serialize};
use thalweg_core::time::{Day, Timestamp};

use crate::definition::{JobDefinition, TaskDefinition};
use crate::schedule::Period;

/// Where a run or a task stands (S19).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits for what it depends on: a run for watermarks, a task for its upstreams.
    Scheduled,
    /// Could start, and waits for its turn.
    Queued,
    /// Under way.
    Running,
    /// Ended as it should.
    Succeeded,
    /// Ended otherwise, and is not tried again by itself.
    Failed,
    /// Waits to be tried again.
    Retrying,
    /// Not run, because something it comes after did not succeed, or a person said so.
    Skipped,
    /// Stopped by a person.
    Cancelled,
}

impl State {
    /// Whether it stays so unless a person asks for more.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Skipped | Self::Cancelled)
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Retrying => "retrying",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why there is a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The schedule fired.
    Schedule,
    /// A person asked for it.
    Manual,
    /// It is a day of a back-fill.
    Backfill,
}

/// One run of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Names it everywhere.
    pub id: String,
    /// The job's name.
    pub job: String,
    /// Why there is this run.
    pub trigger: Trigger,
    /// How often it has been asked for after it had ended, from 1.
    pub generation: u32,
    /// Start of the period it covers, in µs.
    pub period_start: Timestamp,
    /// End of the period it covers, in µs.
    pub period_end: Timestamp,
    /// Where it stands.
    pub state: State,
    /// What it waits for, or why it ended as it did.
    pub reason: Option<String>,
    /// Whether a person has asked for it to stop.
    pub cancelling: bool,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it left the queue.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Its tasks, in the order of the definition.
    pub tasks: Vec<TaskRun>,
}

/// One task of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRun {
    /// The task's name.
    pub name: String,
    /// The tasks it comes after.
    pub after: Vec<String>,
    /// Where it stands.
    pub state: State,
    /// Number of the newest attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// Attempts that failed since it was last asked for; they count against its retries.
    pub failures: u32,
    /// Attempts that ended with the process; they do not.
    pub interruptions: u32,
    /// While it is retried: when.
    pub not_before: Option<Timestamp>,
    /// While it runs with a time-out: when that is.
    pub deadline: Option<Timestamp>,
    /// While it runs: why it has been asked to stop.
    pub stopping: Option<Stop>,
    /// When all it comes after had succeeded, and it could have started.
    pub queued_at: Option<Timestamp>,
    /// When the newest attempt started.
    pub started_at: Option<Timestamp>,
    /// When the newest attempt ended.
    pub ended_at: Option<Timestamp>,
    /// What it did, why it failed, or what it waits for.
    pub note: Option<String>,
    /// Whether a person said how it ended.
    pub by_hand: bool,
}

/// Why an attempt is asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// It took longer than its time-out.
    TimedOut,
    /// A person cancelled the run.
    Cancelled,
}

/// What is remembered of a job besides its runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobState {
    /// Every fire up to here has its run, or will have none.
    pub cursor: Timestamp,
    /// Whether its schedule is held.
    pub paused: bool,
}

impl Run {
    /// A run that has just been asked for.
    pub fn new(
        definition: &JobDefinition,
        trigger: Trigger,
        id: String,
        period: Period,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            job: definition.name.clone(),
            trigger,
            generation: 1,
            period_start: period.start,
            period_end: period.end,
            state: State::Scheduled,
            reason: None,
            cancelling: false,
            created_at: now,
            started_at: None,
            ended_at: None,
            tasks: definition.tasks.iter().map(TaskRun::new).collect(),
        }
    }

    /// The day it is about: that of its period's start (`$day`).
    pub fn day(&self) -> Day {
        self.period_start.day()
    }

    /// The task of this name.
    pub fn task(&self, name: &str) -> Option<&TaskRun> {
        self.tasks.iter().find(|task| task.name == name)
    }

    /// Whether it has left the queue and not ended: it holds a place of its job.
    pub fn is_active(&self) -> bool {
        matches!(self.state, State::Running | State::Retrying)
    }

    /// What a task is told to be: the same on every attempt, another one when the run is asked for
    /// anew.
    pub fn task_key(&self, task: &str) -> String {
        format!("{}#{}/{task}", self.id, self.generation)
    }
}

impl TaskRun {
    /// A task that nothing has happened to.
    pub fn new(definition: &TaskDefinition) -> Self {
        Self {
            name: definition.name.clone(),
            after: definition.after.clone(),
            state: State::Scheduled,
            attempt: 0,
            failures: 0,
            interruptions: 0,
            not_before: None,
            deadline: None,
            stopping: None,
            queued_at: None,
            started_at: None,
            ended_at: None,
            note: None,
            by_hand: false,
        }
    }
}

/// The id of the run of a fire.
pub fn fire_id(job: &str, fire: Timestamp) -> String {
    format!("{job}@{fire}")
}

/// The id of a run that a person asked for, about the last fire.
pub fn manual_fire_id(job: &str, fire: Timestamp) -> String {
    format!("{job}@{fire}.manual")
}

/// The id of a run that a person asked for, about a day.
pub fn manual_day_id(job: &str, day: Day) -> String {
    format!("{job}@{day}.manual")
}

/// The id of the run of a day of a back-fill.
pub fn backfill_id(job: &str, day: Day) -> String {
    format!("{job}@{day}.backfill")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The form that stores written so far hold; a record in it must always be read.
    const FIRST_FORM: &str = r#"{"id":"nightly@2023-12-23T00:15:00Z","job":"nightly",
        "trigger":"schedule","generation":1,"period_start":1703204100000000,
        "period_end":1703290500000000,"state":"running","reason":null,"cancelling":false,
        "created_at":1703290500000000,"started_at":1703290500000000,"ended_at":null,"tasks":[
        {"name":"hourly","after":[],"state":"running","attempt":1,"failures":0,"interruptions":0,
        "not_before":null,"deadline":1703290560000000,"stopping":"timed_out",
        "queued_at":1703290500000000,"started_at":1703290500000000,"ended_at":null,"note":null,
        "by_hand":false}]}"#;

    #[test]
    fn a_run_is_written_and_read_in_its_first_form() {
        let end = Timestamp::parse("2023-12-23T00:15:00Z").expect("a time");
        let period = Period { start: end.minus(Duration::from_secs(86_400)), end };
        let mut definition = JobDefinition::new("nightly");
        definition.tasks.push(TaskDefinition::new("hourly"));
        let id = fire_id("nightly", end);
        let mut run = Run::new(&definition, Trigger::Schedule, id, period, end);
        run.state = State::Running;
        run.started_at = Some(end);
        let task = &mut run.tasks[0];
        task.state = State::Running;
        task.attempt = 1;
        task.deadline = Some(end.plus(Duration::from_secs(60)));
        task.stopping = Some(Stop::TimedOut);
        task.queued_at = Some(end);
        task.started_at = Some(end);
        let form: serde_json::Value = serde_json::from_str(FIRST_FORM).expect("JSON");
        assert_eq!(serde_json::to_value(&run).expect("written"), form);
        assert_eq!(serde_json::from_value::<Run>(form).expect("read"), run);
    }

    #[test]
    fn ids_say_what_they_are_about() {
        let end = Timestamp::parse("2023-12-23T00:15:00Z").expect("a time");
        assert_eq!(fire_id("nightly", end), "nightly@2023-12-23T00:15:00Z");
        assert_eq!(manual_fire_id("nightly", end), "nightly@2023-12-23T00:15:00Z.manual");
        assert_eq!(manual_day_id("nightly", end.day()), "nightly@2023-12-23.manual");
        assert_eq!(backfill_id("nightly", end.day()), "nightly@2023-12-23.backfill");
    }
}
