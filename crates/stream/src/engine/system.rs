//! System tables: what the server knows of itself, as rows.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_json::ReaderBuilder;
use futures::future::BoxFuture;
use serde_json::Value;
use thalweg_core::Result;
use thalweg_core::query::Relation;

use crate::operators::expressions::engine_error;

/// A column of a system table: its name and type.
pub type SystemColumn = (&'static str, DataType);

/// A table whose rows are made when it is read.
pub struct SystemTable {
    /// Its full name, such as `system.ledger`.
    pub name: &'static str,
    schema: SchemaRef,
    key: &'static [&'static str],
    read: Box<dyn Fn() -> BoxFuture<'static, Result<Vec<Value>>> + Send + Sync>,
}

impl SystemTable {
    /// A table of JSON objects: `read` gives them each time somebody asks. Instants are RFC 3339 or
    /// microseconds.
    pub fn new(
        name: &'static str,
        columns: &[SystemColumn],
        key: &'static [&'static str],
        read: impl Fn() -> BoxFuture<'static, Result<Vec<Value>>> + Send + Sync + 'static,
    ) -> Self {
        let fields: Vec<Field> = columns
            .iter()
            .map(|(name, data_type)| Field::new(*name, data_type.clone(), true))
            .collect();
        Self { name, schema: Arc::new(Schema::new(fields)), key, read: Box::new(read) }
    }

    pub(super) async fn read(&self) -> Result<RecordBatch> {
        let rows = (self.read)().await?;
        let mut decoder = ReaderBuilder::new(Arc::clone(&self.schema))
            .with_batch_size(rows.len().max(1))
            .with_coerce_primitive(true)
            .build_decoder()
            .map_err(engine_error)?;
        decoder.serialize(&rows).map_err(engine_error)?;
        let batch = decoder.flush().map_err(engine_error)?;
        Ok(batch.unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(&self.schema))))
    }

    pub(super) fn relation(&self) -> Relation {
        let (schema_name, name) = self.name.split_once('.').unwrap_or(("system", self.name));
        Relation {
            schema_name: schema_name.to_owned(),
            name: name.to_owned(),
            kind: "system",
            columns: Arc::clone(&self.schema),
            key: self.key.iter().map(|&column| column.to_owned()).collect(),
        }
    }
}
