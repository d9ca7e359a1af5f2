//! Prices as a pure function of symbol and time: any moment can be asked for, in any order, and
//! answers the same. What REST and the pages show; trades of the WebSocket have a market of their own.

use std::time::Duration;

use thalweg_core::time::Timestamp;

/// Periods of the waves a price is made of, in milliseconds, and their part of its logarithm.
const WAVES: [(f64, f64); 5] = [
    (86_400_000.0, 0.02),
    (17_900_000.0, 0.008),
    (2_820_000.0, 0.003),
    (367_000.0, 0.001),
    (53_000.0, 0.000_3),
];
/// Moments of a bar at which its price is looked at.
const SAMPLES: i64 = 16;

/// Something that has a price.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Coin {
    pub(crate) name: &'static str,
    /// Its symbol at Binance, against the dollar.
    pub(crate) symbol: &'static str,
    /// The price it moves round, in dollars.
    price: f64,
    /// How many there are.
    pub(crate) supply: u64,
}

/// Coins with prices of every magnitude.
pub(crate) const COINS: [Coin; 20] = [
    coin("Bitcoin", "BTCUSDT", 43_650.0, 19_496_962),
    coin("Ethereum", "ETHUSDT", 2_310.0, 120_180_345),
    coin("BNB", "BNBUSDT", 270.0, 153_856_150),
    coin("Solana", "SOLUSDT", 98.0, 427_912_500),
    coin("XRP", "XRPUSDT", 0.62, 53_896_124_121),
    coin("USDC", "USDCUSDT", 1.0, 24_500_120_300),
    coin("Cardano", "ADAUSDT", 0.61, 35_353_300_100),
    coin("Avalanche", "AVAXUSDT", 47.0, 365_200_800),
    coin("Dogecoin", "DOGEUSDT", 0.094, 142_176_400_000),
    coin("Polkadot", "DOTUSDT", 8.7, 1_270_400_500),
    coin("TRON", "TRXUSDT", 0.105, 88_400_700_200),
    coin("Chainlink", "LINKUSDT", 15.4, 556_849_970),
    coin("Litecoin", "LTCUSDT", 72.0, 74_000_210),
    coin("Shiba Inu", "SHIBUSDT", 0.000_010_4, 589_300_000_000_000),
    coin("Uniswap", "UNIUSDT", 6.2, 598_700_000),
    coin("Stellar", "XLMUSDT", 0.128, 28_100_000_000),
    coin("Monero", "XMRUSDT", 169.0, 18_300_000),
    coin("Cosmos", "ATOMUSDT", 10.9, 384_200_000),
    coin("Filecoin", "FILUSDT", 5.3, 486_500_000),
    coin("Pepe", "PEPEUSDT", 0.000_001_4, 420_689_900_000_000),
];

const fn coin(name: &'static str, symbol: &'static str, price: f64, supply: u64) -> Coin {
    Coin { name, symbol, price, supply }
}

/// A bar: prices of a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bar {
    pub(crate) open: f64,
    pub(crate) high: f64,
    pub(crate) low: f64,
    pub(crate) close: f64,
    /// In coins.
    pub(crate) volume: f64,
    pub(crate) trades: u64,
}

impl Coin {
    /// The coin of a symbol.
    pub(crate) fn of(symbol: &str) -> Option<Self> {
        COINS.into_iter().find(|coin| coin.symbol == symbol)
    }

    /// Its price in dollars, to eight decimals.
    pub(crate) fn price(&self, seed: u64, at: Timestamp) -> f64 {
        let phase = |wave: usize| (hash(seed, self.symbol, wave as i64) % 1_000) as f64 / 1_000.0;
        let part = |(wave, (period, part)): (usize, &(f64, f64))| {
            part * (std::f64::consts::TAU * (at.millis() as f64 / period + phase(wave))).sin()
        };
        let price = self.price * WAVES.iter().enumerate().map(part).sum::<f64>().exp();
        (price * 1e8).round() / 1e8
    }

    /// The bar that begins at `open_ms` and ends before `end_ms`.
    pub(crate) fn bar(&self, seed: u64, open_ms: i64, end_ms: i64) -> Bar {
        let last = (end_ms - 1).max(open_ms);
        let step = ((last - open_ms) / SAMPLES).max(1);
        let moments = (0..SAMPLES).map(|n| open_ms + n * step).take_while(|at| *at < last);
        let prices: Vec<f64> =
            moments.chain([last]).map(|at| self.price(seed, Timestamp::from_millis(at))).collect();
        let length = (last - open_ms + 1) as f64 / 60_000.0;
        let trades = 20 + hash(seed, self.symbol, open_ms) % 400;
        Bar {
            open: prices[0],
            close: prices[prices.len() - 1],
            high: prices.iter().copied().fold(f64::MIN, f64::max),
            low: prices.iter().copied().fold(f64::MAX, f64::min),
            volume: (trades as f64 * length * 1_000.0 / self.price * 1e5).round() / 1e5,
            trades,
        }
    }

    /// Change of the last day, in percent.
    pub(crate) fn change(&self, seed: u64, at: Timestamp) -> f64 {
        let before = self.price(seed, at.minus(Duration::from_secs(86_400)));
        100.0 * (self.price(seed, at) / before - 1.0)
    }
}

/// A number that only these three decide.
pub(crate) fn hash(seed: u64, symbol: &str, number: i64) -> u64 {
    let bytes = symbol.bytes().chain(number.to_be_bytes());
    let mixed = bytes.fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mixed ^ (mixed >> 29)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_the_same_whenever_it_is_asked_for() {
        let coin = Coin::of("BTCUSDT").unwrap();
        let at = Timestamp(1_700_000_000_000_000);
        assert_eq!(coin.price(7, at), coin.price(7, at));
        assert_ne!(coin.price(7, at), coin.price(8, at));
        assert!((coin.price(7, at) / 43_650.0).ln().abs() < 0.04);
        assert_eq!(Coin::of("NOPE"), None);
    }

    #[test]
    fn bars_hold_their_prices() {
        for coin in COINS {
            let bar = coin.bar(7, 1_700_000_040_000, 1_700_000_100_000);
            assert!(bar.low <= bar.open.min(bar.close) && bar.high >= bar.open.max(bar.close));
            assert!(bar.low > 0.0 && bar.trades > 0);
        }
    }
}
