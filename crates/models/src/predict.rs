//! Serving: a champion or `strong_naive`, and an interval round each number.
//!
//! [`Served`] is a value: which versions answer. A [`Predictor`] owns what is learnt from rows as
//! they pass (means of the target, forecasts whose label is not known yet, interval state) and may
//! swap to another [`Served`] between two rows: no row is lost, each says which version answered.
//! The state belongs into the checkpoint of whoever runs the predictor (S24).
//!
//! Where the champion has no answer (a series it has not learnt, a missing feature), `strong_naive`
//! answers; where that has none (the target is missing and was never seen), the forecast is NULL.
//!
//! Per series, times only grow: a row not after the last one is answered, and changes nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};
use thalweg_core::model::Model;
use thalweg_core::time::{Timestamp, micros};
use thalweg_core::{Error, Result};

use crate::artifact::Artifact;
use crate::candidates;
use crate::examples::feature_names;
use crate::format::Format;
use crate::history::History;
use crate::intervals::{Intervals, Level, SHOWN, Widths};
use crate::series::{Layout, Rows};
use crate::spec::{Candidate, TargetKind};

const STATE: Format = Format { magic: *b"thlwpred", version: 1, name: "the state of a predictor" };

/// Most forecasts of one series that wait for their label; more are given, but not learnt from.
pub const PENDING_MAX: usize = 20_000;

/// A forecast of one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// The instant the forecast is for: the row's time plus the horizon.
    pub for_time: Timestamp,
    /// The number.
    pub prediction: f64,
    /// Half the width of the interval at each of [`crate::intervals::LEVELS`], once known.
    pub widths: Option<Widths>,
    /// Which version answered, such as `ridge/3`.
    pub version: Arc<str>,
}

impl Forecast {
    /// Lower end of the 90 % interval.
    pub fn lower(&self) -> Option<f64> {
        self.widths.map(|widths| self.prediction - widths[SHOWN])
    }

    /// Upper end of the 90 % interval.
    pub fn upper(&self) -> Option<f64> {
        self.widths.map(|widths| self.prediction + widths[SHOWN])
    }
}

/// A version ready to answer.
pub struct Version {
    label: Arc<str>,
    series: BTreeMap<String, LoadedSeries>,
    // Answers for series that were not learnt.
    untrained: Option<Box<dyn Model>>,
}

struct LoadedSeries {
    model: Box<dyn Model>,
    errors: Vec<f64>,
}

impl Version {
    /// Loads an artifact as version `number`.
    ///
    /// # Errors
    ///
    /// `Data`: a model in it does not parse.
    pub fn load(artifact: Artifact, number: u64) -> Result<Self> {
        let mut version = Self::untrained(artifact.candidate, artifact.kind, &artifact.target);
        version.label = format!("{}/{number}", artifact.candidate).into();
        for (key, learned) in artifact.series {
            let model = learned.model()?;
            version.series.insert(key, LoadedSeries { model, errors: learned.errors });
        }
        Ok(version)
    }

    /// A baseline that has learnt nothing yet.
    pub fn untrained(candidate: Candidate, kind: TargetKind, target: &str) -> Self {
        Self {
            label: candidate.name().into(),
            series: BTreeMap::new(),
            untrained: candidates::untrained(candidate, kind, target)
                .map(|model| Box::new(model) as Box<dyn Model>),
        }
    }

    /// Its label, such as `ridge/3`.
    pub fn label(&self) -> &Arc<str> {
        &self.label
    }

    fn model(&self, key: &str) -> Option<&dyn Model> {
        match self.series.get(key) {
            Some(series) => Some(series.model.as_ref()),
            None => self.untrained.as_deref(),
        }
    }

    fn errors(&self, key: &str) -> &[f64] {
        self.series.get(key).map_or(&[], |series| &series.errors)
    }
}

/// Which versions answer.
#[derive(Clone)]
pub struct Served {
    /// The champion, if there is one.
    pub champion: Option<Arc<Version>>,
    /// What answers without one.
    pub strong_naive: Arc<Version>,
    /// How far ahead they forecast.
    pub horizon: Duration,
}

/// Answers row by row.
pub struct Predictor {
    served: Arc<Served>,
    layout: Layout,
    names: Vec<String>,
    series: BTreeMap<String, Running>,
    // Scratch space, so that a row allocates little.
    row: Vec<f64>,
    inputs: Vec<f64>,
}

/// One series as it runs: what must survive a restart, and what is looked up once.
struct Running {
    state: State,
    champion: Option<Inputs>,
    strong_naive: Option<Inputs>,
}

/// Where in a row the inputs of a model are; a feature that the rows do not have is missing.
type Inputs = Vec<Option<usize>>;

#[derive(Serialize, Deserialize)]
struct State {
    history: History,
    last: Option<Timestamp>,
    pending: VecDeque<Pending>,
    intervals: Intervals,
}

#[derive(Serialize, Deserialize)]
struct Pending {
    due: Timestamp,
    prediction: f64,
    widths: Option<Widths>,
}

impl Predictor {
    /// A predictor over rows of `layout` that has seen none.
    pub fn new(served: Arc<Served>, layout: Layout) -> Self {
        let names = feature_names(&layout);
        let series = BTreeMap::new();
        Self { served, layout, names, series, row: Vec::new(), inputs: Vec::new() }
    }

    /// A predictor that goes on from `state`, which [`Predictor::state`] gave.
    ///
    /// # Errors
    ///
    /// `Data`: these bytes are no state, or one of another horizon.
    pub fn restore(served: Arc<Served>, layout: Layout, state: &[u8]) -> Result<Self> {
        let states: BTreeMap<String, State> = STATE.read(state)?;
        let mut predictor = Self::new(served, layout);
        for (key, state) in states {
            if !state.history.is_of(micros(predictor.served.horizon)) {
                return Err(Error::data("the state of a predictor is of another horizon"));
            }
            let running = predictor.running(&key, Some(state));
            predictor.series.insert(key, running);
        }
        Ok(predictor)
    }

    /// What a restart needs; the same rows give the same bytes.
    ///
    /// # Errors
    ///
    /// `Internal`: it does not write.
    pub fn state(&self) -> Result<Vec<u8>> {
        let states: BTreeMap<&String, &State> =
            self.series.iter().map(|(key, running)| (key, &running.state)).collect();
        STATE.write(&states)
    }

    /// Answers from other versions from the next row on. Intervals start from the errors of the new
    /// version, at the miss rates reached so far.
    pub fn swap(&mut self, served: Arc<Served>) {
        self.served = served;
        for (key, mut running) in std::mem::take(&mut self.series) {
            let errors = errors_of(&self.served, &key);
            if !errors.is_empty() {
                running.state.intervals.restart(errors);
            }
            let running = self.running(&key, Some(running.state));
            self.series.insert(key, running);
        }
    }

    /// One forecast a row, in the order of the rows; `None` for a row without a time, or where
    /// nothing can be said.
    ///
    /// # Errors
    ///
    /// `Invalid`: the batch lacks a column of the layout.
    pub fn predict(&mut self, batch: &RecordBatch) -> Result<Vec<Option<Forecast>>> {
        let rows = Rows::of(&self.layout, batch)?;
        let mut forecasts = Vec::with_capacity(rows.len());
        let mut features = Vec::new();
        rows.for_each_key(|row, key| {
            features.clear();
            rows.read(row, &mut features);
            forecasts.push(rows.time(row).and_then(|time| self.predict_row(key, time, &features)));
            Ok(())
        })?;
        Ok(forecasts)
    }

    /// The forecast of one row; `features` in the order of the layout, missing ones NaN.
    pub fn predict_row(
        &mut self,
        key: &str,
        time: Timestamp,
        features: &[f64],
    ) -> Option<Forecast> {
        self.series_of(key);
        let running = self.series.get_mut(key).expect("it was put there above");
        let state = &mut running.state;
        let is_new = state.last.is_none_or(|last| last < time);
        if is_new {
            state.last = Some(time);
            let target = features[self.layout.target];
            state.settle(time, target);
            state.history.push(time, target);
        }
        self.row.clear();
        self.row.extend_from_slice(features);
        state.history.extend(&mut self.row);

        let mut answer = |version: &Arc<Version>, inputs: &Option<Inputs>| {
            let (model, inputs) = (version.model(key)?, inputs.as_ref()?);
            self.inputs.clear();
            let value = |place: &Option<usize>| place.map_or(f64::NAN, |place| self.row[place]);
            self.inputs.extend(inputs.iter().map(value));
            let prediction = model.predict(&self.inputs).first().copied()?;
            prediction.is_finite().then(|| (prediction, version.label.clone()))
        };
        let champion = self.served.champion.as_ref();
        let (prediction, version) = champion
            .and_then(|champion| answer(champion, &running.champion))
            .or_else(|| answer(&self.served.strong_naive, &running.strong_naive))?;
        let widths = running.state.intervals.widths();
        let for_time = time.plus(self.served.horizon);
        let pending = &mut running.state.pending;
        if is_new && pending.len() < PENDING_MAX {
            pending.push_back(Pending { due: for_time, prediction, widths });
        }
        Some(Forecast { for_time, prediction, widths, version })
    }

    /// Lets a row warm the means of the target's past, and nothing else: for rows before the first
    /// one that is forecast.
    pub fn warm_up(&mut self, key: &str, time: Timestamp, features: &[f64]) {
        let target = features[self.layout.target];
        let state = &mut self.series_of(key).state;
        if state.last.is_none_or(|last| last < time) {
            state.last = Some(time);
            state.history.push(time, target);
        }
    }

    /// How often the intervals of a series held, by level of [`crate::intervals::LEVELS`].
    pub fn coverage(&self, key: &str) -> Option<&[Level]> {
        self.series.get(key).map(|running| running.state.intervals.levels())
    }

    fn series_of(&mut self, key: &str) -> &mut Running {
        if !self.series.contains_key(key) {
            let running = self.running(key, None);
            self.series.insert(key.to_owned(), running);
        }
        self.series.get_mut(key).expect("it was put there above")
    }

    fn running(&self, key: &str, state: Option<State>) -> Running {
        let inputs = |version: &Version| -> Option<Inputs> {
            let place = |name: &String| self.names.iter().position(|known| known == name);
            Some(version.model(key)?.features().iter().map(place).collect())
        };
        Running {
            state: state.unwrap_or_else(|| State {
                history: History::new(micros(self.served.horizon)),
                last: None,
                pending: VecDeque::new(),
                intervals: Intervals::new(errors_of(&self.served, key)),
            }),
            champion: self.served.champion.as_deref().and_then(inputs),
            strong_naive: inputs(&self.served.strong_naive),
        }
    }
}

impl State {
    /// Compares forecasts that are due with what came; those whose instant has no row are dropped.
    fn settle(&mut self, time: Timestamp, actual: f64) {
        while let Some(pending) = self.pending.pop_front_if(|pending| pending.due <= time) {
            if pending.due == time {
                let error = (actual - pending.prediction).abs();
                self.intervals.observe(pending.widths.as_ref(), error);
            }
        }
    }
}

/// The errors that intervals of a series start from: those of the version that answers.
fn errors_of<'a>(served: &'a Served, key: &str) -> &'a [f64] {
    match &served.champion {
        Some(champion) if champion.series.contains_key(key) => champion.errors(key),
        _ => served.strong_naive.errors(key),
    }
}
