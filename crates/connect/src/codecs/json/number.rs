//! JSON numbers at a position: where they end, and their value as a double or an integer.
//!
//! A value given here is the one `str::parse` gives for the same text, bit for bit; what would take
//! longer than a few instructions to get right is left to `str::parse` itself.
//!
//! Method: eight characters are judged at once. Digits that make a whole number of at most 2^53, over
//! a power of ten of at most 10^22, are one correctly rounded division away from their double
//! (Clinger, "How to read floating point numbers accurately", 1990).

use super::scan::{HIGHS, ONES, Scan, first, word};

/// Digits that fit 64 bits whatever they are.
const DIGITS_SAFE: usize = 19;

/// A power of ten for each number of places that [`DIGITS_SAFE`] digits can have; all exact.
const POWERS: [f64; DIGITS_SAFE] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18,
];

/// Numbers shorter than this and without exponent are within a double.
const LENGTH_SAFE: usize = 300;

/// The high bit of each byte of `word` that is not an ASCII digit, given `word ^ "00000000"`.
#[inline(always)]
fn not_digits(from_zero: u64) -> u64 {
    (((from_zero & !HIGHS) + ONES * 0x76) | from_zero) & HIGHS
}

/// The number whose eight digits are the bytes of `digits`, the first one most significant.
#[inline(always)]
fn eight_digits(digits: u64) -> u64 {
    let pairs = (digits.wrapping_mul(1 + (10 << 8)) >> 8) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs.wrapping_mul(1 + (100 << 16)) >> 16) & 0x0000_FFFF_0000_FFFF;
    fours.wrapping_mul(1 + (10_000 << 32)) >> 32
}

/// How a number is written.
struct Parts {
    end: usize,
    /// All digits but the exponent's as one number; right for up to [`DIGITS_SAFE`] of them.
    mantissa: u64,
    digits: usize,
    places: usize,
    has_point: bool,
    has_exponent: bool,
    is_negative: bool,
}

impl Parts {
    /// Recognises the number at `start`.
    fn at(scan: Scan<'_>, start: usize) -> Option<Self> {
        let is_negative = scan.byte(start) == b'-';
        let mut mantissa = 0_u64;
        let mut digits = |mut at: usize| {
            while let digit @ b'0'..=b'9' = scan.byte(at) {
                mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
                at += 1;
            }
            at
        };
        let whole = start + usize::from(is_negative);
        let mut end = digits(whole);
        let mut count = end - whole;
        if count == 0 || (count > 1 && scan.byte(whole) == b'0') {
            return None;
        }
        let has_point = scan.byte(end) == b'.';
        let mut places = 0;
        if has_point {
            let point = end;
            end = digits(point + 1);
            places = end - point - 1;
            if places == 0 {
                return None;
            }
            count += places;
        }
        let has_exponent = matches!(scan.byte(end), b'e' | b'E');
        if has_exponent {
            let power = end + 1 + usize::from(matches!(scan.byte(end + 1), b'+' | b'-'));
            end = power;
            while scan.byte(end).is_ascii_digit() {
                end += 1;
            }
            if end == power {
                return None;
            }
        }
        Some(Self { end, mantissa, digits: count, places, has_point, has_exponent, is_negative })
    }
}

/// Where the number at `at` ends; none when it is not a JSON number, or beyond a double.
#[inline(always)]
pub(super) fn end(scan: Scan<'_>, at: usize) -> Option<usize> {
    let parts = Parts::at(scan, at)?;
    if parts.has_exponent || parts.digits > LENGTH_SAFE {
        parse(scan, at, parts.end)?;
    }
    Some(parts.end)
}

/// The number at `at` as a double, and where it ends.
#[inline(always)]
pub(super) fn double(scan: Scan<'_>, at: usize) -> Option<(f64, usize)> {
    let text = word(scan.bytes, at);
    let from_zero = text ^ (ONES * u64::from(b'0'));
    let others = not_digits(from_zero);
    let whole = first(others);
    let end = first(others & others.wrapping_sub(1));
    // `12.5,` and the like: digits, a point, digits, all within the word.
    let has_whole = (1..=6).contains(&whole) && (whole == 1 || from_zero.to_le_bytes()[0] != 0);
    if has_whole && end < 8 && end > whole + 1 {
        let point = text.to_le_bytes()[whole];
        let behind = text.to_le_bytes()[end];
        if point == b'.' && !matches!(behind, b'e' | b'E') {
            let before = from_zero & ((1 << (8 * whole)) - 1);
            let after = from_zero >> (8 * (whole + 1)) << (8 * whole);
            let digits = (before | after) << (8 * (9 - end));
            let places = end - whole - 1;
            return Some((eight_digits(digits) as f64 / POWERS[places], at + end));
        }
    }
    long_double(scan, at)
}

#[inline(never)]
fn long_double(scan: Scan<'_>, at: usize) -> Option<(f64, usize)> {
    let parts = Parts::at(scan, at)?;
    let is_exact = !parts.has_exponent && parts.digits <= DIGITS_SAFE && parts.mantissa <= 1 << 53;
    let value = if is_exact {
        let value = parts.mantissa as f64 / POWERS[parts.places];
        if parts.is_negative { -value } else { value }
    } else {
        parse(scan, at, parts.end)?
    };
    Some((value, parts.end))
}

/// The number written at `start..end`; none when it is beyond a double.
#[inline(never)]
fn parse(scan: Scan<'_>, start: usize, end: usize) -> Option<f64> {
    let text = std::str::from_utf8(scan.slice(start, end)).ok()?;
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// The whole number at `at`, written without fraction and exponent, and where it ends.
#[inline(always)]
pub(super) fn integer(scan: Scan<'_>, at: usize) -> Option<(i64, usize)> {
    const FACTORS: [u64; 8] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];
    let high = word(scan.bytes, at) ^ (ONES * u64::from(b'0'));
    if not_digits(high) == 0 && high.to_le_bytes()[0] != 0 {
        let low = word(scan.bytes, at + 8) ^ (ONES * u64::from(b'0'));
        let more = first(not_digits(low));
        if (1..8).contains(&more) {
            let end = at + 8 + more;
            if matches!(scan.byte(end), b'.' | b'e' | b'E') {
                return None;
            }
            let value = eight_digits(high) * FACTORS[more] + eight_digits(low << (8 * (8 - more)));
            return Some((value.cast_signed(), end));
        }
    }
    other_integer(scan, at)
}

#[inline(never)]
fn other_integer(scan: Scan<'_>, at: usize) -> Option<(i64, usize)> {
    let parts = Parts::at(scan, at)?;
    if parts.has_point || parts.has_exponent {
        return None;
    }
    let text = std::str::from_utf8(scan.slice(at, parts.end)).ok()?;
    Some((text.parse().ok()?, parts.end))
}

#[cfg(test)]
mod tests;
