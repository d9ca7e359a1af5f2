//! Forecasts in a stream: the call of `predict()` as an operator, and the query behind `FROM <model>`.

use std::sync::Arc;

use arrow::compute::SortOptions;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Expr, Window};
use thalweg_core::problem::SqlProblem;

use super::{End, Refusal, Shape, StreamQuery, Walk, in_arrival_order, no, prepare, unaliased};
use crate::operators::outcomes;
use crate::operators::predict::{Predict, PredictSpec};
use crate::sql::functions::window_of;
use crate::sql::predict::PredictFunction;
use crate::sql::rewrite::quoted;
use crate::sql::{Names, Planner};

/// Plans the query behind `FROM <model>`: what `model` predicts as rows of `features` come, and what
/// came of it.
///
/// # Errors
///
/// The features are no stream or source, or change their rows; then what a model predicts can only
/// be computed when it is asked for.
pub fn prepare_forecasts(
    planner: &Planner,
    model: &str,
    features: &str,
    names: &Names,
) -> Result<StreamQuery, Vec<SqlProblem>> {
    let sql = format!("SELECT * FROM predict({}, {})", quoted(model), quoted(features));
    let mut query = prepare(planner, &sql, names, false)?;
    let key = query.models.last().map(|(_, columns)| columns.key.clone()).unwrap_or_default();
    query.schema = outcomes::schema(&key);
    query.key = outcomes::row_key(&key);
    query.shape = Shape::Updating;
    query.outcomes = true;
    Ok(query)
}

impl Walk<'_> {
    /// The operator that takes the place of our window function.
    pub(super) fn predict(
        &mut self,
        window: &Window,
        function: &WindowFunction,
        predict: &PredictFunction,
    ) -> Result<End, Refusal> {
        let end = self.visit(&window.input)?;
        let input = window.input.schema();
        let order_by = match end.shape {
            Shape::RowWise => {
                in_arrival_order(function)?;
                None
            }
            Shape::Final => {
                let time = function.params.args.get(predict.columns.key.len()).map(unaliased);
                let is_edge = matches!(time, Some(Expr::Column(column)) if input
                    .maybe_index_of_column(column)
                    .is_some_and(|at| window_of(input.field(at)).is_some()));
                if !is_edge {
                    return no(format!(
                        "model `{}` takes `{}` for a row's time; of rows that windows give, only `window_start` and `window_end` tell their order",
                        predict.model, predict.columns.time
                    ));
                }
                let mut order_by = Vec::new();
                for sort in &function.params.order_by {
                    let options =
                        SortOptions { descending: !sort.asc, nulls_first: sort.nulls_first };
                    order_by.push((self.expression(&sort.expr, input)?, options));
                }
                Some(order_by)
            }
            Shape::Updating => {
                return no(
                    "`predict()` over rows that change would forecast from what is not final; use `emit = \"final\"`, or predict where they are read",
                );
            }
        };
        let arguments: Result<Vec<_>, Refusal> =
            function.params.args.iter().map(|it| self.expression(it, input)).collect();
        let spec = PredictSpec {
            model: predict.model.clone(),
            columns: predict.columns.clone(),
            arguments: arguments?,
            order_by,
        };
        self.models.push((predict.model.clone(), predict.columns.clone()));
        let schema = Arc::clone(window.schema.inner());
        self.operators.push(Box::new(Predict::new(spec, schema)));
        Ok(end)
    }
}
