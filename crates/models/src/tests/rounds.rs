//! The champion loop against a real store: train, evaluate, decide, serve, go back.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use async_trait::async_trait;
use serde_json::{Value, json};
use tempfile::TempDir;
use thalweg_core::env::Disk;
use thalweg_core::model::Forecasts as _;
use thalweg_core::store::{Entry, Expected, Store, StoredRow};
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, ErrorKind, Result};
use thalweg_sim::MemDisk;
use thalweg_store::SqliteStore;

use super::support::{MINUTE_MICROS, Noise, batch, spec};
use crate::champion::Action;
use crate::live::LiveModel;
use crate::predict::Predictor;
use crate::registry::{EvaluateReport, EvaluateRequest, Registry, TrainReport, TrainRequest};
use crate::series::Layout;
use crate::spec::{Candidate, ModelSpec, TargetKind};

fn minute(row: i64) -> Timestamp {
    Timestamp(row * MINUTE_MICROS)
}

/// What is forecast: the next value of `y` is `share` of `signal` now, and noise.
fn rows(share: impl Fn(usize) -> f64, count: usize) -> RecordBatch {
    let mut noise = Noise::new(11);
    let (mut signal, mut y) = (Vec::new(), Vec::new());
    let mut next = 0.0;
    for row in 0..count {
        y.push(50.0 + next);
        signal.push(noise.next());
        next = share(row) * signal[row] + noise.next();
    }
    batch("A", 0, &[("y", y), ("signal", signal)])
}

struct World {
    registry: Registry,
    store: Arc<dyn Store>,
    disk: MemDisk,
    spec: ModelSpec,
    rows: RecordBatch,
    _folder: TempDir,
}

impl World {
    async fn new(rows: RecordBatch) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(folder.path().join("m.db")).await.expect("a store");
        let (store, disk): (Arc<dyn Store>, _) = (Arc::new(store), MemDisk::new(0));
        let registry =
            Registry::open(store.clone(), Arc::new(disk.clone()), "models".into()).expect("open");
        let spec = ModelSpec { kind: Some(TargetKind::Level), ..spec("y") };
        Self { registry, store, disk, spec, rows, _folder: folder }
    }

    fn until(&self, row: i64) -> Vec<RecordBatch> {
        vec![self.rows.slice(0, row as usize)]
    }

    async fn train(&self, run: &str, through: i64) -> TrainReport {
        let request = TrainRequest {
            run: run.into(),
            at: minute(through),
            through: minute(through),
            sql: "SELECT * FROM features".into(),
            snapshot: json!({ "features": 4 }),
            seed: 0,
        };
        self.registry.train(&self.spec, request, self.until(through)).await.expect("trained")
    }

    async fn evaluate(&self, run: &str, through: i64) -> EvaluateReport {
        let at = minute(through);
        let request = EvaluateRequest { run: run.into(), at, through: at };
        self.registry.evaluate(&self.spec, request, self.until(through)).await.expect("evaluated")
    }

    async fn champion(&self) -> Option<u64> {
        self.registry.serving(&self.spec).await.expect("serving").champion
    }
}

fn action(report: &EvaluateReport) -> Action {
    report.decision.as_ref().expect("a decision").action
}

#[tokio::test]
async fn s23_a_champion_rises_is_retrained_and_falls() {
    // The relation holds for 6,000 rows, then turns round.
    let world = World::new(rows(|row| if row < 6_000 { 1.0 } else { -1.0 }, 9_000)).await;
    let trained = world.train("t1", 2_000).await;
    assert_eq!(trained.to_string(), "trained naive/1, strong_naive/2, ridge/3");

    let early = world.evaluate("e1", 2_300).await;
    assert_eq!(action(&early), Action::Kept);
    assert!(early.to_string().contains("of 1000 rows"), "{early}");
    assert_eq!(early.evaluations.len(), 3, "baselines are always shown");

    let first = world.evaluate("e2", 3_500).await;
    assert_eq!(action(&first), Action::Promoted, "{first}");
    assert_eq!(world.champion().await, Some(3));
    let scores = &first.evaluations[2].scores;
    assert!((scores.rmse - 1.0).abs() < 0.06, "{}", scores.rmse);

    world.train("t2", 3_500).await;
    let young = world.evaluate("e3", 3_600).await;
    assert_eq!((action(&young), world.champion().await), (Action::Kept, Some(3)));
    let retrained = world.evaluate("e4", 4_800).await;
    assert_eq!(action(&retrained), Action::Retrained, "{retrained}");
    assert_eq!(world.champion().await, Some(6));

    let fallen = world.evaluate("e5", 9_000).await;
    assert_eq!(action(&fallen), Action::Demoted, "{fallen}");
    assert_eq!(world.champion().await, None);
    let models = world.registry.models(std::slice::from_ref(&world.spec)).await.expect("models");
    assert_eq!((models[0].serving.as_str(), models[0].versions), ("strong_naive/5", 6));

    let decisions = world.registry.decisions(Some("m"), 100).await.expect("decisions");
    let actions: Vec<Action> = decisions.iter().map(|decision| decision.action).collect();
    use Action::{Demoted, Kept, Promoted, Retrained};
    assert_eq!(actions, [Demoted, Retrained, Kept, Promoted, Kept]);
    let evaluations = world.registry.evaluations(None, 1_000).await.expect("evaluations");
    assert_eq!(evaluations.len(), early.evaluations.len() + 2 * 3 + 4 + fallen.evaluations.len());
}

#[tokio::test]
async fn s22_a_retry_makes_no_second_version_and_the_same_rows_the_same_bytes() {
    let world = World::new(rows(|_| 1.0, 4_000)).await;
    let first = world.train("t1", 2_000).await;
    assert_eq!(world.train("t1", 2_000).await, first);
    let again = world.train("t2", 2_000).await;
    for (one, two) in first.versions.iter().zip(&again.versions) {
        assert_eq!(one.artifact_sha256, two.artifact_sha256);
        assert_eq!(two.version, one.version + 3);
    }
    let row = &first.versions[2];
    assert_eq!((row.candidate, row.kind, row.seed), (Candidate::Ridge, TargetKind::Level, 0));
    assert_eq!(row.features, ["y", "signal"]);
    assert_eq!(row.rows + row.rows_held_out, 1_999, "the last row has no label");
    assert!(row.libraries.contains_key("nalgebra"));

    let decided = world.evaluate("e1", 4_000).await;
    assert_eq!(world.evaluate("e1", 4_000).await, decided);
    assert_eq!(world.registry.decisions(None, 9).await.expect("decisions").len(), 1);
}

#[tokio::test]
async fn too_few_rows_leave_the_baselines_to_serve() {
    let world = World::new(rows(|_| 1.0, 300)).await;
    let nothing = world.registry.serving(&world.spec).await.expect("serving");
    let served = world.registry.load(&world.spec, nothing).await.expect("a baseline");
    let layout = Layout::of(&world.spec, &world.rows.schema()).expect("a layout");
    let forecasts = Predictor::new(served, layout).predict(&world.rows).expect("forecasts");
    assert!(forecasts.iter().flatten().all(|forecast| &*forecast.version == "strong_naive"));

    let report = world.train("t1", 300).await;
    assert_eq!(
        report.to_string(),
        "trained naive/1, strong_naive/2; ridge waits for rows: 299 of 500"
    );
    let models = world.registry.models(std::slice::from_ref(&world.spec)).await.expect("models");
    let training = models[0].training.as_ref().expect("a training");
    assert_eq!((training.rows, models[0].rows_min), (299, 500));
    assert_eq!(world.evaluate("e1", 300).await.decision, None, "nothing came after it");
}

#[tokio::test]
async fn a_person_promotes_and_rolls_back() {
    let world = World::new(rows(|_| 1.0, 6_000)).await;
    world.train("t1", 2_000).await;
    world.train("t2", 2_500).await;
    let registry = &world.registry;
    let at = |row: i64| minute(row);
    let refused = registry.promote("m", 2, "ada", at(1), "why not").await;
    assert_eq!(refused.expect_err("a baseline").kind, ErrorKind::Invalid);
    assert!(registry.promote("m", 77, "ada", at(1), "why not").await.is_err());
    assert!(registry.rollback("m", "ada", at(1), "nothing yet").await.is_err());

    registry.promote("m", 3, "ada", at(2), "looks good").await.expect("promoted");
    registry.promote("m", 6, "ada", at(3), "looks better").await.expect("promoted");
    assert!(registry.promote("m", 6, "ada", at(4), "again").await.is_err());
    let back = registry.rollback("m", "eve", at(5), "odd numbers").await.expect("rolled back");
    assert_eq!((back.before, back.after, back.by.as_str()), (Some(6), Some(3), "eve"));
    assert_eq!(world.champion().await, Some(3));

    // Version 6 would replace 3 as its retraining, but somebody did not want it.
    let kept = world.evaluate("e1", 6_000).await;
    assert_eq!(action(&kept), Action::Kept, "{kept}");
    registry.rollback("m", "eve", at(7), "none at all").await.expect("rolled back");
    assert_eq!(world.champion().await, None);
    assert_eq!(registry.decisions(Some("m"), 99).await.expect("decisions").len(), 5);
    assert_eq!(registry.decisions(Some("other"), 99).await.expect("decisions"), []);
}

#[tokio::test]
async fn a_swap_loses_no_row_and_each_row_names_its_version() {
    let world = World::new(rows(|_| 1.0, 4_000)).await;
    world.train("t1", 2_000).await;
    world.registry.promote("m", 3, "ada", minute(1), "go").await.expect("promoted");
    let load = async |champion| {
        let mut serving = world.registry.serving(&world.spec).await.expect("serving");
        serving.champion = champion;
        world.registry.load(&world.spec, serving).await.expect("loaded")
    };
    let layout = Layout::of(&world.spec, &world.rows.schema()).expect("a layout");
    let mut predictor = Predictor::new(load(None).await, layout);
    let before = predictor.predict(&world.rows.slice(2_000, 100)).expect("forecasts");
    predictor.swap(load(Some(3)).await);
    let after = predictor.predict(&world.rows.slice(2_100, 1_900)).expect("forecasts");
    assert_eq!((before.len(), after.len()), (100, 1_900));
    assert!(before.iter().flatten().all(|forecast| &*forecast.version == "strong_naive/2"));
    assert!(after.iter().flatten().all(|forecast| &*forecast.version == "ridge/3"));
    assert_eq!(after.iter().flatten().count(), 1_900);
    // 90 % of errors of variance 1 are below 1.645: intervals began from the errors held out.
    let last = after[1_899].as_ref().expect("a forecast");
    let half = last.upper().expect("an interval") - last.prediction;
    assert!((half - 1.645).abs() < 0.3, "{half}");
}

#[tokio::test]
async fn a_live_model_follows_the_registry_and_takes_over_as_a_swap_does() {
    let world = World::new(rows(|_| 1.0, 4_000)).await;
    let features = vec!["y".to_owned(), "signal".to_owned()];
    let live = LiveModel::new(world.registry.clone(), world.spec.clone(), features);
    let live = live.expect("the target is a feature");
    let untrained = live.serving().await.expect("serving");
    assert_eq!(untrained, json!({ "champion": null, "strong_naive": null }));
    world.train("t1", 2_000).await;
    let baseline = live.serving().await.expect("serving");
    assert_eq!(baseline, json!({ "champion": null, "strong_naive": 2 }));
    world.registry.promote("m", 3, "ada", minute(1), "go").await.expect("promoted");
    let promoted = live.serving().await.expect("serving");
    assert_eq!(promoted, json!({ "champion": 3, "strong_naive": 2 }));

    let (old, new) = (live.load(&baseline).await, live.load(&promoted).await);
    let (old, new) = (old.expect("loaded"), new.expect("loaded"));
    let mut before = old.start();
    before.forecast(&world.rows.slice(2_000, 100)).expect("forecasts");
    let state = before.state().expect("it writes");
    let mut after = new.take_over(&state).expect("a state");
    let found = after.forecast(&world.rows.slice(2_100, 1_900)).expect("forecasts");

    let load = async |serving: &Value| {
        let serving = serde_json::from_value(serving.clone()).expect("a serving");
        world.registry.load(&world.spec, serving).await.expect("loaded")
    };
    let layout = Layout::of(&world.spec, &world.rows.schema()).expect("a layout");
    let mut predictor = Predictor::new(load(&baseline).await, layout);
    predictor.predict(&world.rows.slice(2_000, 100)).expect("forecasts");
    predictor.swap(load(&promoted).await);
    let expected = predictor.predict(&world.rows.slice(2_100, 1_900)).expect("forecasts");
    for (found, expected) in found.iter().zip(&expected) {
        let (found, expected) = found.as_ref().zip(expected.as_ref()).expect("forecasts");
        assert_eq!(found.prediction, expected.prediction);
        assert_eq!((found.lower, found.upper), (expected.lower(), expected.upper()));
        assert_eq!(&*found.version, "ridge/3");
    }
    assert_eq!(after.state().expect("it writes"), predictor.state().expect("it writes"));
}

#[tokio::test]
async fn a_live_model_leaves_out_versions_of_another_target() {
    let mut world = World::new(rows(|_| 1.0, 3_000)).await;
    world.train("t1", 2_000).await;
    world.spec.target = "signal".into();
    let features = vec!["y".to_owned(), "signal".to_owned()];
    let live = LiveModel::new(world.registry.clone(), world.spec.clone(), features);
    let live = live.expect("the target is a feature");
    // As an epoch record from before the change has it.
    let recorded = json!({ "champion": 3, "strong_naive": 2 });
    let mut forecaster = live.load(&recorded).await.expect("loaded").start();
    let found = forecaster.forecast(&world.rows.slice(0, 1)).expect("forecasts");
    let signal = world.rows.column_by_name("signal").expect("a column");
    let signal = signal.as_primitive::<arrow::datatypes::Float64Type>().value(0);
    let found = found[0].as_ref().expect("the last value");
    assert_eq!((found.prediction, &*found.version), (signal, "strong_naive"));
}

#[tokio::test]
async fn a_changed_artifact_is_refused() {
    let world = World::new(rows(|_| 1.0, 3_000)).await;
    let report = world.train("t1", 2_000).await;
    let path = PathBuf::from("models").join(&report.versions[1].artifact);
    let mut bytes = world.disk.read(&path).expect("the artifact");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    world.disk.write_whole(&path, &bytes).expect("written");
    let serving = world.registry.serving(&world.spec).await.expect("serving");
    let error = world.registry.load(&world.spec, serving).await.err().expect("refused");
    assert_eq!(error.kind, ErrorKind::Data);
    assert!(error.message.contains("has changed"), "{}", error.message);
}

/// A store whose writes of one kind fail.
struct Forgetful(Arc<dyn Store>, &'static str);

#[async_trait]
impl Store for Forgetful {
    async fn get(&self, kind: &str, id: &str) -> Result<Option<StoredRow>> {
        self.0.get(kind, id).await
    }
    async fn put(&self, kind: &str, id: &str, expected: Expected, value: &Value) -> Result<u64> {
        if kind == self.1 {
            return Err(Error::unavailable("the power is gone"));
        }
        self.0.put(kind, id, expected, value).await
    }
    async fn delete(&self, kind: &str, id: &str) -> Result<()> {
        self.0.delete(kind, id).await
    }
    async fn list(
        &self,
        kind: &str,
        prefix: &str,
        descending: bool,
        limit: usize,
    ) -> Result<Vec<StoredRow>> {
        self.0.list(kind, prefix, descending, limit).await
    }
    async fn append(&self, history: &str, at: Timestamp, value: &Value) -> Result<i64> {
        self.0.append(history, at, value).await
    }
    async fn entries(&self, history: &str, after: i64, limit: usize) -> Result<Vec<Entry>> {
        self.0.entries(history, after, limit).await
    }
}

#[tokio::test]
async fn a_cut_at_any_write_is_made_good_by_the_retry() {
    let world = World::new(rows(|_| 1.0, 4_000)).await;
    for kind in ["model_version", "model_training"] {
        let cut = World {
            registry: Registry::open(
                Arc::new(Forgetful(world.store.clone(), kind)),
                Arc::new(world.disk.clone()),
                "models".into(),
            )
            .expect("open"),
            ..World::new(world.rows.clone()).await
        };
        let request = TrainRequest {
            run: "t1".into(),
            at: minute(2_000),
            through: minute(2_000),
            sql: String::new(),
            snapshot: Value::Null,
            seed: 0,
        };
        let result = cut.registry.train(&world.spec, request, world.until(2_000)).await;
        assert_eq!(result.expect_err("cut").kind, ErrorKind::Unavailable);
    }
    let report = world.train("t1", 2_000).await;
    assert_eq!(report.to_string(), "trained naive/1, strong_naive/2, ridge/3");
    for kind in ["model_evaluation", "model_champion", "model_decision"] {
        let store = Arc::new(Forgetful(world.store.clone(), kind));
        let registry =
            Registry::open(store, Arc::new(world.disk.clone()), "models".into()).expect("open");
        let at = minute(4_000);
        let request = EvaluateRequest { run: "e1".into(), at, through: at };
        let result = registry.evaluate(&world.spec, request, world.until(4_000)).await;
        assert_eq!(result.expect_err("cut").kind, ErrorKind::Unavailable);
    }
    // The last cut came after the swap: the champion's row knows, the history does not yet.
    assert_eq!(world.registry.decisions(None, 9).await.expect("decisions"), []);
    assert_eq!(world.champion().await, Some(3));
    let report = world.evaluate("e1", 4_000).await;
    assert_eq!((action(&report), report.evaluations.len()), (Action::Promoted, 3));
    assert_eq!(world.registry.decisions(None, 9).await.expect("decisions").len(), 1);
}

#[tokio::test]
async fn a_model_whose_target_changed_serves_without_the_old_champion() {
    let mut world = World::new(rows(|_| 1.0, 5_000)).await;
    world.train("t1", 2_000).await;
    world.evaluate("e1", 3_500).await;
    assert_eq!(world.champion().await, Some(3));
    world.spec.target = "signal".into();
    assert_eq!(world.champion().await, None);
    world.train("t2", 3_500).await;
    let report = world.evaluate("e2", 5_000).await;
    assert_eq!(action(&report), Action::Demoted, "{report}");
    assert!(report.to_string().contains("another target"), "{report}");
}

#[test]
fn the_libraries_named_in_a_version_are_those_built_in() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock");
    let lock = std::fs::read_to_string(path).expect("the lock file");
    for (name, version) in crate::registry::train::LIBRARIES {
        let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
        assert!(lock.contains(&entry), "{name} {version} is not in Cargo.lock");
    }
}
