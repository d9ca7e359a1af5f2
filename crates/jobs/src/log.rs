//! The log of one attempt: its first and its last lines, within a bound.
//!
//! # Invariants
//!
//! - It holds at most [`HEAD_BYTES`] of the first lines and [`TAIL_BYTES`] of the last ones; what
//!   is left out between them is counted, and said where it is missing.
//! - A line has at most [`LINE_BYTES`]; the rest of a longer one is cut, and that is said.
//!
//! Lines are kept in memory while the attempt runs; [`crate::scheduler`] stores the first at once and
//! the others a second later at the latest, so a crash loses those of its last second. The last line
//! is what came of the attempt.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use thalweg_core::env::Clock;
use thalweg_core::task::TaskLog;
use thalweg_core::time::Timestamp;
use tokio::sync::Notify;

const HEAD_BYTES: usize = 64 << 10;
const TAIL_BYTES: usize = 64 << 10;
const LINE_BYTES: usize = 4 << 10;
/// What a line counts besides its text, so that empty ones count too.
const LINE_OVERHEAD_BYTES: usize = 32;

/// A line of a task's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was written, in µs.
    pub at: Timestamp,
    /// What it says.
    pub text: String,
}

/// Takes the lines of an attempt.
#[derive(Debug)]
pub(crate) struct AttemptLog {
    clock: Clock,
    lines: Mutex<Lines>,
    written: Notify,
}

#[derive(Debug, Default)]
struct Lines {
    head: Vec<LogLine>,
    head_bytes: usize,
    tail: VecDeque<LogLine>,
    tail_bytes: usize,
    left_out: u64,
}

impl AttemptLog {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, lines: Mutex::default(), written: Notify::new() }
    }

    /// Waits until a line has been written since the last wait ended.
    pub(crate) async fn written(&self) {
        self.written.notified().await;
    }

    /// The lines as they are now.
    pub(crate) fn lines(&self) -> Vec<LogLine> {
        let lines = self.lock();
        let mut all = lines.head.clone();
        if lines.left_out > 0 {
            let at = lines.tail.front().or(all.last()).map_or(Timestamp(0), |line| line.at);
            let text = format!("… {} lines left out …", lines.left_out);
            all.push(LogLine { at, text });
        }
        all.extend(lines.tail.iter().cloned());
        all
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TaskLog for AttemptLog {
    fn line(&self, text: &str) {
        let at = self.clock.now();
        let mut lines = self.lock();
        for text in text.lines() {
            lines.push(LogLine { at, text: cut(text, LINE_BYTES) });
        }
        drop(lines);
        self.written.notify_one();
    }
}

impl Lines {
    fn push(&mut self, line: LogLine) {
        let bytes = size(&line);
        if self.tail.is_empty() && self.head_bytes + bytes <= HEAD_BYTES {
            self.head_bytes += bytes;
            return self.head.push(line);
        }
        self.tail_bytes += bytes;
        self.tail.push_back(line);
        while self.tail_bytes > TAIL_BYTES {
            let Some(oldest) = self.tail.pop_front() else { break };
            self.tail_bytes -= size(&oldest);
            self.left_out += 1;
        }
    }
}

fn size(line: &LogLine) -> usize {
    line.text.len() + LINE_OVERHEAD_BYTES
}

/// The first `bytes_max` bytes of a text, at a character's end, saying so if there is more.
pub(crate) fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes_max);
    format!("{}… ({} bytes more)", &text[..end], text.len() - end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_log_is_kept_whole() {
        let log = AttemptLog::new(Clock::stepped(Timestamp(7)));
        log.line("read 5 files\nwrote 118 rows");
        log.line("");
        let texts: Vec<String> = log.lines().into_iter().map(|line| line.text).collect();
        assert_eq!(texts, ["read 5 files", "wrote 118 rows"]);
        assert_eq!(log.lines()[0].at, Timestamp(7));
    }

    #[test]
    fn a_long_log_keeps_its_ends_and_says_what_is_missing() {
        let log = AttemptLog::new(Clock::stepped(Timestamp(0)));
        for number in 0..100_000 {
            log.line(&format!("line {number}"));
        }
        let lines = log.lines();
        let bytes: usize = lines.iter().map(size).sum();
        assert!(bytes <= HEAD_BYTES + TAIL_BYTES + 2 * LINE_OVERHEAD_BYTES, "{bytes}");
        assert_eq!(lines[0].text, "line 0");
        assert_eq!(lines[lines.len() - 1].text, "line 99999");
        let gap = lines.iter().position(|line| line.text.contains("left out")).expect("said");
        assert_eq!(lines[gap].text, format!("… {} lines left out …", 100_000 - lines.len() + 1));
        let before = lines[gap - 1].text.trim_start_matches("line ").parse::<usize>();
        assert_eq!(before, Ok(gap - 1), "the head has no hole");
    }

    #[test]
    fn a_long_line_is_cut_at_a_character() {
        assert_eq!(cut("äöü", 6), "äöü");
        assert_eq!(cut("äöü", 5), "äö… (2 bytes more)");
        assert_eq!(cut("äöü", 1), "… (6 bytes more)");
    }
}
