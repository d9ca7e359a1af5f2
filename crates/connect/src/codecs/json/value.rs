//! One JSON value into one column.
//!
//! The value is given by its raw text, which the recogniser has found valid. Which JSON forms a
//! type accepts stands in the table of [`crate::codecs`].

use std::borrow::Cow;

use thalweg_core::schema::ColumnType;

use crate::codecs::rows::{ColumnBuffer, Mismatch, SHOWN_MAX, Value};
use crate::codecs::text;

/// Appends the value written as `raw` to the column.
pub(super) fn push(buffer: &mut ColumnBuffer, raw: &[u8]) -> Result<(), Mismatch> {
    let first = raw.first().copied().unwrap_or_default();
    if first == b'n' {
        return buffer.push_null();
    }
    match (buffer.column().kind, first) {
        (ColumnType::Json, _) => buffer.push_bytes(raw),
        (ColumnType::Text, b'"') => buffer.push_bytes(unquote(raw).as_bytes()),
        (_, b'"') => {
            let text = unquote(raw);
            let value = text::parse(buffer.column(), &text)?;
            buffer.push(value)
        }
        (ColumnType::Boolean, b't' | b'f') => buffer.push(Value::Boolean(first == b't')),
        (_, b'-' | b'0'..=b'9') => {
            let number = std::str::from_utf8(raw).map_err(|_| Mismatch::Kind)?;
            let value = text::number(buffer.column(), number)?;
            buffer.push(value)
        }
        _ => Err(Mismatch::Kind),
    }
}

/// The text of a JSON string given with its quotes.
pub(super) fn unquote(raw: &[u8]) -> Cow<'_, str> {
    let inside = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
    if !inside.contains(&b'\\')
        && let Ok(text) = std::str::from_utf8(inside)
    {
        return Cow::Borrowed(text);
    }
    match serde_json::from_slice(raw) {
        Ok(text) => Cow::Owned(text),
        // The recogniser lets no such string pass.
        Err(_) => String::from_utf8_lossy(inside),
    }
}

/// A raw value as a message shows it: containers by their kind, long texts cut.
pub(super) fn shown(raw: &[u8]) -> Cow<'_, str> {
    match raw.first() {
        Some(b'{') => "an object".into(),
        Some(b'[') => "an array".into(),
        _ if raw.len() <= SHOWN_MAX => String::from_utf8_lossy(raw),
        _ => {
            let text = String::from_utf8_lossy(raw);
            let cut = text.floor_char_boundary(SHOWN_MAX);
            format!("{}… ({} bytes)", &text[..cut], raw.len()).into()
        }
    }
}
