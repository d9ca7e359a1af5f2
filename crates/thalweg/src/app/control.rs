//! Actions, carried out.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use thalweg_core::control::{Action, Control};
use thalweg_core::{Error, Result};

use super::App;

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
            Action::RetryRun { run } => {
                scheduler.retry(&run, None).await?;
                Ok(json!({ "run": run }))
            }
            Action::PauseSource { source } => {
                self.feed(&source)?.pause();
                Ok(json!({ "source": source, "state": "paused" }))
            }
            Action::ResumeSource { source } => {
                self.feed(&source)?.resume();
                Ok(json!({ "source": source, "state": "running" }))
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
            Action::AdoptSink { sink } | Action::ResetSink { sink } => Err(Error::invalid(
                format!("sink `{sink}` cannot be changed while the server runs"),
            )
            .with_hint("Adopting and resetting sinks is not built yet.")),
        }
    }
}

impl Controls {
    fn feed(&self, source: &str) -> Result<&thalweg_connect::feed::FeedStatus> {
        self.app
            .feeds
            .get(source)
            .map(AsRef::as_ref)
            .ok_or_else(|| Error::invalid(format!("no live source `{source}`")))
    }
}
