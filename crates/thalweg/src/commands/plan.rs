//! `thalweg plan`: what the project file would do to what the data folder holds.
//!
//! A pipeline keeps its state while its query and the columns of its source are the same as when its
//! newest checkpoint was made; else it is rebuilt from what the journal still holds. Nothing is
//! changed, and the server may run.

use std::collections::BTreeMap;

use serde_json::json;
use thalweg_core::{Error, Result};
use thalweg_log::OsDisk;
use thalweg_project::{Project, TableInput, TaskAction};
use thalweg_store::SqliteStore;
use thalweg_stream::checkpoint;

use super::place::Place;
use super::{Failure, load, load_checked};
use crate::app::pipelines::fingerprints;
use crate::cli::Format;

/// What becomes of one part.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    /// `keep`, `rebuild`, `start`, `drop` or `back-fill`.
    does: &'static str,
    /// Kind and name of the part.
    part: String,
    /// Why, and what a person can do.
    why: String,
}

pub(super) async fn run(place: &Place) -> std::result::Result<u8, Failure> {
    let (project, checked) = load_checked(load(&place.dir), place.is_colored)?;
    let stored = stored(place).await?;
    let steps = plan(&project, &fingerprints(&project, &checked), &stored);
    if place.format == Some(Format::Json) {
        let steps: Vec<_> = steps
            .iter()
            .map(|step| json!({ "does": step.does, "part": step.part, "why": step.why }))
            .collect();
        println!("{:#}", json!(steps));
        return Ok(0);
    }
    for step in &steps {
        println!("{:<9}  {}: {}", step.does, step.part, step.why);
    }
    Ok(0)
}

/// The query of each pipeline that has a checkpoint.
async fn stored(place: &Place) -> Result<BTreeMap<String, String>> {
    let path = place.data.join("store.sqlite");
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let store = SqliteStore::open(path).await?;
    let folder = place.data.join("checkpoints");
    checkpoint::queries(&OsDisk, &store, &folder).await.map_err(|error| {
        Error::unavailable("cannot read what the data folder holds").with_source(error)
    })
}

fn plan(
    project: &Project,
    wanted: &BTreeMap<String, String>,
    stored: &BTreeMap<String, String>,
) -> Vec<Step> {
    let mut steps = Vec::new();
    let part = |name: &str| match (project.source(name), name.strip_prefix("alert.")) {
        (Some(_), _) => format!("source {name}"),
        (None, Some(alert)) => format!("alert {alert}"),
        (None, None) => match name.strip_prefix("route.") {
            Some(route) => format!("route {route}"),
            None => format!("stream {name}"),
        },
    };
    for (name, query) in wanted {
        let (does, why) = match stored.get(name) {
            None => ("start", "new: it reads what the journal holds from its beginning".to_owned()),
            Some(old) if old == query => ("keep", "goes on from its checkpoint".to_owned()),
            Some(_) => {
                let sinks = project.sinks.iter().filter(|sink| sink.from.as_str() == name);
                let resets: Vec<String> = sinks
                    .map(|sink| {
                        format!(
                            "; `thalweg sinks reset {}` writes its target anew",
                            sink.name.as_str()
                        )
                    })
                    .collect();
                let why = format!("its query or columns changed{}", resets.concat());
                ("rebuild", why)
            }
        };
        steps.push(Step { does, part: part(name), why });
        if does != "rebuild" {
            continue;
        }
        for table in &project.tables {
            let TableInput::BatchOf { stream, .. } = &table.input else { continue };
            if stream.as_str() != name {
                continue;
            }
            let table = table.name.as_str();
            let refreshes = |action: &TaskAction| matches!(action, TaskAction::Refresh { table: of, .. } if of.as_str() == table);
            let job =
                project.jobs.iter().find(|job| job.tasks.iter().any(|it| refreshes(&it.action)));
            let why = match job {
                Some(job) => format!(
                    "its days were made by the old query; `thalweg backfill {} --from … --to …` makes them anew",
                    job.name.as_str()
                ),
                None => "its days were made by the old query, and no job refreshes it".to_owned(),
            };
            steps.push(Step { does: "back-fill", part: format!("table {table}"), why });
        }
    }
    for name in stored.keys().filter(|name| !wanted.contains_key(*name)) {
        let why = "no longer in the project; its state stays until `thalweg reset`".to_owned();
        steps.push(Step { does: "drop", part: format!("pipeline {name}"), why });
    }
    steps
}
