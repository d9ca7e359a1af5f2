//! Tables of the lake.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use thalweg_core::problem::Place;
use thalweg_core::schema::Column;

use crate::codes::{self, Telling};
use crate::entry::{Bytes, Entry, from_text};
use crate::keys::Kind;
use crate::kinds::S3;
use crate::kinds::source::lookup::{declared_columns, is_only_read};
use crate::spanned::Spanned;
use crate::sql_text::SqlText;

/// A table of the lake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name in SQL.
    pub name: Spanned<String>,
    /// What fills it.
    pub input: TableInput,
    /// What it is kept as.
    pub format: TableFormat,
    /// Where it lies.
    pub place: TablePlace,
    /// Where `delta`, `csv` and so on stand.
    pub format_place: Place,
    /// Of one that is only read: its columns, the declared ones or those that it carries.
    pub columns: Vec<Column>,
    /// Columns that split it into folders, in order.
    pub partition_by: Vec<Partition>,
    /// When a new file is begun, for plain files.
    pub roll: Roll,
    /// What a row does to it, where that is written.
    pub mode: Option<Spanned<TableMode>>,
}

impl Table {
    /// Whether a row is added with what it does.
    pub fn is_changelog(&self) -> bool {
        self.mode.as_ref().is_some_and(|mode| mode.value == TableMode::Changelog)
    }
}

/// What a table is kept as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFormat {
    /// A Delta table.
    Delta,
    /// Parquet files.
    Parquet,
    /// Avro object container files.
    Avro,
    /// CSV files with a header.
    Csv {
        /// What separates fields; ASCII.
        delimiter: char,
    },
    /// Files of JSON lines.
    Json,
}

impl TableFormat {
    /// Its key.
    pub fn word(self) -> &'static str {
        match self {
            Self::Delta => "delta",
            Self::Parquet => "parquet",
            Self::Avro => "avro",
            Self::Csv { .. } => "csv",
            Self::Json => "json",
        }
    }
}

/// Where a table lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TablePlace {
    /// A folder, below the project folder unless it is absolute.
    Disk(PathBuf),
    /// `hdfs://namenode:port/folder`.
    Hdfs(String),
    /// A folder of an S3 bucket.
    S3(S3),
}

impl fmt::Display for TablePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(path) => write!(f, "{}", path.display()),
            Self::Hdfs(url) => f.write_str(url),
            Self::S3(s3) => f.write_str(&s3.url),
        }
    }
}

/// When a new file is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roll {
    /// After this time. Default `runtime.commit.every`.
    pub every: Option<Duration>,
    /// At this size. Default 128 MB.
    pub bytes: u64,
}

/// What a row does to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableMode {
    /// It is added.
    Append,
    /// It is added with `_op` and `_epoch`.
    Changelog,
}

from_text! {
    TableMode: |text| match text {
        "append" => Some(Self::Append),
        "changelog" => Some(Self::Changelog),
        _ => None,
    };
}

/// What fills a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableInput {
    /// The rows of a source or stream, exactly once.
    From(Spanned<String>),
    /// A job, which runs the SQL of a stream as a batch.
    BatchOf {
        /// The stream.
        stream: Spanned<String>,
        /// The history of a source, where it has several tables: source and table.
        over: Vec<(Spanned<String>, Spanned<String>)>,
        /// The day of a row, over the table's columns: a refresh of a day replaces its rows.
        replace: SqlText,
    },
    /// Nothing here: the table is only read.
    ReadOnly,
}

/// A column that splits a table into folders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The column that is added, or one that is there.
    pub column: Spanned<String>,
    /// How it is computed from a row; its own name for one that is there.
    pub sql: SqlText,
}

pub(crate) fn lower(name: &Spanned<String>, entry: Entry<'_>) -> Option<Table> {
    let partitions = entry.child("partition_by").members().into_iter();
    let partition_by = partitions
        .filter_map(|(column, sql)| {
            Some(Partition { column: column.clone(), sql: sql.read_sql()? })
        })
        .collect();
    let from = entry.spanned("from");
    let batch_of = entry.spanned("batch_of");
    let over = lower_over(entry);
    let replace = entry.sql("replace");
    let mode = entry.spanned("mode");
    let roll = entry.child("roll");
    let roll = Roll { every: roll.get("every"), bytes: roll.value::<Bytes>("size").0 };
    let (format, written) = lower_format(entry)?;
    let format_place = written.place();
    let is_lookup = is_only_read(entry);
    if is_lookup && format != TableFormat::Delta {
        // It is lowered as a source of files is.
        return None;
    }
    let columns = match is_lookup {
        true => declared_columns(entry)?,
        false => Vec::new(),
    };
    match is_lookup {
        true => report_of_filled(entry),
        false => report_of_lookups(entry),
    }
    let place = lower_place(entry, written)?;
    let input = match (from, batch_of) {
        (Some(from), _) => TableInput::From(from),
        (None, Some(stream)) => TableInput::BatchOf { stream, over: over?, replace: replace? },
        (None, None) => TableInput::ReadOnly,
    };
    let name = name.clone();
    Some(Table { name, input, format, place, format_place, columns, partition_by, roll, mode })
}

/// What the table is kept as, and the keys of that.
fn lower_format(entry: Entry<'_>) -> Option<(TableFormat, Entry<'_>)> {
    let csv = entry.child("csv");
    let delimiter = csv.value("delimiter");
    let formats = [
        (TableFormat::Delta, entry.child("delta")),
        (TableFormat::Parquet, entry.child("parquet")),
        (TableFormat::Avro, entry.child("avro")),
        (TableFormat::Csv { delimiter }, csv),
        (TableFormat::Json, entry.child("json")),
    ];
    formats.into_iter().find_map(|(format, entry)| Some((format, entry.written()?)))
}

fn lower_place(entry: Entry<'_>, written: Entry<'_>) -> Option<TablePlace> {
    let s3 = lower_s3(entry.child("s3"));
    let path: Spanned<String> = written.spanned("path")?;
    let read = written.secret("path")?;
    let scheme = read.reveal().split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let problem = |code, message: String| codes::problem(code, message, path.place.clone());
    let place = match scheme.as_deref() {
        None if read.reveal().trim().is_empty() => {
            entry.report(problem(codes::MALFORMED, "the path of the table is empty".to_owned()));
            return None;
        }
        None => TablePlace::Disk(entry.lowering.dir.join(read.reveal())),
        Some("hdfs") => {
            let url = read.reveal().trim_end_matches('/');
            if !url.strip_prefix("hdfs://").is_some_and(|rest| rest.contains('/')) {
                let message = format!("`{path}` names no folder of a cluster");
                let label = "such as `hdfs://namenode:9000/trades`";
                entry.report(problem(codes::MALFORMED, message).label(label));
                return None;
            }
            TablePlace::Hdfs(url.to_owned())
        }
        Some("s3" | "s3a") => {
            let rest = read.reveal().split_once("://").map(|(_, rest)| rest.trim_end_matches('/'));
            let Some(rest) = rest.filter(|rest| rest.contains('/')) else {
                let message = format!("`{path}` names no folder of a bucket");
                entry.report(
                    problem(codes::MALFORMED, message).label("such as `s3://bucket/trades`"),
                );
                return None;
            };
            TablePlace::S3(S3 { url: format!("s3://{rest}"), ..s3 })
        }
        Some(scheme) => {
            let message = format!("a table cannot lie in `{scheme}://`");
            let hint = "A path, `s3://` and `hdfs://` can.";
            entry.report(problem(codes::MALFORMED, message).hint(hint));
            return None;
        }
    };
    if let Some(s3) = entry.child("s3").written()
        && !matches!(place, TablePlace::S3(_))
    {
        let message = "`s3` says how a bucket is reached, and the path names none";
        entry.report(codes::problem(codes::DOES_NOT_FIT, message, s3.place()));
        return None;
    }
    Some(place)
}

/// How the bucket is reached, before its folder is known.
pub(crate) fn lower_s3(entry: Entry<'_>) -> S3 {
    let read = |key: &str| entry.child(key).written().and_then(Entry::read_secret);
    let keys = read("access_key_id").zip(read("secret_access_key"));
    let token = read("session_token");
    S3 {
        url: String::new(),
        anonymous: false,
        region: entry.get("region"),
        endpoint: read("endpoint").map(|endpoint| endpoint.reveal().to_owned()),
        keys: keys.map(|(id, secret)| (id, secret, token)),
    }
}

/// Reports keys that only say how the files of a lookup are read.
fn report_of_lookups(entry: Entry<'_>) {
    let csv = entry.child("csv");
    let keys = [entry.child("columns"), csv.child("quote"), csv.child("header"), csv.child("null")];
    for key in keys.into_iter().filter_map(Entry::written) {
        let message = "this says how a lookup is read, and the table is none";
        let problem = codes::problem(codes::DOES_NOT_FIT, message, key.place());
        entry.report(problem.hint("A table without `from` and `batch_of` is a lookup."));
    }
}

/// Reports keys that only say how a table is filled.
fn report_of_filled(entry: Entry<'_>) {
    let keys = ["partition_by", "mode"].map(|key| entry.child(key));
    for key in keys.into_iter().filter_map(Entry::written) {
        let message = "this says how a table is filled, and nothing fills this one";
        let problem = codes::problem(codes::DOES_NOT_FIT, message, key.place());
        entry.report(problem.hint("Say `from` or `batch_of`, or leave it out."));
    }
}

/// Sources and their histories; none when a name is not one of a source.
fn lower_over(entry: Entry<'_>) -> Option<Vec<(Spanned<String>, Spanned<String>)>> {
    let members = entry.child("over").members();
    let mut over = Vec::new();
    for (source, table) in members {
        let lowering = entry.lowering;
        let kinds = &[Kind::Source];
        let refused = lowering.definitions.refuse(source, kinds, lowering.is_whole, &source.place);
        if let Some(problem) = refused {
            entry.report(problem.hint("`over` says of a source which table is its history."));
            return None;
        }
        over.push((source.clone(), table.read_spanned()?));
    }
    Some(over)
}
