//! Just enough of Thrift's compact protocol to tell whether what Parquet stores in it can be true.
//!
//! A length that a list or text names is believed only when that many bytes are there; readers
//! behind this one may then allocate by it. The protocol is that of Thrift's
//! `thrift-compact-protocol.md`.

/// Depth of structures that are followed.
const DEPTH_MAX: u32 = 64;

/// What is wrong with an encoded structure.
pub(super) type Fault = &'static str;

/// Integers of a structure, and of structures in it, by the numbers of their fields.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Integers {
    found: Vec<(Vec<i16>, i64)>,
    /// Length of the structure in bytes.
    pub(super) length: usize,
}

impl Integers {
    /// The integer behind these field numbers.
    pub(super) fn get(&self, path: &[i16]) -> Option<i64> {
        self.found.iter().find(|(at, _)| at == path).map(|(_, value)| *value)
    }
}

/// Walks over the structure that `bytes` begin with.
///
/// # Errors
///
/// When a length is longer than what is there, or the structure does not end.
pub(super) fn walk(bytes: &[u8]) -> Result<Integers, Fault> {
    let mut walker = Walker { bytes, path: Vec::new(), integers: Integers::default() };
    walker.structure(0)?;
    walker.integers.length = bytes.len() - walker.bytes.len();
    Ok(walker.integers)
}

struct Walker<'a> {
    bytes: &'a [u8],
    path: Vec<i16>,
    integers: Integers,
}

impl Walker<'_> {
    fn byte(&mut self) -> Result<u8, Fault> {
        let (first, rest) = self.bytes.split_first().ok_or("it ends too early")?;
        self.bytes = rest;
        Ok(*first)
    }

    fn skip(&mut self, length: u64) -> Result<(), Fault> {
        let rest = usize::try_from(length).ok().and_then(|length| self.bytes.get(length..));
        self.bytes = rest.ok_or("a length in it is longer than the rest")?;
        Ok(())
    }

    fn varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number in it does not end")
    }

    fn zigzag(&mut self) -> Result<i64, Fault> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    fn structure(&mut self, depth: u32) -> Result<(), Fault> {
        if depth > DEPTH_MAX {
            return Err("it is nested too deeply");
        }
        let mut field = 0_i16;
        loop {
            let head = self.byte()?;
            let kind = head & 0x0f;
            if kind == 0 {
                return Ok(());
            }
            field = match head >> 4 {
                0 => i16::try_from(self.zigzag()?).map_err(|_| "a field number is out of range")?,
                delta => {
                    field.checked_add(i16::from(delta)).ok_or("a field number is too large")?
                }
            };
            self.path.push(field);
            self.value(kind, true, depth)?;
            self.path.pop();
        }
    }

    fn value(&mut self, kind: u8, is_field: bool, depth: u32) -> Result<(), Fault> {
        match kind {
            // A boolean field is its own value; one in a list has a byte.
            1 | 2 => {
                if is_field {
                    Ok(())
                } else {
                    self.skip(1)
                }
            }
            3 => self.skip(1),
            4..=6 => {
                let value = self.zigzag()?;
                if is_field {
                    self.integers.found.push((self.path.clone(), value));
                }
                Ok(())
            }
            7 => self.skip(8),
            8 => {
                let length = self.varint()?;
                self.skip(length)
            }
            9 | 10 => {
                let head = self.byte()?;
                let length = match head >> 4 {
                    15 => self.varint()?,
                    short => u64::from(short),
                };
                self.repeat(length, &[head & 0x0f], depth)
            }
            11 => match self.varint()? {
                0 => Ok(()),
                length => {
                    let kinds = self.byte()?;
                    self.repeat(length, &[kinds >> 4, kinds & 0x0f], depth)
                }
            },
            12 => {
                // Numbers in structures of lists have no place of their own.
                let kept = (!is_field).then_some(self.integers.found.len());
                self.structure(depth + 1)?;
                if let Some(length) = kept {
                    self.integers.found.truncate(length);
                }
                Ok(())
            }
            _ => Err("it holds a type that is none"),
        }
    }

    fn repeat(&mut self, length: u64, kinds: &[u8], depth: u32) -> Result<(), Fault> {
        // Each item has a byte at least.
        if length > self.bytes.len() as u64 {
            return Err("a list in it is longer than the rest");
        }
        for _ in 0..length {
            for kind in kinds {
                self.value(*kind, false, depth)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_found_by_their_fields() {
        // 1: i32 = 0, 2: i32 = 100, 5: struct { 1: i32 = 7 }, then the stop.
        let bytes = [0x15, 0x00, 0x15, 0xc8, 0x01, 0x3c, 0x15, 0x0e, 0x00, 0x00];
        let found = walk(&bytes).expect("a structure");
        assert_eq!(found.get(&[2]), Some(100));
        assert_eq!(found.get(&[5, 1]), Some(7));
        assert_eq!((found.get(&[3]), found.length), (None, bytes.len()));
        for cut in 0..bytes.len() {
            assert!(walk(&bytes[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn lengths_are_not_believed() {
        // A text of 2^31 bytes, and a list of 2^31 structures.
        assert!(walk(&[0x18, 0x80, 0x80, 0x80, 0x80, 0x08, b'a', 0]).is_err());
        assert!(walk(&[0x19, 0xfc, 0x80, 0x80, 0x80, 0x80, 0x08, 0, 0]).is_err());
        assert!(walk(&[0x1c; 200]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = walk(&bytes);
        }
    }
}
