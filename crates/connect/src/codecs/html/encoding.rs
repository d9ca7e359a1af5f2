//! The text of a page's bytes: by its byte order mark, by what is configured, by what the page says
//! of itself, else UTF-8. Nothing is replaced: bytes that are no text of the encoding refuse the page.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use thalweg_core::{Error, Result};

/// How far into a page its encoding is looked for, as browsers do.
const SNIFFED_BYTES: usize = 1024;

/// An encoding by its label.
///
/// # Errors
///
/// `Invalid` when there is none of that label.
pub(super) fn by_label(label: &str) -> Result<&'static Encoding> {
    Encoding::for_label(label.as_bytes()).ok_or_else(|| {
        Error::invalid(format!("`{label}` is no encoding"))
            .with_hint("Labels are those of the web, such as `utf-8` or `windows-1252`.")
    })
}

/// The page as text, or why it is none.
pub(super) fn text<'b>(
    bytes: &'b [u8],
    configured: Option<&'static Encoding>,
) -> Result<Cow<'b, str>, String> {
    let (encoding, bytes) = match Encoding::for_bom(bytes) {
        Some((encoding, mark)) => (encoding, &bytes[mark..]),
        None => (configured.or_else(|| sniffed(bytes)).unwrap_or(UTF_8), bytes),
    };
    encoding.decode_without_bom_handling_and_without_replacement(bytes).ok_or_else(|| {
        format!("not {}; `encoding` says what a page is written in", encoding.name())
    })
}

/// What the page says of itself: `<meta charset=…>`, or `content="text/html; charset=…"`.
fn sniffed(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = &bytes[..bytes.len().min(SNIFFED_BYTES)];
    let head = head.to_ascii_lowercase();
    let at = memchr::memmem::find(&head, b"charset")?;
    let rest = head[at + b"charset".len()..].trim_ascii_start().strip_prefix(b"=")?;
    let rest = rest.trim_ascii_start();
    let rest = rest.strip_prefix(b"\"").or_else(|| rest.strip_prefix(b"'")).unwrap_or(rest);
    let ends = |byte: &u8| !byte.is_ascii_alphanumeric() && !matches!(byte, b'-' | b'_' | b':');
    let end = rest.iter().position(ends).unwrap_or(rest.len());
    let encoding = Encoding::for_label(&rest[..end])?;
    // It was read as ASCII, so it is not what it says.
    Some(if encoding == UTF_16LE || encoding == UTF_16BE { UTF_8 } else { encoding })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_what_it_is_written_in() {
        let page = b"<META http-equiv=x content='text/html; Charset = iso-8859-1'>\xa35";
        assert!(text(page, None).unwrap().ends_with("£5"));
        assert!(text(b"<meta charset=\"utf-16\">\xc2\xa35", None).unwrap().ends_with("£5"));
        assert_eq!(text(b"\xff\xfe<\0p\0", None).unwrap(), "<p");
        assert_eq!(text(b"\xef\xbb\xbfx", Some(encoding_rs::WINDOWS_1252)).unwrap(), "x");
        assert_eq!(text(b"\x80", Some(encoding_rs::WINDOWS_1252)).unwrap(), "€");
        assert!(text(b"\x80", None).unwrap_err().starts_with("not UTF-8"));
        assert!(by_label("klingon").is_err());
    }
}
