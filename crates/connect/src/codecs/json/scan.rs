//! A strict recogniser of JSON: where a value ends, and whether it is valid up to there.
//!
//! It accepts exactly what `serde_json` accepts as a value (nesting up to [`DEPTH_MAX`], numbers
//! within a double, whole surrogate pairs, UTF-8), which the tests hold it to; so a decoder can pass
//! over what it does not want in one go, without building anything. It reads eight bytes at a time;
//! beyond the end of a frame it reads zeros, which no JSON text holds, so nothing runs over the end.
//!
//! Not here: what a value means (`value`), and why a text is not JSON (`refusal` in `walk`).

use super::number;

/// Deepest nesting of arrays and objects, as in `serde_json`.
pub(super) const DEPTH_MAX: usize = 127;

pub(super) const ONES: u64 = 0x0101_0101_0101_0101;
pub(super) const HIGHS: u64 = 0x8080_8080_8080_8080;

/// One frame under the recogniser. Positions are byte offsets; `None` means: not JSON.
#[derive(Clone, Copy)]
pub(super) struct Scan<'a> {
    pub(super) bytes: &'a [u8],
}

/// A string, by where it ends.
#[derive(Clone, Copy)]
pub(super) struct Text {
    /// Behind the closing quote.
    pub(super) end: usize,
    /// Whether it holds a backslash.
    pub(super) is_escaped: bool,
}

/// A key of an object.
#[derive(Clone, Copy)]
pub(super) struct Key {
    /// Behind the opening quote.
    pub(super) start: usize,
    /// At the closing quote.
    pub(super) end: usize,
    pub(super) is_escaped: bool,
    /// Where its value begins.
    pub(super) value: usize,
}

/// Whether `bytes` are one JSON value, with nothing but white space round it.
pub(in crate::codecs) fn is_json(bytes: &[u8]) -> bool {
    let scan = Scan { bytes };
    scan.value(scan.space(0), 0).is_some_and(|end| scan.space(end) == bytes.len())
}

/// The eight bytes from `at`, the first in the lowest place; zeros beyond the end.
#[inline(always)]
pub(super) fn word(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => last_word(bytes, at),
    }
}

#[inline(never)]
fn last_word(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or_default();
    match bytes.last_chunk() {
        _ if rest.is_empty() => 0,
        Some(chunk) => u64::from_le_bytes(*chunk) >> (8 * (8 - rest.len())),
        None => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// The high bit of each byte that is zero; above the first such byte there may be false ones.
#[inline(always)]
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

/// Index of the byte whose high bit is the lowest one set; 8 when none is.
#[inline(always)]
pub(super) fn first(highs: u64) -> usize {
    highs.trailing_zeros() as usize / 8
}

impl<'a> Scan<'a> {
    /// The byte at `at`; zero beyond the end.
    #[inline(always)]
    pub(super) fn byte(self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or_default()
    }

    /// The bytes of a value that was recognised.
    #[inline]
    pub(super) fn slice(self, start: usize, end: usize) -> &'a [u8] {
        &self.bytes[start..end]
    }

    /// Skips white space.
    #[inline(always)]
    pub(super) fn space(self, mut at: usize) -> usize {
        while matches!(self.byte(at), b' ' | b'\t' | b'\n' | b'\r') {
            at += 1;
        }
        at
    }

    /// Recognises the string whose opening quote stands at `at`.
    #[inline(always)]
    pub(super) fn string(self, at: usize) -> Option<Text> {
        if self.byte(at) != b'"' {
            return None;
        }
        let mut at_word = at + 1;
        loop {
            let word = word(self.bytes, at_word);
            let quotes = zeros(word ^ (ONES * u64::from(b'"')));
            let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
            let odd = zeros(word ^ (ONES * u64::from(b'\\'))) | controls | (word & HIGHS);
            if first(odd) < first(quotes) {
                return self.odd_string(at);
            }
            if quotes != 0 {
                return Some(Text { end: at_word + first(quotes) + 1, is_escaped: false });
            }
            at_word += 8;
        }
    }

    /// Recognises a string that holds escapes or more than ASCII, or is broken.
    #[inline(never)]
    fn odd_string(self, at: usize) -> Option<Text> {
        let start = at + 1;
        let mut at = start;
        let mut is_escaped = false;
        loop {
            at += memchr::memchr2(b'"', b'\\', self.bytes.get(at..)?)?;
            if self.byte(at) == b'"' {
                break;
            }
            is_escaped = true;
            at = self.escape(at)?;
        }
        let text = self.slice(start, at);
        let is_valid = !text.iter().any(|byte| *byte < 0x20) && std::str::from_utf8(text).is_ok();
        is_valid.then_some(Text { end: at + 1, is_escaped })
    }

    /// Recognises the escape whose backslash stands at `at`.
    fn escape(self, at: usize) -> Option<usize> {
        match self.byte(at + 1) {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 2),
            b'u' => match self.hex(at + 2)? {
                0xDC00..=0xDFFF => None,
                0xD800..=0xDBFF => {
                    let is_pair = self.byte(at + 6) == b'\\'
                        && self.byte(at + 7) == b'u'
                        && matches!(self.hex(at + 8)?, 0xDC00..=0xDFFF);
                    is_pair.then_some(at + 12)
                }
                _ => Some(at + 6),
            },
            _ => None,
        }
    }

    fn hex(self, at: usize) -> Option<u32> {
        let digits = self.bytes.get(at..at + 4)?;
        digits
            .iter()
            .try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
    }

    /// Recognises `"key":` from its opening quote up to the value.
    #[inline(always)]
    pub(super) fn key(self, at: usize) -> Option<Key> {
        let Text { end, is_escaped } = self.string(at)?;
        let colon = self.space(end);
        if self.byte(colon) != b':' {
            return None;
        }
        Some(Key { start: at + 1, end: end - 1, is_escaped, value: self.space(colon + 1) })
    }

    /// Recognises the value at `at`, which stands inside `depth` arrays and objects.
    #[inline(always)]
    pub(super) fn value(self, at: usize, depth: usize) -> Option<usize> {
        match self.byte(at) {
            b'"' => self.string(at).map(|text| text.end),
            b'-' | b'0'..=b'9' => number::end(self, at),
            b'{' | b'[' => self.nested(at, depth),
            _ => self.literal(at),
        }
    }

    #[inline(always)]
    fn literal(self, at: usize) -> Option<usize> {
        let rest = self.bytes.get(at..)?;
        if rest.starts_with(b"null") || rest.starts_with(b"true") {
            Some(at + 4)
        } else if rest.starts_with(b"false") {
            Some(at + 5)
        } else {
            None
        }
    }

    /// Recognises an array or object with all it holds, without recursion: one bit a level says
    /// whether it is an object.
    #[inline(never)]
    fn nested(self, mut at: usize, depth: usize) -> Option<usize> {
        let mut kinds = 0_u128;
        let mut open = 0;
        loop {
            // A value begins at `at`.
            let first = self.byte(at);
            if matches!(first, b'{' | b'[') {
                if depth + open == DEPTH_MAX {
                    return None;
                }
                open += 1;
                kinds = kinds << 1 | u128::from(first == b'{');
                let inside = self.space(at + 1);
                match (first, self.byte(inside)) {
                    (b'{', b'}') | (b'[', b']') => {
                        open -= 1;
                        kinds >>= 1;
                        at = inside + 1;
                    }
                    (b'{', _) => {
                        at = self.key(inside)?.value;
                        continue;
                    }
                    _ => {
                        at = inside;
                        continue;
                    }
                }
            } else {
                at = self.value_without_nesting(at)?;
            }
            // A value ended before `at`.
            loop {
                if open == 0 {
                    return Some(at);
                }
                at = self.space(at);
                match (self.byte(at), kinds & 1 == 1) {
                    (b',', true) => {
                        at = self.key(self.space(at + 1))?.value;
                        break;
                    }
                    (b',', false) => {
                        at = self.space(at + 1);
                        break;
                    }
                    (b'}', true) | (b']', false) => {
                        open -= 1;
                        kinds >>= 1;
                        at += 1;
                    }
                    _ => return None,
                }
            }
        }
    }

    #[inline(always)]
    fn value_without_nesting(self, at: usize) -> Option<usize> {
        match self.byte(at) {
            b'"' => self.string(at).map(|text| text.end),
            b'-' | b'0'..=b'9' => number::end(self, at),
            _ => self.literal(at),
        }
    }
}

#[cfg(test)]
mod tests;
