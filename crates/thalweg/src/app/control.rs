//! Actions, carried out.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use thalweg_core::control::{Action, AttemptLog, Control, Pushed, TaskOutcome};
use thalweg_core::log::tail::{Tail, TailRequest, tail};
use thalweg_core::table::Table as _;
use thalweg_core::{Error, Result};
use thalweg_jobs::State;
use thalweg_jobs::status::TaskLogView;
use thalweg_lake::LakeTable;
use thalweg_stream::pipeline::{Pipeline, SinkChange};

use super::App;
use super::pauses::Held;

/// Carries out what a person asks of the running server.
pub(super) struct Controls {
    pub(super) app: Arc<App>,
}

#[async_trait]
impl Control for Controls {
    async fn act(&self, action: Action) -> Result<Value> {
        let scheduler = &self.app.scheduler;
        match action {
            Action::RunJob { job, day } => {
                let run = scheduler.trigger(&job, day).await?;
                Ok(json!({ "run": run }))
            }
            Action::Backfill { job, first, last, preview } => {
                let days = scheduler.backfill(&job, first, last, preview).await?;
                Ok(json!({ "days": days, "preview": preview }))
            }
            Action::CancelRun { run } => {
                scheduler.cancel(&run).await?;
                Ok(json!({ "run": run }))
            }
            Action::RetryRun { run, from } => {
                scheduler.retry(&run, from.as_deref()).await?;
                Ok(json!({ "run": run, "from": from }))
            }
            Action::MarkTask { run, task, outcome } => {
                let state = match outcome {
                    TaskOutcome::Succeeded => State::Succeeded,
                    TaskOutcome::Failed => State::Failed,
                    TaskOutcome::Skipped => State::Skipped,
                };
                scheduler.mark(&run, &task, state).await?;
                Ok(json!({ "run": run, "task": task, "state": state.word() }))
            }
            Action::PauseJob { job } => {
                scheduler.pause(&job).await?;
                Ok(json!({ "job": job, "state": "paused" }))
            }
            Action::ResumeJob { job } => {
                scheduler.resume(&job).await?;
                Ok(json!({ "job": job, "state": "running" }))
            }
            Action::PauseSource { source } => {
                self.app.pause(Held::source(&self.app, &source)?, "admin").await?;
                Ok(json!({ "source": source, "state": "paused" }))
            }
            Action::ResumeSource { source } => {
                self.app.resume(Held::source(&self.app, &source)?).await?;
                Ok(json!({ "source": source, "state": "running" }))
            }
            Action::PauseStream { stream } => {
                self.app.pause(Held::stream(&self.app, &stream)?, "admin").await?;
                Ok(json!({ "stream": stream, "state": "paused" }))
            }
            Action::ResumeStream { stream } => {
                self.app.resume(Held::stream(&self.app, &stream)?).await?;
                Ok(json!({ "stream": stream, "state": "running" }))
            }
            Action::CompactTable { table } => {
                let (before, after) = self.table(&table)?.compact().await?;
                Ok(json!({ "table": table, "files_before": before, "files_after": after }))
            }
            Action::VacuumTable { table, keep_days } => {
                let keep = Duration::from_secs(u64::from(keep_days) * 86_400);
                let removed = self.table(&table)?.vacuum(keep).await?;
                Ok(json!({ "table": table, "files_removed": removed }))
            }
            Action::Shutdown => {
                self.app.env.shutdown.cancel();
                Ok(json!({ "state": "stopping" }))
            }
            Action::TrainModel { model } => {
                let run = scheduler.trigger(&format!("model.{model}.train"), None).await?;
                Ok(json!({ "run": run }))
            }
            Action::EvaluateModel { model } => {
                let run = scheduler.trigger(&format!("model.{model}.evaluate"), None).await?;
                Ok(json!({ "run": run }))
            }
            Action::PromoteModel { model, version } => {
                let (registry, now) = (self.app.registry(), self.app.env.clock.now());
                let reason = "asked for by hand";
                registry.promote(&model, version, "admin", now, reason).await?;
                Ok(json!({ "model": model, "champion": version }))
            }
            Action::RollbackModel { model } => {
                let (registry, now) = (self.app.registry(), self.app.env.clock.now());
                let decision = registry.rollback(&model, "admin", now, "asked for by hand").await?;
                Ok(json!({ "model": model, "champion": decision.after }))
            }
            Action::AdoptSink { sink } => {
                let epoch = self.fed(&sink)?.change_sink(&sink, SinkChange::Adopt).await?;
                Ok(json!({ "sink": sink, "state": "adopted", "epoch": epoch }))
            }
            Action::ResetSink { sink } => {
                self.fed(&sink)?.change_sink(&sink, SinkChange::Reset).await?;
                Ok(json!({ "sink": sink, "state": "reset", "epoch": 0 }))
            }
        }
    }

    async fn task_log(&self, run: &str, task: &str, attempt: Option<u32>) -> Result<AttemptLog> {
        Ok(attempt_log(self.app.scheduler.log(run, task, attempt).await?))
    }

    async fn run_log(&self, run: &str) -> Result<Vec<(String, AttemptLog)>> {
        let logs = self.app.scheduler.logs(run).await?.into_iter();
        Ok(logs.map(|log| (log.task.clone(), attempt_log(log))).collect())
    }

    async fn push(&self, source: &str, body: Bytes) -> Result<Pushed> {
        let door =
            self.app.doors.get(source).ok_or_else(|| match self.app.project.source(source) {
                Some(_) => Error::invalid(format!("nothing can be posted to source `{source}`"))
                    .with_hint("Its connector is another than `push = true`."),
                None => Error::invalid(format!("no source `{source}`")),
            })?;
        let offsets = door.accept(&body).await?;
        let records = offsets.map_or(0, |span| span.last - span.first + 1);
        Ok(Pushed { records: u64::try_from(records).unwrap_or(0), offsets })
    }

    async fn topic_records(&self, request: TailRequest) -> Result<Tail> {
        tail(self.app.log.as_ref(), &request).await
    }
}

fn attempt_log(log: TaskLogView) -> AttemptLog {
    AttemptLog {
        attempt: log.attempt,
        is_complete: log.complete,
        lines: log.lines.into_iter().map(|line| (line.at, line.text)).collect(),
    }
}

impl Controls {
    fn table(&self, name: &str) -> Result<&LakeTable> {
        let table = self.app.tables.get(name).map(AsRef::as_ref);
        table.ok_or_else(|| Error::invalid(format!("no table `{name}`")))
    }

    /// The pipeline that writes to a sink or table.
    fn fed(&self, sink: &str) -> Result<&Pipeline> {
        let feeds = |pipeline: &&Arc<Pipeline>| {
            pipeline.deliveries().iter().any(|delivery| delivery.name == sink)
        };
        let pipeline = self.app.pipelines.iter().find(feeds).map(AsRef::as_ref);
        pipeline.ok_or_else(|| {
            Error::invalid(format!("no stream or source writes to a sink `{sink}`"))
                .with_hint("`thalweg sinks list` shows what is written to.")
        })
    }
}
