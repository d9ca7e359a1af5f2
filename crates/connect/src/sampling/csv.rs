//! CSV: delimiter, quote, header, and fields that mean NULL.

use thalweg_core::schema::{Column, ColumnType};
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};

use super::roles::{self, Names};
use super::values::{Seen, fits, infer};
use super::{COLUMNS_MAX, Proposal, ProposedColumn, ProposedFormat, ROWS_MAX};
use crate::codecs::csv::split_records;

const DELIMITERS: [char; 4] = [',', ';', '\t', '|'];
/// Records by which the delimiter is told.
const PROBED: usize = 100;
/// Texts that may stand for no value.
const NULLS: [&str; 9] = ["NA", "N/A", "n/a", "NULL", "null", "None", "-", "?", "NaN"];
/// Longest name of a column.
const NAME_MAX: usize = 60;

type Records = Vec<Vec<String>>;

pub(super) fn of_text(
    text: &str,
    encoding: Option<&'static str>,
    is_cut: bool,
    now: Timestamp,
) -> Result<Proposal> {
    let quote = quote(text);
    let delimiter = delimiter(text, quote);
    let mut records = split_records(text, delimiter, quote, ROWS_MAX + 1);
    if is_cut && records.len() <= ROWS_MAX {
        // The last one may not be whole.
        records.pop();
    }
    let width =
        usual_width(&records).ok_or_else(|| Error::invalid("there are no records in it"))?;
    if width > COLUMNS_MAX {
        return Err(Error::invalid(format!("it has {width} columns, more than {COLUMNS_MAX}")));
    }
    let header = has_header(&records, width);
    let (head, rows) = records.split_at(usize::from(header));
    let rows: Vec<&Vec<String>> = rows.iter().filter(|row| row.len() == width).collect();
    let null = nulls(&rows, width, now);
    let mut names = Names::default();
    let mut columns = Vec::with_capacity(width);
    let mut checks = Vec::new();
    for at in 0..width {
        let shown = head.first().map_or_else(|| format!("c{}", at + 1), |head| head[at].clone());
        let name = names.take(&shown);
        let seen: Vec<Seen> = rows.iter().map(|row| seen(&row[at], &null)).collect();
        let inferred = infer(&shown, &seen, now);
        let column = Column {
            select: (header && name != shown).then_some(shown),
            name,
            kind: inferred.kind,
            nullable: inferred.nullable,
            unit: inferred.unit,
            allow_nan: false,
        };
        checks.extend(roles::check(&column, &seen));
        columns.push(column);
    }
    let (key, event_time) = (roles::key(&columns), roles::event_time(&columns));
    let format = ProposedFormat::Csv { delimiter, quote, header, null, encoding };
    let columns = columns.into_iter().map(|column| ProposedColumn { column, clean: None });
    Ok(Proposal { format, columns: columns.collect(), key, event_time, checks })
}

fn seen(field: &str, null: &[String]) -> Seen {
    match null.iter().any(|it| it == field) {
        true => Seen::Null,
        false => Seen::Plain(field.to_owned()),
    }
}

/// `'` where fields are enclosed by it and nothing by `"`.
fn quote(text: &str) -> char {
    let opens = |quote: char| {
        let starts = DELIMITERS.iter().map(|delimiter| format!("{delimiter}{quote}"));
        starts.map(|start| text.matches(start.as_str()).count()).sum::<usize>()
            + usize::from(text.starts_with(quote))
    };
    if opens('\'') > 1 && opens('"') == 0 { '\'' } else { '"' }
}

/// The delimiter that cuts most records into the same number of fields, of two the one with more.
fn delimiter(text: &str, quote: char) -> char {
    let score = |delimiter: char| {
        let records = split_records(text, delimiter, quote, PROBED);
        let width = usual_width(&records).unwrap_or(1);
        let alike = records.iter().filter(|record| record.len() == width).count();
        let share = alike * 100 / records.len().max(1);
        (width > 1, share, width)
    };
    let scored = DELIMITERS.into_iter().rev().map(|delimiter| (score(delimiter), delimiter));
    scored.max_by_key(|(score, _)| *score).map_or(',', |(_, delimiter)| delimiter)
}

/// How many fields most records have.
fn usual_width(records: &Records) -> Option<usize> {
    let widths: Vec<usize> = records.iter().map(Vec::len).collect();
    let count = |width: &usize| widths.iter().filter(|it| *it == width).count();
    widths.iter().max_by_key(|width| (count(width), **width)).copied()
}

/// Whether the first record names the columns: its fields are names, each once, and something
/// below is of another kind, or does not look like a name.
fn has_header(records: &Records, width: usize) -> bool {
    let Some(first) = records.first().filter(|first| first.len() == width) else { return false };
    let is_name = |field: &String| {
        let field = field.trim();
        (1..=NAME_MAX).contains(&field.chars().count())
            && !fits(ColumnType::Double, field)
            && !fits(ColumnType::Timestamp, field)
            && field.chars().any(char::is_alphabetic)
    };
    let are_names = first.iter().all(is_name);
    let is_once = first.iter().enumerate().all(|(at, field)| !first[..at].contains(field));
    if !are_names || !is_once {
        return false;
    }
    let below = records.iter().skip(1).filter(|row| row.len() == width);
    let recurs = below.clone().any(|row| row.iter().zip(first).any(|(field, name)| field == name));
    let has_other = below.flat_map(|row| row.iter()).any(|field| !is_name(field));
    has_other || !recurs
}

/// Fields that mean NULL: the empty one, and words without which a column is no longer text.
fn nulls(rows: &[&Vec<String>], width: usize, now: Timestamp) -> Vec<String> {
    let mut null = vec![String::new()];
    for at in 0..width {
        let without = |words: &[&str]| {
            let fields = rows.iter().map(|row| row[at].as_str());
            let left = fields.filter(|it| !it.is_empty() && !words.contains(it));
            left.map(|it| Seen::Plain(it.to_owned())).collect::<Vec<_>>()
        };
        let words: Vec<&str> =
            NULLS.into_iter().filter(|word| rows.iter().any(|row| row[at] == *word)).collect();
        let left = without(&words);
        if words.is_empty() || left.is_empty() {
            continue;
        }
        let was_text = infer("", &without(&[]), now).kind == ColumnType::Text;
        if was_text && infer("", &left, now).kind != ColumnType::Text {
            null.extend(words.into_iter().map(str::to_owned));
        }
    }
    null.dedup();
    let mut seen = Vec::new();
    null.retain(|word| {
        let is_new = !seen.contains(word);
        seen.push(word.clone());
        is_new
    });
    null
}
