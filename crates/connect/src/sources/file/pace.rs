//! Reading at a rate: pure.

use std::fmt;
use std::time::Duration;

use thalweg_core::time::Timestamp;

/// Frames per stretch of time, such as `200/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    frames: u64,
    per: Duration,
}

impl Rate {
    /// Parses `200/s`, `1000/m` or `5/h`.
    pub fn parse(text: &str) -> Option<Self> {
        let (frames, unit) = text.split_once('/')?;
        let frames = frames.trim().parse().ok().filter(|frames| *frames > 0)?;
        let seconds = match unit.trim() {
            "s" => 1,
            "m" | "min" => 60,
            "h" => 3600,
            _ => return None,
        };
        Some(Self { frames, per: Duration::from_secs(seconds) })
    }

    /// So many frames a second; none unless that is a number above zero.
    pub fn per_second(frames: f64) -> Option<Self> {
        let per = Duration::try_from_secs_f64(frames.recip()).ok()?;
        (frames > 0.0 && !per.is_zero()).then_some(Self { frames: 1, per })
    }

    /// When frame `number`, from 0, is due after the first one.
    fn due(self, number: u64) -> Duration {
        let nanos = u128::from(number) * self.per.as_nanos() / u128::from(self.frames);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How many frames are due within `elapsed`, the first one at its start.
    fn frames_within(self, elapsed: Duration) -> u64 {
        let frames = elapsed.as_nanos() * u128::from(self.frames) / self.per.as_nanos();
        u64::try_from(frames).unwrap_or(u64::MAX).saturating_add(1)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per.as_secs() {
            1 => "s",
            60 => "m",
            _ => "h",
        };
        write!(f, "{}/{unit}", self.frames)
    }
}

/// Longest time that is made up for when nobody read: after it the pace begins anew.
const CATCH_UP_MAX: Duration = Duration::from_secs(1);

/// Hands out frames at a rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    rate: Rate,
    begun_at: Option<Timestamp>,
    given: u64,
}

impl Pace {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, begun_at: None, given: 0 }
    }

    /// How many frames may be given out now; when none, how long until the next one.
    pub(super) fn allowance(&mut self, now: Timestamp) -> Result<usize, Duration> {
        let begun_at = *self.begun_at.get_or_insert(now);
        let elapsed = now.since(begun_at);
        let next_due = self.rate.due(self.given);
        if elapsed.saturating_sub(next_due) > CATCH_UP_MAX {
            (self.begun_at, self.given) = (Some(now), 0);
            return Ok(1);
        }
        match self.rate.frames_within(elapsed).saturating_sub(self.given) {
            // At least a microsecond, the grain of the clock: it must make progress.
            0 => Err(next_due.saturating_sub(elapsed).max(Duration::from_micros(1))),
            allowed => Ok(usize::try_from(allowed).unwrap_or(usize::MAX)),
        }
    }

    /// Notes that frames were given out.
    pub(super) fn give(&mut self, frames: usize) {
        self.given = self.given.saturating_add(frames as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_written_alike() {
        for text in ["200/s", "1000/m", "5/h"] {
            assert_eq!(Rate::parse(text).map(|rate| rate.to_string()).as_deref(), Some(text));
        }
        for wrong in ["", "200", "0/s", "-1/s", "200/d", "x/s"] {
            assert_eq!(Rate::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_rate_need_not_be_whole() {
        let due = |rate: f64, frame| Rate::per_second(rate).map(|rate| rate.due(frame));
        assert_eq!(due(200.0, 200), Some(Duration::from_secs(1)));
        assert_eq!(due(0.5, 3), Some(Duration::from_secs(6)));
        assert_eq!((due(0.0, 1), due(f64::NAN, 1), due(1e12, 1)), (None, None, None));
    }

    #[test]
    fn frames_come_at_the_rate_however_often_it_is_asked() {
        for step_micros in [1_000, 3_700, 100_000] {
            let mut pace = Pace::new(Rate::parse("200/s").expect("a rate"));
            let mut given = 0;
            for now in (0..1_000_000).step_by(step_micros) {
                if let Ok(allowed) = pace.allowance(Timestamp(now)) {
                    pace.give(allowed);
                    given += allowed;
                }
            }
            assert!((180..=200).contains(&given), "{given} in steps of {step_micros}");
        }
    }

    #[test]
    fn the_wait_ends_when_the_next_frame_is_due() {
        let mut pace = Pace::new(Rate::parse("2/s").expect("a rate"));
        assert_eq!(pace.allowance(Timestamp(0)), Ok(1));
        pace.give(1);
        assert_eq!(pace.allowance(Timestamp(100_000)), Err(Duration::from_millis(400)));
        assert_eq!(pace.allowance(Timestamp(500_000)), Ok(1));
    }

    #[test]
    fn a_long_pause_is_not_made_up_for() {
        let mut pace = Pace::new(Rate::parse("1000/s").expect("a rate"));
        assert_eq!(pace.allowance(Timestamp(0)), Ok(1));
        pace.give(1);
        assert_eq!(pace.allowance(Timestamp(60_000_000)), Ok(1));
        pace.give(1);
        assert_eq!(pace.allowance(Timestamp(60_010_000)), Ok(10));
    }
}
