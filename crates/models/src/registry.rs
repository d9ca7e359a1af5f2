//! The registry: versions, evaluations and decisions as rows of the store, artifacts as files.
//!
//! | kind | id | holds |
//! |---|---|---|
//! | `model_version` | `model/version` | [`VersionRow`] |
//! | `model_training` | `model` | [`TrainingRow`]: what the last training found |
//! | `model_evaluation` | `model/through/run/version` | [`EvaluationRow`] |
//! | `model_champion` | `model` | who serves, and the newest decision; changed by compare-and-swap |
//! | `model_decision` | `model/at/run` | [`DecisionRow`] |
//!
//! Invariants: a row names only an artifact that is durable, under the SHA-256 of its bytes. A run
//! makes one version a candidate and one decision, however often it is tried (S22). The champion's
//! row is the truth and holds its decision; the history is written after it, and whoever comes next
//! writes what a crash left out.

mod alias;
mod evaluate;
mod rows;
pub mod train;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thalweg_core::env::Disk;
use thalweg_core::store::Store;
use thalweg_core::{Error, Result};

pub use evaluate::{EvaluateReport, EvaluateRequest};
pub use rows::{DecisionRow, EvaluationRow, ModelRow, TrainingRow, VersionRow};
pub use train::{TrainReport, TrainRequest};

use crate::artifact::Artifact;
use crate::predict::{Served, Version};
use crate::spec::{Candidate, ModelSpec, TargetKind};

const VERSION: &str = "model_version";
const TRAINING: &str = "model_training";
const EVALUATION: &str = "model_evaluation";
const CHAMPION: &str = "model_champion";
const DECISION: &str = "model_decision";

/// Most versions of a model that are looked through; a version a week and candidate is 50 years.
const VERSIONS_MAX: usize = 10_000;

/// Versions of models, who serves, and why.
#[derive(Clone)]
pub struct Registry {
    store: Arc<dyn Store>,
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    // Counts changes of versions and champions: the one process of a data folder makes them all.
    changes: Arc<AtomicU64>,
}

/// Which versions answer: enough to load them again, as an epoch's record must (S8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serving {
    /// The champion; `None`: there is none.
    pub champion: Option<u64>,
    /// What answers without one; `None`: nothing was trained yet.
    pub strong_naive: Option<u64>,
}

impl Registry {
    /// Opens the registry whose artifacts are in `folder`, which is made.
    ///
    /// # Errors
    ///
    /// `Unavailable`: the folder cannot be made.
    pub fn open(store: Arc<dyn Store>, disk: Arc<dyn Disk>, folder: PathBuf) -> Result<Self> {
        disk.create_dir_all(&folder).map_err(|error| {
            Error::unavailable(format!("cannot make the folder {}", folder.display()))
                .with_source(error)
        })?;
        Ok(Self { store, disk, folder, changes: Arc::default() })
    }

    /// Counts up whenever who serves may have changed. Clones count together.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Which versions answer for a model now.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn serving(&self, spec: &ModelSpec) -> Result<Serving> {
        let versions = self.versions(Some(&spec.name), VERSIONS_MAX).await?;
        let fits = |row: &&VersionRow| row.fits(spec);
        let champion = self.alias(&spec.name).await?.1.champion;
        let champion = champion
            .filter(|champion| versions.iter().filter(fits).any(|row| row.version == *champion));
        let strong_naive =
            versions.iter().filter(fits).find(|row| row.candidate == Candidate::StrongNaive);
        Ok(Serving { champion, strong_naive: strong_naive.map(|row| row.version) })
    }

    /// Loads versions, ready to answer. Those that were made for another target or horizon than
    /// the model has now are left out.
    ///
    /// # Errors
    ///
    /// `Data`: a version or its artifact is missing, or changed. Else those of the store and the
    /// disk.
    pub async fn load(&self, spec: &ModelSpec, serving: Serving) -> Result<Arc<Served>> {
        let champion = match serving.champion {
            Some(version) => self.load_fitting(spec, version).await?,
            None => None,
        };
        let strong_naive = match serving.strong_naive {
            Some(version) => self.load_fitting(spec, version).await?,
            None => None,
        };
        let strong_naive = match strong_naive {
            Some(version) => version,
            None => {
                let named = spec.kind.or_else(|| TargetKind::from_name(&spec.target));
                let kind = named.unwrap_or(TargetKind::Level);
                Arc::new(Version::untrained(Candidate::StrongNaive, kind, &spec.target))
            }
        };
        Ok(Arc::new(Served { champion, strong_naive, horizon: spec.horizon }))
    }

    /// Versions of one model or of all, the newest of each model first, at most `limit`.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn versions(&self, model: Option<&str>, limit: usize) -> Result<Vec<VersionRow>> {
        self.rows(VERSION, model, limit).await
    }

    /// Evaluations of one model or of all, the newest of each model first, at most `limit`.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn evaluations(
        &self,
        model: Option<&str>,
        limit: usize,
    ) -> Result<Vec<EvaluationRow>> {
        self.rows(EVALUATION, model, limit).await
    }

    /// Decisions on one model or on all, the newest of each model first, at most `limit`.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn decisions(&self, model: Option<&str>, limit: usize) -> Result<Vec<DecisionRow>> {
        self.rows(DECISION, model, limit).await
    }

    /// How each of `specs` stands.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn models(&self, specs: &[ModelSpec]) -> Result<Vec<ModelRow>> {
        let mut models = Vec::new();
        for spec in specs {
            let serving = self.serving(spec).await?;
            let versions = self.versions(Some(&spec.name), VERSIONS_MAX).await?;
            let candidate = |number: u64| {
                let row = versions.iter().find(|row| row.version == number);
                row.map_or(Candidate::StrongNaive, |row| row.candidate)
            };
            let training = self.store.get(TRAINING, &spec.name).await?;
            let training: Option<TrainingRow> =
                training.map(|row| parse(TRAINING, &row.id, row.value)).transpose()?;
            models.push(ModelRow {
                model: spec.name.clone(),
                target: spec.target.clone(),
                horizon_micros: thalweg_core::time::micros(spec.horizon),
                champion: serving.champion,
                champion_candidate: serving.champion.map(candidate),
                serving: match (serving.champion, serving.strong_naive) {
                    (Some(version), _) | (None, Some(version)) => {
                        format!("{}/{version}", candidate(version))
                    }
                    (None, None) => Candidate::StrongNaive.name().to_owned(),
                },
                versions: versions.len(),
                rows_min: spec.train_rows_min,
                training,
            });
        }
        Ok(models)
    }

    async fn rows<T: DeserializeOwned>(
        &self,
        kind: &str,
        model: Option<&str>,
        limit: usize,
    ) -> Result<Vec<T>> {
        let prefix = model.map_or_else(String::new, |model| format!("{model}/"));
        let rows = self.store.list(kind, &prefix, true, limit).await?;
        rows.into_iter().map(|row| parse(kind, &row.id, row.value)).collect()
    }

    async fn version(&self, model: &str, version: u64) -> Result<Option<VersionRow>> {
        let row = self.store.get(VERSION, &version_id(model, version)).await?;
        row.map(|row| parse(VERSION, &row.id, row.value)).transpose()
    }

    async fn load_fitting(&self, spec: &ModelSpec, version: u64) -> Result<Option<Arc<Version>>> {
        let row = self.version_row(&spec.name, version).await?;
        if row.fits(spec) { self.load_row(row).await.map(Some) } else { Ok(None) }
    }

    async fn load_version(&self, model: &str, version: u64) -> Result<Arc<Version>> {
        self.load_row(self.version_row(model, version).await?).await
    }

    async fn version_row(&self, model: &str, version: u64) -> Result<VersionRow> {
        let row = self.version(model, version).await?;
        row.ok_or_else(|| Error::data(format!("model `{model}` has no version {version}")))
    }

    async fn load_row(&self, row: VersionRow) -> Result<Arc<Version>> {
        let (model, version) = (&row.model, row.version);
        let path = self.folder.join(&row.artifact);
        let disk = self.disk.clone();
        let bytes = blocking(move || {
            disk.read(&path).map_err(|error| unreadable(&path.display().to_string(), error))
        })
        .await??;
        if sha256(&bytes) != row.artifact_sha256 {
            return Err(Error::data(format!("the artifact of {model}/{version} has changed"))
                .with_detail(format!("{} has not the bytes that were trained.", row.artifact))
                .with_hint("Restore the file from a back-up, or train again."));
        }
        Ok(Arc::new(Version::load(Artifact::read(&bytes)?, version)?))
    }
}

fn unreadable(path: &str, error: io::Error) -> Error {
    let error_of = |message: String| match error.kind() {
        io::ErrorKind::NotFound => Error::data(message),
        _ => Error::unavailable(message),
    };
    error_of(format!("cannot read the artifact {path}")).with_source(error)
}

pub(crate) fn parse<T: DeserializeOwned>(
    kind: &str,
    id: &str,
    value: serde_json::Value,
) -> Result<T> {
    serde_json::from_value(value).map_err(|error| {
        Error::data(format!("the stored row {kind} {id} does not parse")).with_source(error)
    })
}

pub(crate) fn to_json(row: &impl Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(row)
        .map_err(|error| Error::internal("a row does not write").with_source(error))
}

fn version_id(model: &str, version: u64) -> String {
    format!("{model}/{version:010}")
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs what computes or reads files where it may take its time.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal("a computation of a model died").with_source(error))
}
