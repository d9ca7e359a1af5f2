//! Columns that files and schemas carry: sources of Parquet and Avro need declare none, nor do lookups
//! of CSV with a header, whose columns are text, nor those that are Delta tables.
//!
//! Only what is on this machine is looked at; `check` asks no network.

use std::collections::BTreeSet;
use std::sync::Arc;

use thalweg_connect::codecs::avro::{record_columns, record_schema};
use thalweg_connect::codecs::columns::carried_columns;
use thalweg_connect::sources::file::{
    FileConfig, Framing, RowFormat, carried_header, carried_schema,
};
use thalweg_core::env::Disk;
use thalweg_core::problem::Problem;
use thalweg_core::schema::{Column, ColumnType};
use thalweg_core::{Error, Result};
use thalweg_lake::delta::columns_at;
use thalweg_log::OsDisk;
use thalweg_project::{
    Connector, CsvFormat, Format, Location, Project, Source, Spanned, Table, TableInput, TablePlace,
};

use super::problem;
use crate::commands::machine;

/// Gives sources that declare no columns those that their schemas, or the first of their files on
/// this machine, carry, and says what keeps them from it.
pub(super) fn carry_columns(project: &mut Project, broken: &mut BTreeSet<String>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for source in &project.sources {
        let found = wrong_schemas(source);
        if !found.is_empty() {
            broken.insert(source.name.value.clone());
        }
        problems.extend(found);
    }
    let sources = project.sources.iter_mut().chain(&mut project.lookups);
    for source in sources.filter(|source| source.columns.is_empty()) {
        if broken.contains(source.name.as_str()) {
            continue;
        }
        let found = match first_columns(source) {
            Ok(columns) => source.carry(columns),
            Err(error) => {
                let hint = "Declare `columns`, or put a file there whose columns can be read.";
                vec![unknown(&source.name, error, hint)]
            }
        };
        if !found.is_empty() {
            broken.insert(source.name.value.clone());
        }
        problems.extend(found);
    }
    let columns = lookups_in_delta(project).map(|(at, table)| (at, delta_columns(project, table)));
    for (at, columns) in columns.collect::<Vec<_>>() {
        let table = &mut project.tables[at];
        match columns {
            Ok(columns) => table.columns = columns,
            Err(error) => {
                let hint = "Declare `columns`, or read a table that is there.";
                problems.push(unknown(&table.name, error, hint));
                broken.insert(table.name.value.clone());
            }
        }
    }
    problems
}

fn unknown(name: &Spanned<String>, error: Error, hint: &str) -> Problem {
    let message = format!("the columns of `{name}` are not known");
    let mut problem = problem("T0302", message, Some(error.message), name.place.clone());
    problem.hint = Some(hint.to_owned());
    problem
}

/// The tables that others fill and that declare no columns.
fn lookups_in_delta(project: &Project) -> impl Iterator<Item = (usize, &Table)> {
    let tables = project.tables.iter().enumerate();
    tables.filter(|(_, table)| table.input == TableInput::ReadOnly && table.columns.is_empty())
}

/// The columns of a Delta table that is on this machine.
fn delta_columns(project: &Project, table: &Table) -> Result<Vec<Column>> {
    if !matches!(table.place, TablePlace::Disk(_)) {
        return Err(Error::invalid("the table is not on this machine"));
    }
    let place = crate::app::tables::place(project, table)?;
    // Whoever asks may be in a runtime already, in which no other can wait.
    let looked = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime
            .map_err(|error| Error::internal("no runtime to look at a table").with_source(error))?;
        runtime.block_on(columns_at(&place))
    });
    let schema = looked.join().map_err(|_| Error::internal("looking at a table ended early"))??;
    Ok(carried_columns(&schema))
}

/// What is wrong with the schemas that messages of a source are written with.
fn wrong_schemas(source: &Source) -> Vec<Problem> {
    let Format::AvroMessages(messages) = &source.format else { return Vec::new() };
    let wrong = messages.schemas().into_iter().filter_map(|schema| {
        let error = record_schema(&schema.text).err()?;
        let message = format!("`{}` is no schema of Avro records", schema.path.value);
        Some(problem("T0205", message, error.detail, schema.path.place.clone()))
    });
    wrong.collect()
}

/// The columns that the schemas of a source carry, or the first of its files on this machine.
fn first_columns(source: &Source) -> Result<Vec<Column>> {
    if let Format::AvroMessages(messages) = &source.format {
        return record_columns(messages.schemas().into_iter().map(|schema| schema.text.as_str()));
    }
    let Connector::File(file) = &source.connector else {
        return Err(Error::invalid("a feed carries no columns"));
    };
    let path = file.places.iter().find_map(|place| match &place.location {
        Location::Disk(path) => Some(path.to_string_lossy()),
        _ => None,
    });
    let path = path.ok_or_else(|| Error::invalid("none of its files is on this machine"))?;
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let format = match &source.format {
        Format::Parquet => RowFormat::Parquet,
        Format::Avro => RowFormat::Avro,
        Format::Csv(csv) => return header_columns(&path, csv),
        Format::Json(_) | Format::Html(_) | Format::AvroMessages(_) => {
            return Err(Error::invalid("its format carries no columns"));
        }
    };
    Ok(carried_columns(&*carried_schema(&disk, &path, format)?))
}

/// A nullable text column for each name in the header of CSV.
fn header_columns(path: &str, csv: &CsvFormat) -> Result<Vec<Column>> {
    let byte = |character: char| u8::try_from(character).unwrap_or(b',');
    let mut config = FileConfig::new(path);
    config.framing =
        Framing::Csv { delimiter: byte(csv.delimiter), quote: byte(csv.quote), header: csv.header };
    let names = carried_header(config, &machine(None))?;
    Ok(names.into_iter().filter(|name| !name.is_empty()).map(text_column).collect())
}

fn text_column(name: String) -> Column {
    Column {
        name,
        kind: ColumnType::Text,
        nullable: true,
        select: None,
        unit: None,
        allow_nan: false,
    }
}
