//! When polls are due: pure, and without drift.

use std::time::Duration;

use rand::Rng;
use thalweg_core::time::{Timestamp, micros};

/// Slots at `start + n × every`; the poll of a slot is late by its jitter, the next slot is not.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    every: Duration,
    jitter: Duration,
    // When the first poll was asked for.
    start: Option<Timestamp>,
    slot: u64,
    late: Duration,
}

impl Schedule {
    pub(super) fn new(every: Duration, jitter: Duration) -> Self {
        Self { every, jitter, start: None, slot: 0, late: Duration::ZERO }
    }

    /// When the next poll is due; the first one now.
    pub(super) fn due(&mut self, now: Timestamp) -> Timestamp {
        let start = *self.start.get_or_insert(now);
        self.begin_of(start, self.slot).plus(self.late)
    }

    /// A poll is over: the next slot is the one behind it, or if that is past already, the newest
    /// that is.
    pub(super) fn move_on(&mut self, now: Timestamp, rng: &mut impl Rng) {
        let start = *self.start.get_or_insert(now);
        let every = micros(self.every).max(1).unsigned_abs();
        let begun = now.0.saturating_sub(start.0).max(0).unsigned_abs() / every;
        self.slot = (self.slot + 1).max(begun);
        let jitter = micros(self.jitter).unsigned_abs();
        self.late = Duration::from_micros(rng.random_range(0..=jitter));
    }

    fn begin_of(&self, start: Timestamp, slot: u64) -> Timestamp {
        let offset = micros(self.every).saturating_mul(i64::try_from(slot).unwrap_or(i64::MAX));
        Timestamp(start.0.saturating_add(offset))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn a_hundred_polls_take_a_hundred_periods() {
        let mut rng = SmallRng::seed_from_u64(7);
        let mut schedule = Schedule::new(Duration::from_secs(5), Duration::ZERO);
        let start = schedule.due(Timestamp(77));
        assert_eq!(start, Timestamp(77));
        let mut due = start;
        for _ in 0..100 {
            // Every answer takes almost as long as the period.
            schedule.move_on(due.plus(Duration::from_millis(4_900)), &mut rng);
            due = schedule.due(due);
        }
        assert_eq!(due.since(start), Duration::from_secs(500));
    }

    #[test]
    fn slots_that_passed_are_one_poll() {
        let mut rng = SmallRng::seed_from_u64(7);
        let mut schedule = Schedule::new(Duration::from_secs(5), Duration::ZERO);
        schedule.due(Timestamp(0));
        schedule.move_on(Timestamp(23 * SECOND), &mut rng);
        assert_eq!(schedule.due(Timestamp(23 * SECOND)), Timestamp(20 * SECOND));
        schedule.move_on(Timestamp(24 * SECOND), &mut rng);
        assert_eq!(schedule.due(Timestamp(24 * SECOND)), Timestamp(25 * SECOND));
    }

    proptest! {
        /// However long answers take, a slot is polled once, in time, and none drifts.
        #[test]
        fn slots_stand_where_they_stand(
            every_ms in 1..10_000_u64,
            jitter in 0.0..1.0_f64,
            taken in prop::collection::vec(0.0..3.0_f64, 1..50),
            seed: u64,
        ) {
            let every = Duration::from_millis(every_ms);
            let jitter = every.mul_f64(jitter);
            let mut rng = SmallRng::seed_from_u64(seed);
            let mut schedule = Schedule::new(every, jitter);
            let mut now = Timestamp(0);
            let mut slots = Vec::new();
            for share in taken {
                let due = schedule.due(now);
                let offset = Duration::from_micros(due.0.unsigned_abs());
                let slot = offset.saturating_sub(schedule.late).as_micros() / every.as_micros();
                prop_assert!(schedule.late <= jitter);
                prop_assert!(slots.last().is_none_or(|last| *last < slot));
                slots.push(slot);
                now = now.max(due).plus(every.mul_f64(share));
                schedule.move_on(now, &mut rng);
                prop_assert!(schedule.due(now).plus(every) > now, "no slot behind is made up for");
            }
        }
    }
}
