//! Replacing days, compaction and reset: rows are exchanged or kept, never both or neither.

use thalweg_core::ErrorKind;
use thalweg_core::table::TableCommit;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_run_replaces_its_days_once() {
    let place = Place::new();
    let delta = place.by_day().await;
    let mut sink = sink(&delta).await;
    commit(&mut sink, 1, &rows(0, 0..3)).await;
    commit(&mut sink, 2, &rows(1, 3..6)).await;

    let run = || replacement("r1", 1, vec![rows(1, 100..102)], Some("boundary 1"));
    let version = delta.replace_days(run()).await.unwrap();
    assert_eq!(ids(&delta).await, [0, 1, 2, 100, 101]);
    // Rows that came after the run stay when the run is repeated.
    commit(&mut sink, 3, &rows(1, 6..7)).await;
    for delta in [&delta, &place.by_day().await] {
        assert!(delta.replace_days(run()).await.unwrap() > version);
        assert_eq!(ids(delta).await, [0, 1, 2, 6, 100, 101]);
    }
    assert_eq!(delta.version(PIPELINE).await.unwrap().version, version + 1);

    // Another run of that day replaces all of it, an empty one too.
    delta.replace_days(replacement("r2", 1, Vec::new(), None)).await.unwrap();
    assert_eq!(ids(&delta).await, [0, 1, 2]);
    assert_eq!(delta.note().await.unwrap().as_deref(), Some("boundary 1"));
    assert_eq!(held(&delta).await, Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_other_days_cannot_replace() {
    let place = Place::new();
    let delta = place.by_day().await;
    let refused = delta.replace_days(replacement("r", 0, vec![rows(1, 0..1)], None)).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Invalid);
    assert!(refused.message.contains("2023-12-23"), "{}", refused.message);
    for column in ["price", "nothing"] {
        let by = Replacement { day_column: column.to_owned(), ..replacement("r", 0, vec![], None) };
        assert_eq!(delta.replace_days(by).await.unwrap_err().kind, ErrorKind::Invalid);
    }
    assert_eq!(delta.version(PIPELINE).await.unwrap().version, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_day_column_the_rows_of_other_days_in_a_file_stay() {
    let place = Place::new();
    let delta = place.open(DeltaOptions::default()).await.unwrap();
    let mut sink = sink(&delta).await;
    // Two days in one file, one day in another, and one far away.
    sink.write(1, &rows(0, 0..3)).await.unwrap();
    sink.write(1, &rows(1, 3..6)).await.unwrap();
    sink.commit(&stamp(1)).await.unwrap();
    commit(&mut sink, 2, &rows(1, 6..9)).await;
    commit(&mut sink, 3, &rows(5, 9..12)).await;
    let untouched = place.data_files();

    let by_time = |run: &str, rows| Replacement {
        day_column: "ts".to_owned(),
        ..replacement(run, 1, rows, Some("n"))
    };
    delta.replace_days(by_time("r1", vec![rows(1, 50..52)])).await.unwrap();
    assert_eq!(ids(&delta).await, [0, 1, 2, 9, 10, 11, 50, 51]);
    delta.replace_days(by_time("r2", vec![rows(1, 60..61)])).await.unwrap();
    assert_eq!(ids(&delta).await, [0, 1, 2, 9, 10, 11, 60]);
    let kept =
        delta.files().await.unwrap().into_iter().filter(|file| untouched.contains(&file.path));
    assert_eq!(kept.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_keeps_rows_and_stamps() {
    let place = Place::new();
    let delta = place.by_day().await;
    let mut sink = sink(&delta).await;
    for epoch in 1..=9 {
        let id = epoch as i64;
        commit(&mut sink, epoch, &rows(epoch as i32 % 2, [id, id + 100])).await;
    }
    let before = ids(&delta).await;
    assert_eq!(delta.compact().await.unwrap(), (9, 2));
    assert_eq!(ids(&delta).await, before);
    assert_eq!(delta.files().await.unwrap().len(), 2);
    assert_eq!(held(&delta).await, Some(9));
    assert_eq!(delta.compact().await.unwrap(), (0, 0));
    commit(&mut sink, 10, &rows(0, [10])).await;
    assert_eq!(place.by_day().await.compact().await.unwrap(), (2, 1));
    assert_eq!(query(&delta, "SELECT count(*) FROM t").await, [19]);
    assert_eq!(held(&delta).await, Some(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_that_was_overtaken_is_dropped_unless_by_an_append() {
    let place = Place::new();
    let delta = place.by_day().await;
    let mut sink = sink(&delta).await;
    for epoch in 1..=4 {
        commit(&mut sink, epoch, &rows(0, [epoch as i64])).await;
    }
    let slow = place.by_day().await;
    let slow = slow.shared().await.unwrap();
    let merge = async || {
        let (version, groups) = slow.small_groups().await.unwrap();
        slow.merge(version, &groups[0]).await.unwrap()
    };
    let rewrite = merge().await;
    commit(&mut sink, 5, &rows(0, [5])).await;
    assert!(slow.carry_out(&rewrite).await.unwrap());
    assert_eq!(ids(&delta).await, [1, 2, 3, 4, 5]);
    assert_eq!(delta.files().await.unwrap().len(), 2);

    let rewrite = merge().await;
    assert_eq!(delta.compact().await.unwrap(), (2, 1));
    assert!(!slow.carry_out(&rewrite).await.unwrap());
    commit(&mut sink, 6, &rows(0, [6])).await;
    let rewrite = merge().await;
    delta.replace_days(replacement("r", 0, vec![rows(0, [7])], None)).await.unwrap();
    assert!(!slow.carry_out(&rewrite).await.unwrap());
    assert_eq!(ids(&delta).await, [7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_at_once_loses_and_doubles_nothing() {
    const EPOCHS: u64 = 15;
    let place = Place::new();
    let feeds = ["trades", "quotes"].map(async |pipeline| {
        let delta = place.open(DeltaOptions { fed_by: Some(pipeline.to_owned()), ..by_day() });
        let mut sink = sink(&delta.await.unwrap()).await;
        for epoch in 1..=EPOCHS {
            let id = epoch as i64 + if pipeline == "quotes" { 100 } else { 0 };
            sink.write(epoch, &rows(0, [id])).await.unwrap();
            let stamp = Stamp { pipeline: pipeline.to_owned(), ..stamp(epoch) };
            assert_eq!(sink.commit(&stamp).await.unwrap().rows_written, 1);
        }
    });
    let replaced = async {
        let delta = place.by_day().await;
        for run in 0..EPOCHS as i64 {
            let run = replacement(&run.to_string(), 1, vec![rows(1, [1_000 + run])], None);
            delta.replace_days(run).await.unwrap();
        }
    };
    let compacted = async {
        let delta = place.by_day().await;
        for _ in 0..EPOCHS {
            delta.compact().await.unwrap();
            delta.checkpoint().await.unwrap();
        }
    };
    let [trades, quotes] = feeds;
    tokio::join!(trades, quotes, replaced, compacted);
    let last = EPOCHS as i64;
    let expected = (1..=last).chain(101..=100 + last).chain([1_000 + last - 1]);
    assert_eq!(ids(&place.by_day().await).await, expected.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vacuum_removes_what_no_newer_version_needs() {
    let place = Place::new();
    let delta = place.by_day().await;
    let mut sink = sink(&delta).await;
    for epoch in 1..=4 {
        commit(&mut sink, epoch, &rows(0, [epoch as i64])).await;
    }
    delta.compact().await.unwrap();
    assert_eq!(delta.vacuum(std::time::Duration::from_secs(3_600)).await.unwrap(), 0);
    // Uncommitted rows of a writer that is at it are not touched.
    sink.write(5, &rows(0, [5])).await.unwrap();
    assert_eq!(delta.vacuum(std::time::Duration::ZERO).await.unwrap(), 4);
    assert_eq!(place.data_files().len(), 1);
    sink.commit(&stamp(5)).await.unwrap();
    assert_eq!(ids(&delta).await, [1, 2, 3, 4, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_table_is_empty_and_fed_by_nobody() {
    let place = Place::new();
    let delta = place.by_day().await;
    let mut before = sink(&delta).await;
    commit(&mut before, 5, &rows(0, 0..3)).await;
    delta.reset().await.unwrap();
    assert_eq!(ids(&delta).await, [0i64; 0]);
    before.write(6, &rows(0, 3..4)).await.unwrap();
    assert_eq!(before.commit(&stamp(6)).await.unwrap_err().kind, ErrorKind::Fenced);
    assert_eq!(before.open().await.unwrap(), None);
    commit(&mut before, 1, &rows(0, 0..3)).await;
    assert_eq!(ids(&delta).await, [0, 1, 2]);
    assert_eq!(held(&delta).await, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_says_what_happened_newest_first() {
    let place = Place::new();
    let delta = place.by_day().await;
    let mut sink = sink(&delta).await;
    commit(&mut sink, 1, &rows(0, 0..3)).await;
    commit(&mut sink, 2, &rows(0, 3..5)).await;
    delta.compact().await.unwrap();
    delta.replace_days(replacement("r", 0, vec![rows(0, 0..1)], Some("n"))).await.unwrap();
    delta.reset().await.unwrap();
    let line = |commit: &TableCommit| (commit.version, commit.operation.clone(), commit.rows);
    let history = delta.history(10).await.unwrap();
    let lines: Vec<_> = history.iter().map(line).collect();
    let expected = [
        (5, "reset", None),
        (4, "replace", Some(1)),
        (3, "compact", Some(5)),
        (2, "append", Some(2)),
        (1, "append", Some(3)),
        (0, "create", None),
    ];
    let expected = expected.map(|(version, name, rows)| (version, name.to_owned(), rows));
    assert_eq!(lines, expected);
    assert!(history.iter().all(|commit| commit.at == place.env.clock.now()));
    assert_eq!(delta.history(2).await.unwrap().len(), 2);
}
