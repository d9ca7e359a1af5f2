//! A walk over the bytes of a value: whether they are one of its schema, and what it comes to.
//!
//! Nothing is allocated. After it a decoder finds every length it reads within the bytes, and the
//! number of values within what was counted here.

use super::schema::{Kind, Schema};

/// A value, or what is wrong with it and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// The fields on the way to it, the outermost first.
    path: Vec<String>,
    what: String,
}

impl Wrong {
    /// `price: cut off`.
    pub(super) fn told(&self) -> String {
        if self.path.is_empty() {
            self.what.clone()
        } else {
            format!("{}: {}", self.path.join("."), self.what)
        }
    }

    fn within(mut self, name: &str) -> Self {
        self.path.insert(0, name.to_owned());
        self
    }
}

fn wrong<T>(what: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { path: Vec::new(), what: what.into() })
}

/// The bytes that the value at the front of `bytes` comes to in columns, at most, and those behind
/// it; more than `most` are refused.
pub(super) fn walk<'a>(
    schema: &Schema,
    bytes: &'a [u8],
    most: u64,
) -> Result<(u64, &'a [u8]), Wrong> {
    let mut walk = Walk { rest: bytes, size: schema.width + bytes.len() as u64, most };
    walk.grow(0)?;
    walk.value(schema)?;
    Ok((walk.size, walk.rest))
}

struct Walk<'a> {
    rest: &'a [u8],
    size: u64,
    most: u64,
}

impl<'a> Walk<'a> {
    fn value(&mut self, schema: &Schema) -> Result<(), Wrong> {
        match &schema.kind {
            Kind::Null => {}
            Kind::Boolean => {
                let byte = self.take(1)?[0];
                if byte > 1 {
                    return wrong(format!("expected true or false, found the byte {byte}"));
                }
            }
            Kind::Int => {
                let number = self.long()?;
                if i32::try_from(number).is_err() {
                    return wrong(format!("{number} is no number of 32 bits"));
                }
            }
            Kind::Long => {
                self.long()?;
            }
            Kind::Float => {
                self.take(4)?;
            }
            Kind::Double => {
                self.take(8)?;
            }
            Kind::Fixed(size) => {
                self.take(*size)?;
            }
            Kind::Bytes => {
                self.bytes()?;
            }
            Kind::Text => self.text()?,
            Kind::Enum(symbols) => {
                self.choice(*symbols, "symbol")?;
            }
            Kind::Union(branches) => {
                let branch = self.choice(branches.len(), "branch")?;
                self.value(&branches[branch])?;
            }
            Kind::Record(fields) => {
                for (name, field) in fields {
                    self.value(field).map_err(|wrong| wrong.within(name))?;
                }
            }
            Kind::Array(items) => self.items(items, false)?,
            Kind::Map(values) => self.items(values, true)?,
        }
        Ok(())
    }

    /// The blocks of a list, or of a map, whose items have keys.
    fn items(&mut self, schema: &Schema, have_keys: bool) -> Result<(), Wrong> {
        loop {
            let count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            // Its length in bytes, which nobody here needs.
            if count < 0 && self.long()? < 0 {
                return wrong("a block has a negative length");
            }
            // Each takes a byte at least, so the bytes end before the count does.
            for _ in 0..count.unsigned_abs() {
                self.grow(schema.width)?;
                if have_keys {
                    self.text()?;
                }
                self.value(schema)?;
            }
        }
    }

    fn grow(&mut self, by: u64) -> Result<(), Wrong> {
        self.size = self.size.saturating_add(by);
        if self.size > self.most {
            return wrong(format!("it comes to more than {} bytes", self.most));
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Wrong> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return wrong("cut off");
        };
        self.rest = rest;
        Ok(taken)
    }

    fn long(&mut self) -> Result<i64, Wrong> {
        let is_cut_off = self.rest.len() < 10;
        match varint(&mut self.rest) {
            Some(number) => Ok(number),
            None if is_cut_off => wrong("cut off"),
            None => wrong("a number that does not end"),
        }
    }

    fn bytes(&mut self) -> Result<&'a [u8], Wrong> {
        let length = self.long()?;
        match usize::try_from(length) {
            Ok(length) => self.take(length),
            Err(_) => wrong("a negative length"),
        }
    }

    fn text(&mut self) -> Result<(), Wrong> {
        match std::str::from_utf8(self.bytes()?) {
            Ok(_) => Ok(()),
            Err(_) => wrong("bytes that are not UTF-8"),
        }
    }

    /// Which of `count` it is.
    fn choice(&mut self, count: usize, noun: &str) -> Result<usize, Wrong> {
        let number = self.long()?;
        match usize::try_from(number).ok().filter(|choice| *choice < count) {
            Some(choice) => Ok(choice),
            None => wrong(format!("there is no {noun} {number}")),
        }
    }
}

/// A zigzag number; none when it does not end.
pub(crate) fn varint(rest: &mut &[u8]) -> Option<i64> {
    let value = raw_varint(rest)?;
    Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
}

/// A number of seven bits a byte; none when it does not end.
pub(crate) fn raw_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        if shift == 63 && *byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
