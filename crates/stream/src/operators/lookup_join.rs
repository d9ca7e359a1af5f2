//! A join with a lookup: each row of the stream with the rows of the other side that it finds there.
//!
//! The other side is hashed by its keys whenever it changes; a row then costs a probe. Rows come out
//! in the order in which they came in, the matches of one in the order of the lookup. State is none:
//! which rows the other side has is in the epoch's record.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array, new_null_array,
};
use arrow::compute::{filter_record_batch, take, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use datafusion::physical_expr::PhysicalExpr;
use thalweg_core::ledger::OperatorLedger;
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};

use super::expressions::{engine_error, evaluate, failed_row, ledger_from, ledger_snapshot};
use super::lookup::{Asker, beside};
use super::{Operator, Outputs, Snapshot};

/// Pairs of rows that are put together at a time.
const PAIRS_MAX: usize = 32_768;

/// What becomes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// It goes on once for each match.
    Inner,
    /// As above; without a match it goes on with NULLs.
    Left,
    /// It goes on if there is a match.
    Semi,
    /// It goes on if there is no match. As `NOT IN` has it, a NULL on either side
    /// may mean that nobody can tell.
    Anti {
        /// Whether NULLs are minded.
        null_aware: bool,
    },
    /// It goes on, with whether there is a match.
    Mark,
}

/// How to join.
pub struct LookupJoinConfig {
    /// What becomes of a row.
    pub kind: Joined,
    /// Keys of the stream's rows.
    pub keys: Vec<Arc<dyn PhysicalExpr>>,
    /// Keys of the lookup's rows, one for each.
    pub lookup_keys: Vec<Arc<dyn PhysicalExpr>>,
    /// Whether NULL is equal to NULL.
    pub null_equals_null: bool,
    /// What must be true of a pair beside, over the columns of both.
    pub condition: Option<Arc<dyn PhysicalExpr>>,
    /// Columns of both sides.
    pub pair_schema: SchemaRef,
    /// Columns of the rows that go on.
    pub schema: SchemaRef,
}

/// The lookup's rows, by key.
struct Side {
    rows: RecordBatch,
    converter: RowConverter,
    by_key: HashMap<Box<[u8]>, Vec<u32>>,
    has_null_key: bool,
}

/// Where the lookup's rows are put.
pub struct JoinSide {
    keys: Vec<Arc<dyn PhysicalExpr>>,
    null_equals_null: bool,
    side: RwLock<Option<Arc<Side>>>,
}

impl Asker for JoinSide {
    fn take(&self, rows: RecordBatch) -> Result<()> {
        let keys = columns_of(&self.keys, &rows)?;
        let fields = keys.iter().map(|key| SortField::new(key.data_type().clone())).collect();
        let converter = RowConverter::new(fields).map_err(engine_error)?;
        let mut by_key: HashMap<Box<[u8]>, Vec<u32>> = HashMap::new();
        let mut has_null_key = false;
        let encoded = converter.convert_columns(&keys).map_err(engine_error)?;
        for row in 0..rows.num_rows() {
            if keys.iter().any(|key| key.is_null(row)) && !self.null_equals_null {
                has_null_key = true;
                continue;
            }
            let number = u32::try_from(row)
                .map_err(|_| Error::invalid("a lookup has more than 4,294,967,295 rows"))?;
            by_key.entry(encoded.row(row).as_ref().into()).or_default().push(number);
        }
        let side = Side { rows, converter, by_key, has_null_key };
        *self.side.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(side));
        Ok(())
    }
}

/// Joins rows with a lookup.
pub struct LookupJoin {
    config: LookupJoinConfig,
    side: Arc<JoinSide>,
    ledger: OperatorLedger,
}

/// Rows of the stream and of the lookup that belong together.
#[derive(Default)]
struct Pairs {
    left: Vec<u32>,
    right: Vec<u32>,
}

impl LookupJoin {
    /// A join, and where it wants the lookup's rows.
    pub fn new(config: LookupJoinConfig) -> (Self, Arc<JoinSide>) {
        let side = Arc::new(JoinSide {
            keys: config.lookup_keys.clone(),
            null_equals_null: config.null_equals_null,
            side: RwLock::new(None),
        });
        let join = Self { config, side: Arc::clone(&side), ledger: OperatorLedger::default() };
        (join, side)
    }

    fn side(&self) -> Result<Arc<Side>> {
        let side = self.side.side.read().unwrap_or_else(PoisonError::into_inner).clone();
        side.ok_or_else(|| Error::internal("a lookup was not read yet"))
    }

    /// Joins the rows from `first` on until there are enough pairs; how many it came through.
    fn join_some(
        &mut self,
        (rows, keys): (&RecordBatch, &[ArrayRef]),
        side: &Side,
        first: usize,
        out: &mut Outputs,
    ) -> Result<usize> {
        let asked: Vec<ArrayRef> =
            keys.iter().map(|key| key.slice(first, rows.num_rows() - first)).collect();
        let encoded = side.converter.convert_columns(&asked).map_err(engine_error)?;
        let mut pairs = Pairs::default();
        let mut through = 0;
        while first + through < rows.num_rows() && pairs.left.len() < PAIRS_MAX {
            let is_null = asked.iter().any(|key| key.is_null(through));
            if (!is_null || self.config.null_equals_null)
                && let Some(found) = side.by_key.get(encoded.row(through).as_ref())
            {
                let row = u32::try_from(through)
                    .map_err(|_| Error::internal("a batch has too many rows"))?;
                pairs.left.extend(std::iter::repeat_n(row, found.len()));
                pairs.right.extend(found);
            }
            through += 1;
        }
        let rows = rows.slice(first, through);
        let asked: Vec<ArrayRef> = asked.iter().map(|key| key.slice(0, through)).collect();
        let (pairs, failed) = self.filter(&rows, side, pairs, out)?;
        self.give(&rows, &asked, side, &pairs, &failed, out)?;
        Ok(through)
    }

    /// The pairs for which the condition is true, and which rows it failed on.
    fn filter(
        &mut self,
        rows: &RecordBatch,
        side: &Side,
        pairs: Pairs,
        out: &mut Outputs,
    ) -> Result<(Pairs, Vec<bool>)> {
        let mut failed = vec![false; rows.num_rows()];
        let Some(condition) = self.config.condition.clone() else { return Ok((pairs, failed)) };
        let holds = |pairs: &Pairs| -> std::result::Result<BooleanArray, String> {
            let batch = self.pair_rows(rows, side, pairs).map_err(|error| error.chain())?;
            let value = condition.evaluate(&batch).and_then(|it| it.into_array(batch.num_rows()));
            Ok(value.map_err(|error| error.strip_backtrace())?.as_boolean().clone())
        };
        let mut kept = Pairs::default();
        let mut keep = |pairs: &Pairs, is_true: &BooleanArray| {
            for at in (0..pairs.left.len()).filter(|at| is_true.is_valid(*at) && is_true.value(*at))
            {
                kept.left.push(pairs.left[at]);
                kept.right.push(pairs.right[at]);
            }
        };
        match holds(&pairs) {
            Ok(is_true) => keep(&pairs, &is_true),
            // Row by row, so that only those it fails on are refused.
            Err(_) => {
                let mut at = 0;
                while at < pairs.left.len() {
                    let row = pairs.left[at];
                    let end = at + pairs.left[at..].iter().take_while(|it| **it == row).count();
                    let of_row = Pairs {
                        left: pairs.left[at..end].to_vec(),
                        right: pairs.right[at..end].to_vec(),
                    };
                    match holds(&of_row) {
                        Ok(is_true) => keep(&of_row, &is_true),
                        Err(reason) => {
                            failed[row as usize] = true;
                            out.failed.push(failed_row(&rows.slice(row as usize, 1), reason));
                        }
                    }
                    at = end;
                }
            }
        }
        Ok((kept, failed))
    }

    fn pair_rows(&self, rows: &RecordBatch, side: &Side, pairs: &Pairs) -> Result<RecordBatch> {
        let left = take_record_batch(rows, &UInt32Array::from(pairs.left.clone()));
        let right = take_record_batch(&side.rows, &UInt32Array::from(pairs.right.clone()));
        let (left, right) = (left.map_err(engine_error)?, right.map_err(engine_error)?);
        let columns = left.columns().iter().chain(right.columns()).cloned().collect();
        beside(&self.config.pair_schema, columns, pairs.left.len())
    }

    /// Gives what goes on, and counts it.
    fn give(
        &mut self,
        rows: &RecordBatch,
        asked: &[ArrayRef],
        side: &Side,
        pairs: &Pairs,
        failed: &[bool],
        out: &mut Outputs,
    ) -> Result<()> {
        let mut matches = vec![0_u64; rows.num_rows()];
        for row in &pairs.left {
            matches[*row as usize] += 1;
        }
        let given = match self.config.kind {
            Joined::Inner => self.pair_rows(rows, side, pairs)?,
            Joined::Left => self.with_unmatched(rows, side, pairs, &matches, failed)?,
            Joined::Mark => {
                let mark: BooleanArray = matches.iter().map(|count| Some(*count > 0)).collect();
                let columns = rows.columns().iter().cloned().chain([Arc::new(mark) as ArrayRef]);
                let marked = beside(&self.config.schema, columns.collect(), rows.num_rows())?;
                let stays: BooleanArray = failed.iter().map(|failed| Some(!failed)).collect();
                filter_record_batch(&marked, &stays).map_err(engine_error)?
            }
            Joined::Semi | Joined::Anti { .. } => {
                let stays = |row: usize| {
                    !failed[row]
                        && match self.config.kind {
                            Joined::Semi => matches[row] > 0,
                            Joined::Anti { null_aware: true } => {
                                let is_null = asked.iter().any(|key| key.is_null(row));
                                let is_empty = side.rows.num_rows() == 0;
                                matches[row] == 0 && (is_empty || !(side.has_null_key || is_null))
                            }
                            _ => matches[row] == 0,
                        }
                };
                let stays: BooleanArray =
                    (0..rows.num_rows()).map(|row| Some(stays(row))).collect();
                filter_record_batch(rows, &stays).map_err(engine_error)?
            }
        };
        let refused = failed.iter().filter(|failed| **failed).count() as u64;
        let added = match self.config.kind {
            Joined::Inner | Joined::Left => matches.iter().map(|it| it.saturating_sub(1)).sum(),
            _ => 0,
        };
        let filtered = match self.config.kind {
            Joined::Left | Joined::Mark => 0,
            Joined::Inner => {
                let unmatched = matches.iter().zip(failed).filter(|(it, bad)| **it == 0 && !**bad);
                unmatched.count() as u64
            }
            _ => rows.num_rows() as u64 - refused - given.num_rows() as u64,
        };
        self.ledger.rows_quarantined += refused;
        self.ledger.rows_added += added;
        self.ledger.rows_filtered += filtered;
        self.ledger.rows_emitted += given.num_rows() as u64;
        if given.num_rows() > 0 {
            out.rows.push(given);
        }
        Ok(())
    }

    /// The pairs, and rows without one with NULLs, in the order in which they came.
    fn with_unmatched(
        &self,
        rows: &RecordBatch,
        side: &Side,
        pairs: &Pairs,
        matches: &[u64],
        failed: &[bool],
    ) -> Result<RecordBatch> {
        let mut left = Vec::with_capacity(pairs.left.len());
        let mut right = Vec::with_capacity(pairs.left.len());
        let mut at = 0;
        for (row, count) in matches.iter().enumerate() {
            let number = u32::try_from(row).unwrap_or(u32::MAX);
            for _ in 0..*count {
                left.push(number);
                right.push(Some(pairs.right[at]));
                at += 1;
            }
            if *count == 0 && !failed[row] {
                left.push(number);
                right.push(None);
            }
        }
        let count = left.len();
        let (left, right) = (UInt32Array::from(left), UInt32Array::from(right));
        let mut columns = Vec::with_capacity(self.config.schema.fields().len());
        for column in rows.columns() {
            columns.push(take(column, &left, None).map_err(engine_error)?);
        }
        for column in side.rows.columns() {
            columns.push(match column.len() {
                0 => new_null_array(column.data_type(), count),
                _ => take(column, &right, None).map_err(engine_error)?,
            });
        }
        beside(&self.config.schema, columns, count)
    }
}

/// The value of each key for each row.
fn columns_of(keys: &[Arc<dyn PhysicalExpr>], rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
    let value = |key: &Arc<dyn PhysicalExpr>| {
        key.evaluate(rows).and_then(|value| value.into_array(rows.num_rows())).map_err(engine_error)
    };
    keys.iter().map(value).collect()
}

impl Operator for LookupJoin {
    fn schema(&self) -> &SchemaRef {
        &self.config.schema
    }

    fn process(&mut self, rows: RecordBatch, _: Timestamp, out: &mut Outputs) -> Result<()> {
        self.ledger.rows_in += rows.num_rows() as u64;
        let failed_before = out.failed.len();
        let (keys, rows) = evaluate(&self.config.keys, &rows, &mut out.failed)?;
        self.ledger.rows_quarantined += (out.failed.len() - failed_before) as u64;
        let side = self.side()?;
        let mut first = 0;
        while first < rows.num_rows() {
            first += self.join_some((&rows, &keys), &side, first, out)?;
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
        let side = self.side.side.read().unwrap_or_else(PoisonError::into_inner);
        side.as_ref().map_or(0, |side| {
            let keys: usize =
                side.by_key.iter().map(|(key, rows)| key.len() + rows.len() * 4 + 48).sum();
            side.rows.get_array_memory_size() + keys
        })
    }
}
