//! Trades as a pure function of symbol and number: any one can be asked for, and is always the same.
//!
//! Every symbol trades at a steady pace with some jitter, since the epoch, so that the number of a
//! trade follows from the time: numbers are without gaps, and whoever was away has missed some.

use std::time::Duration;

use thalweg_core::time::Timestamp;

use crate::quotes::{COINS, Coin, hash};

/// Trades of every symbol.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tape {
    seed: u64,
    // Time between two trades of a symbol, in microseconds.
    period: i64,
}

/// A trade.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Print {
    pub(crate) id: i64,
    pub(crate) at: Timestamp,
    /// In dollars.
    pub(crate) price: f64,
    /// In coins.
    pub(crate) qty: f64,
    /// Whether the buyer's order was in the book, so that the seller took it.
    pub(crate) is_buyer_maker: bool,
}

impl Tape {
    /// A tape of `rate` trades a second, of all symbols together.
    pub(crate) fn new(seed: u64, rate: f64) -> Self {
        let period = Duration::from_secs_f64(COINS.len() as f64 / rate);
        Self { seed, period: thalweg_core::time::micros(period).max(2) }
    }

    /// What its prices are made from.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// The trade of this number.
    pub(crate) fn print(&self, coin: &Coin, id: i64) -> Print {
        let mixed = hash(self.seed, coin.symbol, id);
        let jitter = (mixed % (self.period / 2).unsigned_abs().max(1)).cast_signed();
        let at = Timestamp(id.saturating_mul(self.period).saturating_add(jitter));
        // Sizes over three magnitudes, worth about a hundred dollars.
        let size =
            100.0 / coin.price(self.seed, at) * 10_f64.powf((mixed >> 32) as f64 / 2e9 - 1.0);
        Print {
            id,
            at,
            price: coin.price(self.seed, at),
            qty: ((size * 1e5).round() / 1e5).max(1e-5),
            is_buyer_maker: mixed & (1 << 20) == 0,
        }
    }

    /// The number of the first trade after `at`.
    pub(crate) fn first_after(&self, coin: &Coin, at: Timestamp) -> i64 {
        let id = at.0.div_euclid(self.period);
        if self.print(coin, id).at > at { id } else { id + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_time_without_gaps() {
        let (tape, coin) = (Tape::new(7, 20.0), COINS[0]);
        let start = Timestamp(1_700_000_000_000_000);
        let first = tape.first_after(&coin, start);
        let prints: Vec<Print> = (first..first + 1_000).map(|id| tape.print(&coin, id)).collect();
        assert!(prints[0].at > start && tape.print(&coin, first - 1).at <= start);
        for pair in prints.windows(2) {
            assert!(pair[0].at < pair[1].at, "{pair:?}");
            assert_eq!(tape.first_after(&coin, pair[0].at), pair[1].id);
        }
        assert!(prints.iter().all(|print| print.qty > 0.0 && print.price > 0.0));
        assert!(prints.iter().any(|print| print.is_buyer_maker));
        assert!(prints.iter().any(|print| !print.is_buyer_maker));
    }
}
