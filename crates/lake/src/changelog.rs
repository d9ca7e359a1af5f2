//! A table of changes: each row with what it does and the epoch it came in.
//!
//! Not here: what an operation means to a reader; `_op` is `insert` where a stream has none, as in
//! every sink of changes.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use thalweg_core::sink::{Committed, Epoch, Guarantee, Sink, Stamp};
use thalweg_core::{Error, Result};

/// What a row does.
const OPERATION: &str = "_op";
/// In which epoch it came.
const EPOCH: &str = "_epoch";
/// What a row of a stream without operations does.
const INSERT: &str = "insert";

/// Hands rows on with `_op` and `_epoch`.
pub struct Changelog {
    to: Box<dyn Sink>,
}

impl Changelog {
    /// Hands rows on to a sink of [`Changelog::schema`].
    pub fn new(to: Box<dyn Sink>) -> Self {
        Self { to }
    }

    /// The columns of a table of changes of rows of `schema`.
    pub fn schema(schema: &Schema) -> SchemaRef {
        let is_ours = |field: &Field| field.name() == OPERATION || field.name() == EPOCH;
        let fields = schema.fields().iter().filter(|field| !is_ours(field));
        let ours = [
            Arc::new(Field::new(OPERATION, DataType::Utf8, false)),
            Arc::new(Field::new(EPOCH, DataType::Int64, false)),
        ];
        Arc::new(Schema::new(fields.cloned().chain(ours).collect::<Vec<_>>()))
    }
}

#[async_trait]
impl Sink for Changelog {
    fn guarantee(&self) -> Guarantee {
        self.to.guarantee()
    }

    async fn open(&mut self) -> Result<Option<Stamp>> {
        self.to.open().await
    }

    async fn write(&mut self, epoch: Epoch, rows: &RecordBatch) -> Result<()> {
        let schema = Self::schema(rows.schema_ref());
        let count = rows.num_rows();
        let number = i64::try_from(epoch).unwrap_or(i64::MAX);
        let column = |field: &Arc<Field>| -> Option<ArrayRef> {
            match (field.name().as_str(), rows.column_by_name(field.name())) {
                (EPOCH, _) => Some(Arc::new(Int64Array::from_value(number, count))),
                (_, Some(column)) => Some(column.clone()),
                (OPERATION, None) => Some(Arc::new(StringArray::from_iter_values(
                    std::iter::repeat_n(INSERT, count),
                ))),
                (_, None) => None,
            }
        };
        let columns = schema.fields().iter().filter_map(column).collect();
        let rows = RecordBatch::try_new(schema, columns)
            .map_err(|error| Error::internal("rows make no changes").with_source(error))?;
        self.to.write(epoch, &rows).await
    }

    fn wants_commit(&self) -> bool {
        self.to.wants_commit()
    }

    async fn commit(&mut self, stamp: &Stamp) -> Result<Committed> {
        self.to.commit(stamp).await
    }

    async fn discard(&mut self) {
        self.to.discard().await;
    }

    fn total(&self) -> Option<Committed> {
        self.to.total()
    }

    async fn adopt(&mut self, stamp: &Stamp, total: Committed) -> Result<()> {
        self.to.adopt(stamp, total).await
    }

    async fn reset(&mut self) -> Result<()> {
        self.to.reset().await
    }
}
