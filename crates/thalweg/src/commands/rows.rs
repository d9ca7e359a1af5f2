//! `sql` and the verbs that are one query: against the running server, else in process.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Arc;

use arrow::array::RecordBatch;
use thalweg_core::Error;
use thalweg_core::query::Query;

use super::place::{Place, of_server};
use super::{Failure, load, load_to_read, machine, unreachable_server};
use crate::app::{App, Request};
use crate::cli::{Dir, Format, QuarantineVerb, SqlArgs};
use crate::client::Client;
use crate::output;
use crate::progress;

pub(super) const LEDGER: &str =
    "SELECT part, name, count, value, balanced FROM system.ledger ORDER BY part, name, count";
pub(super) const STATUS: &str = "SELECT name, 'source' AS kind, state, rows_valid AS rows, lag_records, watermark, reason FROM system.sources \
     UNION ALL SELECT name, 'stream', state, rows_out, lag_records, watermark, reason FROM system.streams \
     UNION ALL SELECT name, 'sink', state, rows_written, rows_waiting, NULL, reason FROM system.sinks \
     UNION ALL SELECT name, 'table', state, rows, NULL, NULL, NULL FROM system.tables";
pub(super) const QUALITY: &str = "SELECT name, \"check\", count(*) AS refused, max(received_at) AS newest FROM system.quarantine \
     GROUP BY name, \"check\" ORDER BY name, \"check\"";
pub(super) const LATE: &str = "SELECT stream, window_start, \"partition\", \"offset\", \"row\", columns FROM system.late ORDER BY stream, \"offset\"";
pub(super) const GAPS: &str =
    "SELECT source, key, \"from\", \"to\", state, reason FROM system.gaps ORDER BY \"from\" DESC";
pub(super) const TOPICS: &str = "SELECT name, count(*) AS partitions, \
     sum(high_watermark - log_start) AS records, sum(bytes) AS bytes \
     FROM system.topics GROUP BY name ORDER BY name";

pub(super) async fn sql(place: &Place, args: &SqlArgs) -> Result<u8, Failure> {
    let text = match (&args.command, &args.file) {
        (Some(text), _) => text.clone(),
        (None, Some(file)) if file.as_os_str() != "-" => {
            std::fs::read_to_string(file).map_err(|error| {
                Error::invalid(format!("cannot read {}", file.display())).with_source(error)
            })?
        }
        _ => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| Error::invalid("cannot read standard input").with_source(error))?;
            text
        }
    };
    print(place, &text).await
}

pub(super) async fn quarantine(
    verb: QuarantineVerb,
    at: impl Fn(Dir) -> Place,
) -> Result<u8, Failure> {
    match verb {
        QuarantineVerb::List(dir) => {
            let sql = "SELECT name, \"offset\", \"row\", \"check\", reason, received_at, length \
                       FROM system.quarantine ORDER BY received_at, \"offset\", \"row\"";
            print(&at(dir), sql).await
        }
        QuarantineVerb::Show { name, offset, dir } => {
            let sql = format!(
                "SELECT * FROM system.quarantine WHERE name = {} AND \"offset\" = {offset}",
                text(&name)
            );
            print(&at(dir), &sql).await
        }
    }
}

/// A text as SQL writes it.
pub(super) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// Runs a query and prints its rows.
pub(super) async fn print(place: &Place, sql: &str) -> Result<u8, Failure> {
    let rows = progress::during(place.is_quiet, "running the query", query(place, sql)).await?;
    output::print(&rows, place.format.unwrap_or(Format::Table))?;
    Ok(0)
}

/// The rows of a query.
pub(super) async fn query(place: &Place, sql: &str) -> Result<Vec<RecordBatch>, Failure> {
    if let Some(server) = place.server() {
        return query_server(place, &server, sql).await;
    }
    let app = match open(place).await {
        Ok(app) => Arc::new(app),
        // It has begun meanwhile.
        Err(failure) => match place.server() {
            Some(server) => return query_server(place, &server, sql).await,
            None => return Err(failure),
        },
    };
    app.catch_up().await?;
    Ok(app.engine.collect(Query::new(sql)).await?)
}

/// The project over its data, for those who only look.
pub(super) async fn open(place: &Place) -> Result<App, Failure> {
    let (project, checked) = load_to_read(load(&place.dir), place.is_colored)?;
    let request = Request { data: place.data.clone(), drain: None, http: None, given: None };
    Ok(App::open(project, checked, machine(None), request).await?)
}

async fn query_server(place: &Place, server: &str, sql: &str) -> Result<Vec<RecordBatch>, Failure> {
    let client = Client::new(server, &place.data).map_err(unreachable_server)?;
    client.query(sql, &BTreeMap::new()).await.map_err(of_server)
}
