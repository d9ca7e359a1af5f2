//! `GET /runs/{run}/logs`, `GET /runs/{run}/tasks/{task}/logs`: what tasks have said. The lists of runs and tasks are system
//! tables (`query`), what can be done with a run is in `actions`.

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use serde::Serialize;
use thalweg_core::control::AttemptLog;
use utoipa::{IntoParams, ToSchema};

use super::input::{Problems, pairs};
use crate::app::App;
use crate::problem::Problem;

/// What one attempt of a task has said.
#[derive(Serialize, ToSchema)]
pub(crate) struct TaskLog {
    /// Id of the run.
    run: String,
    /// Name of the task.
    task: String,
    /// Number of the attempt, from 1; 0 while there was none.
    attempt: u32,
    /// Whether there will be no more lines.
    complete: bool,
    /// The lines, oldest first.
    lines: Vec<TaskLogLine>,
}

/// What the tasks of a run have said.
#[derive(Serialize, ToSchema)]
pub(crate) struct RunLog {
    /// Id of the run.
    run: String,
    /// Of each task its newest attempt, in the order of the file.
    tasks: Vec<TaskLog>,
}

/// A line of a task's log.
#[derive(Serialize, ToSchema)]
pub(crate) struct TaskLogLine {
    /// When it was written, RFC 3339 in UTC.
    at: String,
    /// What it says.
    text: String,
}

/// Which attempt.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the document: the pairs are read one by one")]
pub(crate) struct AttemptParams {
    /// Number of the attempt; the newest, when absent.
    attempt: Option<u32>,
}

/// What a task of a run has said; of one that runs, so far.
#[utoipa::path(
    get,
    path = "/runs/{run}/tasks/{task}/logs",
    tag = "reading",
    params(
        ("run" = String, Path, description = "id of a run"),
        ("task" = String, Path, description = "a task of it"),
        AttemptParams,
    ),
    responses((status = 200, description = "the log", body = TaskLog), Problems)
)]
pub(crate) async fn task_log(
    State(app): State<App>,
    Path((run, task)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Json<TaskLog>, Problem> {
    let mut attempt = None;
    for (name, value) in pairs(query.as_deref()) {
        if name != "attempt" {
            return Err(Problem::invalid(format!("a log has no `{name}`"))
                .with_hint("`attempt` says which one."));
        }
        attempt = Some(value.parse().map_err(|_| {
            Problem::invalid(format!("`attempt` is `{value}`, not the number of an attempt"))
        })?);
    }
    let log = app.parts.control.task_log(&run, &task, attempt).await?;
    Ok(Json(TaskLog::new(&run, task, log)))
}

/// What the tasks of a run have said, each in its newest attempt; of those that run, so far.
#[utoipa::path(
    get,
    path = "/runs/{run}/logs",
    tag = "reading",
    params(("run" = String, Path, description = "id of a run")),
    responses((status = 200, description = "the logs", body = RunLog), Problems)
)]
pub(crate) async fn run_log(
    State(app): State<App>,
    Path(run): Path<String>,
) -> Result<Json<RunLog>, Problem> {
    let logs = app.parts.control.run_log(&run).await?.into_iter();
    let tasks = logs.map(|(task, log)| TaskLog::new(&run, task, log)).collect();
    Ok(Json(RunLog { run, tasks }))
}

impl TaskLog {
    fn new(run: &str, task: String, log: AttemptLog) -> Self {
        let lines = log.lines.into_iter();
        Self {
            run: run.to_owned(),
            task,
            attempt: log.attempt,
            complete: log.is_complete,
            lines: lines.map(|(at, text)| TaskLogLine { at: at.to_string(), text }).collect(),
        }
    }
}
