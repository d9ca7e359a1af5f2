//! Tables of the lake, opened where they lie.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use thalweg_connect::stores::{self, S3Config, Store};
use thalweg_core::Result;
use thalweg_core::env::Env;
use thalweg_lake::delta::{DayPartition, Delta, DeltaOptions};
use thalweg_lake::files::{FileOptions, FileTable, Format};
use thalweg_lake::{LakeTable, Place};
use thalweg_project::{Project, Secret, Table, TableInput, TablePlace};

use crate::check::Checked;
use crate::check::tables::{day_source, folders, format, kept};

/// Longest time that a request to a bucket may take.
const REQUEST_PATIENCE: Duration = Duration::from_secs(60);

/// Opens every table of the project, making those of this machine that are not there.
pub(super) async fn open(
    project: &Project,
    checked: &Checked,
    env: &Env,
) -> Result<BTreeMap<String, Arc<LakeTable>>> {
    let mut tables = BTreeMap::new();
    for table in &project.tables {
        let name = table.name.as_str();
        let Some(columns) = checked.tables.get(name) else { continue };
        let columns = kept(table, columns);
        let opened = match format(table) {
            None => LakeTable::Delta(delta(project, table, columns, env).await?),
            Some(format) => LakeTable::Files(files(project, table, format, &columns, env)?),
        };
        tables.insert(name.to_owned(), Arc::new(opened));
    }
    Ok(tables)
}

async fn delta(project: &Project, table: &Table, columns: SchemaRef, env: &Env) -> Result<Delta> {
    let event_time = match &table.input {
        TableInput::From(from) => project.source(from).map(|source| source.event_time.clone()),
        TableInput::BatchOf { .. } | TableInput::ReadOnly => None,
    };
    let partition_by = table.partition_by.first().map(|partition| DayPartition {
        column: partition.column.value.clone(),
        source: day_source(partition.sql.as_str()).or(event_time).unwrap_or_default(),
    });
    let options = DeltaOptions { partition_by, ..DeltaOptions::default() };
    let location = absolute(project, &table.place);
    Delta::open_or_create(env, &location, table.name.as_str(), columns, options).await
}

fn files(
    project: &Project,
    table: &Table,
    format: Format,
    columns: &SchemaRef,
    env: &Env,
) -> Result<FileTable> {
    let place = match &table.place {
        TablePlace::Disk(_) => Place::on_disk(&absolute(project, &table.place))?,
        TablePlace::Hdfs(url) => elsewhere(&stores::hdfs(&format!("{url}/"))?, url)?,
        TablePlace::S3(s3) => {
            let config = S3Config {
                url: s3.url.clone(),
                anonymous: s3.anonymous,
                region: s3.region.clone(),
                endpoint: s3.endpoint.clone(),
                keys: s3.keys.as_ref().map(|(id, secret, token)| {
                    let reveal = |secret: &Secret| secret.reveal().to_owned();
                    (reveal(id), reveal(secret), token.as_ref().map(reveal))
                }),
            };
            elsewhere(&stores::s3(&config, Some(REQUEST_PATIENCE))?, &s3.url)?
        }
    };
    let options =
        FileOptions { format, partition_by: folders(table), roll_bytes: table.roll.bytes };
    FileTable::new(env, place, table.name.as_str(), columns, options)
}

fn elsewhere(store: &Store, url: &str) -> Result<Place> {
    Place::of(Arc::clone(&store.objects), &store.key, url)
}

/// The absolute path of a place on this machine.
fn absolute(project: &Project, place: &TablePlace) -> String {
    let path = project.dir.join(place.to_string());
    let path = std::path::absolute(&path).unwrap_or(path);
    path.to_string_lossy().into_owned()
}
