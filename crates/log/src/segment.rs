//! Segments: the files that hold a partition's batches.
//!
//! ```text
//! magic [8] "TWSEGMNT" · version u16 = 1 · reserved u16 = 0 · crc u32 (CRC-32C of the 12 bytes
//! before) · record batches, byte for byte as Kafka has them, without gaps
//! ```
//!
//! Numbers are big-endian. The name is the base offset in 20 digits; the first batch begins at it,
//! and each batch where the one before ends, so a wrong base offset, which no CRC covers, is found
//! by counting. A segment is made under another name and synced before it gets its own, so a named
//! segment always has its header.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thalweg_core::env::{Disk, DiskFile};
use thalweg_core::records::{BATCH_HEADER_BYTES, Batch, BatchHeader};
use thalweg_core::topic::Offset;

use crate::index::SegmentIndex;

/// Bytes before the first batch.
pub(crate) const HEADER_BYTES: u64 = 16;
/// Name of a segment that is not one yet.
pub(crate) const UNNAMED: &str = "next.tmp";
/// Name of the mark that a sync failed; its text says which.
pub(crate) const SYNC_FAILED: &str = "sync-failed";

const MAGIC: &[u8; 8] = b"TWSEGMNT";
const VERSION: u16 = 1;
/// How much of a segment is in memory while it is checked.
const SCAN_BYTES: usize = 1 << 20;

/// Where the segment that begins at `base` lies.
pub(crate) fn path(folder: &Path, base: Offset) -> PathBuf {
    folder.join(format!("{base:020}.log"))
}

/// Where the index of the segment that begins at `base` lies.
pub(crate) fn index_path(folder: &Path, base: Offset) -> PathBuf {
    folder.join(format!("{base:020}.index"))
}

/// What a file in a partition's folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// The segment that begins at an offset.
    Segment(Offset),
    /// The index of that segment.
    Index(Offset),
    /// A segment that did not get its name.
    Unnamed,
    /// The mark that a sync failed.
    SyncFailed,
    /// Not ours.
    Foreign,
}

impl FileKind {
    /// Tells by the name.
    pub(crate) fn of(name: &Path) -> Self {
        let Some(name) = name.to_str() else { return Self::Foreign };
        match name {
            UNNAMED => return Self::Unnamed,
            SYNC_FAILED => return Self::SyncFailed,
            _ => {}
        }
        let base = |digits: &str| {
            let all_digits = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
            all_digits.then(|| digits.parse().ok()).flatten()
        };
        if let Some(base) = name.strip_suffix(".log").and_then(base) {
            return Self::Segment(base);
        }
        if let Some(base) = name.strip_suffix(".index").and_then(base) {
            return Self::Index(base);
        }
        Self::Foreign
    }
}

fn header() -> [u8; 16] {
    let mut header = [0; 16];
    header[..8].copy_from_slice(MAGIC);
    header[8..10].copy_from_slice(&VERSION.to_be_bytes());
    let crc = crc32c::crc32c(&header[..12]);
    header[12..].copy_from_slice(&crc.to_be_bytes());
    header
}

/// Makes an empty segment under the name [`UNNAMED`], synced; the caller gives it its own name.
pub(crate) fn create(disk: &dyn Disk, folder: &Path) -> io::Result<Arc<dyn DiskFile>> {
    let file = disk.open(&folder.join(UNNAMED), true)?;
    file.truncate(0)?;
    file.write_at(&header(), 0)?;
    file.sync_data()?;
    Ok(Arc::from(file))
}

/// Says what is wrong with a segment's header, if anything is.
pub(crate) fn check_header(file: &dyn DiskFile) -> io::Result<Option<String>> {
    let mut found = [0; 16];
    let length = read_full(file, &mut found, 0)?;
    if length < found.len() {
        return Ok(Some(format!("It has {length} bytes, which is less than its header.")));
    }
    if found == header() {
        return Ok(None);
    }
    let version = u16::from_be_bytes([found[8], found[9]]);
    Ok(Some(if &found[..8] == MAGIC && version != VERSION {
        format!("It is a segment of version {version}; this program knows version {VERSION}.")
    } else {
        "Its header is not that of a segment.".to_owned()
    }))
}

/// Where the whole and right batches of a segment end, and why.
#[derive(Debug)]
pub(crate) struct Damage {
    /// First byte that is not part of a right batch.
    pub(crate) position: u64,
    /// What is wrong there.
    pub(crate) reason: String,
}

/// Checks every batch of a segment of `length` bytes and notes it in `index`, which is new; stops
/// at the first that is wrong.
pub(crate) fn scan(
    file: &dyn DiskFile,
    length: u64,
    index: &mut SegmentIndex,
) -> io::Result<Option<Damage>> {
    let mut window = Window::new(file, length, SCAN_BYTES);
    while index.length < length {
        let position = index.length;
        match check_batch(&mut window, position, index.end)? {
            Ok(header) => index.note(&header),
            Err(reason) => return Ok(Some(Damage { position, reason })),
        }
    }
    Ok(None)
}

fn check_batch(
    window: &mut Window<'_>,
    position: u64,
    offset: Offset,
) -> io::Result<Result<BatchHeader, String>> {
    let reason = |error: thalweg_core::Error| error.detail.unwrap_or(error.message);
    let header = match BatchHeader::parse(window.bytes(position, BATCH_HEADER_BYTES)?) {
        Ok(header) => header,
        Err(error) => return Ok(Err(reason(error))),
    };
    if header.base_offset != offset {
        return Ok(Err(format!("its base offset is {}, not {offset}", header.base_offset)));
    }
    let checked =
        Batch::parse(window.bytes(position, header.length)?).and_then(|batch| batch.check_crc());
    Ok(checked.map(|()| header).map_err(reason))
}

/// Leaves a mark for the next process: the system may hold in memory, and serve, what it could not
/// put on the disk. The mark need not be durable, as a power cut empties that memory too.
pub(crate) fn mark_sync_failed(disk: &dyn Disk, folder: &Path, reason: &str) {
    let text = format!("thalweg sync-failed 1\n{reason}\n");
    // Nothing is left to be done when even this fails.
    let _ = disk
        .open(&folder.join(SYNC_FAILED), true)
        .and_then(|file| file.write_at(text.as_bytes(), 0));
}

/// Writes the first `length` bytes over themselves, so that the next sync is of all of them.
pub(crate) fn rewrite(file: &dyn DiskFile, length: u64) -> io::Result<()> {
    let mut buffer = vec![0; SCAN_BYTES];
    let mut position = 0;
    while position < length {
        let count = SCAN_BYTES.min(usize::try_from(length - position).unwrap_or(SCAN_BYTES));
        let count = read_full(file, &mut buffer[..count], position)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.write_at(&buffer[..count], position)?;
        position += count as u64;
    }
    Ok(())
}

/// A part of a file in memory, for reading onwards with few calls.
pub(crate) struct Window<'a> {
    file: &'a dyn DiskFile,
    // Nothing is read from here on.
    end: u64,
    // How much to read at a time.
    chunk: usize,
    start: u64,
    buffer: Vec<u8>,
}

impl<'a> Window<'a> {
    pub(crate) fn new(file: &'a dyn DiskFile, end: u64, chunk: usize) -> Self {
        Self { file, end, chunk, start: 0, buffer: Vec::new() }
    }

    /// The `count` bytes from `position` on, or those that there are.
    pub(crate) fn bytes(&mut self, position: u64, count: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.end.saturating_sub(position)).unwrap_or(usize::MAX);
        let count = count.min(left);
        let buffered = position.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        let skip = match buffered {
            Some(skip) if skip.saturating_add(count) <= self.buffer.len() => skip,
            _ => {
                self.buffer.resize(count.max(self.chunk).min(left), 0);
                let read = read_full(self.file, &mut self.buffer, position)?;
                self.buffer.truncate(read);
                self.start = position;
                0
            }
        };
        Ok(&self.buffer[skip..self.buffer.len().min(skip + count)])
    }
}

/// Reads until `buffer` is full or the file ends; returns how much.
pub(crate) fn read_full(
    file: &dyn DiskFile,
    buffer: &mut [u8],
    position: u64,
) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], position + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_name() {
        check("00000000000000048211.log", FileKind::Segment(48_211));
        check("09223372036854775807.log", FileKind::Segment(i64::MAX));
        check("00000000000000000000.index", FileKind::Index(0));
        check("next.tmp", FileKind::Unnamed);
        check("sync-failed", FileKind::SyncFailed);
        for foreign in
            ["48211.log", "99999999999999999999.log", "+0000000000000000001.log", "lost+found", ""]
        {
            check(foreign, FileKind::Foreign);
        }
    }

    #[track_caller]
    fn check(name: &str, kind: FileKind) {
        assert_eq!(FileKind::of(Path::new(name)), kind, "{name}");
    }
}
