//! Where a column stands: the header of a table, or a selector within a row; then, maybe, an
//! element within, and an attribute of it.
//!
//! ```text
//! select = place [">>" selector] ["@" attribute]     place: a header's text, or a selector
//! ```
//!
//! `Name >> a.currency-name @title` is the attribute `title` of the one `a.currency-name` in the
//! cell under `Name`.

use scraper::{ElementRef, Selector};
use thalweg_core::{Error, Result};

use super::clean::plain;
use super::text::visible;

/// Longest attribute that is taken, in bytes.
const ATTRIBUTE_MAX: usize = 64 << 10;

/// Where a column stands.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The text of a header, or a selector within the row; empty: the row itself.
    pub(super) head: String,
    within: Option<Selector>,
    attribute: Option<String>,
}

impl Place {
    /// # Errors
    ///
    /// `Invalid` when a selector is not one.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (rest, attribute) = match text.rsplit_once('@') {
            Some((rest, name)) if is_attribute(name.trim()) => (rest, Some(name.trim().to_owned())),
            _ => (text, None),
        };
        let (head, within) = match rest.split_once(">>") {
            Some((head, within)) => (head, Some(selector(within.trim())?)),
            None => (rest, None),
        };
        Ok(Self { head: head.trim().to_owned(), within, attribute })
    }

    /// The text of the place within the cell or element `at`; none when there is nothing there.
    ///
    /// # Errors
    ///
    /// When the selector fits several elements.
    pub(super) fn text(&self, at: ElementRef<'_>) -> Result<Option<String>, String> {
        let element = match &self.within {
            None => Some(at),
            Some(within) => only(at, within)?,
        };
        Ok(element.and_then(|element| match &self.attribute {
            None => Some(visible(element)),
            Some(name) => {
                let value = element.attr(name)?;
                Some(plain(&value[..value.floor_char_boundary(ATTRIBUTE_MAX)]))
            }
        }))
    }
}

/// The one element within `at` that a selector fits, if any.
pub(super) fn only<'p>(
    at: ElementRef<'p>,
    selector: &Selector,
) -> Result<Option<ElementRef<'p>>, String> {
    let mut found = at.select(selector);
    let first = found.next();
    match found.count() {
        0 => Ok(first),
        more => Err(format!("the selector fits {} elements", more + 1)),
    }
}

/// A selector of CSS.
pub(super) fn selector(text: &str) -> Result<Selector> {
    Selector::parse(text).map_err(|error| {
        Error::invalid(format!("`{text}` is no CSS selector"))
            .with_detail(format!("It says: {error}."))
            .with_hint("A selector is written like `tr.price` or `script#__NEXT_DATA__`.")
    })
}

fn is_attribute(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ':');
    !name.is_empty() && name.chars().all(is_letter)
}
