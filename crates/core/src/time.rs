//! Instants, days and lengths of time.
//!
//! An instant is microseconds since 1970-01-01 UTC; a *day* is a UTC day (S19). No clock is read
//! here: that is [`crate::env::Clock`].

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};

/// Microseconds in a second.
pub const MICROS_PER_SECOND: i64 = 1_000_000;
/// Microseconds in a UTC day.
pub const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// An instant: microseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Earlier than every instant; the watermark of a partition that has seen nothing.
    pub const MIN: Self = Self(i64::MIN);
    /// Later than every instant.
    pub const MAX: Self = Self(i64::MAX);

    /// From milliseconds, saturating.
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// Whole milliseconds, rounded down.
    pub fn millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This instant plus `duration`, saturating.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }

    /// This instant minus `duration`, saturating; [`Timestamp::MIN`] stays what it is.
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration)))
    }

    /// The time from `earlier` to this instant, zero if it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0).max(0).unsigned_abs())
    }

    /// The UTC day of this instant.
    pub fn day(self) -> Day {
        Day(i32::try_from(self.0.div_euclid(MICROS_PER_DAY)).unwrap_or(if self.0 < 0 {
            i32::MIN
        } else {
            i32::MAX
        }))
    }

    /// Parses RFC 3339, such as `2023-12-22T15:00:00Z`, or a bare date.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Some(Self(time.timestamp_micros()));
        }
        Day::parse(text).map(Day::start)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::<Utc>::from_timestamp_micros(self.0) {
            Some(time) => f.write_str(&time.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            None => write!(f, "{} µs", self.0),
        }
    }
}

/// A UTC day: days since 1970-01-01, as Arrow's `Date32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i32);

impl Day {
    /// The first instant of the day.
    pub fn start(self) -> Timestamp {
        Timestamp(i64::from(self.0) * MICROS_PER_DAY)
    }

    /// The first instant of the next day.
    pub fn end(self) -> Timestamp {
        self.next().start()
    }

    /// The day after.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Parses `2023-12-22`.
    pub fn parse(text: &str) -> Option<Self> {
        let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
        let days = date.signed_duration_since(NaiveDate::default()).num_days();
        i32::try_from(days).ok().map(Self)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = DateTime::<Utc>::from_timestamp_micros(self.start().0);
        match start {
            Some(time) => write!(f, "{}", time.format("%Y-%m-%d")),
            None => write!(f, "day {}", self.0),
        }
    }
}

/// A duration as microseconds, saturating.
pub fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Parses a length of time as the project file writes it: `250ms`, `5s`, `1m`, `2h`, `7d`, `1w`,
/// or several in a row, as `1h 30m`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit_millis = match &rest[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return None,
        };
        total = total.checked_add(Duration::from_millis(count.checked_mul(unit_millis)?))?;
        rest = rest[letters..].trim_start();
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_the_project_file_writes_them() {
        check_duration("5s", Some(5_000));
        check_duration("100ms", Some(100));
        check_duration("1h 30m", Some(5_400_000));
        check_duration("7d", Some(604_800_000));
        check_duration("", None);
        check_duration("5", None);
        check_duration("5 parsecs", None);
        check_duration("99999999999999999999w", None);
    }

    #[track_caller]
    fn check_duration(text: &str, millis: Option<u64>) {
        assert_eq!(parse_duration(text), millis.map(Duration::from_millis), "{text:?}");
    }

    #[test]
    fn instants_and_days_are_written_and_read_back() {
        let time = Timestamp(1_703_258_644_022_000);
        assert_eq!(time.to_string(), "2023-12-22T15:24:04.022Z");
        assert_eq!(Timestamp::parse("2023-12-22T15:24:04.022Z"), Some(time));
        assert_eq!(time.day().to_string(), "2023-12-22");
        assert_eq!(Day::parse("2023-12-22"), Some(time.day()));
        assert!(time.day().start() <= time && time < time.day().end());
        assert_eq!(Timestamp(-1).day(), Day(-1));
    }
}
