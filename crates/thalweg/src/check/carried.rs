//! Columns that files carry: sources of Parquet and Avro need declare none, nor do lookups of CSV
//! with a header, whose columns are text.
//!
//! Only files of this machine are looked at; `check` asks no network.

use std::collections::BTreeSet;
use std::sync::Arc;

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

/// Gives sources that declare no columns those that the first of their files on this machine
/// carries, and says what keeps them from it.
pub(super) fn carry_columns(project: &mut Project, broken: &mut BTreeSet<String>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let sources = project.sources.iter_mut().chain(&mut project.lookups);
    for source in sources.filter(|source| source.columns.is_empty()) {
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

/// The columns of the first file of a source that is on this machine.
fn first_columns(source: &Source) -> Result<Vec<Column>> {
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
        Format::Json(_) | Format::Html(_) => {
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
