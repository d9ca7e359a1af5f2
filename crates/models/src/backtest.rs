//! What a model would have done: trained and scored along the past, fold by fold.
//!
//! Each fold learns only from rows whose labels were known before its window, less the gap, and
//! every candidate is scored on the same rows. The numbers of all folds together are what a card
//! shows; they promote nobody, because champions are chosen on rows that came after (S23).

use std::sync::Arc;

use arrow::array::RecordBatch;
use thalweg_core::Result;

use crate::examples::Fold;
use crate::predict::{Served, Version};
use crate::registry::train::{fit, kind_of};
use crate::scores::Outcomes;
use crate::series::SeriesSet;
use crate::spec::{Candidate, ModelSpec};

/// A walk forward: the candidates in order, and what they said.
pub struct Backtest {
    /// The candidates; each one's place is its version in `outcomes`.
    pub candidates: Vec<Candidate>,
    /// Their forecasts on all folds.
    pub outcomes: Outcomes,
}

/// Walks over `batches`, which are in the shape the training takes.
///
/// # Errors
///
/// As training: `Invalid` for columns that do not fit, `Data` without rows or folds.
pub fn backtest(
    spec: &ModelSpec,
    batches: &[RecordBatch],
    folds: &[Fold],
    seed: u64,
) -> Result<Backtest> {
    let set = SeriesSet::read(spec, batches)?;
    let candidates = spec.contestants();
    let mut all: Option<Outcomes> = None;
    for fold in folds {
        let kind = kind_of(spec, &set, fold.train.clone());
        let mut versions = Vec::new();
        for &candidate in &candidates {
            let fitted = fit(spec, &set, candidate, kind, fold.train.clone(), seed)?;
            versions.push(Arc::new(Version::load(fitted.artifact, 0)?));
        }
        let served: Vec<Arc<Served>> = versions
            .iter()
            .map(|version| {
                Arc::new(Served {
                    champion: Some(version.clone()),
                    strong_naive: versions[1].clone(),
                    horizon: spec.horizon,
                })
            })
            .collect();
        let outcomes = Outcomes::of(&set, kind, &served, fold.test.clone());
        match &mut all {
            Some(all) => all.append(outcomes),
            None => all = Some(outcomes),
        }
    }
    let outcomes = all.ok_or_else(|| thalweg_core::Error::data("there is no fold to walk over"))?;
    Ok(Backtest { candidates, outcomes })
}
