//! The list of files: what an offset means, what was read, and whether it still stands there: pure.
//!
//! The list holds *stretches*: bytes of one file, read one after the other. A file is one stretch
//! for as long as it is the last of the list; once another one has begun, what is appended to it
//! becomes a stretch of its own at the end of the list, so offsets only ever rise. An offset is the
//! number of the stretch × 2^40 + a byte of the file (S1).
//!
//! What was read must not change (S0). Each stretch keeps the CRC-32C of the first 4 KiB that were
//! read and of the last 64 bytes before the position; they are compared whenever the file is opened,
//! unless its store says by a tag that it is the same.
//!
//! Of a file that is *unpacked* (compressed, or in another encoding than UTF-8) a byte is one of the
//! text in it, `size` and prints are of the file as it is stored. In a format of rows it is a row.
//!
//! As JSON, version 1, stored in epoch records:
//!
//! ```json
//! {"version": 1, "headers": ["id,name"], "files": [{"path": "a.csv", "header": 0, "start": 0,
//!  "end": 9, "size": 9, "discovered_at": 1703258644022000, "head": [9, 9, 7],
//!  "tail": [9, 9, 7]}]}
//! ```
//!
//! A print is `[end, length, crc]`. `headers` holds each header of a file once, a file its number
//! among them; `end` is missing for what is not read to its end; `cut` says that the last line has
//! no line end, `lines` how many lines end before the position that `tail` is of; `packing` is
//! `plain` or `packed`, `length` that of the text of a packed file, once it was read to its end;
//! `broken` why the file cannot be read beyond its end, `tag` what its store calls its version.

use serde::{Deserialize, Serialize};
use thalweg_core::error::{Error, Result};
use thalweg_core::time::Timestamp;
use thalweg_core::topic::Offset;

/// Bits of an offset that are a byte of a file.
const BYTE_BITS: u32 = 40;
/// Bytes at the front of a file that are watched.
const HEAD_BYTES: u64 = 4096;
/// Bytes before the position that are watched.
const TAIL_BYTES: usize = 64;
/// Version of the JSON form.
const VERSION: u32 = 1;

/// What offsets of a file source mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    version: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<String>,
    pub(super) files: Vec<Stretch>,
}

/// Bytes of one file, read one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stretch {
    pub(super) path: String,
    /// Number of its file's header, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    header: Option<usize>,
    /// Its first byte.
    pub(super) start: u64,
    /// Behind its last byte, once it will not grow any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) end: Option<u64>,
    /// Whether its last line has no line end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) cut: bool,
    /// Length of the file when it was last looked at.
    pub(super) size: u64,
    /// `_received_at` of its frames.
    pub(super) discovered_at: Timestamp,
    #[serde(flatten)]
    pub(super) prints: Prints,
    /// Lines that end before what was read of it ends.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) lines: u64,
    /// Whether its bytes are its text, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) packing: Option<Packing>,
    /// Length of its text, for a packed file that was read to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) length: Option<u64>,
    /// Why nothing can be read behind its end, which counts as one byte more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) broken: Option<String>,
    /// The tag under which it was last compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tag: Option<String>,
    /// Since when the file has had this size, as far as this process knows.
    #[serde(skip)]
    pub(super) unchanged_since: Option<Timestamp>,
}

/// Whether the bytes of a file are its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Packing {
    /// They are.
    Plain,
    /// It is compressed, or in another encoding than UTF-8; or its format is one of rows.
    Packed,
}

/// What is known of the bytes that were read of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Prints {
    pub(super) head: Print,
    pub(super) tail: Print,
}

/// The CRC of some bytes of a file: `[end, length, crc]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Print(pub(super) u64, u32, u32);

/// Number of a stretch, and a byte of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) number: usize,
    pub(super) byte: u64,
}

impl Position {
    /// Where an offset points to.
    pub(super) fn from_offset(offset: Offset) -> Self {
        let offset = offset.max(0).unsigned_abs();
        let number = usize::try_from(offset >> BYTE_BITS).expect("23 bits fit");
        Self { number, byte: offset & ((1 << BYTE_BITS) - 1) }
    }

    /// The offset that points here.
    ///
    /// # Errors
    ///
    /// `Invalid` beyond 2^23 stretches or 1 TiB of a file.
    pub(super) fn offset(self) -> Result<Offset> {
        if self.byte >> BYTE_BITS != 0 {
            return Err(Error::invalid("a file of the source is longer than 1 TiB"));
        }
        let number = i64::try_from(self.number).ok().filter(|number| number >> 23 == 0);
        let number = number.ok_or_else(|| Error::invalid("the source has over 8 million files"))?;
        Ok(number << BYTE_BITS | i64::try_from(self.byte).expect("40 bits fit"))
    }

    /// The start of the next stretch.
    pub(super) fn next_stretch(self) -> Self {
        Self { number: self.number + 1, byte: 0 }
    }
}

impl Print {
    /// Of `bytes`, which end before byte `end` of the file.
    pub(super) fn new(end: u64, bytes: &[u8]) -> Self {
        Self(end, u32::try_from(bytes.len()).unwrap_or(u32::MAX), crc32c::crc32c(bytes))
    }

    /// First and last byte, exclusive, of what it is of.
    pub(super) fn range(self) -> std::ops::Range<u64> {
        self.0.saturating_sub(u64::from(self.1))..self.0
    }

    /// Whether `bytes` are what it was taken of.
    pub(super) fn fits(self, bytes: &[u8]) -> bool {
        bytes.len() as u64 == u64::from(self.1) && crc32c::crc32c(bytes) == self.2
    }
}

impl Stretch {
    /// A file of which nothing was read.
    pub(super) fn new(path: String, size: u64, now: Timestamp) -> Self {
        Self {
            path,
            header: None,
            start: 0,
            end: None,
            cut: false,
            size,
            discovered_at: now,
            prints: Prints::default(),
            lines: 0,
            packing: None,
            length: None,
            broken: None,
            tag: None,
            unchanged_since: Some(now),
        }
    }

    /// What was appended to the file of this stretch, from `start` on.
    pub(super) fn grown(&self, start: u64, size: u64, now: Timestamp) -> Self {
        Self {
            start,
            end: None,
            cut: false,
            size,
            discovered_at: now,
            length: None,
            broken: None,
            unchanged_since: Some(now),
            ..self.clone()
        }
    }

    /// Whether a byte of it is a byte of the file.
    pub(super) fn is_plain(&self) -> bool {
        self.packing != Some(Packing::Packed)
    }

    /// Whether all that was there when it was last looked at stands before `byte`.
    pub(super) fn was_read_before(&self, byte: u64) -> bool {
        let length = if self.is_plain() { Some(self.size) } else { self.length };
        length.is_some_and(|length| byte >= length)
    }

    /// Notes the length of the file; returns since when it has had it.
    pub(super) fn note_size(&mut self, size: u64, now: Timestamp) -> Timestamp {
        if size != self.size {
            self.size = size;
            self.unchanged_since = Some(now);
        }
        *self.unchanged_since.get_or_insert(now)
    }
}

impl Prints {
    /// Behind the last byte that was read.
    pub(super) fn read_to(&self) -> u64 {
        self.tail.0
    }

    /// Notes that `bytes`, from byte `at` on, were read.
    pub(super) fn note_read(&mut self, at: u64, bytes: &[u8]) {
        let to = at + bytes.len() as u64;
        if to <= self.tail.0 || bytes.is_empty() {
            return;
        }
        self.tail = Print::new(to, &bytes[bytes.len().saturating_sub(TAIL_BYTES)..]);
        let head_to = to.min(HEAD_BYTES);
        if self.head.0 < head_to && at <= self.head.0 {
            let slice = |byte: u64| usize::try_from(byte - at).expect("it lies in the slice");
            let more = &bytes[slice(self.head.0)..slice(head_to)];
            let length = self.head.1 + u32::try_from(more.len()).expect("at most 4 KiB");
            self.head = Print(head_to, length, crc32c::crc32c_append(self.head.2, more));
        }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Default for Manifest {
    fn default() -> Self {
        Self { version: VERSION, headers: Vec::new(), files: Vec::new() }
    }
}

impl Manifest {
    /// Reads the JSON form.
    ///
    /// # Errors
    ///
    /// `Invalid` when it is none, or of a version this program does not know.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let malformed = || Error::invalid("the stored list of files is malformed");
        let manifest: Self =
            serde_json::from_str(text).map_err(|error| malformed().with_source(error))?;
        if manifest.version != VERSION {
            return Err(malformed().with_detail(format!(
                "It has version {}; this program knows version {VERSION}.",
                manifest.version
            )));
        }
        Ok(manifest)
    }

    /// The JSON form.
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers and texts are JSON")
    }

    /// Adds a stretch; times of discovery do not fall along the list (S1).
    pub(super) fn push(&mut self, mut stretch: Stretch) {
        if let Some(last) = self.files.last() {
            stretch.discovered_at = stretch.discovered_at.max(last.discovered_at);
        }
        self.files.push(stretch);
    }

    /// The header of the file of stretch `number`, if it is known.
    pub(super) fn header(&self, number: usize) -> Option<&str> {
        self.headers.get(self.files.get(number)?.header?).map(String::as_str)
    }

    /// Notes the header of the file of stretch `number`. Returns whether that is news.
    pub(super) fn note_header(&mut self, number: usize, header: &str) -> bool {
        if self.header(number) == Some(header) {
            return false;
        }
        let known = self.headers.iter().position(|known| known == header);
        let index = known.unwrap_or_else(|| {
            self.headers.push(header.to_owned());
            self.headers.len() - 1
        });
        self.files[number].header = Some(index);
        true
    }

    /// Ends stretch `number` at `end`, if it has no end yet. Returns whether that is news.
    pub(super) fn seal(&mut self, number: usize, end: u64, cut: bool) -> bool {
        let Some(stretch) = self.files.get_mut(number).filter(|stretch| stretch.end.is_none())
        else {
            return false;
        };
        stretch.end = Some(end);
        stretch.cut = cut;
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn offsets_and_positions_are_the_same_thing() {
        for (number, byte) in [(0, 0), (0, (1 << 40) - 1), (3, 17), ((1 << 23) - 1, 5)] {
            let position = Position { number, byte };
            let offset = position.offset().expect("within bounds");
            assert_eq!(Position::from_offset(offset), position);
        }
        assert!(Position { number: 0, byte: 1 << 40 }.offset().is_err());
        assert!(Position { number: 1 << 23, byte: 0 }.offset().is_err());
    }

    #[test]
    fn the_json_form_is_read_back() {
        let mut manifest = Manifest::default();
        manifest.push(Stretch::new("a.csv".into(), 9, Timestamp(5)));
        assert!(manifest.note_header(0, "id,name"));
        assert!(!manifest.note_header(0, "id,name"));
        manifest.files[0].prints.note_read(0, b"id,name\n1");
        assert!(manifest.seal(0, 9, true));
        assert!(!manifest.seal(0, 3, false));
        manifest.push(Stretch::new("b.csv".into(), 0, Timestamp(3)));
        assert_eq!(manifest.files[1].discovered_at, Timestamp(5));
        assert_eq!((manifest.header(0), manifest.header(1)), (Some("id,name"), None));
        let mut back = Manifest::parse(&manifest.to_json()).expect("what was written");
        for stretch in manifest.files.iter_mut().chain(&mut back.files) {
            stretch.unchanged_since = None;
        }
        assert_eq!(back, manifest);
        for wrong in ["", "[]", r#"{"version":2,"files":[]}"#] {
            assert!(Manifest::parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn prints_do_not_depend_on_the_pieces(
            bytes in prop::collection::vec(any::<u8>(), 5000..6000),
            pieces in prop::collection::vec(1..2000_usize, 1..8),
        ) {
            let mut stretch = Stretch::new("a".into(), 0, Timestamp(0));
            let mut at = 0;
            for piece in pieces {
                let piece = &bytes[at..(at + piece).min(bytes.len())];
                stretch.prints.note_read(at as u64, piece);
                at += piece.len();
                for print in [stretch.prints.head, stretch.prints.tail] {
                    let range = print.range();
                    prop_assert!(print.fits(&bytes[range.start as usize..range.end as usize]));
                }
            }
            prop_assert_eq!(stretch.prints.head.range(), 0..(at as u64).min(HEAD_BYTES));
            prop_assert_eq!(stretch.prints.read_to(), at as u64);
        }
    }
}
