//! From the bytes of a file to its text in UTF-8: decompression and other encodings, pure.
//!
//! gzip (of several members, too) and Zstandard are known by their first bytes, whatever the name
//! of the file. UTF-16 is known by its byte order mark, which counts for more than what is set; any
//! other encoding has to be set. A byte order mark of UTF-8 stays in the text, as it does in a file that is not packed.
//!
//! Bytes that mean nothing in the encoding become the byte `0xFF`, which is never part of UTF-8: the
//! frame that holds it is refused by its decoder, and the others are read.
//!
//! # Bounds (S30)
//!
//! Output is made in steps of [`STEP_BYTES`], however much the input would unpack to, so a small
//! file that unpacks to terabytes costs time and no memory. The window of Zstandard is at most
//! 128 MiB, which is what its own program allows.

use std::io::{self, BufRead, Read};

use bytes::{Buf, Bytes, BytesMut};
use encoding_rs::{DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};
use flate2::bufread::MultiGzDecoder;

/// Bytes of text made at a time.
const STEP_BYTES: usize = 64 << 10;
/// Binary logarithm of the greatest window of Zstandard.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// Stands for what is no text.
const NO_TEXT: u8 = 0xff;

/// What the first bytes of a file tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signature {
    /// Its bytes are its text, as far as they tell.
    Plain,
    /// [`Unpacker`] makes text of them.
    Packed,
    /// No text can be made of it: it is this instead.
    Foreign(&'static str),
    /// More bytes could make it something else.
    TooShort,
}

const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
const MARK_16LE: &[u8] = b"\xff\xfe";
const MARK_16BE: &[u8] = b"\xfe\xff";
const MARK_8: &[u8] = b"\xef\xbb\xbf";

/// What cannot be text in any encoding that is read, by its first bytes.
const FOREIGN: [(&[u8], &str); 6] = [
    (b"BZh", "a bzip2 file, which is not read; gzip and Zstandard are"),
    (b"\xfd7zXZ\0", "an xz file, which is not read; gzip and Zstandard are"),
    (b"PK\x03\x04", "a zip archive or a spreadsheet, which is not read"),
    (b"PAR1", "a Parquet file; is `format.parquet` meant?"),
    (b"Obj\x01", "an Avro file; is `format.avro` meant?"),
    (b"ORC", "an ORC file, which is not read"),
];

/// Judges a file by its first bytes, eight of which are enough.
pub(super) fn signature(front: &[u8]) -> Signature {
    let packed = [GZIP, ZSTD, MARK_16LE, MARK_16BE];
    if packed.iter().any(|magic| front.starts_with(magic)) {
        return Signature::Packed;
    }
    if let Some((_, what)) = FOREIGN.iter().find(|(magic, _)| front.starts_with(magic)) {
        return Signature::Foreign(what);
    }
    // Text may begin with one letter of a magic, and will soon have more of them.
    let could_be = |magic: &&[u8]| front.len() < magic.len() && magic.starts_with(front);
    let is_open = packed.iter().any(could_be) || FOREIGN.iter().any(|(magic, _)| could_be(magic));
    if is_open { Signature::TooShort } else { Signature::Plain }
}

/// How far unpacking has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Text was made; there may be more.
    Made,
    /// It wants more bytes of the file.
    Hungry,
    /// There is nothing more: the file ends where it should.
    Ended,
    /// There is nothing more: the file ends too early.
    CutOff,
    /// There is nothing more: it is damaged, and how.
    Damaged(String),
}

/// Makes text of the bytes of one file, from its first one on.
pub(super) struct Unpacker {
    layers: Layers,
    text: Text,
    scratch: Vec<u8>,
}

/// The input as far as it is there.
#[derive(Default)]
struct Feed {
    bytes: Bytes,
    has_ended: bool,
}

impl Read for Feed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Feed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.bytes.is_empty() && !self.has_ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(&self.bytes)
    }

    fn consume(&mut self, length: usize) {
        self.bytes.advance(length);
    }
}

/// What undoes the compression.
enum Layers {
    Stored(Feed),
    Gzip(Box<MultiGzDecoder<Feed>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, Feed>>),
}

impl Layers {
    fn feed(&mut self) -> &mut Feed {
        match self {
            Self::Stored(feed) => feed,
            Self::Gzip(gzip) => gzip.get_mut(),
            Self::Zstd(zstd) => zstd.get_mut(),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stored(feed) => feed.read(buffer),
            Self::Gzip(gzip) => gzip.read(buffer),
            Self::Zstd(zstd) => zstd.read(buffer),
        }
    }
}

/// What undoes the encoding.
enum Text {
    /// Not known before the first bytes are there; the encoding that was set, and those bytes.
    Undecided(Option<&'static Encoding>, Vec<u8>),
    Utf8,
    Decoder(Box<encoding_rs::Decoder>),
}

impl Unpacker {
    /// For a file that begins with `front`, in `encoding` unless it says otherwise.
    ///
    /// # Errors
    ///
    /// None that bytes could cause.
    pub(super) fn new(front: &[u8], encoding: Option<&'static Encoding>) -> io::Result<Self> {
        let layers = if front.starts_with(GZIP) {
            Layers::Gzip(Box::new(MultiGzDecoder::new(Feed::default())))
        } else if front.starts_with(ZSTD) {
            let mut zstd = zstd::stream::read::Decoder::with_buffer(Feed::default())?;
            zstd.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Layers::Zstd(Box::new(zstd))
        } else {
            Layers::Stored(Feed::default())
        };
        let text = Text::Undecided(encoding, Vec::new());
        Ok(Self { layers, text, scratch: vec![0; STEP_BYTES] })
    }

    /// Gives it the next bytes of the file; no bytes say that there are no more.
    pub(super) fn feed(&mut self, bytes: Bytes) {
        let feed = self.layers.feed();
        feed.has_ended = bytes.is_empty();
        feed.bytes = bytes;
    }

    /// Appends some text to `out`.
    pub(super) fn unpack(&mut self, out: &mut BytesMut) -> Progress {
        let read = match self.layers.read(&mut self.scratch) {
            Ok(read) => read,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::WouldBlock => Progress::Hungry,
                    io::ErrorKind::UnexpectedEof => Progress::CutOff,
                    _ => Progress::Damaged(error.to_string()),
                };
            }
        };
        self.decode(read, out);
        if read == 0 { Progress::Ended } else { Progress::Made }
    }

    /// Appends the first `length` bytes of the scratch as text.
    fn decode(&mut self, length: usize, out: &mut BytesMut) {
        let (bytes, is_last) = (&self.scratch[..length], length == 0);
        if let Text::Undecided(set, front) = &mut self.text {
            front.extend_from_slice(bytes);
            if front.len() < MARK_8.len() && !is_last {
                return;
            }
            let encoding = match &front[..] {
                front if front.starts_with(MARK_16LE) => UTF_16LE,
                front if front.starts_with(MARK_16BE) => UTF_16BE,
                front if front.starts_with(MARK_8) => UTF_8,
                _ => set.unwrap_or(UTF_8),
            };
            let front = std::mem::take(front);
            self.text = match encoding == UTF_8 {
                true => Text::Utf8,
                false => Text::Decoder(Box::new(encoding.new_decoder_with_bom_removal())),
            };
            return append(&mut self.text, &front, is_last, out);
        }
        append(&mut self.text, bytes, is_last, out);
    }
}

/// Appends bytes as text.
fn append(text: &mut Text, mut bytes: &[u8], is_last: bool, out: &mut BytesMut) {
    let Text::Decoder(decoder) = text else { return out.extend_from_slice(bytes) };
    let mut made = [0; 4096];
    loop {
        let (result, read, written) =
            decoder.decode_to_utf8_without_replacement(bytes, &mut made, is_last);
        bytes = &bytes[read..];
        out.extend_from_slice(&made[..written]);
        match result {
            DecoderResult::InputEmpty => return,
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(..) => out.extend_from_slice(&[NO_TEXT]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use encoding_rs::WINDOWS_1252;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).expect("memory");
        encoder.finish().expect("memory")
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        zstd::encode_all(text, 1).expect("memory")
    }

    fn utf16(text: &str, mark: bool) -> Vec<u8> {
        let mark = if mark { "\u{feff}" } else { "" };
        [mark, text].concat().encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    /// Everything of `bytes`, given in pieces, and how it ended.
    fn all(bytes: &[u8], set: Option<&'static Encoding>, piece: usize) -> (Vec<u8>, Progress) {
        let mut unpacker = Unpacker::new(bytes, set).expect("an unpacker");
        let mut out = BytesMut::new();
        let mut pieces = bytes.chunks(piece.max(1));
        loop {
            match unpacker.unpack(&mut out) {
                Progress::Made => {}
                Progress::Hungry => {
                    unpacker.feed(Bytes::copy_from_slice(pieces.next().unwrap_or_default()));
                }
                end => return (out.to_vec(), end),
            }
        }
    }

    #[test]
    fn files_are_known_by_their_first_bytes() {
        let check = |front: &[u8], expected| assert_eq!(signature(front), expected, "{front:?}");
        check(&gzip(b"a"), Signature::Packed);
        check(&zstd(b"a"), Signature::Packed);
        check(&utf16("a", true), Signature::Packed);
        check(b"id,name", Signature::Plain);
        check("\u{feff}id".as_bytes(), Signature::Plain);
        check(b"", Signature::TooShort);
        check(b"P", Signature::TooShort);
        check(b"Pa", Signature::Plain);
        check(b"BZh91AY", Signature::Foreign(FOREIGN[0].1));
    }

    #[test]
    fn what_is_cut_off_or_damaged_gives_its_front_and_says_so() {
        let text = (0..50_000).map(|number| format!("{number}\n")).collect::<String>();
        for packed in [gzip(text.as_bytes()), zstd(text.as_bytes())] {
            let (front, end) = all(&packed[..packed.len() - 9], None, 1000);
            assert!(text.as_bytes().starts_with(&front) && !front.is_empty());
            assert_eq!(end, Progress::CutOff);
        }
        let mut damaged = gzip(text.as_bytes());
        let middle = damaged.len() / 2;
        damaged[middle..middle + 20].fill(0xaa);
        let (_, end) = all(&damaged, None, 1000);
        assert!(matches!(end, Progress::Damaged(_) | Progress::CutOff), "{end:?}");
        // The sum at the end of a member is held against it.
        let mut wrong = gzip(b"hello\n");
        let at = wrong.len() - 8;
        wrong[at] ^= 1;
        assert!(matches!(all(&wrong, None, 3), (text, Progress::Damaged(_)) if text == b"hello\n"));
        assert_eq!(all(&gzip(b"")[..5], None, 2).1, Progress::CutOff);
    }

    #[test]
    fn a_bomb_comes_in_steps() {
        let packed = gzip(&vec![0; 64 << 20]);
        assert!(packed.len() < 1_000_000);
        let mut unpacker = Unpacker::new(&packed, None).expect("an unpacker");
        unpacker.feed(packed.into());
        let mut out = BytesMut::new();
        assert_eq!(unpacker.unpack(&mut out), Progress::Made);
        assert!(out.len() <= STEP_BYTES);
    }

    #[test]
    fn bytes_that_are_no_text_stay_visible() {
        let latin = all(b"caf\xe9\n", Some(WINDOWS_1252), 2);
        assert_eq!(latin, ("café\n".as_bytes().to_vec(), Progress::Ended));
        let mut halves = utf16("a", true);
        halves.extend_from_slice(&0xd800_u16.to_le_bytes());
        halves.extend(utf16("\nb", false));
        halves.push(b'x');
        assert_eq!(all(&halves, None, 3).0, b"a\xff\nb\xff");
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(text in "[a-zé😀\n]{0,200}", piece in 1..40_usize, members in 1..4_usize) {
            let bytes = text.as_bytes();
            let expected = (bytes.repeat(members), Progress::Ended);
            prop_assert_eq!(all(&gzip(bytes).repeat(members), None, piece), expected.clone());
            prop_assert_eq!(all(&zstd(bytes).repeat(members), None, piece), expected);
            let expected = (bytes.to_vec(), Progress::Ended);
            prop_assert_eq!(all(&utf16(&text, true), None, piece), expected.clone());
            prop_assert_eq!(all(&gzip(&utf16(&text, true)), None, piece), expected.clone());
            prop_assert_eq!(all(&utf16(&text, false), Some(UTF_16LE), piece), expected);
        }
    }
}
