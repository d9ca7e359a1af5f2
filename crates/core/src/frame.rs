//! Frames: what a source receives, before it is decoded.
//!
//! A frame is one WebSocket message, one HTTP body, one line of a file. [`Frames`] holds many of
//! them in one buffer, so that reading and decoding neither copy nor allocate per frame. Formats
//! that keep columns (Parquet, Avro files) bring rows instead of bytes; a row is then a frame.

use arrow_array::RecordBatch;
use bytes::Bytes;

use crate::time::Timestamp;
use crate::topic::Offset;

/// Largest frame that is accepted (S30). A longer one is quarantined by its head and length.
pub const FRAME_BYTES_MAX: usize = 10_000_000;

/// One frame just received by a live source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// When it was received.
    pub received_at: Timestamp,
    /// Which connection brought it: counts up from 1 over the life of the data folder.
    pub connection: u32,
    /// The bytes, as they came.
    pub bytes: Bytes,
}

/// Frames of one partition, in offset order, in one buffer.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    /// The partition they come from.
    pub partition: u32,
    /// The buffer that every span points into.
    pub data: Bytes,
    /// One span a frame.
    pub spans: Vec<FrameSpan>,
    /// Where the format keeps columns: row `i` is frame `i`, and spans are empty.
    pub rows: Option<RecordBatch>,
}

/// Where one frame lies in its buffer, and what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameSpan {
    /// First byte in [`Frames::data`].
    pub start: u32,
    /// Length in bytes.
    pub len: u32,
    /// `_offset` of the record.
    pub offset: Offset,
    /// `_received_at` of the record.
    pub received_at: Timestamp,
}

impl Frames {
    /// The bytes of frame `index`.
    pub fn bytes(&self, index: usize) -> &[u8] {
        let span = self.spans[index];
        &self.data[span.start as usize..(span.start + span.len) as usize]
    }

    /// Number of frames.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }
}
