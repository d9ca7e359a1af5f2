//! The sink: exactly once, whatever is dropped, repeated or late.

use std::time::Duration;

use thalweg_core::ErrorKind;
use thalweg_core::sink::Committed;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn rows_appear_at_the_commit_and_not_before() {
    let place = Place::new();
    let delta = place.by_day().await;
    let mut sink = delta.sink().unwrap();
    assert_eq!(sink.open().await.unwrap(), None);
    sink.write(1, &rows(0, 0..3)).await.unwrap();
    sink.write(2, &rows(1, 3..5)).await.unwrap();
    assert_eq!(ids(&delta).await, [0i64; 0]);
    let committed = sink.commit(&stamp(2)).await.unwrap();
    assert_eq!((committed.rows_written, committed.rows_superseded), (5, 0));
    assert_eq!(ids(&delta).await, [0, 1, 2, 3, 4]);
    assert_eq!(held(&delta).await, Some(2));

    let folders: Vec<_> = place.data_files();
    assert_eq!(folders.len(), 2);
    assert!(folders[0].starts_with("day=2023-12-22/thalweg-"), "{folders:?}");
    assert!(folders[1].starts_with("day=2023-12-23/thalweg-"), "{folders:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_the_commit_loses_and_doubles_nothing() {
    let place = Place::new();
    let options = DeltaOptions { file_bytes: 1, ..by_day() };
    {
        let delta = place.open(options.clone()).await.unwrap();
        let mut sink = sink(&delta).await;
        commit(&mut sink, 1, &rows(0, 0..3)).await;
        // So small a file is closed at once: it lies there when the process dies.
        sink.write(2, &rows(0, 3..6)).await.unwrap();
    }
    assert_eq!(place.data_files().len(), 2);
    let delta = place.open(options.clone()).await.unwrap();
    assert_eq!(ids(&delta).await, [0, 1, 2]);
    let mut sink = delta.sink().unwrap();
    assert_eq!(sink.open().await.unwrap(), Some(stamp(1)));
    commit(&mut sink, 2, &rows(0, 3..6)).await;
    assert_eq!(ids(&delta).await, [0, 1, 2, 3, 4, 5]);
    assert_eq!(place.data_files().len(), 3);

    // What nobody committed for a day is removed at open; what is part of the table is not.
    let staged = place.path().join("_delta_log/.00000000000000000009.json.x.staged");
    std::fs::write(&staged, "").unwrap();
    age(&staged);
    for file in place.data_files() {
        age(&place.path().join(file));
    }
    let delta = place.open(options).await.unwrap();
    assert_eq!(place.data_files().len(), 2);
    assert!(!staged.exists());
    assert_eq!(ids(&delta).await, [0, 1, 2, 3, 4, 5]);
}

/// Makes a file two days old.
pub(super) fn age(path: &Path) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    let written = file.metadata().unwrap().modified().unwrap();
    file.set_modified(written - Duration::from_secs(2 * 86_400)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_given_up_half_way_is_whole_or_not_there() {
    let place = Place::new();
    let delta = place.by_day().await;
    let mut sink = sink(&delta).await;
    for epoch in 1..=30 {
        let new = rows(0, [epoch as i64]);
        sink.write(epoch, &new).await.unwrap();
        {
            let stamp = stamp(epoch);
            let mut commit = sink.commit(&stamp);
            // Each time it gets a little further.
            for _ in 0..epoch {
                if futures::poll!(commit.as_mut()).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        sink.discard().await;
        let held = sink.open().await.unwrap().map_or(0, |held| held.epoch);
        if held < epoch {
            assert_eq!(held, epoch - 1);
            commit(&mut sink, epoch, &new).await;
        }
    }
    assert_eq!(ids(&delta).await, (1..=30).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_discarded_leaves_nothing() {
    let place = Place::new();
    let delta = place.open(DeltaOptions { file_bytes: 1, ..by_day() }).await.unwrap();
    let mut sink = sink(&delta).await;
    sink.write(1, &rows(0, 0..3)).await.unwrap();
    assert_eq!(place.data_files().len(), 1);
    sink.discard().await;
    assert_eq!(place.data_files(), [""; 0]);
    assert_eq!(commit(&mut sink, 1, &rows(0, 5..6)).await, 1);
    assert_eq!(ids(&delta).await, [5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_committed_twice_is_there_once() {
    let place = Place::new();
    let delta = place.by_day().await;
    let mut sink = sink(&delta).await;
    assert_eq!(commit(&mut sink, 3, &rows(0, 0..3)).await, 3);
    for epoch in [3, 2] {
        assert_eq!(commit(&mut sink, epoch, &rows(0, 0..3)).await, 0);
    }
    assert_eq!(ids(&delta).await, [0, 1, 2]);
    assert_eq!(place.data_files().len(), 1);
    assert_eq!(commit(&mut sink, 4, &rows(0, 3..4)).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_is_fenced() {
    let place = Place::new();
    let (delta, other) = (place.by_day().await, place.by_day().await);
    let mut zombie = sink(&delta).await;
    commit(&mut zombie, 1, &rows(0, 0..1)).await;
    let mut successor = sink(&other).await;
    commit(&mut successor, 2, &rows(0, 1..2)).await;
    for epoch in [2, 3] {
        zombie.write(epoch, &rows(0, 1..2)).await.unwrap();
        let refused = zombie.commit(&stamp(epoch)).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Fenced);
    }
    assert_eq!(ids(&delta).await, [0, 1]);
    assert_eq!(place.data_files().len(), 2);
    // It may come back the proper way.
    assert_eq!(zombie.open().await.unwrap(), Some(stamp(2)));
    commit(&mut zombie, 3, &rows(0, 2..3)).await;
    assert_eq!(ids(&other).await, [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelines_feed_one_table_side_by_side() {
    let place = Place::new();
    let (delta, other) = (place.by_day().await, place.by_day().await);
    let (mut ours, mut theirs) = (sink(&delta).await, sink(&other).await);
    for epoch in 1..4 {
        let id = epoch as i64;
        commit(&mut ours, epoch, &rows(0, [id])).await;
        theirs.write(epoch, &rows(0, [10 + id])).await.unwrap();
        let stamp = Stamp { pipeline: "quotes".to_owned(), ..stamp(epoch) };
        theirs.commit(&stamp).await.unwrap();
    }
    assert_eq!(held(&delta).await, Some(3));
    let pinned = delta.pin(None).await.unwrap();
    let stamps: Vec<_> = pinned.stamps.iter().map(|s| (s.pipeline.as_str(), s.epoch)).collect();
    assert_eq!(stamps, [("quotes", 3), ("trades", 3)]);
    assert_eq!(delta.sink().unwrap().open().await.unwrap_err().kind, ErrorKind::Invalid);
    let fed_by = DeltaOptions { fed_by: Some("quotes".to_owned()), ..by_day() };
    let delta = place.open(fed_by).await.unwrap();
    assert_eq!(delta.sink().unwrap().open().await.unwrap().unwrap().pipeline, "quotes");
    assert_eq!(ids(&delta).await, [1, 2, 3, 11, 12, 13]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_incarnation_is_told_whose_table_it_is_and_may_take_over() {
    let place = Place::new();
    let delta = place.by_day().await;
    let mut old = sink(&delta).await;
    commit(&mut old, 7, &rows(0, 0..2)).await;

    let other = place.by_day().await;
    let mut new = other.sink().unwrap();
    assert_eq!(new.open().await.unwrap(), Some(stamp(7)));
    new.commit(&stamp_of("i2", 2)).await.unwrap();
    new.write(3, &rows(0, 2..3)).await.unwrap();
    new.commit(&stamp_of("i2", 3)).await.unwrap();

    old.write(8, &rows(0, 2..3)).await.unwrap();
    assert_eq!(old.commit(&stamp(8)).await.unwrap_err().kind, ErrorKind::Fenced);
    assert_eq!(ids(&delta).await, [0, 1, 2]);
    let delta = place.by_day().await;
    let mut again = delta.sink().unwrap();
    assert_eq!(again.open().await.unwrap(), Some(stamp_of("i2", 3)));
    assert_eq!(again.total(), Some(written(1)), "S12: the rows of the other are not counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_remembers_the_rows_of_all_commits_through_rewrites_and_forgets_them_when_reset()
{
    let place = Place::new();
    let delta = place.by_day().await;
    let mut sink = sink(&delta).await;
    assert_eq!(sink.total(), Some(written(0)));
    commit(&mut sink, 1, &rows(0, 0..3)).await;
    commit(&mut sink, 2, &rows(1, 3..5)).await;
    assert_eq!(sink.total(), Some(written(5)));
    delta.compact().await.unwrap();

    let delta = place.by_day().await;
    let mut again = delta.sink().unwrap();
    assert_eq!(again.open().await.unwrap(), Some(stamp(2)));
    assert_eq!(again.total(), Some(written(5)), "S12");
    delta.reset().await.unwrap();
    assert_eq!(again.open().await.unwrap(), None);
    commit(&mut again, 1, &rows(0, 0..2)).await;
    assert_eq!(again.total(), Some(written(2)), "S12");
}

fn written(rows_written: u64) -> Committed {
    Committed { rows_written, rows_superseded: 0 }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_rows_the_stamp_moves_once_a_minute() {
    let place = Place::new();
    let delta = place.by_day().await;
    let mut sink = sink(&delta).await;
    let version = async |sink: &mut Box<dyn Sink>, epoch| {
        assert_eq!(sink.commit(&stamp(epoch)).await.unwrap().rows_written, 0);
        delta.version(PIPELINE).await.unwrap().version
    };
    assert_eq!(version(&mut sink, 1).await, 1);
    assert_eq!(version(&mut sink, 2).await, 1);
    place.env.clock.step_to(place.env.clock.now().plus(Duration::from_secs(60)));
    assert_eq!(version(&mut sink, 3).await, 2);
    assert_eq!(held(&delta).await, Some(3));
    sink.write(4, &rows(0, 0..0)).await.unwrap();
    assert_eq!(version(&mut sink, 4).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_removed_is_not_written_anew() {
    let place = Place::new();
    let delta = place.by_day().await;
    let mut sink = sink(&delta).await;
    commit(&mut sink, 1, &rows(0, 0..1)).await;
    std::fs::remove_dir_all(place.path()).unwrap();
    sink.write(2, &rows(0, 1..2)).await.unwrap();
    assert_eq!(sink.commit(&stamp(2)).await.unwrap_err().kind, ErrorKind::Fenced);

    // A file where the folder was: storage refuses, and says where.
    std::fs::remove_dir_all(place.path()).unwrap();
    std::fs::write(place.path(), "").unwrap();
    sink.write(2, &rows(0, 1..2)).await.unwrap();
    let refused = sink.commit(&stamp(2)).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Unavailable);
    assert!(refused.chain().contains("trades"), "{}", refused.chain());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_no_day_is_kept() {
    let place = Place::new();
    let delta = place.by_day().await;
    let mut sink = sink(&delta).await;
    let known = rows(0, [1, 2]);
    let mut columns = known.columns().to_vec();
    let far = TimestampMicrosecondArray::from(vec![FIRST_DAY.start().0, i64::MAX]);
    columns[3] = Arc::new(far.with_timezone("UTC"));
    commit(&mut sink, 1, &RecordBatch::try_new(schema(), columns).unwrap()).await;
    assert_eq!(ids(&delta).await, [1, 2]);
    assert_eq!(query(&delta, "SELECT id FROM t WHERE day IS NULL").await, [2]);
    let later = "SELECT id FROM t WHERE ts > TIMESTAMP '2100-01-01T00:00:00Z'";
    assert_eq!(query(&delta, later).await, [2]);
    delta.replace_days(replacement("r", 0, Vec::new(), None)).await.unwrap();
    assert_eq!(ids(&delta).await, [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_roll_and_days_beyond_the_open_files_are_kept() {
    let place = Place::new();
    let delta = place.open(DeltaOptions { file_bytes: 4_000, ..by_day() }).await.unwrap();
    let mut sink = sink(&delta).await;
    let mut expected = 0;
    for round in 0..3 {
        for day in 0..12 {
            let first = i64::from(round * 12 + day) * 100;
            sink.write(1, &rows(day, first..first + 100)).await.unwrap();
            expected += 100;
        }
    }
    assert_eq!(sink.commit(&stamp(1)).await.unwrap().rows_written, expected);
    assert_eq!(query(&delta, "SELECT count(DISTINCT id) FROM t").await, [expected as i64]);
    assert_eq!(query(&delta, "SELECT count(DISTINCT day) FROM t").await, [12]);
    assert!(place.data_files().len() > 12);
}
