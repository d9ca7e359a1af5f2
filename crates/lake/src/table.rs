//! A table of the lake, whatever it is kept as.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use thalweg_core::sink::{Sink, Stamp};
use thalweg_core::table::{Replacement, Table, TableCommit, TableVersion};
use thalweg_core::{Error, Result};

use crate::delta::{Delta, DeltaLookup, TableFile};
use crate::files::FileTable;

/// A table of the lake. Clones are the same table.
#[derive(Clone)]
pub enum LakeTable {
    /// A Delta table.
    Delta(Delta),
    /// A Delta table that others fill.
    Lookup(DeltaLookup),
    /// Plain files.
    Files(FileTable),
}

/// A table at one version.
#[derive(Clone)]
pub struct Pinned {
    /// Number of the version.
    pub version: i64,
    /// The stamp of every pipeline that feeds it.
    pub stamps: Vec<Stamp>,
    /// The note of its last replacement.
    pub note: Option<String>,
    /// Its rows.
    pub provider: Arc<dyn TableProvider>,
}

impl LakeTable {
    /// Pins the newest version for reading. Cheap to call often.
    ///
    /// # Errors
    ///
    /// As those of [`Delta::pin`], [`DeltaLookup::pin`] and [`FileTable::pin`].
    pub async fn pin(&self) -> Result<Pinned> {
        match self {
            Self::Delta(table) => {
                // The note first: a refresh between the two makes the rows newer than the note, and
                // rows below the older boundary are the same or refreshed.
                let note = table.note().await?;
                let pinned = table.pin(None).await?;
                let version = pinned.version;
                Ok(Pinned { version, stamps: pinned.stamps, note, provider: pinned.provider })
            }
            Self::Lookup(table) => {
                let pinned = table.pin().await?;
                let (version, stamps) = (pinned.version, pinned.stamps);
                Ok(Pinned { version, stamps, note: None, provider: pinned.provider })
            }
            Self::Files(table) => {
                let pinned = table.pin().await?;
                let stamps = pinned.stamp.into_iter().collect();
                let (version, note) = (pinned.version, pinned.note);
                Ok(Pinned { version, stamps, note, provider: pinned.provider })
            }
        }
    }

    /// The data files of the newest version.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the store does not answer.
    pub async fn files(&self) -> Result<Vec<TableFile>> {
        match self {
            Self::Delta(table) => table.files().await,
            Self::Lookup(table) => table.files().await,
            Self::Files(table) => table.files().await,
        }
    }

    /// Removes data files that no version of the last `keep` needs; how many.
    ///
    /// # Errors
    ///
    /// `Invalid` for plain files, which keep no older version, and for a table that others fill.
    pub async fn vacuum(&self, keep: Duration) -> Result<usize> {
        match self {
            Self::Delta(table) => table.vacuum(keep).await,
            Self::Lookup(_) => Err(Error::invalid("a table that others fill is only read")
                .with_hint("Whoever fills it also tends it.")),
            Self::Files(_) => Err(Error::invalid("a table of plain files keeps no older version")
                .with_hint("There is nothing to remove from it.")),
        }
    }

    fn table(&self) -> &dyn Table {
        match self {
            Self::Delta(table) => table,
            Self::Lookup(table) => table,
            Self::Files(table) => table,
        }
    }
}

#[async_trait]
impl Table for LakeTable {
    fn sink(&self) -> Result<Box<dyn Sink>> {
        self.table().sink()
    }

    async fn version(&self, pipeline: &str) -> Result<TableVersion> {
        self.table().version(pipeline).await
    }

    async fn replace_days(&self, replacement: Replacement) -> Result<i64> {
        self.table().replace_days(replacement).await
    }

    async fn note(&self) -> Result<Option<String>> {
        self.table().note().await
    }

    async fn compact(&self) -> Result<(usize, usize)> {
        self.table().compact().await
    }

    async fn history(&self, limit: usize) -> Result<Vec<TableCommit>> {
        self.table().history(limit).await
    }
}
