//! Sinks into tables of databases, from the project file to the component.
//!
//! Making one connects to nothing, so `check` makes them too, to find what does not fit.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use thalweg_connect::sinks::database::{DatabaseConfig, DatabaseSink, Mode};
use thalweg_connect::sinks::{mysql, postgres};
use thalweg_core::schema::ColumnType;
use thalweg_core::{Error, Result};
use thalweg_project::{Mode as Written, Project, Sink, Target};
use thalweg_stream::program::{Shape, StreamQuery};

/// What is wrong with the URL of a target; nothing while a secret of it is missing, which is told
/// elsewhere.
pub(crate) fn url_error(target: &Target) -> Option<Error> {
    let url = target.database()?.url.reveal();
    let check = match target {
        Target::Mysql(_) => mysql::check_url,
        _ => postgres::check_url,
    };
    if url.contains("${") { None } else { check(url).err() }
}

/// Rows as their pipeline hands them over.
pub(crate) struct Rows<'a> {
    pub(crate) schema: &'a SchemaRef,
    pub(crate) shape: Shape,
    /// Their own key, where the project names none.
    pub(crate) key: &'a [String],
    /// The query they come from; none for rows of a source.
    pub(crate) query: Option<&'a StreamQuery>,
}

/// The sink of rows; none when its target is no database.
pub(crate) fn sink(
    project: &Project,
    sink: &Sink,
    pipeline: &str,
    rows: &Rows<'_>,
) -> Option<Result<DatabaseSink>> {
    let table = sink.target.database()?;
    let declared = project.sink_key(sink);
    let key = if declared.is_empty() { rows.key.to_vec() } else { declared };
    let mode = match sink.mode.as_ref().map(|mode| mode.value) {
        Some(Written::Upsert) => Mode::Upsert { key },
        Some(Written::Append) => Mode::Append,
        Some(Written::Changelog) => Mode::Changelog,
        None if rows.shape == Shape::Updating => Mode::Upsert { key },
        None => Mode::Append,
    };
    let config = DatabaseConfig::new(table.url.reveal(), table.table.as_str(), mode);
    let make = match &sink.target {
        Target::Mysql(_) => mysql::sink,
        _ => postgres::sink,
    };
    Some(make(config, pipeline, with_json(project, sink.from.as_str(), rows)))
}

/// The columns that are declared `json` in their source and come from there as they are, marked as
/// such: their Arrow type says no more than text.
fn with_json(project: &Project, from: &str, rows: &Rows<'_>) -> SchemaRef {
    let name = rows.query.map_or(from, |query| &query.source);
    let columns = project.source(name).map_or(&[][..], |source| &source.columns);
    let is_json = |field: &Field| {
        let origin = match rows.query {
            Some(query) => query.origin_of(field.name()),
            None => Some(field.name().as_str()),
        };
        let declared = origin.and_then(|name| columns.iter().find(|column| column.name == name));
        declared.is_some_and(|column| column.kind == ColumnType::Json)
    };
    let marked = rows.schema.fields().iter().map(|field| match is_json(field) {
        true => {
            let mark = ("ARROW:extension:name".to_owned(), "arrow.json".to_owned());
            field.as_ref().clone().with_metadata([mark].into())
        }
        false => field.as_ref().clone(),
    });
    Arc::new(Schema::new(marked.collect::<Vec<_>>()))
}
