//! Sampling: what a file, a body or some messages seem to hold, as a source that could be declared.
//!
//! A proposal is explicit in everything: format, columns with types, key, event time, checks. It is
//! made once, for a person to look at and to write down; a running source never guesses. Each column
//! has the narrowest type that all of its sampled values fit, as the codecs read them ([`values`]);
//! what can be read in two ways stays text.
//!
//! Not here: where bytes come from, how a proposal is written in a project file, and columns that a
//! file carries itself ([`crate::codecs::columns::carried_columns`]).

mod csv;
mod head;
mod html;
mod json;
mod ordered;
mod roles;
mod values;

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use thalweg_core::schema::Column;
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};

pub use self::head::{Head, head};
use crate::codecs::html::Clean;

/// Rows and messages that are looked at, at most.
pub const ROWS_MAX: usize = 2_000;
/// Bytes of a file that are looked at, at most.
pub const BYTES_MAX: usize = 2 << 20;
/// Columns that are proposed, at most.
const COLUMNS_MAX: usize = 500;

/// A source that could be declared.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// How it is decoded.
    pub format: ProposedFormat,
    /// Its columns, in the order in which they were met.
    pub columns: Vec<ProposedColumn>,
    /// The column of the entity that a row is about.
    pub key: Option<String>,
    /// The column that says when it happened.
    pub event_time: Option<String>,
    /// What holds of every sampled row, by name, as SQL.
    pub checks: Vec<(String, String)>,
}

/// How what was sampled is decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProposedFormat {
    /// Comma-separated values.
    Csv {
        /// What separates fields.
        delimiter: char,
        /// What encloses fields.
        quote: char,
        /// Whether the first line names the columns.
        header: bool,
        /// Fields that mean NULL, the empty one first.
        null: Vec<String>,
        /// What it is encoded in; none for UTF-8, or where a byte order mark says it.
        encoding: Option<&'static str>,
    },
    /// JSON.
    Json {
        /// Where the rows are; none when the value is one row.
        rows: Option<String>,
        /// Which values hold rows; none for all.
        only_if: Option<String>,
        /// What a file holds; of a body or message it means nothing.
        layout: JsonLayout,
    },
    /// A table of a page, by the texts of its headers.
    Html {
        /// The headers.
        headers: Vec<String>,
    },
    /// A file of Parquet, which carries its columns.
    Parquet,
    /// An object container of Avro, which carries its columns.
    Avro,
}

/// What a JSON file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonLayout {
    /// A value a line.
    Lines,
    /// One array; each element is a row.
    Array,
    /// One value.
    Document,
}

/// A column that could be declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposedColumn {
    /// Name, type, place.
    pub column: Column,
    /// How its text is read, on a page.
    pub clean: Option<Clean>,
}

/// What comes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    /// A file, which is cut into lines, records or elements.
    File,
    /// The body of an answer, which is one frame.
    Body,
}

/// What a file or body seems to hold; `is_cut` when it goes on behind the sample.
///
/// # Errors
///
/// `Invalid` when it holds nothing, or nothing that can be made sense of.
pub fn propose(bytes: &[u8], whole: Whole, is_cut: bool, now: Timestamp) -> Result<Proposal> {
    if bytes.starts_with(b"PAR1") {
        return Ok(carried(ProposedFormat::Parquet));
    }
    if bytes.starts_with(b"Obj\x01") {
        return Ok(carried(ProposedFormat::Avro));
    }
    let (text, encoding) = text(bytes, is_cut)?;
    match text.trim_start().chars().next() {
        None => Err(Error::invalid("there is nothing in it")),
        Some('{' | '[') => json::of_text(&text, whole, is_cut, now),
        Some('<') => html::of_page(&text, now),
        Some(_) => csv::of_text(&text, encoding, is_cut, now),
    }
}

/// What messages of a feed seem to hold.
///
/// # Errors
///
/// `Invalid` when there are none, or none that are JSON.
pub fn propose_messages<'a>(
    messages: impl IntoIterator<Item = &'a [u8]>,
    now: Timestamp,
) -> Result<Proposal> {
    json::of_messages(messages.into_iter().take(ROWS_MAX), now)
}

/// The same for columns that are known: which is the key, which the time.
pub fn with_columns(format: ProposedFormat, columns: Vec<Column>) -> Proposal {
    let (key, event_time) = (roles::key(&columns), roles::event_time(&columns));
    let columns = columns.into_iter().map(|column| ProposedColumn { column, clean: None });
    Proposal { format, columns: columns.collect(), key, event_time, checks: Vec::new() }
}

fn carried(format: ProposedFormat) -> Proposal {
    with_columns(format, Vec::new())
}

/// The text of a sample, and the label of its encoding where that has to be said.
fn text(bytes: &[u8], is_cut: bool) -> Result<(String, Option<&'static str>)> {
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        return Ok((encoding.decode_without_bom_handling(&bytes[mark..]).0.into_owned(), None));
    }
    let known = match std::str::from_utf8(bytes) {
        Ok(_) => Some(bytes),
        // A character may be cut in two at the end.
        Err(error) if is_cut && error.error_len().is_none() => Some(&bytes[..error.valid_up_to()]),
        Err(_) => None,
    };
    if let Some(known) = known {
        return Ok((UTF_8.decode_without_bom_handling(known).0.into_owned(), None));
    }
    if bytes.contains(&0) {
        return Err(Error::invalid("it is neither text nor a format that is known").with_hint(
            "Known are CSV, JSON, Parquet, Avro and pages, packed by gzip or zstd too.",
        ));
    }
    let text = WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned();
    Ok((text, Some("windows-1252")))
}

#[cfg(test)]
mod tests;
