//! Faults on a plan: what goes wrong, and when.
//!
//! A plan is a list such as `stall@10s:60s,close@25s,dup@#500:20,random@2m`: a fault, `@`, when,
//! and for some faults `:` and how long or how many. *When* is a time of the clock since the
//! simulator started (`25s`, `1m 30s`), or `#500`: when 500 messages have been sent.
//!
//! | fault | argument | what happens |
//! |---|---|---|
//! | `stall` | length, 60 s | the open connection falls silent, pings too, and stays open; a new one is served |
//! | `close` | | the connection ends after what was sent, without a close frame |
//! | `reset` | | the connection is reset; what is under way may be lost |
//! | `goodbye` | | the connection ends with a close frame, 1001 |
//! | `garbage` | | a text message that is no JSON |
//! | `utf8` | | a text message that is no UTF-8 |
//! | `oversized` | | a message of 11 MB, good JSON otherwise |
//! | `dup` | count, 10 | the message sent last is sent so many times again |
//! | `error` | | an error message |
//! | `skip` | count, 1 | the next messages are not sent: their ids and numbers are missing |
//! | `fields` | count, 10 | the next messages have a field that nobody knows |
//! | `twice` | count, 10 | the next messages have their first key once more, in front, with null |
//! | `shutdown` | | Binance says that it shuts down, and ends the connection 10 s later |
//! | `fragments` | count, 10 | the next messages come in two frames each, with a ping between |
//! | `refuse` | length, 5 s | connects are answered with HTTP 503; open connections stay |
//! | `http200` | length, 5 s | connects are answered with HTTP 200 and a page, not upgraded |
//! | `http401` | length, 5 s | connects are answered with HTTP 401, whatever the token |
//! | `slow` | length, 5 s | the next connect is answered so much later |
//! | `http429` | length, 5 s | REST and pages are answered with HTTP 429 and `Retry-After` |
//! | `http418` | length, 120 s | the same with HTTP 418, a ban |
//! | `http500` | length, 5 s | REST and pages are answered with HTTP 502 and a page |
//! | `http403` | length, 5 s | REST and pages are answered with HTTP 403 and a page |
//! | `maintenance` | length, 5 s | REST and pages are answered with HTTP 200 and a page of HTML |
//! | `late` | length, 15 s | the next answer of REST or pages comes so much later |
//! | `cut` | | the body of the next answer ends before its length |
//! | `loop` | length, 5 s | REST and pages are redirected to themselves |
//! | `layout` | length, 60 s | the table of prices has another header |
//!
//! `random@2m` adds faults at random times, 2 minutes apart on average: any of the above but
//! `utf8`, `oversized`, `fragments`, `skip`, `fields`, `twice`, `shutdown`, `http200`, `http401` and those of REST and pages. For those a
//! time `#500` is the answer before which 500 have been given.
//!
//! A fault of an open connection waits for one that has subscribed, and, unless it ends the
//! connection, for the end of a stall. One that lasts begins at its time, whoever is there.

mod schedule;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thalweg_core::error::{Error, Result};
use thalweg_core::problem::nearest;
use thalweg_core::time::parse_duration;

pub(crate) use self::schedule::{ConnectFault, FaultSchedule};

/// What goes wrong while the simulator runs. Default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultPlan {
    /// Faults at fixed times, in any order.
    pub planned: Vec<PlannedFault>,
    /// Average time between two faults at random times, if there shall be any; from 1 s.
    pub random_every: Option<Duration>,
}

/// A fault and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedFault {
    /// What goes wrong.
    pub fault: Fault,
    /// When.
    pub at: FaultTime,
}

/// When a fault is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultTime {
    /// So long after the simulator started, of the clock.
    After(Duration),
    /// When so many messages have been sent, or answers given, as
    /// [`Statistics`](crate::Statistics) counts.
    Messages(u64),
}

/// What can go wrong; the table of the plan says what each does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `stall`, and how long.
    Stall(Duration),
    /// `close`.
    Close,
    /// `reset`.
    Reset,
    /// `goodbye`.
    Goodbye,
    /// `garbage`.
    Garbage,
    /// `utf8`.
    InvalidUtf8,
    /// `oversized`.
    Oversized,
    /// `dup`, and how many times.
    Repeat(u64),
    /// `error`.
    Error,
    /// `fragments`, and of how many messages.
    Fragments(u64),
    /// `skip`, and how many messages.
    Skip(u64),
    /// `fields`, and in how many messages.
    Fields(u64),
    /// `twice`, and in how many messages.
    Twice(u64),
    /// `shutdown`.
    Shutdown,
    /// `refuse`, and how long.
    Refuse(Duration),
    /// `http200`, and how long.
    PlainPage(Duration),
    /// `http401`, and how long.
    Unauthorized(Duration),
    /// `slow`, and by how much.
    SlowHandshake(Duration),
    /// `http429`, and how long.
    TooManyRequests(Duration),
    /// `http418`, and how long.
    Banned(Duration),
    /// `http500`, and how long.
    ServerError(Duration),
    /// `http403`, and how long.
    Forbidden(Duration),
    /// `maintenance`, and how long.
    Maintenance(Duration),
    /// `late`, and by how much.
    Late(Duration),
    /// `cut`.
    Cut,
    /// `loop`, and how long.
    RedirectLoop(Duration),
    /// `layout`, and how long.
    Layout(Duration),
}

/// Most that a plan may ask for with a count.
const COUNT_MAX: u64 = 100_000;

/// Shortest average time between random faults.
const RANDOM_EVERY_MIN: Duration = Duration::from_secs(1);

const NAMES: [&str; 28] = [
    "stall",
    "close",
    "reset",
    "goodbye",
    "garbage",
    "utf8",
    "oversized",
    "dup",
    "error",
    "fragments",
    "skip",
    "fields",
    "twice",
    "shutdown",
    "refuse",
    "http200",
    "http401",
    "slow",
    "http429",
    "http418",
    "http500",
    "http403",
    "maintenance",
    "late",
    "cut",
    "loop",
    "layout",
    "random",
];

impl Fault {
    /// Whether it befalls an open connection; the others befall one being opened, or an answer.
    pub(crate) fn is_of_open_connection(self) -> bool {
        !self.is_of_connect() && !self.is_of_answer()
    }

    /// Whether it befalls a connection being opened.
    pub(crate) fn is_of_connect(self) -> bool {
        matches!(
            self,
            Self::Refuse(_) | Self::PlainPage(_) | Self::Unauthorized(_) | Self::SlowHandshake(_)
        )
    }

    /// Whether it befalls an answer of REST or a page.
    pub(crate) fn is_of_answer(self) -> bool {
        matches!(
            self,
            Self::TooManyRequests(_)
                | Self::Banned(_)
                | Self::ServerError(_)
                | Self::Forbidden(_)
                | Self::Maintenance(_)
                | Self::Late(_)
                | Self::Cut
                | Self::RedirectLoop(_)
                | Self::Layout(_)
        )
    }

    /// Whether the connection is over after it.
    pub(crate) fn ends_connection(self) -> bool {
        matches!(self, Self::Close | Self::Reset | Self::Goodbye)
    }

    /// How long connects, or requests, are answered in its way, if it is such a fault.
    pub(crate) fn window(self) -> Option<Duration> {
        match self {
            Self::Refuse(length)
            | Self::PlainPage(length)
            | Self::Unauthorized(length)
            | Self::TooManyRequests(length)
            | Self::Banned(length)
            | Self::ServerError(length)
            | Self::Forbidden(length)
            | Self::Maintenance(length)
            | Self::RedirectLoop(length)
            | Self::Layout(length) => Some(length),
            _ => None,
        }
    }

    /// The fault `name`, its argument read from `argument`.
    fn parse(name: &str, argument: Option<&str>) -> Result<Self, String> {
        let length = |default: u64| match argument {
            None => Ok(Duration::from_secs(default)),
            Some(text) => parse_duration(text)
                .ok_or_else(|| format!("`{text}` is no length of time, such as `60s`")),
        };
        let count = |default: u64| match argument {
            None => Ok(default),
            Some(text) => text
                .parse()
                .ok()
                .filter(|count| (1..=COUNT_MAX).contains(count))
                .ok_or_else(|| format!("`{text}` is no count from 1 to {COUNT_MAX}")),
        };
        let alone = |fault| match argument {
            None => Ok(fault),
            Some(text) => Err(format!("`{name}` takes no argument, and was given `{text}`")),
        };
        match name {
            "stall" => length(60).map(Self::Stall),
            "close" => alone(Self::Close),
            "reset" => alone(Self::Reset),
            "goodbye" => alone(Self::Goodbye),
            "garbage" => alone(Self::Garbage),
            "utf8" => alone(Self::InvalidUtf8),
            "oversized" => alone(Self::Oversized),
            "dup" => count(10).map(Self::Repeat),
            "error" => alone(Self::Error),
            "fragments" => count(10).map(Self::Fragments),
            "skip" => count(1).map(Self::Skip),
            "fields" => count(10).map(Self::Fields),
            "twice" => count(10).map(Self::Twice),
            "shutdown" => alone(Self::Shutdown),
            "refuse" => length(5).map(Self::Refuse),
            "http200" => length(5).map(Self::PlainPage),
            "http401" => length(5).map(Self::Unauthorized),
            "slow" => length(5).map(Self::SlowHandshake),
            "http429" => length(5).map(Self::TooManyRequests),
            "http418" => length(120).map(Self::Banned),
            "http500" => length(5).map(Self::ServerError),
            "http403" => length(5).map(Self::Forbidden),
            "maintenance" => length(5).map(Self::Maintenance),
            "late" => length(15).map(Self::Late),
            "cut" => alone(Self::Cut),
            "loop" => length(5).map(Self::RedirectLoop),
            "layout" => length(60).map(Self::Layout),
            _ => Err(match nearest(name, NAMES) {
                Some(near) => format!("there is no fault `{name}`; `{near}` is near"),
                None => format!("there is no fault `{name}`"),
            }),
        }
    }
}

impl FaultTime {
    fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix('#') {
            Some(count) => count.parse().ok().map(Self::Messages),
            None => parse_duration(text).map(Self::After),
        }
        .ok_or_else(|| format!("`{text}` is no time, such as `25s` or `#500`"))
    }
}

impl FaultPlan {
    /// Whether nothing goes wrong.
    pub fn is_empty(&self) -> bool {
        self.planned.is_empty() && self.random_every.is_none()
    }

    fn add(&mut self, entry: &str) -> Result<(), String> {
        let Some((name, rest)) = entry.split_once('@') else {
            return Err(format!("`{entry}` does not say when, such as `{entry}@25s`"));
        };
        let (name, rest) = (name.trim(), rest.trim());
        if name == "random" {
            let every = parse_duration(rest).filter(|every| *every >= RANDOM_EVERY_MIN);
            let Some(every) = every else {
                return Err(format!("`{rest}` is no time between faults of at least 1 s"));
            };
            return match self.random_every.replace(every) {
                None => Ok(()),
                Some(_) => Err("`random` is there twice".to_owned()),
            };
        }
        let (at, argument) = match rest.split_once(':') {
            Some((at, argument)) => (at.trim(), Some(argument.trim())),
            None => (rest, None),
        };
        let (fault, at) = (Fault::parse(name, argument)?, FaultTime::parse(at)?);
        self.planned.push(PlannedFault { fault, at });
        Ok(())
    }
}

impl FromStr for FaultPlan {
    type Err = Error;

    /// Reads a plan; nothing but blanks is the empty one.
    ///
    /// # Errors
    ///
    /// `Invalid`, naming each entry that is wrong.
    fn from_str(text: &str) -> Result<Self> {
        let mut plan = Self::default();
        let mut problems = Vec::new();
        if !text.trim().is_empty() {
            for entry in text.split(',') {
                if let Err(problem) = plan.add(entry.trim()) {
                    problems.push(problem);
                }
            }
        }
        if problems.is_empty() {
            return Ok(plan);
        }
        Err(Error::invalid("the plan of faults is wrong")
            .with_detail(format!("In `{text}`: {}.", problems.join("; ")))
            .with_hint(format!("The faults are {}.", NAMES.join(", "))))
    }
}

impl fmt::Display for FaultPlan {
    /// Writes the plan so that it reads back as it is, to the millisecond.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let random = self.random_every.map(|every| format!("random@{}", Length(every)));
        let planned = self.planned.iter().map(ToString::to_string);
        let entries: Vec<String> = planned.chain(random).collect();
        f.write_str(&entries.join(","))
    }
}

impl fmt::Display for PlannedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = match self.at {
            FaultTime::After(after) => Length(after).to_string(),
            FaultTime::Messages(count) => format!("#{count}"),
        };
        match self.fault {
            Fault::Stall(length) => write!(f, "stall@{at}:{}", Length(length)),
            Fault::Close => write!(f, "close@{at}"),
            Fault::Reset => write!(f, "reset@{at}"),
            Fault::Goodbye => write!(f, "goodbye@{at}"),
            Fault::Garbage => write!(f, "garbage@{at}"),
            Fault::InvalidUtf8 => write!(f, "utf8@{at}"),
            Fault::Oversized => write!(f, "oversized@{at}"),
            Fault::Repeat(count) => write!(f, "dup@{at}:{count}"),
            Fault::Error => write!(f, "error@{at}"),
            Fault::Fragments(count) => write!(f, "fragments@{at}:{count}"),
            Fault::Skip(count) => write!(f, "skip@{at}:{count}"),
            Fault::Fields(count) => write!(f, "fields@{at}:{count}"),
            Fault::Twice(count) => write!(f, "twice@{at}:{count}"),
            Fault::Shutdown => write!(f, "shutdown@{at}"),
            Fault::Refuse(length) => write!(f, "refuse@{at}:{}", Length(length)),
            Fault::PlainPage(length) => write!(f, "http200@{at}:{}", Length(length)),
            Fault::Unauthorized(length) => write!(f, "http401@{at}:{}", Length(length)),
            Fault::SlowHandshake(length) => write!(f, "slow@{at}:{}", Length(length)),
            Fault::TooManyRequests(length) => write!(f, "http429@{at}:{}", Length(length)),
            Fault::Banned(length) => write!(f, "http418@{at}:{}", Length(length)),
            Fault::ServerError(length) => write!(f, "http500@{at}:{}", Length(length)),
            Fault::Forbidden(length) => write!(f, "http403@{at}:{}", Length(length)),
            Fault::Maintenance(length) => write!(f, "maintenance@{at}:{}", Length(length)),
            Fault::Late(length) => write!(f, "late@{at}:{}", Length(length)),
            Fault::Cut => write!(f, "cut@{at}"),
            Fault::RedirectLoop(length) => write!(f, "loop@{at}:{}", Length(length)),
            Fault::Layout(length) => write!(f, "layout@{at}:{}", Length(length)),
        }
    }
}

/// A length of time as [`parse_duration`] reads it.
struct Length(Duration);

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        if millis.is_multiple_of(1000) {
            write!(f, "{}s", millis / 1000)
        } else {
            write!(f, "{millis}ms")
        }
    }
}
