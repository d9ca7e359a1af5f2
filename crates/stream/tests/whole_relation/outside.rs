//! What a pipeline asks besides its input, a metadata store and a lookup, in memory; and what is read
//! of rows.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::{AsArray as _, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use async_trait::async_trait;
use serde_json::Value;
use thalweg_core::store::{Entry, Expected, Store, StoredRow};
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};
use thalweg_stream::lookups::{Lookup, LookupRows};

/// The values of a column of numbers.
pub(crate) fn values(rows: &[RecordBatch], column: &str) -> Vec<i64> {
    rows.iter()
        .flat_map(|rows| {
            let column = rows.column_by_name(column).unwrap().as_primitive::<Int64Type>();
            column.values().to_vec()
        })
        .collect()
}

/// Numbers that are looked up in, and how often they have changed.
#[derive(Default)]
pub(crate) struct Picked(Mutex<(u64, Vec<i64>)>);

impl Picked {
    /// Its column.
    pub(crate) fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("v", DataType::Int64, false)]))
    }

    /// Others are picked from now on.
    pub(crate) fn change(&self, numbers: Vec<i64>) {
        let mut state = self.0.lock().unwrap();
        *state = (state.0 + 1, numbers);
    }
}

#[async_trait]
impl Lookup for Picked {
    async fn version(&self) -> Result<String> {
        Ok(self.0.lock().unwrap().0.to_string())
    }

    async fn read(&self) -> Result<LookupRows> {
        let (version, numbers) = self.0.lock().unwrap().clone();
        let column = Arc::new(Int64Array::from(numbers));
        let rows = RecordBatch::try_new(Self::schema(), vec![column]).unwrap();
        Ok(LookupRows { version: version.to_string(), schema: rows.schema(), batches: vec![rows] })
    }
}

/// A metadata store.
#[derive(Default)]
pub(crate) struct MemStore {
    rows: Mutex<BTreeMap<(String, String), Value>>,
    versions: AtomicU64,
}

#[async_trait]
impl Store for MemStore {
    async fn get(&self, kind: &str, id: &str) -> Result<Option<StoredRow>> {
        let rows = self.rows.lock().unwrap();
        let value = rows.get(&(kind.to_owned(), id.to_owned())).cloned();
        Ok(value.map(|value| StoredRow { id: id.to_owned(), version: 1, value }))
    }

    async fn put(&self, kind: &str, id: &str, _: Expected, value: &Value) -> Result<u64> {
        self.rows.lock().unwrap().insert((kind.to_owned(), id.to_owned()), value.clone());
        Ok(self.versions.fetch_add(1, Ordering::Relaxed) + 1)
    }

    async fn delete(&self, kind: &str, id: &str) -> Result<()> {
        self.rows.lock().unwrap().remove(&(kind.to_owned(), id.to_owned()));
        Ok(())
    }

    async fn list(&self, _: &str, _: &str, _: bool, _: usize) -> Result<Vec<StoredRow>> {
        Err(Error::internal("checkpoints are never listed"))
    }

    async fn append(&self, _: &str, _: Timestamp, _: &Value) -> Result<i64> {
        Err(Error::internal("pipelines keep no history"))
    }

    async fn entries(&self, _: &str, _: i64, _: usize) -> Result<Vec<Entry>> {
        Err(Error::internal("pipelines keep no history"))
    }
}
