//! Topics: making them, naming them, keeping their settings, what a crash leaves of them.

use std::collections::HashSet;

use super::*;

#[tokio::test]
async fn topics_are_there_again_with_their_settings() {
    let (disk, log) = fresh(4096).await;
    let wide = TopicSettings { partitions: 3, retention_bytes: None, ..settings(1 << 20) };
    log.create_topic("_epochs", &wide).await.unwrap();
    let expected = vec![("_epochs".to_owned(), wide), ("trades.raw".to_owned(), settings(4096))];
    assert_eq!(log.topics().await.unwrap(), expected);

    drop(log);
    disk.crash();
    let (log, recovery) = open(&disk).unwrap();
    assert_eq!(recovery, Recovery::default());
    assert_eq!(log.topics().await.unwrap(), expected);
    assert!(log.bounds(&TopicPartition::new("_epochs", 2)).await.is_ok());
}

#[tokio::test]
async fn a_topic_that_exists_is_made_again_only_alike() {
    let (_, log) = fresh(4096).await;
    log.create_topic("trades.raw", &settings(9999)).await.unwrap();
    assert_eq!(log.topics().await.unwrap()[0].1, settings(4096), "nothing was done");
    let two = TopicSettings { partitions: 2, ..settings(4096) };
    assert_kind(log.create_topic("trades.raw", &two).await, ErrorKind::Invalid);
    assert_kind(log.create_topic("a b", &settings(4096)).await, ErrorKind::Invalid);
}

#[tokio::test]
async fn what_does_not_exist_is_refused() {
    let (_, log) = fresh(4096).await;
    for partition in [TopicPartition::new("trades", 0), TopicPartition::new("trades.raw", 1)] {
        assert_kind(log.bounds(&partition).await, ErrorKind::Invalid);
        assert_kind(log.fetch(&partition, 0, limit(1)).await, ErrorKind::Invalid);
        assert_kind(log.hold(&partition, "x", None).await, ErrorKind::Invalid);
        assert_kind(log.offset_at(&partition, Timestamp(0)).await, ErrorKind::Invalid);
        let appended = log.append(&partition, batch(0, &["a"]), Durability::Buffered).await;
        assert_kind(appended, ErrorKind::Invalid);
    }
    assert_kind(log.update_topic("trades", &settings(4096)).await, ErrorKind::Invalid);
}

#[tokio::test]
async fn changed_settings_apply_at_once_and_stay() {
    let (disk, log) = fresh(1 << 20).await;
    let changed = TopicSettings { retention_age: None, ..settings(1024) };
    log.update_topic("trades.raw", &changed).await.unwrap();
    append_synced(&log, batch(0, &["x".repeat(1024).as_str()])).await.unwrap();
    assert!(disk.read(&file_in_trades("00000000000000000001.log")).is_ok(), "a segment was closed");

    let wider = TopicSettings { partitions: 2, ..changed.clone() };
    assert_kind(log.update_topic("trades.raw", &wider).await, ErrorKind::Invalid);
    drop(log);
    disk.crash();
    assert_eq!(open(&disk).unwrap().0.topics().await.unwrap()[0].1, changed);
}

/// Wherever the power goes while a topic is made, it is there whole or not at all, and can be made.
#[tokio::test]
async fn a_topic_is_made_whole_or_not_at_all() {
    let two = TopicSettings { partitions: 2, ..settings(1024) };
    let mut outcomes = HashSet::new();
    for operations in 0..40 {
        for seed in 0..5 {
            let disk = MemDisk::new(seed);
            let (log, _) = open(&disk).unwrap();
            disk.cut_power_after(operations);
            let made = log.create_topic("t", &two).await;
            drop(log);
            disk.crash();
            let (log, recovery) = open(&disk).unwrap();
            let half_made = [Path::new("/log/t").to_owned()];
            assert!(recovery.left_alone.is_empty() || recovery.left_alone == half_made);
            let there = !log.topics().await.unwrap().is_empty();
            assert!(there || made.is_err(), "what was promised is there");
            outcomes.insert((made.is_ok(), there));
            log.create_topic("t", &two).await.unwrap();
            let partition = TopicPartition::new("t", 1);
            let appended = log.append(&partition, batch(0, &["a"]), Durability::Synced);
            assert_eq!(with_syncs(&log, appended).await.unwrap(), OffsetSpan { first: 0, last: 0 });
        }
    }
    assert_eq!(outcomes, HashSet::from([(false, false), (false, true), (true, true)]));
}

#[tokio::test]
async fn what_is_not_ours_is_left_alone_and_reported() {
    let (disk, log) = fresh(1024).await;
    drop(log);
    let foreign = [
        "/log/lost+found",
        "/log/notes",
        "/log/trades.raw/0/00000000000000000000.log.bak",
        "/log/trades.raw/01",
        "/log/trades.raw/README",
    ];
    for path in foreign {
        disk.open(Path::new(path), true).unwrap().write_at(b"mine", 0).unwrap();
    }
    disk.create_dir_all(Path::new("/log/half-made/0")).unwrap();
    let (_, recovery) = open(&disk).unwrap();
    let left_alone: HashSet<PathBuf> = recovery.left_alone.into_iter().collect();
    let expected = foreign.into_iter().chain(["/log/half-made"]).map(PathBuf::from).collect();
    assert_eq!(left_alone, expected);
    for path in foreign {
        assert_eq!(disk.read(Path::new(path)).unwrap(), b"mine");
    }
}

#[tokio::test]
async fn damaged_settings_are_refused() {
    let (disk, log) = fresh(1024).await;
    drop(log);
    damage(&disk, Path::new("/log/trades.raw/topic"), |bytes| bytes[16] = b'9');
    let error = assert_kind(open(&disk).map(|_| ()), ErrorKind::Internal);
    assert_eq!(error.message, "/log/trades.raw/topic is damaged");
}
