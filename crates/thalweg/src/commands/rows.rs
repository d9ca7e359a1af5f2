//! `sql` and the verbs that are one query: against the running server, else in process.

use std::io::Read as _;
use std::sync::Arc;

use thalweg_core::Error;
use thalweg_core::query::Query;

use super::{Failure, data_dir, load, load_checked, machine, no_params, unreachable_server};
use crate::app::{App, Request, data_folder};
use crate::cli::{ProjectArgs, QuarantineVerb, SqlArgs};
use crate::client::Client;
use crate::output;

pub(super) async fn sql(args: SqlArgs, is_colored: bool) -> Result<u8, Failure> {
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
    print(args.project, &text, is_colored).await
}

pub(super) async fn quarantine(verb: QuarantineVerb, is_colored: bool) -> Result<u8, Failure> {
    match verb {
        QuarantineVerb::List(args) => {
            let sql = "SELECT name, \"offset\", \"row\", \"check\", reason, received_at, length \
                       FROM system.quarantine ORDER BY received_at, \"offset\", \"row\"";
            print(args, sql, is_colored).await
        }
        QuarantineVerb::Show { name, offset, project } => {
            let name = name.replace('\'', "''");
            let sql = format!(
                "SELECT * FROM system.quarantine WHERE name = '{name}' AND \"offset\" = {offset}"
            );
            print(project, &sql, is_colored).await
        }
    }
}

/// Runs a query and prints its rows.
pub(super) async fn print(args: ProjectArgs, sql: &str, is_colored: bool) -> Result<u8, Failure> {
    let data = data_dir(&args.dir, args.data_dir.as_ref());
    let server = args.server.clone().or_else(|| data_folder::address_of(&data));
    let rows = match server {
        Some(server) => {
            let client = Client::new(&server, &data).map_err(unreachable_server)?;
            client.query(sql, &no_params()).await?
        }
        None => {
            let (project, checked) = load_checked(load(&args.dir), is_colored)?;
            let request = Request { data, drain: None, http: None };
            let app = Arc::new(App::open(project, checked, machine(None), request).await?);
            app.catch_up().await?;
            app.engine.collect(Query::new(sql)).await?
        }
    };
    output::print(&rows, args.format, is_colored)?;
    Ok(0)
}
