//! Keys to dense numbers, in order of first sight.
//!
//! DataFusion's `GroupValues` gives the numbers but can only be drained; a copy of each new key is
//! kept beside it, so that keys can be read and snapshots taken while it goes on.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat, take};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;
use thalweg_core::Result;

use super::expressions::engine_error;

/// Dense numbers for keys of one schema; a schema without columns has the one key 0.
pub struct Keys {
    schema: SchemaRef,
    values: Option<Box<dyn GroupValues>>,
    len: usize,
    chunks: Vec<Vec<ArrayRef>>,
    numbers: Vec<usize>,
}

impl Keys {
    /// No keys yet.
    pub fn new(schema: SchemaRef) -> Result<Self> {
        let values = if schema.fields().is_empty() {
            None
        } else {
            let values = new_group_values(Arc::clone(&schema), &GroupOrdering::None);
            Some(values.map_err(engine_error)?)
        };
        Ok(Self { schema, values, len: 0, chunks: Vec::new(), numbers: Vec::new() })
    }

    /// Number of keys seen.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no key was seen.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of each row's key; `rows` counts them, for a schema without columns.
    pub fn intern(&mut self, columns: &[ArrayRef], rows: usize) -> Result<&[usize]> {
        let Some(values) = &mut self.values else {
            self.len = self.len.max(usize::from(rows > 0));
            self.numbers.clear();
            self.numbers.resize(rows, 0);
            return Ok(&self.numbers);
        };
        values.intern(columns, &mut self.numbers).map_err(engine_error)?;
        let known = self.len;
        self.len = values.len();
        if self.len > known {
            // New keys are numbered in order of appearance, so one pass finds each first row.
            let mut firsts = Vec::with_capacity(self.len - known);
            for (row, number) in self.numbers.iter().enumerate() {
                if *number == known + firsts.len() {
                    firsts.push(u32::try_from(row).expect("a batch has fewer than 2^32 rows"));
                }
            }
            debug_assert_eq!(firsts.len(), self.len - known);
            let firsts = UInt32Array::from(firsts);
            let chunk: Result<Vec<ArrayRef>, _> =
                columns.iter().map(|column| take(column, &firsts, None)).collect();
            self.chunks.push(chunk.map_err(engine_error)?);
        }
        Ok(&self.numbers)
    }

    /// Every key, one a row, in order of number.
    pub fn columns(&mut self) -> Result<Vec<ArrayRef>> {
        if self.chunks.len() > 1 {
            let joined: Result<Vec<ArrayRef>, _> = (0..self.schema.fields().len())
                .map(|column| {
                    let parts: Vec<&dyn arrow::array::Array> =
                        self.chunks.iter().map(|chunk| chunk[column].as_ref()).collect();
                    concat(&parts)
                })
                .collect();
            self.chunks = vec![joined.map_err(engine_error)?];
        }
        Ok(match self.chunks.first() {
            Some(chunk) => chunk.clone(),
            None => self
                .schema
                .fields()
                .iter()
                .map(|field| arrow::array::new_empty_array(field.data_type()))
                .collect(),
        })
    }

    /// Every key as a batch; `None` when the schema has no columns.
    pub fn batch(&mut self) -> Result<Option<RecordBatch>> {
        if self.values.is_none() {
            return Ok(None);
        }
        let schema = nullable(&self.schema);
        let batch = RecordBatch::try_new(schema, self.columns()?).map_err(engine_error)?;
        Ok(Some(batch))
    }

    /// Bytes held, roughly.
    pub fn bytes(&self) -> usize {
        let chunks: usize =
            self.chunks.iter().flatten().map(|column| column.get_array_memory_size()).sum();
        chunks + self.values.as_ref().map_or(0, |values| values.size())
    }
}

/// The same schema with every field nullable and without metadata: how state is kept.
pub fn nullable(schema: &Schema) -> SchemaRef {
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| field.as_ref().clone().with_nullable(true).with_metadata(Default::default()))
        .collect();
    Arc::new(Schema::new(fields))
}
