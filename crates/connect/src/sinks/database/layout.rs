//! From the pipeline's columns to the table's: which there are, where their values come from, and
//! the key among them.
//!
//! What is done with rows once they are staged is in [`super::staged`].

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema, SchemaRef};
use thalweg_core::sink::Epoch;
use thalweg_core::{Error, Result, problem};

use super::kind::Kind;
use super::server::{Server, TargetColumn};
use super::staged::{Staged, misshapen};
use super::{EPOCH, Mode, OPERATION, OPERATION_DELETE, OPERATION_INSERT};

/// How rows of the pipeline become rows of the table.
pub(super) struct Layout {
    input: SchemaRef,
    /// The table's columns, in order.
    pub(super) columns: Vec<TargetColumn>,
    /// Where the value of each column comes from.
    origins: Vec<Origin>,
    staged: SchemaRef,
    /// Numbers of the key's columns; none without a key.
    pub(super) key: Vec<usize>,
    /// Number of the input column that says which rows delete.
    operation: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Input(usize),
    Insert,
    Epoch,
}

impl Layout {
    /// Lays out rows of `input`; the error lists everything that stands against it.
    pub(super) fn new(input: SchemaRef, mode: &Mode, server: &dyn Server) -> Result<Self> {
        let mut problems = Vec::new();
        let mut columns = Vec::new();
        let mut origins = Vec::new();
        let mut operation = None;
        for (number, field) in input.fields().iter().enumerate() {
            let name = field.name();
            if name == OPERATION {
                match mode {
                    Mode::Append => problems.push(format!(
                        "rows that may be revised or deleted (`{OPERATION}`) cannot be appended: \
                         use mode upsert or changelog"
                    )),
                    Mode::Upsert { .. } => {
                        operation = Some(number);
                        continue;
                    }
                    Mode::Changelog => {}
                }
            }
            if let Some(problem) = server.name_problem(name) {
                problems.push(format!("column name `{name}` {problem}"));
            }
            match Kind::of(field).filter(|kind| server.has(*kind)) {
                Some(kind) => {
                    columns.push(column(name, kind, field.is_nullable()));
                    origins.push(Origin::Input(number));
                }
                None => problems.push(format!(
                    "column `{name}`: {} has no type for {}: cast it to text",
                    server.name(),
                    field.data_type().to_string().to_lowercase()
                )),
            }
        }
        if *mode == Mode::Changelog {
            for (name, kind, origin) in
                [(OPERATION, Kind::Text, Origin::Insert), (EPOCH, Kind::Bigint, Origin::Epoch)]
            {
                if input.field_with_name(name).is_err() {
                    columns.push(column(name, kind, false));
                    origins.push(origin);
                }
            }
        }
        let mut seen = HashSet::new();
        for column in columns.iter().filter(|column| !seen.insert(&column.name)) {
            problems.push(format!("two columns are called `{}`", column.name));
        }
        let key = key_columns(mode, &columns, &mut problems);

        if !problems.is_empty() {
            return Err(Error::invalid(format!("the rows do not fit {}", server.name()))
                .with_detail(format!("{}.", problems.join("; "))));
        }
        let staged = columns.iter().map(|c| Field::new(&c.name, c.kind.staged(), true));
        let staged = Arc::new(Schema::new(staged.collect::<Vec<_>>()));
        Ok(Self { input, columns, origins, staged, key, operation })
    }

    /// Turns rows of an epoch into rows of the table. Also returns how many values were changed
    /// because the server has no place for them.
    pub(super) fn stage(
        &self,
        epoch: Epoch,
        rows: &RecordBatch,
        server: &dyn Server,
    ) -> Result<(Staged, usize)> {
        let names = |schema: &SchemaRef| -> Vec<String> {
            schema.fields().iter().map(|field| field.name().clone()).collect()
        };
        if rows.schema_ref() != &self.input && names(rows.schema_ref()) != names(&self.input) {
            return Err(Error::internal("rows have other columns than the sink was made for"));
        }
        let mut changed = 0;
        let mut staged = Vec::with_capacity(self.columns.len());
        for (column, origin) in self.columns.iter().zip(&self.origins) {
            staged.push(match *origin {
                Origin::Input(number) => {
                    let (values, count) = place(column, rows.column(number), server)?;
                    changed += count;
                    values
                }
                Origin::Insert => {
                    let inserts = std::iter::repeat_n(Some(OPERATION_INSERT), rows.num_rows());
                    Arc::new(inserts.collect::<StringArray>()) as ArrayRef
                }
                Origin::Epoch => {
                    let epoch = i64::try_from(epoch)
                        .map_err(|_| Error::internal(format!("epoch {epoch} is too large")))?;
                    Arc::new(Int64Array::from_value(epoch, rows.num_rows()))
                }
            });
        }
        for (number, column) in self.key.iter().map(|number| (*number, &self.columns[*number])) {
            if staged[number].null_count() > 0 {
                return Err(Error::invalid(format!(
                    "a row has no `{}`, which is part of its key",
                    column.name
                ))
                .with_hint(format!(
                    "Leave such rows out in the stream: WHERE {} IS NOT NULL.",
                    column.name
                )));
            }
        }
        let deletes = match self.operation {
            Some(number) => {
                let operations = Kind::Text.cast(rows.column(number)).map_err(misshapen)?;
                let operations = operations.as_string::<i32>();
                Some(operations.iter().map(|name| Some(name == Some(OPERATION_DELETE))).collect())
            }
            None => None,
        };
        let rows = RecordBatch::try_new(Arc::clone(&self.staged), staged).map_err(misshapen)?;
        Ok((Staged { rows, deletes }, changed))
    }
}

/// Brings the values of a column to what the table can hold.
fn place(
    column: &TargetColumn,
    values: &ArrayRef,
    server: &dyn Server,
) -> Result<(ArrayRef, usize)> {
    let cannot = || Error::invalid(format!("column `{}` cannot be written", column.name));
    let values = column.kind.cast(values).map_err(|error| cannot().with_source(error))?;
    server.place(column.kind, values).map_err(|clause| {
        cannot().with_detail(format!("{clause}.")).with_hint(format!(
            "Leave such rows out in the stream, or write NULL instead of such values of `{}`.",
            column.name
        ))
    })
}

fn column(name: &str, kind: Kind, nullable: bool) -> TargetColumn {
    TargetColumn { name: name.to_owned(), kind, nullable }
}

/// Finds the columns of an upsert's key.
fn key_columns(mode: &Mode, columns: &[TargetColumn], problems: &mut Vec<String>) -> Vec<usize> {
    let Mode::Upsert { key } = mode else { return Vec::new() };
    if key.is_empty() {
        problems.push("mode upsert needs a key".to_owned());
    }
    let mut numbers = Vec::with_capacity(key.len());
    for name in key {
        match columns.iter().position(|column| column.name == *name) {
            None => {
                let names = columns.iter().map(|column| column.name.as_str());
                let meant = problem::nearest(name, names);
                let meant = meant.map(|name| format!(", did you mean `{name}`?"));
                problems.push(format!("no key column `{name}`{}", meant.unwrap_or_default()));
            }
            Some(number) if numbers.contains(&number) => {
                problems.push(format!("key column `{name}` is given twice"));
            }
            Some(number) if !columns[number].kind.is_key() => {
                problems.push(format!("column `{name}` is json and cannot be a key"));
            }
            Some(number) => numbers.push(number),
        }
    }
    numbers
}
