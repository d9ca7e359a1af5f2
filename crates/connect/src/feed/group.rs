//! A group: what was ready at once, appended as one unit (S7).

use bytes::Bytes;
use thalweg_core::Result;
use thalweg_core::records::{BatchWriter, CONNECTION_HEADER, LENGTH_HEADER, POSITION_HEADER};
use thalweg_core::time::Timestamp;

/// Most frames of a group.
const FRAMES_MAX: usize = 4096;
/// Bytes at which a group is full; the last frame may go beyond.
const BYTES_MAX: u64 = 4 << 20;
/// Room a record takes beside its frame.
const RECORD_OVERHEAD_BYTES: usize = 96;

/// Frames and signs of life that came together.
#[derive(Debug)]
pub(super) struct Group {
    frames: Vec<Received>,
    bytes: u64,
    oversized: u64,
    is_alive: bool,
    // No frame of the partition was received later.
    received_at: Timestamp,
}

/// A frame, or the head of one that is too long.
#[derive(Debug)]
struct Received {
    at: Timestamp,
    bytes: Bytes,
    whole_length: Option<u64>,
    // Where its source stands behind it.
    position: Option<Bytes>,
}

impl Group {
    /// An empty group behind frames received up to `received_at`.
    pub(super) fn new(received_at: Timestamp) -> Self {
        Self { frames: Vec::new(), bytes: 0, oversized: 0, is_alive: false, received_at }
    }

    /// Adds a frame.
    pub(super) fn push(&mut self, at: Timestamp, bytes: Bytes) {
        let length = bytes.len() as u64;
        self.add(at, bytes, length, None);
    }

    /// Adds the head of a frame that is too long.
    pub(super) fn push_head(&mut self, at: Timestamp, length: u64, head: Bytes) {
        self.oversized += 1;
        self.add(at, head, length, Some(length));
    }

    /// Notes where the source stands behind the frame added last.
    pub(super) fn stands_at(&mut self, position: Option<Bytes>) {
        if let Some(last) = self.frames.last_mut() {
            last.position = position;
        }
    }

    /// Adds a sign of life that is not journaled.
    pub(super) fn alive(&mut self) {
        self.is_alive = true;
    }

    fn add(&mut self, at: Timestamp, bytes: Bytes, length: u64, whole_length: Option<u64>) {
        // In whole milliseconds, as the journal keeps it; a clock set back does not go back (S1).
        self.received_at = self.received_at.max(Timestamp::from_millis(at.millis()));
        self.is_alive = true;
        self.bytes += length;
        self.frames.push(Received { at: self.received_at, bytes, whole_length, position: None });
    }

    pub(super) fn has_room(&self) -> bool {
        self.frames.len() < FRAMES_MAX && self.bytes < BYTES_MAX
    }

    /// Whether it holds no frame.
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether the feed showed that it is alive.
    pub(super) fn is_alive(&self) -> bool {
        self.is_alive
    }

    /// When the last frame was received, in this group or before it.
    pub(super) fn last_received_at(&self) -> Timestamp {
        self.received_at
    }

    /// Frames, their bytes as they came, and how many of them were too long.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        (self.frames.len() as u64, self.bytes, self.oversized)
    }

    /// The frames as records of the journal; none when there are none.
    pub(super) fn encode(&self, connection: u32) -> Result<Option<Bytes>> {
        if self.is_empty() {
            return Ok(None);
        }
        let frames = &self.frames;
        let size = |frame: &Received| {
            let position = frame.position.as_ref().map_or(0, Bytes::len);
            frame.bytes.len() + position + RECORD_OVERHEAD_BYTES
        };
        let room = frames.iter().map(size).sum();
        let mut writer = BatchWriter::with_capacity(room);
        let connection = connection.to_be_bytes();
        for frame in frames {
            let length = frame.whole_length.map(u64::to_be_bytes);
            let mut headers = [(CONNECTION_HEADER, Some(&connection[..])); 3];
            let mut count = 1;
            if let Some(length) = &length {
                headers[count] = (LENGTH_HEADER, Some(&length[..]));
                count += 1;
            }
            if let Some(position) = &frame.position {
                headers[count] = (POSITION_HEADER, Some(position));
                count += 1;
            }
            writer.push(frame.at, None, Some(&frame.bytes), &headers[..count])?;
        }
        Ok(Some(writer.finish()))
    }
}

#[cfg(test)]
mod tests {
    use thalweg_core::records::decode_frames;

    use super::*;

    #[test]
    fn frames_are_read_back_in_order_with_times_that_do_not_fall() {
        let mut group = Group::new(Timestamp(2_000_000));
        assert_eq!(group.encode(7).expect("nothing"), None);
        group.push(Timestamp(1_000_000), Bytes::from_static(b"late clock"));
        group.push_head(Timestamp(3_000_999), 20_000_000, Bytes::from_static(b"head"));
        group.push(Timestamp(3_500_000), Bytes::from_static(b"next"));
        assert_eq!(group.counts(), (3, 20_000_014, 1));
        assert_eq!(group.last_received_at(), Timestamp(3_500_000));

        let batches = group.encode(7).expect("three").expect("three");
        let read = decode_frames(0, &batches, 0).expect("what was written");
        let times: Vec<i64> = read.frames.spans.iter().map(|span| span.received_at.0).collect();
        assert_eq!(times, [2_000_000, 3_500_000]);
        assert_eq!(read.frames.bytes(0), b"late clock");
        assert_eq!((read.oversized[0].offset, read.oversized[0].length), (1, 20_000_000));
    }
}
