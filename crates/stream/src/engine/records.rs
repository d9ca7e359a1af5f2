//! Sources, row-wise streams and closed windows, whole: table, replay, tail (S17a).
//!
//! The tail is looked at first and the table pinned after it, so the table is never older than what
//! the tail may have let go. Epochs up to the table's stamp come from the table; those behind it from
//! the tail; what neither has is decoded again from the input, and only then.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::datasource::DefaultTableSource;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, ident, lit};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::{StreamExt, TryStreamExt, stream};
use thalweg_core::sink::Epoch;
use thalweg_core::{Error, Result};

use super::{TableReader, memory_of};
use crate::operators::expressions::engine_error;
use crate::replay::{History, Until};
use crate::sql::Named;
use crate::tail::{Newest, Tail};

/// A source, a row-wise stream, or a stream of closed windows with a table.
#[derive(Clone)]
pub struct Records {
    /// Its newest rows.
    pub tail: Arc<Tail>,
    /// Its first lossless table.
    pub table: Option<Arc<dyn TableReader>>,
    /// Rows that neither of them has; none of windows, whose tail lets go only what the table holds.
    pub history: Option<Arc<dyn History>>,
    /// For a stream: its SQL over its source. Its table has no hidden columns, so a statement that
    /// names one is answered that way.
    pub sql: Option<String>,
}

impl Records {
    /// Pins one version of the whole relation.
    pub(super) async fn pin(&self) -> Result<Named> {
        let newest = self.tail.newest();
        let schema = Arc::clone(self.tail.schema());
        let Some(table) = &self.table else {
            return Ok(Named::Table(self.behind(0, &newest, schema)?));
        };
        let pinned = table.pin().await?;
        let stored_schema = pinned.provider.schema();
        let columns: Result<Vec<Expr>> = schema
            .fields()
            .iter()
            .map(|field| match stored_schema.column_with_name(field.name()) {
                Some(_) => Ok(ident(field.name())),
                None => {
                    let null = ScalarValue::try_from(field.data_type()).map_err(engine_error)?;
                    Ok(lit(null).alias(field.name()))
                }
            })
            .collect();
        let columns = columns?;
        let stored = scan("stored", pinned.provider)
            .and_then(|plan| plan.project(columns))
            .and_then(LogicalPlanBuilder::build)
            .map_err(engine_error)?;
        let behind = self.behind(pinned.epoch, &newest, schema)?;
        let behind =
            scan("behind", behind).and_then(LogicalPlanBuilder::build).map_err(engine_error)?;
        let both = LogicalPlanBuilder::from(stored)
            .union(behind)
            .and_then(LogicalPlanBuilder::build)
            .map_err(engine_error)?;
        Ok(Named::Plan(both))
    }

    /// What the tail holds: the newest rows, and nothing that would have to be read. Of windows it is
    /// the whole all the same: few close at a time, and a picture shows more than the last of them.
    pub(super) async fn newest(&self) -> Result<Named> {
        if self.history.is_none() {
            return self.pin().await;
        }
        let schema = Arc::clone(self.tail.schema());
        Ok(Named::Table(memory_of(schema, self.tail.newest().after(0))?))
    }

    /// The rows of the epochs behind `epoch`.
    fn behind(
        &self,
        epoch: Epoch,
        newest: &Newest,
        schema: SchemaRef,
    ) -> Result<Arc<dyn TableProvider>> {
        let fresh = newest.after(epoch);
        let Some(history) = &self.history else { return memory_of(schema, fresh) };
        let until = match &newest.reach {
            Some(reach) if reach.epoch <= epoch => return memory_of(schema, fresh),
            Some(reach) => {
                let manifests = newest.manifests.clone();
                Some(Until { ends: Arc::clone(&reach.ends), manifests })
            }
            // Nothing runs: the input itself is the newest.
            None => None,
        };
        let rows = Replayed {
            schema: Arc::clone(&schema),
            history: Arc::clone(history),
            after: epoch,
            until,
            fresh,
        };
        let table = StreamingTable::try_new(schema, vec![Arc::new(rows)]).map_err(engine_error)?;
        Ok(Arc::new(table))
    }
}

fn scan(
    name: &str,
    provider: Arc<dyn TableProvider>,
) -> datafusion::common::Result<LogicalPlanBuilder> {
    LogicalPlanBuilder::scan(name, Arc::new(DefaultTableSource::new(provider)), None)
}

/// Rows of the input, decoded as they are asked for, then those of the tail.
struct Replayed {
    schema: SchemaRef,
    history: Arc<dyn History>,
    after: Epoch,
    until: Option<Until>,
    fresh: Vec<RecordBatch>,
}

impl fmt::Debug for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replayed").field("after", &self.after).finish_non_exhaustive()
    }
}

impl PartitionStream for Replayed {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (history, after, until) = (Arc::clone(&self.history), self.after, self.until.clone());
        let older = stream::once(async move { history.rows(after, until).await }).try_flatten();
        let external = |error: Error| DataFusionError::External(Box::new(error));
        let fresh = stream::iter(self.fresh.clone().into_iter().map(Ok));
        let rows = older.map_err(external).chain(fresh);
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}
