//! A market that is made up: instruments in one order of time, their trades in messages.
//!
//! What it says is a function of the seed, of when symbols are subscribed to, and of the clock only
//! so far as it skips: cutting the time into other steps gives the same messages. Each instrument
//! has a randomness of its own, so that its prices do not hang on what else is subscribed.

mod hours;
mod process;
mod spoil;
mod wire;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use rand::rngs::SmallRng;
use thalweg_core::env::Env;
use thalweg_core::time::Timestamp;

use self::process::{Process, Trade};
use self::spoil::Spoiler;
use crate::config::MarketConfig;

/// Trades in a full message.
const BATCH_TRADES: usize = 10;

/// A market: processes, and the message being filled.
pub(crate) struct Market {
    config: MarketConfig,
    processes: Vec<Process>,
    // The next order of each instrument subscribed to; the earliest on top.
    orders: BinaryHeap<Reverse<(Timestamp, usize)>>,
    // Fewer than two messages: an order has at most ten fills.
    batch: VecDeque<Trade>,
    batch_opened: Timestamp,
    spoiler: Spoiler,
    skips: u64,
}

/// What a market has to say.
#[derive(Debug, PartialEq)]
pub(crate) enum Said {
    /// A message, due.
    Message(Batch),
    /// Nothing before then; `None`: nothing, unless something is subscribed to.
    Nothing(Option<Timestamp>),
}

/// A message of trades.
#[derive(Debug, PartialEq)]
pub(crate) struct Batch {
    pub(crate) text: Vec<u8>,
    pub(crate) trades: u64,
    /// Of these, the ones that a reader must refuse.
    pub(crate) trades_spoilt: u64,
}

impl Market {
    /// A market without subscriptions.
    pub(crate) fn new(config: MarketConfig, env: &Env) -> Self {
        let weights: f64 = config.instruments.iter().map(|instrument| instrument.weight).sum();
        let processes = config.instruments.iter().map(|instrument| {
            let rng: SmallRng = env.rng(&format!("simulator market {}", instrument.symbol));
            let rate = config.rate * instrument.weight / weights;
            let hours = hours::Hours {
                kind: instrument.kind,
                is_shaped: config.daily_shape,
                is_closing: config.stocks_close,
            };
            Process::new(instrument, rate, hours, env.clock.now(), rng)
        });
        let processes = processes.collect();
        let spoiler = Spoiler::new(config.invalid_share, env.rng("simulator market spoilt"));
        Self {
            config,
            processes,
            orders: BinaryHeap::new(),
            batch: VecDeque::new(),
            batch_opened: Timestamp::MIN,
            spoiler,
            skips: 0,
        }
    }

    /// Whether `symbol` is traded here.
    pub(crate) fn knows(&self, symbol: &str) -> bool {
        self.number(symbol).is_some()
    }

    /// Says trades of `symbol` from now on, if it is known and not subscribed to yet.
    pub(crate) fn subscribe(&mut self, symbol: &str, now: Timestamp) {
        let Some(number) = self.number(symbol) else { return };
        let is_subscribed = self.orders.iter().any(|Reverse((_, other))| *other == number);
        if !is_subscribed && let Some(at) = self.processes[number].schedule(now) {
            self.orders.push(Reverse((at, number)));
        }
    }

    /// Says no more trades of `symbol`.
    pub(crate) fn unsubscribe(&mut self, symbol: &str) {
        let Some(number) = self.number(symbol) else { return };
        self.orders.retain(|Reverse((_, other))| *other != number);
        self.batch.retain(|trade| trade.instrument != number);
    }

    /// Forgets all subscriptions.
    pub(crate) fn unsubscribe_all(&mut self) {
        self.orders.clear();
        self.batch.clear();
    }

    /// Goes on at `now`; what would have been said before is not.
    pub(crate) fn skip_to(&mut self, now: Timestamp) {
        self.batch.clear();
        let mut numbers: Vec<usize> =
            self.orders.drain().map(|Reverse((_, number))| number).collect();
        numbers.sort_unstable();
        for number in numbers {
            if let Some(at) = self.processes[number].schedule(now) {
                self.orders.push(Reverse((at, number)));
            }
        }
    }

    /// Times that it skipped because it was asked too late.
    pub(crate) fn skips(&self) -> u64 {
        self.skips
    }

    /// What there is to say at `now`; a message said is gone.
    pub(crate) fn say(&mut self, now: Timestamp) -> Said {
        let oldest = self.orders.peek().map(|Reverse((at, _))| *at);
        if oldest.is_some_and(|at| at < now.minus(self.config.lag_max)) {
            self.skip_to(now);
            self.skips += 1;
        }
        loop {
            if self.batch.len() >= BATCH_TRADES {
                return Said::Message(self.message());
            }
            let order = self.orders.peek().map(|Reverse((at, _))| *at);
            let closing = (!self.batch.is_empty())
                .then(|| self.batch_opened.plus(self.config.batch_interval));
            let Some(next) = order.into_iter().chain(closing).min() else {
                return Said::Nothing(None);
            };
            if next > now {
                return Said::Nothing(Some(next));
            }
            if closing == Some(next) {
                return Said::Message(self.message());
            }
            self.execute();
        }
    }

    /// Executes the earliest order.
    fn execute(&mut self) {
        let Some(Reverse((at, number))) = self.orders.pop() else { return };
        if self.batch.is_empty() {
            self.batch_opened = at;
        }
        let process = &mut self.processes[number];
        process.execute(at, number, &mut self.batch);
        if let Some(next) = process.schedule(at) {
            self.orders.push(Reverse((next, number)));
        }
    }

    /// Takes a message of up to ten trades out of the batch.
    fn message(&mut self) -> Batch {
        let count = self.batch.len().min(BATCH_TRADES);
        let trades: Vec<Trade> = self.batch.drain(..count).collect();
        // What is left is of the order that was executed last: it opens the next message.
        if let Some(Trade { order_at, .. }) = self.batch.front() {
            self.batch_opened = *order_at;
        }
        self.spoiler.write(&trades, &self.processes)
    }

    fn number(&self, symbol: &str) -> Option<usize> {
        self.config.instruments.iter().position(|instrument| instrument.symbol == symbol)
    }
}

#[cfg(test)]
mod tests;
