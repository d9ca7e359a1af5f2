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
            Action::TrainModel { .. }
            | Action::EvaluateModel { .. }
            | Action::PromoteModel { .. }
            | Action::RollbackModel { .. }
            | Action::AdoptSink { .. }
            | Action::ResetSink { .. } => Err(Error::invalid("this action is not built yet")),
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
