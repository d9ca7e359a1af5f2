//! Sums and moments over frames that slide (`ROWS BETWEEN 11 PRECEDING AND CURRENT ROW`).
//!
//! DataFusion subtracts what leaves such a frame. In floating point that is not the sum of what
//! stays: sums of squares come out below zero, and one NaN or infinity poisons every row behind it.
//! Here what has left leaves no trace. A frame is two stacks; each entry of the front one holds what
//! there is from it to the end of that stack, so that a row is folded in twice and taken off by a
//! pop, however long the frame (the queue of two stacks).
//!
//! Everything but a sliding frame over doubles is DataFusion's own.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, FieldRef, Float64Type};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::expr::{
    AggregateFunction, AggregateFunctionParams, WindowFunctionParams,
};
use datafusion::logical_expr::function::{
    AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs,
};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Expr, GroupsAccumulator, Operator,
    ReversedUDAF, SetMonotonicity, Signature, StatisticsArgs,
};

/// DataFusion's aggregate functions, with these in the place of those that subtract.
pub(super) fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    let all = SessionStateDefaults::default_aggregate_functions().into_iter();
    all.map(|function| match Figure::of(function.name()) {
        Some(figure) => {
            let inner = Arc::clone(function.inner());
            Arc::new(AggregateUDF::new_from_impl(Exact { inner, figure }))
        }
        None => function,
    })
    .collect()
}

/// What is asked of the rows of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Figure {
    Sum,
    Mean,
    Variance { of_sample: bool },
    Deviation { of_sample: bool },
}

impl Figure {
    /// That of DataFusion's function of this name.
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "sum" => Self::Sum,
            "avg" => Self::Mean,
            "var" => Self::Variance { of_sample: true },
            "var_pop" => Self::Variance { of_sample: false },
            "stddev" => Self::Deviation { of_sample: true },
            "stddev_pop" => Self::Deviation { of_sample: false },
            _ => return None,
        })
    }

    fn of_moments(self, moments: Moments) -> Option<f64> {
        let Moments { count, sum, squares, .. } = moments;
        let divisor = |of_sample| if of_sample { count - 1.0 } else { count };
        match self {
            _ if count == 0.0 => None,
            Self::Sum => Some(sum),
            Self::Mean => Some(sum / count),
            Self::Variance { of_sample: true } | Self::Deviation { of_sample: true }
                if count < 2.0 =>
            {
                None
            }
            Self::Variance { of_sample } => Some(squares / divisor(of_sample)),
            Self::Deviation { of_sample } => Some((squares / divisor(of_sample)).sqrt()),
        }
    }
}

/// Count, sum, mean and squared distances from the mean of some values.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    count: f64,
    sum: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn of(value: f64) -> Self {
        Self { count: 1.0, sum: value, mean: value, squares: 0.0 }
    }

    /// Those of all values of two (Chan, Golub, LeVeque: Updating formulae, 1979).
    fn with(self, other: Self) -> Self {
        if self.count == 0.0 {
            return other;
        }
        if other.count == 0.0 {
            return self;
        }
        let count = self.count + other.count;
        let apart = other.mean - self.mean;
        Self {
            count,
            sum: self.sum + other.sum,
            mean: self.mean + apart * other.count / count,
            squares: self.squares
                + other.squares
                + apart * apart * self.count * other.count / count,
        }
    }
}

/// The values of a frame, oldest first.
#[derive(Debug)]
struct Frame {
    figure: Figure,
    /// From each value to the newest of this stack; the oldest value is on top.
    front: Vec<Moments>,
    /// What came since.
    back: Vec<f64>,
    back_moments: Moments,
}

impl Frame {
    fn push(&mut self, value: f64) {
        self.back.push(value);
        self.back_moments = self.back_moments.with(Moments::of(value));
    }

    /// Takes the oldest value off; returns whether there was one.
    fn pop(&mut self) -> bool {
        if self.front.is_empty() {
            let mut behind = Moments::default();
            for value in self.back.drain(..).rev() {
                behind = Moments::of(value).with(behind);
                self.front.push(behind);
            }
            self.back_moments = Moments::default();
        }
        self.front.pop().is_some()
    }

    fn moments(&self) -> Moments {
        self.front.last().copied().unwrap_or_default().with(self.back_moments)
    }
}

impl Accumulator for Frame {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        values[0].as_primitive::<Float64Type>().iter().flatten().for_each(|it| self.push(it));
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let leaving = values[0].len() - values[0].null_count();
        if (0..leaving).all(|_| self.pop()) {
            Ok(())
        } else {
            internal_err!("more rows leave a frame than it has")
        }
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.figure.of_moments(self.moments())))
    }

    fn size(&self) -> usize {
        size_of_val(self)
            + self.front.capacity() * size_of::<Moments>()
            + self.back.capacity() * size_of::<f64>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        internal_err!("a frame that slides is in one place")
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> Result<()> {
        internal_err!("a frame that slides is in one place")
    }
}

/// One of DataFusion's functions, whose frames subtract nothing.
#[derive(Clone)]
struct Exact {
    inner: Arc<dyn AggregateUDFImpl>,
    figure: Figure,
}

impl fmt::Debug for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Exact").field(&self.inner.name()).finish()
    }
}

impl PartialEq for Exact {
    fn eq(&self, other: &Self) -> bool {
        self.figure == other.figure
    }
}

impl Eq for Exact {}

impl Hash for Exact {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.figure.hash(state);
    }
}

impl AggregateUDFImpl for Exact {
    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        let is_double =
            args.expr_fields.iter().all(|field| *field.data_type() == DataType::Float64);
        if args.is_distinct || !is_double {
            return self.inner.create_sliding_accumulator(args);
        }
        Ok(Box::new(Frame {
            figure: self.figure,
            front: Vec::new(),
            back: Vec::new(),
            back_moments: Moments::default(),
        }))
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.schema_name(params)
    }

    fn human_display(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.human_display(params)
    }

    fn window_function_schema_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.inner.window_function_schema_name(params)
    }

    fn display_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.display_name(params)
    }

    fn window_function_display_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.inner.window_function_display_name(params)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn return_field(&self, arg_fields: &[FieldRef]) -> Result<FieldRef> {
        self.inner.return_field(arg_fields)
    }

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        self.inner.create_groups_accumulator(args)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        self.inner.simplify()
    }

    fn simplify_expr_op_literal(
        &self,
        function: &AggregateFunction,
        arg: &Expr,
        op: Operator,
        literal: &Expr,
        arg_is_left: bool,
    ) -> Result<Option<Expr>> {
        self.inner.simplify_expr_op_literal(function, arg, op, literal, arg_is_left)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.inner.reverse_expr()
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn value_from_stats(&self, args: &StatisticsArgs<'_>) -> Option<ScalarValue> {
        self.inner.value_from_stats(args)
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.set_monotonicity(data_type)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, RecordBatch};
    use datafusion::prelude::SessionContext;
    use proptest::prelude::*;

    use super::super::Planner;
    use super::*;

    /// One column of a query over the values, in their order.
    fn column(values: &[f64], sql: &str) -> Vec<Option<f64>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let context = SessionContext::new_with_state(Planner::new().state().clone());
            let numbers: ArrayRef =
                Arc::new(Float64Array::from_iter_values((0..).map(f64::from).take(values.len())));
            let values: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
            let rows = RecordBatch::try_from_iter([("n", numbers), ("v", values)]).expect("rows");
            context.register_batch("t", rows).expect("a table");
            let rows = context.sql(sql).await.expect("SQL").collect().await.expect("it runs");
            let values = rows.iter().flat_map(|it| {
                it.column(0).as_primitive::<Float64Type>().iter().collect::<Vec<_>>()
            });
            values.collect()
        })
    }

    #[test]
    fn a_large_value_leaves_no_trace_and_nan_leaves() {
        let sum = "SELECT sum(v) OVER (ORDER BY n ROWS 1 PRECEDING) AS s FROM t ORDER BY n";
        assert_eq!(column(&[1e17, 1.0, 2.0, 3.0], sum)[2..], [Some(3.0), Some(5.0)]);
        assert_eq!(column(&[f64::NAN, 1.0, 2.0, 3.0], sum)[2..], [Some(3.0), Some(5.0)]);
        let root =
            "SELECT sqrt(sum(v * v) OVER (ORDER BY n ROWS 1 PRECEDING)) AS s FROM t ORDER BY n";
        assert_eq!(column(&[0.1, 0.2, 0.3, 0.0, 0.0], root)[4], Some(0.0));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_frame_is_what_the_function_says_of_its_rows(
            values in proptest::collection::vec(-100.0..100.0_f64, 1..40),
            before in 0..12_usize,
        ) {
            for function in ["sum", "avg", "var", "var_pop", "stddev", "stddev_pop"] {
                let sql = format!("SELECT {function}(v) OVER (ORDER BY n ROWS {before} PRECEDING) AS s FROM t ORDER BY n");
                let found = column(&values, &sql);
                for (at, found) in found.into_iter().enumerate() {
                    let frame = &values[at.saturating_sub(before)..=at];
                    let whole = column(frame, &format!("SELECT {function}(v) AS s FROM t"))[0];
                    match (found, whole) {
                        (Some(found), Some(whole)) => prop_assert!(
                            (found - whole).abs() <= 1e-9 * whole.abs().max(100.0),
                            "{function}: {found} is not {whole}"
                        ),
                        (found, whole) => prop_assert_eq!(found, whole, "{}", function),
                    }
                }
            }
        }
    }
}
