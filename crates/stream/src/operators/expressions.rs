//! Row-wise operators: filter and project, and how expressions are evaluated.
//!
//! A row on which an expression fails is found by halving the batch, handed out as failed, and the
//! rest goes on (S13). Hidden columns of a source travel along through every projection, so that
//! each row can be traced and ordered to the end.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{concat, concat_batches, filter_record_batch};
use arrow::datatypes::{Int32Type, Int64Type, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;
use thalweg_core::ledger::OperatorLedger;
use thalweg_core::schema::meta;
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};

use super::{FailedRow, Operator, Outputs, Snapshot};

/// Folds an engine's error that no data can cause into ours.
pub fn engine_error(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal("the query engine failed").with_source(error)
}

/// Evaluates `expressions` over `rows`; rows on which one fails are left out and handed out.
///
/// Returns one array per expression and the rows they belong to.
pub fn evaluate(
    expressions: &[Arc<dyn PhysicalExpr>],
    rows: &RecordBatch,
    failed: &mut Vec<FailedRow>,
) -> Result<(Vec<ArrayRef>, RecordBatch)> {
    match evaluate_all(expressions, rows) {
        Ok(arrays) => Ok((arrays, rows.clone())),
        Err(reason) if rows.num_rows() == 1 => {
            failed.push(failed_row(rows, reason));
            let empty = rows.slice(0, 0);
            let arrays = evaluate_all(expressions, &empty).map_err(Error::internal)?;
            Ok((arrays, empty))
        }
        Err(_) => {
            let half = rows.num_rows() / 2;
            let (left, left_rows) = evaluate(expressions, &rows.slice(0, half), failed)?;
            let rest = rows.slice(half, rows.num_rows() - half);
            let (right, right_rows) = evaluate(expressions, &rest, failed)?;
            let arrays: Result<Vec<ArrayRef>, _> = left
                .iter()
                .zip(&right)
                .map(|(left, right)| concat(&[left.as_ref(), right.as_ref()]))
                .collect();
            let joined = concat_batches(&rows.schema(), [&left_rows, &right_rows]);
            Ok((arrays.map_err(engine_error)?, joined.map_err(engine_error)?))
        }
    }
}

fn evaluate_all(
    expressions: &[Arc<dyn PhysicalExpr>],
    rows: &RecordBatch,
) -> Result<Vec<ArrayRef>, String> {
    expressions
        .iter()
        .map(|expression| {
            expression.evaluate(rows).and_then(|value| value.into_array(rows.num_rows()))
        })
        .collect::<Result<_, _>>()
        .map_err(|error| error.strip_backtrace())
}

pub(super) fn failed_row(row: &RecordBatch, reason: String) -> FailedRow {
    let int32 = |name| {
        row.column_by_name(name).map_or(0, |column| column.as_primitive::<Int32Type>().value(0))
    };
    FailedRow {
        partition: int32(meta::PARTITION),
        offset: row
            .column_by_name(meta::OFFSET)
            .map_or(-1, |column| column.as_primitive::<Int64Type>().value(0)),
        row: int32(meta::ROW),
        reason,
    }
}

/// Keeps the rows for which a condition is true.
pub struct Filter {
    condition: [Arc<dyn PhysicalExpr>; 1],
    schema: SchemaRef,
    ledger: OperatorLedger,
}

impl Filter {
    /// A filter on rows of `schema`.
    pub fn new(condition: Arc<dyn PhysicalExpr>, schema: SchemaRef) -> Self {
        Self { condition: [condition], schema, ledger: OperatorLedger::default() }
    }
}

impl Operator for Filter {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn process(&mut self, rows: RecordBatch, _: Timestamp, out: &mut Outputs) -> Result<()> {
        self.ledger.rows_in += rows.num_rows() as u64;
        let failed_before = out.failed.len();
        let (kept, rows) = evaluate(&self.condition, &rows, &mut out.failed)?;
        self.ledger.rows_quarantined += (out.failed.len() - failed_before) as u64;
        let kept: &BooleanArray = kept[0].as_boolean();
        let passed = filter_record_batch(&rows, kept).map_err(engine_error)?;
        // NULL is not true; `true_count` and this count both sides where they happen.
        let dropped = (0..kept.len()).filter(|row| kept.is_null(*row) || !kept.value(*row)).count();
        self.ledger.rows_filtered += dropped as u64;
        self.ledger.rows_emitted += passed.num_rows() as u64;
        if passed.num_rows() > 0 {
            out.rows.push(passed);
        }
        Ok(())
    }

    fn ledger(&self) -> OperatorLedger {
        self.ledger
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        ledger_snapshot(&self.ledger)
    }

    fn restore(&mut self, snapshot: Snapshot) -> Result<()> {
        self.ledger = ledger_from(&snapshot)?;
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        0
    }
}

/// Computes columns from the columns of each row.
pub struct Project {
    expressions: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
    ledger: OperatorLedger,
}

impl Project {
    /// One expression for each column of `schema`.
    pub fn new(expressions: Vec<Arc<dyn PhysicalExpr>>, schema: SchemaRef) -> Self {
        Self { expressions, schema, ledger: OperatorLedger::default() }
    }
}

impl Operator for Project {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn process(&mut self, rows: RecordBatch, _: Timestamp, out: &mut Outputs) -> Result<()> {
        self.ledger.rows_in += rows.num_rows() as u64;
        let failed_before = out.failed.len();
        let (columns, rows) = evaluate(&self.expressions, &rows, &mut out.failed)?;
        self.ledger.rows_quarantined += (out.failed.len() - failed_before) as u64;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let projected =
            RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
                .map_err(engine_error)?;
        self.ledger.rows_emitted += projected.num_rows() as u64;
        if projected.num_rows() > 0 {
            out.rows.push(projected);
        }
        Ok(())
    }

    fn ledger(&self) -> OperatorLedger {
        self.ledger
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        ledger_snapshot(&self.ledger)
    }

    fn restore(&mut self, snapshot: Snapshot) -> Result<()> {
        self.ledger = ledger_from(&snapshot)?;
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        0
    }
}

/// A snapshot that holds nothing but the ledger.
pub(super) fn ledger_snapshot(ledger: &OperatorLedger) -> Result<Snapshot> {
    Ok(Snapshot { facts: serde_json::json!({ "ledger": ledger }), batches: Vec::new() })
}

/// The ledger of a snapshot.
pub(super) fn ledger_from(snapshot: &Snapshot) -> Result<OperatorLedger> {
    serde_json::from_value(snapshot.facts["ledger"].clone())
        .map_err(|error| Error::internal("a snapshot has no ledger").with_source(error))
}
