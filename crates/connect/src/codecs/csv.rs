//! CSV frames to rows.
//!
//! A frame holds one record or more, whole: whoever cuts frames respects quotes. Fields are split by
//! `csv-core`: RFC 4180 with any line ending, blank lines skipped, a quote inside an unquoted field
//! an ordinary character; nothing is trimmed. Which texts a type accepts stands in the table of
//! [`crate::codecs`].
//!
//! # Headers
//!
//! With a header a column is found by the header's text (`select`, or its name), so files may order
//! their columns differently and have others beside. A `not null` column without a header refuses
//! every record under it; a nullable one is NULL; when none of the columns has a header, it is the
//! wrong file, and every record is refused (S16). Without a header a column stands at `select =
//! "[3]"`, counted from 0, or in the order of declaration.
//!
//! [`Header::File`]: the first record of each file, at byte 0, or 3 behind a byte order mark. For a
//! file whose header was not among the frames, because decoding begins in its middle or its source
//! keeps headers to itself, a decoder asks its [`HeaderSource`].
//!
//! # What becomes of a frame (S12)
//!
//! *Filtered* when it is blank or only a header. *Quarantined* when it is not UTF-8, a quote is not
//! closed, its header is not known or does not fit, or it holds too much. Else *decoded*: a record
//! with a wrong number of fields or a field that does not convert is a reject with its number,
//! counted without the header.
//!
//! Not here: cutting a file into frames, and reading a file's header again (`sources`).

mod layout;
mod records;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use thalweg_core::decode::{Decoded, Decoder, FrameCounts};
use thalweg_core::frame::{FrameSpan, Frames};
use thalweg_core::schema::Column;
use thalweg_core::topic::Offset;
use thalweg_core::{Error, Result};

use self::layout::{Fields, by_header, by_position};
use self::records::{Record, Splitter};
use super::rows::{FRAME_ROWS_MAX, Rows, SHOWN_MAX, too_long};
use super::text;

/// `_offset` of a file's record is its file number times two to this, plus a byte offset (S1).
const FILE_BITS: u32 = 40;
/// Length of a byte order mark.
const MARK_BYTES: Offset = 3;

/// How CSV frames become rows.
#[derive(Clone, Debug)]
pub struct CsvConfig {
    /// The declared columns.
    pub columns: Vec<Column>,
    /// Where the header is. Default [`Header::File`].
    pub header: Header,
    /// Fields that stand for NULL, in every column. Default: the empty one.
    pub null: Vec<String>,
    /// Separates fields; ASCII. Default `,`.
    pub delimiter: u8,
    /// Encloses fields, and is doubled inside; ASCII. Default `"`.
    pub quote: u8,
}

/// Where a header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// Nowhere.
    None,
    /// At the beginning of each file.
    File,
    /// At the beginning of each frame, as when a frame is the body of an HTTP answer.
    Frame,
}

impl Default for CsvConfig {
    fn default() -> Self {
        Self {
            columns: Vec::new(),
            header: Header::File,
            null: vec![String::new()],
            delimiter: b',',
            quote: b'"',
        }
    }
}

/// Gives the header record of a file by its number, as the file source numbers it; none when it is
/// not known. Asked once for a file whose header is not among the frames.
pub type HeaderSource = Box<dyn Fn(i64) -> Result<Option<Bytes>> + Send>;

/// The records of a text, at most `max` of them, as far as it is CSV.
pub(crate) fn split_records(
    text: &str,
    delimiter: char,
    quote: char,
    max: usize,
) -> Vec<Vec<String>> {
    let ascii = |character: char| u8::try_from(character).unwrap_or(b',');
    let mut splitter = Splitter::new(ascii(delimiter), ascii(quote));
    let (mut records, mut at) = (Vec::new(), 0);
    while records.len() < max {
        let Ok(Some(record)) = splitter.next(text, &mut at) else { break };
        records.push(record.fields().map(str::to_owned).collect());
    }
    records
}

/// The names in a header record; none when it is no record.
pub(crate) fn header_names(header: &str, delimiter: u8, quote: u8) -> Option<Vec<String>> {
    let mut splitter = Splitter::new(delimiter, quote);
    splitter.begin();
    let record = splitter.next(header, &mut 0).ok()??;
    let names = record.fields().map(str::to_owned).collect();
    Some(names)
}

/// Decodes CSV frames.
pub struct CsvDecoder {
    config: CsvConfig,
    rows: Rows,
    splitter: Splitter,
    headers: Option<HeaderSource>,
    /// The file that `layout` is of, with [`Header::File`].
    file: Option<i64>,
    /// Which field each column is; or why there is no telling.
    layout: Result<Fields, String>,
}

/// What became of a frame.
enum Outcome {
    Decoded,
    Filtered,
    Refused(String),
}

impl CsvDecoder {
    /// # Errors
    ///
    /// `Invalid` when a column's name is taken, delimiter and quote are not two ASCII characters, or
    /// without a header a `select` is not a position.
    pub fn new(config: CsvConfig) -> Result<Self> {
        let separates = |byte: u8| byte.is_ascii() && !matches!(byte, b'\r' | b'\n');
        if !separates(config.delimiter)
            || !separates(config.quote)
            || config.delimiter == config.quote
        {
            return Err(Error::invalid("delimiter and quote must be two ASCII characters"));
        }
        let layout = match config.header {
            Header::None => Ok(by_position(&config.columns)?),
            Header::File | Header::Frame => Err("no header yet".to_owned()),
        };
        Ok(Self {
            rows: Rows::new(&config.columns)?,
            splitter: Splitter::new(config.delimiter, config.quote),
            headers: None,
            file: None,
            layout,
            config,
        })
    }

    /// Sets where the headers come from that are not among the frames.
    pub fn with_headers(mut self, headers: HeaderSource) -> Self {
        self.headers = Some(headers);
        self
    }

    fn frame(&mut self, span: &FrameSpan, bytes: &[u8]) -> Result<Outcome> {
        if let Some(reason) = too_long(bytes) {
            return Ok(Outcome::Refused(reason));
        }
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                return Ok(Outcome::Refused(format!("not UTF-8 at byte {}", error.valid_up_to())));
            }
        };
        let has_header = match self.config.header {
            Header::None => false,
            Header::File => self.enter_file(span.offset, text)?,
            Header::Frame => {
                self.layout = Err("the frame has no header".to_owned());
                true
            }
        };
        Ok(self.records(text, has_header).unwrap_or_else(Outcome::Refused))
    }

    /// Makes `layout` that of the frame's file. Returns whether the frame begins with the header.
    fn enter_file(&mut self, offset: Offset, text: &str) -> Result<bool> {
        let file = offset >> FILE_BITS;
        let at = offset & ((1 << FILE_BITS) - 1);
        if self.file == Some(file) && at != 0 {
            return Ok(false);
        }
        let known = match &self.headers {
            Some(headers) if at != 0 => headers(file)?,
            _ => None,
        };
        self.file = Some(file);
        self.layout = Err("the header of the file is not known".to_owned());
        let Some(header) = known else { return Ok(at == 0 || at == MARK_BYTES) };
        let Ok(header) = std::str::from_utf8(&header) else {
            self.layout = Err("the header of the file is not UTF-8".to_owned());
            return Ok(false);
        };
        if at == MARK_BYTES && bare(header) == bare(text) {
            return Ok(true);
        }
        self.splitter.begin();
        if let Ok(Some(record)) = self.splitter.next(header, &mut 0) {
            self.layout = by_header(&self.config.columns, &record);
        }
        Ok(false)
    }

    fn records(&mut self, text: &str, mut has_header: bool) -> Result<Outcome, String> {
        let Self { config, rows, splitter, layout, .. } = self;
        let mut at = 0;
        splitter.begin();
        while let Some(record) = splitter.next(text, &mut at)? {
            if std::mem::take(&mut has_header) {
                *layout = by_header(&config.columns, &record);
                continue;
            }
            let fields = layout.as_ref().map_err(String::clone)?;
            if rows.next_row() == FRAME_ROWS_MAX {
                return Err(format!("more than {FRAME_ROWS_MAX} rows in one frame"));
            }
            match push(rows, fields, &record, &config.null) {
                Ok(()) => rows.accept_row(),
                Err(reason) => rows.reject_row(reason),
            }
        }
        Ok(if rows.next_row() == 0 { Outcome::Filtered } else { Outcome::Decoded })
    }
}

/// Appends the fields of a record to the columns.
fn push(
    rows: &mut Rows,
    fields: &Fields,
    record: &Record<'_>,
    null: &[String],
) -> Result<(), String> {
    fields.check(record.len())?;
    for (column, field) in fields.columns.iter().enumerate() {
        let text = field.map(|field| record.field(field));
        let buffer = rows.column(column);
        let pushed = match text {
            Some(text) if !null.iter().any(|spelling| spelling == text) => {
                text::parse(buffer.column(), text).and_then(|value| buffer.push(value))
            }
            _ => buffer.push_null(),
        };
        pushed.map_err(|why| buffer.reason(why, &shown(text.unwrap_or_default())))?;
    }
    Ok(())
}

/// A field as a message shows it.
fn shown(text: &str) -> String {
    if text.len() <= SHOWN_MAX {
        return format!("{text:?}");
    }
    let cut = text.floor_char_boundary(SHOWN_MAX);
    format!("{:?}… ({} bytes)", &text[..cut], text.len())
}

/// A header record without byte order mark and line ending.
fn bare(record: &str) -> &str {
    record.trim_start_matches('\u{feff}').trim_end_matches(['\r', '\n'])
}

impl Decoder for CsvDecoder {
    fn schema(&self) -> &SchemaRef {
        self.rows.schema()
    }

    /// # Errors
    ///
    /// `Internal`, and whatever the [`HeaderSource`] fails with; the call can be repeated.
    fn decode(&mut self, frames: &Frames) -> Result<Decoded> {
        let mut counts = FrameCounts::default();
        self.rows.begin();
        for (index, span) in frames.spans.iter().enumerate() {
            let before = self.rows.begin_frame(index, span);
            match self.frame(span, frames.bytes(index))? {
                Outcome::Decoded => counts.decoded += 1,
                Outcome::Filtered => counts.filtered += 1,
                Outcome::Refused(reason) => {
                    self.rows.reject_frame(before, reason);
                    counts.quarantined += 1;
                }
            }
        }
        let (rows, rejects) = self.rows.finish(frames.partition)?;
        Ok(Decoded { rows, rejects, frames: counts, notices: Vec::new() })
    }
}

#[cfg(test)]
mod tests;
