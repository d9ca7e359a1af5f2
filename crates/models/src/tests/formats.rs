//! Bytes on disk: golden files of every version ever written, and foreign bytes refused.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use thalweg_core::model::{Examples, Model, Trainer};
use thalweg_core::time::Timestamp;

use crate::artifact::{Artifact, Learned};
use crate::candidates::{Context, ridge::Ridge};
use crate::linear::Linear;
use crate::predict::{Predictor, Served, Version};
use crate::series::Layout;
use crate::spec::{Candidate, TargetKind};

fn artifact() -> Artifact {
    let examples = Examples {
        features: vec!["y".into(), "x".into()],
        rows: (0..20).flat_map(|row| [f64::from(row * row % 7), f64::from(row * 5 % 11)]).collect(),
        labels: (0..20).map(|row| f64::from(row * 5 % 11) / 4.0).collect(),
    };
    let context = Context { kind: TargetKind::Level, target: 0, own_features: 2, horizon_rows: 1 };
    let model = Ridge { context }.fit(&examples, 0).expect("a line");
    let mut artifact = Artifact::new(
        Candidate::Ridge,
        "y",
        TargetKind::Level,
        Duration::from_secs(60),
        examples.features,
    );
    let learned = Learned::new(model.as_ref(), vec![0.5, 0.1, 1.0 / 3.0]).expect("JSON");
    artifact.series.insert("A".into(), learned);
    artifact
}

fn served() -> Arc<Served> {
    let strong = Version::untrained(Candidate::StrongNaive, TargetKind::Level, "y");
    let horizon = Duration::from_secs(120);
    Arc::new(Served { champion: None, strong_naive: Arc::new(strong), horizon })
}

fn layout() -> Layout {
    Layout { key: vec![], time: "at".into(), features: vec!["y".into()], target: 0 }
}

fn predictor() -> Predictor {
    let mut predictor = Predictor::new(served(), layout());
    for row in 0..6 {
        predictor.predict_row("A", Timestamp(row * 60_000_000), &[(row * row % 5) as f64]);
    }
    predictor
}

fn golden(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/formats");
    std::fs::read(folder.join(name)).expect("a golden file")
}

#[test]
fn an_artifact_of_version_1_reads_and_is_still_written_so() {
    let bytes = golden("model-artifact-v1.bin");
    let read = Artifact::read(&bytes).expect("version 1");
    assert_eq!((read.candidate, read.horizon()), (Candidate::Ridge, Duration::from_secs(60)));
    assert_eq!(read.series["A"].errors, [0.5, 0.1, 1.0 / 3.0]);
    let model = read.series["A"].model().expect("a line");
    assert!((model.predict(&[3.0, 8.0])[0] - 2.0).abs() < 1e-3);
    assert_eq!(read.write().expect("it writes"), bytes);
    assert_eq!(artifact().write().expect("it writes"), bytes, "S22: the same bytes");
}

#[test]
fn a_state_of_version_1_reads_and_is_still_written_so() {
    let bytes = golden("predictor-state-v1.bin");
    let read = Predictor::restore(served(), layout(), &bytes).expect("version 1");
    assert_eq!(read.state().expect("it writes"), bytes);
    assert_eq!(predictor().state().expect("it writes"), bytes);
}

#[test]
fn a_state_of_another_horizon_is_refused() {
    let state = predictor().state().expect("it writes");
    let longer = Served { horizon: Duration::from_secs(180), ..(*served()).clone() };
    assert!(Predictor::restore(Arc::new(longer), layout(), &state).is_err());
}

#[test]
fn a_line_that_points_beyond_its_features_is_refused() {
    let line = |base: usize, feature: usize| {
        format!(
            r#"{{"form":"linear","features":["a"],"base":{base},"intercept":0.0,
               "terms":[{{"feature":{feature},"mean":0.0,"scale":1.0,"weight":1.0}}]}}"#
        )
    };
    assert!(Linear::import(line(0, 0).as_bytes()).is_ok());
    assert!(Linear::import(line(1, 0).as_bytes()).is_err());
    assert!(Linear::import(line(0, 7).as_bytes()).is_err());
}

#[test]
fn a_missing_feature_gives_no_number() {
    let line = Linear::feature("a");
    assert!(line.predict(&[f64::NAN, 2.0])[0].is_nan());
    assert_eq!(Linear::constant(3.0).predict(&[]), [3.0]);
}

proptest! {
    #[test]
    fn s30_foreign_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Artifact::read(&bytes).is_err());
        prop_assert!(Predictor::restore(served(), layout(), &bytes).is_err());
    }

    #[test]
    fn s30_a_changed_byte_never_panics(place in 0_usize..4_000, byte in any::<u8>()) {
        let mut bytes = artifact().write().expect("it writes");
        let place = place % bytes.len();
        bytes[place] = byte;
        if let Ok(artifact) = Artifact::read(&bytes) {
            let version = Version::load(artifact, 1).expect("it read");
            let strong_naive = served().strong_naive.clone();
            let served = Served { champion: Some(Arc::new(version)), strong_naive, horizon: Duration::ZERO };
            let mut predictor = Predictor::new(Arc::new(served), layout());
            predictor.predict_row("A", Timestamp(0), &[1.0]);
        }
        let mut state = predictor().state().expect("it writes");
        let place = place % state.len();
        state[place] = byte;
        if let Ok(mut predictor) = Predictor::restore(served(), layout(), &state) {
            predictor.predict_row("A", Timestamp(600_000_000), &[1.0]);
            predictor.predict_row("A", Timestamp(720_000_000), &[1.0]);
        }
    }
}
