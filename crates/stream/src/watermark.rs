//! Watermarks: how far event time has come (S2).
//!
//! Pure arithmetic. The watermark of a partition is the highest event time seen minus a delay; of a
//! source the minimum over its partitions, idle ones left out. It moves at the end of an epoch and
//! never goes back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thalweg_core::time::Timestamp;

/// Watermark of one source, as it rides in the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    delay_micros: i64,
    highest: BTreeMap<u32, Timestamp>,
    current: Timestamp,
}

impl Watermark {
    /// Nothing seen yet; events may come `delay_micros` out of order.
    pub fn new(delay_micros: i64) -> Self {
        Self { delay_micros, highest: BTreeMap::new(), current: Timestamp::MIN }
    }

    /// The watermark now.
    pub fn current(&self) -> Timestamp {
        self.current
    }

    /// Learns an event time of a partition; moves nothing yet.
    pub fn see(&mut self, partition: u32, event_time: Timestamp) {
        let highest = self.highest.entry(partition).or_insert(Timestamp::MIN);
        *highest = (*highest).max(event_time);
    }

    /// Ends an epoch. `idle` partitions are left out; `held_at` is the earliest event time known to
    /// be still unread, if any.
    pub fn end_epoch(&mut self, idle: &[u32], held_at: Option<Timestamp>) -> Timestamp {
        let back = |time: Timestamp| match time {
            Timestamp::MIN => Timestamp::MIN,
            time => Timestamp(time.0.saturating_sub(self.delay_micros)),
        };
        let live = self.highest.iter().filter(|(partition, _)| !idle.contains(partition));
        let seen = live.map(|(_, highest)| back(*highest)).min();
        let reached = match (seen, held_at.map(back)) {
            (Some(seen), Some(held)) => Some(seen.min(held)),
            (seen, _) => seen,
        };
        if let Some(reached) = reached {
            self.current = self.current.max(reached);
        }
        self.current
    }

    /// Raises the watermark to `to`, when a bounded input has ended.
    pub fn raise(&mut self, to: Timestamp) -> Timestamp {
        self.current = self.current.max(to);
        self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_live_partition_holds_it() {
        let mut watermark = Watermark::new(5);
        watermark.see(0, Timestamp(100));
        watermark.see(1, Timestamp(50));
        assert_eq!(watermark.current(), Timestamp::MIN, "it moves only at the end of an epoch");
        assert_eq!(watermark.end_epoch(&[], None), Timestamp(45));
        assert_eq!(watermark.end_epoch(&[1], None), Timestamp(95));
        assert_eq!(watermark.end_epoch(&[], None), Timestamp(95), "it never goes back");
        assert_eq!(watermark.end_epoch(&[0, 1], None), Timestamp(95), "all idle: it stands still");
    }

    #[test]
    fn what_is_unread_holds_it() {
        let mut watermark = Watermark::new(5);
        watermark.see(0, Timestamp(100));
        assert_eq!(watermark.end_epoch(&[], Some(Timestamp(30))), Timestamp(25));
        assert_eq!(watermark.end_epoch(&[], None), Timestamp(95));
    }
}
