//! Commits that take files away: planned on one version, put after a later one only if nothing that
//! came in between touches the plan (D1).
//!
//! A compaction cares about the files it merges; a replacement besides about new rows of its days.
//! Both look at everything committed since they were planned, so an append in between neither stops
//! a compaction nor is lost to it.

use deltalake_core::kernel::{Action, Add, Remove, Version};
use std::collections::HashSet;

use thalweg_core::time::Day;
use thalweg_core::{Error, Result};

use super::actions::{self, Operation};
use super::columns::Columns;
use super::log::Head;
use super::statistics;
use super::table::{Shared, signed};

/// How often a commit is tried again when other writers are faster.
pub(crate) const ATTEMPTS_MAX: usize = 20;

/// Files to go and files to come, as planned on a version.
pub(crate) struct Rewrite {
    pub(crate) read_version: Version,
    pub(crate) operation: Operation,
    pub(crate) removes: Vec<Remove>,
    pub(crate) adds: Vec<Add>,
    /// The days whose rows it replaces.
    pub(crate) span: Option<Span>,
}

/// Days by a column.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) column: String,
    pub(crate) first: Day,
    pub(crate) last: Day,
}

/// Which of a file's rows lie in a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cover {
    None,
    Some,
    All,
}

impl Span {
    pub(crate) fn holds(&self, day: Option<Day>) -> bool {
        day.is_some_and(|day| self.first <= day && day <= self.last)
    }

    /// Which of a file's rows lie in the span, as far as the log can tell.
    pub(crate) fn cover(&self, file: &Add, columns: &Columns) -> Cover {
        let partition = columns.partition.as_ref();
        if let Some(by) = partition.filter(|by| [&by.column, &by.source].contains(&&self.column)) {
            let value = file.partition_values.get(&by.column).and_then(Option::as_deref);
            return if self.holds(value.and_then(Day::parse)) { Cover::All } else { Cover::None };
        }
        match statistics::days(file.stats.as_deref(), &self.column) {
            Some((first, last)) if last < self.first || self.last < first => Cover::None,
            Some((first, last)) if self.holds(Some(first)) && self.holds(Some(last)) => Cover::All,
            _ => Cover::Some,
        }
    }
}

impl Rewrite {
    /// Whether a commit made since the plan spoils it.
    fn is_spoilt_by(&self, commit: &[Action], columns: &Columns) -> bool {
        let ours: HashSet<&str> = self.removes.iter().map(|file| file.path.as_str()).collect();
        commit.iter().any(|action| match action {
            Action::Remove(theirs) => ours.contains(theirs.path.as_str()),
            Action::Add(theirs) => {
                let covers = |span: &Span| span.cover(theirs, columns) != Cover::None;
                theirs.data_change && self.span.as_ref().is_some_and(covers)
            }
            _ => false,
        })
    }
}

impl Shared {
    /// Commits a rewrite with `extra` actions made at the head, and returns the version; none when
    /// it has to be planned anew.
    ///
    /// # Errors
    ///
    /// Those of the log; the files added may then be part of the table (D3).
    pub(crate) async fn commit_rewrite(
        &self,
        head: &mut Head,
        rewrite: &Rewrite,
        note: Option<&str>,
        extra: impl Fn(&Head) -> Result<Vec<Action>>,
    ) -> Result<Option<Version>> {
        for _ in 0..ATTEMPTS_MAX {
            self.catch_up(head).await?;
            for version in rewrite.read_version + 1..=head.version {
                let commit = self.log.read(version).await?;
                // A commit that is gone already cannot be looked at: plan anew.
                if commit.is_none_or(|commit| rewrite.is_spoilt_by(&commit, &self.columns)) {
                    return Ok(None);
                }
            }
            let takes_rows = rewrite.removes.iter().any(|file| file.data_change);
            if takes_rows && actions::is_append_only(&head.metadata) {
                return Err(Error::invalid(format!("table `{}` is append-only", self.name)));
            }
            let at = self.env.clock.now();
            let mut commit = vec![actions::commit_info(rewrite.operation, at, note)];
            commit.extend(extra(head)?);
            commit.extend(rewrite.removes.iter().cloned().map(Action::Remove));
            commit.extend(rewrite.adds.iter().cloned().map(Action::Add));
            if self.log.append(head, &commit).await? {
                return Ok(Some(head.version));
            }
        }
        Err(self.outrun())
    }

    /// Removes all rows and forgets who fed the table.
    pub(crate) async fn reset(&self) -> Result<i64> {
        let mut head = self.head.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            self.catch_up(&mut head).await?;
            let state = self.snapshots.at(head.version).await?;
            let rewrite = Rewrite {
                read_version: head.version,
                operation: Operation::Reset,
                removes: state.log_data().iter().map(|file| file.remove_action(true)).collect(),
                adds: Vec::new(),
                span: None,
            };
            let forget =
                |head: &Head| Ok(vec![Action::Metadata(actions::without_feeds(&head.metadata)?)]);
            let version = self.commit_rewrite(&mut head, &rewrite, None, forget).await?;
            // Rows that came in between are not in the plan.
            if version == Some(rewrite.read_version + 1) {
                return Ok(signed(head.version));
            }
        }
        Err(self.outrun())
    }

    /// The error of a commit that other writers kept from being made.
    pub(crate) fn outrun(&self) -> Error {
        Error::unavailable(format!("other writers keep table `{}` busy", self.name))
            .with_detail(format!("They were faster {ATTEMPTS_MAX} times in a row."))
    }
}
