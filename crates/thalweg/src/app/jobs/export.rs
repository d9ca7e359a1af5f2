//! A task that writes the rows of a query to a file.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use thalweg_core::query::{Query, QueryEngine as _, QueryLimits};
use thalweg_core::task::{Task, TaskContext};
use thalweg_core::{Error, Result};
use thalweg_lake::Place;
use thalweg_lake::files::{Format, export};
use thalweg_project::ExportFormat;
use thalweg_stream::engine::Engine;

/// Writes one file a run: a run again replaces it.
pub(super) struct Export {
    engine: Arc<Engine>,
    sql: String,
    /// In which `$day` stands for the day of the run.
    path: PathBuf,
    format: Format,
    time_max: Duration,
}

impl Export {
    /// The rows of `sql` to `path`, an absolute one, within `time_max`.
    pub(super) fn new(
        engine: &Arc<Engine>,
        sql: &str,
        path: PathBuf,
        format: ExportFormat,
        time_max: Duration,
    ) -> Self {
        let format = match format {
            ExportFormat::Csv => Format::Csv { delimiter: b',' },
            ExportFormat::Json => Format::Json,
            ExportFormat::Parquet => Format::Parquet,
            ExportFormat::Avro => Format::Avro,
        };
        Self { engine: Arc::clone(engine), sql: sql.to_owned(), path, format, time_max }
    }

    async fn write(&self, context: &TaskContext) -> Result<String> {
        let day = context.day.to_string();
        let path = PathBuf::from(self.path.to_string_lossy().replace("$day", &day));
        let no_file = || Error::invalid(format!("{} names no file", path.display()));
        let name = path.file_name().and_then(|it| it.to_str()).ok_or_else(no_file)?;
        let folder = path.parent().and_then(|it| it.to_str()).ok_or_else(no_file)?;
        let query = Query {
            params: BTreeMap::from([("day".to_owned(), day.into())]),
            limits: QueryLimits { rows_max: None, time_max: self.time_max },
            ..Query::new(&self.sql)
        };
        let rows = self.engine.query(query).await?;
        let place = Place::on_disk(folder)?;
        let count = export(&place, name, self.format, &rows.schema, rows.batches).await?;
        Ok(format!("wrote {count} rows to {}", path.display()))
    }
}

#[async_trait]
impl Task for Export {
    async fn run(&self, context: &TaskContext) -> Result<String> {
        tokio::select! {
            written = self.write(context) => written,
            () = context.cancel.cancelled() => Err(Error::unavailable("the export was given up")),
        }
    }
}
