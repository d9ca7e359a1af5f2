//! What the store takes: sizes and characters of names, ids and values, and the range of a prefix.
//!
//! Pure; nothing is stored here.

use serde_json::Value;
use thalweg_core::{Error, Result};

/// Longest name of a kind or a history, in bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// Longest id of a row, in bytes.
pub const ID_BYTES_MAX: usize = 1_024;
/// Largest value of a row or an entry, in bytes of JSON text.
pub const VALUE_BYTES_MAX: usize = 4 << 20;

/// Sorts after every character an id may hold, so it ends the range of the empty prefix.
const LAST: char = char::MAX;

/// Refuses a name of a kind or a history that does not fit.
pub(crate) fn check_name(name: &str) -> Result<()> {
    check_text("name", name, NAME_BYTES_MAX)?;
    if name.is_empty() {
        return Err(Error::invalid("the name of a kind or a history is empty"));
    }
    Ok(())
}

/// Refuses an id, or the prefix of one, that does not fit.
pub(crate) fn check_id(id: &str) -> Result<()> {
    check_text("id", id, ID_BYTES_MAX)
}

fn check_text(what: &str, text: &str, bytes_max: usize) -> Result<()> {
    if text.len() > bytes_max {
        let message = format!("the {what} of a stored row has {} bytes", text.len());
        return Err(Error::invalid(message).with_detail(format!("At most {bytes_max} fit.")));
    }
    // PostgreSQL refuses a zero in text, and the last character ends prefix ranges.
    match text.chars().find(|c| matches!(*c, '\0' | LAST)) {
        Some(c) => Err(Error::invalid(format!("the {what} of a stored row holds {c:?}"))),
        None => Ok(()),
    }
}

/// The JSON text of a value, if it is small enough to be metadata.
pub(crate) fn encode(value: &Value) -> Result<String> {
    let text = value.to_string();
    if text.len() > VALUE_BYTES_MAX {
        let message = format!("a value of {} bytes is too large for the store", text.len());
        return Err(Error::invalid(message)
            .with_detail(format!("At most {VALUE_BYTES_MAX} bytes of JSON fit."))
            .with_hint("Keep what is large in a file and its name in the store."));
    }
    Ok(text)
}

/// The first text, in byte order, behind all texts that begin with `prefix`.
///
/// `prefix` has passed [`check_id`].
pub(crate) fn end_of_prefix(prefix: &str) -> String {
    let mut end = prefix.to_owned();
    let next = match end.pop() {
        None => LAST,
        // The code points between are surrogates and no characters.
        Some('\u{D7FF}') => '\u{E000}',
        Some(c) => char::from_u32(u32::from(c) + 1).unwrap_or(LAST),
    };
    end.push(next);
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_next_text_behind_it() {
        check_end("", "\u{10FFFF}");
        check_end("a", "b");
        check_end("a%", "a&");
        check_end("z\u{7F}", "z\u{80}");
        check_end("\u{D7FF}", "\u{E000}");
        check_end("\u{10FFFE}", "\u{10FFFF}");
    }

    #[track_caller]
    fn check_end(prefix: &str, end: &str) {
        assert_eq!(end_of_prefix(prefix), end);
        assert!(prefix < end);
        assert!(format!("{prefix}\u{10FFFE}").as_str() < end);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(check_name("").is_err());
        assert!(check_name(&"k".repeat(NAME_BYTES_MAX + 1)).is_err());
        assert!(check_id("").is_ok());
        assert!(check_id("a\0b").is_err());
        assert!(check_id("a\u{10FFFF}").is_err());
        assert!(encode(&Value::String("x".repeat(VALUE_BYTES_MAX - 2))).is_ok());
        assert!(encode(&Value::String("x".repeat(VALUE_BYTES_MAX))).is_err());
    }
}
