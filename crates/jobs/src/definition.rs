//! Jobs as they are written: tasks, what each comes after, and the policies of both.
//!
//! The definition is plain data that the binary lowers from the project file; what a task *does* is
//! a [`thalweg_core::task::Task`] looked up when it runs. [`JobDefinition::problems`] finds all that
//! is wrong with one at once; the places in the file are known to `project`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use thalweg_core::problem::nearest;
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};

use crate::schedule::Schedule;

/// Most tasks of one job.
pub const TASKS_MAX: usize = 500;

/// One job.
#[derive(Clone, Debug, PartialEq)]
pub struct JobDefinition {
    /// Its name: `nightly`, or `model.next_price.train`.
    pub name: String,
    /// When it fires; none: only by hand.
    pub schedule: Option<Schedule>,
    /// The first period of the schedule begins at or after this instant; none: when the job is
    /// first seen.
    pub start: Option<Timestamp>,
    /// Whether fires missed since the last one (or since `start`) are all run, oldest first;
    /// otherwise only the latest of them is. Default false.
    pub catch_up: bool,
    /// Sources whose watermark must have passed the end of the period before a scheduled run
    /// begins. A run asked for by a person does not wait.
    pub wait_for: Vec<String>,
    /// Most runs of this job under way at once, from 1. Default 1.
    pub max_active: u32,
    /// Of all jobs that name the same group, one run is under way at once.
    pub concurrency_group: Option<String>,
    /// The tasks, at least one, in the order of the file.
    pub tasks: Vec<TaskDefinition>,
}

/// One task of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskDefinition {
    /// Its name within the job.
    pub name: String,
    /// What it does, for people: `refresh hourly_batch`.
    pub does: String,
    /// The tasks that must have succeeded before it starts.
    pub after: Vec<String>,
    /// How often it is tried again after an attempt failed. Default 0.
    pub retries: u32,
    /// Wait before the first retry; doubled with each further one, at most an hour (or this, if
    /// longer), and shortened by up to half at random. Default 30 s.
    pub backoff: Duration,
    /// How long an attempt may take; none: as long as it needs.
    pub timeout: Option<Duration>,
}

impl JobDefinition {
    /// A job with the defaults, without schedule and tasks.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            schedule: None,
            start: None,
            catch_up: false,
            wait_for: Vec::new(),
            max_active: 1,
            concurrency_group: None,
            tasks: Vec::new(),
        }
    }

    /// The task of this name.
    pub fn task(&self, name: &str) -> Option<&TaskDefinition> {
        self.tasks.iter().find(|task| task.name == name)
    }

    /// The names of `task` and of all tasks that come after it, directly or not.
    pub fn downstream(&self, task: &str) -> BTreeSet<&str> {
        let mut found: BTreeSet<&str> = BTreeSet::new();
        let mut left: Vec<&str> = self.task(task).map(|t| t.name.as_str()).into_iter().collect();
        while let Some(name) = left.pop() {
            if found.insert(name) {
                let after = self.tasks.iter().filter(|t| t.after.iter().any(|a| a == name));
                left.extend(after.map(|t| t.name.as_str()));
            }
        }
        found
    }

    /// Everything that is wrong with it; empty when it can run. Each is `Invalid`.
    pub fn problems(&self) -> Vec<Error> {
        let mut problems = Vec::new();
        let name = &self.name;
        if let Err(error) = check_name("job", name) {
            problems.push(error);
        }
        if self.max_active == 0 {
            problems.push(
                Error::invalid(format!("`max_active` of job `{name}` is 0"))
                    .with_hint("Pause the job instead, or set it to 1 or more."),
            );
        }
        if self.tasks.is_empty() {
            problems.push(Error::invalid(format!("job `{name}` has no tasks")));
        }
        if self.tasks.len() > TASKS_MAX {
            problems.push(
                Error::invalid(format!("job `{name}` has {} tasks", self.tasks.len()))
                    .with_detail(format!("At most {TASKS_MAX} are run by one job.")),
            );
        }
        let names: BTreeSet<&str> = self.tasks.iter().map(|task| task.name.as_str()).collect();
        let mut seen = BTreeSet::new();
        for task in &self.tasks {
            if let Err(error) = check_name("task", &task.name) {
                problems.push(error);
            }
            if !seen.insert(task.name.as_str()) {
                problems.push(Error::invalid(format!(
                    "job `{name}` has two tasks named `{}`",
                    task.name
                )));
            }
            if task.timeout.is_some_and(|timeout| timeout.is_zero()) {
                problems.push(Error::invalid(format!(
                    "`timeout` of task `{}` of job `{name}` is 0",
                    task.name
                )));
            }
            for upstream in &task.after {
                if !names.contains(upstream.as_str()) {
                    let error = Error::invalid(format!(
                        "task `{}` of job `{name}` comes after `{upstream}`, which does not exist",
                        task.name
                    ));
                    problems.push(match nearest(upstream, names.iter().copied()) {
                        Some(meant) => error.with_hint(format!("Did you mean `{meant}`?")),
                        None => error,
                    });
                }
            }
        }
        if let Some(cycle) = self.cycle() {
            problems.push(
                Error::invalid(format!("the tasks of job `{name}` wait for each other"))
                    .with_detail(format!("{}.", cycle.join(" comes after "))),
            );
        }
        problems
    }

    /// Tasks that come after each other in a circle, the first repeated at the end.
    pub fn cycle(&self) -> Option<Vec<&str>> {
        // Taking away what waits for nothing, again and again, leaves only what lies on circles or
        // comes after one; each of those waits for another one left, so walking up meets a circle.
        let mut left: BTreeMap<&str, Vec<&str>> = self
            .tasks
            .iter()
            .map(|task| (task.name.as_str(), task.after.iter().map(String::as_str).collect()))
            .collect();
        loop {
            let names: BTreeSet<&str> = left.keys().copied().collect();
            left.retain(|_, after| {
                after.retain(|upstream| names.contains(upstream));
                !after.is_empty()
            });
            if left.len() == names.len() {
                break;
            }
        }
        let mut path: Vec<&str> = vec![left.keys().next()?];
        loop {
            let upstream = *left.get(path.last()?)?.first()?;
            let met = path.iter().position(|name| *name == upstream);
            path.push(upstream);
            if let Some(start) = met {
                return Some(path.split_off(start));
            }
        }
    }
}

impl TaskDefinition {
    /// A task with the defaults, that comes after nothing.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            does: String::new(),
            after: Vec::new(),
            retries: 0,
            backoff: Duration::from_secs(30),
            timeout: None,
        }
    }
}

/// Names stand in ids, in addresses and in command lines, so they are plain.
fn check_name(what: &str, name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || name.len() > 200 || !name.chars().all(plain) {
        return Err(Error::invalid(format!("`{name}` is no name of a {what}"))
            .with_hint("Use letters, digits, `_`, `-` and `.`, at most 200 of them."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(tasks: &[(&str, &[&str])]) -> JobDefinition {
        let task = |(name, after): &(&str, &[&str])| TaskDefinition {
            after: after.iter().map(ToString::to_string).collect(),
            ..TaskDefinition::new(*name)
        };
        JobDefinition { tasks: tasks.iter().map(task).collect(), ..JobDefinition::new("nightly") }
    }

    #[test]
    fn circles_of_tasks_are_found() {
        check_cycle(&[("a", &[]), ("b", &["a"]), ("c", &["a", "b"])], None);
        check_cycle(&[("a", &["a"])], Some("a a"));
        check_cycle(
            &[("a", &[]), ("b", &["a", "d"]), ("c", &["b"]), ("d", &["c"])],
            Some("b d c b"),
        );
        check_cycle(&[("a", &["c"]), ("b", &["c"]), ("c", &["b"])], Some("c b c"));
        check_cycle(&[("a", &["missing"])], None);
    }

    #[track_caller]
    fn check_cycle(tasks: &[(&str, &[&str])], cycle: Option<&str>) {
        let job = job(tasks);
        assert_eq!(job.cycle().map(|names| names.join(" ")).as_deref(), cycle);
        assert_eq!(job.problems().len(), usize::from(cycle.is_some() || tasks[0].1 == ["missing"]));
    }

    #[test]
    fn all_problems_are_found_at_once() {
        let mut job = job(&[("load", &["lode"]), ("load", &[]), ("a b", &[]), ("x", &["x"])]);
        job.max_active = 0;
        job.tasks[1].timeout = Some(Duration::ZERO);
        let problems: Vec<String> = job.problems().iter().map(Error::chain).collect();
        let expected = [
            "`max_active` of job `nightly` is 0\n  hint: Pause the job instead, or set it to 1 or more.",
            "task `load` of job `nightly` comes after `lode`, which does not exist\n  hint: Did you mean `load`?",
            "job `nightly` has two tasks named `load`",
            "`timeout` of task `load` of job `nightly` is 0",
            "`a b` is no name of a task\n  hint: Use letters, digits, `_`, `-` and `.`, at most 200 of them.",
            "the tasks of job `nightly` wait for each other\n  detail: x comes after x.",
        ];
        assert_eq!(problems, expected);
        assert_eq!(JobDefinition::new("").problems().len(), 2);
    }

    #[test]
    fn downstream_is_everything_that_comes_after() {
        let job = job(&[("a", &[]), ("b", &["a"]), ("c", &["b"]), ("d", &[])]);
        assert_eq!(job.downstream("b").into_iter().collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(job.downstream("a").len(), 3);
        assert!(job.downstream("missing").is_empty());
    }
}
