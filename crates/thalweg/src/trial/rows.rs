//! Rows of a test, from the project file or from a file of their own: JSON lines, or a JSON array of
//! objects. Numbers stay as they are written.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use thalweg_core::problem::Place;
use thalweg_core::{Error, Result};
use thalweg_project::TestRows;

/// Bytes of a file of rows.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// One row.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Columns and their values as JSON, in the order in which they are written.
    pub cells: Vec<(String, String)>,
    /// Where it stands.
    pub place: RowPlace,
}

/// Where a row stands.
#[derive(Clone, Debug)]
pub(crate) enum RowPlace {
    /// In a file of the project.
    Inline(Place),
    /// In a file of rows.
    Line {
        /// Relative to the project folder.
        file: PathBuf,
        /// From 1.
        line: usize,
    },
}

impl fmt::Display for RowPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(place) => write!(f, "{}", place.file.display()),
            Self::Line { file, line } => write!(f, "{}:{line}", file.display()),
        }
    }
}

/// The rows; those of a file are read.
///
/// # Errors
///
/// `Unavailable` when the file cannot be read; `Invalid`, with the line, when it is not rows.
pub(crate) fn load_rows(dir: &Path, rows: &TestRows) -> Result<Vec<Row>> {
    match rows {
        TestRows::Inline { rows, .. } => Ok(rows
            .iter()
            .map(|row| Row {
                cells: row
                    .cells
                    .iter()
                    .map(|it| (it.column.value.clone(), it.json.clone()))
                    .collect(),
                place: RowPlace::Inline(row.place.clone()),
            })
            .collect()),
        TestRows::File(path) => {
            let text = read(&dir.join(path.as_str()), path.as_str())?;
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
            match text.trim_start().starts_with('[') {
                true => of_array(text, path.as_str()),
                false => of_lines(text, path.as_str()),
            }
        }
    }
}

fn read(path: &Path, shown: &str) -> Result<String> {
    let cannot = |error: std::io::Error| {
        Error::unavailable(format!("`{shown}` cannot be read: {error}"))
            .with_hint("Its path is relative to the project folder.")
    };
    let length = std::fs::metadata(path).map_err(cannot)?.len();
    if length > FILE_BYTES_MAX {
        return Err(Error::invalid(format!(
            "`{shown}` has {length} bytes, and a file of rows {FILE_BYTES_MAX} at most"
        )));
    }
    let bytes = std::fs::read(path).map_err(cannot)?;
    String::from_utf8(bytes).map_err(|_| Error::invalid(format!("`{shown}` is not UTF-8")))
}

fn of_lines(text: &str, shown: &str) -> Result<Vec<Row>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(number, line)| row(line, shown, number + 1)).collect()
}

fn of_array(text: &str, shown: &str) -> Result<Vec<Row>> {
    let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| {
        Error::invalid(format!("line {} of `{shown}` is not JSON: {error}", error.line()))
    })?;
    items
        .into_iter()
        .map(|item| {
            let before = item.get().as_ptr().addr() - text.as_ptr().addr();
            row(item.get(), shown, text[..before].matches('\n').count() + 1)
        })
        .collect()
}

fn row(text: &str, shown: &str, line: usize) -> Result<Row> {
    let Cells(cells) = serde_json::from_str(text).map_err(|error| {
        Error::invalid(format!("line {line} of `{shown}` is no row: {error}"))
            .with_hint("A row is a JSON object of its columns, such as `{\"price\": 1.5}`.")
    })?;
    Ok(Row { cells, place: RowPlace::Line { file: PathBuf::from(shown), line } })
}

/// The members of an object, in their order.
struct Cells(Vec<(String, String)>);

impl<'de> serde::Deserialize<'de> for Cells {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Vec<(String, String)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut cells = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    cells.push((name, value.get().to_owned()));
                }
                Ok(cells)
            }
        }
        deserializer.deserialize_map(Members).map(Cells)
    }
}
