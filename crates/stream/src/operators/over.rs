//! `OVER (PARTITION BY … ORDER BY _offset)`: window functions in arrival order, one row at a time.
//!
//! Rows come in arrival order within a partition, and a key lives in one partition (S4), so a row's
//! answer is known when the row is: it looks back only. What looks ahead is refused when the stream
//! is compiled.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Accumulator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use serde_json::json;
use thalweg_core::ledger::OperatorLedger;
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};

use super::carry::Carry;
use super::expressions::{engine_error, evaluate, ledger_from};
use super::keys::Keys;
use super::{Operator, Outputs, Snapshot};

/// A window function as it is declared.
pub enum FunctionSpec {
    /// `lag(value, depth, default)`.
    Lag {
        /// What is looked back at.
        value: Arc<dyn PhysicalExpr>,
        /// How many rows back, at least 1.
        depth: usize,
        /// Given where there is no such row; null if none.
        default: Option<ScalarValue>,
        /// Type of the value.
        data_type: DataType,
    },
    /// `first_value(value)`.
    First {
        /// What is remembered.
        value: Arc<dyn PhysicalExpr>,
        /// Its type.
        data_type: DataType,
    },
    /// `last_value(value)` up to the current row: the value itself.
    Current {
        /// The value.
        value: Arc<dyn PhysicalExpr>,
    },
    /// `row_number()`.
    RowNumber,
    /// An aggregate over all rows of the key up to this one.
    Running(Arc<AggregateFunctionExpr>),
}

impl FunctionSpec {
    fn arguments(&self) -> Vec<Arc<dyn PhysicalExpr>> {
        match self {
            Self::Lag { value, .. } | Self::First { value, .. } | Self::Current { value } => {
                vec![Arc::clone(value)]
            }
            Self::RowNumber => Vec::new(),
            Self::Running(aggregate) => aggregate.expressions(),
        }
    }
}

enum Function {
    Lag { carry: Carry, default: Option<ScalarValue> },
    First(Carry),
    Current,
    RowNumber(Vec<u64>),
    Running { aggregate: Arc<AggregateFunctionExpr>, states: Vec<Box<dyn Accumulator>> },
}

/// Adds the answers of window functions to each row, in arrival order.
pub struct Over {
    partition_by: Vec<Arc<dyn PhysicalExpr>>,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    // How many of `arguments` each function takes, in order.
    argument_counts: Vec<usize>,
    functions: Vec<Function>,
    keys: Keys,
    schema: SchemaRef,
    ledger: OperatorLedger,
}

impl Over {
    /// Functions over one PARTITION BY; `schema` is the input's with one column added for each.
    pub fn new(
        partition_by: Vec<Arc<dyn PhysicalExpr>>,
        functions: Vec<FunctionSpec>,
        input: &SchemaRef,
        schema: SchemaRef,
    ) -> Result<Self> {
        let key_fields: Result<Vec<Field>, _> = partition_by
            .iter()
            .enumerate()
            .map(|(at, expression)| {
                let data_type = expression.data_type(input)?;
                Ok(Field::new(format!("key_{at}"), data_type, true))
            })
            .collect();
        let key_fields: Vec<Field> =
            key_fields.map_err(|error: datafusion::common::DataFusionError| engine_error(error))?;
        let argument_lists: Vec<_> = functions.iter().map(FunctionSpec::arguments).collect();
        Ok(Self {
            partition_by,
            argument_counts: argument_lists.iter().map(Vec::len).collect(),
            arguments: argument_lists.into_iter().flatten().collect(),
            functions: functions.into_iter().map(Function::from).collect(),
            keys: Keys::new(Arc::new(Schema::new(key_fields)))?,
            schema,
            ledger: OperatorLedger::default(),
        })
    }
}

impl From<FunctionSpec> for Function {
    fn from(spec: FunctionSpec) -> Self {
        match spec {
            FunctionSpec::Lag { depth, default, data_type, .. } => {
                Self::Lag { carry: Carry::last(&data_type, depth), default }
            }
            FunctionSpec::First { data_type, .. } => Self::First(Carry::first(&data_type)),
            FunctionSpec::Current { .. } => Self::Current,
            FunctionSpec::RowNumber => Self::RowNumber(Vec::new()),
            FunctionSpec::Running(aggregate) => Self::Running { aggregate, states: Vec::new() },
        }
    }
}

impl Function {
    fn answer(&mut self, keys: &[usize], key_count: usize, args: &[ArrayRef]) -> Result<ArrayRef> {
        Ok(match self {
            Self::Lag { carry, default } => {
                let (found, known) = carry.advance(keys, &args[0])?;
                match default {
                    Some(default) if known.contains(&false) => {
                        let known = arrow::array::BooleanArray::from(known);
                        let default = default.to_scalar().map_err(engine_error)?;
                        zip(&known, &found, &default).map_err(engine_error)?
                    }
                    _ => found,
                }
            }
            Self::First(carry) => carry.advance(keys, &args[0])?.0,
            Self::Current => Arc::clone(&args[0]),
            Self::RowNumber(counts) => {
                counts.resize(key_count.max(counts.len()), 0);
                let numbers = keys.iter().map(|key| {
                    counts[*key] += 1;
                    counts[*key]
                });
                Arc::new(UInt64Array::from_iter_values(numbers))
            }
            Self::Running { aggregate, states } => {
                while states.len() < key_count {
                    states.push(aggregate.create_accumulator().map_err(engine_error)?);
                }
                let mut answers = Vec::with_capacity(keys.len());
                for (row, key) in keys.iter().enumerate() {
                    let values: Vec<ArrayRef> = args.iter().map(|arg| arg.slice(row, 1)).collect();
                    states[*key].update_batch(&values).map_err(engine_error)?;
                    answers.push(states[*key].evaluate().map_err(engine_error)?);
                }
                if answers.is_empty() {
                    arrow::array::new_empty_array(aggregate.field().data_type())
                } else {
                    ScalarValue::iter_to_array(answers).map_err(engine_error)?
                }
            }
        })
    }

    /// Columns of the state with their names, one row a key or a remembered value.
    fn snapshot(&mut self, at: usize, keys: usize) -> Result<Vec<(String, RecordBatch)>> {
        Ok(match self {
            Self::Lag { carry, .. } | Self::First(carry) => {
                let (values, counts) = carry.snapshot(keys)?;
                vec![
                    (format!("values_{at}"), single("value", values)?),
                    (format!("counts_{at}"), single("count", Arc::new(UInt32Array::from(counts)))?),
                ]
            }
            Self::Current => Vec::new(),
            Self::RowNumber(counts) => {
                counts.resize(keys.max(counts.len()), 0);
                let counts = UInt64Array::from(counts.clone());
                vec![(format!("numbers_{at}"), single("number", Arc::new(counts))?)]
            }
            Self::Running { aggregate, states } => {
                vec![(format!("states_{at}"), accumulator_states(aggregate, states)?)]
            }
        })
    }

    fn restore(&mut self, at: usize, snapshot: &mut Snapshot) -> Result<()> {
        match self {
            Self::Lag { carry, .. } | Self::First(carry) => {
                let values = snapshot.take(&format!("values_{at}"))?;
                let counts = snapshot.take(&format!("counts_{at}"))?;
                let counts = counts
                    .column(0)
                    .as_any()
                    .downcast_ref::<UInt32Array>()
                    .ok_or_else(|| Error::internal("a snapshot's counts have another type"))?;
                carry.restore(Arc::clone(values.column(0)), counts.values());
            }
            Self::Current => {}
            Self::RowNumber(counts) => {
                let numbers = snapshot.take(&format!("numbers_{at}"))?;
                let numbers = numbers
                    .column(0)
                    .as_any()
                    .downcast_ref::<UInt64Array>()
                    .ok_or_else(|| Error::internal("a snapshot's numbers have another type"))?;
                *counts = numbers.values().to_vec();
            }
            Self::Running { aggregate, states } => {
                *states = accumulators_from(aggregate, &snapshot.take(&format!("states_{at}"))?)?;
            }
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Lag { carry, .. } | Self::First(carry) => carry.bytes(),
            Self::Current => 0,
            Self::RowNumber(counts) => counts.len() * 8,
            Self::Running { states, .. } => states.iter().map(|state| state.size()).sum(),
        }
    }
}

/// The states of accumulators, one a row. They stay as they were.
pub(super) fn accumulator_states(
    aggregate: &AggregateFunctionExpr,
    accumulators: &mut [Box<dyn Accumulator>],
) -> Result<RecordBatch> {
    let fields = aggregate.state_fields().map_err(engine_error)?;
    let mut columns: Vec<Vec<ScalarValue>> = vec![Vec::new(); fields.len()];
    for accumulator in accumulators.iter_mut() {
        // Taking the state may drain it, so a fresh one takes it back.
        let state = accumulator.state().map_err(engine_error)?;
        let mut fresh = aggregate.create_accumulator().map_err(engine_error)?;
        let arrays: Result<Vec<ArrayRef>, _> = state.iter().map(|value| value.to_array()).collect();
        fresh.merge_batch(&arrays.map_err(engine_error)?).map_err(engine_error)?;
        *accumulator = fresh;
        for (column, value) in columns.iter_mut().zip(state) {
            column.push(value);
        }
    }
    let arrays: Result<Vec<ArrayRef>, _> = columns
        .into_iter()
        .zip(&fields)
        .map(|(values, field)| {
            if values.is_empty() {
                Ok(arrow::array::new_empty_array(field.data_type()))
            } else {
                ScalarValue::iter_to_array(values)
            }
        })
        .collect();
    let arrays = arrays.map_err(engine_error)?;
    let fields: Vec<Field> = arrays
        .iter()
        .enumerate()
        .map(|(at, array)| Field::new(format!("state_{at}"), array.data_type().clone(), true))
        .collect();
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(accumulators.len()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
        .map_err(engine_error)
}

/// Accumulators from [`accumulator_states`].
pub(super) fn accumulators_from(
    aggregate: &AggregateFunctionExpr,
    states: &RecordBatch,
) -> Result<Vec<Box<dyn Accumulator>>> {
    (0..states.num_rows())
        .map(|row| {
            let mut accumulator = aggregate.create_accumulator().map_err(engine_error)?;
            accumulator.merge_batch(states.slice(row, 1).columns()).map_err(engine_error)?;
            Ok(accumulator)
        })
        .collect()
}

/// A batch of one column.
pub(super) fn single(name: &str, column: ArrayRef) -> Result<RecordBatch> {
    let schema = Schema::new(vec![Field::new(name, column.data_type().clone(), true)]);
    RecordBatch::try_new(Arc::new(schema), vec![column]).map_err(engine_error)
}

impl Operator for Over {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn process(&mut self, rows: RecordBatch, _: Timestamp, out: &mut Outputs) -> Result<()> {
        self.ledger.rows_in += rows.num_rows() as u64;
        let failed_before = out.failed.len();
        let expressions: Vec<_> =
            self.partition_by.iter().chain(&self.arguments).map(Arc::clone).collect();
        let (evaluated, rows) = evaluate(&expressions, &rows, &mut out.failed)?;
        self.ledger.rows_quarantined += (out.failed.len() - failed_before) as u64;
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let (key_columns, mut args) = evaluated.split_at(self.partition_by.len());
        let keys = self.keys.intern(key_columns, rows.num_rows())?.to_vec();
        let mut columns = rows.columns().to_vec();
        for (function, count) in self.functions.iter_mut().zip(&self.argument_counts) {
            let (own, rest) = args.split_at(*count);
            args = rest;
            columns.push(function.answer(&keys, self.keys.len(), own)?);
        }
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(engine_error)?;
        self.ledger.rows_emitted += rows.num_rows() as u64;
        out.rows.push(rows);
        Ok(())
    }

    fn ledger(&self) -> OperatorLedger {
        self.ledger
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        let keys = self.keys.len();
        let mut batches: Vec<(String, RecordBatch)> =
            self.keys.batch()?.map(|batch| ("keys".to_owned(), batch)).into_iter().collect();
        for (at, function) in self.functions.iter_mut().enumerate() {
            batches.extend(function.snapshot(at, keys)?);
        }
        Ok(Snapshot { facts: json!({ "ledger": self.ledger, "keys": keys }), batches })
    }

    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        self.ledger = ledger_from(&snapshot)?;
        if self.partition_by.is_empty() {
            let seen = snapshot.facts["keys"].as_u64().unwrap_or(0);
            self.keys.intern(&[], usize::from(seen > 0))?;
        } else {
            let keys = snapshot.take("keys")?;
            self.keys.intern(keys.columns(), keys.num_rows())?;
        }
        for (at, function) in self.functions.iter_mut().enumerate() {
            function.restore(at, &mut snapshot)?;
        }
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.keys.bytes() + self.functions.iter().map(Function::bytes).sum::<usize>()
    }
}

impl Snapshot {
    /// Takes the batch of that name out.
    pub(super) fn take(&mut self, name: &str) -> Result<RecordBatch> {
        let at = self.batches.iter().position(|(batch, _)| batch == name);
        let at = at.ok_or_else(|| Error::internal(format!("a snapshot has no `{name}`")))?;
        Ok(self.batches.swap_remove(at).1)
    }
}
