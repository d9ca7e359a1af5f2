//! Messages out of bytes, however these are cut.

use proptest::prelude::*;

use super::*;

/// A frame as a server writes it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(length as u8),
        length @ 126..65_536 => {
            bytes.push(126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(payload);
    bytes
}

const TEXT: u8 = 0x81;
const TEXT_BEGINS: u8 = 0x01;
const GOES_ON: u8 = 0x00;
const ENDS: u8 = 0x80;
const PING: u8 = 0x89;
const CLOSE: u8 = 0x88;

/// Feeds `bytes` in pieces of `piece` bytes and collects what comes out.
fn read(bytes: &[u8], piece: usize) -> Result<Vec<Incoming>> {
    let mut reader = Reader::default();
    let mut messages = Vec::new();
    for piece in bytes.chunks(piece) {
        reader.space().extend_from_slice(piece);
        while let Some(message) = reader.next()? {
            messages.push(message);
        }
    }
    Ok(messages)
}

#[track_caller]
fn check(frames: &[Vec<u8>], expected: &[Incoming]) {
    let bytes = frames.concat();
    for piece in [1, 7, bytes.len()] {
        assert_eq!(read(&bytes, piece).expect("well-formed"), expected, "pieces of {piece}");
    }
}

fn data(bytes: &[u8]) -> Incoming {
    Incoming::Data(Bytes::copy_from_slice(bytes))
}

#[test]
fn messages_come_out_however_the_bytes_come_in() {
    check(&[frame(TEXT, b"one"), frame(TEXT, b"")], &[data(b"one"), data(b"")]);
    check(&[frame(TEXT, &[7; 300])], &[data(&[7; 300])]);
    check(
        &[
            frame(TEXT_BEGINS, b"a "),
            frame(PING, b"now"),
            frame(GOES_ON, b"long "),
            frame(ENDS, b"one"),
        ],
        &[Incoming::Ping(Bytes::from_static(b"now")), data(b"a long one")],
    );
    // Not UTF-8: it must reach the journal, and with it the quarantine, as it is.
    check(&[frame(TEXT, b"\xff\xfe")], &[data(b"\xff\xfe")]);
}

#[test]
fn a_close_frame_gives_its_reason() {
    check(&[frame(CLOSE, b"\x03\xf0slow")], &[Incoming::Close("1008: slow".into())]);
    check(&[frame(CLOSE, b"\x03\xe8")], &[Incoming::Close("code 1000".into())]);
    check(&[frame(CLOSE, b"")], &[Incoming::Close("without a reason".into())]);
}

#[test]
fn a_message_that_is_too_long_leaves_its_head_and_the_next_one_is_read() {
    let long: Vec<u8> = (0..FRAME_BYTES_MAX + 3).map(|i| (i % 251) as u8).collect();
    let expected = [
        Incoming::Oversized {
            length: long.len() as u64,
            head: Bytes::copy_from_slice(&long[..HEAD_BYTES]),
        },
        data(b"next"),
    ];
    let whole = [frame(TEXT, &long), frame(TEXT, b"next")].concat();
    assert_eq!(read(&whole, 100_000).expect("well-formed"), expected);
    let (first, second) = long.split_at(4_000_000);
    let parts = [frame(TEXT_BEGINS, first), frame(ENDS, second), frame(TEXT, b"next")].concat();
    assert_eq!(read(&parts, 100_000).expect("well-formed"), expected);
    let exact = frame(TEXT, &long[..FRAME_BYTES_MAX]);
    assert_eq!(read(&exact, 100_000).expect("well-formed"), [data(&long[..FRAME_BYTES_MAX])]);
}

#[test]
fn a_length_that_is_only_named_takes_no_memory() {
    let mut reader = Reader::new(&[TEXT, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(reader.next().expect("a header"), None);
    assert!(reader.space().capacity() <= 2 * READ_BYTES);
}

#[test]
fn what_breaks_the_protocol_is_an_error() {
    for (bytes, why) in [
        (frame(0xc1, b"x"), "extension"),
        (vec![TEXT, 0x81, 0, 0, 0, 0, 0], "masked"),
        (frame(ENDS, b"x"), "continuation"),
        ([frame(TEXT_BEGINS, b"x"), frame(TEXT, b"y")].concat(), "inside another"),
        (frame(PING, &[0; 126]), "control frame"),
        (frame(0x09, b"x"), "control frame"),
        (frame(0x83, b"x"), "unknown kind"),
    ] {
        let error = read(&bytes, bytes.len()).expect_err(why);
        assert!(error.detail.as_deref().is_some_and(|text| text.contains(why)), "{error:?}");
    }
}

#[test]
fn what_is_written_is_masked_and_read_back() {
    let mut writer = Writer::default();
    writer.text("hello", [1, 2, 3, 4]);
    let mut bytes = writer.queued().to_vec();
    assert_eq!(&bytes[..6], [TEXT, 0x85, 1, 2, 3, 4]);
    for (i, byte) in bytes[6..].iter_mut().enumerate() {
        *byte ^= [1, 2, 3, 4][i % 4];
    }
    assert_eq!(&bytes[6..], b"hello");
}

#[test]
fn pongs_do_not_pile_up_for_a_far_end_that_does_not_read() {
    let mut writer = Writer::default();
    for _ in 0..100_000 {
        writer.pong(Bytes::from_static(&[0; 125]), [0; 4]);
    }
    assert!(writer.queued().len() < 2 * READ_BYTES);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1_usize..50) {
        let _ = read(&bytes, piece);
    }

    #[test]
    fn cuts_do_not_matter(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..6),
        fragment in 1_usize..80,
        piece in 1_usize..80,
    ) {
        let mut bytes = Vec::new();
        for message in &messages {
            let parts: Vec<&[u8]> = if message.is_empty() { vec![&[]] } else { message.chunks(fragment).collect() };
            for (i, part) in parts.iter().enumerate() {
                let opcode = if i == 0 { 2 } else { 0 };
                let last = if i + 1 == parts.len() { 0x80 } else { 0 };
                bytes.extend(frame(opcode | last, part));
            }
        }
        let expected: Vec<Incoming> = messages.iter().map(|message| data(message)).collect();
        prop_assert_eq!(read(&bytes, piece).expect("well-formed"), expected);
    }
}
