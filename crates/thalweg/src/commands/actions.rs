//! Verbs that look at parts of the running server and ask it for actions.

use serde_json::json;

use super::place::Place;
use super::rows::{print, text};
use super::{Failure, card, logs};
use crate::cli::{
    BackfillArgs, Dir, JobsVerb, ModelsVerb, Named, SinksVerb, SourcesVerb, StreamsVerb, TablesVerb,
};
use crate::progress;

pub(super) async fn jobs(verb: JobsVerb, at: impl Fn(Dir) -> Place) -> Result<u8, Failure> {
    match verb {
        JobsVerb::List(dir) => {
            let sql = "SELECT job, schedule, timezone, paused, next_fires[1] AS next, last_run, last_state FROM system.jobs ORDER BY job";
            print(&at(dir), sql).await
        }
        JobsVerb::History(job) => {
            let sql = format!(
                "SELECT run, day, state, reason, started_at, ended_at FROM system.runs WHERE job = {} ORDER BY created_at DESC",
                text(&job.name)
            );
            print(&at(job.dir), &sql).await
        }
        JobsVerb::Logs { run, task, attempt, dir } => {
            logs::print(&at(dir), &run, task.as_deref(), attempt).await
        }
        JobsVerb::Run { job, date } => {
            let body = date.map_or_else(|| json!({}), |date| json!({ "day": date }));
            at(job.dir).act(&format!("/jobs/{}/runs", job.name), &body).await
        }
        JobsVerb::Pause(job) => {
            at(job.dir).act(&format!("/jobs/{}/pause", job.name), &json!({})).await
        }
        JobsVerb::Resume(job) => {
            at(job.dir).act(&format!("/jobs/{}/resume", job.name), &json!({})).await
        }
        JobsVerb::Cancel(run) => {
            at(run.dir).act(&format!("/runs/{}/cancel", run.name), &json!({})).await
        }
        JobsVerb::Retry { run, from } => {
            let body = json!({ "from": from });
            at(run.dir).act(&format!("/runs/{}/retry", run.name), &body).await
        }
        JobsVerb::Mark { run, task, outcome, dir } => {
            let body = json!({ "task": task, "state": outcome.word() });
            at(dir).act(&format!("/runs/{run}/mark"), &body).await
        }
    }
}

pub(super) async fn backfill(place: &Place, args: &BackfillArgs) -> Result<u8, Failure> {
    let body = json!({ "first": args.from, "last": args.to, "preview": args.preview });
    place.act(&format!("/jobs/{}/backfills", args.job), &body).await
}

pub(super) async fn models(verb: ModelsVerb, at: impl Fn(Dir) -> Place) -> Result<u8, Failure> {
    let ask = async |model: Named, verb: &str, body: serde_json::Value| {
        at(model.dir).act(&format!("/models/{}/{verb}", model.name), &body).await
    };
    match verb {
        ModelsVerb::List(dir) => {
            let sql = "SELECT model, target, state, serves, versions, rows_seen, rows_needed, trained_at FROM system.models ORDER BY model";
            print(&at(dir), sql).await
        }
        ModelsVerb::Scores(dir) => {
            let sql = "SELECT model, evaluated_at, candidate, version, rows, rmse, mase, skill_naive, skill_strong_naive, decision FROM system.evaluations ORDER BY evaluated_at DESC, model, rmse";
            print(&at(dir), sql).await
        }
        ModelsVerb::Card { number, model } => {
            card::print(&at(model.dir), &model.name, number).await
        }
        ModelsVerb::Predict { count, model } => {
            let name = model.name.replace('"', "\"\"");
            let sql = format!("SELECT * FROM \"{name}\" ORDER BY for_time DESC LIMIT {count}");
            print(&at(model.dir), &sql).await
        }
        ModelsVerb::Train(model) => ask(model, "train", json!({})).await,
        ModelsVerb::Evaluate(model) => ask(model, "evaluate", json!({})).await,
        ModelsVerb::Promote { number, model } => {
            ask(model, "promote", json!({ "version": number })).await
        }
        ModelsVerb::Rollback(model) => ask(model, "rollback", json!({})).await,
    }
}

pub(super) async fn tables(verb: TablesVerb, at: impl Fn(Dir) -> Place) -> Result<u8, Failure> {
    let show = async |table: Named, from: &str, order: &str| {
        let name = text(&table.name);
        print(&at(table.dir), &format!("SELECT * FROM {from} WHERE \"table\" = {name} {order}"))
            .await
    };
    match verb {
        TablesVerb::List(dir) => {
            let sql = "SELECT name, fed_by, version, files, rows, bytes, path FROM system.tables ORDER BY name";
            print(&at(dir), sql).await
        }
        TablesVerb::Show(table) => {
            let sql = format!("SELECT * FROM system.tables WHERE name = {}", text(&table.name));
            print(&at(table.dir), &sql).await
        }
        TablesVerb::Files(table) => show(table, "system.table_files", "ORDER BY path").await,
        TablesVerb::History(table) => {
            show(table, "system.table_history", "ORDER BY version DESC").await
        }
        TablesVerb::Compact(table) => {
            let place = at(table.dir);
            let path = format!("/tables/{}/compact", table.name);
            progress::during(place.is_quiet, "merging files", place.act(&path, &json!({}))).await
        }
        TablesVerb::Vacuum { table, keep_days } => {
            let place = at(table.dir);
            place.client()?;
            place.confirm(&format!(
                "Versions of table `{}` older than {keep_days} days can no longer be read afterwards.",
                table.name
            ))?;
            let body = json!({ "keep_days": keep_days });
            place.act(&format!("/tables/{}/vacuum", table.name), &body).await
        }
    }
}

pub(super) async fn sources(verb: SourcesVerb, at: impl Fn(Dir) -> Place) -> Result<u8, Failure> {
    match verb {
        SourcesVerb::List(dir) => {
            let sql = "SELECT name, connector, state, frames, rows_valid, rows_quarantined, reconnects, last_frame_at, reason FROM system.sources ORDER BY name";
            print(&at(dir), sql).await
        }
        SourcesVerb::Show(source) => {
            let sql = format!("SELECT * FROM system.sources WHERE name = {}", text(&source.name));
            print(&at(source.dir), &sql).await
        }
        SourcesVerb::Pause(source) => {
            at(source.dir).act(&format!("/sources/{}/pause", source.name), &json!({})).await
        }
        SourcesVerb::Resume(source) => {
            at(source.dir).act(&format!("/sources/{}/resume", source.name), &json!({})).await
        }
    }
}

pub(super) async fn streams(verb: StreamsVerb, at: impl Fn(Dir) -> Place) -> Result<u8, Failure> {
    match verb {
        StreamsVerb::List(dir) => {
            let sql = "SELECT name, source, state, rows_in, rows_out, rows_late, lag_records, watermark, reason FROM system.streams ORDER BY name";
            print(&at(dir), sql).await
        }
        StreamsVerb::Show(stream) => {
            let sql = format!("SELECT * FROM system.streams WHERE name = {}", text(&stream.name));
            print(&at(stream.dir), &sql).await
        }
        StreamsVerb::Pause(stream) => {
            at(stream.dir).act(&format!("/streams/{}/pause", stream.name), &json!({})).await
        }
        StreamsVerb::Resume(stream) => {
            at(stream.dir).act(&format!("/streams/{}/resume", stream.name), &json!({})).await
        }
    }
}

pub(super) async fn sinks(verb: SinksVerb, at: impl Fn(Dir) -> Place) -> Result<u8, Failure> {
    match verb {
        SinksVerb::List(dir) => {
            let sql = "SELECT name, pipeline, kind, guarantee, state, epoch, rows_written, rows_waiting, reason FROM system.sinks ORDER BY name";
            print(&at(dir), sql).await
        }
        SinksVerb::Adopt(sink) => {
            let place = at(sink.dir);
            // Before anybody is asked: without a server there is nothing to ask about.
            place.client()?;
            place.confirm(&format!(
                "The target of `{0}` keeps its rows. They count as all that was handed over to \
                 `{0}` so far: what of that it does not hold is never written.",
                sink.name
            ))?;
            place.act(&format!("/sinks/{}/adopt", sink.name), &json!({})).await
        }
        SinksVerb::Reset(sink) => {
            let place = at(sink.dir);
            place.client()?;
            place.confirm(&format!(
                "The target of `{0}` loses all its rows. It is written anew from the first row \
                 that was handed over to `{0}` in this data folder.",
                sink.name
            ))?;
            place.act(&format!("/sinks/{}/reset", sink.name), &json!({})).await
        }
    }
}
