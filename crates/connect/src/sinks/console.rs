//! Console: the newest rows as a table of text, at least once.
//!
//! At most one table per period, however fast rows come: it shows the newest rows and says how many
//! came. What a terminal could take for a command is escaped, since cells are foreign bytes.
//!
//! Invariant: between two tables only the rows the next one shows are held.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use async_trait::async_trait;
use thalweg_core::env::Clock;
use thalweg_core::sink::{Committed, Epoch, Guarantee, Sink, Stamp};
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};

/// Widest cell, in characters; the rest is cut.
const CELL_WIDTH_MAX: usize = 40;

/// What is printed, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleConfig {
    /// Shortest time between two tables. Default 1 s; 0 prints every commit.
    pub every: Duration,
    /// Most rows of a table, at least 1. Default 10.
    pub rows_max: usize,
}

impl Default for ConsoleConfig {
    fn default() -> Self {
        Self { every: Duration::from_secs(1), rows_max: 10 }
    }
}

/// Where tables go.
type Output = Arc<Mutex<Box<dyn Write + Send>>>;

/// Prints rows. What is held back by the period is printed when the sink is dropped, at the latest.
pub struct ConsoleSink {
    config: ConsoleConfig,
    title: String,
    output: Output,
    clock: Clock,
    staged: Pending,
    committed: Pending,
    printed_at: Option<Timestamp>,
}

/// Rows that came and are not printed yet.
#[derive(Default)]
struct Pending {
    /// The newest, in order.
    newest: Vec<RecordBatch>,
    /// All of them.
    count: u64,
}

impl ConsoleSink {
    /// Makes a sink that prints to `output`, each table under `title`.
    pub fn new(
        config: ConsoleConfig,
        title: impl Into<String>,
        output: Box<dyn Write + Send>,
        clock: Clock,
    ) -> Self {
        Self {
            config,
            title: title.into(),
            output: Arc::new(Mutex::new(output)),
            clock,
            staged: Pending::default(),
            committed: Pending::default(),
            printed_at: None,
        }
    }

    /// Takes what is to be printed, as text; empty when there is nothing.
    fn take_text(&mut self) -> Result<String> {
        let Pending { newest, count } = std::mem::take(&mut self.committed);
        if count == 0 {
            return Ok(String::new());
        }
        table(&self.title, count, &newest).map_err(|error| {
            Error::internal("rows could not be written as text").with_source(error)
        })
    }
}

impl Pending {
    fn push(&mut self, rows: &RecordBatch, rows_max: usize) {
        self.count += rows.num_rows() as u64;
        if rows.num_rows() > 0 {
            self.newest.push(rows.clone());
        }
        let mut surplus =
            self.newest.iter().map(RecordBatch::num_rows).sum::<usize>().saturating_sub(rows_max);
        while let Some(first) = self.newest.first_mut().filter(|_| surplus > 0) {
            if first.num_rows() > surplus {
                *first = first.slice(surplus, first.num_rows() - surplus);
                break;
            }
            surplus -= first.num_rows();
            self.newest.remove(0);
        }
    }
}

#[async_trait]
impl Sink for ConsoleSink {
    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    async fn open(&mut self) -> Result<Option<Stamp>> {
        Ok(None)
    }

    async fn write(&mut self, _epoch: Epoch, rows: &RecordBatch) -> Result<()> {
        self.staged.push(rows, self.config.rows_max);
        Ok(())
    }

    async fn commit(&mut self, _stamp: &Stamp) -> Result<Committed> {
        let Pending { newest, count } = std::mem::take(&mut self.staged);
        for rows in &newest {
            self.committed.push(rows, self.config.rows_max);
        }
        // Rows that fell out of the newest have been counted only here.
        let kept: u64 = newest.iter().map(|rows| rows.num_rows() as u64).sum();
        self.committed.count += count - kept;

        let now = self.clock.now();
        let due = self.printed_at.is_none_or(|at| now.since(at) >= self.config.every);
        if due && self.committed.count > 0 {
            let text = self.take_text()?;
            let output = Arc::clone(&self.output);
            // A terminal that is held or a pipe that is full blocks; this must not block others.
            tokio::task::spawn_blocking(move || print(&output, &text))
                .await
                .map_err(|error| Error::internal("printing rows panicked").with_source(error))?
                .map_err(|error| {
                    Error::unavailable("rows could not be printed").with_source(error)
                })?;
            self.printed_at = Some(now);
        }
        Ok(Committed { rows_written: count, rows_superseded: 0 })
    }

    async fn discard(&mut self) {
        self.staged = Pending::default();
    }
}

impl Drop for ConsoleSink {
    fn drop(&mut self) {
        let Ok(text) = self.take_text() else { return };
        // If a print is still blocked, its reader is gone or asleep: nobody would see this one.
        let mut output = match self.output.try_lock() {
            Ok(output) => output,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        // There is nobody left to tell of a failure.
        let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    }
}

fn print(output: &Output, text: &str) -> io::Result<()> {
    let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
    output.write_all(text.as_bytes())?;
    output.flush()
}

/// Writes rows under a title that says how many there are, numbers to the right.
fn table(title: &str, count: u64, batches: &[RecordBatch]) -> Result<String, ArrowError> {
    let Some(first) = batches.first() else { return Ok(String::new()) };
    let schema = first.schema();
    let mut lines = vec![schema.fields().iter().map(|field| cell(field.name())).collect()];
    for batch in batches {
        lines.extend(cells(batch)?);
    }

    let shown = lines.len() as u64 - 1;
    let rows = if count == 1 { "row" } else { "rows" };
    let mut text = format!("{} · {count} {rows}", cell(title));
    if shown < count {
        let _ = write!(text, ", the newest {shown}");
    }
    text.push('\n');

    let width =
        |column: usize| lines.iter().map(move |line: &Vec<String>| char_count(&line[column]));
    let widths: Vec<usize> =
        (0..schema.fields().len()).map(|column| width(column).max().unwrap_or(0)).collect();
    for line in &lines {
        let mut written = String::new();
        for ((cell, width), field) in line.iter().zip(&widths).zip(schema.fields()) {
            let padding = " ".repeat(width - char_count(cell));
            let right = field.data_type().is_numeric();
            let (before, after) =
                if right { (padding, String::new()) } else { (String::new(), padding) };
            let _ = write!(written, "  {before}{cell}{after}");
        }
        text.push_str(written.trim_end());
        text.push('\n');
    }
    Ok(text)
}

/// The cells of a batch, row by row.
fn cells(batch: &RecordBatch) -> Result<Vec<Vec<String>>, ArrowError> {
    let options = FormatOptions::default().with_display_error(true).with_null("–");
    let columns: Vec<ArrayRef> = batch.columns().iter().map(in_utc).collect::<Result<_, _>>()?;
    let formatters: Vec<ArrayFormatter<'_>> = columns
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options))
        .collect::<Result<_, _>>()?;
    let row = |row| formatters.iter().map(|column| cell(&column.value(row).to_string())).collect();
    Ok((0..batch.num_rows()).map(row).collect())
}

/// Labels instants with an offset, which is written `Z` and needs no table of zones.
fn in_utc(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match column.data_type() {
        DataType::Timestamp(unit, _) => {
            cast(column, &DataType::Timestamp(*unit, Some("+00:00".into())))
        }
        _ => Ok(Arc::clone(column)),
    }
}

/// A text on one line of bounded width, without anything a terminal obeys.
fn cell(text: &str) -> String {
    let mut cell: String = text
        .chars()
        .take(CELL_WIDTH_MAX + 1)
        .map(|character| if is_printed(character) { character } else { '\u{FFFD}' })
        .collect();
    if let Some((cut, _)) = cell.char_indices().nth(CELL_WIDTH_MAX) {
        cell.truncate(cut);
        cell.pop();
        cell.push('…');
    }
    cell
}

/// Control characters move the cursor or change the terminal; the marks of writing direction make a
/// cell show other text than it holds.
fn is_printed(character: char) -> bool {
    let turns = matches!(character, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    !character.is_control() && !turns
}

fn char_count(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests;
