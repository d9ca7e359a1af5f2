//! `FROM predict(model, relation)`: the rows of a relation with the forecast of each.
//!
//! On the parsed statement it becomes a window function of ours, which sees the rows of a series one
//! after the other:
//!
//! ```sql
//! SELECT * EXCEPT ("predict(m)"), get_field("predict(m)", 'prediction') AS prediction, …
//! FROM (SELECT *, "predict(m)"(key, …, time, feature, …)
//!                   OVER (PARTITION BY key, … ORDER BY …) AS "predict(m)" FROM relation)
//! ```
//!
//! As a batch DataFusion runs just that, a fresh forecaster for each series; in a stream an operator
//! takes the place of the function ([`crate::operators::predict`]). Both see a series in the same
//! order: that of arrival where rows have one, else by time, rows of one time by all that the
//! forecast depends on, so that what is left to chance changes nothing (S11).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, new_empty_array};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::{DataFusionError, Result, exec_err};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    PartitionEvaluator, Signature, Volatility, WindowFunctionDefinition, WindowUDF, WindowUDFImpl,
};
use thalweg_core::model::{ForecastColumns, Served};
use thalweg_core::problem::{SqlProblem, nearest};
use thalweg_core::schema::meta;

use crate::operators::predict::{COLUMNS, fields, forecast};

/// A model as a statement can use it.
#[derive(Clone)]
pub struct NamedModel {
    /// What it reads of a row.
    pub columns: ForecastColumns,
    /// Who answers; `None` where a statement is only typed, or becomes a stream.
    pub served: Option<Arc<dyn Served>>,
}

/// Name of the function, and of the column it makes, for a model. No column of a user is called so.
pub(super) fn function_name(model: &str) -> String {
    format!("predict({model})")
}

/// The model of a function's name.
pub(super) fn model_of(function: &str) -> Option<&str> {
    function.strip_prefix("predict(")?.strip_suffix(')')
}

/// The query that takes the place of a call: of `__relation`. `key` tells rows of the relation apart,
/// `has_arrival` says that they have an order of arrival.
pub(super) fn template(
    model: &str,
    columns: &ForecastColumns,
    key: &[String],
    has_arrival: bool,
) -> String {
    let list = |names: &mut dyn Iterator<Item = &str>| {
        names.map(super::rewrite::quoted).collect::<Vec<_>>().join(", ")
    };
    let partition_by = match columns.key.as_slice() {
        [] => String::new(),
        key => format!("PARTITION BY {}", list(&mut key.iter().map(String::as_str))),
    };
    let order_by = if has_arrival {
        format!("{}, {}", meta::OFFSET, meta::ROW)
    } else {
        let mut order: Vec<&str> = vec![&columns.time];
        for column in key.iter().chain(&columns.features) {
            if !order.contains(&column.as_str()) {
                order.push(column);
            }
        }
        list(&mut order.into_iter())
    };
    let call = super::rewrite::quoted(&function_name(model));
    let added = COLUMNS.map(|name| format!("get_field({call}, '{name}') AS {name}")).join(", ");
    format!(
        "SELECT * EXCEPT ({call}), {added} FROM (SELECT *, {call}({arguments}) \
         OVER ({partition_by} ORDER BY {order_by}) AS {call} FROM __relation)",
        arguments = list(&mut columns.all()),
    )
}

/// What keeps a model from forecasting the rows of a relation.
pub(super) fn misfits(
    model: &str,
    columns: &ForecastColumns,
    relation: &str,
    schema: &Schema,
    place: Option<&Range<usize>>,
) -> Vec<SqlProblem> {
    let mut problems = Vec::new();
    let mut problem = |code, message, label, hint| {
        problems.push(SqlProblem { code, message, label, hint, range: place.cloned() });
    };
    for (at, column) in columns.all().enumerate() {
        let Ok(field) = schema.field_with_name(column) else {
            let known = schema.fields().iter().map(|field| field.name().as_str());
            let near = nearest(column, known);
            let message =
                format!("no column `{column}` in `{relation}`, which model `{model}` needs");
            let label = near.map(|near| format!("did you mean `{near}`?"));
            problem("T0302", message, label, Some(needs(model, columns)));
            continue;
        };
        let found = field.data_type();
        let wanted = match at.checked_sub(columns.key.len()) {
            None => continue,
            Some(0) if matches!(found, DataType::Timestamp(..)) => continue,
            Some(0) => "a timestamp",
            Some(_) if found.is_numeric() => continue,
            Some(_) => "a number",
        };
        let message =
            format!("column `{column}` of `{relation}` is {found}, model `{model}` needs {wanted}");
        problem("T0304", message, None, Some(needs(model, columns)));
    }
    for column in COLUMNS.into_iter().filter(|it| schema.column_with_name(it).is_some()) {
        let message = format!("`{relation}` has a column `{column}` already");
        let hint =
            "`predict()` adds prediction, lower, upper, model_version; give this one another name.";
        problem("T0305", message, None, Some(hint.to_owned()));
    }
    problems
}

fn needs(model: &str, columns: &ForecastColumns) -> String {
    let all: Vec<&str> = columns.all().collect();
    format!("Model `{model}` reads: {}.", all.join(", "))
}

/// The function of a model.
pub(super) fn function(model: &str, named: &NamedModel) -> Arc<WindowUDF> {
    Arc::new(WindowUDF::new_from_impl(PredictFunction {
        name: function_name(model),
        model: model.to_owned(),
        columns: named.columns.clone(),
        served: named.served.clone(),
        signature: Signature::variadic_any(Volatility::Immutable),
    }))
}

/// A model as a window function.
pub(crate) struct PredictFunction {
    name: String,
    pub(crate) model: String,
    pub(crate) columns: ForecastColumns,
    served: Option<Arc<dyn Served>>,
    signature: Signature,
}

impl PredictFunction {
    /// The function of ours that a call is to, if it is to one.
    pub(crate) fn of(function: &WindowFunctionDefinition) -> Option<&Self> {
        match function {
            WindowFunctionDefinition::WindowUDF(function) => {
                function.inner().as_ref().downcast_ref()
            }
            WindowFunctionDefinition::AggregateUDF(_) => None,
        }
    }

    fn versions(&self) -> Option<*const ()> {
        self.served.as_ref().map(|served| Arc::as_ptr(served).cast())
    }
}

impl fmt::Debug for PredictFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for PredictFunction {
    fn eq(&self, other: &Self) -> bool {
        self.model == other.model
            && self.columns == other.columns
            && self.versions() == other.versions()
    }
}

impl Eq for PredictFunction {}

impl Hash for PredictFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.model.hash(state);
    }
}

impl WindowUDFImpl for PredictFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn field(&self, arguments: WindowUDFFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(arguments.name(), DataType::Struct(fields()), true)))
    }

    fn partition_evaluator(
        &self,
        _: PartitionEvaluatorArgs<'_>,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        let Some(served) = self.served.clone() else {
            return exec_err!("model `{}` is typed, not served", self.model);
        };
        Ok(Box::new(SeriesEvaluator { served, columns: self.columns.clone() }))
    }
}

/// Forecasts a whole series, in order.
struct SeriesEvaluator {
    served: Arc<dyn Served>,
    columns: ForecastColumns,
}

impl fmt::Debug for SeriesEvaluator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeriesEvaluator").finish_non_exhaustive()
    }
}

impl PartitionEvaluator for SeriesEvaluator {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        if rows == 0 {
            return Ok(new_empty_array(&DataType::Struct(fields())));
        }
        let mut forecaster = self.served.start();
        let forecasts = forecast(forecaster.as_mut(), &self.columns, values.to_vec());
        let forecasts = forecasts.map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(Arc::new(forecasts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_called_as_its_model_and_no_other() {
        assert_eq!(model_of(&function_name("next_price")), Some("next_price"));
        assert_eq!(model_of("predict"), None);
    }
}
