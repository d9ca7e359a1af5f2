//! State of GROUP BY: one set of groups a window, or one for ever.
//!
//! [`Groups::Drained`] is vectorized and can only be emptied whole: right for windows that give
//! their answer once. [`Groups::Kept`] holds an accumulator a group and can be asked again and
//! again: right where every change is given on.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{filter, take};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::{GroupsAccumulatorAdapter, PhysicalExpr};
use thalweg_core::Result;

use super::expressions::engine_error;
use super::keys::{Keys, nullable};
use super::over::{accumulator_states, accumulators_from};

/// One aggregate function of a GROUP BY.
pub struct AggregateSpec {
    /// The function.
    pub function: Arc<AggregateFunctionExpr>,
    /// Its arguments, then what its own ORDER BY orders by.
    pub arguments: Vec<Arc<dyn PhysicalExpr>>,
    /// `FILTER (WHERE …)`.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
}

/// Evaluated inputs of one batch, or of the part of it that falls into one window.
pub struct Inputs {
    /// Key columns.
    pub keys: Vec<ArrayRef>,
    /// Arguments of each aggregate.
    pub arguments: Vec<Vec<ArrayRef>>,
    /// Filter of each aggregate.
    pub filters: Vec<Option<BooleanArray>>,
    /// Number of rows.
    pub rows: usize,
}

impl Inputs {
    /// The rows at `indices`. A column that several aggregates take is copied once.
    pub fn take(&self, indices: &UInt32Array) -> Result<Self> {
        let mut copies = Copies { indices, made: Vec::new() };
        let arguments = self.arguments.iter().map(|columns| copies.of_all(columns));
        let arguments = arguments.collect::<Result<_>>()?;
        let filters = self.filters.iter().map(|filter| {
            let Some(filter) = filter else { return Ok(None) };
            let taken = take(filter, indices, None).map_err(engine_error)?;
            Ok(Some(taken.as_boolean().clone()))
        });
        let filters = filters.collect::<Result<_>>()?;
        Ok(Self { keys: copies.of_all(&self.keys)?, arguments, filters, rows: indices.len() })
    }
}

/// Copies of columns at some indices, each made once.
struct Copies<'a> {
    indices: &'a UInt32Array,
    made: Vec<(&'a ArrayRef, ArrayRef)>,
}

impl<'a> Copies<'a> {
    fn of_all(&mut self, columns: &'a [ArrayRef]) -> Result<Vec<ArrayRef>> {
        columns.iter().map(|column| self.of(column)).collect()
    }

    fn of(&mut self, column: &'a ArrayRef) -> Result<ArrayRef> {
        if let Some((_, copy)) = self.made.iter().find(|(of, _)| Arc::ptr_eq(of, column)) {
            return Ok(Arc::clone(copy));
        }
        let copy = take(column, self.indices, None).map_err(engine_error)?;
        self.made.push((column, Arc::clone(&copy)));
        Ok(copy)
    }
}

/// The groups of one window, or of a GROUP BY without windows.
pub enum Groups {
    /// Vectorized; answers once.
    Drained(DrainedGroups),
    /// An accumulator a group; answers again and again.
    Kept(KeptGroups),
}

/// See [`Groups::Drained`].
pub struct DrainedGroups {
    keys: Keys,
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
    /// Rows taken.
    pub rows: u64,
}

/// See [`Groups::Kept`].
pub struct KeptGroups {
    keys: Keys,
    // One list of accumulators an aggregate, one accumulator a group.
    accumulators: Vec<Vec<Box<dyn Accumulator>>>,
    touched: Vec<usize>,
    is_touched: Vec<bool>,
    /// Rows taken.
    pub rows: u64,
}

impl Groups {
    /// No groups yet.
    pub fn new(keep: bool, key_schema: &SchemaRef, specs: &[AggregateSpec]) -> Result<Self> {
        let keys = Keys::new(Arc::clone(key_schema))?;
        Ok(if keep {
            Self::Kept(KeptGroups {
                keys,
                accumulators: specs.iter().map(|_| Vec::new()).collect(),
                touched: Vec::new(),
                is_touched: Vec::new(),
                rows: 0,
            })
        } else {
            let accumulators = specs.iter().map(|spec| groups_accumulator(&spec.function));
            let accumulators = accumulators.collect::<Result<_>>()?;
            Self::Drained(DrainedGroups { keys, accumulators, rows: 0 })
        })
    }

    /// Rows taken so far.
    pub fn rows(&self) -> u64 {
        match self {
            Self::Drained(groups) => groups.rows,
            Self::Kept(groups) => groups.rows,
        }
    }

    /// Takes rows.
    pub fn update(&mut self, specs: &[AggregateSpec], inputs: &Inputs) -> Result<()> {
        match self {
            Self::Drained(groups) => groups.update(inputs),
            Self::Kept(groups) => groups.update(specs, inputs),
        }
    }

    /// Keys and answers of every group; the groups are gone after it.
    pub fn finish(self) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>)> {
        match self {
            Self::Drained(mut groups) => {
                let keys = groups.keys.columns()?;
                let answers: Result<Vec<ArrayRef>, _> = groups
                    .accumulators
                    .iter_mut()
                    .map(|accumulator| accumulator.evaluate(EmitTo::All))
                    .collect();
                Ok((keys, answers.map_err(engine_error)?))
            }
            Self::Kept(mut groups) => {
                groups.touched = (0..groups.keys.len()).collect();
                groups.answers()
            }
        }
    }

    /// Keys and answers of the groups that took rows since the last call; `None` if none did.
    pub fn changes(&mut self) -> Result<Option<(Vec<ArrayRef>, Vec<ArrayRef>)>> {
        match self {
            Self::Kept(groups) if !groups.touched.is_empty() => groups.answers().map(Some),
            _ => Ok(None),
        }
    }

    /// Keys beside the state of each aggregate, one row a group. The groups stay as they were.
    pub fn snapshot(&mut self, specs: &[AggregateSpec]) -> Result<RecordBatch> {
        let (keys, states, count) = match self {
            Self::Drained(groups) => {
                (groups.keys.columns()?, groups.states(specs)?, groups.keys.len())
            }
            Self::Kept(groups) => {
                (groups.keys.columns()?, groups.states(specs)?, groups.keys.len())
            }
        };
        let columns: Vec<ArrayRef> = keys.into_iter().chain(states).collect();
        let fields: Vec<Field> = columns
            .iter()
            .enumerate()
            .map(|(at, column)| Field::new(format!("c{at}"), column.data_type().clone(), true))
            .collect();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(count));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
            .map_err(engine_error)
    }

    /// Takes back what [`snapshot`](Self::snapshot) gave.
    pub fn restore(
        &mut self,
        specs: &[AggregateSpec],
        key_columns: usize,
        state: &RecordBatch,
        rows: u64,
    ) -> Result<()> {
        let (keys, mut rest) = state.columns().split_at(key_columns);
        match self {
            Self::Drained(groups) => {
                groups.rows = rows;
                groups.merge(specs, keys, rest, state.num_rows())
            }
            Self::Kept(groups) => {
                groups.rows = rows;
                groups.keys.intern(keys, state.num_rows())?;
                groups.is_touched = vec![false; state.num_rows()];
                for (spec, accumulators) in specs.iter().zip(&mut groups.accumulators) {
                    let (own, others) = rest.split_at(state_columns(spec)?);
                    rest = others;
                    *accumulators =
                        accumulators_from(&spec.function, &columns_batch(own, state.num_rows())?)?;
                }
                Ok(())
            }
        }
    }

    /// Bytes held, roughly.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Drained(groups) => {
                groups.keys.bytes()
                    + groups
                        .accumulators
                        .iter()
                        .map(|accumulator| accumulator.size())
                        .sum::<usize>()
            }
            Self::Kept(groups) => {
                groups.keys.bytes()
                    + groups.accumulators.iter().flatten().map(|state| state.size()).sum::<usize>()
            }
        }
    }
}

impl DrainedGroups {
    fn update(&mut self, inputs: &Inputs) -> Result<()> {
        self.rows += inputs.rows as u64;
        let numbers = self.keys.intern(&inputs.keys, inputs.rows)?.to_vec();
        let total = self.keys.len();
        for (at, accumulator) in self.accumulators.iter_mut().enumerate() {
            accumulator
                .update_batch(&inputs.arguments[at], &numbers, inputs.filters[at].as_ref(), total)
                .map_err(engine_error)?;
        }
        Ok(())
    }

    fn states(&mut self, specs: &[AggregateSpec]) -> Result<Vec<ArrayRef>> {
        let mut states = Vec::new();
        for accumulator in &mut self.accumulators {
            states.extend(accumulator.state(EmitTo::All).map_err(engine_error)?);
        }
        // Taking the states drained the accumulators; fresh ones take them back.
        let fresh = specs.iter().map(|spec| groups_accumulator(&spec.function));
        self.accumulators = fresh.collect::<Result<_>>()?;
        let numbers: Vec<usize> = (0..self.keys.len()).collect();
        self.merge_states(specs, &states, &numbers)?;
        Ok(states)
    }

    fn merge(
        &mut self,
        specs: &[AggregateSpec],
        keys: &[ArrayRef],
        states: &[ArrayRef],
        rows: usize,
    ) -> Result<()> {
        let numbers = self.keys.intern(keys, rows)?.to_vec();
        self.merge_states(specs, states, &numbers)
    }

    fn merge_states(
        &mut self,
        specs: &[AggregateSpec],
        mut states: &[ArrayRef],
        numbers: &[usize],
    ) -> Result<()> {
        for (spec, accumulator) in specs.iter().zip(&mut self.accumulators) {
            let (own, rest) = states.split_at(state_columns(spec)?);
            states = rest;
            accumulator.merge_batch(own, numbers, self.keys.len()).map_err(engine_error)?;
        }
        Ok(())
    }
}

impl KeptGroups {
    fn update(&mut self, specs: &[AggregateSpec], inputs: &Inputs) -> Result<()> {
        self.rows += inputs.rows as u64;
        let numbers = self.keys.intern(&inputs.keys, inputs.rows)?.to_vec();
        let total = self.keys.len();
        self.is_touched.resize(total, false);
        for (spec, accumulators) in specs.iter().zip(&mut self.accumulators) {
            while accumulators.len() < total {
                accumulators.push(spec.function.create_accumulator().map_err(engine_error)?);
            }
        }
        // Rows of a group lie together after a stable sort, so each group is updated once a batch.
        let mut order: Vec<u32> = (0..u32::try_from(inputs.rows).expect("a batch fits")).collect();
        order.sort_by_key(|row| numbers[*row as usize]);
        let sorted = inputs.take(&UInt32Array::from(order.clone()))?;
        let mut start = 0;
        while start < order.len() {
            let group = numbers[order[start] as usize];
            let len =
                order[start..].iter().take_while(|row| numbers[**row as usize] == group).count();
            if !self.is_touched[group] {
                self.is_touched[group] = true;
                self.touched.push(group);
            }
            for (at, accumulators) in self.accumulators.iter_mut().enumerate() {
                let mut values: Vec<ArrayRef> =
                    sorted.arguments[at].iter().map(|column| column.slice(start, len)).collect();
                if let Some(kept) = &sorted.filters[at] {
                    let kept = kept.slice(start, len);
                    values = values
                        .iter()
                        .map(|column| filter(column, &kept).map_err(engine_error))
                        .collect::<Result<_>>()?;
                }
                accumulators[group].update_batch(&values).map_err(engine_error)?;
            }
            start += len;
        }
        Ok(())
    }

    fn answers(&mut self) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>)> {
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        for group in &touched {
            self.is_touched[*group] = false;
        }
        let indices: UInt32Array = touched
            .iter()
            .map(|group| u32::try_from(*group).expect("groups are counted in 32 bits"))
            .collect();
        let keys: Result<Vec<ArrayRef>, _> =
            self.keys.columns()?.iter().map(|column| take(column, &indices, None)).collect();
        let answers: Result<Vec<ArrayRef>> = self
            .accumulators
            .iter_mut()
            .map(|accumulators| {
                let values: Result<Vec<ScalarValue>, _> =
                    touched.iter().map(|group| accumulators[*group].evaluate()).collect();
                ScalarValue::iter_to_array(values.map_err(engine_error)?).map_err(engine_error)
            })
            .collect();
        Ok((keys.map_err(engine_error)?, answers?))
    }

    fn states(&mut self, specs: &[AggregateSpec]) -> Result<Vec<ArrayRef>> {
        let mut states = Vec::new();
        for (spec, accumulators) in specs.iter().zip(&mut self.accumulators) {
            states.extend(accumulator_states(&spec.function, accumulators)?.columns().to_vec());
        }
        Ok(states)
    }
}

fn groups_accumulator(function: &Arc<AggregateFunctionExpr>) -> Result<Box<dyn GroupsAccumulator>> {
    if function.groups_accumulator_supported() {
        return function.create_groups_accumulator().map_err(engine_error);
    }
    let function = Arc::clone(function);
    Ok(Box::new(GroupsAccumulatorAdapter::new(move || function.create_accumulator())))
}

fn state_columns(spec: &AggregateSpec) -> Result<usize> {
    Ok(spec.function.state_fields().map_err(engine_error)?.len())
}

fn columns_batch(columns: &[ArrayRef], rows: usize) -> Result<RecordBatch> {
    let fields: Vec<Field> =
        columns.iter().map(|column| Field::new("", column.data_type().clone(), true)).collect();
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns.to_vec(), &options)
        .map_err(engine_error)
}

/// The schema of keys as state keeps them.
pub(super) fn key_schema(fields: Vec<Field>) -> SchemaRef {
    nullable(&Schema::new(fields))
}
