//! Files of recorded messages, read a piece at a time.
//!
//! A line is a message, without its `\n` or `\r\n`; empty lines are none. Bytes are kept as they
//! are, good JSON or not. Files that begin as gzip does are unpacked; what recorders write round a
//! message is taken off (`forms`).

mod forms;
mod unpack;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Deserialize;
use thalweg_core::env::{Disk, DiskFile};
use thalweg_core::error::{Error, Result};
use thalweg_core::time::Timestamp;

use self::forms::message;
use self::unpack::Unpack;
use super::Recorded;

/// Bytes read at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// Longest line: somewhat more than a client takes, so that such messages can be recorded too.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Recorded messages in order: those read, and the rest of the files.
pub(super) struct Recording {
    files: VecDeque<(PathBuf, Box<dyn DiskFile>)>,
    // In the first file.
    position: u64,
    // Of the first file.
    unpack: Option<Unpack>,
    // Read, and not yet a whole line.
    rest: Vec<u8>,
    ready: VecDeque<Recorded>,
}

impl Recording {
    /// Opens `files`, to be played one after the other.
    pub(super) fn open(disk: &dyn Disk, files: &[PathBuf]) -> Result<Self> {
        let open = |path: &PathBuf| match disk.open_to_read(path) {
            Ok(file) => Ok((path.clone(), file)),
            Err(error) => {
                let shown = path.display();
                Err(Error::invalid(format!("cannot open the recording {shown}")).with_source(error))
            }
        };
        Ok(Self {
            files: files.iter().map(open).collect::<Result<_>>()?,
            position: 0,
            unpack: None,
            rest: Vec::new(),
            ready: VecDeque::new(),
        })
    }

    /// The next message, if one has been read.
    pub(super) fn front(&self) -> Option<&Recorded> {
        self.ready.front()
    }

    /// Takes the next message out.
    pub(super) fn pop(&mut self) -> Option<Recorded> {
        self.ready.pop_front()
    }

    /// Reads until there is a message, or the files are at their end.
    pub(super) fn fill(&mut self) -> Result<()> {
        while self.ready.is_empty() {
            let Some((path, file)) = self.files.front() else { return Ok(()) };
            let mut piece = vec![0; PIECE_BYTES];
            let read = file.read_at(&mut piece, self.position);
            piece.truncate(*read.as_ref().unwrap_or(&0));
            let path = path.clone();
            match read {
                Ok(0) => {
                    // The last line needs no end.
                    let line = std::mem::take(&mut self.rest);
                    self.files.pop_front();
                    (self.position, self.unpack) = (0, None);
                    self.push(&line);
                }
                Ok(read) => {
                    self.position += read as u64;
                    let unpack = self.unpack.get_or_insert_with(|| Unpack::of(&piece));
                    let start = self.rest.len();
                    unpack.add(&piece, &mut self.rest).map_err(|error| {
                        let shown = path.display();
                        Error::data(format!("the recording {shown} does not unpack"))
                            .with_source(error)
                    })?;
                    self.split(start, &path)?;
                }
                Err(error) => {
                    let shown = path.display();
                    return Err(Error::unavailable(format!("cannot read the recording {shown}"))
                        .with_source(error));
                }
            }
        }
        Ok(())
    }

    /// Takes the whole lines out of what was read, none of which ends before `from`.
    fn split(&mut self, from: usize, path: &Path) -> Result<()> {
        let read = std::mem::take(&mut self.rest);
        let (mut line_start, mut search_from) = (0, from);
        while let Some(length) = read[search_from..].iter().position(|byte| *byte == b'\n') {
            self.push(&read[line_start..search_from + length]);
            line_start = search_from + length + 1;
            search_from = line_start;
        }
        self.rest = read[line_start..].to_vec();
        if self.rest.len() > LINE_BYTES_MAX {
            let shown = path.display();
            return Err(Error::data(format!("a line of the recording {shown} is too long"))
                .with_detail(format!("A message has at most {LINE_BYTES_MAX} bytes.")));
        }
        Ok(())
    }

    fn push(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return;
        }
        let Some((text, recorded_at)) = message(line) else { return };
        let trades =
            serde_json::from_slice(&text).map_or_else(|_| Vec::new(), |it: Message| it.data);
        let newest = trades.iter().filter_map(|trade| trade.t).max();
        self.ready.push_back(Recorded {
            text: Bytes::from(text.into_owned()),
            newest: newest.map(Timestamp::from_millis).or(recorded_at),
            trades: trades.len() as u64,
        });
    }
}

/// What pacing and counting need of a message.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    data: Vec<Trade>,
}

#[derive(Deserialize)]
struct Trade {
    t: Option<i64>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use thalweg_sim::MemDisk;

    use super::*;

    /// The messages of `files`, read to the end.
    fn read(files: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
        let disk = MemDisk::new(7);
        let mut paths = Vec::new();
        for (number, bytes) in files.iter().enumerate() {
            let path = PathBuf::from(format!("/{number}.ndjson"));
            disk.write_whole(&path, bytes).expect("room");
            paths.push(path);
        }
        disk.shorten_reads(true);
        let mut recording = Recording::open(&disk, &paths)?;
        let mut messages = Vec::new();
        loop {
            recording.fill()?;
            match recording.pop() {
                Some(message) => messages.push(message.text.to_vec()),
                None => return Ok(messages),
            }
        }
    }

    #[test]
    fn a_line_without_end_is_an_error_and_not_memory() {
        let error = read(&[vec![b'x'; LINE_BYTES_MAX + PIECE_BYTES]]).expect_err("too long");
        assert_eq!(error.message, "a line of the recording /0.ndjson is too long");
    }

    #[test]
    fn the_newest_event_time_and_the_trades_are_found() {
        check_recorded(r#"{"data":[{"t":3,"x":1},{"t":5},{"t":4}],"type":"trade"}"#, Some(5), 3);
        check_recorded(r#"{"data":[{"t":null},{}]}"#, None, 2);
        check_recorded(r#"{"type":"ping"}"#, None, 0);
        check_recorded(r#"{"data":[{"t":"5"}]}"#, None, 0);
        check_recorded("no JSON", None, 0);
    }

    #[track_caller]
    fn check_recorded(line: &str, newest_millis: Option<i64>, trades: u64) {
        let disk = MemDisk::new(7);
        let path = PathBuf::from("/a");
        disk.write_whole(&path, line.as_bytes()).expect("room");
        let mut recording = Recording::open(&disk, &[path]).expect("a file");
        recording.fill().expect("readable");
        let recorded = recording.front().expect("a message");
        assert_eq!(recorded.newest, newest_millis.map(Timestamp::from_millis), "{line}");
        assert_eq!(recorded.trades, trades, "{line}");
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 500, failure_persistence: None, ..Default::default()
        })]

        #[test]
        fn lines_come_out_as_they_are_however_they_are_read(
            files in prop::collection::vec("[a\r\n\\PC]{0,60}".prop_map(String::into_bytes), 1..4),
        ) {
            let lines = files.iter().flat_map(|bytes| bytes.split(|byte| *byte == b'\n'));
            let expected: Vec<Vec<u8>> = lines
                .map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec())
                .filter(|line| !line.is_empty())
                .collect();
            prop_assert_eq!(read(&files).expect("short lines"), expected);
        }
    }
}
