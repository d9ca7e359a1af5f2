//! Messages that a reader must not take, on request.

use rand::Rng;
use rand::rngs::SmallRng;

use super::Batch;
use super::process::{Process, Trade};
use super::wire::{self, Flaw};

/// Writes messages, spoiling a share of them.
pub(super) struct Spoiler {
    share: f64,
    rng: SmallRng,
}

impl Spoiler {
    pub(super) fn new(share: f64, rng: SmallRng) -> Self {
        Self { share, rng }
    }

    /// The message of `trades`, at least one, spoilt if it is its turn.
    pub(super) fn write(&mut self, trades: &[Trade], processes: &[Process]) -> Batch {
        let all = trades.len() as u64;
        if self.share <= 0.0 || self.rng.random::<f64>() >= self.share {
            let text = wire::message(trades, processes, "trade", None);
            return Batch { text, trades: all, trades_spoilt: 0 };
        }
        let flaw = match self.rng.random_range(0..6) {
            0 => {
                let mut text = wire::message(trades, processes, "trade", None);
                // At least the last brace goes, at most all but the first.
                text.truncate(self.rng.random_range(1..text.len()));
                return Batch { text, trades: all, trades_spoilt: all };
            }
            1 => {
                let text = wire::message(trades, processes, "quux", None);
                return Batch { text, trades: all, trades_spoilt: all };
            }
            2 => Flaw::NegativeVolume,
            3 => Flaw::PriceAsText,
            4 => Flaw::PriceNan,
            _ => Flaw::PriceMissing,
        };
        let flawed = self.rng.random_range(0..trades.len());
        let text = wire::message(trades, processes, "trade", Some((flawed, flaw)));
        Batch { text, trades: all, trades_spoilt: 1 }
    }
}
