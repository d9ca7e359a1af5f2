//! Rows of an Avro object container file.
//!
//! Blocks are found, capped and unpacked here, and decoded by `arrow-avro` as a small container of
//! their own. So a row is reached by skipping whole blocks, a file that grows by blocks is read on,
//! and a damaged block costs no row before it.
//!
//! Bounds (S30): a header of 4 MiB, a block of 64 MiB packed or not, one row a byte; schemas in which
//! an item of a list takes no bytes are refused.
//! Bytes: the Avro specification, "Object Container Files". Codecs: null, deflate, snappy,
//! zstandard.

use std::io::{Cursor, Read as _};
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_avro::reader::{Reader, ReaderBuilder};
use bytes::Bytes;
use flate2::read::DeflateDecoder;

use super::bytes::FileBytes;
use super::{RowError, RowFile};
use crate::codecs::avro::schema::Schema;
use crate::codecs::avro::walk::{raw_varint, varint};

const MAGIC: &[u8] = b"Obj\x01";
const SYNC_BYTES: usize = 16;
const HEADER_BYTES_MAX: usize = 4 << 20;
const BLOCK_BYTES_MAX: u64 = 64 << 20;
/// Unpacked bytes decoded together.
const BATCH_BYTES: u64 = 1 << 20;
const BATCH_ROWS: usize = 8192;

/// An Avro file that is being read.
pub(super) struct AvroRows {
    bytes: FileBytes,
    schema: SchemaRef,
    header: Header,
    // Where the next block begins.
    at: u64,
    skipped: u64,
    reader: Option<Reader<Cursor<Vec<u8>>>>,
}

struct Header {
    codec: Codec,
    sync: Vec<u8>,
    length: u64,
    // The same header for blocks as the decoder takes them.
    plain: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Codec {
    Null,
    Deflate,
    Snappy,
    Zstandard,
}

/// The data of a block as the decoder takes it, and how long it is when it is unpacked.
struct Data {
    bytes: Vec<u8>,
    length: u64,
}

/// What lies between two blocks, or what is wrong there.
enum Block {
    Whole { rows: u64, data: Data, next: u64 },
    End,
    CutOff,
}

impl AvroRows {
    /// Reads from row `from` on.
    pub(super) fn open(bytes: FileBytes, from: u64) -> Result<Self, RowError> {
        let header = read_header(&bytes)?;
        let schema = schema_of(&header.plain)?;
        let at = header.length;
        let mut rows = Self { bytes, schema, header, at, skipped: from, reader: None };
        rows.skip_blocks()?;
        Ok(rows)
    }

    /// Passes over blocks that lie wholly before the row that is wanted.
    fn skip_blocks(&mut self) -> Result<(), RowError> {
        while self.skipped > 0 {
            let Some((rows, size, data_at)) = self.block_head(self.at)? else { return Ok(()) };
            if rows > self.skipped {
                return Ok(());
            }
            let next = data_at + size + SYNC_BYTES as u64;
            if next > self.bytes.size() {
                return Ok(());
            }
            (self.skipped, self.at) = (self.skipped - rows, next);
        }
        Ok(())
    }

    /// Rows, packed length and first byte of the block at `at`; none when it is not all there.
    fn block_head(&self, at: u64) -> Result<Option<(u64, u64, u64)>, RowError> {
        let head = self.bytes.exact(at, 20)?;
        let mut rest = &head[..];
        let (Some(rows), Some(size)) = (varint(&mut rest), varint(&mut rest)) else {
            let what = "a block has no length";
            return if head.len() < 20 { Ok(None) } else { Err(RowError::damaged(what)) };
        };
        let positive = |number: i64| u64::try_from(number).ok();
        let (Some(rows), Some(size)) = (positive(rows), positive(size)) else {
            return Err(RowError::damaged("a block has a negative length"));
        };
        if size > BLOCK_BYTES_MAX {
            return Err(RowError::damaged(format!("a block of {size} bytes")));
        }
        Ok(Some((rows, size, at + (head.len() - rest.len()) as u64)))
    }

    fn block(&self, at: u64) -> Result<Block, RowError> {
        if at >= self.bytes.size() {
            return Ok(Block::End);
        }
        let Some((rows, size, data_at)) = self.block_head(at)? else { return Ok(Block::CutOff) };
        let length = usize::try_from(size).unwrap_or(usize::MAX);
        let packed = self.bytes.exact(data_at, length + SYNC_BYTES)?;
        if packed.len() < length + SYNC_BYTES {
            return Ok(Block::CutOff);
        }
        if packed[length..] != self.header.sync {
            return Err(RowError::damaged("a block does not end with the mark of the file"));
        }
        let data = self.header.codec.unpack(&packed.slice(..length))?;
        if rows > data.length {
            // A record without any bytes is one nobody writes, and a few bytes could name any number.
            let what = format!("a block of {rows} rows in {} bytes", data.length);
            return Err(RowError::damaged(what));
        }
        Ok(Block::Whole { rows, data, next: data_at + size + SYNC_BYTES as u64 })
    }

    /// A reader of the next blocks; none behind the last.
    fn next_reader(&mut self) -> Result<Option<Reader<Cursor<Vec<u8>>>>, RowError> {
        let mut container = self.header.plain.clone();
        let mut taken = 0;
        let ends_well = loop {
            match self.block(self.at) {
                Ok(Block::Whole { rows, data, next }) => {
                    self.at = next;
                    if rows == 0 {
                        continue;
                    }
                    taken += data.length;
                    put_varint(&mut container, rows);
                    put_varint(&mut container, data.bytes.len() as u64);
                    container.extend_from_slice(&data.bytes);
                    container.extend_from_slice(&self.header.sync);
                    // Rows to be skipped are in the first block; what is damaged costs no other.
                    if taken >= BATCH_BYTES || self.skipped > 0 {
                        break true;
                    }
                }
                Ok(Block::End) => break true,
                Ok(Block::CutOff) if taken == 0 => {
                    return Err(RowError::CutOff("its last block is not whole".to_owned()));
                }
                Err(error) if taken == 0 => return Err(error),
                // What came before it first.
                Ok(Block::CutOff) | Err(_) => break false,
            }
        };
        if taken == 0 && ends_well {
            return Ok(None);
        }
        let reader = ReaderBuilder::new().with_batch_size(BATCH_ROWS).build(Cursor::new(container));
        reader.map(Some).map_err(|error| RowError::damaged(error.to_string()))
    }
}

impl RowFile for AvroRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn next(&mut self) -> Result<Option<RecordBatch>, RowError> {
        loop {
            if self.reader.is_none() {
                self.reader = self.next_reader()?;
            }
            let Some(reader) = &mut self.reader else { return Ok(None) };
            match guarded(|| reader.next().transpose())? {
                Some(batch) => {
                    let rows = batch.num_rows() as u64;
                    let skipped = rows.min(self.skipped);
                    self.skipped -= skipped;
                    if skipped < rows {
                        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
                        return Ok(Some(batch.slice(skipped, batch.num_rows() - skipped)));
                    }
                }
                None => self.reader = None,
            }
        }
    }

    fn bytes(&self) -> &FileBytes {
        &self.bytes
    }

    fn read_to(&self) -> u64 {
        self.at
    }
}

/// Turns a panic into an error: bytes must not bring the process down.
fn guarded<T>(work: impl FnOnce() -> Result<T, arrow::error::ArrowError>) -> Result<T, RowError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(RowError::damaged(error.to_string())),
        Err(_) => Err(RowError::damaged("its reader gave up")),
    }
}

/// The columns of a container without blocks.
fn schema_of(header: &[u8]) -> Result<SchemaRef, RowError> {
    let build = || ReaderBuilder::new().build(Cursor::new(header));
    Ok(guarded(build)?.schema())
}

fn read_header(bytes: &FileBytes) -> Result<Header, RowError> {
    let mut length = 64 << 10;
    loop {
        let front = bytes.exact(0, length)?;
        if !front.starts_with(&MAGIC[..front.len().min(MAGIC.len())]) {
            return Err(RowError::damaged("it is no Avro file"));
        }
        if let Some(header) = parse_header(&front)? {
            return Ok(header);
        }
        if (front.len() as u64) == bytes.size() {
            return Err(RowError::CutOff("its header is not whole".to_owned()));
        }
        if length >= HEADER_BYTES_MAX {
            return Err(RowError::damaged("its header is longer than 4 MiB"));
        }
        length *= 4;
    }
}

/// The header that `front` begins with; none when it is not all there.
fn parse_header(front: &[u8]) -> Result<Option<Header>, RowError> {
    let Some(mut rest) = front.get(MAGIC.len()..) else { return Ok(None) };
    let (mut schema, mut codec) = (None, Codec::Null);
    loop {
        let Some(count) = varint(&mut rest) else { return Ok(None) };
        if count == 0 {
            break;
        }
        if count < 0 && varint(&mut rest).is_none() {
            return Ok(None);
        }
        for _ in 0..count.unsigned_abs() {
            let (Some(key), Some(value)) = (text(&mut rest)?, text(&mut rest)?) else {
                return Ok(None);
            };
            match key {
                b"avro.schema" => schema = Some(value),
                b"avro.codec" => codec = Codec::parse(value)?,
                _ => {}
            }
        }
    }
    let Some((sync, _)) = rest.split_at_checked(SYNC_BYTES) else { return Ok(None) };
    let schema = schema.ok_or_else(|| RowError::damaged("it has no schema"))?;
    // By one that is not judged, a few bytes could name any number of items.
    Schema::parse(schema).map_err(|what| RowError::damaged(format!("its schema: {what}")))?;
    let length = (front.len() - rest.len() + SYNC_BYTES) as u64;
    let mut plain = MAGIC.to_vec();
    put_varint(&mut plain, 2);
    let taken: &[u8] = if matches!(codec, Codec::Snappy) { b"snappy" } else { b"null" };
    for (key, value) in [(&b"avro.schema"[..], schema), (b"avro.codec", taken)] {
        for part in [key, value] {
            put_varint(&mut plain, part.len() as u64);
            plain.extend_from_slice(part);
        }
    }
    put_varint(&mut plain, 0);
    plain.extend_from_slice(sync);
    Ok(Some(Header { codec, sync: sync.to_vec(), length, plain }))
}

impl Codec {
    fn parse(name: &[u8]) -> Result<Self, RowError> {
        match name {
            b"null" => Ok(Self::Null),
            b"deflate" => Ok(Self::Deflate),
            b"snappy" => Ok(Self::Snappy),
            b"zstandard" => Ok(Self::Zstandard),
            other => {
                let name = String::from_utf8_lossy(&other[..other.len().min(20)]).into_owned();
                Err(RowError::damaged(format!(
                    "its blocks are packed with {name:?}, which is not read"
                )))
            }
        }
    }

    /// Unpacks a block, up to the bound. Snappy, which says beforehand what it comes to, is left to
    /// the decoder.
    fn unpack(self, packed: &Bytes) -> Result<Data, RowError> {
        let wrong = |error: String| RowError::damaged(format!("a block does not unpack: {error}"));
        let limit = BLOCK_BYTES_MAX + 1;
        let mut data = Vec::new();
        match self {
            Self::Null => data = packed.to_vec(),
            Self::Deflate => {
                let read = DeflateDecoder::new(&packed[..]).take(limit).read_to_end(&mut data);
                read.map_err(|error| wrong(error.to_string()))?;
            }
            Self::Zstandard => {
                let decoder = zstd::stream::read::Decoder::with_buffer(&packed[..]);
                let mut decoder = decoder.map_err(|error| wrong(error.to_string()))?;
                let _ = decoder.window_log_max(27);
                let read = decoder.take(limit).read_to_end(&mut data);
                read.map_err(|error| wrong(error.to_string()))?;
            }
            Self::Snappy => {
                let length = raw_varint(&mut &packed[..]).unwrap_or(u64::MAX);
                // Three bytes stand for 64 at most, and four are a sum.
                if packed.len() < 5 || length > BLOCK_BYTES_MAX || length > 22 * packed.len() as u64
                {
                    return Err(wrong(format!("it claims {length} bytes")));
                }
                return Ok(Data { bytes: packed.to_vec(), length });
            }
        }
        let length = data.len() as u64;
        if length > BLOCK_BYTES_MAX {
            return Err(RowError::damaged("a block unpacks to more than 64 MiB"));
        }
        Ok(Data { bytes: data, length })
    }
}

/// Bytes with their length in front; none when they are not all there.
fn text<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RowError> {
    let Some(length) = varint(rest) else { return Ok(None) };
    let length = usize::try_from(length)
        .ok()
        .filter(|length| *length <= HEADER_BYTES_MAX)
        .ok_or_else(|| RowError::damaged("a text in its header has a length that cannot be"))?;
    let Some((text, behind)) = rest.split_at_checked(length) else { return Ok(None) };
    *rest = behind;
    Ok(Some(text))
}

fn put_varint(out: &mut Vec<u8>, value: u64) {
    let mut rest = value << 1;
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}
