//! Operators: what a running stream is made of.
//!
//! An operator turns batches into batches and may hold state. It sees the world only through its
//! input, what the epoch's record says at its start ([`Answers`]) and the [`Tick`] at its end, so
//! running an epoch again gives the same rows (S8). It needs nothing of DataFusion but expressions
//! and accumulators.
//!
//! Where rows come from, go to, and when an epoch ends is [`crate::pipeline`].

pub mod aggregate;
pub mod aggregate_state;
pub mod carry;
pub mod expressions;
pub mod keys;
pub mod lookup;
pub mod lookup_join;
pub mod outcomes;
pub mod over;
pub mod predict;
pub mod route;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use thalweg_core::Result;
use thalweg_core::ledger::{OperatorLedger, RouteLedger};
use thalweg_core::model::{Served, Serving};
use thalweg_core::time::Timestamp;

/// One node of a running stream.
///
/// # Contract
///
/// Calls arrive one at a time: one [`begin_epoch`](Self::begin_epoch), any number of
/// [`process`](Self::process), then one [`end_epoch`](Self::end_epoch).
/// [`snapshot`](Self::snapshot) is taken between two epochs; an operator that restores it and sees
/// the same later epochs gives the same later rows.
pub trait Operator: Send {
    /// Columns of the rows it gives.
    fn schema(&self) -> &SchemaRef;

    /// Learns who answers for each model in the epoch; nothing else of it.
    fn begin_epoch(&mut self, answers: &Answers) -> Result<()> {
        let _ = answers;
        Ok(())
    }

    /// Takes a batch. `watermark` is that of the start of the epoch (S2): it alone decides what is
    /// late.
    fn process(&mut self, rows: RecordBatch, watermark: Timestamp, out: &mut Outputs)
    -> Result<()>;

    /// Learns the watermark at the end of the epoch; windows close here and nowhere else.
    fn end_epoch(&mut self, tick: Tick, out: &mut Outputs) -> Result<()> {
        let _ = (tick, out);
        Ok(())
    }

    /// End of the last window that is open, if any: where a bounded input's watermark goes at its
    /// end, and no further.
    fn open_until(&self) -> Option<Timestamp> {
        None
    }

    /// What went in and came out so far.
    fn ledger(&self) -> OperatorLedger;

    /// Where it has sent rows, if it is a route.
    fn route_ledger(&self) -> Option<&RouteLedger> {
        None
    }

    /// The whole state.
    fn snapshot(&mut self) -> Result<Snapshot>;

    /// Takes back what [`snapshot`](Self::snapshot) returned, before the first batch; an operator
    /// with a model learns before that who answered when the snapshot was taken.
    fn restore(&mut self, snapshot: Snapshot) -> Result<()>;

    /// Bytes of state, roughly.
    fn state_bytes(&self) -> usize;
}

/// Who answers for each model of a program, by name of the model.
pub type Answers = BTreeMap<String, Answering>;

/// Who answers for a model.
#[derive(Clone)]
pub struct Answering {
    /// Which versions, as the epoch's record has them.
    pub serving: Serving,
    /// The versions, loaded.
    pub served: Arc<dyn Served>,
}

/// The end of an epoch.
#[derive(Clone, Copy, Debug)]
pub struct Tick {
    /// The watermark after the epoch.
    pub watermark: Timestamp,
}

/// Where an operator puts what it gives.
#[derive(Default)]
pub struct Outputs {
    /// Rows that go on, in order.
    pub rows: Vec<RecordBatch>,
    /// Rows too late for the operator (S6).
    pub late: Vec<LateRows>,
    /// Rows on which an expression failed (S13).
    pub failed: Vec<FailedRow>,
}

/// Rows that came after their window had closed.
#[derive(Clone, Debug)]
pub struct LateRows {
    /// The rows, as the operator got them.
    pub rows: RecordBatch,
    /// Start of the window each would have belonged to, one a row.
    pub window_starts: Vec<Timestamp>,
}

/// A row on which an expression failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedRow {
    /// `_partition` of its record.
    pub partition: i32,
    /// `_offset` of its record.
    pub offset: i64,
    /// `_row` within its record.
    pub row: i32,
    /// What the expression said.
    pub reason: String,
}

/// The state of one operator.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Snapshot {
    /// Small facts, as JSON.
    pub facts: serde_json::Value,
    /// Named batches.
    #[serde(skip)]
    pub batches: Vec<(String, RecordBatch)>,
}
