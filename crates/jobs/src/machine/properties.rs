//! The machine under random jobs, outcomes, people and crashes.
//!
//! A model of the world executes what is commanded. The record survives a crash, attempts do not;
//! a crash may come right after the record was stored and before anything was done about it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::definition::TaskDefinition;
use crate::schedule::Period;

/// How an attempt goes, in order of the attempts of a task; after the last: success.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Succeeds,
    Fails,
    FailsForGood,
    Hangs,
}

/// What happens at one step of the world.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// This one of the running attempts ends by its fate.
    End(usize),
    Pass(u32),
    Crash,
    /// The record is stored, then the process dies before it acts.
    CrashBeforeActing,
    Stop,
    Slots(usize),
    Cancel,
    Retry,
}

#[derive(Clone, Debug)]
struct Plan {
    tasks: Vec<(BTreeSet<usize>, u32, bool, Vec<Fate>)>,
    steps: Vec<Step>,
}

fn plan() -> impl Strategy<Value = Plan> {
    let fate = prop_oneof![
        3 => Just(Fate::Succeeds),
        3 => Just(Fate::Fails),
        1 => Just(Fate::FailsForGood),
        1 => Just(Fate::Hangs),
    ];
    let task = (
        prop::collection::btree_set(0usize..6, 0..3),
        0u32..3,
        any::<bool>(),
        prop::collection::vec(fate, 0..4),
    );
    let step = prop_oneof![
        12 => (0usize..4).prop_map(Step::End),
        6 => (0u32..100).prop_map(Step::Pass),
        2 => Just(Step::Crash),
        2 => Just(Step::CrashBeforeActing),
        1 => Just(Step::Stop),
        2 => (0usize..4).prop_map(Step::Slots),
        1 => Just(Step::Cancel),
        1 => Just(Step::Retry),
    ];
    (prop::collection::vec(task, 1..7), prop::collection::vec(step, 0..40))
        .prop_map(|(tasks, steps)| Plan { tasks, steps })
}

struct World {
    definition: JobDefinition,
    fates: BTreeMap<String, Vec<Fate>>,
    /// The record as it is stored.
    run: Run,
    now: Timestamp,
    slots: usize,
    /// Attempts under way in this process: task to (attempt, asked to stop).
    running: BTreeMap<String, (u32, bool)>,
    /// Executions of each task that came to a good end or may have.
    executed: BTreeMap<String, u32>,
}

impl World {
    fn new(plan: &Plan) -> Self {
        let name = |i: usize| format!("t{i}");
        let mut fates = BTreeMap::new();
        let mut definition = JobDefinition::new("job");
        for (i, (after, retries, hurried, fate)) in plan.tasks.iter().enumerate() {
            fates.insert(name(i), fate.clone());
            definition.tasks.push(TaskDefinition {
                // Only earlier tasks, so there is no circle.
                after: after.iter().filter(|upstream| **upstream < i).map(|u| name(*u)).collect(),
                retries: *retries,
                backoff: Duration::from_secs(10),
                timeout: hurried.then_some(Duration::from_secs(60)),
                ..TaskDefinition::new(name(i))
            });
        }
        let period = Period { start: Timestamp(0), end: Timestamp(1) };
        let now = Timestamp(1);
        let run = Run::new(&definition, Trigger::Schedule, "job@1".to_owned(), period, now);
        Self {
            definition,
            fates,
            run,
            now,
            slots: 2,
            running: BTreeMap::new(),
            executed: BTreeMap::new(),
        }
    }

    /// Settles, checks, stores, and then acts, unless the process dies in between.
    fn settle(&mut self, acts: bool) {
        let mut run = self.run.clone();
        let facts =
            Facts { free_slots: self.slots.saturating_sub(self.running.len()), ..Facts::default() };
        let commands = settle(self.now, &self.definition, &mut run, &facts);
        self.check_transition(&run);
        self.run = run;
        if !acts {
            return self.crash();
        }
        for command in &commands {
            match command {
                Command::StartTask { task } => self.start(*task),
                Command::StopTask { task, .. } => {
                    let name = &self.run.tasks[*task].name;
                    if let Some(attempt) = self.running.get_mut(name) {
                        attempt.1 = true;
                    }
                }
                _ => {}
            }
        }
        let live: BTreeSet<&str> = self.running.keys().map(String::as_str).collect();
        let recorded: BTreeSet<&str> = (self.run.tasks.iter())
            .filter(|task| task.state == State::Running)
            .map(|task| task.name.as_str())
            .collect();
        assert_eq!(live, recorded, "what runs is what is recorded to run");
    }

    fn start(&mut self, task: usize) {
        let record = self.run.tasks[task].clone();
        for upstream in &record.after {
            let state = self.run.task(upstream).map(|task| task.state);
            assert_eq!(state, Some(State::Succeeded), "{upstream} before {}", record.name);
            assert!(self.executed.contains_key(upstream), "{upstream} has run");
        }
        let before = self.running.insert(record.name.clone(), (record.attempt, false));
        assert_eq!(before, None, "one attempt of a task at a time");
        assert!(self.running.len() <= self.slots.max(self.running.len() - 1), "slots");
    }

    /// What has ended stays as it is, attempts count up, and retries are not exceeded.
    fn check_transition(&self, next: &Run) {
        for (old, new) in self.run.tasks.iter().zip(&next.tasks) {
            if old.state.has_ended() {
                assert_eq!(old, new, "what has ended stays");
            }
            assert!(new.attempt >= old.attempt && new.attempt <= old.attempt + 1);
            let policy = self.definition.task(&new.name).expect("it is defined");
            assert!(new.failures <= policy.retries + 1, "retries of {}", new.name);
            let ended_at = new.state.has_ended().then_some(new.ended_at).flatten();
            assert_eq!(ended_at.is_some(), new.state.has_ended());
        }
    }

    fn observe(&mut self, event: Event) {
        let _ = observe(self.now, &self.definition, &mut self.run, event);
    }

    fn end(&mut self, which: usize) {
        let Some((task, (attempt, stopping))) =
            self.running.iter().nth(which).map(|(task, attempt)| (task.clone(), *attempt))
        else {
            return;
        };
        let fates = &self.fates[&task];
        let fate = fates.get(attempt as usize - 1).copied().unwrap_or(Fate::Succeeds);
        let failed = |retry| Event::Failed {
            task: task.clone(),
            attempt,
            note: "broke".to_owned(),
            retry,
            jitter: 0.5,
        };
        let event = match fate {
            Fate::Hangs if !stopping => return,
            _ if stopping => failed(true),
            Fate::Succeeds | Fate::Hangs => {
                *self.executed.entry(task.clone()).or_default() += 1;
                Event::Succeeded { task: task.clone(), attempt, note: String::new() }
            }
            Fate::Fails => failed(true),
            Fate::FailsForGood => failed(false),
        };
        self.running.remove(&task);
        self.observe(event);
    }

    fn crash(&mut self) {
        self.running.clear();
        for task in self.run.tasks.clone() {
            if task.state == State::Running {
                let attempt = task.attempt;
                let task = task.name;
                self.observe(Event::Interrupted { task, attempt, crashed: true, jitter: 0.5 });
            }
        }
    }

    fn stop(&mut self) {
        for (task, (attempt, _)) in std::mem::take(&mut self.running) {
            self.observe(Event::Interrupted { task, attempt, crashed: false, jitter: 0.5 });
        }
    }

    /// Time passes and attempts end until the run has, which must not take for ever.
    fn finish(&mut self) {
        self.slots = self.slots.max(1);
        for _ in 0..1_000 {
            self.settle(true);
            if self.run.state.has_ended() {
                return;
            }
            for _ in 0..self.running.len() {
                self.end(0);
                self.end(1);
            }
            let later = wakes_at(&self.run, self.now).unwrap_or(self.now);
            self.now = Timestamp(later.0.max(self.now.0));
        }
        // A task that hangs and has no time-out runs until a person cancels it.
        self.observe(Event::CancelAsked);
        for _ in 0..20 {
            self.settle(true);
            self.end(0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_run_ends_and_keeps_the_invariants(plan in plan()) {
        let mut world = World::new(&plan);
        world.settle(true);
        for step in &plan.steps {
            match *step {
                Step::End(which) => world.end(which),
                Step::Pass(seconds) => {
                    world.now = world.now.plus(Duration::from_secs(u64::from(seconds)));
                }
                Step::Crash => world.crash(),
                Step::CrashBeforeActing => world.settle(false),
                Step::Stop => world.stop(),
                Step::Slots(slots) => world.slots = slots.max(world.running.len()),
                Step::Cancel => world.observe(Event::CancelAsked),
                Step::Retry => world.observe(Event::RetryAsked { from: None }),
            }
            world.settle(true);
        }
        world.finish();
        let run = &world.run;
        prop_assert!(run.state.has_ended(), "{run:?}");
        prop_assert!(world.running.is_empty());
        let named = |state: State| run.tasks.iter().filter(|t| t.state == state).count();
        match run.state {
            State::Succeeded => prop_assert_eq!(named(State::Succeeded), run.tasks.len()),
            State::Failed => prop_assert!(named(State::Failed) > 0),
            State::Cancelled => prop_assert!(named(State::Cancelled) > 0),
            state => prop_assert!(false, "ended {state}"),
        }
        for task in &run.tasks {
            // Recorded as done once, executed at least once.
            let executed = world.executed.get(&task.name).copied().unwrap_or(0);
            prop_assert_eq!(task.state == State::Succeeded, executed > 0, "{}", task.name);
            prop_assert!(executed <= 1, "a success is recorded once");
        }
    }
}
