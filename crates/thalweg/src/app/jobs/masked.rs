//! A task that says nothing secret: what it logs, returns or fails with goes through a mask (S28).
//!
//! Secret is what the project reads from the environment, and all of `.env`. A program that is told a
//! secret by others, and prints it, is not helped.

use std::sync::Arc;

use async_trait::async_trait;
use thalweg_connect::sources::Secrets;
use thalweg_core::task::{Task, TaskContext, TaskLog};
use thalweg_core::{Error, Result};

/// A task behind the mask.
pub(super) struct Masked {
    pub(super) task: Arc<dyn Task>,
    pub(super) secrets: Arc<Secrets>,
}

struct MaskedLog {
    log: Arc<dyn TaskLog>,
    secrets: Arc<Secrets>,
}

impl TaskLog for MaskedLog {
    fn line(&self, text: &str) {
        self.log.line(&self.secrets.mask(text));
    }
}

#[async_trait]
impl Task for Masked {
    async fn run(&self, context: &TaskContext) -> Result<String> {
        let (log, secrets) = (Arc::clone(&context.log), Arc::clone(&self.secrets));
        let context = TaskContext { log: Arc::new(MaskedLog { log, secrets }), ..context.clone() };
        match self.task.run(&context).await {
            Ok(note) => Ok(self.secrets.mask(&note)),
            Err(error) => {
                let (told, masked) = (error.chain(), self.secrets.mask(&error.chain()));
                Err(if told == masked { error } else { Error::new(error.kind, masked) })
            }
        }
    }
}
