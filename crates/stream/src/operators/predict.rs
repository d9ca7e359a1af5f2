//! `predict(model, x)`: a forecast beside each row, in the order in which rows of a series come.
//!
//! Which versions answer is said at the start of each epoch, by its record (S8); what the forecaster
//! learns from rows as they pass (means, errors, intervals: S24) is this operator's state. A swap
//! happens between two epochs, so no row is lost and none is answered twice (S23).
//!
//! What a model is stays behind [`thalweg_core::model`]; how the call looks in SQL is
//! [`crate::sql::predict`].

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, Float64Builder, RecordBatch, StringBuilder, StructArray,
};
use arrow::compute::{SortColumn, SortOptions, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;
use serde_json::json;
use thalweg_core::ledger::OperatorLedger;
use thalweg_core::model::{ForecastColumns, Forecaster};
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};

use super::expressions::{engine_error, evaluate, ledger_from};
use super::over::single;
use super::{Answering, Answers, Operator, Outputs, Snapshot};

/// The columns that a forecast adds to a row, in order: three doubles and a text, all nullable.
pub const COLUMNS: [&str; 4] = ["prediction", "lower", "upper", "model_version"];

/// The fields of [`COLUMNS`].
pub fn fields() -> Fields {
    COLUMNS
        .iter()
        .map(|name| {
            let data_type =
                if *name == "model_version" { DataType::Utf8 } else { DataType::Float64 };
            Field::new(*name, data_type, true)
        })
        .collect()
}

/// What a forecaster is given: `columns` by name, with the values `arrays` has for them.
fn rows_of(columns: &ForecastColumns, arrays: Vec<ArrayRef>) -> Result<RecordBatch> {
    let named = columns.all().zip(&arrays);
    let fields = named.map(|(name, array)| Field::new(name, array.data_type().clone(), true));
    let schema = Schema::new(fields.collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(schema), arrays).map_err(engine_error)
}

/// Forecasts rows, one after the other: a struct of [`fields`] a row, NULL where nothing is said.
pub fn forecast(
    forecaster: &mut dyn Forecaster,
    columns: &ForecastColumns,
    arrays: Vec<ArrayRef>,
) -> Result<StructArray> {
    let rows = rows_of(columns, arrays)?;
    let forecasts = forecaster.forecast(&rows)?;
    if forecasts.len() != rows.num_rows() {
        return Err(Error::internal("a forecaster has not answered every row"));
    }
    let (mut prediction, mut lower, mut upper) =
        (Float64Builder::new(), Float64Builder::new(), Float64Builder::new());
    let mut version = StringBuilder::new();
    for forecast in &forecasts {
        let forecast = forecast.as_ref();
        prediction.append_option(forecast.map(|it| it.prediction));
        lower.append_option(forecast.and_then(|it| it.lower));
        upper.append_option(forecast.and_then(|it| it.upper));
        version.append_option(forecast.map(|it| &it.version));
    }
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(prediction.finish()),
        Arc::new(lower.finish()),
        Arc::new(upper.finish()),
        Arc::new(version.finish()),
    ];
    StructArray::try_new(fields(), arrays, None).map_err(engine_error)
}

/// How a [`Predict`] is declared.
pub struct PredictSpec {
    /// Name of the model.
    pub model: String,
    /// What it reads of a row.
    pub columns: ForecastColumns,
    /// The value of each of these columns.
    pub arguments: Vec<Arc<dyn PhysicalExpr>>,
    /// The order of rows that come in one batch; `None`: that of arrival.
    pub order_by: Option<Vec<(Arc<dyn PhysicalExpr>, SortOptions)>>,
}

/// Adds the forecast of each row as its last column.
pub struct Predict {
    spec: PredictSpec,
    schema: SchemaRef,
    running: Option<(Answering, Box<dyn Forecaster>)>,
    ledger: OperatorLedger,
    // Size of the state when it was last written.
    state_bytes: usize,
}

impl Predict {
    /// `schema` is the input's and the column of the forecast.
    pub fn new(spec: PredictSpec, schema: SchemaRef) -> Self {
        Self { spec, schema, running: None, ledger: OperatorLedger::default(), state_bytes: 0 }
    }

    fn answering<'a>(&self, answers: &'a Answers) -> Result<&'a Answering> {
        answers.get(&self.spec.model).ok_or_else(|| {
            Error::internal(format!("nobody says who answers for model `{}`", self.spec.model))
        })
    }

    /// The rows in the order in which they are forecast.
    fn in_order(&self, rows: RecordBatch) -> Result<RecordBatch> {
        let Some(order_by) = &self.spec.order_by else { return Ok(rows) };
        if rows.num_rows() < 2 {
            return Ok(rows);
        }
        let columns: Result<Vec<SortColumn>, datafusion::common::DataFusionError> = order_by
            .iter()
            .map(|(expression, options)| {
                let values = expression.evaluate(&rows)?.into_array(rows.num_rows())?;
                Ok(SortColumn { values, options: Some(*options) })
            })
            .collect();
        let columns = columns.map_err(engine_error)?;
        let order = lexsort_to_indices(&columns, None).map_err(engine_error)?;
        take_record_batch(&rows, &order).map_err(engine_error)
    }
}

impl Operator for Predict {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn begin_epoch(&mut self, answers: &Answers) -> Result<()> {
        let answering = self.answering(answers)?;
        let forecaster = match &self.running {
            Some((known, _)) if known.serving == answering.serving => return Ok(()),
            Some((_, forecaster)) => answering.served.take_over(&forecaster.state()?)?,
            None => answering.served.start(),
        };
        self.running = Some((answering.clone(), forecaster));
        Ok(())
    }

    fn process(&mut self, rows: RecordBatch, _: Timestamp, out: &mut Outputs) -> Result<()> {
        self.ledger.rows_in += rows.num_rows() as u64;
        let failed_before = out.failed.len();
        let rows = self.in_order(rows)?;
        let (arrays, rows) = evaluate(&self.spec.arguments, &rows, &mut out.failed)?;
        self.ledger.rows_quarantined += (out.failed.len() - failed_before) as u64;
        let Some((_, forecaster)) = &mut self.running else {
            return Err(Error::internal("rows came before an epoch began"));
        };
        let forecasts = forecast(forecaster.as_mut(), &self.spec.columns, arrays)?;
        let mut columns = rows.columns().to_vec();
        columns.push(Arc::new(forecasts));
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(engine_error)?;
        self.ledger.rows_emitted += rows.num_rows() as u64;
        if rows.num_rows() > 0 {
            out.rows.push(rows);
        }
        Ok(())
    }

    fn ledger(&self) -> OperatorLedger {
        self.ledger
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        let Some((_, forecaster)) = &self.running else {
            return Err(Error::internal("a snapshot before the first epoch"));
        };
        let state = forecaster.state()?;
        self.state_bytes = state.len();
        let state = BinaryArray::from_iter_values([state]);
        let batches = vec![("forecaster".to_owned(), single("state", Arc::new(state))?)];
        Ok(Snapshot { facts: json!({ "ledger": self.ledger }), batches })
    }

    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        self.ledger = ledger_from(&snapshot)?;
        let batch = snapshot.take("forecaster")?;
        let state = batch.column(0).as_any().downcast_ref::<BinaryArray>();
        let state = state
            .filter(|state| state.len() == 1 && state.is_valid(0))
            .ok_or_else(|| Error::internal("a snapshot's forecaster has another type"))?;
        let Some((answering, forecaster)) = &mut self.running else {
            return Err(Error::internal("a restore before it is known who answers"));
        };
        *forecaster = answering.served.resume(state.value(0))?;
        self.state_bytes = state.value(0).len();
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.state_bytes
    }
}
