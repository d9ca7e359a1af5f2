//! When to try again, and when silence means death: pure.

use std::time::Duration;

use rand::Rng;
use thalweg_core::ErrorKind;
use thalweg_core::time::Timestamp;

/// Ceiling of the first delay.
const FIRST: Duration = Duration::from_millis(100);
/// Ceiling of every delay, and the least delay after a refusal.
const LONGEST: Duration = Duration::from_secs(30);
/// A connection that lived this long begins the count anew.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// Full-jitter exponential back-off: each delay is drawn evenly between nothing and a ceiling that
/// doubles from 100 ms to 30 s.
///
/// Source: M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Counts a failure and draws the delay before the next attempt. After a refusal, which only a
    /// person can mend, it is 30 to 60 s.
    pub(super) fn delay(&mut self, kind: ErrorKind, rng: &mut impl Rng) -> Duration {
        let ceiling = self.ceiling();
        self.failures = self.failures.saturating_add(1);
        match kind {
            ErrorKind::Invalid => LONGEST + rng.random_range(Duration::ZERO..=LONGEST),
            _ => rng.random_range(Duration::ZERO..=ceiling),
        }
    }

    /// Notes for how long a connection that has just ended was alive.
    pub(super) fn connected_for(&mut self, alive: Duration) {
        if alive >= HEALTHY_AFTER {
            self.failures = 0;
        }
    }

    fn ceiling(self) -> Duration {
        let doubled = 1_u32.checked_shl(self.failures).and_then(|times| FIRST.checked_mul(times));
        doubled.map_or(LONGEST, |ceiling| ceiling.min(LONGEST))
    }
}

/// Watches for silence (S14).
#[derive(Clone, Copy, Debug)]
pub(super) struct Watchdog {
    stale_after: Duration,
    heard_at: Timestamp,
}

impl Watchdog {
    pub(super) fn new(stale_after: Duration, now: Timestamp) -> Self {
        Self { stale_after, heard_at: now }
    }

    /// Notes a sign of life, or that nobody was listening until now.
    pub(super) fn hear(&mut self, now: Timestamp) {
        self.heard_at = self.heard_at.max(now);
    }

    /// When the last sign of life came.
    pub(super) fn heard_at(&self) -> Timestamp {
        self.heard_at
    }

    /// How much longer the feed may be silent; nothing when it is dead.
    pub(super) fn patience(&self, now: Timestamp) -> Option<Duration> {
        self.stale_after.checked_sub(now.since(self.heard_at)).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn ceilings_double_up_to_the_longest() {
        let ceilings: Vec<u128> = [0, 1, 2, 8, 9, 31, 32, u32::MAX]
            .map(|failures| Backoff { failures }.ceiling().as_millis())
            .into();
        assert_eq!(ceilings, [100, 200, 400, 25_600, 30_000, 30_000, 30_000, 30_000]);
    }

    #[test]
    fn a_healthy_minute_begins_the_count_anew() {
        let mut backoff = Backoff { failures: 9 };
        backoff.connected_for(Duration::from_secs(59));
        assert_eq!(backoff.failures, 9);
        backoff.connected_for(Duration::from_secs(60));
        assert_eq!(backoff.failures, 0);
    }

    proptest! {
        #[test]
        fn delays_stay_below_their_ceiling(failures in 0..40_u32, seed: u64) {
            let mut rng = SmallRng::seed_from_u64(seed);
            let mut backoff = Backoff { failures };
            let ceiling = backoff.ceiling();
            prop_assert!(backoff.delay(ErrorKind::Unavailable, &mut rng) <= ceiling);
            prop_assert_eq!(backoff.failures, failures + 1);
            let slow = backoff.delay(ErrorKind::Invalid, &mut rng);
            prop_assert!((LONGEST..=2 * LONGEST).contains(&slow));
        }
    }

    #[test]
    fn delays_are_spread_over_the_whole_range() {
        let mut rng = SmallRng::seed_from_u64(7);
        let delays: Vec<Duration> = (0..200)
            .map(|_| Backoff { failures: 20 }.delay(ErrorKind::Unavailable, &mut rng))
            .collect();
        assert!(delays.iter().any(|delay| *delay < LONGEST / 10));
        assert!(delays.iter().any(|delay| *delay > LONGEST * 9 / 10));
    }

    #[test]
    fn silence_is_measured_from_the_last_sign_of_life() {
        let second = |n: i64| Timestamp(n * 1_000_000);
        let mut watchdog = Watchdog::new(Duration::from_secs(5), second(0));
        assert_eq!(watchdog.patience(second(2)), Some(Duration::from_secs(3)));
        watchdog.hear(second(4));
        watchdog.hear(second(3));
        assert_eq!(watchdog.patience(second(8)), Some(Duration::from_secs(1)));
        assert_eq!(watchdog.patience(second(9)), None);
        assert_eq!(watchdog.patience(second(99)), None);
    }
}
