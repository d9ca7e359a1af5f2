//! Replacing days: one commit removes the files of those days and adds the new rows (S18a, S20).
//!
//! With a day column the files to go are whole folders. Without one, or by another column, the
//! bounds in the log decide: a file within the days goes, a file outside stays, and of any other
//! the rows outside the days are written anew.

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use deltalake_core::datafile::DataFileReader as _;
use deltalake_core::datafile::reader::ParquetFileReader;
use deltalake_core::kernel::{Action, Add, Remove};
use deltalake_core::table::state::DeltaTableState;
use futures::TryStreamExt as _;
use object_store::path::Path;
use thalweg_core::table::Replacement;
use thalweg_core::{Error, Result};

use super::actions::{self, Operation};
use super::columns::{days, tells_day};
use super::log::Head;
use super::rewrite::{ATTEMPTS_MAX, Cover, Rewrite, Span};
use super::table::{Shared, signed};
use super::writer::{Writer, remove};
use crate::error::fold;

impl Shared {
    pub(crate) async fn replace_days(&self, replacement: Replacement) -> Result<i64> {
        let span = self.span(&replacement)?;
        for _ in 0..ATTEMPTS_MAX {
            let read_version = {
                let mut head = self.head.lock().await;
                self.catch_up(&mut head).await?;
                let run = self.transaction(&mut head, actions::run_id(&replacement.run)).await?;
                if run.is_some() {
                    return Ok(signed(head.version));
                }
                head.version
            };
            let state = self.snapshots.at(read_version).await?;
            let rewrite = self.plan_replacement(&state, &replacement.rows, &span).await?;
            let mut head = self.head.lock().await;
            let note = replacement.note.as_deref();
            // Somebody may have made the same run in the meantime; its commit is then in between.
            self.catch_up(&mut head).await?;
            let run = self.transaction(&mut head, actions::run_id(&replacement.run)).await?;
            if run.is_none() {
                let extra = |head: &Head| {
                    let note = note.map(|note| actions::with_note(&head.metadata, note));
                    let mut extra: Vec<Action> =
                        note.transpose()?.into_iter().map(Action::Metadata).collect();
                    extra.push(actions::run_action(&replacement.run));
                    Ok(extra)
                };
                let committed = self.commit_rewrite(&mut head, &rewrite, note, extra).await?;
                if let Some(version) = committed {
                    return Ok(signed(version));
                }
            }
            drop(head);
            remove(&self.objects(), &rewrite.adds).await;
        }
        Err(self.outrun())
    }

    /// The days of a replacement, if its rows lie in them.
    fn span(&self, replacement: &Replacement) -> Result<Span> {
        let Replacement { day_column, first, last, .. } = replacement;
        let by_partition = self.columns.partition.as_ref().filter(|by| by.column == *day_column);
        let read_from = by_partition.map_or(day_column, |by| &by.source);
        let told = self.columns.file.field_with_name(read_from);
        if !told.is_ok_and(|field| tells_day(field.data_type())) {
            let message = format!("table `{}` has no day in column `{day_column}`", self.name);
            return Err(Error::invalid(message));
        }
        let span = Span { column: day_column.clone(), first: *first, last: *last };
        for rows in &replacement.rows {
            let rows = self.columns.conform(rows)?;
            let column = rows.column_by_name(read_from).expect("conformed rows have every column");
            if let Some(stray) = days(column).find(|day| !span.holds(*day)) {
                let stray = stray.map_or_else(|| "no day".to_owned(), |day| day.to_string());
                return Err(Error::invalid(format!(
                    "rows of {stray} cannot replace {first} to {last} of table `{}`",
                    self.name
                )));
            }
        }
        Ok(span)
    }

    async fn plan_replacement(
        &self,
        state: &DeltaTableState,
        rows: &[RecordBatch],
        span: &Span,
    ) -> Result<Rewrite> {
        let mut writer = self.writer();
        let planned = self.fill(&mut writer, state, rows, span).await;
        let planned = match planned {
            Ok(removes) => writer.finish().await.map(|adds| (removes, adds)),
            Err(error) => Err(error),
        };
        let (removes, adds) = match planned {
            Ok(planned) => planned,
            Err(error) => {
                writer.discard().await;
                return Err(error);
            }
        };
        let (read_version, operation) = (state.version(), Operation::Replace);
        Ok(Rewrite { read_version, operation, removes, adds, span: Some(span.clone()) })
    }

    /// Writes the new rows and what stays of files that lose some; returns the files to go.
    async fn fill(
        &self,
        writer: &mut Writer,
        state: &DeltaTableState,
        rows: &[RecordBatch],
        span: &Span,
    ) -> Result<Vec<Remove>> {
        let mut removes = Vec::new();
        for file in state.log_data().iter() {
            let add = Add {
                path: file.path().into_owned(),
                partition_values: file.partition_values_map(),
                stats: file.stats(),
                ..Add::default()
            };
            match span.cover(&add, &self.columns) {
                Cover::None => continue,
                Cover::All => {}
                Cover::Some => self.keep_rows(&add.path, span, writer).await?,
            }
            removes.push(file.remove_action(true));
        }
        for rows in rows {
            writer.write(rows).await?;
        }
        Ok(removes)
    }

    /// Writes the rows of a file that lie outside a span.
    async fn keep_rows(&self, path: &str, span: &Span, writer: &mut Writer) -> Result<()> {
        let cannot_read = || format!("cannot read {path} of {}", self.log.place());
        let reader = ParquetFileReader::new(self.objects());
        let rows = reader.read_file(Path::from(path)).await;
        let mut rows = rows.map_err(|error| fold(cannot_read(), error))?;
        while let Some(batch) = rows.try_next().await.map_err(|error| fold(cannot_read(), error))? {
            let batch = self.columns.conform(&batch)?;
            let column = batch
                .column_by_name(&span.column)
                .ok_or_else(|| Error::internal(format!("{path} lacks column `{}`", span.column)))?;
            let outside: BooleanArray = days(column).map(|day| Some(!span.holds(day))).collect();
            let kept = filter_record_batch(&batch, &outside)
                .map_err(|error| Error::internal("cannot filter rows").with_source(error))?;
            writer.write(&kept).await?;
        }
        Ok(())
    }
}
