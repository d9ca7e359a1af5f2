//! Reading: the files of one commit, as DataFusion's `TableProvider`.
//!
//! A provider holds its list of files, so a query sees one commit however long it runs, and lists
//! nothing. It reads with DataFusion's own readers of the four formats, and leaves out files whose
//! folders say that they hold no row that is asked for.

use std::fmt;
use std::sync::Arc;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::config::CsvOptions;
use datafusion::common::{DFSchema, DataFusionError, ScalarValue};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::{
    AvroSource, CsvSource, FileGroup, FileScanConfigBuilder, FileSource, JsonSource, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use object_store::{ObjectMeta, ObjectStore};
use thalweg_core::sink::Stamp;
use thalweg_core::{Error, Result};

use super::encode::Format;
use super::table::{Part, Shared, Shown};

/// A table of files at one commit.
#[derive(Clone)]
pub struct PinnedFiles {
    /// Number of the commit.
    pub version: i64,
    /// The stamp it holds.
    pub stamp: Option<Stamp>,
    /// The note of the last replacement.
    pub note: Option<String>,
    /// Its rows.
    pub provider: Arc<dyn TableProvider>,
}

impl PinnedFiles {
    pub(crate) fn new(shared: &Shared, shown: &Shown) -> Result<Self> {
        let file = |part: &Arc<Part>| {
            let values = shared.layout.scalars(&part.values)?;
            // By its very name: made of text, it would be escaped once more.
            let object = ObjectMeta {
                location: shared.place.at(&part.path)?,
                last_modified: Default::default(),
                size: part.bytes,
                e_tag: None,
                version: None,
            };
            Ok(PartitionedFile::new_from_meta(object).with_partition_values(values))
        };
        let files = shown.parts.iter().map(file).collect::<Result<Vec<_>>>()?;
        let format = shared.options.format;
        let columns = readable(&shared.layout.file, format);
        let folders = shared.layout.folders.clone();
        let schema = TableSchema::builder(columns).with_table_partition_cols(folders).build();
        let url = ObjectStoreUrl::parse(&shared.store_name)
            .map_err(|error| Error::internal("a store has no name").with_source(error))?;
        let store = shared.place.store().clone();
        let provider = Files { url, store, format, schema, files };
        Ok(Self {
            version: i64::try_from(shown.head.number).unwrap_or(i64::MAX),
            stamp: shown.head.stamp.clone(),
            note: shown.head.note.clone(),
            provider: Arc::new(provider),
        })
    }
}

/// The columns of a file as they are read back: CSV cannot tell empty text from null.
fn readable(file: &SchemaRef, format: Format) -> SchemaRef {
    if !matches!(format, Format::Csv { .. }) {
        return file.clone();
    }
    let nullable = |field: &Arc<Field>| match field.data_type() {
        DataType::Utf8 => Arc::new(field.as_ref().clone().with_nullable(true)),
        _ => field.clone(),
    };
    Arc::new(Schema::new(file.fields().iter().map(nullable).collect::<Vec<_>>()))
}

/// Files, and how to read them.
struct Files {
    url: ObjectStoreUrl,
    store: Arc<dyn ObjectStore>,
    format: Format,
    schema: TableSchema,
    files: Vec<PartitionedFile>,
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("files", &self.files.len()).finish_non_exhaustive()
    }
}

impl Files {
    fn source(&self) -> Arc<dyn FileSource> {
        let schema = self.schema.clone();
        match self.format {
            Format::Parquet => Arc::new(ParquetSource::new(schema)),
            Format::Avro => Arc::new(AvroSource::new(schema)),
            Format::Csv { delimiter } => {
                let options = CsvOptions {
                    has_header: Some(true),
                    delimiter,
                    newlines_in_values: Some(true),
                    ..CsvOptions::default()
                };
                Arc::new(CsvSource::new(schema).with_csv_options(options))
            }
            Format::Json => Arc::new(JsonSource::new(schema)),
        }
    }

    /// Whether a filter is over columns of folders alone.
    fn tells_folders(&self, filter: &Expr) -> bool {
        let folders = self.schema.table_partition_cols();
        let is_folder = |name: &str| folders.iter().any(|folder| folder.name() == name);
        let columns = filter.column_refs();
        !columns.is_empty() && columns.iter().all(|column| is_folder(column.name()))
    }

    /// The files whose folders pass the filters that tell them.
    fn passing(
        &self,
        session: &dyn Session,
        filters: &[Expr],
    ) -> Result<Vec<PartitionedFile>, DataFusionError> {
        let told: Vec<Expr> =
            filters.iter().filter(|filter| self.tells_folders(filter)).cloned().collect();
        let Some(filter) = conjunction(told).filter(|_| !self.files.is_empty()) else {
            return Ok(self.files.clone());
        };
        let folders = self.schema.table_partition_cols().clone();
        let schema: SchemaRef = Arc::new(Schema::new(folders));
        let columns = (0..schema.fields().len()).map(|at| {
            ScalarValue::iter_to_array(
                self.files.iter().map(|file| file.partition_values[at].clone()),
            )
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let values = RecordBatch::try_new(schema.clone(), columns)?;
        let filter = session.create_physical_expr(filter, &DFSchema::try_from(schema)?)?;
        let passes = filter.evaluate(&values)?.into_array(self.files.len())?;
        let passes = passes.as_boolean().iter();
        let files = self.files.iter().zip(passes).filter(|(_, passes)| *passes == Some(true));
        Ok(files.map(|(file, _)| file.clone()).collect())
    }
}

#[async_trait]
impl TableProvider for Files {
    fn schema(&self) -> SchemaRef {
        self.schema.table_schema().clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        // Files are left out by them; rows are still looked at.
        let told = |filter: &&Expr| match self.tells_folders(filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(told).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        // Under a name of its own: stores of several tables may be of one kind.
        session.runtime_env().register_object_store(self.url.as_ref(), self.store.clone());
        let files = self.passing(session, filters)?;
        if files.is_empty() {
            let schema = self.schema();
            let schema = match projection {
                Some(columns) => Arc::new(schema.project(columns)?),
                None => schema,
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let length = files.len().div_ceil(session.config().target_partitions().max(1)).max(1);
        let groups = files.chunks(length).map(|files| FileGroup::new(files.to_vec())).collect();
        let config = FileScanConfigBuilder::new(self.url.clone(), self.source())
            .with_file_groups(groups)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}
