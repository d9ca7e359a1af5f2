//! Records and fields of one frame.
//!
//! A thin driver of `csv-core`, which never fails: it finds a parse for everything. What no reader
//! should accept, a quote that is not closed, is found by a line break behind the frame: inside
//! quotes it does not end the record.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

/// Most fields of a record (S30).
const FIELDS_MAX: usize = 65_536;

/// Splits frames; keeps its buffers from one to the next.
pub(super) struct Splitter {
    reader: Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
}

/// One record, quotes undone.
pub(super) struct Record<'a> {
    text: &'a str,
    ends: &'a [usize],
}

impl Splitter {
    pub(super) fn new(delimiter: u8, quote: u8) -> Self {
        let reader = ReaderBuilder::new().delimiter(delimiter).quote(quote).build();
        Self { reader, text: Vec::new(), ends: vec![0; 64] }
    }

    /// Forgets where the last frame ended; a byte order mark is skipped at the beginning of the next.
    pub(super) fn begin(&mut self) {
        self.reader.reset();
    }

    /// The next record from `at` on, which moves behind it; none at the end.
    ///
    /// # Errors
    ///
    /// What is wrong with the frame.
    pub(super) fn next(
        &mut self,
        frame: &str,
        at: &mut usize,
    ) -> Result<Option<Record<'_>>, String> {
        // A record is not longer than its frame; one byte is the line break put behind it.
        if self.text.len() < frame.len() + 2 {
            self.text.resize(frame.len() + 2, 0);
        }
        let (mut text_length, mut fields) = (0, 0);
        loop {
            let is_last = *at >= frame.len();
            let input = if is_last { "\n" } else { &frame[*at..] };
            let (result, read, written, ended) = self.reader.read_record(
                input.as_bytes(),
                &mut self.text[text_length..],
                &mut self.ends[fields..],
            );
            *at += read;
            text_length += written;
            fields += ended;
            match result {
                ReadRecordResult::Record => break,
                ReadRecordResult::InputEmpty if !is_last => {}
                ReadRecordResult::OutputEndsFull if self.ends.len() < FIELDS_MAX => {
                    self.ends.resize(self.ends.len() * 2, 0);
                }
                ReadRecordResult::OutputEndsFull => {
                    return Err(format!("more than {FIELDS_MAX} fields in a record"));
                }
                _ if text_length == 0 && fields == 0 => return Ok(None),
                _ => return Err("a quote is not closed".to_owned()),
            }
        }
        let text = std::str::from_utf8(&self.text[..text_length]);
        // The frame is UTF-8 and is cut at ASCII only.
        let text = text.map_err(|_| "not UTF-8".to_owned())?;
        Ok(Some(Record { text, ends: &self.ends[..fields] }))
    }
}

impl<'a> Record<'a> {
    /// Number of fields.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// A field by its number; empty beyond the last.
    pub(super) fn field(&self, index: usize) -> &'a str {
        let start = index.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied());
        let end = self.ends.get(index).copied();
        let range = start.zip(end).map(|(start, end)| start..end);
        range.and_then(|range| self.text.get(range)).unwrap_or_default()
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = &'a str> + '_ {
        (0..self.len()).map(|index| self.field(index))
    }
}
