//! Tables of the lake.

use std::path::PathBuf;

use crate::codes::{self, Telling};
use crate::entry::Entry;
use crate::keys::Kind;
use crate::kinds::source::lookup::is_only_read;
use crate::spanned::Spanned;
use crate::sql_text::SqlText;

/// A Delta table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name in SQL.
    pub name: Spanned<String>,
    /// What fills it.
    pub input: TableInput,
    /// Its folder, below the project folder unless it is absolute.
    pub path: PathBuf,
    /// Columns that split it into folders, in order.
    pub partition_by: Vec<Partition>,
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
    // `append`, the only mode that is built, is what every table does.
    let _: Option<String> = entry.get("mode");
    let delta = entry.child("delta");
    if delta.written().is_none() {
        files_not_built(entry);
        return None;
    }
    let path: Spanned<String> = delta.spanned("path")?;
    if let Some((scheme, _)) = path.split_once("://") {
        let message =
            format!("`{scheme}://` is not built yet: tables that are not on this machine");
        let problem = codes::problem(codes::NOT_BUILT, message, path.place);
        entry.report(
            problem.hint("A later version reads it; take a folder of this machine for now."),
        );
        return None;
    }
    let input = match (from, batch_of) {
        (Some(from), _) => TableInput::From(from),
        (None, Some(stream)) => TableInput::BatchOf { stream, over: over?, replace: replace? },
        (None, None) => TableInput::ReadOnly,
    };
    let path = entry.lowering.dir.join(&path.value);
    Some(Table { name: name.clone(), input, path, partition_by })
}

/// Tables of other formats are only read so far; what would fill one is reported.
fn files_not_built(entry: Entry<'_>) {
    if is_only_read(entry) {
        return;
    }
    let formats = ["parquet", "avro", "csv", "json"];
    let Some(format) = formats.iter().find_map(|key| entry.child(key).written()) else { return };
    let message = "it is not built yet to write files of this format";
    let problem = codes::problem(codes::NOT_BUILT, message, format.place());
    entry.report(problem.hint("A later version writes them; take `delta.path` for now."));
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
