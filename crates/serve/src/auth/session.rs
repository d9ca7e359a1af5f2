//! Sessions of browsers, and the limit on wrong tokens. In memory: both end with the process.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use thalweg_core::time::{MICROS_PER_SECOND, Timestamp};

/// How long a login lasts.
pub(crate) const SESSION_TIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// Sessions kept; beyond it the oldest ends.
const SESSIONS_MAX: usize = 1024;

/// Wrong tokens before the first refusal.
const ATTEMPTS_MAX: u32 = 10;
/// Time after which one more is let through.
const ATTEMPT_INTERVAL: Duration = Duration::from_secs(6);
/// Wrong tokens remembered, so that one shown again and again counts once.
const REMEMBERED_MAX: usize = 16;

/// Logged-in browsers, by the digest of their session id.
#[derive(Default)]
pub(crate) struct Sessions {
    ends: HashMap<[u8; 32], Timestamp>,
}

impl Sessions {
    /// Lets a session begin.
    pub(crate) fn begin(&mut self, id: [u8; 32], now: Timestamp) {
        self.ends.retain(|_, end| *end > now);
        if self.ends.len() >= SESSIONS_MAX {
            let oldest = self.ends.iter().min_by_key(|(_, end)| **end).map(|(id, _)| *id);
            self.ends.remove(&oldest.unwrap_or_default());
        }
        self.ends.insert(id, now.plus(SESSION_TIME));
    }

    /// Whether a session is on.
    pub(crate) fn is_on(&self, id: &[u8; 32], now: Timestamp) -> bool {
        self.ends.get(id).is_some_and(|end| *end > now)
    }

    /// Ends a session.
    pub(crate) fn end(&mut self, id: &[u8; 32]) {
        self.ends.remove(id);
    }
}

/// Counts wrong tokens: a bucket that refills with time.
///
/// A token shown again is no new guess: a program set up with an old token does not lock others out.
pub(crate) struct Attempts {
    left: u32,
    counted_at: Timestamp,
    wrong: VecDeque<[u8; 32]>,
}

impl Attempts {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { left: ATTEMPTS_MAX, counted_at: now, wrong: VecDeque::new() }
    }

    /// The time to wait before another token is looked at, if none may be now.
    pub(crate) fn wait(&mut self, now: Timestamp) -> Option<Duration> {
        let passed = now.since(self.counted_at);
        let regained = passed.as_micros() / ATTEMPT_INTERVAL.as_micros();
        if regained > 0 {
            let regained = u32::try_from(regained).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(regained).min(ATTEMPTS_MAX);
            self.counted_at = match self.left {
                ATTEMPTS_MAX => now,
                _ => self.counted_at.plus(ATTEMPT_INTERVAL * regained),
            };
        }
        if self.left > 0 {
            return None;
        }
        let missing = ATTEMPT_INTERVAL.saturating_sub(now.since(self.counted_at));
        Some(missing.max(Duration::from_micros(MICROS_PER_SECOND.unsigned_abs())))
    }

    /// Takes note of a wrong token.
    pub(crate) fn count(&mut self, token: [u8; 32]) {
        if self.wrong.contains(&token) {
            return;
        }
        if self.wrong.len() == REMEMBERED_MAX {
            self.wrong.pop_front();
        }
        self.wrong.push_back(token);
        self.left = self.left.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> [u8; 32] {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        id
    }

    #[test]
    fn a_session_ends_by_itself_and_the_oldest_gives_way() {
        let mut sessions = Sessions::default();
        let start = Timestamp(0);
        sessions.begin(id(0), start);
        assert!(sessions.is_on(&id(0), start));
        assert!(!sessions.is_on(&id(1), start));
        assert!(!sessions.is_on(&id(0), start.plus(SESSION_TIME)));
        for number in 1..=1024 {
            sessions.begin(id(number), Timestamp(i64::from(number)));
        }
        let now = Timestamp(2000);
        assert!(!sessions.is_on(&id(0), now));
        assert!(sessions.is_on(&id(1), now) && sessions.is_on(&id(1024), now));
        sessions.end(&id(1));
        assert!(!sessions.is_on(&id(1), now));
    }

    #[test]
    fn wrong_tokens_are_limited_but_one_shown_again_counts_once() {
        let start = Timestamp(0);
        let mut attempts = Attempts::new(start);
        for _ in 0..100 {
            assert_eq!(attempts.wait(start), None);
            attempts.count(id(0));
        }
        for number in 1..10 {
            assert_eq!(attempts.wait(start), None);
            attempts.count(id(number));
        }
        assert_eq!(attempts.wait(start), Some(ATTEMPT_INTERVAL));
        let later = start.plus(ATTEMPT_INTERVAL);
        assert_eq!(attempts.wait(later), None);
        attempts.count(id(11));
        assert_eq!(attempts.wait(later), Some(ATTEMPT_INTERVAL));
        let much_later = later.plus(ATTEMPT_INTERVAL * 100);
        for number in 20..30 {
            assert_eq!(attempts.wait(much_later), None);
            attempts.count(id(number));
        }
        assert!(attempts.wait(much_later).is_some());
    }
}
