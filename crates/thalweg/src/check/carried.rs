//! Columns that files and schemas carry: sources of Parquet and Avro need declare none, nor do lookups
//! of CSV with a header, whose columns are text.
//!
//! Only files of this machine are looked at; `check` asks no network.

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
use thalweg_log::OsDisk;
use thalweg_project::{Connector, CsvFormat, Format, Location, Project, Source};

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
                let place = source.name.place.clone();
                let message = format!("the columns of `{}` are not known", source.name.value);
                let mut problem = problem("T0302", message, Some(error.message), place);
                let hint = "Declare `columns`, or put a file there whose columns can be read.";
                problem.hint = Some(hint.to_owned());
                vec![problem]
            }
        };
        if !found.is_empty() {
            broken.insert(source.name.value.clone());
        }
        problems.extend(found);
    }
    problems
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
