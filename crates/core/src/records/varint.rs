//! Zigzag varints: small numbers of either sign in few bytes.
//!
//! Seven bits a byte, least significant first, the top bit set on all but the last. Overlong forms
//! are read, as Kafka reads them; more than 64 bits are not.

use bytes::BufMut;

/// Longest encoding of an `i64`.
const BYTES_MAX: usize = 10;

/// Takes a number from the front of `bytes`, if there is a whole one.
pub(super) fn take(bytes: &mut &[u8]) -> Option<i64> {
    let mut zigzag = 0_u64;
    for (index, &byte) in bytes.iter().take(BYTES_MAX).enumerate() {
        let bits = u64::from(byte & 0x7f);
        let shift = 7 * index;
        if index == BYTES_MAX - 1 && bits > 1 {
            return None;
        }
        zigzag |= bits << shift;
        if byte & 0x80 == 0 {
            *bytes = &bytes[index + 1..];
            return Some((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed());
        }
    }
    None
}

/// Takes a number that fits an `i32`.
pub(super) fn take_i32(bytes: &mut &[u8]) -> Option<i32> {
    take(bytes).and_then(|number| i32::try_from(number).ok())
}

/// Appends a number.
pub(super) fn put(buffer: &mut impl BufMut, number: i64) {
    let mut zigzag = zigzag(number);
    while zigzag >= 0x80 {
        buffer.put_u8((zigzag & 0x7f) as u8 | 0x80);
        zigzag >>= 7;
    }
    buffer.put_u8(zigzag as u8);
}

/// Number of bytes that [`put`] appends.
pub(super) fn length(number: i64) -> usize {
    let bits = 64 - zigzag(number).leading_zeros() as usize;
    bits.div_ceil(7).max(1)
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_kafka_writes_them() {
        check(0, &[0]);
        check(-1, &[1]);
        check(1, &[2]);
        check(63, &[0x7e]);
        check(-64, &[0x7f]);
        check(64, &[0x80, 0x01]);
        check(300, &[0xd8, 0x04]);
        check(i64::from(i32::MAX), &[0xfe, 0xff, 0xff, 0xff, 0x0f]);
        check(i64::MAX, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
        check(i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    }

    #[track_caller]
    fn check(number: i64, bytes: &[u8]) {
        let mut written = Vec::new();
        put(&mut written, number);
        assert_eq!(written, bytes, "{number}");
        assert_eq!(length(number), bytes.len(), "{number}");
        let mut rest = bytes;
        assert_eq!(take(&mut rest), Some(number));
        assert!(rest.is_empty());
    }

    #[test]
    fn what_is_cut_or_too_long_is_no_number() {
        for bytes in [&[][..], &[0x80], &[0xff; 9], &[0xff; 10], &[0xff; 20]] {
            let mut rest = bytes;
            assert_eq!(take(&mut rest), None, "{bytes:?}");
        }
        assert_eq!(take_i32(&mut &[0x80, 0x80, 0x80, 0x80, 0x20][..]), None, "beyond 32 bits");
        assert_eq!(take(&mut &[0x80, 0x00][..]), Some(0), "overlong");
    }
}
