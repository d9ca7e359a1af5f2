//! The candidates, one file each, and the list of them.

pub mod naive;
pub mod ridge;
pub mod strong_naive;

use thalweg_core::model::{Examples, Model, Trainer};

use crate::linear::Linear;
use crate::spec::{Candidate, TargetKind};

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

/// The trainer of a candidate.
pub fn trainer(candidate: Candidate, context: Context) -> Box<dyn Trainer> {
    match candidate {
        Candidate::Naive => Box::new(naive::Naive { context }),
        Candidate::StrongNaive => Box::new(strong_naive::StrongNaive { context }),
        Candidate::Ridge => Box::new(ridge::Ridge { context }),
    }
}

/// What a baseline says of a series nobody has learnt from; other candidates say nothing.
pub fn untrained(candidate: Candidate, kind: TargetKind, target: &str) -> Option<Linear> {
    match (candidate, kind) {
        (Candidate::StrongNaive, TargetKind::Return) => Some(Linear::constant(0.0)),
        (Candidate::Naive | Candidate::StrongNaive, _) => Some(Linear::feature(target)),
        (Candidate::Ridge, _) => None,
    }
}

/// Reads a model that a trainer of this list exported.
///
/// # Errors
///
/// `Data`: the bytes are no model.
pub fn import(bytes: &[u8]) -> thalweg_core::Result<Box<dyn Model>> {
    // A second form is told by its `form`; there is one today.
    Ok(Box::new(Linear::import(bytes)?))
}

/// The rows of `examples` with their labels.
fn labelled(examples: &Examples) -> impl Iterator<Item = (&[f64], f64)> + Clone {
    let rows = examples.rows.chunks_exact(examples.features.len().max(1));
    rows.zip(examples.labels.iter().copied())
}
