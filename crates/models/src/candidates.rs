//! The candidates, one file each, and the list of them.

pub mod drift;
pub mod elastic_net;
pub mod exponential_smoothing;
pub mod gradient_boosting;
pub mod har;
pub mod hybrid;
mod lesson;
pub mod linear_regression;
pub mod naive;
pub mod random_forest;
pub mod ridge;
pub mod strong_naive;

use serde::Deserialize;
use thalweg_core::Error;
use thalweg_core::model::{Examples, Model, Trainer};

use crate::linear::Linear;
use crate::spec::{Candidate, TargetKind};
use crate::trees::Trees;

/// What a candidate knows of a series beside its examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// What the target measures.
    pub kind: TargetKind,
    /// Which feature the target is.
    pub target: usize,
    /// How many of the features the project file gives; the means of the target's past follow.
    pub own_features: usize,
    /// How many rows ahead the label is.
    pub horizon_rows: usize,
}

impl Context {
    /// The column that a line learns the change of: a price, whose level it need not know.
    fn price(&self) -> Option<usize> {
        (self.kind == TargetKind::Price).then_some(self.target)
    }

    /// The column that trees learn the change of: anything that has a level.
    fn level(&self) -> Option<usize> {
        (self.kind != TargetKind::Return).then_some(self.target)
    }
}

/// The trainer of a candidate.
pub fn trainer(candidate: Candidate, context: Context) -> Box<dyn Trainer> {
    match candidate {
        Candidate::Naive => Box::new(naive::Naive { context }),
        Candidate::StrongNaive => Box::new(strong_naive::StrongNaive { context }),
        Candidate::Drift => Box::new(drift::Drift { context }),
        Candidate::ExponentialSmoothing => {
            Box::new(exponential_smoothing::ExponentialSmoothing { context })
        }
        Candidate::Har => Box::new(har::Har { context }),
        Candidate::Linear => Box::new(linear_regression::LinearRegression { context }),
        Candidate::Ridge => Box::new(ridge::Ridge { context }),
        Candidate::ElasticNet => Box::new(elastic_net::ElasticNet { context }),
        Candidate::RandomForest => Box::new(random_forest::RandomForest { context }),
        Candidate::GradientBoosting => Box::new(gradient_boosting::GradientBoosting { context }),
        Candidate::Hybrid => Box::new(hybrid::Hybrid { context }),
    }
}

/// What a baseline says of a series nobody has learnt from; other candidates say nothing.
pub fn untrained(candidate: Candidate, kind: TargetKind, target: &str) -> Option<Linear> {
    match (candidate, kind) {
        (Candidate::StrongNaive, TargetKind::Return) => Some(Linear::constant(0.0)),
        (Candidate::Naive | Candidate::StrongNaive, _) => Some(Linear::feature(target)),
        _ => None,
    }
}

/// Reads a model that a trainer of this list exported.
///
/// # Errors
///
/// `Data`: the bytes are no model.
pub fn import(bytes: &[u8]) -> thalweg_core::Result<Box<dyn Model>> {
    let tag: Tag = serde_json::from_slice(bytes)
        .map_err(|error| Error::data("a model does not say its form").with_source(error))?;
    Ok(match tag.form {
        Form::Linear => Box::new(Linear::import(bytes)?),
        Form::Trees => Box::new(Trees::import(bytes)?),
    })
}

#[derive(Deserialize)]
struct Tag {
    form: Form,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Form {
    Linear,
    Trees,
}

/// The rows of `examples` with their labels.
fn labelled(examples: &Examples) -> impl Iterator<Item = (&[f64], f64)> + Clone {
    let rows = examples.rows.chunks_exact(examples.features.len().max(1));
    rows.zip(examples.labels.iter().copied())
}
