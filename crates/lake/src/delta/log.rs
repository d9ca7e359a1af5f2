//! The log of a table as a writer keeps up with it: one JSON file a commit, put if absent (D1).
//!
//! Reading newer commits asks for version n+1, n+2, … until there is none: no listing, so it costs
//! the same however long the log is (D4).

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use deltalake_core::kernel::transaction::TransactionError;
use deltalake_core::kernel::{Action, Metadata, Version};
use deltalake_core::logstore::{
    CommitOrBytes, LogStoreRef, StorageConfig, commit_uri_from_version, default_logstore,
    get_actions,
};
use object_store::{ObjectStore, ObjectStoreExt as _};
use thalweg_core::table::TableCommit;
use thalweg_core::{Error, Result};
use url::Url;
use uuid::Uuid;

use super::actions;
use super::table::signed;
use crate::error::fold;
use crate::place::Place;
use crate::storage::unique;

/// The log of one table.
#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) store: LogStoreRef,
    place: Place,
}

/// The newest state of a table, as far as its writers need it.
pub(crate) struct Head {
    /// The newest commit read.
    pub(crate) version: Version,
    /// The metadata in force.
    pub(crate) metadata: Metadata,
    /// The last version a checkpoint was made of.
    pub(crate) checkpoint: Version,
    /// Whether it was seen that the table is still the one declared, since another writer last
    /// changed what it is.
    pub(crate) is_checked: bool,
    /// Application transactions read since the log was opened, or looked up and not there.
    transactions: HashMap<String, Option<i64>>,
}

impl Head {
    pub(crate) fn new(version: Version, metadata: Metadata, checkpoint: Version) -> Self {
        Self { version, metadata, checkpoint, is_checked: true, transactions: HashMap::new() }
    }

    /// The version of an application transaction; the outer none when it has to be looked up.
    pub(crate) fn transaction(&self, id: &str) -> Option<Option<i64>> {
        self.transactions.get(id).copied()
    }

    /// Keeps what a look-up in the table's state at this head found.
    pub(crate) fn remember(&mut self, id: String, version: Option<i64>) {
        self.transactions.insert(id, version);
    }

    /// Takes in the next commit.
    fn apply(&mut self, actions: &[Action]) {
        for action in actions {
            match action {
                Action::Txn(transaction) => {
                    self.remember(transaction.app_id.clone(), Some(transaction.version));
                }
                Action::Metadata(metadata) => {
                    self.metadata = metadata.clone();
                    self.is_checked = false;
                }
                Action::Protocol(_) => self.is_checked = false,
                _ => {}
            }
        }
        self.version += 1;
    }
}

impl Log {
    /// The log of the table at `place`. Nothing is read or written yet.
    pub(crate) fn at(place: &Place) -> Result<Self> {
        // Under a name of its own: the sessions of queries know a store by it, and stores of several
        // tables may be of one kind.
        let name = Url::parse(&format!("thalweg-{}://table/", unique()))
            .map_err(|error| Error::internal("a store has no name").with_source(error))?;
        let folder: Arc<dyn ObjectStore> = Arc::new(place.rooted());
        let store = default_logstore(folder.clone(), folder, &name, &StorageConfig::default());
        Ok(Self { store, place: place.clone() })
    }

    /// The actions of one commit, if it is there.
    pub(crate) async fn read(&self, version: Version) -> Result<Option<Vec<Action>>> {
        let cannot_read = || format!("cannot read commit {version} of {}", self.place());
        let bytes = self.store.read_commit_entry(version).await;
        let Some(bytes) = bytes.map_err(|error| fold(cannot_read(), error))? else {
            return Ok(None);
        };
        get_actions(version, &bytes).map(Some).map_err(|error| fold(cannot_read(), error))
    }

    /// The commits up to `newest`, the newest first, at most `limit`; older ones are gone when the
    /// log has been cleaned.
    pub(crate) async fn history(&self, newest: Version, limit: usize) -> Result<Vec<TableCommit>> {
        let (mut version, mut commits) = (Some(newest), Vec::new());
        while let Some(number) = version.filter(|_| commits.len() < limit) {
            let Some(actions) = self.read(number).await? else { break };
            commits.push(actions::table_commit(signed(number), &actions));
            version = number.checked_sub(1);
        }
        Ok(commits)
    }

    /// Reads what other writers committed.
    pub(crate) async fn catch_up(&self, head: &mut Head) -> Result<()> {
        while let Some(actions) = self.read(head.version + 1).await? {
            head.apply(&actions);
        }
        Ok(())
    }

    /// Puts the commit after the head. `false`: another writer was faster, catch up.
    ///
    /// # Errors
    ///
    /// `Fenced` when the commit at the head is gone: the table was removed, or this writer slept
    /// until the log was cleaned beyond it. Any other leaves in doubt whether the commit is there.
    pub(crate) async fn append(&self, head: &mut Head, actions: &[Action]) -> Result<bool> {
        self.check_still_there(head.version).await?;
        if !self.put(head.version + 1, actions).await? {
            return Ok(false);
        }
        let is_checked = head.is_checked;
        head.apply(actions);
        head.is_checked = is_checked;
        Ok(true)
    }

    /// Puts a commit if it is absent.
    pub(crate) async fn put(&self, version: Version, actions: &[Action]) -> Result<bool> {
        let lines: Result<Vec<String>, _> = actions.iter().map(serde_json::to_string).collect();
        let lines = lines.expect("actions read from JSON or made of text can be written as JSON");
        let commit = Bytes::from(lines.join("\n"));
        let bytes = CommitOrBytes::LogBytes(commit.clone());
        match self.store.write_commit_entry(version, bytes, Uuid::nil()).await {
            Ok(()) => Ok(true),
            // It may be ours: a store may have taken it, its answer been lost, and the client tried
            // again. Ids of files, of the table or of who feeds it tell commits apart.
            Err(TransactionError::VersionAlreadyExists(_)) => {
                let cannot_read = || format!("cannot read commit {version} of {}", self.place);
                let there = self.store.read_commit_entry(version).await;
                let there = there.map_err(|error| fold(cannot_read(), error))?;
                Ok(there.as_ref() == Some(&commit))
            }
            Err(error) => {
                Err(fold(format!("cannot commit version {version} to {}", self.place()), error))
            }
        }
    }

    /// Where the table lies, for messages.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Whether a commit is there.
    pub(crate) async fn holds(&self, version: Version) -> Result<bool> {
        let commit = commit_uri_from_version(Some(version));
        match self.store.object_store(None).head(&commit).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(fold(format!("cannot read the log of {}", self.place()), error)),
        }
    }

    async fn check_still_there(&self, version: Version) -> Result<()> {
        if self.holds(version).await? {
            return Ok(());
        }
        Err(Error::fenced(format!("commit {version} of {} is gone", self.place()))
            .with_detail("The table was removed or made anew since it was opened.")
            .with_hint("Open it again."))
    }
}
