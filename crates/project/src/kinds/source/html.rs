//! The format of web pages, and how texts made for people are read.

use crate::codes;
use crate::entry::{Entry, from_text};
use crate::spanned::Spanned;

/// A web page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HtmlFormat {
    /// Where the rows are.
    pub rows: HtmlRows,
    /// Fewest rows of a page that is what it should be. Default 1.
    pub rows_min: usize,
    /// Most rows of such a page. Default 1,000,000.
    pub rows_max: usize,
    /// What the page is written in; none: it says so itself, else UTF-8.
    pub encoding: Option<Spanned<String>>,
    /// Texts that mean NULL in columns that are not text.
    pub null: Vec<String>,
}

/// Where the rows of a page are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HtmlRows {
    /// In a table.
    Table {
        /// Texts of its header cells.
        headers: Vec<String>,
        /// Which tables to look at, a CSS selector. Default all.
        selector: Spanned<String>,
    },
    /// The elements a CSS selector fits.
    Elements(Spanned<String>),
    /// In the JSON of a script element.
    Json {
        /// Which element, a CSS selector.
        element: Spanned<String>,
        /// Where in the JSON the rows are; none when it is one row.
        rows: Option<Spanned<String>>,
    },
}

/// How the text of a column is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleaning {
    /// As what; none: as the type is written in a CSV.
    pub clean: Option<Clean>,
    /// By whose custom; none: what the texts tell.
    pub locale: Option<Locale>,
}

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clean {
    /// An amount of a currency.
    Money,
    /// A number of hundredths with its `%`.
    Percent,
    /// A number.
    Number,
    /// Text.
    Text,
}

/// Whose custom numbers follow, as far as it decides on the decimal mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locale {
    /// `1,234.5`
    Point,
    /// `1.234,5`
    Comma,
}

from_text! {
    Clean: |text| match text {
        "money" => Some(Self::Money),
        "percent" => Some(Self::Percent),
        "number" => Some(Self::Number),
        "text" => Some(Self::Text),
        _ => None,
    };
    Locale: |text| match text {
        "en" | "ja" | "zh" | "hi" => Some(Self::Point),
        "de" | "es" | "fr" | "it" | "nl" | "pl" | "pt" | "sv" => Some(Self::Comma),
        _ => None,
    };
}

pub(super) fn lower_html(entry: Entry<'_>) -> Option<HtmlFormat> {
    let table = entry.child("table");
    let (headers, selector) = (table.get("headers"), table.spanned("selector"));
    let (rows, json) = (entry.spanned("rows"), entry.spanned("json"));
    let whole = || Spanned { value: "table".to_owned(), place: entry.place() };
    let rows = match (table.written(), json, rows) {
        (Some(_), ..) => HtmlRows::Table {
            headers: headers.unwrap_or_default(),
            selector: selector.unwrap_or_else(whole),
        },
        (None, Some(element), rows) => HtmlRows::Json { element, rows },
        (None, None, Some(rows)) => HtmlRows::Elements(rows),
        (None, None, None) => {
            let message = "`format.html` does not say where its rows are";
            let problem = codes::problem(codes::ONE_OF, message, entry.place());
            let label = "one of `table`, `rows` or `json` is needed";
            entry.report(codes::Telling::label(problem, label));
            return None;
        }
    };
    let (rows_min, rows_max): (usize, usize) = (entry.value("rows_min"), entry.value("rows_max"));
    if rows_min > rows_max {
        let message = "`rows_min` is above `rows_max`";
        let place = entry.child("rows_min").written().or(entry.child("rows_max").written());
        let place = place.unwrap_or(entry).place();
        entry.report(codes::problem(codes::DOES_NOT_FIT, message, place));
        return None;
    }
    let (encoding, null) = (entry.spanned("encoding"), entry.value("null"));
    Some(HtmlFormat { rows, rows_min, rows_max, encoding, null })
}
