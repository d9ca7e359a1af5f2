//! Jobs: tasks with dependencies, on a schedule.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use thalweg_core::problem::{Place, nearest};
use thalweg_core::time::{Day, Timestamp};

use super::cycle;
use crate::codes::{self, Telling};
use crate::entry::{Entry, FromValue, from_text};
use crate::secret::Secret;
use crate::spanned::Spanned;
use crate::sql_text::SqlText;
use crate::tree::Value;

/// Tasks with dependencies, on a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its name.
    pub name: Spanned<String>,
    /// Cron of five or six fields, `@daily` and the like, or `every 5m`; none: only by hand.
    pub schedule: Option<Spanned<String>>,
    /// Time zone of the schedule; none for the project's.
    pub timezone: Option<Spanned<String>>,
    /// Where the first period begins; none for when the project first runs.
    pub start: Option<Timestamp>,
    /// Whether missed periods are run later. Default false.
    pub catch_up: bool,
    /// Sources and streams whose watermarks must have passed the end of the period.
    pub wait_for: Vec<Spanned<String>>,
    /// Runs active at a time. Default 1.
    pub max_active: u32,
    /// Jobs of one group never run at the same time.
    pub concurrency_group: Option<String>,
    /// The tasks, in the order of the file; never empty, and without a cycle.
    pub tasks: Vec<Task>,
}

/// One task of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its name within the job.
    pub name: Spanned<String>,
    /// What it does.
    pub action: TaskAction,
    /// Tasks that must have succeeded before.
    pub after: Vec<Spanned<String>>,
    /// How often it is tried again. Default 0.
    pub retries: u32,
    /// Wait before the first retry; doubles with each. Default 30 s.
    pub backoff: Duration,
    /// An attempt that takes longer has failed. Default 1 h.
    pub timeout: Duration,
}

/// What a task does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskAction {
    /// Rebuilds a day of a table with `batch_of`.
    Refresh {
        /// The table.
        table: Spanned<String>,
        /// The day.
        day: TaskDay,
    },
    /// Merges the small files of a table.
    Compact {
        /// The table.
        table: Spanned<String>,
    },
    /// Trains every candidate of a model.
    Train {
        /// The model.
        model: Spanned<String>,
    },
    /// Evaluates a model and applies its champion rule.
    Evaluate {
        /// The model.
        model: Spanned<String>,
    },
    /// Writes a query's rows to a file.
    Export {
        /// The query, with the parameter `$day`.
        sql: SqlText,
        /// The file, in whose path `$day` is the day.
        path: Spanned<String>,
        /// What its ending says.
        format: ExportFormat,
    },
    /// Runs a program.
    Shell {
        /// The program and its arguments.
        command: Vec<String>,
        /// Where it is declared.
        place: Place,
    },
    /// Calls an address.
    Call {
        /// The address.
        url: Secret,
        /// `POST`, `PUT` or `GET`.
        method: CallMethod,
        /// Headers: name and value.
        headers: Vec<(String, Secret)>,
    },
}

/// How an address is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallMethod {
    /// With the run as JSON.
    Post,
    /// With the run as JSON.
    Put,
    /// Without a body.
    Get,
}

/// What an exported file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// Comma-separated, with a header.
    Csv,
    /// A JSON object a line.
    Json,
    /// Parquet.
    Parquet,
    /// An Avro object container.
    Avro,
}

impl ExportFormat {
    /// What the ending of a path says.
    fn of(path: &str) -> Option<Self> {
        Some(match path.rsplit_once('.')?.1 {
            "csv" => Self::Csv,
            "json" | "jsonl" | "ndjson" => Self::Json,
            "parquet" => Self::Parquet,
            "avro" => Self::Avro,
            _ => return None,
        })
    }
}

from_text! {
    CallMethod: |text| match text {
        "POST" => Some(Self::Post),
        "PUT" => Some(Self::Put),
        "GET" => Some(Self::Get),
        _ => None,
    };
}

/// Which day a refresh rebuilds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskDay {
    /// `$day`: the day of the start of the run's period.
    OfRun,
    /// Always this one.
    Fixed(Day),
}

impl FromValue for TaskDay {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Text(text) if text == "$day" => Some(Self::OfRun),
            Value::Text(text) | Value::Time(text) => Day::parse(text).map(Self::Fixed),
            _ => None,
        }
    }
}

pub(crate) fn lower(name: &Spanned<String>, entry: Entry<'_>) -> Option<Job> {
    let members = entry.child("tasks").members();
    let count = members.len();
    let tasks: Vec<Task> =
        members.into_iter().filter_map(|(name, task)| lower_task(name, task)).collect();
    let job = Job {
        name: name.clone(),
        schedule: entry.spanned("schedule"),
        timezone: entry.spanned("timezone"),
        start: entry.get("start"),
        catch_up: entry.value("catch_up"),
        wait_for: entry.list("wait_for"),
        max_active: entry.value("max_active"),
        concurrency_group: entry.get("concurrency_group"),
        tasks,
    };
    if count == 0
        && let Some(tasks) = entry.child("tasks").written()
    {
        let message = format!("`job.{name}` has no task");
        let problem = codes::problem(codes::MISSING_KEY, message, tasks.place());
        entry.report(problem.label("such as `refresh_day = { refresh = \"hourly_batch\" }`"));
    }
    let is_whole = count > 0 && job.tasks.len() == count;
    (is_whole && has_order(&job, entry)).then_some(job)
}

fn lower_task(name: &Spanned<String>, entry: Entry<'_>) -> Option<Task> {
    let day = entry.value("day");
    let refresh = entry.spanned("refresh").map(|table| TaskAction::Refresh { table, day });
    let compact = entry.spanned("compact").map(|table| TaskAction::Compact { table });
    let train = entry.spanned("train").map(|model| TaskAction::Train { model });
    let evaluate = entry.spanned("evaluate").map(|model| TaskAction::Evaluate { model });
    let export = entry.child("export").written().map(lower_export);
    let shell = entry.child("shell").written().map(|shell| {
        let command: Vec<String> = entry.list("shell").into_iter().map(|it| it.value).collect();
        (!command.is_empty()).then(|| TaskAction::Shell { command, place: shell.place() })
    });
    let call = entry.child("http").written().map(lower_call);
    let outside = export.or(shell).or(call);
    let task = Task {
        name: name.clone(),
        action: refresh.or(compact).or(train).or(evaluate).or(outside.flatten())?,
        after: entry.list("after"),
        retries: entry.value("retries"),
        backoff: entry.value("backoff"),
        timeout: entry.value("timeout"),
    };
    Some(task)
}

fn lower_export(entry: Entry<'_>) -> Option<TaskAction> {
    let (sql, path): (_, Option<Spanned<String>>) = (entry.sql("sql"), entry.spanned("path"));
    let (sql, path) = (sql?, path?);
    let Some(format) = ExportFormat::of(&path) else {
        let message = format!("`{path}` does not say which format it has");
        let problem = codes::problem(codes::DOES_NOT_FIT, message, path.place);
        entry.report(problem.hint("Let it end in `.csv`, `.json`, `.parquet` or `.avro`."));
        return None;
    };
    Some(TaskAction::Export { sql, path, format })
}

fn lower_call(entry: Entry<'_>) -> Option<TaskAction> {
    let headers = entry.child("headers").members().into_iter();
    let headers = headers.filter_map(|(name, it)| Some((name.value.clone(), it.read_secret()?)));
    let headers = headers.collect();
    Some(TaskAction::Call { url: entry.secret("url")?, method: entry.value("method"), headers })
}

/// Whether the tasks can be put in an order; reports why not.
fn has_order(job: &Job, entry: Entry<'_>) -> bool {
    let names: Vec<&str> = job.tasks.iter().map(|task| task.name.as_str()).collect();
    let mut is_known = true;
    for after in job.tasks.iter().flat_map(|task| &task.after) {
        if names.contains(&after.as_str()) {
            continue;
        }
        is_known = false;
        let message = format!("no task of `job.{}` is named `{after}`", job.name);
        let problem = codes::problem(codes::NO_SUCH_NAME, message, after.place.clone());
        entry.report(match nearest(after, names.iter().copied()) {
            Some(near) => problem.label(format!("did you mean `{near}`?")),
            None => problem.hint(format!("Its tasks are: {}.", names.join(", "))),
        });
    }
    let depends_on: BTreeMap<String, BTreeSet<String>> = job
        .tasks
        .iter()
        .map(|task| {
            let after = task.after.iter().map(|after| after.value.clone());
            (task.name.value.clone(), after.collect())
        })
        .collect();
    let Some(cycle) = cycle(&depends_on) else { return is_known };
    let message = format!("tasks wait for each other: {}", cycle.join(" after "));
    let first = job.tasks.iter().find(|task| task.name.value == cycle[0]);
    if let Some(first) = first {
        entry.report(codes::problem(codes::CYCLE, message, first.name.place.clone()));
    }
    false
}
