//! A store in memory, of rows only.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use serde_json::Value;
use thalweg_connect::feed::{GAP_KIND, Gap};
use thalweg_core::store::{Entry, Expected, Store, StoredRow};
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};

#[derive(Default)]
pub(crate) struct MemStore(Mutex<BTreeMap<(String, String), (u64, Value)>>);

impl MemStore {
    /// The gaps, in order.
    pub(crate) fn gaps(&self) -> Vec<Gap> {
        let rows = self.0.lock().unwrap();
        rows.iter()
            .filter(|((kind, _), _)| kind == GAP_KIND)
            .map(|(_, (_, value))| serde_json::from_value(value.clone()).unwrap())
            .collect()
    }
}

#[async_trait]
impl Store for MemStore {
    async fn get(&self, kind: &str, id: &str) -> Result<Option<StoredRow>> {
        let rows = self.0.lock().unwrap();
        let row = rows.get(&(kind.to_owned(), id.to_owned())).cloned();
        Ok(row.map(|(version, value)| StoredRow { id: id.to_owned(), version, value }))
    }

    async fn put(&self, kind: &str, id: &str, expected: Expected, value: &Value) -> Result<u64> {
        assert_eq!(expected, Expected::Any, "a feed is the only writer of its rows");
        let mut rows = self.0.lock().unwrap();
        let row = rows.entry((kind.to_owned(), id.to_owned())).or_insert((0, Value::Null));
        *row = (row.0 + 1, value.clone());
        Ok(row.0)
    }

    async fn delete(&self, kind: &str, id: &str) -> Result<()> {
        self.0.lock().unwrap().remove(&(kind.to_owned(), id.to_owned()));
        Ok(())
    }

    async fn list(
        &self,
        kind: &str,
        prefix: &str,
        descending: bool,
        limit: usize,
    ) -> Result<Vec<StoredRow>> {
        let rows = self.0.lock().unwrap();
        let mut found: Vec<StoredRow> = rows
            .iter()
            .filter(|((of, id), _)| of == kind && id.starts_with(prefix))
            .map(|((_, id), (version, value))| StoredRow {
                id: id.clone(),
                version: *version,
                value: value.clone(),
            })
            .collect();
        if descending {
            found.reverse();
        }
        found.truncate(limit);
        Ok(found)
    }

    async fn append(&self, _history: &str, _at: Timestamp, _value: &Value) -> Result<i64> {
        Err(Error::internal("a feed keeps no history"))
    }

    async fn entries(&self, _history: &str, _after: i64, _limit: usize) -> Result<Vec<Entry>> {
        Ok(Vec::new())
    }
}
