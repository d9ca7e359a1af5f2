//! What is known of a segment without reading it, by offset and by time.
//!
//! One entry for every 64 KiB of segment; the way from there is read. In memory for every segment
//! (about 4 MB for 10 GB of log), in a file for a closed one. The file is never synced: it holds
//! nothing that its segment does not, and one that is missing, torn or wrong is made again.
//!
//! ```text
//! magic [8] "TWSEGIDX" · version u16 = 1 · reserved u16 = 0 · count u32 · base offset i64 · end
//! offset i64 · segment length u64 · greatest timestamp i64 (ms) · count × (offset i64 · position
//! u64 · greatest timestamp before it i64) · crc u32 (CRC-32C of all before)
//! ```
//!
//! Numbers are big-endian.

use std::path::Path;

use thalweg_core::env::Disk;
use thalweg_core::records::BatchHeader;
use thalweg_core::topic::Offset;

use crate::segment;

const MAGIC: &[u8; 8] = b"TWSEGIDX";
const VERSION: u16 = 1;
const HEAD_BYTES: usize = 48;
const ENTRY_BYTES: usize = 24;
const CRC_BYTES: usize = 4;
/// Bytes of segment for an entry.
const INTERVAL_BYTES: u64 = 64 << 10;

/// What is known of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentIndex {
    /// Offset it begins at.
    pub(crate) base: Offset,
    /// Offset after its last record.
    pub(crate) end: Offset,
    /// Its length in bytes.
    pub(crate) length: u64,
    /// Greatest timestamp of a record, in milliseconds; `i64::MIN` while there is none.
    pub(crate) max_timestamp_ms: i64,
    // By offset, position and timestamp alike.
    entries: Vec<Entry>,
}

/// A batch that can be found without reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    offset: Offset,
    position: u64,
    max_timestamp_before_ms: i64,
}

impl SegmentIndex {
    /// That of an empty segment.
    pub(crate) fn new(base: Offset) -> Self {
        Self {
            base,
            end: base,
            length: segment::HEADER_BYTES,
            max_timestamp_ms: i64::MIN,
            entries: Vec::new(),
        }
    }

    /// Whether the segment holds no batch.
    pub(crate) fn is_empty(&self) -> bool {
        self.base == self.end
    }

    /// Notes the batch that was appended.
    pub(crate) fn note(&mut self, header: &BatchHeader) {
        debug_assert_eq!(header.base_offset, self.end, "L1: offsets are dense");
        let due =
            self.entries.last().is_none_or(|last| self.length - last.position >= INTERVAL_BYTES);
        if due {
            self.entries.push(Entry {
                offset: self.end,
                position: self.length,
                max_timestamp_before_ms: self.max_timestamp_ms,
            });
        }
        self.end = header.next_offset();
        self.length += header.length as u64;
        self.max_timestamp_ms = self.max_timestamp_ms.max(header.max_timestamp_ms);
    }

    /// Position of a batch at or before the one that holds `offset`.
    pub(crate) fn position_before_offset(&self, offset: Offset) -> u64 {
        self.position_while(|entry| entry.offset <= offset)
    }

    /// Position before which every record is earlier than `timestamp_ms`.
    pub(crate) fn position_before_time(&self, timestamp_ms: i64) -> u64 {
        self.position_while(|entry| entry.max_timestamp_before_ms < timestamp_ms)
    }

    fn position_while(&self, holds: impl Fn(&Entry) -> bool) -> u64 {
        let count = self.entries.partition_point(holds);
        count.checked_sub(1).map_or(segment::HEADER_BYTES, |last| self.entries[last].position)
    }

    /// The file's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let count = u32::try_from(self.entries.len()).expect("a segment has fewer entries");
        let mut bytes =
            Vec::with_capacity(HEAD_BYTES + self.entries.len() * ENTRY_BYTES + CRC_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&count.to_be_bytes());
        bytes.extend_from_slice(&self.base.to_be_bytes());
        bytes.extend_from_slice(&self.end.to_be_bytes());
        bytes.extend_from_slice(&self.length.to_be_bytes());
        bytes.extend_from_slice(&self.max_timestamp_ms.to_be_bytes());
        for entry in &self.entries {
            bytes.extend_from_slice(&entry.offset.to_be_bytes());
            bytes.extend_from_slice(&entry.position.to_be_bytes());
            bytes.extend_from_slice(&entry.max_timestamp_before_ms.to_be_bytes());
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// Writes the file. One that cannot be written is made again when the log opens.
    pub(crate) fn write(&self, disk: &dyn Disk, path: &Path) {
        let _ = disk.open(path, true).and_then(|file| {
            file.truncate(0)?;
            file.write_at(&self.encode(), 0)
        });
    }

    /// Reads the file's bytes, if they are whole and speak of the segment from `base` on with
    /// `length` bytes.
    pub(crate) fn decode(bytes: &[u8], base: Offset, length: u64) -> Option<Self> {
        let (content, crc) = bytes.split_last_chunk::<CRC_BYTES>()?;
        let (head, entries) = content.split_first_chunk::<HEAD_BYTES>()?;
        if crc32c::crc32c(content) != u32::from_be_bytes(*crc)
            || &head[..8] != MAGIC
            || head[8..10] != VERSION.to_be_bytes()
        {
            return None;
        }
        let count = u32::from_be_bytes(field(head, 12)) as usize;
        let (entries, []) = entries.as_chunks::<ENTRY_BYTES>() else { return None };
        let index = Self {
            base: i64::from_be_bytes(field(head, 16)),
            end: i64::from_be_bytes(field(head, 24)),
            length: u64::from_be_bytes(field(head, 32)),
            max_timestamp_ms: i64::from_be_bytes(field(head, 40)),
            entries: entries
                .iter()
                .map(|entry| Entry {
                    offset: i64::from_be_bytes(field(entry, 0)),
                    position: u64::from_be_bytes(field(entry, 8)),
                    max_timestamp_before_ms: i64::from_be_bytes(field(entry, 16)),
                })
                .collect(),
        };
        let fits = (index.base, index.length, index.entries.len()) == (base, length, count);
        (fits && index.is_ordered()).then_some(index)
    }

    /// Whether the entries lie within the segment, in order.
    fn is_ordered(&self) -> bool {
        let starts_right = self.entries.first().is_some_and(|first| {
            first.offset == self.base && first.position == segment::HEADER_BYTES
        });
        let ends_right = self
            .entries
            .last()
            .is_some_and(|last| last.offset < self.end && last.position < self.length);
        starts_right
            && ends_right
            && self.entries.is_sorted_by(|a, b| {
                a.offset < b.offset
                    && a.position < b.position
                    && a.max_timestamp_before_ms <= b.max_timestamp_before_ms
            })
    }
}

/// The `N` bytes from `start` on, which the caller knows to be there.
fn field<const N: usize>(bytes: &[u8], start: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[start..start + N]);
    field
}
