//! GROUP BY, over tumbling windows or for ever.
//!
//! A row belongs to the window its `window_start` names. A window closes when the watermark has
//! reached its end; a row of a closed window is late (S6), judged by the watermark at the start of
//! the epoch. `final` gives each window once, when it closes; `update` gives every group that took
//! rows at the end of each epoch, and nothing when it closes. Without windows nothing ever closes.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Field, SchemaRef, TimestampMicrosecondType};
use datafusion::physical_expr::PhysicalExpr;
use serde_json::json;
use thalweg_core::ledger::OperatorLedger;
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};

use super::aggregate_state::{AggregateSpec, Groups, Inputs, key_schema};
use super::expressions::{engine_error, evaluate, ledger_from};
use super::{LateRows, Operator, Outputs, Snapshot, Tick};
use crate::sql::functions::Edge;

/// When an aggregate gives its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// Once, when the window closes.
    Final,
    /// At the end of each epoch in which a group changed.
    Update,
}

/// A column of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputColumn {
    /// A grouping expression that is no edge of a window.
    Key(usize),
    /// An edge of the window.
    Window(Edge),
    /// An aggregate.
    Answer(usize),
}

/// What a GROUP BY is declared as.
pub struct AggregateConfig {
    /// Grouping expressions that are no edges of a window.
    pub keys: Vec<Arc<dyn PhysicalExpr>>,
    /// The aggregates.
    pub aggregates: Vec<AggregateSpec>,
    /// The window: an edge column of the input, which edge it is, and its size in microseconds.
    pub window: Option<(Arc<dyn PhysicalExpr>, Edge, i64)>,
    /// When answers are given.
    pub emit: Emit,
    /// What each column of the output is.
    pub layout: Vec<OutputColumn>,
    /// The output's columns.
    pub schema: SchemaRef,
}

/// A running GROUP BY.
pub struct Aggregate {
    config: AggregateConfig,
    expressions: Vec<Arc<dyn PhysicalExpr>>,
    key_schema: SchemaRef,
    // By start of window in microseconds; without windows, one entry at 0.
    windows: BTreeMap<i64, Groups>,
    rows_in: u64,
    rows_quarantined: u64,
    rows_late: u64,
    rows_closed: u64,
}

impl Aggregate {
    /// A GROUP BY over rows of `input`.
    pub fn new(config: AggregateConfig, input: &SchemaRef) -> Result<Self> {
        let fields: Result<Vec<Field>, _> = config
            .keys
            .iter()
            .enumerate()
            .map(|(at, key)| Ok(Field::new(format!("key_{at}"), key.data_type(input)?, true)))
            .collect();
        let fields =
            fields.map_err(|error: datafusion::common::DataFusionError| engine_error(error))?;
        let mut expressions: Vec<Arc<dyn PhysicalExpr>> = config.keys.clone();
        expressions.extend(config.window.iter().map(|(expression, ..)| Arc::clone(expression)));
        for aggregate in &config.aggregates {
            expressions.extend(aggregate.arguments.iter().map(Arc::clone));
            expressions.extend(aggregate.filter.iter().map(Arc::clone));
        }
        Ok(Self {
            config,
            expressions,
            key_schema: key_schema(fields),
            windows: BTreeMap::new(),
            rows_in: 0,
            rows_quarantined: 0,
            rows_late: 0,
            rows_closed: 0,
        })
    }

    fn groups(&mut self, start: i64) -> Result<&mut Groups> {
        use std::collections::btree_map::Entry;
        Ok(match self.windows.entry(start) {
            Entry::Occupied(groups) => groups.into_mut(),
            Entry::Vacant(place) => place.insert(Groups::new(
                self.config.emit == Emit::Update,
                &self.key_schema,
                &self.config.aggregates,
            )?),
        })
    }

    fn window_size(&self) -> i64 {
        self.config.window.as_ref().map_or(0, |(.., size)| *size)
    }

    fn inputs(&self, evaluated: Vec<ArrayRef>, rows: usize) -> (Inputs, Option<ArrayRef>) {
        let mut columns = evaluated.into_iter();
        let keys = columns.by_ref().take(self.config.keys.len()).collect();
        let window = if self.config.window.is_some() { columns.next() } else { None };
        let mut arguments = Vec::with_capacity(self.config.aggregates.len());
        let mut filters = Vec::with_capacity(self.config.aggregates.len());
        for aggregate in &self.config.aggregates {
            arguments.push(columns.by_ref().take(aggregate.arguments.len()).collect());
            let filter = if aggregate.filter.is_some() { columns.next() } else { None };
            filters.push(filter.map(|filter| filter.as_boolean().clone()));
        }
        (Inputs { keys, arguments, filters, rows }, window)
    }

    /// Lays keys, edges and answers out as the query asked.
    fn lay_out(
        &self,
        start: i64,
        (keys, answers): (Vec<ArrayRef>, Vec<ArrayRef>),
        rows: usize,
    ) -> Result<RecordBatch> {
        let edge = |edge: Edge| -> ArrayRef {
            let at = if edge == Edge::Start { start } else { start + self.window_size() };
            Arc::new(TimestampMicrosecondArray::from(vec![at; rows]).with_timezone("UTC"))
        };
        let columns = self
            .config
            .layout
            .iter()
            .map(|column| match column {
                OutputColumn::Key(at) => Arc::clone(&keys[*at]),
                OutputColumn::Window(which) => edge(*which),
                OutputColumn::Answer(at) => Arc::clone(&answers[*at]),
            })
            .collect();
        RecordBatch::try_new(Arc::clone(&self.config.schema), columns).map_err(engine_error)
    }
}

/// Rows by the window they fall into. Most fall into the one of the row before.
#[derive(Default)]
struct Parts {
    rows: Vec<Vec<u32>>,
    // Place in `rows`, by start of the window.
    places: BTreeMap<i64, usize>,
    last: Option<(i64, usize)>,
}

impl Parts {
    fn add(&mut self, start: i64, row: u32) {
        let place = match self.last {
            Some((last, place)) if last == start => place,
            _ => {
                let place = *self.places.entry(start).or_insert(self.rows.len());
                if place == self.rows.len() {
                    self.rows.push(Vec::new());
                }
                self.last = Some((start, place));
                place
            }
        };
        self.rows[place].push(row);
    }

    fn by_start(mut self) -> impl Iterator<Item = (i64, Vec<u32>)> {
        self.places
            .into_iter()
            .map(move |(start, place)| (start, std::mem::take(&mut self.rows[place])))
    }
}

/// Number of rows of keys or answers.
fn rows_of((keys, answers): &(Vec<ArrayRef>, Vec<ArrayRef>)) -> usize {
    keys.first().or(answers.first()).map_or(1, |column| column.len())
}

impl Operator for Aggregate {
    fn schema(&self) -> &SchemaRef {
        &self.config.schema
    }

    fn process(
        &mut self,
        rows: RecordBatch,
        watermark: Timestamp,
        out: &mut Outputs,
    ) -> Result<()> {
        self.rows_in += rows.num_rows() as u64;
        let failed_before = out.failed.len();
        let (evaluated, rows) = evaluate(&self.expressions, &rows, &mut out.failed)?;
        self.rows_quarantined += (out.failed.len() - failed_before) as u64;
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let (inputs, window) = self.inputs(evaluated, rows.num_rows());
        let Some((_, edge, size)) = self.config.window else {
            return self.update_window(0, &inputs);
        };
        let window = window.ok_or_else(|| Error::internal("a window has no edge column"))?;
        let edges = window.as_primitive::<TimestampMicrosecondType>();
        let shift = if edge == Edge::Start { 0 } else { size };
        let first = edges.value(0) - shift;
        let is_one = edges.null_count() == 0 && edges.values().iter().all(|at| at - shift == first);
        if is_one && first.saturating_add(size) > watermark.0 {
            return self.update_window(first, &inputs);
        }
        let mut parts = Parts::default();
        let mut late = Vec::new();
        let mut late_starts = Vec::new();
        for row in 0..edges.len() {
            let index = u32::try_from(row).expect("a batch has fewer than 2^32 rows");
            // A row without a time belongs to no window that could still be open.
            let start = if edges.is_null(row) { i64::MIN } else { edges.value(row) - shift };
            if start.saturating_add(size) <= watermark.0 || start == i64::MIN {
                late.push(index);
                late_starts.push(Timestamp(start));
            } else {
                parts.add(start, index);
            }
        }
        for (start, indices) in parts.by_start() {
            let part = inputs.take(&UInt32Array::from(indices))?;
            self.update_window(start, &part)?;
        }
        if !late.is_empty() {
            self.rows_late += late.len() as u64;
            let rows = take_record_batch(&rows, &UInt32Array::from(late)).map_err(engine_error)?;
            out.late.push(LateRows { rows, window_starts: late_starts });
        }
        Ok(())
    }

    fn end_epoch(&mut self, tick: Tick, out: &mut Outputs) -> Result<()> {
        if self.config.emit == Emit::Update {
            let starts: Vec<i64> = self.windows.keys().copied().collect();
            for start in starts {
                let Some(groups) = self.windows.get_mut(&start) else { continue };
                if let Some(changes) = groups.changes()? {
                    let rows = rows_of(&changes);
                    out.rows.push(self.lay_out(start, changes, rows)?);
                }
            }
        }
        if self.config.window.is_none() {
            return Ok(());
        }
        while let Some(entry) = self.windows.first_entry() {
            if entry.key().saturating_add(self.config.window.as_ref().map_or(0, |it| it.2))
                > tick.watermark.0
            {
                break;
            }
            let (start, groups) = entry.remove_entry();
            self.rows_closed += groups.rows();
            if self.config.emit == Emit::Final {
                let answers = groups.finish()?;
                let rows = rows_of(&answers);
                out.rows.push(self.lay_out(start, answers, rows)?);
            }
        }
        Ok(())
    }

    fn open_until(&self) -> Option<Timestamp> {
        let (.., size) = self.config.window.as_ref()?;
        let (start, _) = self.windows.last_key_value()?;
        Some(Timestamp(start.saturating_add(*size)))
    }

    fn ledger(&self) -> OperatorLedger {
        OperatorLedger {
            rows_in: self.rows_in,
            rows_quarantined: self.rows_quarantined,
            rows_late: self.rows_late,
            rows_closed: self.rows_closed,
            rows_open: self.windows.values().map(Groups::rows).sum(),
            ..OperatorLedger::default()
        }
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        let mut batches = Vec::with_capacity(self.windows.len());
        let mut windows = Vec::with_capacity(self.windows.len());
        for (start, groups) in &mut self.windows {
            windows.push(json!({ "start": start, "rows": groups.rows() }));
            batches.push((start.to_string(), groups.snapshot(&self.config.aggregates)?));
        }
        let facts = json!({
            "windows": windows,
            "rows_in": self.rows_in,
            "rows_closed": self.rows_closed,
            "ledger": self.ledger(),
        });
        Ok(Snapshot { facts, batches })
    }

    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        let ledger = ledger_from(&snapshot)?;
        self.rows_in = ledger.rows_in;
        self.rows_quarantined = ledger.rows_quarantined;
        self.rows_late = ledger.rows_late;
        self.rows_closed = ledger.rows_closed;
        let windows = snapshot.facts["windows"].as_array().cloned().unwrap_or_default();
        for window in windows {
            let (Some(start), Some(rows)) = (window["start"].as_i64(), window["rows"].as_u64())
            else {
                return Err(Error::internal("a snapshot's window has no start or no rows"));
            };
            let state = snapshot.take(&start.to_string())?;
            let mut groups = Groups::new(
                self.config.emit == Emit::Update,
                &self.key_schema,
                &self.config.aggregates,
            )?;
            groups.restore(&self.config.aggregates, self.config.keys.len(), &state, rows)?;
            self.windows.insert(start, groups);
        }
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.windows.values().map(Groups::bytes).sum()
    }
}

impl Aggregate {
    fn update_window(&mut self, start: i64, inputs: &Inputs) -> Result<()> {
        // Split borrow: the groups and the aggregates live side by side.
        self.groups(start)?;
        let groups = self.windows.get_mut(&start).expect("just made");
        groups.update(&self.config.aggregates, inputs)
    }
}
