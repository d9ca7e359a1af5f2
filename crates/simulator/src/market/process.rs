//! One instrument: when it trades, at which prices and in which sizes.
//!
//! Orders come as a Poisson process at the level of the hour. Each moves the logarithm of the price
//! by a step of an Ornstein-Uhlenbeck process round the long-run price, half back after a day and a
//! half, so that it stays plausible however long it runs. The variance a second follows GARCH(1,1)
//! (Bollerslev 1986) from second to second: quiet and wild times come in clusters. An order is
//! filled in one to ten trades at the bid or the ask; sizes are log-normal, with a heavy tail.

use std::collections::VecDeque;
use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;
use thalweg_core::time::{MICROS_PER_SECOND, Timestamp};

use super::hours::{Hour, Hours};
use super::wire::{Decimal, SCALE};
use crate::config::{Instrument, InstrumentKind};

/// Weight of the last second's squared return, and of its variance, in the next one's.
const SHOCK: f64 = 0.08;
const PERSISTENCE: f64 = 0.91;

/// Part of the distance to the long-run price that is lost in a second.
const REVERSION: f64 = 1.0 / (2.0 * 86_400.0);

/// Most fills of an order; before the cut their number is geometric with one half.
const FILLS_MAX: u32 = 10;
const FILLS_MEAN: f64 = 2.0 * (1.0 - 1.0 / 1024.0);

/// Share of fills reported with a slightly older time, and how much older at most.
const OLDER_SHARE: f64 = 0.03;
const OLDER_MILLIS_MAX: i64 = 20;

/// How far it looks for the next minute that is not closed: longer than any long weekend.
const CLOSED_MINUTES_MAX: u32 = 7 * 24 * 60;

/// A trade, ready to be written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Trade {
    /// Number of the instrument in the market.
    pub(super) instrument: usize,
    /// When its order was executed: never before that of an earlier one.
    pub(super) order_at: Timestamp,
    /// The time it reports, in milliseconds: that of the order or a little older.
    pub(super) millis: i64,
    pub(super) price: Decimal,
    pub(super) volume: Decimal,
    /// Condition codes; `None` for what has none.
    pub(super) conditions: Option<Conditions>,
}

/// Condition codes of a stock trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Conditions {
    /// `1`.
    pub(super) is_regular: bool,
    /// `8`.
    pub(super) is_marked: bool,
    /// `24`: outside 9:30 to 16:00 in New York.
    pub(super) is_outside: bool,
    /// `12`: fewer than 100 shares.
    pub(super) is_odd_lot: bool,
}

/// An instrument in motion.
pub(super) struct Process {
    symbol_json: String,
    kind: InstrumentKind,
    hours: Hours,
    // The hour, and the minute for which it holds.
    hour: (i64, Hour),
    orders_per_second: f64,
    tick: i64,
    size: f64,
    rng: SmallRng,
    // Time of the last step; everything below is of that time.
    now: Timestamp,
    log_target: f64,
    log_price: f64,
    variance_target: f64,
    variance: f64,
    // The second under way, and the return in it.
    second: i64,
    second_return: f64,
}

impl Process {
    /// `instrument` at `now`, with `rate` trades a second.
    pub(super) fn new(
        instrument: &Instrument,
        rate: f64,
        hours: Hours,
        now: Timestamp,
        rng: SmallRng,
    ) -> Self {
        let variance = instrument.volatility * instrument.volatility;
        Self {
            symbol_json: serde_json::Value::from(instrument.symbol.as_str()).to_string(),
            kind: instrument.kind,
            hours,
            hour: (now.0.div_euclid(MICROS_PER_MINUTE), hours.at(now)),
            orders_per_second: rate / FILLS_MEAN,
            tick: Decimal::nearest(instrument.tick).0,
            size: instrument.size,
            rng,
            now,
            log_target: instrument.price.ln(),
            log_price: instrument.price.ln(),
            variance_target: variance,
            variance,
            second: now.0.div_euclid(MICROS_PER_SECOND),
            second_return: 0.0,
        }
    }

    /// The symbol as JSON text, in quotes.
    pub(super) fn symbol_json(&self) -> &str {
        &self.symbol_json
    }

    /// Draws the time of the first order after `from`; `None` when there is none for a week.
    pub(super) fn schedule(&mut self, from: Timestamp) -> Option<Timestamp> {
        if self.orders_per_second <= 0.0 {
            return None;
        }
        let mut from = from;
        for _ in 0..CLOSED_MINUTES_MAX {
            let level = self.hour(from).level;
            if level > 0.0 {
                let exponential = -(1.0 - self.rng.random::<f64>()).ln();
                let seconds = exponential / (self.orders_per_second * level);
                // A year is never, and a microsecond keeps orders apart.
                let gap = Duration::from_secs_f64(seconds.clamp(1e-6, 3.2e7));
                return Some(from.plus(gap));
            }
            let minute = from.0.div_euclid(MICROS_PER_MINUTE);
            from = Timestamp(minute.saturating_add(1).saturating_mul(MICROS_PER_MINUTE));
        }
        None
    }

    /// Executes an order at `at`: one to ten trades.
    pub(super) fn execute(&mut self, at: Timestamp, instrument: usize, out: &mut VecDeque<Trade>) {
        self.step(at);
        let hour = self.hour(at);
        // The half-spread is about a tick; the order takes the bid or the ask.
        let side = if self.rng.random() { 1 } else { -1 };
        let middle = Decimal::nearest(self.log_price.exp()).0;
        let mut ticks = (middle + side * self.tick).div_euclid(self.tick);
        let fills = (1 + self.rng.random::<u32>().trailing_ones()).min(FILLS_MAX);
        for _ in 0..fills {
            if self.rng.random::<f64>() < 0.15 {
                ticks += side;
            }
            let price = Decimal((ticks.max(1) * self.tick).saturating_add(self.improvement()));
            let volume = self.volume();
            let older = if self.rng.random::<f64>() < OLDER_SHARE {
                self.rng.random_range(1..=OLDER_MILLIS_MAX)
            } else {
                0
            };
            out.push_back(Trade {
                instrument,
                order_at: at,
                millis: at.millis() - older,
                price,
                volume,
                conditions: self.conditions(volume, hour),
            });
        }
    }

    /// Moves price and variance on to `to`.
    fn step(&mut self, to: Timestamp) {
        let second = to.0.div_euclid(MICROS_PER_SECOND);
        if second > self.second {
            let squared = self.second_return * self.second_return;
            let next = (1.0 - SHOCK - PERSISTENCE) * self.variance_target
                + SHOCK * squared
                + PERSISTENCE * self.variance;
            // Seconds without an order: the variance expected after them.
            let empty = (second - self.second - 1) as f64;
            let excess = (next - self.variance_target) * (SHOCK + PERSISTENCE).powf(empty);
            self.variance = self.variance_target + excess;
            (self.second, self.second_return) = (second, 0.0);
        }
        let seconds = to.since(self.now).as_secs_f64();
        self.now = self.now.max(to);
        let kept = (-REVERSION * seconds).exp();
        let spread = self.variance * (1.0 - kept * kept) / (2.0 * REVERSION);
        let moved = self.log_target
            + (self.log_price - self.log_target) * kept
            + spread.sqrt() * self.normal();
        // A step over more than a second counts as one of a second.
        self.second_return += (moved - self.log_price) / seconds.max(1.0).sqrt();
        self.log_price = moved;
    }

    /// What a stock's price is better than the tick, now and then: trades inside the spread.
    fn improvement(&mut self) -> i64 {
        let step = SCALE / 10_000;
        if self.kind != InstrumentKind::Stock || self.tick <= step {
            return 0;
        }
        if self.rng.random::<f64>() < 0.15 {
            self.rng.random_range(1..self.tick / step) * step
        } else {
            0
        }
    }

    fn volume(&mut self) -> Decimal {
        match self.kind {
            InstrumentKind::Forex => Decimal(0),
            _ if self.size <= 0.0 => Decimal(0),
            InstrumentKind::Crypto => {
                let size = self.size * (1.8 * self.normal()).exp();
                // Five decimals, and at least the last of them.
                let step = SCALE / 100_000;
                Decimal((Decimal::nearest(size.min(1e7)).0 / step).max(1) * step)
            }
            InstrumentKind::Stock => {
                let shares = if self.rng.random::<f64>() < 0.2 {
                    100 * i64::from(1 + self.rng.random::<u32>().trailing_ones())
                } else {
                    (self.size * (1.5 * self.normal()).exp()).min(1e7).ceil() as i64
                };
                Decimal(shares.max(1) * SCALE)
            }
        }
    }

    fn conditions(&mut self, volume: Decimal, hour: Hour) -> Option<Conditions> {
        (self.kind == InstrumentKind::Stock).then(|| Conditions {
            is_regular: self.rng.random::<f64>() < 0.9,
            is_marked: self.rng.random::<f64>() < 0.2,
            is_outside: !hour.is_session,
            is_odd_lot: volume.0 < 100 * SCALE,
        })
    }

    fn hour(&mut self, time: Timestamp) -> Hour {
        let minute = time.0.div_euclid(MICROS_PER_MINUTE);
        if minute != self.hour.0 {
            self.hour = (minute, self.hours.at(time));
        }
        self.hour.1
    }

    /// A standard normal number, by Box and Muller.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.rng.random::<f64>()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.rng.random::<f64>()).cos()
    }
}

const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;
