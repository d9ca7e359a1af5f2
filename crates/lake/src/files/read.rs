//! Reading: the files of one commit, as DataFusion's `TableProvider`.
//!
//! A provider holds its list of files, so a query sees one commit however long it runs, and lists
//! nothing. It reads with DataFusion's own readers of the four formats.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DataFusionError;
use datafusion::common::config::CsvOptions;
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::{
    AvroSource, CsvSource, FileGroup, FileScanConfigBuilder, FileSource, JsonSource, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use object_store::ObjectStore;
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
            let path = shared.place.at(&part.path)?;
            let values = shared.layout.scalars(&part.values)?;
            Ok(PartitionedFile::new(path.as_ref(), part.bytes).with_partition_values(values))
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

    /// The files, in as many groups as are read at the same time.
    fn groups(&self, count: usize) -> Vec<FileGroup> {
        let length = self.files.len().div_ceil(count.max(1)).max(1);
        self.files.chunks(length).map(|files| FileGroup::new(files.to_vec())).collect()
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

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        // Under a name of its own: stores of several tables may be of one kind.
        session.runtime_env().register_object_store(self.url.as_ref(), self.store.clone());
        let groups = self.groups(session.config().target_partitions());
        let config = FileScanConfigBuilder::new(self.url.clone(), self.source())
            .with_file_groups(groups)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}
