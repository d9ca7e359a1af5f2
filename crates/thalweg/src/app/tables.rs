//! Tables of the lake, opened where they lie.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Field, SchemaRef};
use thalweg_connect::stores::{self, S3Config, Store};
use thalweg_core::Result;
use thalweg_core::env::Env;
use thalweg_core::schema::Column;
use thalweg_lake::delta::{DayPartition, Delta, DeltaLookup, DeltaOptions, LookupColumn};
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
        let opened = match (format(table), &table.input) {
            (None, TableInput::ReadOnly) => LakeTable::Lookup(lookup(project, table)?),
            (None, _) => LakeTable::Delta(delta(project, table, &columns, env).await?),
            (Some(format), _) => LakeTable::Files(files(project, table, format, &columns, env)?),
        };
        tables.insert(name.to_owned(), Arc::new(opened));
    }
    Ok(tables)
}

async fn delta(project: &Project, table: &Table, columns: &SchemaRef, env: &Env) -> Result<Delta> {
    let event_time = match &table.input {
        TableInput::From(from) => project.source(from).map(|source| source.event_time.clone()),
        TableInput::BatchOf { .. } | TableInput::ReadOnly => None,
    };
    let partition_by = table.partition_by.first().map(|partition| DayPartition {
        column: partition.column.value.clone(),
        source: day_source(partition.sql.as_str()).or(event_time).unwrap_or_default(),
    });
    let options = DeltaOptions { partition_by, ..DeltaOptions::default() };
    let (place, name) = (place(project, table)?, table.name.as_str());
    match &table.place {
        TablePlace::Disk(_) => Delta::open_or_create(env, place, name, columns, options).await,
        // A store that is away must not keep the rest from starting.
        TablePlace::Hdfs(_) | TablePlace::S3(_) => Delta::new(env, place, name, columns, options),
    }
}

fn lookup(project: &Project, table: &Table) -> Result<DeltaLookup> {
    let column = |column: &Column| LookupColumn {
        from: column.path().to_owned(),
        field: Arc::new(Field::new(&column.name, column.kind.arrow(), column.nullable)),
    };
    let columns = table.columns.iter().map(column).collect();
    DeltaLookup::new(&place(project, table)?, table.name.as_str(), columns)
}

fn files(
    project: &Project,
    table: &Table,
    format: Format,
    columns: &SchemaRef,
    env: &Env,
) -> Result<FileTable> {
    let options =
        FileOptions { format, partition_by: folders(table), roll_bytes: table.roll.bytes };
    FileTable::new(env, place(project, table)?, table.name.as_str(), columns, options)
}

/// Where a table lies. The folder of one that is filled is made if it is on this machine.
pub(crate) fn place(project: &Project, table: &Table) -> Result<Place> {
    match &table.place {
        TablePlace::Disk(_) => {
            let path = absolute(project, &table.place);
            match &table.input {
                TableInput::ReadOnly => Place::of_others(&path),
                TableInput::From(_) | TableInput::BatchOf { .. } => Place::on_disk(&path),
            }
        }
        TablePlace::Hdfs(url) => elsewhere(&stores::hdfs(&format!("{url}/"))?, url),
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
            elsewhere(&stores::s3(&config, Some(REQUEST_PATIENCE))?, &s3.url)
        }
    }
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
