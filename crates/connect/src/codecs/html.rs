//! Web pages to rows: a table by the texts of its headers, or elements by a selector; or the JSON
//! that a script element holds ([`embedded`]).
//!
//! A frame is one page. Where its rows are says [`PageRows`]; a column's `select` says where in a
//! row it is (see `select`), and its [`Clean`] how its text is read: exactly, or not at all.
//!
//! # What becomes of a page (S12)
//!
//! *Filtered* when it is blank. *Quarantined* as a whole, with a notice that the page has changed,
//! when it is no text of its encoding, too deeply nested, without the table or one of its headers,
//! with two such tables, or with more or fewer rows than expected: never rows of something else.
//! Else *decoded*. A row is a reject, with its own text in the place of the page, when it is a
//! placeholder (fewer cells than headers, or all empty), when a selector fits several elements, or
//! when a text cannot be read, or can be read in two ways. The decimal mark of texts that do not
//! tell their own is the one on which the other texts of their column on the page agree.
//!
//! Not here: fetching pages (`sources::http`), scripts of pages, which nobody runs.

mod clean;
pub mod embedded;
mod encoding;
mod nesting;
mod select;
mod table;
mod text;

use arrow::datatypes::SchemaRef;
use encoding_rs::Encoding;
use scraper::{ElementRef, Html, Selector};
use thalweg_core::decode::{Decoded, Decoder, FrameCounts};
use thalweg_core::frame::Frames;
use thalweg_core::schema::{Column, ColumnType};
use thalweg_core::{Error, Result};

use self::clean::Amount;
use self::select::Place;
use self::table::Table;
use super::rows::{FRAME_ROWS_MAX, Mismatch, Rows, SHOWN_MAX, too_long};
use super::text as values;

pub use self::clean::{Clean, DecimalMark};
pub(crate) use self::table::{ShownTable, shown_tables};

/// Why a row without any text is refused.
const EMPTY: &str = "an empty row";
/// Longest excerpt of a row that is quarantined, in bytes.
const EXCERPT_MAX: usize = 4 << 10;
/// Most notices one call gives out; of more, the newest.
const NOTICES_MAX: usize = 16;

/// How pages become rows.
#[derive(Clone, Debug)]
pub struct HtmlConfig {
    /// The columns.
    pub columns: Vec<HtmlColumn>,
    /// Where the rows are.
    pub rows: PageRows,
    /// Fewest rows a page has that is what it should be; placeholders do not count. Default 1.
    pub rows_min: usize,
    /// Most rows such a page has. Default 1,000,000.
    pub rows_max: usize,
    /// What pages are written in, by its label; by default they say it themselves, else UTF-8.
    pub encoding: Option<String>,
    /// Texts that mean NULL, in columns that are not text. Default [`NULLS`].
    pub null: Vec<String>,
}

/// What pages write where there is no value.
pub const NULLS: [&str; 8] = ["", "-", "--", "–", "—", "N/A", "n/a", "?"];

/// A column of a page.
#[derive(Clone, Debug)]
pub struct HtmlColumn {
    /// Its name, type and place.
    pub column: Column,
    /// How its text is read; none: as the type is written in a CSV.
    pub clean: Option<Clean>,
    /// Its decimal mark, where the texts shall not tell it.
    pub mark: Option<DecimalMark>,
}

/// Where the rows of a page are.
#[derive(Clone, Debug)]
pub enum PageRows {
    /// The rows of a table.
    Table {
        /// Texts of its header cells, all of which it has; others may be there beside. Those of the
        /// columns need not be repeated.
        headers: Vec<String>,
        /// A selector of the tables to look at. Default `table`.
        selector: Option<String>,
    },
    /// The elements that a selector fits; the columns' places are selectors within them.
    Elements(String),
}

impl HtmlConfig {
    /// Pages whose `rows` hold `columns`, with the default of every other field.
    pub fn new(columns: Vec<HtmlColumn>, rows: PageRows) -> Self {
        Self {
            columns,
            rows,
            rows_min: 1,
            rows_max: FRAME_ROWS_MAX as usize,
            encoding: None,
            null: NULLS.map(str::to_owned).to_vec(),
        }
    }
}

/// Checks a CSS selector.
///
/// # Errors
///
/// `Invalid` when it is not one.
pub fn check_selector(text: &str) -> Result<()> {
    select::selector(text).map(|_| ())
}

/// Checks a column's place: a header or, with `is_selector`, a selector; then what is within it.
///
/// # Errors
///
/// `Invalid` when a selector in it is not one.
pub fn check_place(text: &str, is_selector: bool) -> Result<()> {
    let place = Place::parse(text)?;
    if is_selector && !place.head.is_empty() { check_selector(&place.head) } else { Ok(()) }
}

/// Whether a text can be read as an amount of this kind.
pub(crate) fn reads_as(clean: Clean, text: &str) -> bool {
    Amount::parse(clean, &clean::plain(text)).is_ok()
}

/// Checks the label of an encoding.
///
/// # Errors
///
/// `Invalid` when there is none of that label.
pub fn check_encoding(label: &str) -> Result<()> {
    encoding::by_label(label).map(|_| ())
}

/// Decodes pages.
pub struct HtmlDecoder {
    config: HtmlConfig,
    finder: Finder,
    places: Vec<Place>,
    encoding: Option<&'static Encoding>,
    rows: Rows,
}

/// [`PageRows`] with their selectors parsed.
enum Finder {
    Table { tables: Selector, headers: Vec<String> },
    // The selectors of the columns' heads; none: the row itself.
    Elements { rows: Selector, heads: Vec<Option<Selector>> },
}

/// The texts of one row, by column.
struct TextRow {
    texts: Vec<Option<String>>,
    // Why it holds no data.
    broken: Option<String>,
}

impl HtmlDecoder {
    /// # Errors
    ///
    /// `Invalid` when a column's name is taken, a selector or an encoding is not one, or a column
    /// cannot hold what its cleaning gives.
    pub fn new(config: HtmlConfig) -> Result<Self> {
        let columns: Vec<Column> = config.columns.iter().map(|it| it.column.clone()).collect();
        let places = columns.iter().map(|column| Place::parse(column.path()));
        let places: Vec<Place> = places.collect::<Result<_>>()?;
        for HtmlColumn { column, clean, .. } in &config.columns {
            if !clean.is_none_or(|clean| fits(clean, column.kind)) {
                return Err(Error::invalid(format!(
                    "column `{}` of type {} cannot hold what its `clean` reads",
                    column.name, column.kind
                )));
            }
        }
        let finder = match &config.rows {
            PageRows::Table { headers, selector } => {
                let mut headers = headers.clone();
                // A nullable column's too: a header that is renamed is not a value that is missing.
                headers.extend(places.iter().map(|place| place.head.clone()));
                let tables = select::selector(selector.as_deref().unwrap_or("table"))?;
                Finder::Table { tables, headers }
            }
            PageRows::Elements(rows) => {
                let head = |place: &Place| {
                    let head = Some(&place.head).filter(|head| !head.is_empty());
                    head.map(|head| select::selector(head)).transpose()
                };
                let heads = places.iter().map(head).collect::<Result<_>>()?;
                Finder::Elements { rows: select::selector(rows)?, heads }
            }
        };
        let encoding = config.encoding.as_deref().map(encoding::by_label).transpose()?;
        Ok(Self { finder, places, encoding, rows: Rows::new(&columns)?, config })
    }

    /// Decodes one page; `None`: it is blank.
    fn page(&mut self, bytes: &[u8]) -> Result<Option<()>, String> {
        if let Some(reason) = too_long(bytes) {
            return Err(reason);
        }
        let text = encoding::text(bytes, self.encoding)?;
        if text.trim().is_empty() {
            return Ok(None);
        }
        if !nesting::is_parseable(&text) {
            return Err("its elements are nested too deeply".to_owned());
        }
        let page = Html::parse_document(&text);
        let texts = self.texts(&page)?;
        let count = texts.iter().filter(|row| row.broken.is_none()).count();
        let (min, max) = (self.config.rows_min, self.config.rows_max.min(FRAME_ROWS_MAX as usize));
        if count < min || texts.len() > max {
            let beside = match texts.len() - count {
                0 => String::new(),
                others => format!(" and {others} without data"),
            };
            return Err(format!("{count} rows{beside}, where {min} to {max} are expected"));
        }
        self.push(&texts);
        Ok(Some(()))
    }

    /// The texts of all rows, or how the page differs from what it should be.
    fn texts(&self, page: &Html) -> Result<Vec<TextRow>, String> {
        match &self.finder {
            Finder::Table { tables, headers } => {
                let table = Table::find(page, tables, headers)?;
                let at = self.places.iter().map(|place| table.position(&place.head));
                let at: Vec<Option<usize>> = at.collect::<Result<_, _>>()?;
                Ok(table
                    .rows
                    .iter()
                    .map(|row| {
                        let cell = |column: usize| Ok(at[column].and_then(|at| row.cells[at]));
                        match row.placeholder() {
                            Some(reason) => {
                                let cells = row.cells.iter().flatten();
                                let texts = cells.map(|cell| Some(text::visible(*cell))).collect();
                                TextRow { texts, broken: Some(reason) }
                            }
                            None => self.row(cell),
                        }
                    })
                    .collect())
            }
            Finder::Elements { rows, heads } => Ok(page
                .select(rows)
                .map(|row| {
                    self.row(|column| match &heads[column] {
                        Some(head) => select::only(row, head),
                        None => Ok(Some(row)),
                    })
                })
                .collect()),
        }
    }

    /// The texts of a row whose columns stand in these elements.
    fn row<'p>(
        &self,
        element: impl Fn(usize) -> Result<Option<ElementRef<'p>>, String>,
    ) -> TextRow {
        let mut row = TextRow { texts: Vec::new(), broken: None };
        for (column, place) in self.places.iter().enumerate() {
            let found = element(column).and_then(|it| it.map_or(Ok(None), |it| place.text(it)));
            row.texts.push(found.unwrap_or_else(|reason| {
                let name = &self.config.columns[column].column.name;
                row.broken.get_or_insert(format!("{name}: {reason}"));
                None
            }));
        }
        if row.texts.iter().flatten().all(String::is_empty) {
            row.broken.get_or_insert_with(|| EMPTY.to_owned());
        }
        row
    }

    /// Appends the rows to the columns.
    fn push(&mut self, texts: &[TextRow]) {
        let Self { config, rows, .. } = self;
        let agreed: Vec<Option<DecimalMark>> = (0..config.columns.len())
            .map(|column| agreed(&config.columns[column], column, texts))
            .collect();
        for row in texts {
            let pushed = match &row.broken {
                Some(reason) => Err(reason.clone()),
                None => (0..config.columns.len()).try_for_each(|column| {
                    let text = row.texts[column].as_deref();
                    push(rows, column, &config.columns[column], text, agreed[column], &config.null)
                }),
            };
            match pushed {
                Ok(()) => rows.accept_row(),
                Err(reason) => rows.reject_row_saying(reason, excerpt(row)),
            }
        }
    }
}

/// Whether a column of this type holds what a cleaning gives.
fn fits(clean: Clean, kind: ColumnType) -> bool {
    match kind {
        ColumnType::Text => true,
        ColumnType::Int
        | ColumnType::Bigint
        | ColumnType::Real
        | ColumnType::Double
        | ColumnType::Decimal(..) => clean != Clean::Text,
        _ => false,
    }
}

/// The decimal mark on which the texts of a column agree that tell their own.
fn agreed(column: &HtmlColumn, at: usize, rows: &[TextRow]) -> Option<DecimalMark> {
    let clean = column.clean.filter(|clean| *clean != Clean::Text)?;
    let texts =
        rows.iter().filter(|row| row.broken.is_none()).filter_map(|row| row.texts[at].as_ref());
    let mut marks = texts.filter_map(|text| Amount::parse(clean, text).ok()?.mark());
    let first = marks.next()?;
    marks.all(|mark| mark == first).then_some(first)
}

/// Appends one text to its column.
fn push(
    rows: &mut Rows,
    at: usize,
    column: &HtmlColumn,
    text: Option<&str>,
    agreed: Option<DecimalMark>,
    null: &[String],
) -> Result<(), String> {
    let buffer = rows.column(at);
    let is_text = column.column.kind == ColumnType::Text;
    let text = text.filter(|text| {
        !text.is_empty() && (is_text || !null.iter().any(|spelling| spelling == text))
    });
    let Some(text) = text else {
        return buffer.push_null().map_err(|why| buffer.reason(why, ""));
    };
    let cleaned = match column.clean {
        None | Some(Clean::Text) => text.replace('\u{a0}', " "),
        Some(clean) => Amount::parse(clean, text)
            .and_then(|amount| amount.decimal(column.mark, agreed))
            .map_err(|why| format!("{}: {} {why}", column.column.name, shown(text)))?,
    };
    let pushed = values::parse(buffer.column(), &cleaned).and_then(|value| buffer.push(value));
    pushed.map_err(|why: Mismatch| buffer.reason(why, &shown(text)))
}

/// A text as a message shows it.
fn shown(text: &str) -> String {
    if text.len() <= SHOWN_MAX {
        return format!("{text:?}");
    }
    format!("{:?}…", &text[..text.floor_char_boundary(SHOWN_MAX)])
}

/// A row as the quarantine keeps it.
fn excerpt(row: &TextRow) -> String {
    let texts: Vec<&str> = row.texts.iter().map(|text| text.as_deref().unwrap_or("")).collect();
    let mut excerpt = texts.join(" | ");
    excerpt.truncate(excerpt.floor_char_boundary(EXCERPT_MAX));
    excerpt
}

impl Decoder for HtmlDecoder {
    fn schema(&self) -> &SchemaRef {
        self.rows.schema()
    }

    fn decode(&mut self, frames: &Frames) -> Result<Decoded> {
        let mut counts = FrameCounts::default();
        let mut notices = Vec::new();
        self.rows.begin();
        for (index, span) in frames.spans.iter().enumerate() {
            let before = self.rows.begin_frame(index, span);
            match self.page(frames.bytes(index)) {
                Ok(Some(())) => counts.decoded += 1,
                Ok(None) => counts.filtered += 1,
                Err(reason) => {
                    notices.push(format!("the page has changed: {reason}"));
                    self.rows.reject_frame(before, reason);
                    counts.quarantined += 1;
                }
            }
        }
        notices.drain(..notices.len().saturating_sub(NOTICES_MAX));
        let (rows, rejects) = self.rows.finish(frames.partition)?;
        Ok(Decoded { rows, rejects, frames: counts, notices })
    }
}

#[cfg(test)]
mod tests;
