//! The machine by tables: what is said when, and where that leaves run and tasks.

use std::time::Duration;

use super::event::INTERRUPTIONS_MAX;
use super::*;
use crate::definition::TaskDefinition;
use crate::schedule::Period;

const SECOND: i64 = 1_000_000;

/// A run walked by hand: events and instants in, states out.
struct Walk {
    definition: JobDefinition,
    run: Run,
    facts: Facts,
    now: Timestamp,
}

/// A job of tasks written `name after other after another`.
fn job(tasks: &[&str]) -> JobDefinition {
    let task = |text: &&str| {
        let mut names = text.split(" after ").map(str::to_owned);
        let mut task = TaskDefinition::new(names.next().unwrap_or_default());
        task.after = names.collect();
        task.backoff = Duration::from_secs(10);
        task
    };
    JobDefinition { tasks: tasks.iter().map(task).collect(), ..JobDefinition::new("nightly") }
}

fn walk(definition: JobDefinition, trigger: Trigger) -> Walk {
    let period = Period { start: Timestamp(-100 * SECOND), end: Timestamp(0) };
    let now = Timestamp(0);
    let run = Run::new(&definition, trigger, "nightly@1".to_owned(), period, now);
    let facts = Facts { free_slots: 99, ..Facts::default() };
    Walk { definition, run, facts, now }
}

impl Walk {
    /// Lets the clock stand at `second`, settles, and compares `run: task task …` with what is.
    #[track_caller]
    fn at(&mut self, second: i64, states: &str) {
        self.now = Timestamp(second * SECOND);
        let commands = settle(self.now, &self.definition, &mut self.run, &self.facts);
        let started =
            commands.iter().filter(|command| matches!(command, Command::StartTask { .. }));
        self.facts.free_slots -= started.count();
        assert_eq!(self.shown(), states, "at {second} s");
        assert_eq!(decide(self.now, &self.definition, &self.run, &self.facts), [], "settled");
    }

    fn shown(&self) -> String {
        let tasks = self.run.tasks.iter().map(|task| match task.attempt {
            0 => format!("{}={}", task.name, task.state),
            attempt => format!("{}={}{attempt}", task.name, task.state),
        });
        format!("{}: {}", self.run.state, tasks.collect::<Vec<_>>().join(" "))
    }

    #[track_caller]
    fn on(&mut self, event: Event) {
        observe(self.now, &self.definition, &mut self.run, event).expect("it fits the state");
    }

    #[track_caller]
    fn refuses(&mut self, event: Event, says: &str) {
        let before = self.run.clone();
        let error = observe(self.now, &self.definition, &mut self.run, event).expect_err("no");
        assert!(error.chain().contains(says), "{}", error.chain());
        assert_eq!(self.run, before, "a refused event changes nothing");
    }

    fn attempt(&self, task: &str) -> u32 {
        self.run.task(task).map_or(0, |task| task.attempt)
    }

    #[track_caller]
    fn succeeds(&mut self, task: &str) {
        let attempt = self.attempt(task);
        self.on(Event::Succeeded { task: task.into(), attempt, note: "done".into() });
    }

    #[track_caller]
    fn fails(&mut self, task: &str, retry: bool) {
        let attempt = self.attempt(task);
        let note = "broke".to_owned();
        self.on(Event::Failed { task: task.into(), attempt, note, retry, jitter: 0.0 });
    }

    #[track_caller]
    fn is_interrupted(&mut self, task: &str, crashed: bool) {
        let attempt = self.attempt(task);
        self.on(Event::Interrupted { task: task.into(), attempt, crashed, jitter: 1.0 });
    }

    fn marks(&mut self, task: &str, state: State) {
        self.on(Event::Marked { task: task.into(), state });
    }
}

#[test]
fn tasks_run_after_those_they_come_after() {
    let mut walk =
        walk(job(&["a", "b after a", "c after a", "d after b after c"]), Trigger::Manual);
    walk.at(0, "running: a=running1 b=scheduled c=scheduled d=scheduled");
    walk.succeeds("a");
    walk.at(1, "running: a=succeeded1 b=running1 c=running1 d=scheduled");
    walk.succeeds("c");
    walk.at(2, "running: a=succeeded1 b=running1 c=succeeded1 d=scheduled");
    walk.succeeds("b");
    walk.at(3, "running: a=succeeded1 b=succeeded1 c=succeeded1 d=running1");
    walk.succeeds("d");
    walk.at(4, "succeeded: a=succeeded1 b=succeeded1 c=succeeded1 d=succeeded1");
    assert_eq!(walk.run.started_at, Some(Timestamp(0)));
    assert_eq!(walk.run.ended_at, Some(Timestamp(4 * SECOND)));
    assert_eq!(walk.run.task("a").and_then(|a| a.note.as_deref()), Some("done"));
}

#[test]
fn what_comes_after_a_failure_is_skipped_and_the_rest_goes_on() {
    let mut walk = walk(job(&["a", "b after a", "c after b", "d"]), Trigger::Manual);
    walk.at(0, "running: a=running1 b=scheduled c=scheduled d=running1");
    walk.fails("a", true);
    walk.at(1, "running: a=failed1 b=skipped c=skipped d=running1");
    walk.succeeds("d");
    walk.at(2, "failed: a=failed1 b=skipped c=skipped d=succeeded1");
    assert_eq!(walk.run.reason.as_deref(), Some("a failed"));
    assert_eq!(walk.run.task("c").and_then(|c| c.note.as_deref()), Some("b is skipped"));
}

#[test]
fn a_failure_is_retried_with_growing_waits_until_it_counts() {
    let mut job = job(&["a"]);
    job.tasks[0].retries = 2;
    let mut walk = walk(job, Trigger::Manual);
    walk.at(0, "running: a=running1");
    walk.fails("a", true);
    walk.at(0, "retrying: a=retrying1");
    assert_eq!(wakes_at(&walk.run, walk.now), Some(Timestamp(10 * SECOND)));
    walk.at(9, "retrying: a=retrying1");
    walk.at(10, "running: a=running2");
    walk.fails("a", true);
    walk.at(29, "retrying: a=retrying2");
    walk.at(30, "running: a=running3");
    walk.fails("a", true);
    walk.at(31, "failed: a=failed3");
}

#[test]
fn what_cannot_fare_better_is_not_retried() {
    let mut job = job(&["a"]);
    job.tasks[0].retries = 9;
    let mut walk = walk(job, Trigger::Manual);
    walk.at(0, "running: a=running1");
    walk.fails("a", false);
    walk.at(0, "failed: a=failed1");
}

#[test]
fn a_wait_is_exponential_capped_and_jittered() {
    check_delay(10, 1, 0.0, 10.0);
    check_delay(10, 1, 1.0, 5.0);
    check_delay(10, 3, 0.5, 30.0);
    check_delay(10, 30, 0.0, 3600.0);
    check_delay(10, u32::MAX, 0.0, 3600.0);
    check_delay(7200, 2, 0.0, 7200.0);
    check_delay(0, 5, 0.3, 0.0);
}

#[track_caller]
fn check_delay(backoff: u64, nth: u32, jitter: f64, seconds: f64) {
    let backoff = Duration::from_secs(backoff);
    let policy = TaskDefinition { backoff, ..TaskDefinition::new("a") };
    assert_eq!(event::delay(&policy, nth, jitter).as_secs_f64(), seconds);
}

#[test]
fn a_time_out_stops_the_attempt_and_counts_as_a_failure() {
    let mut job = job(&["a", "b after a"]);
    job.tasks[0].timeout = Some(Duration::from_secs(60));
    job.tasks[0].retries = 1;
    let mut walk = walk(job, Trigger::Manual);
    walk.at(0, "running: a=running1 b=scheduled");
    assert_eq!(wakes_at(&walk.run, walk.now), Some(Timestamp(60 * SECOND)));
    walk.at(59, "running: a=running1 b=scheduled");
    assert_eq!(walk.run.tasks[0].stopping, None);
    walk.at(60, "running: a=running1 b=scheduled");
    assert_eq!(walk.run.tasks[0].stopping, Some(Stop::TimedOut));
    assert_eq!(wakes_at(&walk.run, walk.now), None, "it now waits for the attempt");
    // What it was stopped with is not what went wrong.
    walk.fails("a", false);
    assert_eq!(walk.run.tasks[0].note.as_deref(), Some("took longer than its time-out"));
    walk.at(70, "running: a=running2 b=scheduled");
    // One that gets done all the same is done.
    walk.at(130, "running: a=running2 b=scheduled");
    walk.succeeds("a");
    walk.at(131, "running: a=succeeded2 b=running1");
}

#[test]
fn a_cancelled_run_stops_what_runs_and_drops_the_rest() {
    let mut job = job(&["a", "b after a", "c", "d"]);
    job.tasks[2].retries = 5;
    let mut walk = walk(job, Trigger::Manual);
    walk.at(0, "running: a=running1 b=scheduled c=running1 d=running1");
    walk.succeeds("d");
    walk.fails("c", true);
    walk.on(Event::CancelAsked);
    walk.at(1, "running: a=running1 b=cancelled c=cancelled1 d=succeeded1");
    assert_eq!(walk.run.tasks[0].stopping, Some(Stop::Cancelled));
    walk.on(Event::CancelAsked);
    walk.fails("a", true);
    walk.at(2, "cancelled: a=cancelled1 b=cancelled c=cancelled1 d=succeeded1");
    walk.refuses(Event::CancelAsked, "is already cancelled");
}

#[test]
fn a_run_that_waits_can_be_cancelled() {
    let mut job = job(&["a"]);
    job.wait_for = vec!["trades".to_owned()];
    let mut walk = walk(job, Trigger::Schedule);
    walk.at(0, "scheduled: a=scheduled");
    walk.on(Event::CancelAsked);
    walk.at(1, "cancelled: a=cancelled");
}

#[test]
fn a_scheduled_run_waits_for_its_watermarks_and_says_so() {
    let mut job = job(&["a"]);
    job.wait_for = vec!["trades".to_owned(), "coins".to_owned()];
    let mut walk = walk(job.clone(), Trigger::Schedule);
    walk.at(0, "scheduled: a=scheduled");
    check_reason(&walk, Some("waits for trades, coins to pass 1970-01-01T00:00:00Z"));
    walk.facts.watermarks.insert("trades".to_owned(), Timestamp(0));
    walk.facts.watermarks.insert("coins".to_owned(), Timestamp(-1));
    walk.at(1, "scheduled: a=scheduled");
    check_reason(&walk, Some("waits for coins to pass 1970-01-01T00:00:00Z"));
    walk.facts.watermarks.insert("coins".to_owned(), Timestamp(0));
    walk.at(2, "running: a=running1");
    check_reason(&walk, None);
    for trigger in [Trigger::Manual, Trigger::Backfill] {
        self::walk(job.clone(), trigger).at(0, "running: a=running1");
    }
}

#[track_caller]
fn check_reason(walk: &Walk, reason: Option<&str>) {
    assert_eq!(walk.run.reason.as_deref(), reason);
}

#[test]
fn a_run_waits_for_its_turn_and_says_for_what() {
    let mut job = job(&["a"]);
    job.max_active = 2;
    job.concurrency_group = Some("heavy".to_owned());
    let mut walk = walk(job, Trigger::Schedule);
    walk.facts.active_runs = 2;
    walk.at(0, "queued: a=scheduled");
    check_reason(&walk, Some("waits for one of 2 runs of the job"));
    walk.facts.active_runs = 1;
    walk.facts.group_holder = Some("hourly@7".to_owned());
    walk.at(1, "queued: a=scheduled");
    check_reason(&walk, Some("waits for hourly@7 of group heavy"));
    walk.facts.group_holder = None;
    walk.facts.free_slots = 0;
    walk.at(2, "queued: a=scheduled");
    check_reason(&walk, Some("waits for a free slot"));
    walk.facts.free_slots = 1;
    walk.at(3, "running: a=running1");
}

#[test]
fn tasks_without_a_slot_are_queued_in_order() {
    let mut walk = walk(job(&["a", "b", "c"]), Trigger::Manual);
    walk.facts.free_slots = 2;
    walk.at(0, "running: a=running1 b=running1 c=queued");
    walk.facts.free_slots = 0;
    walk.at(1, "running: a=running1 b=running1 c=queued");
    walk.succeeds("a");
    walk.facts.free_slots = 1;
    walk.at(2, "running: a=succeeded1 b=running1 c=running1");
}

#[test]
fn what_ended_with_the_process_is_run_again_by_its_policy() {
    let mut walk = walk(job(&["a", "b after a"]), Trigger::Manual);
    walk.at(0, "running: a=running1 b=scheduled");
    walk.is_interrupted("a", false);
    walk.at(0, "running: a=running2 b=scheduled");
    // After a crash its back-off passes first (here halved by jitter); retries are not used up.
    walk.is_interrupted("a", true);
    walk.at(4, "retrying: a=retrying2 b=scheduled");
    walk.at(5, "running: a=running3 b=scheduled");
    walk.succeeds("a");
    walk.at(6, "running: a=succeeded3 b=running1");
}

#[test]
fn what_keeps_ending_the_process_is_given_up() {
    let mut walk = walk(job(&["a"]), Trigger::Manual);
    for crash in 1..=INTERRUPTIONS_MAX {
        walk.at(10_000 * i64::from(crash), &format!("running: a=running{crash}"));
        walk.is_interrupted("a", true);
    }
    walk.at(1_000_000, "running: a=running11");
    walk.is_interrupted("a", true);
    walk.at(1_000_000, "failed: a=failed11");
}

#[test]
fn an_interrupted_cancel_is_carried_out() {
    let mut walk = walk(job(&["a", "b after a"]), Trigger::Manual);
    walk.at(0, "running: a=running1 b=scheduled");
    walk.on(Event::CancelAsked);
    walk.is_interrupted("a", true);
    walk.at(1, "cancelled: a=cancelled1 b=cancelled");
}

#[test]
fn what_is_said_of_an_old_attempt_changes_nothing() {
    let mut job = job(&["a"]);
    job.tasks[0].retries = 1;
    let mut walk = walk(job, Trigger::Manual);
    walk.at(0, "running: a=running1");
    walk.fails("a", true);
    let late = || Event::Succeeded { task: "a".into(), attempt: 1, note: "late".into() };
    walk.on(late());
    walk.at(10, "running: a=running2");
    walk.on(late());
    walk.on(Event::Succeeded { task: "gone".into(), attempt: 2, note: String::new() });
    walk.at(11, "running: a=running2");
}

#[test]
fn a_run_that_has_ended_can_be_retried() {
    let mut walk = walk(job(&["a", "b after a", "c after b"]), Trigger::Schedule);
    walk.at(0, "running: a=running1 b=scheduled c=scheduled");
    walk.refuses(Event::RetryAsked { from: None }, "is running");
    walk.succeeds("a");
    walk.at(1, "running: a=succeeded1 b=running1 c=scheduled");
    walk.fails("b", true);
    walk.at(2, "failed: a=succeeded1 b=failed1 c=skipped");
    walk.refuses(Event::RetryAsked { from: Some("x".into()) }, "no task `x`");
    walk.on(Event::RetryAsked { from: None });
    assert_eq!(walk.shown(), "queued: a=succeeded1 b=scheduled1 c=scheduled");
    walk.at(3, "running: a=succeeded1 b=running2 c=scheduled");
    walk.succeeds("b");
    walk.at(4, "running: a=succeeded1 b=succeeded2 c=running1");
    walk.succeeds("c");
    walk.at(5, "succeeded: a=succeeded1 b=succeeded2 c=succeeded1");
    walk.refuses(Event::RetryAsked { from: None }, "every task");
    walk.on(Event::RetryAsked { from: Some("b".into()) });
    walk.at(6, "running: a=succeeded1 b=running3 c=scheduled1");
    assert_eq!(walk.run.task_key("b"), "nightly@1#1/b", "the same on every attempt");
}

#[test]
fn a_person_can_say_how_a_task_ended() {
    let mut walk = walk(job(&["a", "b after a", "c after b", "d after b"]), Trigger::Manual);
    walk.at(0, "running: a=running1 b=scheduled c=scheduled d=scheduled");
    walk.refuses(Event::Marked { task: "a".into(), state: State::Failed }, "is running");
    walk.refuses(Event::Marked { task: "b".into(), state: State::Queued }, "marked queued");
    walk.refuses(Event::Marked { task: "x".into(), state: State::Failed }, "no task `x`");
    walk.marks("d", State::Skipped);
    walk.fails("a", true);
    walk.at(1, "failed: a=failed1 b=skipped c=skipped d=skipped");
    walk.marks("a", State::Succeeded);
    assert_eq!(walk.shown(), "queued: a=succeeded1 b=scheduled c=scheduled d=skipped");
    walk.at(2, "running: a=succeeded1 b=running1 c=scheduled d=skipped");
    walk.fails("b", true);
    walk.at(3, "failed: a=succeeded1 b=failed1 c=skipped d=skipped");
    walk.marks("b", State::Skipped);
    assert_eq!(walk.shown(), "succeeded: a=succeeded1 b=skipped1 c=skipped d=skipped");
    walk.marks("a", State::Skipped);
    assert_eq!(walk.run.state, State::Skipped);
}

#[test]
fn a_changed_definition_fits_a_run_that_has_not_ended() {
    let mut walk = walk(job(&["a", "b after a", "c after b"]), Trigger::Manual);
    walk.at(0, "running: a=running1 b=scheduled c=scheduled");
    walk.succeeds("a");
    walk.definition = job(&["c", "n after c"]);
    fit(&walk.definition, &mut walk.run);
    assert_eq!(walk.shown(), "running: c=scheduled n=scheduled a=succeeded1");
    walk.at(1, "running: c=running1 n=scheduled a=succeeded1");
    walk.definition = job(&["z"]);
    walk.is_interrupted("c", true);
    fit(&walk.definition, &mut walk.run);
    walk.at(2, "running: z=running1 c=failed1 a=succeeded1");
}

#[test]
fn a_run_asked_for_anew_is_another_generation() {
    let mut walk = walk(job(&["a", "b after a"]), Trigger::Backfill);
    walk.at(0, "running: a=running1 b=scheduled");
    walk.fails("a", true);
    walk.at(1, "failed: a=failed1 b=skipped");
    renew(&walk.definition, &mut walk.run, walk.now);
    assert_eq!(walk.run.task_key("a"), "nightly@1#2/a");
    walk.at(2, "running: a=running2 b=scheduled");
}
