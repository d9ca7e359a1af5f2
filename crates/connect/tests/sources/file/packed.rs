//! Compressed files and other encodings: the same frames, wherever reading begins.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use thalweg_connect::sources::file::{Encoding, FileConfig, Framing};
use thalweg_core::source::ReadLimit;

use super::{EVERYTHING, Rig, lines};

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &str) -> Vec<u8> {
    zstd::encode_all(text.as_bytes(), 3).unwrap()
}

fn utf16(text: &str) -> Vec<u8> {
    format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_be_bytes).collect()
}

fn numbers(count: usize) -> String {
    (0..count).map(|number| format!("line {number}\n")).collect()
}

#[tokio::test]
async fn whatever_it_is_packed_in_a_file_has_the_same_frames_and_offsets() {
    let text = numbers(5_000);
    let mut plain = Rig::lines(&[("/data/a", &text)]);
    let expected = plain.drain().await;
    for bytes in [
        gzip(&text),
        zstd(&text),
        utf16(&text),
        gzip(&text[..60]).into_iter().chain(gzip(&text[60..])).collect(),
    ] {
        let mut rig = Rig::over(&[("/data/a", &bytes)], FileConfig::new("/data/*"));
        assert_eq!(rig.drain().await, expected, "offsets are those of the text");
        // Another process reads on from any position.
        let mut rig = Rig::over(&[("/data/a", &bytes)], FileConfig::new("/data/*"));
        let mut seen = Vec::new();
        while seen.len() < expected.len() {
            let some = ReadLimit { frames_max: 1_237, ..EVERYTHING };
            let chunk = rig.read(some).await.unwrap();
            assert_eq!(chunk.place(0).unwrap(), format!("/data/a:{}", seen.len() + 1));
            seen.extend(lines(&chunk));
            rig.restart();
        }
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn a_packed_file_that_is_cut_off_is_waited_for_and_then_set_aside() {
    let packed = gzip(&numbers(50_000));
    let (front, rest) = packed.split_at(packed.len() / 2);
    let mut rig = Rig::over(&[("/data/a", front)], FileConfig::new("/data/*"));
    let first = rig.read(EVERYTHING).await.unwrap();
    assert!(!first.frames.is_empty());
    // The rest comes in time.
    let mut texts: Vec<String> = lines(&first).into_iter().map(|(_, _, text)| text).collect();
    rig.append_bytes("/data/a", rest);
    texts.extend(rig.texts().await);
    assert_eq!(texts, numbers(50_000).lines().collect::<Vec<_>>());

    // And here it does not.
    let mut rig = Rig::over(&[("/data/a", front), ("/data/b", b"x\n")], FileConfig::new("/data/*"));
    let mut frames = 0;
    let set_aside = loop {
        let chunk = rig.read(EVERYTHING).await.unwrap();
        frames += chunk.frames.len();
        if let [part] = &chunk.unreadable[..] {
            assert_eq!(chunk.place_of_first(), Some(format!("/data/a:{}", frames + 1)));
            break part.clone();
        }
        rig.pass(Duration::from_millis(300));
    };
    assert_eq!(set_aside.reason, "the compressed file ends too early");
    let begins = String::from_utf8_lossy(&set_aside.head).into_owned();
    assert!(format!("line {frames}").starts_with(&begins), "{begins}");
    // Run again it is the same, and the next file is read.
    let (until, at) = (Some(rig.at), rig.at);
    rig.restart();
    rig.at = set_aside.offset;
    let again = rig.read(ReadLimit { until, is_rerun: true, ..EVERYTHING }).await.unwrap();
    assert_eq!((&again.unreadable[..], rig.at), (&[set_aside][..], at));
    assert_eq!(rig.texts().await, ["x"]);
}

#[tokio::test]
async fn a_packed_file_that_is_damaged_gives_what_came_before() {
    let mut packed = gzip(&numbers(200_000));
    let middle = packed.len() - packed.len() / 8;
    packed[middle..middle + 64].fill(0xff);
    let mut rig = Rig::over(&[("/data/a", &packed)], FileConfig::new("/data/*"));
    let (mut seen, mut reasons) = (Vec::new(), Vec::new());
    loop {
        let chunk = rig.read(EVERYTHING).await.unwrap();
        seen.extend(lines(&chunk));
        reasons.extend(chunk.unreadable.iter().map(|part| part.reason.clone()));
        if chunk.at_end {
            break;
        }
        rig.pass(Duration::from_millis(300));
    }
    assert!(!seen.is_empty() && seen.len() < 200_000);
    assert!(reasons.len() == 1 && reasons[0].contains("damaged"), "{reasons:?}");
}

#[tokio::test]
async fn what_is_no_text_is_told_by_its_first_bytes() {
    let mut rig = Rig::over(
        &[("/data/a.csv", b"PK\x03\x04 a spreadsheet"), ("/data/b.csv", b"id\n1\n")],
        FileConfig { framing: Framing::CSV, ..FileConfig::new("/data/*") },
    );
    let chunk = rig.read(EVERYTHING).await.unwrap();
    assert_eq!(
        chunk.unreadable[0].reason,
        "it is a zip archive or a spreadsheet, which is not read"
    );
    assert_eq!(rig.texts().await, ["1"]);
}

#[tokio::test]
async fn a_packed_file_that_changed_stops_the_source() {
    let (one, other) = (gzip(&numbers(100)), gzip(&numbers(101)));
    let mut rig = Rig::over(&[("/data/a", &one)], FileConfig::new("/data/*"));
    assert_eq!(rig.texts().await.len(), 100);
    rig.truncate("/data/a", 0);
    rig.append_bytes("/data/a", &other);
    rig.restart();
    let read = rig.read(EVERYTHING).await;
    rig.refused(read, "has changed behind the position");
}

#[tokio::test]
async fn encodings_are_set_or_marked() {
    let encoding = Encoding::for_label(b"windows-1252");
    let config = FileConfig { encoding, framing: Framing::CSV, ..FileConfig::new("/data/*") };
    let marked = utf16("name\r\ncafé\r\n");
    let mut rig = Rig::over(
        &[("/data/a", b"name\ncaf\xe9\n"), ("/data/b", &marked), ("/data/c", &gzip("name\nx"))],
        config,
    );
    assert_eq!(rig.texts().await, ["café", "café", "x"]);
}

#[tokio::test]
async fn lines_are_counted_from_any_position() {
    let text = "id,n\n1,a\n\n2,\"b\nb\"\n3,c\n";
    let config = FileConfig { framing: Framing::CSV, ..FileConfig::new("/data/*") };
    let mut rig = Rig::new(&[("/data/a.csv", text)], config);
    let whole = rig.read(EVERYTHING).await.unwrap();
    let places = |chunk: &thalweg_core::source::Chunk| -> Vec<String> {
        (0..chunk.frames.len()).filter_map(|index| chunk.place(index)).collect()
    };
    assert_eq!(places(&whole), ["/data/a.csv:2", "/data/a.csv:4", "/data/a.csv:6"]);
    rig.at = 0;
    let mut one_by_one = Vec::new();
    for _ in 0..3 {
        rig.restart();
        let one = ReadLimit {
            frames_max: 1,
            until: Some(text.len() as i64),
            is_rerun: true,
            ..EVERYTHING
        };
        one_by_one.extend(places(&rig.read(one).await.unwrap()));
    }
    assert_eq!(one_by_one, places(&whole));
}
