//! Batch: a stream's SQL over its history, for the days of a refresh (S11, S18a).
//!
//! The output is cut to the days; the input only where that is provable: tumbling windows that
//! divide a day. Rows that were late for the stream are left out until `late apply`, so that both
//! layers give one number. What it looks up in is read as it is now: which version of it the stream
//! saw with a row is not kept for good.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{LogicalPlanBuilder, cast, ident, lit};
use datafusion::prelude::SessionContext;
use thalweg_core::log::Log;
use thalweg_core::time::{Day, MICROS_PER_DAY};
use thalweg_core::{Error, Result};

use crate::engine::{TableReader, pin_models, wrong_sql};
use crate::lookups::Lookup;
use crate::operators::expressions::engine_error;
use crate::pipeline::Models;
use crate::program::visible;
use crate::sides::{self, LATE, LateRecord};
use crate::sql::rewrite::Mode;
use crate::sql::{Named, Names, Planner};

/// A stream as a batch.
pub struct BatchQuery {
    /// Name of the stream.
    pub stream: String,
    /// Its SQL.
    pub sql: String,
    /// Name of the source in that SQL.
    pub source: String,
    /// The history of the source.
    pub history: Arc<dyn TableReader>,
    /// Column of the source's event time.
    pub event_time: String,
    /// Column of the output that says which day a row belongs to: an instant.
    pub day_column: String,
    /// Size of the stream's windows in microseconds, if it has windows.
    pub window_size: Option<i64>,
    /// What its SQL looks up in, by name: read as it is now, over the whole history.
    pub lookups: BTreeMap<String, Arc<dyn Lookup>>,
    /// Models it may let forecast; those that serve now do, over the whole history.
    pub models: Models,
}

impl BatchQuery {
    /// The first day the history holds; none while it is empty.
    pub async fn first_day(&self, planner: &Planner) -> Result<Option<Day>> {
        let mut names = Names::default();
        names.insert("history", Named::Table(self.history.pin().await?.provider), Vec::new());
        let sql = format!(
            "SELECT CAST(floor(min(arrow_cast(\"{}\", 'Int64')) / {MICROS_PER_DAY}.0) AS INT) FROM history",
            self.event_time
        );
        let rows = run(planner, &sql, &names).await?;
        let day = rows.first().and_then(|batch| {
            let column = batch.column(0);
            let days = column.as_any().downcast_ref::<Int32Array>()?;
            (!days.is_empty() && !arrow::array::Array::is_null(days, 0)).then(|| Day(days.value(0)))
        });
        Ok(day)
    }

    /// The rows of the days `first ..= last`.
    pub async fn rows(
        &self,
        planner: &Planner,
        log: &dyn Log,
        first: Day,
        last: Day,
    ) -> Result<Vec<RecordBatch>> {
        let mut names = Names::default();
        names.insert("history", Named::Table(self.history.pin().await?.provider), Vec::new());
        names.insert("late", Named::Table(self.late(log).await?), Vec::new());
        let schema = self.history.schema();
        let columns: Vec<String> =
            schema.fields().iter().map(|field| format!("h.\"{}\"", field.name())).collect();
        pin_models(planner, &self.sql, &self.models, &mut names).await?;
        // A forecast depends on all rows before it, so then nothing is provable.
        let divides = names.models().next().is_none()
            && self.window_size.is_some_and(|size| MICROS_PER_DAY % size == 0);
        let cut = if divides {
            let time = format!("h.\"{}\"", self.event_time);
            let instant = |day: Day| {
                format!("arrow_cast({}, 'Timestamp(Microsecond, Some(\"UTC\"))')", day.start().0)
            };
            format!(" WHERE {time} >= {} AND {time} < {}", instant(first), instant(last.next()))
        } else {
            String::new()
        };
        let has_records = schema.column_with_name("_offset").is_some();
        let anti = if has_records {
            " LEFT ANTI JOIN late l ON h._partition = l._partition AND h._offset = l._offset AND h._row = l._row"
        } else {
            ""
        };
        let input = format!("SELECT {} FROM history h{anti}{cut}", columns.join(", "));
        let planned =
            planner.plan(&input, &names, Mode::Query).map_err(|it| wrong_sql(&input, it))?;
        names.insert(self.source.clone(), Named::Plan(planned.plan), Vec::new());
        for (name, lookup) in &self.lookups {
            names.insert(name, Named::Table(lookup.read().await?.table()?), Vec::new());
        }
        let planned =
            planner.plan(&self.sql, &names, Mode::Stream).map_err(|it| wrong_sql(&self.sql, it))?;
        let time = || cast(ident(&self.day_column), DataType::Int64);
        let plan = LogicalPlanBuilder::from(planned.plan)
            .filter(time().gt_eq(lit(first.start().0)).and(time().lt(lit(last.end().0))))
            .and_then(|plan| plan.build())
            .map_err(engine_error)?;
        let context = SessionContext::new_with_state(planner.state().clone());
        let frame = context.execute_logical_plan(plan).await.map_err(failed)?;
        let rows = frame.collect().await.map_err(failed)?;
        rows.iter().map(plain).collect()
    }

    /// Places of the rows that were late for the stream.
    async fn late(&self, log: &dyn Log) -> Result<Arc<MemTable>> {
        let late: Vec<LateRecord> = sides::read(log, LATE).await?;
        let late: Vec<&LateRecord> = late.iter().filter(|it| it.pipeline == self.stream).collect();
        let columns: Vec<(&str, ArrayRef)> = vec![
            (
                "_partition",
                Arc::new(late.iter().map(|it| Some(it.partition)).collect::<Int32Array>()),
            ),
            ("_offset", Arc::new(late.iter().map(|it| Some(it.offset)).collect::<Int64Array>())),
            ("_row", Arc::new(late.iter().map(|it| Some(it.row)).collect::<Int32Array>())),
        ];
        let fields: Vec<Field> = columns
            .iter()
            .map(|(name, column)| Field::new(*name, column.data_type().clone(), true))
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let columns = columns.into_iter().map(|(_, column)| column).collect();
        let rows = RecordBatch::try_new(Arc::clone(&schema), columns).map_err(engine_error)?;
        Ok(Arc::new(MemTable::try_new(schema, vec![vec![rows]]).map_err(engine_error)?))
    }
}

/// The visible columns of a batch, without what the planner notes about them.
fn plain(rows: &RecordBatch) -> Result<RecordBatch> {
    let schema = visible(rows.schema_ref());
    let columns: Option<Vec<ArrayRef>> =
        schema.fields().iter().map(|field| rows.column_by_name(field.name()).cloned()).collect();
    RecordBatch::try_new(schema, columns.unwrap_or_default()).map_err(engine_error)
}

async fn run(planner: &Planner, sql: &str, names: &Names) -> Result<Vec<RecordBatch>> {
    let planned = planner.plan(sql, names, Mode::Query).map_err(|it| wrong_sql(sql, it))?;
    let context = SessionContext::new_with_state(planner.state().clone());
    let frame = context.execute_logical_plan(planned.plan).await.map_err(failed)?;
    frame.collect().await.map_err(failed)
}

fn failed(error: datafusion::common::DataFusionError) -> Error {
    Error::data(error.strip_backtrace())
}
