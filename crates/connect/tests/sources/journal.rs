//! The journal read back as an input.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use thalweg_connect::sources::journal::JournalInput;
use thalweg_core::ErrorKind;
use thalweg_core::frame::Frame;
use thalweg_core::log::{Durability, Log};
use thalweg_core::records::{BatchWriter, LENGTH_HEADER, encode_frames};
use thalweg_core::source::{Chunk, Input, ReadLimit};
use thalweg_core::time::Timestamp;
use thalweg_core::topic::TopicPartition;

use crate::support::MemLog;

fn partition() -> TopicPartition {
    TopicPartition::new("trades.raw", 3)
}

/// A log with one batch per list of frames; frame `n` is received in millisecond `n`.
async fn log(batches: &[Vec<String>]) -> Arc<MemLog> {
    let log = Arc::new(MemLog::new());
    let mut number = 0;
    for batch in batches {
        let frames: Vec<Frame> = batch
            .iter()
            .map(|text| {
                number += 1;
                Frame {
                    received_at: Timestamp::from_millis(number),
                    connection: 1,
                    bytes: Bytes::from(text.clone()),
                }
            })
            .collect();
        let encoded = encode_frames(&frames).unwrap();
        log.append(&partition(), encoded, Durability::Synced).await.unwrap();
    }
    log
}

const EVERYTHING: ReadLimit = ReadLimit {
    frames_max: usize::MAX,
    bytes_max: usize::MAX,
    until: None,
    is_rerun: false,
    wait: Duration::ZERO,
};

fn texts(chunk: &Chunk) -> Vec<(i64, String)> {
    let text = |index| String::from_utf8_lossy(chunk.frames.bytes(index)).into_owned();
    chunk.frames.spans.iter().enumerate().map(|(i, span)| (span.offset, text(i))).collect()
}

fn some(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test]
async fn frames_come_with_offset_and_time() {
    let log = log(&[some(&["a", ""]), some(&["c"])]).await;
    let mut input = JournalInput::new(log, partition());
    assert_eq!(input.start().await.unwrap(), 0);
    let chunk = input.read(0, EVERYTHING).await.unwrap();
    assert_eq!(texts(&chunk), [(0, "a".into()), (1, "".into()), (2, "c".into())]);
    assert_eq!(chunk.frames.partition, 3);
    assert_eq!(chunk.frames.spans[2].received_at, Timestamp::from_millis(3));
    assert_eq!((chunk.next, chunk.at_end), (3, true));
    let chunk = input.read(3, EVERYTHING).await.unwrap();
    assert!(chunk.frames.is_empty() && chunk.at_end);
    assert!(!input.is_bounded());
    assert!(input.unread_heads(0).await.unwrap().is_empty());
}

#[tokio::test]
async fn reading_may_go_back() {
    let log = log(&[some(&["a", "b", "c"]), some(&["d"])]).await;
    let mut input = JournalInput::new(log, partition());
    let one = ReadLimit { frames_max: 1, ..EVERYTHING };
    // Each read leaves something over, and the next one is not for that.
    for at in [2, 1, 3, 0] {
        let chunk = input.read(at, one).await.unwrap();
        assert_eq!(chunk.frames.spans[0].offset, at);
    }
}

#[tokio::test]
async fn a_head_that_was_journaled_is_set_aside_in_its_place() {
    let log = log(&[some(&["a"])]).await;
    let mut writer = BatchWriter::default();
    let length = 20_000_000_u64.to_be_bytes();
    writer.push(Timestamp(0), None, Some(b"head"), &[(LENGTH_HEADER, Some(&length))]).unwrap();
    writer.push(Timestamp(0), None, Some(b"c"), &[]).unwrap();
    log.append(&partition(), writer.finish(), Durability::Synced).await.unwrap();
    let mut input = JournalInput::new(log, partition());
    let chunk = input.read(0, ReadLimit { frames_max: 1, ..EVERYTHING }).await.unwrap();
    assert_eq!(texts(&chunk), [(0, "a".into())]);
    let mut oversized = chunk.oversized;
    let chunk = input.read(chunk.next, EVERYTHING).await.unwrap();
    assert_eq!(texts(&chunk), [(2, "c".into())]);
    oversized.extend(chunk.oversized);
    let [oversized] = &oversized[..] else { panic!("once, not {oversized:?}") };
    assert_eq!((oversized.offset, oversized.length), (1, 20_000_000));
}

#[tokio::test]
async fn a_position_that_retention_has_passed_is_named() {
    let log = log(&[some(&["a", "b"]), some(&["c"])]).await;
    log.forget_first();
    let mut input = JournalInput::new(log, partition());
    assert_eq!(input.start().await.unwrap(), 2);
    let error = input.read(1, EVERYTHING).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.message.starts_with("retention has removed"), "{error}");
    assert_eq!(error.detail.as_deref(), Some("Offset 1 is next; the oldest held is 2."));
    let error = input.read(9, EVERYTHING).await.unwrap_err();
    assert!(error.message.contains("ends before the position"), "{error}");
}

#[tokio::test]
async fn a_read_waits_for_what_comes() {
    let log = log(&[some(&["a"])]).await;
    let mut input = JournalInput::new(log.clone(), partition());
    let limit = ReadLimit { wait: Duration::from_secs(20), ..EVERYTHING };
    let later = async {
        let frame =
            Frame { received_at: Timestamp(0), connection: 1, bytes: Bytes::from_static(b"b") };
        let encoded = encode_frames(&[frame]).unwrap();
        log.append(&partition(), encoded, Durability::Synced).await.unwrap();
    };
    let (chunk, ()) = tokio::join!(input.read(1, limit), later);
    assert_eq!(texts(&chunk.unwrap()), [(1, "b".into())]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// However reads are limited and wherever they begin again, the frames are the same.
    #[test]
    fn limits_and_restarts_do_not_matter(
        batches in prop::collection::vec(prop::collection::vec("[a-z]{0,6}", 1..6), 1..6),
        limits in prop::collection::vec((1..7_usize, 1..20_usize, any::<bool>()), 1..40),
        until in 0..40_i64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let log = log(&batches).await;
            let all: Vec<(i64, String)> =
                batches.concat().into_iter().enumerate().map(|(i, text)| (i as i64, text)).collect();
            let until = until.min(all.len() as i64);
            let mut input = JournalInput::new(log.clone(), partition());
            let (mut at, mut seen) = (0, Vec::new());
            for (frames_max, bytes_max, restart) in limits.iter().cycle() {
                if *restart {
                    input = JournalInput::new(log.clone(), partition());
                }
                let limit = ReadLimit {
                    frames_max: *frames_max,
                    bytes_max: *bytes_max,
                    until: Some(until), is_rerun: true,
                    wait: Duration::ZERO,
                };
                let chunk = input.read(at, limit).await.unwrap();
                assert!(chunk.frames.len() <= *frames_max);
                seen.extend(texts(&chunk));
                at = chunk.next;
                if at >= until {
                    break;
                }
                assert!(!chunk.frames.is_empty(), "it makes progress");
            }
            assert_eq!(at, until);
            assert_eq!(seen, all[..until as usize]);
        });
    }
}
