//! Actions: each `POST` becomes one [`Action`], and its answer is what there is to say.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;
use thalweg_core::Error;
use thalweg_core::control::{Action, TaskOutcome};
use thalweg_core::time::Day;
use utoipa::ToSchema;

use super::input::{Body, Problems, Segment};
use crate::app::App;
use crate::problem::Problem;

type Answer = Result<Json<Value>, Problem>;

/// Acts in a task of its own: what was begun is done, even when nobody waits for the answer.
async fn act(app: App, action: Action) -> Answer {
    let control = Arc::clone(&app.parts.control);
    let acting = app.parts.env.spawn(async move { control.act(action).await });
    match acting.await {
        Ok(done) => Ok(Json(done?)),
        Err(error) => Err(Error::internal("the action broke down").with_source(error).into()),
    }
}

fn day(text: &str) -> Result<Day, Problem> {
    Day::parse(text).ok_or_else(|| {
        Problem::invalid(format!("`{text}` is not a day"))
            .with_hint("A day is written as `2026-01-05`.")
    })
}

/// Which period a run covers.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunRequest {
    /// The day, such as `2026-01-05`; the period that just ended, when absent.
    day: Option<String>,
}

/// Which days a back-fill covers.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackfillRequest {
    /// The first day, such as `2026-01-01`.
    first: String,
    /// The last day.
    last: String,
    /// Only say which days would run.
    #[serde(default)]
    preview: bool,
}

/// Which version becomes champion.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PromoteRequest {
    /// Its number.
    version: u64,
}

/// Starts a run of a job.
#[utoipa::path(
    post,
    path = "/jobs/{job}/runs",
    tag = "actions",
    params(("job" = String, Path, description = "a job")),
    request_body = RunRequest,
    responses((status = 200, description = "what was started", body = Value), Problems)
)]
pub(crate) async fn run_job(
    State(app): State<App>,
    Segment(job): Segment,
    Body(request): Body<RunRequest>,
) -> Answer {
    let day = request.day.as_deref().map(day).transpose()?;
    act(app, Action::RunJob { job, day }).await
}

/// Lists the days a back-fill would run, or starts it.
#[utoipa::path(
    post,
    path = "/jobs/{job}/backfills",
    tag = "actions",
    params(("job" = String, Path, description = "a job")),
    request_body = BackfillRequest,
    responses((status = 200, description = "the days", body = Value), Problems)
)]
pub(crate) async fn backfill(
    State(app): State<App>,
    Segment(job): Segment,
    Body(request): Body<BackfillRequest>,
) -> Answer {
    let BackfillRequest { first, last, preview } = request;
    let (first, last) = (day(&first)?, day(&last)?);
    if first > last {
        return Err(Problem::invalid(format!("{first} is later than {last}")));
    }
    act(app, Action::Backfill { job, first, last, preview }).await
}

/// Makes a version of a model champion by hand.
#[utoipa::path(
    post,
    path = "/models/{model}/promote",
    tag = "actions",
    params(("model" = String, Path, description = "a model")),
    request_body = PromoteRequest,
    responses((status = 200, description = "what was done", body = Value), Problems)
)]
pub(crate) async fn promote_model(
    State(app): State<App>,
    Segment(model): Segment,
    Body(request): Body<PromoteRequest>,
) -> Answer {
    act(app, Action::PromoteModel { model, version: request.version }).await
}

/// From where a run is run again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetryRequest {
    /// A task that is run again with all that comes after it, even if it succeeded.
    from: Option<String>,
}

/// Which task of a run ended, and how.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MarkRequest {
    /// The task.
    task: String,
    /// `succeeded`, `failed` or `skipped`.
    #[schema(value_type = String)]
    state: TaskOutcome,
}

/// Which versions of a table stay readable.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VacuumRequest {
    /// Those younger than so many days; 7 when absent.
    keep_days: Option<u32>,
}

/// Runs the failed and skipped tasks of a run again.
#[utoipa::path(
    post,
    path = "/runs/{run}/retry",
    tag = "actions",
    params(("run" = String, Path, description = "its name")),
    request_body = RetryRequest,
    responses((status = 200, description = "what was done", body = Value), Problems)
)]
pub(crate) async fn retry_run(
    State(app): State<App>,
    Segment(run): Segment,
    Body(request): Body<RetryRequest>,
) -> Answer {
    act(app, Action::RetryRun { run, from: request.from }).await
}

/// Says how a task of a run ended; what waited for it goes on accordingly.
#[utoipa::path(
    post,
    path = "/runs/{run}/mark",
    tag = "actions",
    params(("run" = String, Path, description = "its name")),
    request_body = MarkRequest,
    responses((status = 200, description = "what was done", body = Value), Problems)
)]
pub(crate) async fn mark_task(
    State(app): State<App>,
    Segment(run): Segment,
    Body(request): Body<MarkRequest>,
) -> Answer {
    act(app, Action::MarkTask { run, task: request.task, outcome: request.state }).await
}

/// Removes files of a table that no version of the last days needs.
#[utoipa::path(
    post,
    path = "/tables/{table}/vacuum",
    tag = "actions",
    params(("table" = String, Path, description = "its name")),
    request_body = VacuumRequest,
    responses((status = 200, description = "what was done", body = Value), Problems)
)]
pub(crate) async fn vacuum_table(
    State(app): State<App>,
    Segment(table): Segment,
    Body(request): Body<VacuumRequest>,
) -> Answer {
    let keep_days = request.keep_days.unwrap_or(7);
    act(app, Action::VacuumTable { table, keep_days }).await
}

/// Actions that need no more than a name.
macro_rules! actions_on_a_name {
    ($($(#[doc = $doc:literal])+ $handler:ident: $path:literal, $label:literal $name:ident, $action:ident;)+) => {$(
        $(#[doc = $doc])+
        #[utoipa::path(
            post,
            path = $path,
            tag = "actions",
            params(($label = String, Path, description = "its name")),
            responses((status = 200, description = "what was done", body = Value), Problems)
        )]
        pub(crate) async fn $handler(State(app): State<App>, Segment($name): Segment) -> Answer {
            act(app, Action::$action { $name }).await
        }
    )+};
}

actions_on_a_name! {
    /// Cancels a run.
    cancel_run: "/runs/{run}/cancel", "run" run, CancelRun;
    /// Trains every candidate of a model now.
    train_model: "/models/{model}/train", "model" model, TrainModel;
    /// Evaluates a model and applies the champion rule now.
    evaluate_model: "/models/{model}/evaluate", "model" model, EvaluateModel;
    /// Makes the champion before this one champion again.
    rollback_model: "/models/{model}/rollback", "model" model, RollbackModel;
    /// Stops reading a source until it is resumed.
    pause_source: "/sources/{source}/pause", "source" source, PauseSource;
    /// Reads a paused source again.
    resume_source: "/sources/{source}/resume", "source" source, ResumeSource;
    /// Holds the schedule of a job; what runs goes on.
    pause_job: "/jobs/{job}/pause", "job" job, PauseJob;
    /// Lets the schedule of a job go on.
    resume_job: "/jobs/{job}/resume", "job" job, ResumeJob;
    /// Stops a stream at the end of an epoch until it is resumed.
    pause_stream: "/streams/{stream}/pause", "stream" stream, PauseStream;
    /// Lets a paused stream go on.
    resume_stream: "/streams/{stream}/resume", "stream" stream, ResumeStream;
    /// Merges the small files of a table.
    compact_table: "/tables/{table}/compact", "table" table, CompactTable;
    /// Takes over a target that holds another incarnation's stamp, from where that stands.
    adopt_sink: "/sinks/{sink}/adopt", "sink" sink, AdoptSink;
    /// Forgets what a target holds and writes it anew from what is kept.
    reset_sink: "/sinks/{sink}/reset", "sink" sink, ResetSink;
}
