//! A guard before the parser: how much work a page's nesting can make.
//!
//! A parser of HTML looks through all open elements at each tag, and opens every unclosed formatting
//! element again in each block, as the standard wants it: a page of some megabytes, made for it,
//! takes hours and all memory. Browsers cut such pages; here they are refused (S30).

use std::collections::HashMap;

/// Deepest nesting of elements that do not close themselves; browsers cut at 512.
const DEPTH_MAX: usize = 1_000;
/// Most elements that may have to be opened again.
const REOPENED_MAX: usize = 2_000_000;

/// Elements whose text is no markup.
const RAW: [&str; 4] = ["script", "style", "textarea", "title"];
/// Elements with rules of their own, in which those are elements like others.
const FOREIGN: [&str; 2] = ["svg", "math"];
/// Elements without an end.
const VOID: [&str; 14] = [
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source",
    "track", "wbr",
];
/// Elements that the next of their kind, or their parent's end, closes.
const SELF_CLOSING: [&str; 18] = [
    "body", "colgroup", "dd", "dt", "head", "html", "li", "optgroup", "option", "p", "rp", "rt",
    "tbody", "td", "tfoot", "th", "thead", "tr",
];
/// Elements that are opened again in each block while they are not closed.
const FORMATTING: [&str; 14] = [
    "a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u",
];

/// Whether a page can be parsed in time and memory that grow with its length.
pub(super) fn is_parseable(page: &str) -> bool {
    let mut open = Open::default();
    let mut reopened = 0_usize;
    let mut rest = page;
    while let Some(at) = memchr::memchr(b'<', rest.as_bytes()) {
        rest = &rest[at + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = comment.find("-->").map_or("", |end| &comment[end + 3..]);
            continue;
        }
        let (is_end, tag) = rest.strip_prefix('/').map_or((false, rest), |tag| (true, tag));
        let length = tag.bytes().take_while(u8::is_ascii_alphanumeric).take(16).count();
        let name = tag[..length].to_ascii_lowercase();
        if name.is_empty() || VOID.contains(&name.as_str()) {
            continue;
        }
        if is_end {
            open.end(&name);
        } else if RAW.contains(&name.as_str()) && FOREIGN.iter().all(|name| open.of(name) == 0) {
            rest = behind_end_of(&name, tag);
        } else {
            reopened += open.formatting;
            open.begin(name);
        }
        if open.nesting > DEPTH_MAX || reopened > REOPENED_MAX {
            return false;
        }
    }
    true
}

/// Elements that are open, as many as may be: an end closes one of its own name only.
#[derive(Default)]
struct Open {
    by_name: HashMap<String, usize>,
    nesting: usize,
    formatting: usize,
}

impl Open {
    fn of(&self, name: &str) -> usize {
        self.by_name.get(name).copied().unwrap_or_default()
    }

    fn begin(&mut self, name: String) {
        self.nesting += usize::from(!SELF_CLOSING.contains(&name.as_str()));
        self.formatting += usize::from(FORMATTING.contains(&name.as_str()));
        *self.by_name.entry(name).or_default() += 1;
    }

    fn end(&mut self, name: &str) {
        let Some(count) = self.by_name.get_mut(name).filter(|count| **count > 0) else { return };
        *count -= 1;
        self.nesting -= usize::from(!SELF_CLOSING.contains(&name));
        self.formatting -= usize::from(FORMATTING.contains(&name));
    }
}

/// What follows the end tag of an element whose text is no markup.
fn behind_end_of<'p>(name: &str, mut rest: &'p str) -> &'p str {
    while let Some(at) = memchr::memmem::find(rest.as_bytes(), b"</") {
        rest = &rest[at + 2..];
        let found = rest.as_bytes().get(..name.len());
        if found.is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes())) {
            return rest;
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_as_people_write_them_are_parsed() {
        assert!(is_parseable("<ul>".to_owned().as_str()));
        assert!(is_parseable(&"<li><p>one<br><img src=x>".repeat(10_000)));
        assert!(is_parseable(&"<b><i>x</i></b><div></div>".repeat(10_000)));
        let script = format!("<script>{}</script>", "if (a <b) '<div>'".repeat(10_000));
        assert!(is_parseable(&script));
        assert!(is_parseable(&format!("<!-- {} -->", "<div>".repeat(10_000))));
    }

    #[test]
    fn pages_made_to_hold_us_up_are_not() {
        assert!(!is_parseable(&"<div>".repeat(DEPTH_MAX + 1)));
        assert!(!is_parseable(&"<div></span>".repeat(DEPTH_MAX + 1)));
        assert!(!is_parseable(&format!("<svg><style>{}", "<g>".repeat(DEPTH_MAX))));
        let fonts: String = (0..500).map(|n| format!("<font size={n}>")).collect();
        assert!(!is_parseable(&format!("{fonts}{}", "<p>x".repeat(10_000))));
    }
}
