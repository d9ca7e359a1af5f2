//! A trial: one `[test.X]` of a project, run whole and in process.
//!
//! The project runs as `run --drain` does, over a data folder of its own that is gone afterwards. Its
//! sources read what the test gives ([`crate::app::given`]); sinks, alerts, jobs and dashboards are
//! left out, so that nothing reaches the network. Then each relation that the test names is compared
//! with what it expects.
//!
//! What a relation is: of a source or a row-wise stream, the rows that its pipeline gave, in their
//! order; of everything else, what SQL reads, in no order.
//!
//! Not here: printing ([`crate::commands`]), and writing expectations anew ([`thalweg_project::edit`]).

mod compare;
mod disk;
mod rows;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use thalweg_core::env::{Clock, Env};
use thalweg_core::query::{Query, QueryEngine as _};
use thalweg_core::schema::meta;
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};
use thalweg_project::{
    Connector, Expectation, FileInput, FilePlace, GivenInput, Location, Project, TableInput,
    TablePlace, Test,
};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::compare::{Compared, Line, Side, TypedValue};
use self::disk::Unsynced;
pub(crate) use self::rows::{Row, RowPlace, load_rows};
use crate::app::given::{Given, GivenRow, GivenSource};
use crate::app::{App, DrainRequest, Request};
use crate::check::{Checked, Panels};

/// How long tables of a test may take to commit.
const COMMIT_WAIT: Duration = Duration::from_secs(60);

/// Runs a test and compares what it expects, in the order of the file.
///
/// # Errors
///
/// What kept it from running, or from reading what it gives and expects.
pub(crate) async fn run(
    project: &Project,
    checked: &Checked,
    test: &Test,
) -> Result<Vec<Compared>> {
    let folder = tempfile::Builder::new().prefix("thalweg-test-").tempdir().map_err(|error| {
        Error::unavailable("cannot make a folder for the test").with_source(error)
    })?;
    let given = Arc::new(given(project, test).await?);
    let env = env(Clock::leaping(given.begins_at()));
    let request = Request {
        data: folder.path().join("data"),
        drain: Some(DrainRequest { idle: Duration::ZERO, wait: COMMIT_WAIT }),
        http: None,
        given: Some(given),
    };
    let checked = Checked { panels: Panels::default(), ..checked.clone() };
    let alone = alone(project, folder.path());
    let app = Arc::new(App::open(alone, checked, env, request).await?);
    Arc::clone(&app).run().await?;
    let mut compared = Vec::with_capacity(test.expect.len());
    for expected in &test.expect {
        let rows = load_rows(&project.dir, &expected.rows)?;
        let found = found(&app, expected, &rows).await?;
        compared.push(compare::compare(expected, rows, found)?);
    }
    Ok(compared)
}

fn env(clock: Clock) -> Env {
    Env {
        clock,
        disk: Arc::new(Unsynced::default()),
        shutdown: CancellationToken::new(),
        tasks: TaskTracker::new(),
        seed: 0,
    }
}

/// The project without whatever is outside it.
fn alone(project: &Project, folder: &Path) -> Project {
    let mut alone = project.clone();
    for source in &mut alone.sources {
        // What it reads is given: it is no feed.
        let location = Location::Disk(folder.join("given"));
        let places = vec![FilePlace { location, rate_per_second: None }];
        source.connector = Connector::File(FileInput { places });
        source.keep.age = Duration::MAX;
        source.keep.bytes = u64::MAX;
    }
    // What others fill is only read.
    for table in alone.tables.iter_mut().filter(|it| it.input != TableInput::ReadOnly) {
        let place = folder.join("tables").join(table.name.as_str());
        table.place = TablePlace::Disk(place);
    }
    alone.sinks.clear();
    alone.alerts.clear();
    alone.notifies.clear();
    alone.notify = None;
    alone.jobs.clear();
    alone.dashboards.clear();
    alone.runtime.checkpoint_every = COMMIT_WAIT;
    alone.runtime.commit_every = COMMIT_WAIT;
    alone
}

/// What every source reads.
async fn given(project: &Project, test: &Test) -> Result<Given> {
    let mut all = Given::nothing(&project.sources)?;
    for given in &test.given {
        let Some(source) = project.source(&given.source) else { continue };
        let of_source = |error: Error| {
            let message =
                format!("what is given to `{}`: {}", given.source.as_str(), error.message);
            Error { message, ..error }
        };
        let records = match &given.input {
            GivenInput::Rows(rows) => {
                let rows = load_rows(&project.dir, rows)?;
                let rows: Result<Vec<GivenRow>> = rows.iter().map(given_row).collect();
                rows.and_then(|rows| GivenSource::rows(source, rows, test.now))
            }
            GivenInput::Frames(path) => {
                let path = project.dir.join(path.as_str());
                GivenSource::frames(source, &path, test.now, &env(Clock::system())).await
            }
        };
        all.give(records.map_err(of_source)?);
    }
    Ok(all)
}

fn given_row(row: &Row) -> Result<GivenRow> {
    let (received, cells): (Vec<_>, Vec<_>) =
        row.cells.iter().partition(|(column, _)| column == meta::RECEIVED_AT);
    let received_at = match received.first() {
        None => None,
        Some((_, json)) => {
            let text: Option<String> = serde_json::from_str(json).ok();
            let at = text.as_deref().and_then(Timestamp::parse);
            Some(at.ok_or_else(|| {
                Error::invalid(format!(
                    "{}: `{}` is no instant: {json}",
                    row.place,
                    meta::RECEIVED_AT
                ))
                .with_hint("Write it like `2024-01-31T12:00:00Z`.")
            })?)
        }
    };
    let members: Vec<String> = cells
        .iter()
        .map(|(column, json)| format!("{}:{json}", serde_json::Value::from(column.as_str())))
        .collect();
    Ok(GivenRow { json: Bytes::from(format!("{{{}}}", members.join(","))), received_at })
}

/// Rows of a relation.
pub(crate) struct Found {
    pub rows: RecordBatch,
    /// Whether their order is that of their arrival.
    pub is_ordered: bool,
}

async fn found(app: &App, expected: &Expectation, rows: &[Row]) -> Result<Found> {
    let name = expected.relation.as_str();
    let pipeline = app.pipelines.iter().find(|pipeline| pipeline.name() == name);
    if let Some(tail) = pipeline.and_then(|pipeline| pipeline.tail.as_ref()) {
        let schema: &SchemaRef = tail.schema();
        let rows = concat_batches(schema, &tail.newest().after(0)).map_err(internal)?;
        return Ok(Found { rows, is_ordered: true });
    }
    // A `*` shows no hidden columns.
    let named = compare::named_columns(rows);
    let columns = match named.is_empty() {
        true => "*".to_owned(),
        false => named.iter().map(|it| quoted(it)).collect::<Vec<_>>().join(", "),
    };
    let from: Vec<String> = name.split('.').map(quoted).collect();
    let query = Query::new(format!("SELECT {columns} FROM {}", from.join(".")));
    let answer = app.engine.query(query).await?;
    let schema = Arc::clone(&answer.schema);
    let batches: Vec<RecordBatch> = futures::TryStreamExt::try_collect(answer.batches).await?;
    let rows = concat_batches(&schema, &batches).map_err(internal)?;
    Ok(Found { rows, is_ordered: false })
}

/// A name as SQL writes it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn internal(error: arrow::error::ArrowError) -> Error {
    Error::internal("rows of a relation do not fit together").with_source(error)
}
