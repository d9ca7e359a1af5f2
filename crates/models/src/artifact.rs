//! What a version is made of: one model for each series, and the errors it made on rows it had not
//! learnt from.
//!
//! The bytes are the magic `thlwmodl`, the version, and the JSON of [`Artifact`]; the registry
//! keeps their SHA-256, so a changed file is refused before it is parsed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thalweg_core::model::Model;
use thalweg_core::time::micros;
use thalweg_core::{Error, Result};

use crate::candidates;
use crate::format::Format;
use crate::spec::{Candidate, TargetKind};

const FORMAT: Format = Format { magic: *b"thlwmodl", version: 1, name: "a model artifact" };

/// A version, as stored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// How it was learnt.
    pub candidate: Candidate,
    /// The column it forecasts.
    pub target: String,
    /// What the target measures.
    pub kind: TargetKind,
    horizon_micros: i64,
    /// The project's features it was shown, in order.
    pub features: Vec<String>,
    /// What was learnt of each series, by key.
    pub series: BTreeMap<String, Learned>,
}

/// What was learnt of one series.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Learned {
    model: Box<RawValue>,
    /// Absolute errors on the rows held out, oldest first: where intervals start.
    pub errors: Vec<f64>,
}

impl Learned {
    /// Keeps a model and its errors.
    ///
    /// # Errors
    ///
    /// `Internal`: the model does not write itself as JSON.
    pub fn new(model: &dyn Model, errors: Vec<f64>) -> Result<Self> {
        let bytes = model.export()?;
        let model = serde_json::from_slice(&bytes)
            .map_err(|error| Error::internal("a model is not JSON").with_source(error))?;
        Ok(Self { model, errors })
    }

    /// The model.
    ///
    /// # Errors
    ///
    /// `Data`: it does not parse.
    pub fn model(&self) -> Result<Box<dyn Model>> {
        candidates::import(self.model.get().as_bytes())
    }
}

impl Artifact {
    /// An artifact that knows no series yet.
    pub fn new(
        candidate: Candidate,
        target: &str,
        kind: TargetKind,
        horizon: Duration,
        features: Vec<String>,
    ) -> Self {
        Self {
            candidate,
            target: target.to_owned(),
            kind,
            horizon_micros: micros(horizon),
            features,
            series: BTreeMap::new(),
        }
    }

    /// How far ahead it forecasts.
    pub fn horizon(&self) -> Duration {
        Duration::from_micros(self.horizon_micros.unsigned_abs())
    }

    /// Its bytes: the same artifact gives the same bytes.
    ///
    /// # Errors
    ///
    /// `Internal`: it holds what JSON cannot.
    pub fn write(&self) -> Result<Vec<u8>> {
        FORMAT.write(self)
    }

    /// Reads an artifact.
    ///
    /// # Errors
    ///
    /// `Data`: other bytes, an unknown version, or a model that does not parse.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let artifact: Self = FORMAT.read(bytes)?;
        for learned in artifact.series.values() {
            learned.model()?;
        }
        Ok(artifact)
    }
}
