//! Batches against Kafka's own, against themselves, and against foreign bytes.

use std::path::Path;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::frame::Frame;

fn config() -> ProptestConfig {
    ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() }
}

fn bytes(range: std::ops::Range<usize>) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), range).prop_map(Bytes::from)
}

fn record() -> impl Strategy<Value = Record> {
    let header = (bytes(0..8), option::of(bytes(0..8)))
        .prop_map(|(name, value)| RecordHeader { name, value });
    // Every millisecond that microseconds can name.
    let millis = prop_oneof![0..2_000_000_000_000_i64, i64::MIN / 1000..i64::MAX / 1000];
    (millis, option::of(bytes(0..20)), option::of(bytes(0..300)), vec(header, 0..4)).prop_map(
        |(millis, key, value, headers)| Record {
            timestamp: Timestamp::from_millis(millis),
            key,
            value,
            headers,
        },
    )
}

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn header(name: &'static str, value: Option<&'static [u8]>) -> RecordHeader {
    RecordHeader { name: text(name), value: value.map(Bytes::from_static) }
}

fn plain(value: &[u8]) -> Record {
    Record {
        timestamp: Timestamp::from_millis(5),
        key: None,
        value: Some(Bytes::copy_from_slice(value)),
        headers: Vec::new(),
    }
}

/// What `tests/formats/record-batch-v2.bin` holds; kafka-python 3.0.12 wrote it.
fn golden_records() -> [Record; 4] {
    let at = Timestamp::from_millis;
    [
        Record {
            timestamp: at(1_703_258_644_022),
            key: None,
            value: Some(text(r#"{"p":43817.54}"#)),
            headers: vec![header("c", Some(&[0, 0, 0, 7]))],
        },
        Record {
            timestamp: at(1_703_258_644_019),
            key: Some(text("BTC-USD")),
            value: Some(Bytes::from(vec![b'x'; 300])),
            headers: vec![],
        },
        Record {
            timestamp: at(1_703_258_645_000),
            key: Some(text("")),
            value: None,
            headers: vec![
                header("op", Some(b"d")),
                header("epoch", None),
                header("epoch", Some(b"")),
            ],
        },
        Record {
            timestamp: at(1_703_258_644_022),
            key: Some(text("Zürich")),
            value: Some(text("")),
            headers: vec![],
        },
    ]
}

#[test]
fn batches_are_those_of_kafka_byte_for_byte() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/formats/record-batch-v2.bin");
    let golden = Bytes::from(std::fs::read(path).expect("the golden file is there"));

    let mut encoded = encode(&golden_records()).unwrap().to_vec();
    BatchHeader::stamp(&mut encoded, 0, 0);
    assert_eq!(encoded, golden);

    let decoded = decode(&golden).unwrap();
    for (index, (decoded, record)) in decoded.iter().zip(golden_records()).enumerate() {
        assert_eq!((decoded.offset, &decoded.record), (index as i64, &record));
    }
    assert_eq!(decoded.len(), 4);
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_encoded_is_decoded(records in vec(record(), 1..20), base in 0..i64::MAX / 2) {
        let mut encoded = encode(&records)?.to_vec();
        BatchHeader::stamp(&mut encoded, base, 3);
        let encoded = Bytes::from(encoded);
        let batch = Batch::parse(&encoded)?;
        batch.check()?;
        prop_assert_eq!(batch.header.leader_epoch, 3);
        prop_assert_eq!(batch.header.next_offset(), base + records.len() as i64);
        let latest = records.iter().map(|record| record.timestamp.millis()).max();
        prop_assert_eq!(Some(batch.header.max_timestamp_ms), latest);

        let decoded = decode(&encoded)?;
        prop_assert_eq!(decoded.len(), records.len());
        for (index, (decoded, record)) in decoded.iter().zip(&records).enumerate() {
            prop_assert_eq!(decoded.offset, base + index as i64);
            prop_assert_eq!(&decoded.record, record);
        }
    }

    #[test]
    fn a_cut_batch_is_refused(records in vec(record(), 1..5), cut in any::<prop::sample::Index>()) {
        let encoded = encode(&records)?;
        let cut = 1 + cut.index(encoded.len() - 1);
        prop_assert!(decode(&encoded.slice(..cut)).is_err());
    }

    #[test]
    fn a_flipped_bit_is_noticed(records in vec(record(), 1..5), bit in any::<prop::sample::Index>()) {
        let mut encoded = encode(&records)?.to_vec();
        // Neither the base offset nor the leader epoch is under the CRC, by the format's design.
        let bits: Vec<usize> =
            (0..encoded.len() * 8).filter(|bit| !matches!(bit / 8, 0..8 | 12..16)).collect();
        let bit = bits[bit.index(bits.len())];
        encoded[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(decode(&Bytes::from(encoded)).is_err());
    }

    #[test]
    fn foreign_bytes_do_not_panic(bytes in bytes(0..300)) {
        let _ = decode(&bytes);
        let _ = decode_frames(0, &bytes, 0);
    }

    /// Bytes behind a header whose length and CRC are right: what reaches the records' parser.
    #[test]
    fn foreign_records_do_not_panic(
        count in any::<i32>(),
        last in any::<i32>(),
        attributes in any::<i16>(),
        body in bytes(0..100),
    ) {
        let batch = batch_around(attributes, last, count, &body);
        let _ = decode(&batch);
        let _ = decode_frames(0, &batch, 0);
        let _ = Batch::parse(&batch).and_then(|batch| batch.check());
    }

    /// As above, from a valid batch, so that the parser gets far.
    #[test]
    fn damaged_records_do_not_panic(
        records in vec(record(), 1..5),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let encoded = encode(&records)?;
        let mut body = encoded[BATCH_HEADER_BYTES..].to_vec();
        for (place, byte) in damage {
            let place = place.index(body.len());
            body[place] = byte;
        }
        let count = records.len() as i32;
        let _ = decode(&batch_around(0, count - 1, count, &body));
    }
}

fn batch_around(attributes: i16, last: i32, count: i32, body: &[u8]) -> Bytes {
    let mut batch = encode(&[plain(b"")]).unwrap()[..BATCH_HEADER_BYTES].to_vec();
    batch.extend_from_slice(body);
    let after_prefix = (batch.len() - LENGTH_PREFIX_BYTES) as i32;
    batch[8..12].copy_from_slice(&after_prefix.to_be_bytes());
    batch[21..23].copy_from_slice(&attributes.to_be_bytes());
    batch[23..27].copy_from_slice(&last.to_be_bytes());
    batch[57..61].copy_from_slice(&count.to_be_bytes());
    let crc = crc32c::crc32c(&batch[CRC_START..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(batch)
}

#[test]
fn a_malformed_batch_says_what_is_wrong() {
    // length, attributes, timestamp delta, offset delta, key, value, headers
    let good = [12, 0, 0, 0, 1, 1, 0];
    check_batch(0, 0, 1, &good, "");
    check_batch(0, 0, 1, &[], "a record's length is malformed");
    check_batch(0, 0, 1, &[14, 0, 0, 0, 1, 1, 0], "a record's length is malformed");
    check_batch(0, 0, 1, &[12, 0, 0, 2, 1, 1, 0], "a record's offset is malformed");
    check_batch(0, 0, 1, &[12, 0, 0, 1, 1, 1, 0], "a record's offset is malformed");
    check_batch(0, 0, 1, &[12, 0, 0, 0, 3, 1, 0], "a record's key is malformed");
    check_batch(0, 0, 1, &[12, 0, 0, 0, 1, 126, 0], "a record's value is malformed");
    check_batch(0, 0, 1, &[12, 0, 0, 0, 1, 1, 2], "a record's list of headers is malformed");
    check_batch(0, 0, 1, &[12, 0, 0, 0, 1, 1, 1], "a record's list of headers is malformed");
    check_batch(0, 0, 1, &[14, 0, 0, 0, 1, 1, 0, 0], "a record's end is malformed");
    check_batch(0, 0, 1, &[good, good].concat(), "7 bytes follow its last record");
    check_batch(0, 1, 2, &[good, good].concat(), "a record's offset is malformed");
    check_batch(0, 1, 1, &good, "its 1 records do not take 2 offsets");
    check_batch(0, 0, 0, &[], "its 0 records do not take 1 offsets");
    check_batch(0, 0, 2, &good, "it cannot hold 2 records");
    check_batch(0, -1, 1, &good, "its offsets are negative");
    check_batch(7, 0, 1, &good, "its compression 7 is unknown");
    check_batch(4, 0, 1, b"not looked at", "");
}

#[track_caller]
fn check_batch(attributes: i16, last: i32, count: i32, body: &[u8], reason: &str) {
    let batch = batch_around(attributes, last, count, body);
    let found = Batch::parse(&batch).and_then(|batch| batch.check());
    let detail = found.err().map_or(String::new(), |error| error.detail.unwrap_or_default());
    assert_eq!(detail, reason, "{body:?}");
}

#[test]
fn compressed_records_are_named_not_guessed() {
    for (attributes, name) in [(1, "gzip"), (2, "snappy"), (3, "lz4"), (4, "zstd")] {
        let error = decode(&batch_around(attributes, 0, 1, b"?")).unwrap_err();
        assert_eq!(error.kind, crate::ErrorKind::Data);
        assert!(error.message.contains(&format!("compressed with {name},")), "{error}");
    }
}

#[test]
fn control_batches_hold_no_data() {
    let control = batch_around(0x30, 0, 1, &[12, 0, 0, 0, 1, 1, 0]);
    assert_eq!(decode(&control).unwrap(), []);
    assert!(decode_frames(0, &control, 0).unwrap().frames.is_empty());
}

#[test]
fn a_batch_with_append_time_has_one_time() {
    let records = [Record { timestamp: Timestamp(0), ..plain(b"") }, plain(b"")];
    let encoded = encode(&records).unwrap();
    let stamped = batch_around(0x08, 1, 2, &encoded[BATCH_HEADER_BYTES..]);
    let times: Vec<i64> =
        decode(&stamped).unwrap().iter().map(|decoded| decoded.record.timestamp.millis()).collect();
    assert_eq!(times, [5, 5]);
}

#[test]
fn many_megabytes_become_several_batches() {
    let records: Vec<Record> = (0..30_u8).map(|byte| plain(&vec![byte; 200_000])).collect();
    let encoded = encode(&records).unwrap();
    let lengths: Vec<usize> = batches(&encoded).map(|batch| batch.unwrap().bytes.len()).collect();
    assert_eq!(lengths.len(), 6);
    assert_eq!(lengths.iter().sum::<usize>(), encoded.len());
    let values: Vec<Record> =
        decode(&encoded).unwrap().into_iter().map(|decoded| decoded.record).collect();
    assert_eq!(values, records);
}

#[test]
fn a_record_longer_than_a_batch_is_refused() {
    let error = encode(&[plain(&vec![0; BATCH_BYTES_MAX])]).unwrap_err();
    assert_eq!(error.kind, crate::ErrorKind::Invalid);
    assert!(encode(&[]).is_err());
}

#[test]
fn decoding_copies_nothing() {
    let encoded = encode(&[plain(b"value")]).unwrap();
    let decoded = decode(&encoded).unwrap();
    let value = decoded[0].record.value.clone().unwrap();
    assert!(encoded.as_ptr_range().contains(&value.as_ptr()));
}

fn frame(millis: i64, connection: u32, bytes: impl Into<Bytes>) -> Frame {
    Frame { received_at: Timestamp::from_millis(millis), connection, bytes: bytes.into() }
}

#[test]
fn frames_are_journaled_and_read_back() {
    let long = vec![b'x'; FRAME_BYTES_MAX];
    let frames = [frame(1, 1, "a"), frame(2, 70_000, ""), frame(3, 2, long), frame(4, 2, "d")];
    let encoded = encode_frames(&frames).unwrap();

    let connections: Vec<Option<u32>> = batches(&encoded)
        .flat_map(|batch| batch.unwrap().records().unwrap())
        .map(|record| connection(&record.unwrap()))
        .collect();
    assert_eq!(connections, [Some(1), Some(70_000), Some(2), Some(2)]);

    let mut stamped = encoded.to_vec();
    let mut base = 100;
    let mut start = 0;
    for batch in batches(&encoded).map(Result::unwrap) {
        BatchHeader::stamp(&mut stamped[start..], base, 0);
        base += i64::from(batch.header.count);
        start += batch.bytes.len();
    }
    let read = decode_frames(3, &Bytes::from(stamped), 101).unwrap();
    assert!(read.oversized.is_empty());
    assert_eq!(read.frames.partition, 3);
    assert_eq!(read.frames.len(), 3);
    for (index, expected) in frames[1..].iter().enumerate() {
        assert_eq!(read.frames.bytes(index), &expected.bytes[..]);
        assert_eq!(read.frames.spans[index].offset, 101 + index as i64);
        assert_eq!(read.frames.spans[index].received_at, expected.received_at);
    }
}

#[test]
fn what_is_too_long_for_a_frame_is_set_aside() {
    let records = [plain(b"a"), plain(&vec![b'x'; FRAME_BYTES_MAX + 1]), plain(b"b")];
    let encoded = encode(&records).unwrap();
    let read = decode_frames(0, &encoded, 0).unwrap();
    assert_eq!(read.frames.len(), 2);
    let [oversized] = &read.oversized[..] else { panic!("one is too long") };
    assert_eq!(oversized.length, FRAME_BYTES_MAX as u64 + 1);
    assert_eq!(oversized.head.len(), 64 << 10);

    let journaled = encode_oversized(Timestamp(7000), 3, u64::MAX, b"head").unwrap();
    let read = decode_frames(0, &journaled, 0).unwrap();
    assert!(read.frames.is_empty());
    let [oversized] = &read.oversized[..] else { panic!("it is too long") };
    assert_eq!((oversized.length, &oversized.head[..]), (u64::MAX, &b"head"[..]));
    assert_eq!(oversized.received_at, Timestamp(7000));
}

#[test]
fn a_head_kept_of_a_frame_is_no_frame() {
    let length = (FRAME_BYTES_MAX as u64 + 7).to_be_bytes();
    let mut writer = BatchWriter::default();
    for length in [&length[..], &length[..3]] {
        writer.push(Timestamp(0), None, Some(b"head"), &[(LENGTH_HEADER, Some(length))]).unwrap();
    }
    let read = decode_frames(0, &writer.finish(), 0).unwrap();
    let [oversized] = &read.oversized[..] else { panic!("one says how long it was") };
    assert_eq!(oversized.length, FRAME_BYTES_MAX as u64 + 7);
    assert_eq!(&oversized.head[..], b"head");
    assert_eq!(read.frames.len(), 1, "a malformed length is none");
}
