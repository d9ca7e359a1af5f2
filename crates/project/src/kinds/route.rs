//! Routes: each row to the first arm that is true.

use crate::codes::{self, Telling};
use crate::entry::Entry;
use crate::names::{is_identifier, wrong_topic};
use crate::spanned::Spanned;
use crate::sql_text::SqlText;

/// Rows of one relation, sent apart (S11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name.
    pub name: Spanned<String>,
    /// The source or stream whose rows it takes.
    pub from: Spanned<String>,
    /// Where they go, in the order in which they are asked; at least one.
    pub arms: Vec<Arm>,
}

/// One way out of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arm {
    /// Its name in SQL.
    pub name: Spanned<String>,
    /// Which rows it takes: those for which this is true, NULL being not true; none for all that are
    /// left.
    pub when: Option<SqlText>,
    /// The topic its rows are published to.
    pub topic: Option<Spanned<String>>,
}

pub(crate) fn lower(name: &Spanned<String>, entry: Entry<'_>) -> Option<Route> {
    let from = entry.spanned("from");
    let list = entry.child("arms");
    let items = list.items();
    let arms: Vec<Arm> = items.iter().filter_map(|item| lower_arm(*item)).collect();
    let is_whole = arms.len() == items.len();
    if let Some(list) = list.written()
        && items.is_empty()
    {
        let problem = codes::problem(codes::MALFORMED, "`arms` is empty", list.place());
        entry.report(problem.label("such as `[{ name = \"rest\" }]`"));
        return None;
    }
    let takes_all = arms.iter().position(|arm| arm.when.is_none());
    if let Some(first) = takes_all
        && let Some(after) = arms.get(first + 1)
    {
        let message = format!("arm `{}` gets no rows", after.name);
        let problem = codes::problem(codes::DOES_NOT_FIT, message, after.name.place.clone());
        let taker = &arms[first].name;
        entry.report(
            problem
                .hint("An arm without `when` takes all that are left, so it comes last.")
                .related(format!("`{taker}` takes all that are left"), taker.place.clone()),
        );
        return None;
    }
    is_whole.then_some(Route { name: name.clone(), from: from?, arms })
}

fn lower_arm(entry: Entry<'_>) -> Option<Arm> {
    let (name, when, topic) = (entry.spanned("name"), entry.sql("when"), entry.spanned("topic"));
    let name: Spanned<String> = name?;
    // That it is no name was reported with all other names.
    if !is_identifier(&name) {
        return None;
    }
    if let Some(problem) = topic.as_ref().and_then(wrong_topic) {
        entry.report(problem);
        return None;
    }
    Some(Arm { name, when, topic })
}
