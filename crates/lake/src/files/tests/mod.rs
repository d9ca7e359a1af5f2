//! Tables of files from outside: what is written, what is read, and what a crash leaves.

mod crashes;
mod formats;

use std::sync::Arc;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use thalweg_core::ErrorKind;
use thalweg_core::env::Env;
use thalweg_core::sink::{Committed, Epoch, Sink};
use thalweg_core::table::{Replacement, Table as _};
use thalweg_core::time::Day;

use super::*;
use crate::delta::tests::{env, rows, schema, stamp, stamp_of};
use crate::place::Place;

fn by_day() -> Vec<Partition> {
    vec![Partition { column: "day".to_owned(), by: By::Day("ts".to_owned()) }]
}

fn options(format: Format) -> FileOptions {
    FileOptions { format, partition_by: by_day(), roll_bytes: 1 << 20 }
}

fn table_in(env: &Env, store: &Arc<dyn ObjectStore>, options: FileOptions) -> FileTable {
    let place = Place::of(store.clone(), "lake/trades", "memory:/lake/trades").unwrap();
    FileTable::new(env, place, "trades", &schema(), options).unwrap()
}

fn table(env: &Env, store: &Arc<dyn ObjectStore>) -> FileTable {
    table_in(env, store, options(Format::Parquet))
}

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

async fn sink(table: &FileTable) -> Box<dyn Sink> {
    let mut sink = table.sink().unwrap();
    sink.open().await.unwrap();
    sink
}

async fn commit(sink: &mut Box<dyn Sink>, epoch: Epoch, rows: &RecordBatch) -> u64 {
    sink.write(epoch, rows).await.unwrap();
    sink.commit(&stamp(epoch)).await.unwrap().rows_written
}

/// One column of numbers that a query over the table, called `t`, gives.
async fn query(table: &FileTable, sql: &str) -> Vec<i64> {
    let context = SessionContext::new();
    context.register_table("t", table.pin().await.unwrap().provider).unwrap();
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    let values =
        |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().values().to_vec();
    batches.iter().flat_map(values).collect()
}

async fn ids(table: &FileTable) -> Vec<i64> {
    query(table, "SELECT id FROM t ORDER BY id").await
}

/// Every file of the table, and of those that are ours alone how many there are.
async fn paths(store: &Arc<dyn ObjectStore>) -> (Vec<String>, usize) {
    use futures::TryStreamExt as _;
    let all: Vec<_> = store.list(None).try_collect().await.unwrap();
    let path = |it: &object_store::ObjectMeta| it.location.as_ref().replace("lake/trades/", "");
    let mut all: Vec<String> = all.iter().map(path).collect();
    all.sort();
    let ours = all.iter().filter(|path| path.contains("staged")).count();
    all.retain(|path| !path.starts_with("_thalweg/"));
    (all, ours)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_committed_twice_is_there_once_in_files_that_say_their_epochs() {
    let (env, store) = (env(), memory());
    let table = table(&env, &store);
    let mut sink = sink(&table).await;
    assert_eq!(ids(&table).await, [0_i64; 0]);
    sink.write(2, &rows(0, 0..3)).await.unwrap();
    assert_eq!(ids(&table).await, [0_i64; 0], "nothing is seen before the commit");
    assert_eq!(commit(&mut sink, 5, &rows(1, 3..4)).await, 4);
    for epoch in [5, 4] {
        assert_eq!(commit(&mut sink, epoch, &rows(0, 0..3)).await, 0);
    }
    assert_eq!(ids(&table).await, [0, 1, 2, 3]);
    let name = "part-i1-000000000002-000000000005";
    let (files, staged) = paths(&store).await;
    assert_eq!(
        files,
        [format!("day=2023-12-22/{name}-0.parquet"), format!("day=2023-12-23/{name}-1.parquet")]
    );
    assert_eq!(staged, 0);
    assert_eq!(sink.total(), Some(Committed { rows_written: 4, rows_superseded: 0 }));
    assert_eq!(query(&table, "SELECT id FROM t WHERE day = DATE '2023-12-23'").await, [3]);
    // Which needs no file of another day: one that is gone is not missed.
    let gone = object_store::path::Path::from(format!("lake/trades/{}", files[0]));
    object_store::ObjectStoreExt::delete(&store, &gone).await.unwrap();
    assert_eq!(query(&table, "SELECT id FROM t WHERE day > DATE '2023-12-22'").await, [3]);
    let history = table.history(10).await.unwrap();
    assert_eq!(history.iter().map(|it| it.rows).collect::<Vec<_>>(), [Some(4)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_is_fenced_and_leaves_nothing() {
    let (env, store) = (env(), memory());
    let (ours, theirs) = (table(&env, &store), table(&env, &store));
    let mut zombie = sink(&ours).await;
    commit(&mut zombie, 1, &rows(0, 0..1)).await;
    let mut successor = sink(&theirs).await;
    commit(&mut successor, 2, &rows(0, 1..2)).await;
    zombie.write(2, &rows(0, 1..2)).await.unwrap();
    assert_eq!(zombie.commit(&stamp(2)).await.unwrap_err().kind, ErrorKind::Fenced);
    zombie.discard().await;
    assert_eq!(ids(&theirs).await, [0, 1]);
    // It may come back the proper way.
    assert_eq!(zombie.open().await.unwrap(), Some(stamp(2)));
    commit(&mut zombie, 3, &rows(0, 2..3)).await;
    assert_eq!(ids(&table(&env, &store)).await, [0, 1, 2]);
    assert_eq!(paths(&store).await.1, 0, "staged files are removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_rows_they_are_is_told_by_the_record_and_else_by_the_names() {
    let (env, store) = (env(), memory());
    let mut old = sink(&table(&env, &store)).await;
    commit(&mut old, 7, &rows(0, 0..2)).await;
    assert_eq!(table(&env, &store).sink().unwrap().open().await.unwrap(), Some(stamp(7)));

    let record =
        object_store::path::Path::from("lake/trades/_thalweg/commits/00000000000000000001.json");
    object_store::ObjectStoreExt::delete(&store, &record).await.unwrap();
    let mut new = table(&env, &store).sink().unwrap();
    let found = new.open().await.unwrap().unwrap();
    assert_eq!((found.incarnation.as_str(), found.epoch), ("i1", 7), "F3");
    assert_eq!(new.total(), None);

    new.adopt(&stamp_of("i2", 3), Committed { rows_written: 2, rows_superseded: 0 }).await.unwrap();
    let mut again = table(&env, &store).sink().unwrap();
    assert_eq!(again.open().await.unwrap(), Some(stamp_of("i2", 3)));
    assert_eq!(again.total().unwrap().rows(), 2);
    again.reset().await.unwrap();
    assert_eq!(again.open().await.unwrap(), None);
    assert_eq!(paths(&store).await, (Vec::new(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_rows_the_stamp_moves_once_a_minute() {
    let (env, store) = (env(), memory());
    let table = table(&env, &store);
    let mut sink = sink(&table).await;
    let mut version = async |epoch| {
        assert_eq!(sink.commit(&stamp(epoch)).await.unwrap().rows_written, 0);
        table.version("").await.unwrap().version
    };
    assert_eq!((version(1).await, version(2).await), (1, 1));
    env.clock.step_to(env.clock.now().plus(std::time::Duration::from_secs(60)));
    assert_eq!(version(3).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_file_asks_for_a_commit_and_folders_beyond_the_open_files_are_kept() {
    let (env, store) = (env(), memory());
    let table = table_in(&env, &store, FileOptions { roll_bytes: 2_000, ..options(Format::Json) });
    let mut sink = sink(&table).await;
    sink.write(1, &rows(0, 0..10)).await.unwrap();
    assert!(!sink.wants_commit());
    let expected = 1_210;
    for day in 0..12 {
        let first = 10 + i64::from(day) * 100;
        sink.write(1, &rows(day, first..first + 100)).await.unwrap();
    }
    assert!(sink.wants_commit());
    assert_eq!(sink.commit(&stamp(1)).await.unwrap().rows_written, expected as u64);
    assert!(!sink.wants_commit());
    assert_eq!(query(&table, "SELECT count(DISTINCT id) FROM t").await, [expected]);
    assert_eq!(query(&table, "SELECT count(DISTINCT day) FROM t").await, [12]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_table_in_the_folder_is_not_written_to() {
    let (env, store) = (env(), memory());
    commit(&mut sink(&table(&env, &store)).await, 1, &rows(0, 0..1)).await;
    let without_days = FileOptions { partition_by: Vec::new(), ..options(Format::Parquet) };
    let refused = table_in(&env, &store, without_days).sink().unwrap().open().await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Invalid);
    assert!(refused.chain().contains("`day Date32 in folders` is too many"), "{}", refused.chain());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_stays_readable_when_records_are_trimmed() {
    let (env, store) = (env(), memory());
    let written = table(&env, &store);
    let mut sink = sink(&written).await;
    for epoch in 1..=130 {
        commit(&mut sink, epoch, &rows(0, [epoch as i64])).await;
    }
    assert_eq!(ids(&table(&env, &store)).await, (1..=130).collect::<Vec<_>>());
    assert_eq!(table(&env, &store).history(1_000).await.unwrap().len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_is_replaced_twice_is_the_day_replaced_once() {
    let (env, store) = (env(), memory());
    let table = table(&env, &store);
    let day = |day: i32| Day(19_713 + day);
    let replacement = |run: &str, first: i32, last: i32, rows: Vec<RecordBatch>| Replacement {
        run: run.to_owned(),
        day_column: "ts".to_owned(),
        first: day(first),
        last: day(last),
        rows,
        note: Some(format!("note of {run}")),
    };
    let both = arrow::compute::concat_batches(&schema(), [&rows(0, 0..2), &rows(1, 2..4)]).unwrap();
    let first = table.replace_days(replacement("r/1", 0, 1, vec![both])).await.unwrap();
    assert_eq!(ids(&table).await, [0, 1, 2, 3]);
    let again = replacement("r/1", 0, 1, vec![rows(0, 50..60)]);
    assert_eq!(table.replace_days(again).await.unwrap(), first, "S20");
    let newer = replacement("r/2", 1, 1, vec![rows(1, 7..8)]);
    assert_eq!(table.replace_days(newer.clone()).await.unwrap(), first + 1);
    assert_eq!(ids(&table).await, [0, 1, 7]);
    // As whoever opens it next, and any other program, sees it.
    let opened = self::table(&env, &store);
    assert_eq!(ids(&opened).await, [0, 1, 7]);
    assert_eq!(opened.note().await.unwrap().as_deref(), Some("note of r/2"));
    assert_eq!(opened.replace_days(newer).await.unwrap(), first + 1, "S20");
    assert_eq!(paths(&store).await.0.len(), 2);
    assert_eq!(opened.replace_days(replacement("r/3", 0, 0, Vec::new())).await.unwrap(), first + 2);
    assert_eq!(ids(&opened).await, [7], "an empty day is empty");
    let stray = replacement("r/4", 0, 0, vec![rows(1, 0..1)]);
    assert_eq!(opened.replace_days(stray).await.unwrap_err().kind, ErrorKind::Invalid);
}
