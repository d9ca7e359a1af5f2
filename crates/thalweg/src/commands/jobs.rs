//! Verbs that ask the running server for an action: `jobs`, `backfill`, `models`, `sources`.

use serde_json::json;
use thalweg_core::Error;

use super::{Failure, data_dir, rows, unreachable_server};
use crate::app::data_folder;
use crate::cli::{BackfillArgs, JobsVerb, ModelsVerb, OneModel, ProjectArgs, SourcesVerb};
use crate::client::Client;

pub(super) async fn run(verb: JobsVerb, is_colored: bool) -> Result<u8, Failure> {
    match verb {
        JobsVerb::List(args) => {
            let sql = "SELECT job, schedule, timezone, paused, next_fires[1] AS next, last_run, last_state FROM system.jobs ORDER BY job";
            rows::print(args, sql, is_colored).await
        }
        JobsVerb::History { job, project } => {
            let sql = format!(
                "SELECT run, day, state, reason, started_at, ended_at FROM system.runs WHERE job = '{}' ORDER BY created_at DESC",
                job.replace('\'', "''")
            );
            rows::print(project, &sql, is_colored).await
        }
        JobsVerb::Logs { run, project } => {
            let sql = format!(
                "SELECT task, state, attempt, note, started_at, ended_at FROM system.tasks WHERE run = '{}'",
                run.replace('\'', "''")
            );
            rows::print(project, &sql, is_colored).await
        }
        JobsVerb::Run { job, date, project } => {
            let body = date.map_or_else(|| json!({}), |date| json!({ "day": date }));
            act(&project, &format!("/jobs/{job}/runs"), &body).await
        }
        JobsVerb::Cancel { run, project } => {
            act(&project, &format!("/runs/{run}/cancel"), &json!({})).await
        }
        JobsVerb::Retry { run, project } => {
            act(&project, &format!("/runs/{run}/retry"), &json!({})).await
        }
    }
}

pub(super) async fn models(verb: ModelsVerb, is_colored: bool) -> Result<u8, Failure> {
    let ask = async |one: OneModel, verb: &str, body: serde_json::Value| {
        act(&one.project, &format!("/models/{}/{verb}", one.model), &body).await
    };
    match verb {
        ModelsVerb::List(args) => {
            let sql = "SELECT model, target, state, serves, versions, rows_seen, rows_needed, trained_at FROM system.models ORDER BY model";
            rows::print(args, sql, is_colored).await
        }
        ModelsVerb::Scores(args) => {
            let sql = "SELECT model, evaluated_at, candidate, version, rows, rmse, mase, skill_naive, skill_strong_naive, decision FROM system.evaluations ORDER BY evaluated_at DESC, model, rmse";
            rows::print(args, sql, is_colored).await
        }
        ModelsVerb::Train(one) => ask(one, "train", json!({})).await,
        ModelsVerb::Evaluate(one) => ask(one, "evaluate", json!({})).await,
        ModelsVerb::Promote { version, model } => {
            ask(model, "promote", json!({ "version": version })).await
        }
        ModelsVerb::Rollback(one) => ask(one, "rollback", json!({})).await,
    }
}

pub(super) async fn sources(verb: SourcesVerb, is_colored: bool) -> Result<u8, Failure> {
    match verb {
        SourcesVerb::List(args) => {
            let sql = "SELECT name, connector, state, frames, rows_valid, rows_quarantined, reconnects, last_frame_at, reason FROM system.sources ORDER BY name";
            rows::print(args, sql, is_colored).await
        }
        SourcesVerb::Pause { source, project } => {
            act(&project, &format!("/sources/{source}/pause"), &json!({})).await
        }
        SourcesVerb::Resume { source, project } => {
            act(&project, &format!("/sources/{source}/resume"), &json!({})).await
        }
    }
}

pub(super) async fn backfill(args: BackfillArgs) -> Result<u8, Failure> {
    let project = ProjectArgs {
        dir: args.dir,
        data_dir: args.data_dir,
        server: args.server,
        format: crate::cli::Format::Json,
    };
    let body = json!({ "first": args.from, "last": args.to, "preview": args.preview });
    act(&project, &format!("/jobs/{}/backfills", args.job), &body).await
}

/// Asks the running server for an action and prints its answer.
async fn act(args: &ProjectArgs, path: &str, body: &serde_json::Value) -> Result<u8, Failure> {
    let data = data_dir(&args.dir, args.data_dir.as_ref());
    let server =
        args.server.clone().or_else(|| data_folder::address_of(&data)).ok_or_else(|| {
            unreachable_server(
                Error::unavailable("no server runs on this data folder")
                    .with_hint("Start one with `thalweg run`, or name it with `--server`."),
            )
        })?;
    let client = Client::new(&server, &data).map_err(unreachable_server)?;
    let answer = client.post(path, body).await?;
    println!("{answer:#}");
    Ok(0)
}
