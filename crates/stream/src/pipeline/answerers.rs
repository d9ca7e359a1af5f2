//! Who answers for the models of a pipeline, epoch by epoch.
//!
//! Asked once at the start of a new epoch and written into its record; an epoch that is run again
//! has those it names (S8). Only a change loads anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use thalweg_core::model::{Forecasts, Serving};
use thalweg_core::{Error, Result};

use crate::operators::{Answering, Answers};

/// Models of a project, by name.
pub type Models = Arc<BTreeMap<String, Arc<dyn Forecasts>>>;

/// The models of one program, and who answers in the epoch that runs.
#[derive(Default)]
pub(super) struct Answerers {
    models: BTreeMap<String, Arc<dyn Forecasts>>,
    answers: Answers,
}

impl Answerers {
    /// Nobody answers yet for the models of `names`.
    pub(super) fn new(names: &[String], known: &Models) -> Result<Self> {
        let mut models = BTreeMap::new();
        for name in names {
            let model = known.get(name).cloned();
            let model = model.ok_or_else(|| Error::internal(format!("no model `{name}`")))?;
            models.insert(name.clone(), model);
        }
        Ok(Self { models, answers: Answers::new() })
    }

    /// Who is to answer in an epoch that begins now.
    pub(super) async fn serving(&self) -> Result<BTreeMap<String, Serving>> {
        let mut serving = BTreeMap::new();
        for (name, model) in &self.models {
            serving.insert(name.clone(), model.serving().await?);
        }
        Ok(serving)
    }

    /// Who answers now, for the checkpoint.
    pub(super) fn answering(&self) -> BTreeMap<String, Serving> {
        let answers = self.answers.iter();
        answers.map(|(name, answering)| (name.clone(), answering.serving.clone())).collect()
    }

    /// Lets those answer that a record names. A record from before the query used a model names
    /// nobody for it: then it is who serves now.
    pub(super) async fn begin(&mut self, recorded: &BTreeMap<String, Serving>) -> Result<&Answers> {
        for (name, model) in &self.models {
            let known = self.answers.get(name);
            let serving = match (recorded.get(name), known) {
                (Some(recorded), _) => recorded.clone(),
                (None, Some(_)) => continue,
                (None, None) => model.serving().await?,
            };
            if known.is_none_or(|known| known.serving != serving) {
                let served = model.load(&serving).await?;
                self.answers.insert(name.clone(), Answering { serving, served });
            }
        }
        Ok(&self.answers)
    }
}
