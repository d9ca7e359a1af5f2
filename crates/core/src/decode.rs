//! Decoding: frames to rows with typed columns.
//!
//! A decoder never fails on a frame: what does not decode becomes a [`Reject`] with its reason, and
//! the rest goes on. It never allocates by a length the bytes name (S30).

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use bytes::Bytes;

use crate::error::Result;
use crate::frame::Frames;
use crate::topic::Offset;

/// Turns frames into rows.
///
/// # Contract
///
/// The rows depend on the frames only, whatever was decoded before; a decoder may remember shapes
/// to be faster, never values.
pub trait Decoder: Send {
    /// Columns of the rows: the declared ones, then [`crate::schema::meta::ALL`].
    fn schema(&self) -> &SchemaRef;

    /// Decodes every frame.
    ///
    /// # Errors
    ///
    /// Only `Internal`; bad bytes are rejects.
    fn decode(&mut self, frames: &Frames) -> Result<Decoded>;
}

/// Rows and whatever did not become one.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// In order of (`_offset`, `_row`).
    pub rows: RecordBatch,
    /// Frames and rows that did not decode, in the same order.
    pub rejects: Vec<Reject>,
    /// Frames by outcome; they add up to the frames given (S12).
    pub frames: FrameCounts,
    /// Error messages the feed sent as data, newest last, at most 16 (S14).
    pub notices: Vec<String>,
}

/// Frames by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameCounts {
    /// Held rows, all or some of which decoded; or held an empty list of rows.
    pub decoded: u64,
    /// Left out by `only_if`: pings, acknowledgements, errors of the feed.
    pub filtered: u64,
    /// Did not decode as a whole.
    pub quarantined: u64,
}

/// A frame, or a row of a frame, that did not decode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Index of the frame among those given.
    pub frame: usize,
    /// Offset of the frame.
    pub offset: Offset,
    /// Number of the row within the frame; none when the whole frame is refused.
    pub row: Option<u32>,
    /// What is wrong, such as `volume: expected a number, found "abc"`.
    pub reason: String,
    /// What the frame says of this row alone, where a frame is much more than its row, as a web
    /// page is; quarantined in the place of the frame.
    pub excerpt: Option<Bytes>,
}
