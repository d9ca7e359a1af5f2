//! A table in a store of objects: a process that dies at any call, an answer that is lost, and two
//! stores of one name.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use proptest::prelude::*;
use thalweg_core::ErrorKind;

use super::*;
use crate::testing::{Dying, Repeating};

const EPOCHS: u64 = 6;

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

fn table(store: &Arc<dyn ObjectStore>) -> Delta {
    let place =
        crate::Place::of(store.clone(), "lake/a table", "s3://bucket/lake/a table").unwrap();
    Delta::new(&env(), place, "trades", &schema(), by_day()).unwrap()
}

fn of_epoch(epoch: u64) -> RecordBatch {
    let first = epoch as i64 * 10;
    // Of two days, so that a commit has several files.
    let (of_one, of_next) = (rows(0, first..first + 3), rows(1, first + 3..first + 5));
    arrow::compute::concat_batches(&schema(), [&of_one, &of_next]).unwrap()
}

/// Writes what the stamp lacks, two epochs a commit, until it is done or the store is dead.
async fn live(table: &Delta) -> thalweg_core::Result<()> {
    let mut sink = table.sink()?;
    let held = sink.open().await?.map_or(0, |stamp| stamp.epoch);
    for epoch in held + 1..=EPOCHS {
        sink.write(epoch, &of_epoch(epoch)).await?;
        if epoch % 2 == 0 {
            sink.commit(&stamp(epoch)).await?;
        }
    }
    Ok(())
}

async fn die_and_live(lives: &[(i64, bool)]) {
    let store = memory();
    for (calls, loses_the_answer) in lives {
        let dying = Dying::after(*calls, *loses_the_answer, store.clone());
        let _ = live(&table(&(Arc::new(dying) as Arc<dyn ObjectStore>))).await;
    }
    let last = table(&store);
    live(&last).await.unwrap();
    let expected: Vec<i64> =
        (1..=EPOCHS).flat_map(|it| it as i64 * 10..it as i64 * 10 + 5).collect();
    assert_eq!(ids(&last).await, expected, "S9: {lives:?}");
    let mut sink = last.sink().unwrap();
    sink.open().await.unwrap();
    assert_eq!(sink.total().unwrap().rows(), EPOCHS * 5, "S12: {lives:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_may_die_at_any_call() {
    for calls in 0..60 {
        for loses_the_answer in [false, true] {
            die_and_live(&[(calls, loses_the_answer)]).await;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn processes_may_die_one_after_the_other(
        lives in prop::collection::vec((0_i64..40, any::<bool>()), 1..6)
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(die_and_live(&lives));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_was_lost_is_known_as_ours() {
    let store = memory();
    let repeating: Arc<dyn ObjectStore> = Arc::new(Repeating(store.clone()));
    let ours = table(&repeating);
    let mut sink = sink(&ours).await;
    for epoch in 1..=4 {
        assert_eq!(commit(&mut sink, epoch, &of_epoch(epoch)).await, 5, "S9: epoch {epoch}");
    }
    ours.replace_days(replacement("r", 0, vec![rows(0, [7])], None)).await.unwrap();
    assert_eq!(ours.compact().await.unwrap(), (4, 1));
    let expected = [7, 13, 14, 23, 24, 33, 34, 43, 44];
    assert_eq!(ids(&ours).await, expected);
    // Every file that it names is there.
    assert_eq!(ids(&table(&store)).await, expected, "D3");
    // The commit of another one is not taken for ours.
    let mut other = table(&repeating).sink().unwrap();
    other.open().await.unwrap();
    commit(&mut sink, 5, &of_epoch(5)).await;
    other.write(5, &of_epoch(5)).await.unwrap();
    let error = other.commit(&stamp_of("i2", 5)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Fenced);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_a_vacuum_and_an_older_version_work_there() {
    let store = memory();
    let delta = table(&store);
    let mut sink = sink(&delta).await;
    for epoch in 1..=3 {
        commit(&mut sink, epoch, &of_epoch(epoch)).await;
    }
    let before = delta.pin(None).await.unwrap().version;
    assert_eq!(delta.compact().await.unwrap(), (6, 2));
    delta.checkpoint().await.unwrap();
    let again = table(&store);
    assert_eq!(ids(&again).await, ids(&delta).await);
    assert_eq!(query_at(&again, Some(before), "SELECT count(*) FROM t").await, [15]);
    assert_eq!(again.vacuum(std::time::Duration::ZERO).await.unwrap(), 6);
    assert_eq!(query(&again, "SELECT count(*) FROM t").await, [15]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_two_stores_are_read_in_one_query() {
    let (one, other) = (table(&memory()), table(&memory()));
    commit(&mut sink(&one).await, 1, &rows(0, [1, 2])).await;
    commit(&mut sink(&other).await, 1, &rows(0, [2, 3])).await;
    let context = datafusion::prelude::SessionContext::new();
    context.register_table("one", one.pin(None).await.unwrap().provider).unwrap();
    context.register_table("other", other.pin(None).await.unwrap().provider).unwrap();
    let both = context.sql("SELECT one.id FROM one JOIN other ON one.id = other.id");
    let both = both.await.unwrap().collect().await.unwrap();
    let ids: Vec<i64> = both
        .iter()
        .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec())
        .collect();
    assert_eq!(ids, [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_keeps_nobody_from_declaring_its_table() {
    let store = memory();
    let dying: Arc<dyn ObjectStore> = Arc::new(Dying::after(0, false, store));
    let delta = table(&dying);
    let mut sink = delta.sink().unwrap();
    for _ in 0..2 {
        assert_eq!(sink.open().await.unwrap_err().kind, ErrorKind::Unavailable, "S25");
    }
}
