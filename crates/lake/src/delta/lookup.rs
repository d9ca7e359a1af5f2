//! A Delta table that others fill: read at its newest version, and never made, written or cleaned.
//!
//! Whether a version is still the newest takes two looks: its commit is there, and none after it. If
//! not, the table is loaded anew: so one that was removed and made again is noticed, too.

use std::sync::Arc;

use arrow::compute::can_cast_types;
use arrow::datatypes::{FieldRef, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::logical_expr::{LogicalPlanBuilder, cast, ident};
use deltalake_core::kernel::Version;
use deltalake_core::table::state::DeltaTableState;
use thalweg_core::sink::Sink;
use thalweg_core::table::{Replacement, Table, TableCommit, TableVersion};
use thalweg_core::{Error, Result};
use tokio::sync::Mutex;

use super::log::Log;
use super::maintain::{TableFile, files_of};
use super::read::{Pinned, Snapshots};
use super::table::{existing, signed};
use crate::error::fold;
use crate::place::Place;

/// A column of a lookup.
#[derive(Clone, Debug)]
pub struct LookupColumn {
    /// The column of the table that it is read from.
    pub from: String,
    /// What it is called here, and the type it is read as.
    pub field: FieldRef,
}

/// A Delta table that is only read. Clones are the same table.
#[derive(Clone)]
pub struct DeltaLookup {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    log: Log,
    columns: Vec<LookupColumn>,
    newest: Mutex<Option<Loaded>>,
}

/// A version that was read.
#[derive(Clone)]
struct Loaded {
    version: Version,
    state: DeltaTableState,
    pinned: Pinned,
}

/// The columns that the Delta table at `place` has.
///
/// # Errors
///
/// `Unavailable` when there is no table, or it cannot be read.
pub async fn columns(place: &Place) -> Result<SchemaRef> {
    let log = Log::at(place)?;
    let state = there(&log).await?;
    Ok(Snapshots::new(log, state.clone()).provider(&state).await?.schema())
}

/// The newest state of a table that has to be there.
async fn there(log: &Log) -> Result<DeltaTableState> {
    existing(log).await?.ok_or_else(|| {
        Error::unavailable(format!("there is no Delta table at {}", log.place()))
            .with_hint("Whoever fills it makes it: here it is only read.")
    })
}

impl DeltaLookup {
    /// The table at `place`, of which `columns` are read. Nothing is read yet.
    ///
    /// # Errors
    ///
    /// `Internal` alone: what is wrong with the table is told when it is read.
    pub fn new(place: &Place, name: &str, columns: Vec<LookupColumn>) -> Result<Self> {
        let (name, log) = (name.to_owned(), Log::at(place)?);
        Ok(Self { shared: Arc::new(Shared { name, log, columns, newest: Mutex::default() }) })
    }

    /// Pins the newest version for reading. Cheap to call often.
    ///
    /// # Errors
    ///
    /// `Unavailable` when there is no table or it cannot be read, `Invalid` when it lacks a column.
    pub async fn pin(&self) -> Result<Pinned> {
        Ok(self.loaded().await?.pinned)
    }

    /// The data files of the newest version.
    ///
    /// # Errors
    ///
    /// As [`pin`](Self::pin).
    pub async fn files(&self) -> Result<Vec<TableFile>> {
        Ok(files_of(&self.loaded().await?.state, None))
    }

    async fn loaded(&self) -> Result<Loaded> {
        let mut newest = self.shared.newest.lock().await;
        if let Some(known) = newest.as_ref()
            && self.is_newest(known.version).await?
        {
            return Ok(known.clone());
        }
        let loaded = self.load().await?;
        *newest = Some(loaded.clone());
        Ok(loaded)
    }

    async fn is_newest(&self, version: Version) -> Result<bool> {
        let log = &self.shared.log;
        Ok(log.holds(version).await? && !log.holds(version + 1).await?)
    }

    async fn load(&self) -> Result<Loaded> {
        let log = &self.shared.log;
        let state = there(log).await?;
        let provider = Snapshots::new(log.clone(), state.clone()).provider(&state).await?;
        let (version, provider) = (state.version(), self.shown(provider)?);
        let pinned = Pinned { version: signed(version), stamps: Vec::new(), provider };
        Ok(Loaded { version, state, pinned })
    }

    /// The columns that are read, by their names here.
    fn shown(&self, provider: Arc<dyn TableProvider>) -> Result<Arc<dyn TableProvider>> {
        let Shared { name, log, columns, .. } = self.shared.as_ref();
        let differences: Vec<String> = differences(columns, &provider.schema()).collect();
        if !differences.is_empty() {
            let message = format!("table `{name}` is not what lies at {}", log.place());
            return Err(Error::invalid(message)
                .with_detail(format!("In the table there: {}.", differences.join("; ")))
                .with_hint("Declare the columns that are there."));
        }
        let read = columns.iter().map(|LookupColumn { from, field }| {
            cast(ident(from), field.data_type().clone()).alias(field.name())
        });
        let plan = LogicalPlanBuilder::scan(name.as_str(), provider_as_source(provider), None)
            .and_then(|plan| plan.project(read))
            .and_then(LogicalPlanBuilder::build)
            .map_err(|error| fold(format!("cannot read table `{name}`"), error))?;
        Ok(Arc::new(ViewTable::new(plan, None)))
    }

    fn only_read(&self) -> Error {
        Error::invalid(format!("table `{}` is only read", self.shared.name))
            .with_hint("Whoever fills it also tends it.")
    }
}

/// What keeps columns from being read.
fn differences(columns: &[LookupColumn], there: &SchemaRef) -> impl Iterator<Item = String> {
    columns.iter().filter_map(|LookupColumn { from, field }| {
        let Ok(found) = there.field_with_name(from) else {
            return Some(format!("`{from}` is not there"));
        };
        if !can_cast_types(found.data_type(), field.data_type()) {
            return Some(format!("`{from}` is {}", found.data_type()));
        }
        (found.is_nullable() && !field.is_nullable()).then(|| format!("`{from}` may be null"))
    })
}

#[async_trait]
impl Table for DeltaLookup {
    fn sink(&self) -> Result<Box<dyn Sink>> {
        Err(self.only_read())
    }

    async fn version(&self, _: &str) -> Result<TableVersion> {
        Ok(TableVersion { version: self.pin().await?.version, stamp: None })
    }

    async fn replace_days(&self, _: Replacement) -> Result<i64> {
        Err(self.only_read())
    }

    async fn note(&self) -> Result<Option<String>> {
        Ok(None)
    }

    async fn compact(&self) -> Result<(usize, usize)> {
        Err(self.only_read())
    }

    async fn history(&self, limit: usize) -> Result<Vec<TableCommit>> {
        let newest = self.loaded().await?.version;
        self.shared.log.history(newest, limit).await
    }
}
