//! The whole log with its thread, on real files, with many writers and readers.

use std::collections::HashMap;

use futures::future::join_all;

use super::*;
use crate::OsDisk;

const WRITERS: usize = 16;
const APPENDS: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_writers_and_readers_agree() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = EmbeddedLog::open(Arc::new(OsDisk), folder.path().join("log")).unwrap();
    let two = TopicSettings { partitions: 2, ..settings(16 << 10) };
    log.create_topic("t", &two).await.unwrap();

    let partition = |number: usize| TopicPartition::new("t", (number % 2) as u32);
    let writers = (0..WRITERS).map(|writer| write(&log, partition(writer), writer));
    let readers = (0..4).map(|reader| read(&log, partition(reader), WRITERS / 2 * APPENDS));
    let (written, all_read) = futures::join!(join_all(writers), join_all(readers));

    let mut expected: [Vec<String>; 2] = Default::default();
    for (partition, offset, value) in written.into_iter().flatten() {
        let values = &mut expected[partition];
        values.resize(values.len().max(offset + 1), String::new());
        assert_eq!(values[offset], "", "L1: offset {offset} was given out twice");
        values[offset] = value;
    }
    for (reader, found) in all_read.iter().enumerate() {
        assert_eq!(*found, expected[reader % 2]);
    }

    drop(log);
    let (log, recovery) = EmbeddedLog::open(Arc::new(OsDisk), folder.path().join("log")).unwrap();
    assert_eq!(recovery, Recovery::default());
    for (number, expected) in expected.iter().enumerate() {
        let found = read(&log, partition(number), WRITERS / 2 * APPENDS).await;
        assert_eq!(found, *expected);
    }
}

/// Appends values of its own; returns partition, offset and value of each.
async fn write(
    log: &EmbeddedLog,
    partition: TopicPartition,
    writer: usize,
) -> Vec<(usize, usize, String)> {
    let mut written = Vec::new();
    for number in 0..APPENDS {
        let value = format!("{writer}/{number}");
        let durability = if number % 4 == 0 { Durability::Buffered } else { Durability::Synced };
        let batches = batch(0, &[&value]);
        let span = log.append(&partition, batches, durability).await.unwrap();
        assert_eq!(span.first, span.last);
        let bounds = log.bounds(&partition).await.unwrap();
        assert!(durability == Durability::Buffered || bounds.high_watermark > span.last, "L2");
        written.push((partition.partition as usize, span.first as usize, value));
    }
    written
}

/// Reads from the beginning until `count` records came, as they come.
async fn read(log: &EmbeddedLog, partition: TopicPartition, count: usize) -> Vec<String> {
    let limit = FetchLimit { bytes_max: 4096, wait: Duration::from_secs(60) };
    let mut found = Vec::new();
    let mut from = 0;
    while found.len() < count {
        let fetched = log.fetch(&partition, from, limit).await.unwrap();
        assert!(!fetched.batches.is_empty(), "records came to an end after {}", found.len());
        assert!(fetched.next <= fetched.bounds.high_watermark, "L3");
        for decoded in decode(&fetched.batches).unwrap() {
            assert_eq!(decoded.offset, found.len() as Offset, "L1");
            found.push(String::from_utf8(decoded.record.value.unwrap().to_vec()).unwrap());
        }
        from = fetched.next;
    }
    found
}

/// Each writer's records keep their order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_writer_that_does_not_wait_keeps_its_order() {
    let disk = MemDisk::new(1);
    let (log, _) = EmbeddedLog::open(Arc::new(disk.clone()), FOLDER).unwrap();
    log.create_topic("trades.raw", &settings(2048)).await.unwrap();
    let partition = trades();
    let appends = (0..200)
        .map(|number| log.append(&partition, batch(0, &[&number.to_string()]), Durability::Synced));
    let spans: HashMap<i64, usize> = join_all(appends)
        .await
        .into_iter()
        .enumerate()
        .map(|(number, span)| (span.unwrap().first, number))
        .collect();
    assert!((0..200).all(|number| spans[&number] == number as usize));
    drop(log);
    disk.crash();
    let expected: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    assert_eq!(values(&open(&disk).unwrap().0, 0).await, expected);
}
