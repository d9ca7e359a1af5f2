//! A topic of the log: a record a row, exactly once (S9).
//!
//! ```text
//! key      the text of the key's column; of several a JSON array of texts; none without a key
//! value    a JSON object of the columns, NULLs written
//! time     the event time of the row
//! headers  op: insert, or upsert for a row that takes the place of the one before with its key
//!          epoch: the epoch that gave the row, as text
//! ```
//!
//! A commit appends to each partition, then moves the stamp, a row of the store that says where each
//! partition ended. What lies behind those ends after a crash is the beginning of what an unfinished
//! commit wrote. The same epochs are handed over again and give the same records in the same order
//! (S8), so as many are left out as are there. Nobody else writes to the topic: `check` sees to that.
//!
//! A key is always in one partition, the one that Kafka's own clients choose; records without a key
//! go round. Not here: how the log keeps records.

mod partitioner;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thalweg_core::env::Clock;
use thalweg_core::log::{Durability, Log};
use thalweg_core::records::{Record, RecordHeader, encode};
use thalweg_core::sink::{Committed, Epoch, Guarantee, Sink, Stamp};
use thalweg_core::store::{Expected, Store};
use thalweg_core::time::Timestamp;
use thalweg_core::topic::{Offset, TopicPartition};
use thalweg_core::{Error, Result};

use self::partitioner::partition_of;
use super::json_rows::{in_utc, json_rows};

/// Kind of the rows that hold the stamps, by topic.
const STAMPS: &str = "topic_stamp";

/// What a row does to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It is added.
    Insert,
    /// It takes the place of the row before it.
    Upsert,
}

impl Operation {
    /// The word for it, as the header `op` has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Upsert => "upsert",
        }
    }
}

/// How rows are published.
#[derive(Clone, Debug)]
pub struct TopicConfig {
    /// The topic, which exists.
    pub topic: String,
    /// Number of its partitions.
    pub partitions: u32,
    /// Columns of the key; empty for records without one.
    pub key: Vec<String>,
    /// Column of the event time; without it records have the time at which they are handed over.
    pub event_time: Option<String>,
    /// Columns that are handed over beside those of the value.
    pub beside: Vec<String>,
    /// What a row does.
    pub operation: Operation,
    /// Whether the value also has `_op` and `_epoch`.
    pub changelog: bool,
}

/// Publishes rows.
pub struct TopicSink {
    config: TopicConfig,
    schema: SchemaRef,
    log: Arc<dyn Log>,
    store: Arc<dyn Store>,
    clock: Clock,
    kept: Kept,
    // By partition, in order.
    staged: BTreeMap<u32, Vec<Record>>,
    rows_staged: u64,
    // By partition: so many of the next records are there already.
    there: BTreeMap<u32, u64>,
}

/// The stamp as the store has it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Kept {
    stamp: Option<Stamp>,
    ends: BTreeMap<u32, Offset>,
    rows: u64,
}

impl TopicSink {
    /// A sink for rows of `schema`.
    ///
    /// # Errors
    ///
    /// `Invalid` when a column of the key or the event time is not there.
    pub fn new(
        config: TopicConfig,
        schema: SchemaRef,
        log: Arc<dyn Log>,
        store: Arc<dyn Store>,
        clock: Clock,
    ) -> Result<Self> {
        let needed = config.key.iter().chain(&config.event_time);
        if let Some(missing) = needed.into_iter().find(|it| schema.index_of(it).is_err()) {
            let message = format!("rows for topic `{}` have no column `{missing}`", config.topic);
            return Err(Error::invalid(message));
        }
        Ok(Self {
            config,
            schema,
            log,
            store,
            clock,
            kept: Kept::default(),
            staged: BTreeMap::new(),
            rows_staged: 0,
            there: BTreeMap::new(),
        })
    }

    fn partition(&self, number: u32) -> TopicPartition {
        TopicPartition::new(self.config.topic.as_str(), number)
    }

    async fn ends(&self) -> Result<BTreeMap<u32, Offset>> {
        let mut ends = BTreeMap::new();
        for number in 0..self.config.partitions {
            ends.insert(number, self.log.bounds(&self.partition(number)).await?.log_end);
        }
        Ok(ends)
    }

    async fn keep(&mut self, kept: Kept) -> Result<()> {
        let value = serde_json::to_value(&kept)
            .map_err(|error| Error::internal("a stamp is no JSON").with_source(error))?;
        self.store.put(STAMPS, &self.config.topic, Expected::Any, &value).await?;
        self.kept = kept;
        Ok(())
    }

    /// The columns of the value, of the key, and the time of each row.
    fn parts(&self, epoch: Epoch, rows: &RecordBatch) -> Result<Parts> {
        let failed = |error: ArrowError| {
            Error::internal("rows could not be written as JSON").with_source(error)
        };
        let columns: Vec<ArrayRef> =
            rows.columns().iter().map(in_utc).collect::<Result<_, _>>().map_err(failed)?;
        let shown: Vec<(&str, ArrayRef)> = self
            .schema
            .fields()
            .iter()
            .zip(&columns)
            .filter(|(field, _)| !self.config.beside.contains(field.name()))
            .map(|(field, column)| (field.name().as_str(), Arc::clone(column)))
            .collect();
        let values = json_rows(&shown, rows.num_rows()).map_err(failed)?;
        let values = match self.config.changelog {
            true => values.iter().map(|value| self.with_change(epoch, value)).collect(),
            false => values,
        };
        let keys = self.keys(&columns, rows.num_rows()).map_err(failed)?;
        let times = match &self.config.event_time {
            Some(name) => {
                let at = self.schema.index_of(name).map_err(failed)?;
                let times = rows.column(at).as_primitive::<TimestampMicrosecondType>();
                times.iter().map(|time| time.map(Timestamp)).collect()
            }
            None => vec![None; rows.num_rows()],
        };
        Ok(Parts { values, keys, times })
    }

    /// A value with `_op` and `_epoch` behind its columns.
    fn with_change(&self, epoch: Epoch, value: &Bytes) -> Bytes {
        let object = value.strip_suffix(b"}").unwrap_or(value);
        let comma = if object.len() > 1 { "," } else { "" };
        let change =
            format!("{comma}\"_op\":\"{}\",\"_epoch\":{epoch}}}", self.config.operation.word());
        [object, change.as_bytes()].concat().into()
    }

    fn keys(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<Option<Bytes>>, ArrowError> {
        let options = FormatOptions::default();
        let mut parts: Vec<(&ArrayRef, ArrayFormatter<'_>)> = Vec::new();
        for name in &self.config.key {
            let column = &columns[self.schema.index_of(name)?];
            parts.push((column, ArrayFormatter::try_new(column, &options)?));
        }
        let text = |part: &(&ArrayRef, ArrayFormatter<'_>), row: usize| {
            part.0.is_valid(row).then(|| part.1.value(row).to_string())
        };
        let key = |row: usize| match parts.as_slice() {
            [] => None,
            [only] => text(only, row).map(Bytes::from),
            several => {
                let texts: Vec<Option<String>> =
                    several.iter().map(|part| text(part, row)).collect();
                Some(Bytes::from(serde_json::Value::from(texts).to_string()))
            }
        };
        Ok((0..rows).map(key).collect())
    }
}

/// What the records of a batch are made of.
struct Parts {
    values: Vec<Bytes>,
    keys: Vec<Option<Bytes>>,
    times: Vec<Option<Timestamp>>,
}

#[async_trait]
impl Sink for TopicSink {
    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    async fn open(&mut self) -> Result<Option<Stamp>> {
        let ends = self.ends().await?;
        let kept = match self.store.get(STAMPS, &self.config.topic).await? {
            Some(row) => serde_json::from_value(row.value)
                .map_err(|error| Error::internal("a stamp is broken").with_source(error))?,
            None => {
                // Before the first record: what an unfinished commit writes must be told apart.
                self.keep(Kept { ends: ends.clone(), ..Kept::default() }).await?;
                self.kept.clone()
            }
        };
        self.there.clear();
        for (number, end) in ends {
            let known = kept.ends.get(&number).copied().unwrap_or(0);
            let there = u64::try_from(end - known).map_err(|_| {
                let partition = self.partition(number);
                Error::fenced(format!("{partition} ends at {end}, and {known} was written to it"))
                    .with_hint("The log was cut or replaced; `thalweg sinks adopt` goes on behind.")
            })?;
            self.there.insert(number, there);
        }
        self.kept = kept;
        Ok(self.kept.stamp.clone())
    }

    async fn write(&mut self, epoch: Epoch, rows: &RecordBatch) -> Result<()> {
        let now = self.clock.now();
        let Parts { values, keys, times } = self.parts(epoch, rows)?;
        let headers = [("op", self.config.operation.word()), ("epoch", &epoch.to_string())].map(
            |(name, value)| RecordHeader {
                name: Bytes::copy_from_slice(name.as_bytes()),
                value: Some(Bytes::copy_from_slice(value.as_bytes())),
            },
        );
        for ((value, key), time) in values.into_iter().zip(keys).zip(times) {
            let number = self.kept.rows + self.rows_staged;
            let partition = partition_of(key.as_deref(), number, self.config.partitions);
            self.rows_staged += 1;
            self.staged.entry(partition).or_default().push(Record {
                timestamp: time.unwrap_or(now),
                key,
                value: Some(value),
                headers: headers.to_vec(),
            });
        }
        Ok(())
    }

    async fn commit(&mut self, stamp: &Stamp) -> Result<Committed> {
        let mut ends = self.kept.ends.clone();
        for (number, records) in std::mem::take(&mut self.staged) {
            let count = records.len() as u64;
            let there = self.there.entry(number).or_default();
            let skipped = (*there).min(count);
            *there -= skipped;
            *ends.entry(number).or_default() += Offset::try_from(count).unwrap_or(Offset::MAX);
            let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
            if let Some(rest) = records.get(skipped..).filter(|rest| !rest.is_empty()) {
                let batches = encode(rest)?;
                let partition = self.partition(number);
                self.log.append(&partition, batches, Durability::Synced).await?;
            }
        }
        let rows_written = std::mem::take(&mut self.rows_staged);
        let rows = self.kept.rows + rows_written;
        self.keep(Kept { stamp: Some(stamp.clone()), ends, rows }).await?;
        Ok(Committed { rows_written, rows_superseded: 0 })
    }

    async fn discard(&mut self) {
        self.staged.clear();
        self.rows_staged = 0;
    }

    fn total(&self) -> Option<Committed> {
        Some(Committed { rows_written: self.kept.rows, rows_superseded: 0 })
    }

    async fn adopt(&mut self, stamp: &Stamp, total: Committed) -> Result<()> {
        let ends = self.ends().await?;
        self.keep(Kept { stamp: Some(stamp.clone()), ends, rows: total.rows() }).await
    }

    async fn reset(&mut self) -> Result<()> {
        Err(Error::invalid(format!("topic `{}` cannot be emptied", self.config.topic)).with_hint(
            "What readers have read of a topic stays read. `thalweg sinks adopt` goes on from what \
             it holds; another `topic.name` begins anew.",
        ))
    }
}

#[cfg(test)]
mod tests;
