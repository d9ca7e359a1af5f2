//! What turns one result into the next, as a client applies it.
//!
//! A pure function of two results. The client's steps are in `docs/reference/live.md`; the property
//! test of `subscription` takes them.

use std::collections::{HashMap, VecDeque};

use super::collect::LiveResult;
use super::protocol::Json;

/// What a client needs to go from one result to another.
#[derive(Debug)]
pub(crate) enum Change {
    /// Nothing: they are equal.
    Nothing,
    /// The whole result: its columns differ, or that is shorter.
    Snapshot,
    /// These steps, in the order of the fields.
    Delta {
        /// Keys of rows to remove; whole rows, when there is no key.
        delete: Vec<Json>,
        /// Rows to put in the place of those with the same key, or at the end.
        upsert: Vec<Json>,
        /// For each row of the result, where it stands after the steps before.
        order: Option<Vec<usize>>,
    },
}

/// What turns `old` into `new`.
///
/// Rows without a key are their own key and may repeat, so keys are counted.
pub(crate) fn diff(old: &LiveResult, new: &LiveResult) -> Change {
    if old.columns != new.columns || old.key != new.key {
        return Change::Snapshot;
    }
    let mut old_rows: HashMap<&str, (usize, &str)> = HashMap::with_capacity(old.rows.len());
    for row in &old.rows {
        old_rows.entry(row.key.get()).or_insert((0, row.json.get())).0 += 1;
    }
    // Per key: how many rows of `new` have it.
    let mut new_counts: HashMap<&str, usize> = HashMap::with_capacity(new.rows.len());
    // The keys a client has at the end, as they then stand.
    let mut added = Vec::new();
    let mut upsert = Vec::new();
    for row in &new.rows {
        let key = row.key.get();
        let count = new_counts.entry(key).or_insert(0);
        *count += 1;
        match old_rows.get(key) {
            Some((old_count, json)) if *count <= *old_count => {
                if *json != row.json.get() {
                    upsert.push(Json::clone(&row.json));
                }
            }
            _ => {
                added.push(key);
                upsert.push(Json::clone(&row.json));
            }
        }
    }
    let mut stands = Vec::with_capacity(new.rows.len());
    let mut delete = Vec::new();
    for row in &old.rows {
        let key = row.key.get();
        let (left, _) = old_rows.get_mut(key).expect("counted above");
        if *left > new_counts.get(key).copied().unwrap_or(0) {
            *left -= 1;
            delete.push(Json::clone(&row.key));
        } else {
            stands.push(key);
        }
    }
    stands.append(&mut added);
    let order = if new.ordered { order(&stands, new) } else { None };
    if delete.is_empty() && upsert.is_empty() && order.is_none() {
        Change::Nothing
    } else if delete.len() + upsert.len() > new.rows.len() {
        Change::Snapshot
    } else {
        Change::Delta { delete, upsert, order }
    }
}

/// For each row of `new`, its index in `stands`; none when that is already its order.
fn order(stands: &[&str], new: &LiveResult) -> Option<Vec<usize>> {
    if stands.iter().copied().eq(new.rows.iter().map(|row| row.key.get())) {
        return None;
    }
    let mut places: HashMap<&str, VecDeque<usize>> = HashMap::with_capacity(stands.len());
    for (place, key) in stands.iter().enumerate() {
        places.entry(key).or_default().push_back(place);
    }
    let place = |key: &str| places.get_mut(key).and_then(VecDeque::pop_front);
    let order = new.rows.iter().map(|row| row.key.get()).map(place);
    Some(order.map(|place| place.expect("both hold the same keys, equally often")).collect())
}

#[cfg(test)]
pub(super) mod tests;
