//! Reading: bounds, limits, waiting, times, holds and retention.

use std::task::Poll;

use thalweg_core::records::batches;

use super::*;

#[tokio::test]
async fn offsets_are_dense_and_seen_once_stable() {
    let (_, log) = fresh(1 << 20).await;
    let span = append_buffered(&log, batch(0, &["a", "b", "c"])).await.unwrap();
    assert_eq!(span, OffsetSpan { first: 0, last: 2 });
    let seen = bounds(&log).await;
    assert_eq!(seen, OffsetBounds { log_start: 0, high_watermark: 0, log_end: 3 });
    assert!(values(&log, 0).await.is_empty(), "L3");

    let two = [batch(0, &["d"]), batch(0, &["e", "f"])].concat();
    let span = append_synced(&log, two.into()).await.unwrap();
    assert_eq!(span, OffsetSpan { first: 3, last: 5 });
    assert_eq!(bounds(&log).await.high_watermark, 6);
    assert_eq!(values(&log, 0).await, ["a", "b", "c", "d", "e", "f"]);
    assert_eq!(values(&log, 4).await, ["e", "f"]);
}

#[tokio::test]
async fn what_is_not_a_batch_is_refused() {
    let (_, log) = fresh(1 << 20).await;
    let good = batch(0, &["a"]);
    let mut flipped = good.to_vec();
    flipped[60] ^= 1;
    for bad in [&b""[..], b"junk", &good[..good.len() - 1], &flipped, &[&good[..], b"x"].concat()] {
        let appended = append_buffered(&log, Bytes::copy_from_slice(bad)).await;
        assert_kind(appended, ErrorKind::Invalid);
    }
    assert_eq!(bounds(&log).await.log_end, 0);
}

/// Only base offset and leader epoch differ (L4); a buffer that others hold is not changed.
#[tokio::test]
async fn a_batch_is_kept_byte_for_byte() {
    let (_, log) = fresh(1 << 20).await;
    let sent = batch(7, &["a", "b"]);
    let kept = sent.clone();
    append_buffered(&log, batch(0, &["first"])).await.unwrap();
    append_synced(&log, sent).await.unwrap();
    let fetched = log.fetch(&trades(), 1, limit(1 << 20)).await.unwrap().batches;
    assert_eq!(kept, batch(7, &["a", "b"]));
    assert_eq!(fetched[..8], 1_i64.to_be_bytes());
    assert_eq!(fetched[8..12], kept[8..12]);
    assert_eq!(fetched[16..], kept[16..]);
}

#[tokio::test]
async fn a_fetch_brings_whole_batches_within_its_limit() {
    let (_, log) = fresh(1 << 20).await;
    for first in ["a", "c", "e"] {
        append_synced(&log, batch(0, &[first, "and one more"])).await.unwrap();
    }
    let length = batch(0, &["a", "and one more"]).len();
    for (from, bytes_max, first, next) in [
        (0, 0, 0, 2),
        (1, length, 0, 2),
        (2, 2 * length - 1, 2, 4),
        (2, 2 * length, 2, 6),
        (5, usize::MAX, 4, 6),
    ] {
        let fetched = log.fetch(&trades(), from, limit(bytes_max)).await.unwrap();
        let bases: Vec<Offset> =
            batches(&fetched.batches).map(|batch| batch.unwrap().header.base_offset).collect();
        assert_eq!((bases[0], fetched.next), (first, next), "from {from}, {bytes_max} bytes");
        assert_eq!(fetched.bounds.high_watermark, 6);
    }
}

#[tokio::test]
async fn a_fetch_outside_the_bounds_is_refused() {
    let (_, log) = fresh(1 << 20).await;
    append_synced(&log, batch(0, &["a"])).await.unwrap();
    assert!(log.fetch(&trades(), 1, limit(1)).await.unwrap().batches.is_empty());
    assert_kind(log.fetch(&trades(), -1, limit(1)).await, ErrorKind::Invalid);
    assert_kind(log.fetch(&trades(), 2, limit(1)).await, ErrorKind::Invalid);
}

#[tokio::test]
async fn a_fetch_goes_on_from_segment_to_segment() {
    let (disk, log) = three_segments().await;
    let firsts = |values: Vec<String>| -> Vec<char> {
        values.iter().map(|value| value.chars().next().unwrap()).collect()
    };
    assert_eq!(firsts(values(&log, 0).await), ['0', '1', '2', '3', '4', '5']);
    disk.shorten_reads(true);
    assert_eq!(firsts(values(&log, 1).await), ['1', '2', '3', '4', '5']);
}

#[tokio::test]
async fn a_fetch_waits_for_records_within_its_bound() {
    let (_, log) = fresh(1 << 20).await;
    let with_wait = |wait| FetchLimit { bytes_max: 1 << 20, wait };
    let short = Duration::from_millis(20);
    let started = tokio::time::Instant::now();
    let fetched = log.fetch(&trades(), 0, with_wait(short)).await.unwrap();
    assert!(fetched.batches.is_empty() && fetched.next == 0);
    assert!(started.elapsed() >= short);

    let partition = trades();
    let mut fetch = pin!(log.fetch(&partition, 0, with_wait(Duration::MAX)));
    assert!(poll!(&mut fetch).is_pending());
    append_buffered(&log, batch(0, &["a"])).await.unwrap();
    assert!(poll!(&mut fetch).is_pending(), "L3");
    log.sync_group();
    assert_eq!(fetch.await.unwrap().next, 1);
}

#[tokio::test]
async fn a_dropped_append_or_fetch_does_no_harm() {
    let (_, log) = fresh(1 << 20).await;
    let partition = trades();
    {
        let waiting = FetchLimit { bytes_max: 1, wait: Duration::from_secs(3600) };
        let mut fetch = pin!(log.fetch(&partition, 0, waiting));
        let mut append = pin!(log.append(&partition, batch(0, &["a"]), Durability::Synced));
        assert!(poll!(&mut fetch).is_pending() && poll!(&mut append).is_pending());
    }
    append_synced(&log, batch(0, &["b"])).await.unwrap();
    assert_eq!(values(&log, 0).await, ["a", "b"], "what was begun is there whole");
}

#[tokio::test]
async fn a_sync_waits_for_what_was_appended_before() {
    let (_, log) = fresh(1 << 20).await;
    log.sync().await.unwrap();
    append_buffered(&log, batch(0, &["a"])).await.unwrap();
    let mut sync = pin!(log.sync());
    assert!(poll!(&mut sync).is_pending());
    log.sync_group();
    assert!(matches!(poll!(&mut sync), Poll::Ready(Ok(()))));
}

#[tokio::test]
async fn an_offset_is_found_by_time() {
    let (_, log) = fresh(1024).await;
    let filler = "x".repeat(700);
    // Times 10 11 | 12 5 | 20 21 | ...: not in order, over several segments.
    for (first, second) in [(10, 11), (12, 5), (20, 21), (20, 30), (31, 7)] {
        let records = [record(first, filler.clone()), record(second, "")];
        append_synced(&log, encode(&records).unwrap()).await.unwrap();
    }
    for (micros, offset) in [
        (i64::MIN, Some(0)),
        (10_000, Some(0)),
        (10_001, Some(1)),
        (12_000, Some(2)),
        (12_001, Some(4)),
        (20_500, Some(5)),
        (22_000, Some(7)),
        (31_000, Some(8)),
        (31_001, None),
        (i64::MAX, None),
    ] {
        let found = log.offset_at(&trades(), Timestamp(micros)).await.unwrap();
        assert_eq!(found, offset, "{micros} µs");
    }
    append_buffered(&log, batch(99, &["unstable"])).await.unwrap();
    assert_eq!(log.offset_at(&trades(), Timestamp::from_millis(99)).await.unwrap(), None, "L3");
}

#[tokio::test]
async fn old_segments_go_unless_held() {
    let (disk, log) = three_segments().await;
    let age = settings(1024).retention_age.unwrap();
    let after = |millis| Timestamp::from_millis(millis).plus(age);
    assert_eq!(log.retain(after(0)).unwrap().segments, 0);

    log.hold(&trades(), "checkpoint", Some(1)).await.unwrap();
    log.hold(&trades(), "outbox", Some(3)).await.unwrap();
    assert_eq!(log.retain(after(1000)).unwrap().segments, 0);
    log.hold(&trades(), "checkpoint", None).await.unwrap();
    let removed = log.retain(after(1000)).unwrap();
    assert!(removed.segments == 1 && removed.bytes > 1024, "{removed:?}");
    assert_eq!(bounds(&log).await.log_start, 2);
    assert_kind(log.fetch(&trades(), 1, limit(1)).await, ErrorKind::Invalid);
    assert!(disk.read(&file_in_trades("00000000000000000000.log")).is_err());
    assert!(disk.read(&file_in_trades("00000000000000000000.index")).is_err());

    // Even the active segment's records are old: it is closed, and goes the next time.
    log.hold(&trades(), "outbox", None).await.unwrap();
    log.sync_group();
    assert_eq!(log.retain(after(1000)).unwrap().segments, 2);
    let seen = bounds(&log).await;
    assert_eq!(seen, OffsetBounds { log_start: 6, high_watermark: 6, log_end: 6 });
    append_synced(&log, batch(5000, &["6"])).await.unwrap();
    drop(log);
    disk.crash();
    let (log, _) = open(&disk).unwrap();
    assert_eq!(values(&log, 6).await, ["6"]);
}
