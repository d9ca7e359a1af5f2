//! Reading: the table pinned at a version, as DataFusion's `TableProvider`.
//!
//! Asking for the newest version costs one look for the next commit while nothing is new. The state
//! of the newest version is carried forward from commit to commit and, because that gets dearer
//! with the number of commits carried, loaded afresh from a checkpoint every
//! [`CARRIED_COMMITS_MAX`]. A provider holds the file list in memory, so planning reads no log.
//!
//! Columns have the declared types: text is `Utf8`, not a view, so that rows of a table and rows
//! that are not in it yet are of one schema.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};

use datafusion::catalog::TableProvider;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::session_state::SessionState;
use datafusion::prelude::SessionConfig;
use deltalake_core::delta_datafusion::DeltaScanNext;
use deltalake_core::kernel::Version;
use deltalake_core::table::state::DeltaTableState;
use thalweg_core::sink::Stamp;
use thalweg_core::table::TableVersion;
use thalweg_core::{Error, Result};
use tokio::sync::Mutex;

use super::log::Log;
use super::table::{Delta, signed};
use crate::error::fold;

const CARRIED_COMMITS_MAX: u64 = 50;
const PINNED_MAX: usize = 4;

/// A table at one version. It stays readable while its files are kept.
#[derive(Clone)]
pub struct Pinned {
    /// The version.
    pub version: i64,
    /// The stamp of every pipeline that feeds the table, at that version.
    pub stamps: Vec<Stamp>,
    /// Its rows.
    pub provider: Arc<dyn TableProvider>,
}

impl Delta {
    /// Pins a version, the newest if none is given. Cheap to call often.
    ///
    /// # Errors
    ///
    /// `Invalid` when there is no such version, or its log is gone.
    pub async fn pin(&self, version: Option<i64>) -> Result<Pinned> {
        let shared = self.shared().await?;
        let (newest, stamps) = {
            let mut head = shared.head.lock().await;
            shared.catch_up(&mut head).await?;
            (head.version, shared.stamps(&mut head).await?)
        };
        let wanted = match version {
            None => newest,
            Some(wanted) => {
                Version::try_from(wanted).ok().filter(|wanted| *wanted <= newest).ok_or_else(
                    || Error::invalid(format!("table `{}` has no version {wanted}", shared.name)),
                )?
            }
        };
        if let Some(pinned) = shared.snapshots.pinned(wanted) {
            return Ok(pinned);
        }
        let state = shared.snapshots.at(wanted).await?;
        let stamps = if wanted == newest {
            stamps.into_values().collect()
        } else {
            shared.stamps_at(&state).await?
        };
        let provider = shared.snapshots.provider(&state).await?;
        let pinned = Pinned { version: signed(wanted), stamps, provider };
        shared.snapshots.keep(pinned.clone());
        Ok(pinned)
    }

    /// Pins a version for reading, the newest if none is given, with the stamp of the pipeline that
    /// feeds the table. Cheap to call often.
    ///
    /// # Errors
    ///
    /// As [`pin`](Self::pin); besides `Invalid` when several pipelines feed the table and the
    /// options do not say which one is meant.
    pub async fn provider(
        &self,
        version: Option<i64>,
    ) -> Result<(Arc<dyn TableProvider>, TableVersion)> {
        let pinned = self.pin(version).await?;
        let is_meant = |stamp: &Stamp| match &self.declared().options.fed_by {
            Some(pipeline) => stamp.pipeline == *pipeline,
            None => true,
        };
        let mut stamps = pinned.stamps.into_iter().filter(is_meant);
        let stamp = stamps.next();
        if stamps.next().is_some() {
            let message = format!("table `{}` is fed by several pipelines", self.name());
            return Err(Error::invalid(message));
        }
        Ok((pinned.provider, TableVersion { version: pinned.version, stamp }))
    }
}

/// States of a table by version, and what was made of them.
pub(crate) struct Snapshots {
    log: Log,
    session: Arc<SessionState>,
    newest: Mutex<Carried>,
    pinned: SyncMutex<VecDeque<Pinned>>,
}

struct Carried {
    state: DeltaTableState,
    loaded: Version,
}

impl Snapshots {
    pub(crate) fn new(log: Log, state: DeltaTableState) -> Self {
        let config = SessionConfig::new()
            .set_bool("datafusion.execution.parquet.schema_force_view_types", false);
        let session = SessionStateBuilder::new().with_config(config).build();
        let newest = Mutex::new(Carried { loaded: state.version(), state });
        Self { log, session: Arc::new(session), newest, pinned: SyncMutex::default() }
    }

    /// The state of a version that exists.
    pub(crate) async fn at(&self, version: Version) -> Result<DeltaTableState> {
        let mut newest = self.newest.lock().await;
        if version < newest.state.version() {
            drop(newest);
            return self.load(version).await;
        }
        if version > newest.loaded + CARRIED_COMMITS_MAX {
            *newest = Carried { state: self.load(version).await?, loaded: version };
        } else if version > newest.state.version() {
            let mut state = newest.state.clone();
            let updated = state.update(self.log.store.as_ref(), Some(version)).await;
            updated.map_err(|error| self.cannot_read(version, error))?;
            newest.state = state;
        }
        Ok(newest.state.clone())
    }

    async fn load(&self, version: Version) -> Result<DeltaTableState> {
        let state = DeltaTableState::try_new(self.log.store.as_ref(), Some(version)).await;
        state.map_err(|error| self.cannot_read(version, error))
    }

    /// The rows of a state.
    pub(crate) async fn provider(&self, state: &DeltaTableState) -> Result<Arc<dyn TableProvider>> {
        let provider = DeltaScanNext::builder()
            .with_log_store(self.log.store.clone())
            .with_eager_snapshot(state.snapshot().clone())
            .with_session(self.session.clone())
            .build()
            .await;
        let provider = provider.map_err(|error| self.cannot_read(state.version(), error))?;
        Ok(Arc::new(provider))
    }

    fn pinned(&self, version: Version) -> Option<Pinned> {
        let pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        pinned.iter().find(|pinned| pinned.version == signed(version)).cloned()
    }

    fn keep(&self, newcomer: Pinned) {
        let mut pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        if pinned.len() == PINNED_MAX {
            pinned.pop_front();
        }
        pinned.push_back(newcomer);
    }

    fn cannot_read(
        &self,
        version: Version,
        error: impl std::error::Error + Send + Sync + 'static,
    ) -> Error {
        fold(format!("cannot read version {version} of {}", self.log.place()), error)
    }
}
