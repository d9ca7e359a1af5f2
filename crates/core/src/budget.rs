//! Budgets: how many bytes of memory or disk the process holds, for whom, against one limit (S26).
//!
//! Whoever holds much of it keeps a [`Holding`] up to date; whoever would take more from outside asks
//! [`Budget::shortage`] first and waits with the reason it gives. Nothing is refused here: a row that
//! is in the process is never dropped for want of room.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that parts of the process hold, and how many they may hold together; clones are the same.
#[derive(Clone)]
pub struct Budget(Arc<Inner>);

struct Inner {
    /// What is held, for messages: `memory`.
    what: &'static str,
    limit: AtomicU64,
    used: AtomicU64,
    holders: Mutex<Holders>,
}

#[derive(Default)]
struct Holders {
    by_number: BTreeMap<u64, (String, u64)>,
    next_number: u64,
}

impl Budget {
    /// A budget of `what` (`memory`, `disk`); `u64::MAX` stands for no limit.
    pub fn new(what: &'static str, limit_bytes: u64) -> Self {
        Self(Arc::new(Inner {
            what,
            limit: AtomicU64::new(limit_bytes),
            used: AtomicU64::new(0),
            holders: Mutex::default(),
        }))
    }

    /// A budget without a limit.
    pub fn unlimited(what: &'static str) -> Self {
        Self::new(what, u64::MAX)
    }

    /// Begins to count what `name` holds, from zero; until the holding is dropped.
    pub fn holding(&self, name: impl Into<String>) -> Holding {
        let mut holders = self.holders();
        let number = holders.next_number;
        holders.next_number += 1;
        holders.by_number.insert(number, (name.into(), 0));
        Holding { budget: self.clone(), number }
    }

    /// Bytes that may be held.
    pub fn limit(&self) -> u64 {
        self.0.limit.load(Ordering::Relaxed)
    }

    /// Changes how many bytes may be held.
    pub fn set_limit(&self, bytes: u64) {
        self.0.limit.store(bytes, Ordering::Relaxed);
    }

    /// Bytes that are held.
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Why nothing more should be taken in, naming who holds most; none while there is room.
    pub fn shortage(&self) -> Option<String> {
        let (used, limit) = (self.used(), self.limit());
        if used < limit {
            return None;
        }
        let largest = self.largest().map_or_else(String::new, |(name, bytes)| {
            format!(", most of it {name} ({})", megabytes(bytes))
        });
        Some(format!(
            "{} of {} of `runtime.{}` is held{largest}",
            megabytes(used),
            megabytes(limit),
            self.0.what
        ))
    }

    /// Who holds most, and how many bytes.
    pub fn largest(&self) -> Option<(String, u64)> {
        self.holders().by_number.values().max_by_key(|(_, bytes)| *bytes).cloned()
    }

    fn holders(&self) -> std::sync::MutexGuard<'_, Holders> {
        self.0.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one holder holds of a budget; given back when this is dropped.
pub struct Holding {
    budget: Budget,
    number: u64,
}

impl Holding {
    /// Says how many bytes are held now.
    pub fn set(&self, bytes: u64) {
        let mut holders = self.budget.holders();
        if let Some((_, held)) = holders.by_number.get_mut(&self.number) {
            let before = std::mem::replace(held, bytes);
            // Under the lock, so that the sum is never off by more than one change.
            self.budget.0.used.fetch_add(bytes, Ordering::Relaxed);
            self.budget.0.used.fetch_sub(before, Ordering::Relaxed);
        }
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.set(0);
        self.budget.holders().by_number.remove(&self.number);
    }
}

/// `12.3 MB`; a person compares these with what stands in the project file.
fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_names_who_holds_most_and_ends_when_it_is_given_back() {
        let budget = Budget::new("memory", 10_000_000);
        let (small, large) =
            (budget.holding("the tail of trades"), budget.holding("state of bars"));
        small.set(2_000_000);
        large.set(7_900_000);
        assert_eq!(budget.shortage(), None);
        large.set(8_100_000);
        assert_eq!(
            budget.shortage().as_deref(),
            Some(
                "10.1 MB of 10.0 MB of `runtime.memory` is held, most of it state of bars (8.1 MB)"
            )
        );
        drop(large);
        assert_eq!((budget.shortage(), budget.used()), (None, 2_000_000));
    }
}
