//! Where a frame ends in a file of text: pure.
//!
//! In a JSON array the position between two frames is the `[`, `,` or `]` in front of the next one,
//! so that whoever begins there knows what must follow. An element that is missing, and whatever
//! stands behind the array, becomes a frame that is no JSON: nothing is passed over silently.

use std::ops::Range;

use memchr::{memchr, memchr3};
use thalweg_core::frame::FRAME_BYTES_MAX;

/// How the bytes of a file are cut into frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A frame a line.
    Lines,
    /// A frame a record of CSV, which ends at `\n`, `\r` or both; a quoted field may hold them.
    Csv {
        /// Byte between fields. Default `,`.
        delimiter: u8,
        /// Byte round a field that may hold anything; doubled it stands for itself. Default `"`.
        quote: u8,
        /// Whether each file begins with a header, which is no frame. Default true.
        header: bool,
    },
    /// The file is one JSON array; a frame an element.
    Array,
    /// The file is one frame.
    Document,
    /// The file is of a format that keeps rows; a frame a row.
    Rows(RowFormat),
}

/// A format of files that keeps rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFormat {
    /// Apache Parquet.
    Parquet,
    /// An Avro object container.
    Avro,
}

impl Framing {
    /// CSV with commas, double quotes and a header.
    pub const CSV: Self = Self::Csv { delimiter: b',', quote: b'"', header: true };

    /// Whether each file begins with a header.
    pub(super) fn has_header(self) -> bool {
        matches!(self, Self::Csv { header: true, .. })
    }

    /// Bytes of what ends a frame that are passed over with it; a `,` of an array is not.
    pub(super) fn end_bytes(self) -> usize {
        usize::from(self != Self::Array)
    }

    /// What is a frame of bytes that are the last of their file, or all of it.
    pub(super) fn last(self, rest: &[u8], is_all: bool) -> Range<usize> {
        match self {
            Self::Lines | Self::Csv { .. } => 0..without_return(rest).len(),
            Self::Document | Self::Rows(_) => trimmed(rest),
            Self::Array => match trimmed(rest) {
                Range { start, end } if !is_all && &rest[start..end] == b"]" => 0..0,
                whole => whole,
            },
        }
    }
}

/// Where the bytes are that are no white space of JSON.
fn trimmed(bytes: &[u8]) -> Range<usize> {
    let is_text = |byte: &u8| !b" \t\r\n".contains(byte);
    let start = bytes.iter().position(is_text).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(is_text).map_or(start, |last| last + 1);
    start..end
}

/// Looks for the end of one frame, in as many pieces as it takes.
///
/// A quote opens a quoted field only where a field begins; elsewhere it is an ordinary byte, as it
/// is for every reader of CSV that follows RFC 4180. A doubled quote closes and opens again.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndFinder {
    framing: Framing,
    is_quoted: bool,
    // A quote at the start of the next piece opens a quoted field.
    opens_next: bool,
    element: Element,
}

/// How far an element of an array has come.
#[derive(Clone, Copy, Debug, Default)]
struct Element {
    // Behind the byte in front of it.
    has_begun: bool,
    // There is no element here; none ends.
    is_none: bool,
    depth: usize,
    is_text: bool,
    is_escaped: bool,
}

impl Element {
    fn find(&mut self, piece: &[u8]) -> Option<usize> {
        for (at, byte) in piece.iter().enumerate() {
            if !self.has_begun {
                (self.has_begun, self.is_none) = (true, !matches!(byte, b'[' | b','));
                continue;
            }
            if self.is_none {
                return None;
            }
            if self.is_text {
                match byte {
                    _ if self.is_escaped => self.is_escaped = false,
                    b'\\' => self.is_escaped = true,
                    b'"' => self.is_text = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b',' | b']' if self.depth == 0 => return Some(at),
                b'"' => self.is_text = true,
                b'[' | b'{' => self.depth += 1,
                b']' | b'}' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
        None
    }
}

impl EndFinder {
    pub(super) fn new(framing: Framing) -> Self {
        Self { framing, is_quoted: false, opens_next: true, element: Element::default() }
    }

    /// Where in `piece` the byte is that ends the frame; `None` when the frame goes on.
    pub(super) fn find(&mut self, piece: &[u8]) -> Option<usize> {
        match self.framing {
            Framing::Lines => memchr(b'\n', piece),
            Framing::Csv { delimiter, quote, .. } => self.find_in_csv(piece, delimiter, quote),
            Framing::Array => self.element.find(piece),
            Framing::Document | Framing::Rows(_) => None,
        }
    }

    fn find_in_csv(&mut self, piece: &[u8], delimiter: u8, quote: u8) -> Option<usize> {
        let mut at = 0;
        let mut closed_at = None;
        loop {
            if self.is_quoted {
                let Some(found) = memchr(quote, &piece[at..]) else {
                    self.opens_next = false;
                    return None;
                };
                at += found + 1;
                self.is_quoted = false;
                closed_at = Some(at);
                continue;
            }
            let Some(found) = memchr3(b'\n', b'\r', quote, &piece[at..]) else {
                if let Some(last) = piece.last() {
                    self.opens_next = *last == delimiter || closed_at == Some(piece.len());
                }
                return None;
            };
            at += found;
            if piece[at] != quote {
                return Some(at);
            }
            self.is_quoted = match at.checked_sub(1) {
                None => self.opens_next,
                Some(before) => piece[before] == delimiter || closed_at == Some(at),
            };
            at += 1;
        }
    }
}

/// What [`scan`] may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScanLimit {
    /// Number of frames.
    pub(super) frames_max: usize,
    /// Bytes of frames; the first frame may be longer.
    pub(super) bytes_max: usize,
    /// Frames begin before this position of the buffer.
    pub(super) begin_before: usize,
}

/// What [`scan`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scanned {
    /// Number of frames.
    pub(super) frames: usize,
    /// Everything before it was a frame or a blank line.
    pub(super) next: usize,
    /// At `next` begins a frame longer than [`FRAME_BYTES_MAX`].
    pub(super) is_next_oversized: bool,
}

/// Cuts `buffer[from..]` into frames, as far as they end in it, and hands over start and length of
/// each, without its line end. Blank lines are no frames.
pub(super) fn scan(
    framing: Framing,
    buffer: &[u8],
    from: usize,
    limit: ScanLimit,
    mut take: impl FnMut(usize, usize),
) -> Scanned {
    let mut scanned = Scanned { next: from, ..Scanned::default() };
    let mut bytes = 0_usize;
    while scanned.frames < limit.frames_max && scanned.next < limit.begin_before {
        let start = scanned.next;
        let Some(length) = EndFinder::new(framing).find(&buffer[start..]) else { break };
        let frame = frame(framing, &buffer[start..=start + length]);
        if frame.len() > FRAME_BYTES_MAX {
            scanned.is_next_oversized = true;
            break;
        }
        if !frame.is_empty() {
            bytes = bytes.saturating_add(frame.len());
            if bytes > limit.bytes_max && scanned.frames > 0 {
                break;
            }
            scanned.frames += 1;
            take(start + frame.start, frame.len());
        }
        scanned.next = start + length + framing.end_bytes();
    }
    scanned
}

/// Where the frame is in `bytes`, which end with the byte that ends it.
fn frame(framing: Framing, bytes: &[u8]) -> Range<usize> {
    let end = bytes.len() - 1;
    if framing != Framing::Array {
        return 0..without_return(&bytes[..end]).len();
    }
    let element = trimmed(&bytes[1..end]);
    match bytes {
        _ if !element.is_empty() => 1 + element.start..1 + element.end,
        // `[]` has no elements; `[,` and `,]` lack one.
        [b'[', .., b']'] => 0..0,
        _ => 0..end,
    }
}

/// What some programs put at the front of a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What stands before the first frame of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Front {
    /// It ends at `start`; `header` is the header without its line end, if the file has one.
    Whole {
        /// Where the header stands.
        header: Option<Range<usize>>,
        /// Where frames begin.
        start: usize,
    },
    /// The header does not end in the buffer.
    Incomplete,
    /// The header is longer than a frame may be.
    Oversized,
}

/// Takes byte order mark and header from the front of a file.
pub(super) fn front(framing: Framing, buffer: &[u8]) -> Front {
    let mark = mark_bytes(buffer);
    let start = match framing {
        Framing::Array => mark + trimmed(&buffer[mark..]).start,
        _ => mark,
    };
    if !framing.has_header() {
        return Front::Whole { header: None, start };
    }
    let one = ScanLimit { frames_max: 1, bytes_max: usize::MAX, begin_before: usize::MAX };
    let mut header = None;
    let scanned = scan(framing, buffer, start, one, |start, length| {
        header = Some(start..start + length);
    });
    match header {
        Some(_) => Front::Whole { header, start: scanned.next },
        None if scanned.is_next_oversized => Front::Oversized,
        None => Front::Incomplete,
    }
}

/// Length of the byte order mark at the front of a file, 0 without one.
pub(super) fn mark_bytes(buffer: &[u8]) -> usize {
    if buffer.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 }
}

/// A line without the carriage return of a line end of two bytes.
pub(super) fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: ScanLimit =
        ScanLimit { frames_max: usize::MAX, bytes_max: usize::MAX, begin_before: usize::MAX };

    #[track_caller]
    fn check(framing: Framing, text: &str, frames: &[&str], rest: &str) {
        let mut found = Vec::new();
        let scanned = scan(framing, text.as_bytes(), 0, ALL, |start, length| {
            found.push(&text[start..start + length]);
        });
        assert_eq!(found, frames);
        assert_eq!(scanned.frames, frames.len());
        assert_eq!(&text[scanned.next..], rest);
    }

    #[test]
    fn lines_end_at_line_ends() {
        check(Framing::Lines, "a\nb\r\n\n\r\nc", &["a", "b"], "c");
        check(Framing::Lines, "\"a\nb\"\n", &["\"a", "b\""], "");
        check(Framing::Lines, "", &[], "");
    }

    #[test]
    fn a_quoted_field_may_hold_line_ends() {
        check(Framing::CSV, "1,\"a\nb\",2\n3\n", &["1,\"a\nb\",2", "3"], "");
        check(Framing::CSV, "\"a\"\"\n\"\"b\"\nc\n", &["\"a\"\"\n\"\"b\"", "c"], "");
        check(Framing::CSV, "\"\"\nb\n", &["\"\"", "b"], "");
        check(Framing::CSV, "1,\"open\n2\n", &[], "1,\"open\n2\n");
        check(Framing::CSV, "a\rb\r\nc\n\rd", &["a", "b", "c"], "d");
        check(Framing::CSV, "\"a\rb\"\rc\r", &["\"a\rb\"", "c"], "");
        // A quote inside an unquoted field is an ordinary byte.
        check(Framing::CSV, "5\" pipe\n2, \"x\n", &["5\" pipe", "2, \"x"], "");
        check(Framing::CSV, "\"a\"b\"c\nd\n", &["\"a\"b\"c", "d"], "");
    }

    #[test]
    fn an_array_is_cut_between_its_elements() {
        let array = Framing::Array;
        check(
            array,
            "[1, {\"a\": [2, \"],\\\"\"]} ,\n[]]\n",
            &["1", "{\"a\": [2, \"],\\\"\"]}", "[]"],
            "]\n",
        );
        check(array, "[ ]", &[], "]");
        check(array, "[1,,2,]", &["1", ",", "2", ","], "]");
        check(array, "[,]", &["[", ","], "]");
        check(array, "[1", &[], "[1");
        check(array, "[1,\"2]", &["1"], ",\"2]");
        check(array, "{\"a\":1}", &[], "{\"a\":1}");
        assert_eq!(array.last(b"]  \n", false), 0..0);
        assert_eq!(array.last(b" ]1 ", false), 1..3);
        assert_eq!(array.last(b"]", true), 0..1);
        assert_eq!(Framing::Document.last(b"\n{}\r\n", true), 1..3);
        assert_eq!(front(array, b"\xef\xbb\xbf \n["), Front::Whole { header: None, start: 5 });
    }

    #[test]
    fn limits_cut_between_frames() {
        let text = b"aa\nbbb\nc\n";
        let limit = |frames_max, bytes_max, begin_before| {
            let limit = ScanLimit { frames_max, bytes_max, begin_before };
            let scanned = scan(Framing::Lines, text, 0, limit, |_, _| {});
            (scanned.frames, scanned.next)
        };
        assert_eq!(limit(2, 99, 99), (2, 7));
        assert_eq!(limit(9, 5, 99), (2, 7));
        assert_eq!(limit(9, 4, 99), (1, 3));
        assert_eq!(limit(9, 1, 99), (1, 3), "one frame comes whole");
        assert_eq!(limit(9, 99, 3), (1, 3));
        assert_eq!(limit(9, 99, 4), (2, 7));
    }

    #[test]
    fn a_file_begins_behind_mark_and_header() {
        let csv = Framing::CSV;
        let whole = |header, start| Front::Whole { header, start };
        assert_eq!(front(csv, b"\xef\xbb\xbf\n\"a\nb\",c\r\n1"), whole(Some(4..11), 12));
        assert_eq!(front(csv, b"a,b"), Front::Incomplete);
        assert_eq!(front(csv, b""), Front::Incomplete);
        assert_eq!(front(Framing::Lines, b"\xef\xbb\xbfa"), whole(None, 3));
        assert_eq!(front(Framing::Lines, b"a\n"), whole(None, 0));
    }

    /// The rules of CSV byte by byte, as they are written down.
    fn ends_plainly(bytes: &[u8]) -> Option<usize> {
        let (mut quoted, mut field_begins, mut quote_closed) = (false, true, false);
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'"' if quoted => (quoted, quote_closed) = (false, true),
                b'"' if field_begins || quote_closed => (quoted, quote_closed) = (true, false),
                b'\n' | b'\r' if !quoted => return Some(at),
                _ => quote_closed = false,
            }
            field_begins = *byte == b',' && !quoted;
        }
        None
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn the_end_is_found_whatever_the_pieces(text in "[a,\"\r\n]{0,24}", piece in 1_usize..9) {
            let bytes = text.as_bytes();
            let mut finder = EndFinder::new(Framing::CSV);
            let mut found = None;
            for (number, part) in bytes.chunks(piece).enumerate() {
                found = finder.find(part).map(|at| number * piece + at);
                if found.is_some() {
                    break;
                }
            }
            prop_assert_eq!(found, ends_plainly(bytes));
        }
    }
}
