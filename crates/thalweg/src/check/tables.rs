//! Tables: the columns each is kept with, which of them hold every row of what they are made from,
//! and what cannot be kept as it is declared.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use thalweg_core::problem::{Place, Problem};
use thalweg_lake::files::{self, By, Format};
use thalweg_lake::{Changelog, files::Partition as Folder};
use thalweg_project::{Job, Project, SqlText, Table, TableFormat, TableInput, TaskAction};
use thalweg_stream::program::Shape;

use super::{Checked, problem};

/// What a table of plain files is kept as; none for Delta.
pub(crate) fn format(table: &Table) -> Option<Format> {
    Some(match table.format {
        TableFormat::Delta => return None,
        TableFormat::Parquet => Format::Parquet,
        TableFormat::Avro => Format::Avro,
        TableFormat::Csv { delimiter } => {
            Format::Csv { delimiter: u8::try_from(delimiter).unwrap_or(b',') }
        }
        TableFormat::Json => Format::Json,
    })
}

/// The table that queries of a source or stream read: the first that holds every row with every
/// column, hidden ones too (S17a).
pub(crate) fn lossless<'a>(project: &'a Project, name: &str) -> Option<&'a Table> {
    let is_source = project.source(name).is_some();
    project.tables_from(name).find(|table| {
        let holds_all = match table.format {
            TableFormat::Delta | TableFormat::Parquet => true,
            // They have no hidden columns; those of a stream are computed again.
            TableFormat::Avro => !is_source,
            // Empty text and null are one to them, or text and bytes.
            TableFormat::Csv { .. } | TableFormat::Json => false,
        };
        holds_all && !table.is_changelog()
    })
}

/// The columns of a table as `SELECT` sees them: of its rows, then of its folders.
pub(crate) fn with_folders(table: &Table, handed: &SchemaRef) -> SchemaRef {
    let kept = kept(table, handed);
    let added = |name: &str| kept.column_with_name(name).is_none();
    if let Some(format) = format(table) {
        if let Ok(schema) = files::columns(&kept, format, &folders(table)) {
            return schema;
        }
        return kept;
    }
    let days = table.partition_by.iter().map(|partition| partition.column.as_str());
    let days = days.filter(|name| added(name));
    let days = days.map(|name| Arc::new(Field::new(name, DataType::Date32, true)));
    Arc::new(Schema::new(kept.fields().iter().cloned().chain(days).collect::<Vec<_>>()))
}

/// The columns that rows have when they are kept: those handed over, and what a changelog adds.
pub(crate) fn kept(table: &Table, handed: &SchemaRef) -> SchemaRef {
    match table.is_changelog() {
        true => Changelog::schema(handed),
        false => Arc::clone(handed),
    }
}

/// The columns whose values name folders.
pub(crate) fn folders(table: &Table) -> Vec<Folder> {
    let folder = |partition: &thalweg_project::Partition| Folder {
        column: partition.column.value.clone(),
        by: day_source(partition.sql.as_str()).map_or(By::Itself, By::Day),
    };
    table.partition_by.iter().map(folder).collect()
}

/// The column inside `date(ts)`.
pub(crate) fn day_source(sql: &str) -> Option<String> {
    let inner = sql.trim().strip_prefix("date(")?.strip_suffix(')')?.trim();
    Some(inner.trim_matches('"').to_owned())
}

/// What is wrong with a table whose rows have the columns `handed`.
pub(super) fn problems(table: &Table, handed: &SchemaRef, checked: &Checked) -> Vec<Problem> {
    let mut problems = Vec::new();
    for partition in &table.partition_by {
        let sql = partition.sql.as_str().trim().trim_matches('"');
        if day_source(sql).is_none() && sql != partition.column.as_str() {
            problems.push(wrong_folder(&partition.sql));
        }
    }
    let Some(format) = format(table) else {
        let is_day = |it: &thalweg_project::Partition| day_source(it.sql.as_str()).is_some();
        let unfit = table.partition_by.iter().enumerate().find(|(at, it)| *at > 0 || !is_day(it));
        if let Some((_, partition)) = unfit.filter(|_| problems.is_empty()) {
            problems.push(told(
                "T0501",
                "folders of a Delta table by more than one day are not built yet".to_owned(),
                "Plain files, such as `parquet.path`, can be split by any column.",
                partition.sql.whole_place(),
            ));
        }
        return problems;
    };
    if !problems.is_empty() {
        return problems;
    }
    if let Err(error) = files::columns(&kept(table, handed), format, &folders(table)) {
        let hint = error.hint.or(error.detail).unwrap_or_default();
        problems.push(told("T0207", error.message, hint, &table.format_place));
    }
    if let TableInput::From(from) = &table.input
        && !table.is_changelog()
        && checked.streams.get(from.as_str()).is_some_and(|it| it.shape == Shape::Updating)
    {
        let message = format!(
            "`{}` changes its rows, so plain files cannot be its table `{}`",
            from.as_str(),
            table.name.as_str()
        );
        let hint =
            "Set `mode = \"changelog\"` for every change, or `emit = \"final\"` in the stream.";
        problems.push(told("T0305", message, hint, &from.place));
    }
    problems
}

/// What is wrong with the histories that batches read, and with tasks over tables.
pub(super) fn problems_of_use(project: &Project) -> Vec<Problem> {
    let mut problems = Vec::new();
    for table in &project.tables {
        let TableInput::BatchOf { over, .. } = &table.input else { continue };
        for (source, history) in over {
            let Some(named) = project.table(history.as_str()) else { continue };
            if !matches!(named.format, TableFormat::Delta | TableFormat::Parquet) {
                problems.push(told(
                    "T0207",
                    format!("table `{history}` does not hold every column of `{source}`"),
                    "A history is kept as `delta` or `parquet`.",
                    &history.place,
                ));
            }
        }
    }
    let mut places: BTreeMap<String, &Table> = BTreeMap::new();
    let fed = project.tables.iter().filter(|it| it.input != TableInput::ReadOnly);
    for table in fed {
        if let Some(other) = places.insert(table.place.to_string(), table) {
            let (name, other) = (table.name.as_str(), other.name.as_str());
            problems.push(told(
                "T0207",
                format!("tables `{other}` and `{name}` lie in one folder, {}", table.place),
                "Each table has a folder of its own.",
                &table.format_place,
            ));
        }
    }
    let tasks = project.jobs.iter().flat_map(|job: &Job| &job.tasks);
    for table in tasks.filter_map(|task| match &task.action {
        TaskAction::Compact { table } => Some(table),
        _ => None,
    }) {
        let Some(named) = project.table(table.as_str()) else { continue };
        if named.input == TableInput::ReadOnly {
            problems.push(told(
                "T0207",
                format!("nothing here fills `{table}`, so it is not merged either"),
                "Whoever fills it also tends it.",
                &table.place,
            ));
        }
        if format(named).is_some() {
            problems.push(told(
                "T0501",
                format!("`{table}` is plain files, which are not merged yet"),
                "A larger `roll` makes fewer files; `delta.path` makes a table that is compacted.",
                &table.place,
            ));
        }
    }
    problems
}

fn wrong_folder(sql: &SqlText) -> Problem {
    let hint = "Write `day = \"date(ts)\"` for the day of a column, or `symbol = \"symbol\"` for a \
                column that is there.";
    let message = format!("folders cannot be named by `{}`", sql.as_str());
    told("T0205", message, hint, sql.whole_place())
}

fn told(code: &'static str, message: String, hint: impl Into<String>, place: &Place) -> Problem {
    let mut problem = problem(code, message, None, place.clone());
    problem.hint = Some(hint.into());
    problem
}
