//! Records as they are published, and commits that end half way.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use arrow::array::{Int64Array, StringArray, TimestampMicrosecondArray};
use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::{Value, json};
use thalweg_core::log::{FetchLimit, Fetched, OffsetBounds, OffsetSpan, TopicSettings};
use thalweg_core::records::{Batch, BatchHeader, batches, decode};
use thalweg_core::schema::timestamp_type;
use thalweg_core::store::{Entry, StoredRow};

use super::*;

/// A log in memory that may refuse an append.
#[derive(Default)]
struct MemLog {
    partitions: Mutex<BTreeMap<u32, Vec<Bytes>>>,
    // Appends that are still taken.
    appends_left: Mutex<Option<u32>>,
}

impl MemLog {
    fn allow(&self, appends: Option<u32>) {
        *lock(&self.appends_left) = appends;
    }

    fn end(&self, partition: u32) -> Offset {
        let partitions = lock(&self.partitions);
        let last = partitions.get(&partition).and_then(|batches| batches.last());
        last.map_or(0, |batch| Batch::parse(batch).expect("ours").header.next_offset())
    }

    /// Key, value, time in milliseconds and headers of every record.
    fn records(&self, partition: u32) -> Vec<(Option<String>, Value, i64, Vec<String>)> {
        let partitions = lock(&self.partitions);
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).expect("text");
        let held = partitions.get(&partition).into_iter().flatten();
        held.flat_map(|batch| decode(batch).expect("ours"))
            .map(|decoded| {
                let record = decoded.record;
                let value = record.value.expect("a value");
                let headers = record.headers.iter().map(|header| {
                    format!("{}={}", text(&header.name), text(header.value.as_ref().expect("one")))
                });
                (
                    record.key.as_ref().map(text),
                    serde_json::from_slice(&value).expect("JSON"),
                    record.timestamp.millis(),
                    headers.collect(),
                )
            })
            .collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Log for MemLog {
    async fn create_topic(&self, _: &str, _: &TopicSettings) -> Result<()> {
        Ok(())
    }

    async fn topics(&self) -> Result<Vec<(String, TopicSettings)>> {
        Ok(Vec::new())
    }

    async fn append(
        &self,
        partition: &TopicPartition,
        encoded: Bytes,
        durability: Durability,
    ) -> Result<OffsetSpan> {
        assert_eq!(durability, Durability::Synced, "S7");
        if let Some(left) = lock(&self.appends_left).as_mut() {
            *left = left.checked_sub(1).ok_or_else(|| Error::unavailable("the disk is full"))?;
        }
        let first = self.end(partition.partition);
        let mut next = first;
        for batch in batches(&encoded) {
            let mut bytes = BytesMut::from(batch?.bytes);
            BatchHeader::stamp(&mut bytes, next, 0);
            let bytes = bytes.freeze();
            next = Batch::parse(&bytes)?.header.next_offset();
            lock(&self.partitions).entry(partition.partition).or_default().push(bytes);
        }
        Ok(OffsetSpan { first, last: next - 1 })
    }

    async fn fetch(&self, _: &TopicPartition, _: Offset, _: FetchLimit) -> Result<Fetched> {
        Err(Error::internal("nobody reads here"))
    }

    async fn bounds(&self, partition: &TopicPartition) -> Result<OffsetBounds> {
        let end = self.end(partition.partition);
        Ok(OffsetBounds { log_start: 0, high_watermark: end, log_end: end })
    }

    async fn hold(&self, _: &TopicPartition, _: &str, _: Option<Offset>) -> Result<()> {
        Ok(())
    }

    async fn sync(&self) -> Result<()> {
        Ok(())
    }
}

/// A store of rows in memory that may refuse a write.
#[derive(Default)]
struct MemStore {
    rows: Mutex<BTreeMap<String, Value>>,
    is_down: Mutex<bool>,
}

#[async_trait]
impl Store for MemStore {
    async fn get(&self, _: &str, id: &str) -> Result<Option<StoredRow>> {
        let row = lock(&self.rows).get(id).cloned();
        Ok(row.map(|value| StoredRow { id: id.to_owned(), version: 1, value }))
    }

    async fn put(&self, _: &str, id: &str, _: Expected, value: &Value) -> Result<u64> {
        if *lock(&self.is_down) {
            return Err(Error::unavailable("the store is down"));
        }
        lock(&self.rows).insert(id.to_owned(), value.clone());
        Ok(1)
    }

    async fn delete(&self, _: &str, _: &str) -> Result<()> {
        Ok(())
    }

    async fn list(&self, _: &str, _: &str, _: bool, _: usize) -> Result<Vec<StoredRow>> {
        Ok(Vec::new())
    }

    async fn append(&self, _: &str, _: Timestamp, _: &Value) -> Result<i64> {
        Ok(0)
    }

    async fn entries(&self, _: &str, _: i64, _: usize) -> Result<Vec<Entry>> {
        Ok(Vec::new())
    }
}

#[derive(Default)]
struct World {
    log: Arc<MemLog>,
    store: Arc<MemStore>,
}

impl World {
    fn sink(&self, key: &[&str], partitions: u32) -> TopicSink {
        let config = TopicConfig {
            topic: "out".to_owned(),
            partitions,
            key: key.iter().map(|it| (*it).to_owned()).collect(),
            event_time: Some("at".to_owned()),
            beside: vec!["at".to_owned()],
            operation: Operation::Insert,
            changelog: false,
        };
        let (log, store) = (Arc::clone(&self.log), Arc::clone(&self.store));
        TopicSink::new(config, rows(&[]).schema(), log, store, Clock::system()).expect("it fits")
    }
}

/// Rows of (id, name); a row's time is its id in milliseconds.
fn rows(rows: &[(i64, Option<&str>)]) -> RecordBatch {
    let ids: Int64Array = rows.iter().map(|row| Some(row.0)).collect();
    let names: StringArray = rows.iter().map(|row| row.1).collect();
    let times: TimestampMicrosecondArray = rows.iter().map(|row| Some(row.0 * 1000)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(ids)),
        ("name", Arc::new(names)),
        ("at", Arc::new(times.with_data_type(timestamp_type()))),
    ];
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

fn stamp(epoch: Epoch) -> Stamp {
    Stamp { incarnation: "me".to_owned(), pipeline: "p".to_owned(), epoch }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let within = async { tokio::time::timeout(Duration::from_secs(60), future).await };
    runtime.expect("a runtime").block_on(within).expect("it does not hang")
}

#[test]
fn a_row_is_a_record_with_key_value_time_and_headers() {
    let world = World::default();
    block_on(async {
        let mut sink = world.sink(&["name"], 1);
        assert_eq!(sink.open().await.expect("it opens"), None);
        sink.write(7, &rows(&[(1, Some("a\nb")), (2, None)])).await.expect("it takes rows");
        let done = sink.commit(&stamp(7)).await.expect("it commits");
        assert_eq!(done.rows_written, 2);
    });
    let headers = || vec!["op=insert".to_owned(), "epoch=7".to_owned()];
    assert_eq!(
        world.log.records(0),
        [
            (Some("a\nb".to_owned()), json!({"id": 1, "name": "a\nb"}), 1, headers()),
            (None, json!({"id": 2, "name": null}), 2, headers()),
        ]
    );
}

#[test]
fn a_key_of_several_columns_is_a_json_array() {
    let world = World::default();
    block_on(async {
        let mut sink = world.sink(&["id", "name"], 1);
        sink.open().await.expect("it opens");
        sink.write(1, &rows(&[(1, Some("a")), (2, None)])).await.expect("it takes rows");
        sink.commit(&stamp(1)).await.expect("it commits");
    });
    let keys: Vec<_> = world.log.records(0).into_iter().map(|record| record.0).collect();
    assert_eq!(keys, [Some(r#"["1","a"]"#.to_owned()), Some(r#"["2",null]"#.to_owned())]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// S9: whichever append or stamp fails, and however epochs are grouped the next time, each row
    /// is there once, and in order.
    #[test]
    fn a_commit_that_ends_half_way_loses_and_doubles_nothing(
        epochs in prop::collection::vec(0_usize..6, 1..8),
        cuts in prop::collection::vec((0_u32..4, any::<bool>(), 1_usize..4), 0..6),
        partitions in 1_u32..4,
    ) {
        let world = World::default();
        let names = ["a", "b", "c", "d", "e"];
        let mut next = 0;
        let all: Vec<RecordBatch> = epochs.iter().map(|count| {
            let made: Vec<(i64, Option<&str>)> = (next..next + *count as i64)
                .map(|id| (id, names.get(id as usize % 6).copied()))
                .collect();
            next += *count as i64;
            rows(&made)
        }).collect();
        // Hands over what is behind the stamp, in groups of `size`; ends at the first failure.
        let live = |size: usize| block_on(async {
            let mut sink = world.sink(&["name"], partitions);
            let held = sink.open().await?.map_or(0, |stamp| stamp.epoch);
            let done = sink.total().map_or(0, |total| total.rows_written);
            let before: usize = epochs[..usize::try_from(held).unwrap()].iter().sum();
            assert_eq!(done, before as u64, "S12");
            let behind: Vec<usize> = (usize::try_from(held).unwrap()..all.len()).collect();
            for group in behind.chunks(size) {
                for at in group {
                    sink.write(*at as u64 + 1, &all[*at]).await?;
                }
                sink.commit(&stamp(group[group.len() - 1] as u64 + 1)).await?;
            }
            Ok::<_, Error>(())
        });
        for (appends, store_fails, size) in cuts {
            world.log.allow(Some(appends));
            // The first stamp of all is made before anything is appended.
            *lock(&world.store.is_down) = store_fails && !lock(&world.store.rows).is_empty();
            let _ = live(size);
        }
        world.log.allow(None);
        *lock(&world.store.is_down) = false;
        live(2).expect("nothing fails");

        let mut seen = Vec::new();
        for partition in 0..partitions {
            let ids: Vec<i64> = world.log.records(partition).into_iter()
                .map(|record| record.1["id"].as_i64().unwrap())
                .collect();
            prop_assert!(ids.is_sorted(), "{ids:?}");
            seen.extend(ids);
        }
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..next).collect::<Vec<_>>());
    }
}
