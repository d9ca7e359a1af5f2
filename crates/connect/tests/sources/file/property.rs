//! Whatever happens to the files, and however they are read, every frame comes once and stays what
//! it was.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use thalweg_connect::sources::file::{FileConfig, FileInput, Framing};
use thalweg_core::env::{Disk, Env};
use thalweg_core::source::{Input, ReadLimit};
use thalweg_sim::MemDisk;

use super::{Line, lines};
use crate::support::{append, env_over};

/// What happens next.
#[derive(Clone, Debug)]
enum Happening {
    /// Somebody appends to a file, or makes it.
    Append(u8, String),
    Read {
        frames_max: usize,
        bytes_max: usize,
    },
    /// The process dies; the next one has what was stored.
    Restart,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        3 => (0..3_u8, "[a,\"\r\n]{0,12}").prop_map(|(file, text)| Happening::Append(file, text)),
        4 => (1..5_usize, 1..12_usize)
            .prop_map(|(frames_max, bytes_max)| Happening::Read { frames_max, bytes_max }),
        1 => Just(Happening::Restart),
    ]
}

/// The frames of a file, by the rules as they are written down.
fn frames_plainly(framing: Framing, text: &str) -> Vec<String> {
    let (mut frames, mut frame) = (Vec::new(), String::new());
    let (mut quoted, mut field_begins, mut quote_closed) = (false, true, false);
    for c in text.chars() {
        if !quoted && (c == '\n' || c == '\r' && framing != Framing::Lines) {
            frames.push(std::mem::take(&mut frame));
            (field_begins, quote_closed) = (true, false);
            continue;
        }
        frame.push(c);
        if framing == Framing::Lines {
            continue;
        }
        match c {
            '"' if quoted => (quoted, quote_closed) = (false, true),
            '"' if field_begins || quote_closed => (quoted, quote_closed) = (true, false),
            _ => quote_closed = false,
        }
        field_begins = c == ',' && !quoted;
    }
    frames.push(frame);
    let without_return = |frame: String| match frame.strip_suffix('\r') {
        Some(line) => line.to_owned(),
        None => frame,
    };
    frames.into_iter().map(without_return).filter(|frame| !frame.is_empty()).collect()
}

/// A reader that dies and starts again.
struct Reader {
    env: Env,
    config: FileConfig,
    input: FileInput,
    at: i64,
    manifest: Option<String>,
    seen: Vec<Line>,
}

impl Reader {
    fn new(disk: &MemDisk, framing: Framing) -> Self {
        let env = env_over(Arc::new(disk.clone()));
        let config =
            FileConfig { framing, poll_interval: Duration::ZERO, ..FileConfig::new("/data/*") };
        let input = FileInput::new(config.clone(), &env).unwrap();
        Self { env, config, input, at: 0, manifest: None, seen: Vec::new() }
    }

    fn restart(&mut self) {
        self.input = FileInput::new(self.config.clone(), &self.env).unwrap();
        self.input.restore(self.manifest.as_deref()).unwrap();
    }

    /// Reads once; returns whether that was all there is.
    async fn read(&mut self, frames_max: usize, bytes_max: usize, until: Option<i64>) -> bool {
        let limit = ReadLimit {
            frames_max,
            bytes_max,
            until,
            is_rerun: until.is_some(),
            wait: Duration::ZERO,
        };
        let chunk = self.input.read(self.at, limit).await.unwrap();
        assert!(chunk.frames.len() <= frames_max && chunk.next >= self.at);
        self.seen.extend(lines(&chunk));
        self.at = chunk.next;
        if chunk.manifest.is_some() {
            self.manifest = chunk.manifest;
        }
        chunk.at_end
    }
}

async fn check(framing: Framing, happenings: Vec<Happening>) {
    let disk = MemDisk::new(7);
    disk.shorten_reads(true);
    disk.create_dir_all("/data".as_ref()).unwrap();
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    let mut reader = Reader::new(&disk, framing);
    for happening in happenings {
        match happening {
            Happening::Append(file, text) => {
                let path = format!("/data/{file}");
                append(&disk, &path, text.as_bytes());
                files.entry(path).or_default().push_str(&text);
            }
            Happening::Read { frames_max, bytes_max } => {
                reader.read(frames_max, bytes_max, None).await;
            }
            Happening::Restart => reader.restart(),
        }
    }
    // Now the files rest.
    for _ in 0..1000 {
        if reader.read(9, 99, None).await {
            break;
        }
        reader.env.clock.step_to(reader.env.clock.now().plus(Duration::from_millis(300)));
    }

    assert!(reader.seen.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "S1: {:?}", reader.seen);
    let manifest: serde_json::Value =
        serde_json::from_str(reader.manifest.as_deref().unwrap_or(r#"{"files":[]}"#)).unwrap();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (offset, _, text) in &reader.seen {
        let path = manifest["files"][(offset >> 40) as usize]["path"].as_str().unwrap();
        let byte = (offset & ((1 << 40) - 1)) as usize;
        assert_eq!(&files[path][byte..byte + text.len()], text, "an offset is a byte of the file");
        found.entry(path.to_owned()).or_default().push(text.clone());
    }
    for (path, text) in &files {
        let expected = frames_plainly(framing, text);
        assert_eq!(found.remove(path).unwrap_or_default(), expected, "{path}: {text:?}");
    }

    // Whoever reads all of it again, in other pieces, sees the same.
    let mut again = Reader::new(&disk, framing);
    again.manifest = reader.manifest.clone();
    again.restart();
    while again.at < reader.at {
        let before = again.at;
        again.read(2, 7, Some(reader.at)).await;
        assert!(again.at > before, "it makes progress");
    }
    assert_eq!(again.seen, reader.seen);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_frame_comes_once_and_stays_what_it_was(
        is_csv: bool,
        happenings in prop::collection::vec(happening(), 1..40),
    ) {
        let framing = if is_csv {
            Framing::Csv { delimiter: b',', quote: b'"', header: false }
        } else {
            Framing::Lines
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(check(framing, happenings));
    }
}
