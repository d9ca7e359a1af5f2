//! Schedules: when a job fires, and which period a fire is about.
//!
//! A schedule is a cron line of five fields read on the wall clock of a time zone, one of the words
//! `@hourly @daily @weekly @monthly @yearly`, or `every 5m`.
//!
//! # Invariants
//!
//! - S19: a wall-clock time that a change of the clocks leaves out fires at the next valid minute;
//!   one that occurs twice fires at its first occurrence only. So a line that names every quarter
//!   of an hour is silent while an hour repeats; `every 15m` is not.
//! - `every` counts elapsed time from 1970-01-01T00:00Z and knows no time zone: `every 6h` fires at
//!   00, 06, 12 and 18 o'clock UTC on every day.
//! - Fires are instants in a fixed order: `previous(next_after(t)) <= t`, and nothing fires between.
//! - A fire is about the period from the fire before it up to itself, `[previous, fire)`.
//!
//! The fields are parsed and searched by croner, which is only ever shown wall-clock time as if it
//! were UTC; what the clocks do is decided here. Which fires become runs is [`crate::due`]'s.

use std::fmt;

use chrono::{DateTime, Datelike, Duration as Span, LocalResult, NaiveDate, NaiveDateTime};
use chrono::{TimeZone, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use croner::time::Weekday;
use thalweg_core::problem::nearest;
use thalweg_core::time::{MICROS_PER_SECOND, Timestamp, micros, parse_duration};
use thalweg_core::{Error, Result};

/// The fields of a cron line: name, and what it takes.
const FIELDS: [(&str, &str); 5] = [
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of the month", "1 to 31, or L for the last"),
    ("month", "1 to 12, or JAN to DEC"),
    ("day of the week", "0 to 7 (0 and 7 are Sunday), or SUN to SAT"),
];

/// The words that stand for a cron line, as cron has them: a week begins on Sunday.
const WORDS: [(&str, &str); 5] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
];

/// Longest text that is read as a schedule, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// Longest stretch a change of the clocks has ever left out: Samoa skipped a day.
const GAP_MINUTES_MAX: i64 = 48 * 60;

/// Days after which the Gregorian calendar repeats, weekdays included.
const CALENDAR_DAYS: usize = 146_097;

/// When a job fires.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    text: String,
    timezone: Tz,
    rule: Rule,
}

#[derive(Clone, Debug, PartialEq)]
enum Rule {
    Cron(Box<Cron>),
    /// The interval in microseconds, a positive number of whole seconds.
    Every(i64),
}

/// The time a run is about: from `start` up to, not including, `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// The first instant.
    pub start: Timestamp,
    /// The first instant behind it.
    pub end: Timestamp,
}

impl Schedule {
    /// Reads a schedule, to be kept in `timezone` (a name such as `Europe/Berlin`).
    ///
    /// # Errors
    ///
    /// `Invalid`, naming the field that is wrong and what it takes.
    pub fn parse(text: &str, timezone: &str) -> Result<Self> {
        let timezone = parse_timezone(timezone)?;
        let text = text.trim();
        if text.len() > TEXT_BYTES_MAX {
            return Err(Error::invalid(format!("the schedule has {} bytes", text.len()))
                .with_detail(format!("At most {TEXT_BYTES_MAX} are read.")));
        }
        let rule = if let Some(interval) = text.strip_prefix("every ") {
            Rule::Every(parse_interval(text, interval)?)
        } else if text.starts_with('@') {
            Rule::Cron(Box::new(parse_cron(text, expand_word(text)?)?))
        } else {
            Rule::Cron(Box::new(parse_cron(text, text)?))
        };
        Ok(Self { text: text.to_owned(), timezone, rule })
    }

    /// The name of the time zone it is kept in.
    pub fn timezone(&self) -> &'static str {
        self.timezone.name()
    }

    /// The first fire later than `time`; none when the calendar ends before it.
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let cron = match &self.rule {
            Rule::Every(interval) => {
                let number = time.0.div_euclid(*interval).checked_add(1)?;
                return number.checked_mul(*interval).map(Timestamp);
            }
            Rule::Cron(cron) => cron,
        };
        // Fires are whole seconds, so what is later than `time` is later than its second.
        let mut wall = self.wall_clock(time.0.div_euclid(MICROS_PER_SECOND))?;
        loop {
            wall = cron.find_next_occurrence(&wall.and_utc(), false).ok()?.naive_utc();
            let fire = self.instant(wall)?;
            // Not later: in an hour that repeats, what has fired the first time.
            if fire > time {
                return Some(fire);
            }
        }
    }

    /// The last fire earlier than `time`.
    pub fn previous(&self, time: Timestamp) -> Option<Timestamp> {
        let cron = match &self.rule {
            Rule::Every(interval) => {
                let number = time.0.checked_sub(1)?.div_euclid(*interval);
                return number.checked_mul(*interval).map(Timestamp);
            }
            Rule::Cron(cron) => cron,
        };
        let second = time.0.checked_add(MICROS_PER_SECOND - 1)?.div_euclid(MICROS_PER_SECOND);
        let mut wall = self.wall_clock(second)?;
        if let LocalResult::Ambiguous(first, again) = self.timezone.from_local_datetime(&wall)
            && again.timestamp() == second
        {
            // The rest of the repeated stretch has fired already, at its first occurrence.
            wall += again - first;
        }
        loop {
            wall = cron.find_previous_occurrence(&wall.and_utc(), false).ok()?.naive_utc();
            let fire = self.instant(wall)?;
            // Not earlier: it was left out by the clocks and fires when they have changed.
            if fire < time {
                return Some(fire);
            }
        }
    }

    /// The period that a fire is about.
    pub fn period(&self, fire: Timestamp) -> Option<Period> {
        Some(Period { start: self.previous(fire)?, end: fire })
    }

    /// The next `count` fires after `time`.
    pub fn upcoming(&self, time: Timestamp, count: usize) -> Vec<Timestamp> {
        std::iter::successors(self.next_after(time), |fire| self.next_after(*fire))
            .take(count)
            .collect()
    }

    /// What the wall clock shows at a second since 1970.
    fn wall_clock(&self, second: i64) -> Option<NaiveDateTime> {
        let utc = DateTime::<Utc>::from_timestamp(second, 0)?;
        Some(utc.with_timezone(&self.timezone).naive_local())
    }

    /// When the wall clock shows this time first, or the first valid minute after it.
    fn instant(&self, wall: NaiveDateTime) -> Option<Timestamp> {
        (0..=GAP_MINUTES_MAX).find_map(|minutes| {
            let wall = wall.checked_add_signed(Span::minutes(minutes))?;
            let time = self.timezone.from_local_datetime(&wall).earliest()?;
            Some(Timestamp(time.timestamp_micros()))
        })
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn parse_timezone(name: &str) -> Result<Tz> {
    name.parse().map_err(|_| {
        let error = Error::invalid(format!("unknown time zone `{name}`"));
        match nearest(name, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name())) {
            Some(meant) => error.with_hint(format!("Did you mean `{meant}`?")),
            None => error.with_hint("Write it as `UTC` or `Europe/Berlin`."),
        }
    })
}

fn parse_interval(text: &str, interval: &str) -> Result<i64> {
    let interval = parse_duration(interval).map(micros).unwrap_or_default();
    if interval < MICROS_PER_SECOND || interval % MICROS_PER_SECOND != 0 {
        return Err(Error::invalid(format!("cannot read the interval of `{text}`"))
            .with_hint("Write whole seconds or more, such as `every 5m` or `every 1h 30m`."));
    }
    Ok(interval)
}

fn expand_word(text: &str) -> Result<&'static str> {
    if let Some((_, line)) = WORDS.iter().find(|(word, _)| *word == text) {
        return Ok(line);
    }
    let words = WORDS.map(|(word, _)| word);
    let error = Error::invalid(format!("unknown schedule `{text}`"));
    Err(match nearest(text, words) {
        Some(meant) => error.with_hint(format!("Did you mean `{meant}`?")),
        None => error.with_hint(format!("There are {}.", words.join(", "))),
    })
}

fn parse_cron(text: &str, line: &str) -> Result<Cron> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        let error = Error::invalid(format!(
            "the schedule `{text}` has {} fields, and a cron line has {}",
            fields.len(),
            FIELDS.len()
        ));
        return Err(if fields.len() == 6 {
            error.with_hint("There is no field for seconds; `every 30s` fires within a minute.")
        } else {
            let names = FIELDS.map(|(name, _)| name).join(", ");
            error.with_hint(format!("The fields are {names}; or write `@daily` or `every 5m`."))
        });
    }
    for (i, (name, takes)) in FIELDS.iter().enumerate() {
        let mut alone = ["*"; FIELDS.len()];
        alone[i] = fields[i];
        parser().parse(&alone.join(" ")).map_err(|error| {
            Error::invalid(format!("cannot read the {name} `{}` of schedule `{text}`", fields[i]))
                .with_detail(format!("{error}."))
                .with_hint(format!(
                    "The {name} takes {takes}; `*`, lists `1,2`, ranges `1-5` and steps `*/2`."
                ))
        })?;
    }
    let cron = parser().parse(&fields.join(" ")).map_err(|error| {
        Error::invalid(format!("cannot read the schedule `{text}`")).with_source(error)
    })?;
    if !has_a_day(&cron) {
        return Err(Error::invalid(format!("the schedule `{text}` never fires"))
            .with_hint("No year has such a day; see the day of the month and the month."));
    }
    Ok(cron)
}

fn parser() -> CronParser {
    CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build()
}

/// Whether any day of the calendar, which repeats after 400 years, matches.
fn has_a_day(cron: &Cron) -> bool {
    let first = NaiveDate::from_ymd_opt(2000, 1, 1).unwrap_or_default();
    first.iter_days().take(CALENDAR_DAYS).any(|date| {
        let pattern = &cron.pattern;
        pattern.month_match(date.month()).unwrap_or(false)
            && pattern
                .day_match(date.year(), date.month(), date.day(), weekday(date))
                .unwrap_or(false)
    })
}

fn weekday(date: NaiveDate) -> Weekday {
    Weekday::from_days_from_sunday(date.weekday().num_days_from_sunday())
}

#[cfg(test)]
mod tests;
