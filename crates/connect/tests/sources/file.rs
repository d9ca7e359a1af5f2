//! Files as a source: order, growth, change behind the position, what is set aside.

mod objects;
mod packed;
mod property;
mod robustness;
mod rows;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use thalweg_connect::codecs::csv::{CsvConfig, CsvDecoder};
use thalweg_connect::sources::file::{FileConfig, FileInput, Framing, Rate};
use thalweg_core::decode::Decoder;
use thalweg_core::env::{Disk, Env};
use thalweg_core::frame::FRAME_BYTES_MAX;
use thalweg_core::schema::{Column, ColumnType};
use thalweg_core::source::{Chunk, Input, ReadLimit};
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, ErrorKind};
use thalweg_sim::MemDisk;

use crate::support::{START, append, env_over, eventually, step_to_next_sleeper};

const GIB_40: i64 = 1 << 40;

const EVERYTHING: ReadLimit = ReadLimit {
    frames_max: usize::MAX,
    bytes_max: usize::MAX,
    until: None,
    is_rerun: false,
    wait: Duration::ZERO,
};

/// Offset, time and text of a frame.
type Line = (i64, Timestamp, String);

fn lines(chunk: &Chunk) -> Vec<Line> {
    let line = |(index, span): (usize, &thalweg_core::frame::FrameSpan)| {
        let text = String::from_utf8_lossy(chunk.frames.bytes(index)).into_owned();
        (span.offset, span.received_at, text)
    };
    chunk.frames.spans.iter().enumerate().map(line).collect()
}

/// Files in memory and an input over them.
struct Rig {
    disk: MemDisk,
    env: Env,
    config: FileConfig,
    input: FileInput,
    at: i64,
    manifest: Option<String>,
}

impl Rig {
    fn new(files: &[(&str, &str)], config: FileConfig) -> Self {
        let files: Vec<(&str, &[u8])> =
            files.iter().map(|(path, text)| (*path, text.as_bytes())).collect();
        Self::over(&files, config)
    }

    fn over(files: &[(&str, &[u8])], config: FileConfig) -> Self {
        let disk = MemDisk::new(7);
        disk.create_dir_all("/data".as_ref()).unwrap();
        for (path, bytes) in files {
            append(&disk, path, bytes);
        }
        let env = env_over(Arc::new(disk.clone()));
        let input = FileInput::new(config.clone(), &env).unwrap();
        Self { disk, env, config, input, at: 0, manifest: None }
    }

    /// Lines of every file in `/data`.
    fn lines(files: &[(&str, &str)]) -> Self {
        Self::new(files, FileConfig::new("/data/*"))
    }

    fn append(&self, path: &str, text: &str) {
        self.append_bytes(path, text.as_bytes());
    }

    fn append_bytes(&self, path: &str, bytes: &[u8]) {
        append(&self.disk, path, bytes);
    }

    fn overwrite(&self, path: &str, at: u64, text: &str) {
        self.disk.open(path.as_ref(), false).unwrap().write_at(text.as_bytes(), at).unwrap();
    }

    fn truncate(&self, path: &str, length: u64) {
        self.disk.open(path.as_ref(), false).unwrap().truncate(length).unwrap();
    }

    /// Another process that goes on where this one is.
    fn restart(&mut self) {
        self.input = FileInput::new(self.config.clone(), &self.env).unwrap();
        self.input.restore(self.manifest.as_deref()).unwrap();
    }

    fn pass(&self, time: Duration) {
        self.env.clock.step_to(self.env.clock.now().plus(time));
    }

    async fn read(&mut self, limit: ReadLimit) -> Result<Chunk, Error> {
        let chunk = self.input.read(self.at, limit).await?;
        self.at = chunk.next;
        if chunk.manifest.is_some() {
            self.manifest.clone_from(&chunk.manifest);
        }
        Ok(chunk)
    }

    /// Reads on to the end, letting time pass where the input waits for it.
    async fn drain(&mut self) -> Vec<Line> {
        let mut seen = Vec::new();
        for _ in 0..1000 {
            let chunk = self.read(EVERYTHING).await.unwrap();
            assert!(chunk.oversized.is_empty());
            seen.extend(lines(&chunk));
            if chunk.at_end {
                return seen;
            }
            if chunk.frames.is_empty() {
                self.pass(Duration::from_millis(100));
            }
        }
        panic!("it does not end");
    }

    /// The texts of [`drain`](Self::drain).
    async fn texts(&mut self) -> Vec<String> {
        self.drain().await.into_iter().map(|(_, _, text)| text).collect()
    }

    #[track_caller]
    fn refused(&self, result: Result<Chunk, Error>, how: &str) {
        let error = result.map(|chunk| lines(&chunk)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{}", error.chain());
        assert!(error.chain().contains(how), "{}", error.chain());
    }
}

#[tokio::test]
async fn lines_come_in_list_order_with_byte_offsets_and_the_time_of_discovery() {
    let mut rig = Rig::lines(&[("/data/b", "x\n"), ("/data/a", "one\r\n\ntwo\n")]);
    assert_eq!(rig.input.start().await.unwrap(), 0);
    assert_eq!(
        rig.drain().await,
        [(0, START, "one".into()), (6, START, "two".into()), (GIB_40, START, "x".into()),]
    );
    assert!(rig.input.is_bounded());
}

#[tokio::test]
async fn a_last_line_without_line_end_is_a_frame_once_the_file_rests() {
    let mut rig = Rig::lines(&[("/data/a", "one\ntw")]);
    let chunk = rig.read(EVERYTHING).await.unwrap();
    assert_eq!(lines(&chunk).len(), 1);
    let chunk = rig.read(EVERYTHING).await.unwrap();
    assert!(chunk.frames.is_empty() && !chunk.at_end);
    rig.pass(Duration::from_millis(900));
    rig.append("/data/a", "o");
    // It has grown, so the wait begins anew.
    assert!(rig.read(EVERYTHING).await.unwrap().frames.is_empty());
    rig.pass(Duration::from_millis(900));
    assert!(rig.read(EVERYTHING).await.unwrap().frames.is_empty());
    rig.pass(Duration::from_millis(100));
    let chunk = rig.read(EVERYTHING).await.unwrap();
    assert_eq!(lines(&chunk), [(4, START, "two".into())]);
    assert!(chunk.manifest.is_some(), "the cut is part of the list");
    assert!(rig.read(EVERYTHING).await.unwrap().at_end);
    // Read again, it is the same line, without a wait.
    rig.restart();
    let until = Some(rig.at);
    rig.at = 4;
    let chunk = rig.read(ReadLimit { until, is_rerun: true, ..EVERYTHING }).await.unwrap();
    assert_eq!(lines(&chunk), [(4, START, "two".into())]);
}

#[tokio::test]
async fn files_listed_long_ago_do_not_wait_one_after_the_other() {
    let files: Vec<String> = (0..9).map(|number| format!("/data/{number}")).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|path| (path.as_str(), "a\nb")).collect();
    let mut rig = Rig::lines(&files);
    assert_eq!(rig.drain().await.len(), 18);
    assert_eq!(rig.env.clock.now().since(START), Duration::from_secs(1));
}

#[tokio::test]
async fn a_line_that_goes_on_after_it_was_taken_for_the_last_is_an_error() {
    let mut rig = Rig::lines(&[("/data/a", "one\ntw")]);
    assert_eq!(rig.texts().await, ["one", "tw"]);
    rig.append("/data/a", "o\n");
    rig.pass(Duration::from_secs(1));
    let read = rig.read(EVERYTHING).await;
    rig.refused(read, "went on behind what was taken to be its end");
}

#[tokio::test]
async fn a_line_end_that_comes_later_is_no_new_line() {
    for (separator, start) in [("\n", 3), ("\r\n", 4)] {
        let mut rig = Rig::lines(&[("/data/a", "aa")]);
        assert_eq!(rig.texts().await, ["aa"]);
        rig.append("/data/a", &format!("{separator}bb{separator}cc"));
        rig.pass(Duration::from_secs(1));
        let seen = rig.drain().await;
        assert_eq!(seen[0].0, GIB_40 + start, "what was appended is a stretch of its own");
        assert_eq!(seen[1].2, "cc");
    }
}

#[tokio::test]
async fn growth_and_new_files_are_new_data() {
    let mut rig = Rig::lines(&[("/data/m", "1\n")]);
    assert_eq!(rig.texts().await, ["1"]);
    rig.append("/data/m", "2\n");
    assert_eq!(rig.drain().await, [(2, START, "2".into())], "the last file grows where it is");
    rig.pass(Duration::from_secs(5));
    rig.append("/data/z", "3\n");
    rig.append("/data/a", "4\n");
    let later = START.plus(Duration::from_secs(5));
    assert_eq!(
        rig.drain().await,
        [(GIB_40, later, "4".into()), (2 * GIB_40, later, "3".into())],
        "sorted by name within a listing, behind what was listed before"
    );
    rig.pass(Duration::from_secs(5));
    rig.append("/data/m", "5\n");
    let latest = START.plus(Duration::from_secs(10));
    assert_eq!(
        rig.drain().await,
        [(3 * GIB_40 + 4, latest, "5".into())],
        "what is appended to a file passed by comes last"
    );
    // And so it does for whoever starts again from the beginning.
    rig.restart();
    rig.at = 0;
    assert_eq!(rig.texts().await, ["1", "2", "4", "3", "5"]);
}

#[tokio::test]
async fn a_file_that_changed_behind_the_position_stops_the_source() {
    let long = "a line\n".repeat(2000);
    for (what, how) in [
        ("front", "holds other bytes where it was read"),
        ("just read", "holds other bytes where it was read"),
        ("shorter", "is shorter than what was read of it"),
    ] {
        for in_same_process in [true, false] {
            let mut rig = Rig::lines(&[("/data/a", &long)]);
            assert_eq!(rig.texts().await.len(), 2000);
            match what {
                "front" => rig.overwrite("/data/a", 5, "E"),
                "just read" => rig.overwrite("/data/a", long.len() as u64 - 9, "E"),
                _ => rig.truncate("/data/a", 7000),
            }
            if !in_same_process {
                rig.restart();
            }
            rig.pass(Duration::from_secs(1));
            let read = rig.read(EVERYTHING).await;
            rig.refused(read, how);
        }
    }
}

#[tokio::test]
async fn a_file_passed_by_that_changed_is_noticed_by_the_next_start() {
    let mut rig = Rig::lines(&[("/data/a", "1\n"), ("/data/b", "2\n")]);
    assert_eq!(rig.texts().await, ["1", "2"]);
    rig.overwrite("/data/a", 0, "7");
    rig.restart();
    let read = rig.read(EVERYTHING).await;
    rig.refused(read, "/data/a has changed behind the position");
}

#[tokio::test]
async fn what_is_ahead_of_the_position_may_change() {
    let mut rig = Rig::lines(&[("/data/a", "1\n"), ("/data/b", "2\n")]);
    let one = ReadLimit { frames_max: 1, ..EVERYTHING };
    assert_eq!(lines(&rig.read(one).await.unwrap()).len(), 1);
    rig.overwrite("/data/b", 0, "9");
    assert_eq!(rig.texts().await, ["9"]);
}

#[tokio::test]
async fn files_may_go_once_they_were_read() {
    let mut rig = Rig::lines(&[("/data/a", "1\n"), ("/data/b", "2\n3\n")]);
    let one = ReadLimit { frames_max: 2, ..EVERYTHING };
    assert_eq!(lines(&rig.read(one).await.unwrap()).len(), 1);
    rig.disk.remove("/data/a".as_ref()).unwrap();
    rig.restart();
    assert_eq!(rig.texts().await, ["2", "3"]);
    rig.disk.remove("/data/b".as_ref()).unwrap();
    rig.append("/data/c", "4\n");
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.texts().await, ["4"]);
}

#[tokio::test]
async fn a_file_that_goes_while_it_is_read_stops_the_source() {
    let mut rig = Rig::lines(&[("/data/a", "1\n2\n")]);
    let one = ReadLimit { frames_max: 1, ..EVERYTHING };
    rig.read(one).await.unwrap();
    rig.disk.remove("/data/a".as_ref()).unwrap();
    rig.restart();
    let read = rig.read(EVERYTHING).await;
    rig.refused(read, "/data/a has gone before it was read to its end");
}

#[tokio::test]
async fn marks_and_headers_are_no_frames() {
    let mut rig = Rig::new(
        &[
            ("/data/a.csv", "\u{feff}id,name\r\n1,\"a\nb\"\r\n2,c\r\n"),
            ("/data/b.csv", "\nid,name\n3,d"),
            ("/data/c.csv", "id,name"),
        ],
        FileConfig { framing: Framing::CSV, ..FileConfig::new("/data/*.csv") },
    );
    assert_eq!(rig.texts().await, ["1,\"a\nb\"", "2,c", "3,d"]);
}

/// Rows of two text columns.
fn decode(decoder: &mut CsvDecoder, chunk: &Chunk) -> Vec<[String; 2]> {
    let decoded = decoder.decode(&chunk.frames).unwrap();
    assert!(decoded.rejects.is_empty(), "{:?}", decoded.rejects);
    let column = |index| decoded.rows.column(index).as_string::<i32>();
    let row = |row| [0, 1].map(|index| column(index).value(row).to_owned());
    (0..decoded.rows.num_rows()).map(row).collect()
}

#[tokio::test]
async fn each_file_is_decoded_by_its_own_header_wherever_decoding_begins() {
    let column = |name: &str| Column {
        name: name.to_owned(),
        kind: ColumnType::Text,
        nullable: true,
        select: None,
        unit: None,
        allow_nan: false,
    };
    let decoder = |input: &FileInput| {
        let columns = vec![column("id"), column("n")];
        let config = CsvConfig { columns, ..CsvConfig::default() };
        CsvDecoder::new(config).unwrap().with_headers(input.header_source())
    };
    let mut rig = Rig::new(
        // The first frame of `b` begins at byte 3, where it could be taken for a header.
        &[
            ("/data/a.csv", "id,n\n1,a\n2,b\n"),
            ("/data/b.csv", "n\n\nc\nd\n"),
            ("/data/c.csv", "n,id\ne,5\n"),
        ],
        FileConfig { framing: Framing::CSV, ..FileConfig::new("/data/*.csv") },
    );
    let expected = [["1", "a"], ["2", "b"], ["", "c"], ["", "d"], ["5", "e"]];
    let one = ReadLimit { frames_max: 1, ..EVERYTHING };
    for restarts in [false, true] {
        (rig.at, rig.manifest) = (0, None);
        rig.restart();
        let mut whole = decoder(&rig.input);
        let mut rows = Vec::new();
        while rows.len() < expected.len() {
            if restarts {
                rig.restart();
                whole = decoder(&rig.input);
            }
            let chunk = rig.read(one).await.unwrap();
            rows.extend(decode(&mut whole, &chunk));
        }
        assert_eq!(rows, expected);
    }
    // The heads of files not begun decode, too, and so does what is appended to one passed by.
    rig.restart();
    let mut anew = decoder(&rig.input);
    let frames = rig.input.unread_heads(1 << 40).await.unwrap();
    assert_eq!(decode(&mut anew, &Chunk { frames, ..Chunk::default() }), [["", "c"], ["5", "e"]]);
    rig.append("/data/a.csv", "3,f\n");
    rig.pass(Duration::from_secs(1));
    let chunk = rig.read(EVERYTHING).await.unwrap();
    assert_eq!(decode(&mut anew, &chunk), [["3", "f"]]);
}

#[tokio::test]
async fn a_line_that_is_too_long_is_set_aside_and_the_next_one_is_read() {
    let long = "x".repeat(FRAME_BYTES_MAX + 1);
    let most = "y".repeat(FRAME_BYTES_MAX);
    let text = format!("a\n{long}\r\nb\n{most}\n{long}");
    let mut rig = Rig::lines(&[("/data/a", &text)]);
    let (mut frames, mut oversized) = (Vec::new(), Vec::new());
    loop {
        let chunk = rig.read(EVERYTHING).await.unwrap();
        frames.extend(lines(&chunk).into_iter().map(|(at, _, text)| (at, text.len())));
        oversized.extend(chunk.oversized);
        if chunk.at_end {
            break;
        }
        rig.pass(Duration::from_millis(500));
    }
    let max = FRAME_BYTES_MAX as i64;
    assert_eq!(frames, [(0, 1), (max + 5, 1), (max + 7, FRAME_BYTES_MAX)]);
    let found: Vec<_> = oversized.iter().map(|long| (long.offset, long.length)).collect();
    assert_eq!(found, [(2, max as u64 + 1), (2 * max + 8, max as u64 + 1)]);
    assert!(oversized.iter().all(|long| long.head.len() == 64 << 10));
}

#[tokio::test]
async fn a_rate_is_kept_by_the_clock_but_not_when_an_epoch_runs_again() {
    let text = "x\n".repeat(100);
    let rate = Rate::parse("10/s");
    let mut rig =
        Rig::new(&[("/data/a", &text)], FileConfig { rate, ..FileConfig::new("/data/a") });
    assert_eq!(rig.read(EVERYTHING).await.unwrap().frames.len(), 1);
    assert_eq!(rig.read(EVERYTHING).await.unwrap().frames.len(), 0);
    rig.pass(Duration::from_millis(500));
    assert_eq!(rig.read(EVERYTHING).await.unwrap().frames.len(), 5);
    // A read that may wait does so until the next one is due.
    let clock = rig.env.clock.clone();
    let limit = ReadLimit { wait: Duration::from_secs(5), ..EVERYTHING };
    let (chunk, slept) = tokio::join!(rig.read(limit), step_to_next_sleeper(&clock));
    assert_eq!((chunk.unwrap().frames.len(), slept), (1, Duration::from_millis(100)));
    rig.at = 0;
    let chunk =
        rig.read(ReadLimit { until: Some(100), is_rerun: true, ..EVERYTHING }).await.unwrap();
    assert_eq!(chunk.frames.len(), 50);
    rig.pass(Duration::from_millis(100));
    assert_eq!(rig.read(EVERYTHING).await.unwrap().frames.len(), 1, "it does not count");
}

#[tokio::test]
async fn heads_of_files_not_begun_are_shown() {
    let mut rig = Rig::new(
        &[
            ("/data/a.csv", "t\n1\n2\n"),
            ("/data/b.csv", "t\n5\n6\n"),
            ("/data/c.csv", "t\n"),
            ("/data/d.csv", "t\n7"),
        ],
        FileConfig { framing: Framing::CSV, ..FileConfig::new("/data/*.csv") },
    );
    let heads = |frames: &thalweg_core::frame::Frames| -> Vec<(i64, String)> {
        let text = |index| String::from_utf8_lossy(frames.bytes(index)).into_owned();
        (0..frames.len()).map(|index| (frames.spans[index].offset, text(index))).collect()
    };
    let at_start = rig.input.unread_heads(0).await.unwrap();
    let expected = [(2, "1".into()), (GIB_40 + 2, "5".into()), (3 * GIB_40 + 2, "7".into())];
    assert_eq!(heads(&at_start), expected);
    let one = ReadLimit { frames_max: 1, ..EVERYTHING };
    assert_eq!(lines(&rig.read(one).await.unwrap())[0].2, "1");
    let begun = rig.input.unread_heads(rig.at).await.unwrap();
    assert_eq!(heads(&begun), expected[1..]);
    assert_eq!(rig.texts().await, ["2", "5", "6", "7"]);
    assert!(rig.input.unread_heads(rig.at).await.unwrap().is_empty());
}

#[tokio::test]
async fn nothing_there_is_an_end_until_there_is_something() {
    let mut rig = Rig::lines(&[]);
    let chunk = rig.read(EVERYTHING).await.unwrap();
    assert!(chunk.at_end && chunk.frames.is_empty());
    let clock = rig.env.clock.clone();
    let disk = rig.disk.clone();
    let limit = ReadLimit { wait: Duration::from_secs(60), ..EVERYTHING };
    let arrival = async {
        eventually("the input waits", || clock.next_deadline().is_some()).await;
        append(&disk, "/data/a", b"one\n");
        step_to_next_sleeper(&clock).await
    };
    let (chunk, polled) = tokio::join!(rig.read(limit), arrival);
    assert_eq!(lines(&chunk.unwrap())[0].2, "one");
    assert_eq!(polled, Duration::from_secs(1));
}

#[tokio::test]
async fn a_wait_ends_when_the_process_stops() {
    let mut rig = Rig::lines(&[]);
    let limit = ReadLimit { wait: Duration::from_secs(3600), ..EVERYTHING };
    rig.env.shutdown.cancel();
    assert!(rig.read(limit).await.unwrap().frames.is_empty());
}

#[test]
fn what_cannot_be_right_is_refused() {
    let env = env_over(Arc::new(MemDisk::new(0)));
    let same = Framing::Csv { delimiter: b',', quote: b',', header: true };
    let configs = [
        FileConfig::new(""),
        FileConfig::new("/data/[a"),
        FileConfig { framing: same, ..FileConfig::new("/data/a") },
    ];
    for config in configs {
        let refused = FileInput::new(config, &env);
        assert_eq!(refused.err().map(|error| error.kind), Some(ErrorKind::Invalid));
    }
    let mut input = FileInput::new(FileConfig::new("/data/a"), &env).unwrap();
    assert_eq!(input.restore(Some("{}")).unwrap_err().kind, ErrorKind::Invalid);
}

#[tokio::test]
async fn the_recorded_customers_come_row_by_row() {
    let folder = std::env::var_os("THALWEG_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    let path = folder.join("customers/customers.csv");
    let Ok(bytes) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: no recorded data at {}", path.display());
        return;
    };
    let config = FileConfig { framing: Framing::CSV, ..FileConfig::new("/data/*.csv") };
    let mut rig = Rig::new(&[("/data/customers.csv", &bytes)], config);
    let rows = rig.texts().await;
    assert_eq!(rows, bytes.lines().skip(1).collect::<Vec<_>>());
}
