//! Alerts, and where they are sent.

use std::time::Duration;

use crate::entry::Entry;
use crate::secret::Secret;
use crate::spanned::Spanned;
use crate::sql_text::SqlText;

/// What somebody must hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Its name.
    pub name: Spanned<String>,
    /// A query; each of its rows is a reason to fire.
    pub when: SqlText,
    /// Columns that tell what it fires for; empty: for the query as a whole.
    pub per: Vec<Spanned<String>>,
    /// Time after which it fires again for the same thing. Default 5 min.
    pub cooldown: Duration,
    /// Who hears of it beside the screen.
    pub notify: Option<Spanned<String>>,
}

/// Where alerts are sent: a POST with the alert as JSON, at least once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// Its name.
    pub name: Spanned<String>,
    /// Address of the webhook.
    pub webhook_url: Secret,
}

pub(crate) fn lower(name: &Spanned<String>, entry: Entry<'_>) -> Option<Alert> {
    let (per, cooldown, notify) =
        (entry.list("per"), entry.value("cooldown"), entry.spanned("notify"));
    Some(Alert { name: name.clone(), when: entry.sql("when")?, per, cooldown, notify })
}

pub(crate) fn lower_notify(name: &Spanned<String>, entry: Entry<'_>) -> Option<Notify> {
    Some(Notify { name: name.clone(), webhook_url: entry.child("webhook").secret("url")? })
}
