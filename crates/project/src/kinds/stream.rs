//! Streams: continuous queries.

use std::time::Duration;

use thalweg_core::time::parse_duration;

use crate::entry::{Entry, from_text};
use crate::spanned::Spanned;
use crate::sql_text::SqlText;

/// A query that runs for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Its name in SQL.
    pub name: Spanned<String>,
    /// The query.
    pub sql: SqlText,
    /// When it emits; none for the default, which is [`Emit::Final`] for windows.
    pub emit: Option<Spanned<Emit>>,
}

/// When a stream emits (S5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// A window once, when the watermark has passed its end.
    Final,
    /// Each result again whenever it changes, at most once an epoch.
    Update,
    /// Each result that changed, at this interval.
    Early(Duration),
}

impl Emit {
    /// Parses `final`, `update` or `early 1s`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "final" => Some(Self::Final),
            "update" => Some(Self::Update),
            _ => {
                let every = parse_duration(text.strip_prefix("early ")?)?;
                (!every.is_zero()).then_some(Self::Early(every))
            }
        }
    }
}

from_text! {
    Emit: Self::parse;
}

pub(crate) fn lower(name: &Spanned<String>, entry: Entry<'_>) -> Option<Stream> {
    let emit = entry.spanned("emit");
    Some(Stream { name: name.clone(), sql: entry.query()?, emit })
}
