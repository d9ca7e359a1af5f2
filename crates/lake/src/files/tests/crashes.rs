//! A process that dies at any call to its store, and the one that comes after it: each row is there
//! once, and nothing of the dead one stays.

use proptest::prelude::*;

use super::*;
use crate::storage;
use crate::testing::Dying;

const EPOCHS: u64 = 6;

fn of_epoch(epoch: u64) -> RecordBatch {
    let first = epoch as i64 * 10;
    // Of two days, so that a commit has several files.
    let (of_one, of_next) = (rows(0, first..first + 3), rows(1, first + 3..first + 5));
    arrow::compute::concat_batches(&schema(), [&of_one, &of_next]).unwrap()
}

/// Writes what the stamp lacks, two epochs a commit, until it is done or the store is dead.
async fn live(table: &FileTable) -> thalweg_core::Result<()> {
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

async fn die_and_live(store: Arc<dyn ObjectStore>, folder: &str, lives: &[(i64, bool)]) {
    let open = |store: Arc<dyn ObjectStore>| {
        let place = Place::of(store, folder, "test").unwrap();
        FileTable::new(&env(), place, "trades", &schema(), options(Format::Csv { delimiter: b',' }))
            .unwrap()
    };
    for (calls, loses_the_answer) in lives {
        let dying = Dying::after(*calls, *loses_the_answer, store.clone());
        let _ = live(&open(Arc::new(dying))).await;
    }
    let table = open(store.clone());
    live(&table).await.unwrap();
    let expected: Vec<i64> =
        (1..=EPOCHS).flat_map(|it| it as i64 * 10..it as i64 * 10 + 5).collect();
    assert_eq!(ids(&table).await, expected, "S9: {lives:?}");
    let mut sink = open(store).sink().unwrap();
    sink.open().await.unwrap();
    assert_eq!(sink.total().unwrap().rows(), EPOCHS * 5, "S12: {lives:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_may_die_at_any_call() {
    for calls in 0..60 {
        for loses_the_answer in [false, true] {
            die_and_live(memory(), "lake/t", &[(calls, loses_the_answer)]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_on_its_way_goes_with_the_next_commit() {
    let folder = tempfile::tempdir().unwrap();
    let commits = folder.path().join("_thalweg/commits");
    std::fs::create_dir_all(&commits).unwrap();
    let left = commits.join(".00000000000000000001.json.0.staged");
    std::fs::write(&left, "{").unwrap();
    let place = Place::on_disk(folder.path().to_str().unwrap()).unwrap();
    let format = Format::Csv { delimiter: b',' };
    let table = FileTable::new(&env(), place, "trades", &schema(), options(format)).unwrap();
    live(&table).await.unwrap();
    assert!(!left.exists());
    assert_eq!(std::fs::read_dir(&commits).unwrap().count() as u64, EPOCHS / 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn processes_may_die_one_after_the_other(
        lives in prop::collection::vec((0_i64..25, any::<bool>()), 1..6)
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(die_and_live(memory(), "lake/t", &lives));
        let folder = tempfile::tempdir().unwrap();
        let (store, path) = storage::folder(folder.path().to_str().unwrap()).unwrap();
        runtime.block_on(die_and_live(store, path.as_ref(), &lives));
    }
}
