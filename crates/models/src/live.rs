//! A model as SQL and streams see it: the registry and the predictor behind `core`'s traits.
//!
//! A [`Serving`] is stored as JSON, such as `{"champion":3,"strong_naive":2}`. Asking for it costs a
//! counter while nobody trains or decides; the newest versions that were loaded are remembered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use thalweg_core::model::{self, ForecastColumns, Forecaster, Forecasts};
use thalweg_core::{Error, Result};

use crate::predict::{Forecast, Predictor, Served};
use crate::registry::{Registry, Serving, parse, to_json};
use crate::series::Layout;
use crate::spec::ModelSpec;

/// A model of the project, served to whoever asks.
pub struct LiveModel {
    registry: Registry,
    spec: ModelSpec,
    columns: ForecastColumns,
    layout: Layout,
    known: Mutex<Known>,
}

/// What need not be asked for again.
#[derive(Default)]
struct Known {
    /// Who served when the registry had changed so often.
    serving: Option<(u64, model::Serving)>,
    loaded: Option<(model::Serving, Arc<Loaded>)>,
}

impl LiveModel {
    /// The model of `spec` over rows that have `features`, numbers, the target among them.
    ///
    /// # Errors
    ///
    /// `Invalid`: the target is none of the features.
    pub fn new(registry: Registry, spec: ModelSpec, features: Vec<String>) -> Result<Self> {
        let target = features.iter().position(|name| *name == spec.target).ok_or_else(|| {
            Error::invalid(format!("model `{}` has no target among its features", spec.name))
        })?;
        let layout = Layout {
            key: spec.key.clone(),
            time: spec.time.clone(),
            features: features.clone(),
            target,
        };
        let columns = ForecastColumns {
            key: spec.key.clone(),
            time: spec.time.clone(),
            features,
            target: spec.target.clone(),
            horizon: spec.horizon,
        };
        Ok(Self { registry, spec, columns, layout, known: Mutex::default() })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Forecasts for LiveModel {
    fn columns(&self) -> &ForecastColumns {
        &self.columns
    }

    async fn serving(&self) -> Result<model::Serving> {
        // Before the rows: a change while they are read is found the next time.
        let changes = self.registry.changes();
        if let Some((seen, serving)) = &self.known().serving
            && *seen == changes
        {
            return Ok(serving.clone());
        }
        let serving = to_json(&self.registry.serving(&self.spec).await?)?;
        self.known().serving = Some((changes, serving.clone()));
        Ok(serving)
    }

    async fn load(&self, serving: &model::Serving) -> Result<Arc<dyn model::Served>> {
        if let Some((known, loaded)) = &self.known().loaded
            && known == serving
        {
            return Ok(loaded.clone());
        }
        let versions: Serving = parse("serving", &self.spec.name, serving.clone())?;
        let served = self.registry.load(&self.spec, versions).await?;
        let loaded = Arc::new(Loaded { served, layout: self.layout.clone() });
        self.known().loaded = Some((serving.clone(), loaded.clone()));
        Ok(loaded)
    }
}

/// Versions and the rows they are shown.
struct Loaded {
    served: Arc<Served>,
    layout: Layout,
}

impl model::Served for Loaded {
    fn start(&self) -> Box<dyn Forecaster> {
        Box::new(Running(Predictor::new(self.served.clone(), self.layout.clone())))
    }

    fn resume(&self, state: &[u8]) -> Result<Box<dyn Forecaster>> {
        let predictor = Predictor::restore(self.served.clone(), self.layout.clone(), state)?;
        Ok(Box::new(Running(predictor)))
    }

    fn take_over(&self, state: &[u8]) -> Result<Box<dyn Forecaster>> {
        let mut predictor = Predictor::restore(self.served.clone(), self.layout.clone(), state)?;
        predictor.swap(self.served.clone());
        Ok(Box::new(Running(predictor)))
    }
}

struct Running(Predictor);

impl Forecaster for Running {
    fn forecast(&mut self, rows: &RecordBatch) -> Result<Vec<Option<model::Forecast>>> {
        let shown = |forecast: Forecast| model::Forecast {
            prediction: forecast.prediction,
            lower: forecast.lower(),
            upper: forecast.upper(),
            version: forecast.version,
        };
        Ok(self.0.predict(rows)?.into_iter().map(|forecast| forecast.map(shown)).collect())
    }

    fn state(&self) -> Result<Vec<u8>> {
        self.0.state()
    }
}
