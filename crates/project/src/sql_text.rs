//! SQL texts of the project file, and the way from a byte of the SQL back to the byte of the file.
//!
//! A text is a row of pieces. A piece is *verbatim*, byte for byte as the file has it, or *made*:
//! an escape of a TOML string, or words a shorthand put round what the user wrote; every byte of a
//! made piece stands at the one place that made it. So a caret is exact in `'''` blocks, in strings
//! with escapes, in `sql_file`, and in a panel's shorthand alike.
//!
//! Parsing and typing SQL is not done here: that is the engine's business.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use thalweg_core::problem::{Place, Problem, Severity, SqlProblem};

/// A query or an expression, and where each of its bytes comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlText {
    text: String,
    /// In order, without gaps, as long as the text together; none for an empty text.
    pieces: Vec<Piece>,
    /// The value in the file that holds the text, or made it.
    place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    text: Range<usize>,
    file: Arc<PathBuf>,
    range: Range<usize>,
    is_verbatim: bool,
}

impl SqlText {
    /// The SQL.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The value in the file that holds the SQL, or that it was made from.
    pub fn whole_place(&self) -> &Place {
        &self.place
    }

    /// Where a range of bytes of the SQL stands. What lies beyond its end is its end.
    pub fn place(&self, range: Range<usize>) -> Place {
        let start = range.start.min(self.text.len());
        let end = range.end.clamp(start, self.text.len());
        let Some(first) = self.piece_at(start) else { return self.place.clone() };
        let from = first.position(start);
        if start == end {
            return Place { file: Arc::clone(&first.file), range: from..from };
        }
        let last = self.piece_at(end - 1).unwrap_or(first);
        if last.file != first.file {
            return Place { file: Arc::clone(&first.file), range: from..first.range.end };
        }
        let to = if last.is_verbatim { last.position(end - 1) + 1 } else { last.range.end };
        // A shorthand may hold its parts in another order than the file does.
        if to < from {
            return self.place.clone();
        }
        Place { file: Arc::clone(&first.file), range: from..to }
    }

    /// A problem of the SQL as a problem of the file; at its first line when it has no place.
    pub fn problem(&self, problem: &SqlProblem) -> Problem {
        let place = self.place(problem.range.clone().unwrap_or_else(|| self.first_line()));
        Problem {
            code: problem.code,
            severity: Severity::Error,
            message: problem.message.clone(),
            label: problem.label.clone(),
            hint: problem.hint.clone(),
            place: Some(place),
            related: Vec::new(),
        }
    }

    /// A whole file.
    pub(crate) fn of_file(file: Arc<PathBuf>, text: &str) -> Self {
        let place = Place { file, range: 0..text.len() };
        let mut builder = SqlBuilder::new(place.clone());
        builder.verbatim(text, 0);
        builder.finish()
    }

    /// A TOML string: `text` is its value, `literal` what the file has at `place`.
    pub(crate) fn of_literal(text: &str, literal: &str, place: Place) -> Self {
        let mut builder = SqlBuilder::new(place.clone());
        decode(literal, place.range.start, &mut builder);
        let decoded = builder.finish();
        if decoded.text == text {
            return decoded;
        }
        // The literal was not what the parser made of it, which only a wrong literal can be.
        let mut builder = SqlBuilder::new(place);
        builder.made(text);
        builder.finish()
    }

    fn first_line(&self) -> Range<usize> {
        let start = self.text.len() - self.text.trim_start().len();
        let line = self.text[start..].lines().next().unwrap_or_default();
        start..start + line.trim_end().len()
    }

    fn piece_at(&self, at: usize) -> Option<&Piece> {
        let index = self.pieces.partition_point(|piece| piece.text.end <= at);
        self.pieces.get(index).or(self.pieces.last())
    }
}

impl Piece {
    /// Where byte `at` of the text stands; the end of the piece for what lies behind it.
    fn position(&self, at: usize) -> usize {
        if at >= self.text.end {
            self.range.end
        } else if self.is_verbatim {
            self.range.start + (at - self.text.start)
        } else {
            self.range.start
        }
    }
}

/// Puts an SQL text together from words of ours and texts of the user.
pub(crate) struct SqlBuilder {
    sql: SqlText,
}

impl SqlBuilder {
    /// `place` is what the words of ours stand for.
    pub(crate) fn new(place: Place) -> Self {
        Self { sql: SqlText { text: String::new(), pieces: Vec::new(), place } }
    }

    /// Words of ours.
    pub(crate) fn made(&mut self, words: &str) -> &mut Self {
        let place = self.sql.place.clone();
        self.made_at(words, place)
    }

    /// Words of ours that stand for what is written at `place`.
    pub(crate) fn made_at(&mut self, words: &str, place: Place) -> &mut Self {
        self.push(words, place.file, place.range, false);
        self
    }

    /// A text of the user, keeping its places.
    pub(crate) fn text(&mut self, text: &SqlText) -> &mut Self {
        for piece in &text.pieces {
            let words = &text.text[piece.text.clone()];
            self.push(words, Arc::clone(&piece.file), piece.range.clone(), piece.is_verbatim);
        }
        self
    }

    pub(crate) fn finish(self) -> SqlText {
        self.sql
    }

    /// Bytes of the file, from `start`.
    fn verbatim(&mut self, words: &str, start: usize) {
        let file = Arc::clone(&self.sql.place.file);
        self.push(words, file, start..start + words.len(), true);
    }

    /// What an escape at `range` stands for.
    fn escape(&mut self, words: &str, range: Range<usize>) {
        self.push(words, Arc::clone(&self.sql.place.file), range, false);
    }

    fn push(&mut self, words: &str, file: Arc<PathBuf>, range: Range<usize>, is_verbatim: bool) {
        if words.is_empty() {
            return;
        }
        let start = self.sql.text.len();
        self.sql.text.push_str(words);
        let text = start..self.sql.text.len();
        self.sql.pieces.push(Piece { text, file, range, is_verbatim });
    }
}

/// Decodes a TOML string literal that stands `start` bytes into its file.
fn decode(literal: &str, start: usize, builder: &mut SqlBuilder) {
    let (open, is_basic) = match literal {
        _ if literal.starts_with("'''") => (3, false),
        _ if literal.starts_with("\"\"\"") => (3, true),
        _ if literal.starts_with('\'') => (1, false),
        _ => (1, true),
    };
    let close = literal.len().saturating_sub(open);
    let Some(mut inside) = literal.get(open..close.max(open)) else { return };
    let mut at = start + open;
    if open == 3 {
        let newline = ["\r\n", "\n"].into_iter().find(|newline| inside.starts_with(newline));
        let skipped = newline.map_or(0, str::len);
        inside = &inside[skipped..];
        at += skipped;
    }
    if !is_basic {
        builder.verbatim(inside, at);
        return;
    }
    while let Some(plain) = inside.find('\\') {
        builder.verbatim(&inside[..plain], at);
        inside = &inside[plain..];
        at += plain;
        let (value, len) = escape(inside);
        let mut buffer = [0; 4];
        builder.escape(value.map_or("", |c| c.encode_utf8(&mut buffer)), at..at + len);
        inside = &inside[len..];
        at += len;
    }
    builder.verbatim(inside, at);
}

/// The character an escape stands for, none for a line that goes on, and the escape's length.
fn escape(text: &str) -> (Option<char>, usize) {
    let Some(kind) = text.chars().nth(1) else { return (None, text.len()) };
    let digits = match kind {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => 0,
    };
    if digits > 0 {
        let number = text.get(2..2 + digits).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        let length = text.floor_char_boundary((2 + digits).min(text.len()));
        return (number.and_then(char::from_u32), length);
    }
    let value = match kind {
        'b' => '\u{8}',
        'e' => '\u{1b}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        ' ' | '\t' | '\r' | '\n' => {
            let rest = text[1..].trim_start_matches([' ', '\t', '\r', '\n']);
            return (None, text.len() - rest.len());
        }
        other => other,
    };
    (Some(value), 1 + kind.len_utf8())
}

#[cfg(test)]
mod tests;
