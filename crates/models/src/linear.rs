//! The simplest form of what candidates learn: a line.
//!
//! `prediction = base + intercept + Σ weight · (feature − mean) / scale`. The last value is a base
//! and nothing else; zero is an intercept of zero; HAR and ridge have weights. Its bytes are JSON
//! with `"form": "linear"`; whole versions of a model are an [`crate::artifact`].

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thalweg_core::model::Model;
use thalweg_core::{Error, Result};

use crate::least_squares::Weight;

/// A linear forecast of a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    form: Form,
    features: Vec<String>,
    /// The feature that the rest is added to.
    base: Option<usize>,
    intercept: f64,
    terms: Vec<Term>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Form {
    Linear,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Term {
    feature: usize,
    mean: f64,
    scale: f64,
    weight: f64,
}

impl Linear {
    /// The same number for every row.
    pub fn constant(value: f64) -> Self {
        Self {
            form: Form::Linear,
            features: Vec::new(),
            base: None,
            intercept: value,
            terms: Vec::new(),
        }
    }

    /// The value of one feature.
    pub fn feature(name: &str) -> Self {
        Self { features: vec![name.to_owned()], base: Some(0), ..Self::constant(0.0) }
    }

    /// A regression: `names` are those of a whole row, `base` and the weights point into it.
    pub fn fitted(
        names: &[String],
        base: Option<usize>,
        intercept: f64,
        weights: &[Weight],
    ) -> Self {
        let mut features: Vec<String> = Vec::new();
        let mut place = |column: usize| {
            let name = &names[column];
            features.iter().position(|feature| feature == name).unwrap_or_else(|| {
                features.push(name.clone());
                features.len() - 1
            })
        };
        let base = base.map(&mut place);
        let terms = weights
            .iter()
            .map(|weight| Term {
                feature: place(weight.column),
                mean: weight.mean,
                scale: weight.scale,
                weight: weight.weight,
            })
            .collect();
        Self { form: Form::Linear, features, base, intercept, terms }
    }

    /// Reads what [`Model::export`] wrote.
    ///
    /// # Errors
    ///
    /// `Data`: these bytes are not a line, or it points at features it does not have.
    pub fn import(bytes: &[u8]) -> Result<Self> {
        let linear: Self = serde_json::from_slice(bytes)
            .map_err(|error| Error::data("a linear model does not parse").with_source(error))?;
        linear.check()?;
        Ok(linear)
    }

    /// Refuses a line that points at features it does not have.
    pub(crate) fn check(&self) -> Result<()> {
        let used = self.base.iter().chain(self.terms.iter().map(|term| &term.feature));
        if used.max().is_some_and(|&last| last >= self.features.len()) {
            return Err(Error::data("a linear model names a feature it does not have"));
        }
        Ok(())
    }

    /// What it says of one row of its features.
    pub(crate) fn predict_row(&self, row: &[f64]) -> f64 {
        let base = self.base.map_or(0.0, |base| row[base]);
        let add = |sum: f64, term: &Term| {
            sum + term.weight * ((row[term.feature] - term.mean) / term.scale)
        };
        base + self.terms.iter().fold(self.intercept, add)
    }
}

impl Model for Linear {
    fn features(&self) -> &[String] {
        &self.features
    }

    fn predict(&self, rows: &[f64]) -> Vec<f64> {
        if self.features.is_empty() {
            // Rows without values cannot be counted; there is one answer.
            return vec![self.intercept];
        }
        rows.chunks_exact(self.features.len()).map(|row| self.predict_row(row)).collect()
    }

    fn export(&self) -> Result<Bytes> {
        serde_json::to_vec(self)
            .map(Bytes::from)
            .map_err(|error| Error::internal("a linear model does not write").with_source(error))
    }
}
