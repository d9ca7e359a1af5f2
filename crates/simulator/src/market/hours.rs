//! How busy an instrument is at a time of the day.

use chrono::{DateTime, Datelike, NaiveTime, Timelike, Utc, Weekday};
use chrono_tz::America::New_York;
use thalweg_core::time::Timestamp;

use crate::config::InstrumentKind;

/// Minutes of New York's day at which the exchange opens and closes, and trade around it begins
/// and ends.
const OPEN: f64 = 570.0;
const CLOSE: f64 = 960.0;
const EARLY: f64 = 240.0;
const LATE: f64 = 1200.0;

/// Level of a stock outside the session, and the bottom of the session's U.
const OUTSIDE: f64 = 0.2;
const MIDDAY: f64 = 2.2;

/// When something is traded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hours {
    pub(super) kind: InstrumentKind,
    /// Whether the time of the day matters.
    pub(super) is_shaped: bool,
    /// Whether stocks rest at night and at weekends.
    pub(super) is_closing: bool,
}

/// An instrument's hours at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Hour {
    /// Rate of trades, relative to the average over a day; 0 when closed.
    pub(super) level: f64,
    /// Whether New York's session is on: 9:30 to 16:00 from Monday to Friday.
    pub(super) is_session: bool,
}

impl Hours {
    /// The hours at `time`; they hold for its minute.
    pub(super) fn at(self, time: Timestamp) -> Hour {
        let utc = DateTime::<Utc>::from_timestamp_micros(time.0).unwrap_or_default();
        let local = utc.with_timezone(&New_York);
        let minute = minute_of_day(local.time());
        let is_weekend = matches!(local.weekday(), Weekday::Sat | Weekday::Sun);
        let is_session = !is_weekend && (OPEN..CLOSE).contains(&minute);
        let is_stock = self.kind == InstrumentKind::Stock;
        let is_closed =
            self.is_closing && is_stock && (is_weekend || !(EARLY..LATE).contains(&minute));
        let level = if is_closed {
            0.0
        } else if !self.is_shaped {
            1.0
        } else if is_stock {
            stock_level(minute)
        } else {
            // Busiest when Europe and America are both awake.
            let swing = if self.kind == InstrumentKind::Forex { 0.5 } else { 0.35 };
            let hours_from_peak = (minute_of_day(utc.time()) - 900.0) / 60.0;
            1.0 + swing * (hours_from_peak * std::f64::consts::TAU / 24.0).cos()
        };
        Hour { level, is_session }
    }
}

/// A U over the session and a low level outside; 1 on average over the day.
fn stock_level(minute: f64) -> f64 {
    if !(OPEN..CLOSE).contains(&minute) {
        return OUTSIDE;
    }
    let session = (CLOSE - OPEN) / 1440.0;
    let average = (1.0 - OUTSIDE * (1.0 - session)) / session;
    // Over -1..1 the square is 1/3 on average.
    let from_middle = (minute - (OPEN + CLOSE) / 2.0) / ((CLOSE - OPEN) / 2.0);
    MIDDAY + 3.0 * (average - MIDDAY) * from_middle * from_middle
}

fn minute_of_day(time: NaiveTime) -> f64 {
    f64::from(time.num_seconds_from_midnight() / 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(kind: InstrumentKind, is_closing: bool, time: &str) -> Hour {
        let time = Timestamp::parse(time).expect("a time");
        Hours { kind, is_shaped: true, is_closing }.at(time)
    }

    #[test]
    fn the_session_follows_new_yorks_clock() {
        for (time, is_session) in [
            ("2023-12-22T14:29:59Z", false),
            ("2023-12-22T14:30:00Z", true),
            ("2023-12-22T20:59:59Z", true),
            ("2023-12-22T21:00:00Z", false),
            // Summer time.
            ("2023-07-05T13:30:00Z", true),
            ("2023-07-05T20:00:00Z", false),
            // A Saturday.
            ("2023-12-23T16:00:00Z", false),
        ] {
            assert_eq!(hour(InstrumentKind::Stock, false, time).is_session, is_session, "{time}");
        }
    }

    #[test]
    fn stocks_rest_if_told_to_and_crypto_never_does() {
        let night = "2023-12-22T05:00:00Z";
        assert_eq!(hour(InstrumentKind::Stock, true, night).level, 0.0);
        assert!(hour(InstrumentKind::Stock, false, night).level > 0.0);
        assert!(hour(InstrumentKind::Crypto, true, night).level > 0.0);
    }

    #[test]
    fn the_average_over_a_day_is_one() {
        for kind in [InstrumentKind::Stock, InstrumentKind::Crypto, InstrumentKind::Forex] {
            let hours = Hours { kind, is_shaped: true, is_closing: false };
            let start = Timestamp::parse("2023-12-20").expect("a day");
            let minutes = (0..1440).map(|minute| {
                hours.at(start.plus(std::time::Duration::from_secs(minute * 60))).level
            });
            let average = minutes.sum::<f64>() / 1440.0;
            assert!((average - 1.0).abs() < 0.01, "{kind:?}: {average}");
        }
    }
}
