//! A route: which arm takes a row is computed once, and rows that none takes end here, counted.
//!
//! The number of the arm goes on as the hidden column [`ARM`]; whoever hands rows on looks at it.
//! Invariant (S11, S12): every row is taken by one arm, by none, or is in quarantine.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int64Type, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;
use serde_json::json;
use thalweg_core::ledger::{OperatorLedger, RouteLedger};
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};

use super::expressions::{engine_error, evaluate, ledger_from};
use super::{Operator, Outputs, Snapshot};

/// Column with the number of the arm that takes a row; NULL where none does.
pub const ARM: &str = "__arm";

/// Sends rows apart.
pub struct Route {
    expressions: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
    arm: usize,
    ledger: OperatorLedger,
    route: RouteLedger,
}

impl Route {
    /// One expression for each column of `schema`, which has [`ARM`]; the route has `arms` of them.
    pub fn new(
        expressions: Vec<Arc<dyn PhysicalExpr>>,
        schema: SchemaRef,
        arms: usize,
    ) -> Result<Self> {
        let arm = schema.index_of(ARM).map_err(engine_error)?;
        let route = RouteLedger { rows_arms: vec![0; arms], ..RouteLedger::default() };
        Ok(Self { expressions, schema, arm, ledger: OperatorLedger::default(), route })
    }
}

impl Operator for Route {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn process(&mut self, rows: RecordBatch, _: Timestamp, out: &mut Outputs) -> Result<()> {
        self.ledger.rows_in += rows.num_rows() as u64;
        self.route.rows_in += rows.num_rows() as u64;
        let failed_before = out.failed.len();
        let (columns, rows) = evaluate(&self.expressions, &rows, &mut out.failed)?;
        let failed = (out.failed.len() - failed_before) as u64;
        self.ledger.rows_quarantined += failed;
        self.route.rows_quarantined += failed;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(engine_error)?;
        let arms = rows.column(self.arm).as_primitive::<Int64Type>().clone();
        for arm in &arms {
            let count = match arm {
                Some(arm) => {
                    usize::try_from(arm).ok().and_then(|it| self.route.rows_arms.get_mut(it))
                }
                None => Some(&mut self.route.rows_unrouted),
            };
            *count
                .ok_or_else(|| Error::internal("a row is sent to an arm that is not there"))? += 1;
        }
        let is_taken: BooleanArray = (0..arms.len()).map(|row| Some(arms.is_valid(row))).collect();
        let taken = filter_record_batch(&rows, &is_taken).map_err(engine_error)?;
        self.ledger.rows_filtered += arms.null_count() as u64;
        self.ledger.rows_emitted += taken.num_rows() as u64;
        if taken.num_rows() > 0 {
            out.rows.push(taken);
        }
        Ok(())
    }

    fn ledger(&self) -> OperatorLedger {
        self.ledger
    }

    fn route_ledger(&self) -> Option<&RouteLedger> {
        Some(&self.route)
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        let facts = json!({ "ledger": self.ledger, "route": self.route });
        Ok(Snapshot { facts, batches: Vec::new() })
    }

    fn restore(&mut self, snapshot: Snapshot) -> Result<()> {
        self.ledger = ledger_from(&snapshot)?;
        self.route = serde_json::from_value(snapshot.facts["route"].clone())
            .map_err(|error| Error::internal("a snapshot has no route").with_source(error))?;
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        0
    }
}
