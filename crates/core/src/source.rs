//! How frames come in: live from a [`Source`], or by position from an [`Input`].
//!
//! What cannot be read again (a WebSocket, a poll) is a `Source`; its frames are journaled in the
//! log before anything looks at them (S0). What can be read again by position (a log partition,
//! files) is an `Input`, and the only thing a pipeline ever reads. Retry, rate limits and metrics
//! wrap any of them and are not here.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Result;
use crate::frame::{Frame, Frames};
use crate::time::Timestamp;
use crate::topic::Offset;

/// Receives frames from one live feed.
///
/// # Contract
///
/// The driver calls [`connect`](Self::connect) first, and again, after a full-jitter back-off, when
/// [`next`](Self::next) has returned an `Unavailable` error or [`SourceEvent::Closed`]. At most one
/// call is in flight. `Invalid` (a refused token, say) is shown to the user and retried slowly.
#[async_trait]
pub trait Source: Send {
    /// Connects and subscribes to everything.
    async fn connect(&mut self) -> Result<()>;

    /// Waits for what comes next.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no frame; the next call returns it.
    async fn next(&mut self) -> Result<SourceEvent>;

    /// Ends the connection, politely where that takes no time: when the source is paused or has
    /// fallen silent, and before the process stops. Nothing to do for what holds no connection.
    async fn disconnect(&mut self) {}

    /// Keys of which this source would miss records while it is not connected, such as symbols;
    /// a gap is marked for each (S14).
    fn keys(&self) -> Vec<String>;

    /// Silence longer than this means the feed is dead (S14).
    fn stale_after(&self) -> Duration;

    /// What [`restore`](Self::restore) must be told for this source to go on behind the frame it
    /// gave out last, at most 64 KiB; journaled with that frame. None for what goes on with whatever
    /// comes next.
    fn position(&self) -> Option<Bytes> {
        None
    }

    /// Takes back the position of the newest frame in the journal, before the first connect.
    ///
    /// # Errors
    ///
    /// `Invalid` when it is not one of this source's.
    fn restore(&mut self, _position: &[u8]) -> Result<()> {
        Ok(())
    }

    /// When the far end asked to be tried again, after an error it gave that as its reason; takes
    /// the place of the driver's back-off.
    fn retry_at(&self) -> Option<Timestamp> {
        None
    }
}

/// What a live source has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceEvent {
    /// One frame of data, an error message or anything else that must be journaled.
    Frame(Frame),
    /// A frame longer than [`FRAME_BYTES_MAX`](crate::frame::FRAME_BYTES_MAX); its head is
    /// journaled with its length.
    Oversized {
        /// When its last byte was received.
        received_at: Timestamp,
        /// Its whole length in bytes.
        length: u64,
        /// Its first bytes, at most 64 KiB.
        head: Bytes,
    },
    /// The feed showed that it is alive, by a ping or the like; nothing to journal.
    Alive,
    /// The other side closed the connection, with its reason.
    Closed(String),
    /// A bounded source has no more.
    End,
}

/// Reads one partition again by position: a log partition, or a list of files.
///
/// # Contract
///
/// Reading `from` the same offset twice gives the same frames, however they are cut into chunks.
/// When the bytes behind the position have changed, reading fails with `Invalid` (S0).
#[async_trait]
pub trait Input: Send {
    /// Takes back the last manifest a checkpoint or epoch record holds, before the first read.
    ///
    /// A manifest is what offsets mean beyond themselves: for files their list, with sizes and
    /// times of discovery. A log partition has none.
    fn restore(&mut self, manifest: Option<&str>) -> Result<()>;

    /// Reads frames with offsets in `from ..` until a limit is reached; waits up to `limit.wait`
    /// while there are none.
    async fn read(&mut self, from: Offset, limit: ReadLimit) -> Result<Chunk>;

    /// Where reading begins when nothing was read before.
    async fn start(&mut self) -> Result<Offset>;

    /// First frames of what is listed but not begun; their event times hold the watermark (S2).
    async fn unread_heads(&mut self, from: Offset) -> Result<Frames>;

    /// Whether the input ends: files do, a live feed's journal does not.
    fn is_bounded(&self) -> bool;
}

/// How much one read may bring.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimit {
    /// Number of frames.
    pub frames_max: usize,
    /// Bytes of frames; one frame comes whole even when it is larger.
    pub bytes_max: usize,
    /// Read only offsets below this one.
    pub until: Option<Offset>,
    /// Whether a recorded epoch is run again: there is nothing to look for, or to wait for.
    pub is_rerun: bool,
    /// How long to wait while there is nothing.
    pub wait: Duration,
}

/// What a read brought.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    /// The frames, possibly none.
    pub frames: Frames,
    /// Where to read next: every frame below it was given out, is longer than
    /// [`FRAME_BYTES_MAX`](crate::frame::FRAME_BYTES_MAX) and in `oversized`, or does not exist.
    pub next: Offset,
    /// Nothing more is there now. Final for a bounded input whose files do not grow.
    pub at_end: bool,
    /// The new manifest when it has changed; goes into the epoch record with `next`.
    pub manifest: Option<String>,
    /// Frames too long to be handed over.
    pub oversized: Vec<Oversized>,
    /// Parts that cannot be read, each counted as a frame.
    pub unreadable: Vec<Unreadable>,
    /// Where its first frame stands, for people; none where an offset says it all.
    pub origin: Option<Origin>,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Path or address of the file.
    pub file: Arc<str>,
    /// Number of the line or row, from 1.
    pub number: u64,
    /// Whether it is a row, not a line.
    pub is_row: bool,
}

impl Chunk {
    /// Where frame `index` stands, such as `data/a.csv:17` or `data/a.parquet row 17`.
    pub fn place(&self, index: usize) -> Option<String> {
        self.places().of(index)
    }

    /// Where its frames stand, for many of them in their order.
    pub fn places(&self) -> Places<'_> {
        Places { chunk: self, counted: 0, newlines: 0, returns: 0 }
    }

    /// Where what is oversized or unreadable in it stands.
    pub fn place_of_first(&self) -> Option<String> {
        let Origin { file, number, is_row } = self.origin.as_ref()?;
        Some(if *is_row { format!("{file} row {number}") } else { format!("{file}:{number}") })
    }
}

/// Tells where frames stand; those in their order cost one look at each byte together.
#[derive(Debug)]
pub struct Places<'a> {
    chunk: &'a Chunk,
    // Bytes from the first frame on in which line ends are counted.
    counted: usize,
    newlines: u64,
    returns: u64,
}

impl Places<'_> {
    /// Where frame `index` stands; see [`Chunk::place`].
    pub fn of(&mut self, index: usize) -> Option<String> {
        let origin = self.chunk.origin.as_ref()?;
        if origin.is_row {
            return Some(format!("{} row {}", origin.file, origin.number + index as u64));
        }
        let spans = &self.chunk.frames.spans;
        let (first, at) = (spans.first()?.start as usize, spans.get(index)?.start as usize);
        let before = self.chunk.frames.data.get(first..at).unwrap_or_default();
        if before.len() < self.counted {
            (self.counted, self.newlines, self.returns) = (0, 0, 0);
        }
        self.newlines += count(b'\n', &before[self.counted..]);
        if self.newlines == 0 {
            self.returns += count(b'\r', &before[self.counted..]);
        }
        self.counted = before.len();
        let lines = if self.newlines > 0 { self.newlines } else { self.returns };
        Some(format!("{}:{}", origin.file, origin.number + lines))
    }
}

/// How many lines end in a text: at `\n`, or at `\r` where it has no `\n`.
pub fn line_ends(text: &[u8]) -> u64 {
    match count(b'\n', text) {
        0 => count(b'\r', text),
        lines => lines,
    }
}

fn count(wanted: u8, text: &[u8]) -> u64 {
    memchr::memchr_iter(wanted, text).count() as u64
}

/// A frame that was too long to be handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oversized {
    /// Its offset.
    pub offset: Offset,
    /// When it was received.
    pub received_at: Timestamp,
    /// Its whole length in bytes.
    pub length: u64,
    /// Its first bytes, at most 64 KiB.
    pub head: Bytes,
}

/// A part of a file that cannot be read: it is damaged, or not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Where it begins.
    pub offset: Offset,
    /// When it was received.
    pub received_at: Timestamp,
    /// What is wrong with it.
    pub reason: String,
    /// What could be read of its first frame, at most 64 KiB.
    pub head: Bytes,
}
