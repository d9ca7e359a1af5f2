//! Who is champion: one row a model, changed by compare-and-swap, with its decision inside.

use serde::{Deserialize, Serialize};
use thalweg_core::store::Expected;
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, ErrorKind, Result};

use super::{CHAMPION, DECISION, DecisionRow, Registry, parse, to_json};
use crate::champion::Action;

/// How many champions back a rollback can go.
const PREVIOUS_MAX: usize = 50;

/// The row of kind `model_champion`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Alias {
    pub(super) champion: Option<u64>,
    /// Champions before, the newest last.
    previous: Vec<Option<u64>>,
    /// Versions that somebody rolled back from: the rule does not bring them back.
    pub(super) barred: Vec<u64>,
    decision: Option<DecisionRow>,
}

impl Registry {
    /// Makes a version champion because a person says so.
    ///
    /// # Errors
    ///
    /// `Invalid`: no such version, a baseline, or the champion already. `Unavailable`: somebody
    /// else decided at the same moment.
    pub async fn promote(
        &self,
        model: &str,
        version: u64,
        by: &str,
        at: Timestamp,
        reason: &str,
    ) -> Result<DecisionRow> {
        let Some(row) = self.version(model, version).await? else {
            return Err(Error::invalid(format!("model `{model}` has no version {version}"))
                .with_hint("`thalweg models list` shows the versions."));
        };
        if row.candidate.is_baseline() {
            return Err(Error::invalid(format!("{} is never champion", row.candidate))
                .with_detail("It is the yardstick; strong_naive serves when nobody is champion."));
        }
        let (expected, mut alias) = self.alias(model).await?;
        if alias.champion == Some(version) {
            return Err(Error::invalid(format!("{model}/{version} is the champion already")));
        }
        alias.barred.retain(|barred| *barred != version);
        let decision = person(model, by, at, reason, Action::Chosen, &alias, Some(version));
        self.apply(expected, alias, decision).await
    }

    /// Brings back the champion before, or *no champion*; the rule will not bring back the one
    /// that is left.
    ///
    /// # Errors
    ///
    /// `Invalid`: there was none before. `Unavailable`: somebody else decided at the same moment.
    pub async fn rollback(
        &self,
        model: &str,
        by: &str,
        at: Timestamp,
        reason: &str,
    ) -> Result<DecisionRow> {
        let (expected, mut alias) = self.alias(model).await?;
        let Some(before) = alias.previous.pop() else {
            return Err(Error::invalid(format!("model `{model}` had no champion before")));
        };
        if let Some(left) = alias.champion {
            alias.barred.retain(|barred| *barred != left);
            alias.barred.push(left);
        }
        let decision = person(model, by, at, reason, Action::RolledBack, &alias, before);
        self.apply(expected, alias, decision).await
    }

    /// The row, and what a write must expect. A decision that a crash kept out of the history is
    /// written there first.
    pub(super) async fn alias(&self, model: &str) -> Result<(Expected, Alias)> {
        let Some(row) = self.store.get(CHAMPION, model).await? else {
            return Ok((Expected::Absent, Alias::default()));
        };
        let alias: Alias = parse(CHAMPION, &row.id, row.value)?;
        if let Some(decision) = &alias.decision
            && self.store.get(DECISION, &decision_id(decision)).await?.is_none()
        {
            self.remember(decision).await?;
        }
        Ok((Expected::Version(row.version), alias))
    }

    /// The decision that a run has made, if it has.
    pub(super) async fn decided(
        &self,
        model: &str,
        at: Timestamp,
        run: &str,
    ) -> Result<Option<DecisionRow>> {
        let id = format!("{model}/{:020}/{run}", at.0);
        let row = self.store.get(DECISION, &id).await?;
        row.map(|row| parse(DECISION, &row.id, row.value)).transpose()
    }

    /// Writes a decision and what it changes, if nobody else has decided since `expected`.
    pub(super) async fn apply(
        &self,
        expected: Expected,
        mut alias: Alias,
        decision: DecisionRow,
    ) -> Result<DecisionRow> {
        let is_swap = decision.after != alias.champion;
        if is_swap && decision.action != Action::RolledBack {
            alias.previous.push(alias.champion);
            let surplus = alias.previous.len().saturating_sub(PREVIOUS_MAX);
            alias.previous.drain(..surplus);
        }
        alias.champion = decision.after;
        alias.decision = Some(decision.clone());
        let written = self.store.put(CHAMPION, &decision.model, expected, &to_json(&alias)?).await;
        written.map_err(|error| match error.kind {
            ErrorKind::Fenced => {
                let message = format!("the champion of `{}` changed meanwhile", decision.model);
                Error::unavailable(message).with_hint("Decide again on the new state.")
            }
            _ => error,
        })?;
        self.changed();
        self.remember(&decision).await?;
        tracing::info!(
            model = decision.model,
            action = ?decision.action,
            champion = ?decision.after,
            "decided who serves"
        );
        Ok(decision)
    }

    async fn remember(&self, decision: &DecisionRow) -> Result<()> {
        let value = to_json(decision)?;
        self.store.put(DECISION, &decision_id(decision), Expected::Any, &value).await?;
        Ok(())
    }
}

fn decision_id(decision: &DecisionRow) -> String {
    format!("{}/{:020}/{}", decision.model, decision.at.0, decision.run)
}

fn person(
    model: &str,
    by: &str,
    at: Timestamp,
    reason: &str,
    action: Action,
    alias: &Alias,
    after: Option<u64>,
) -> DecisionRow {
    DecisionRow {
        model: model.to_owned(),
        run: format!("by {by}"),
        by: by.to_owned(),
        at,
        action,
        before: alias.champion,
        after,
        reasons: vec![reason.to_owned()],
    }
}
