//! Prices as a pure function of symbol and time: any moment can be asked for, in any order, and
//! answers the same. What REST and the pages show; trades of the WebSocket have a market of their own.
//!
//! The logarithm of a price walks at random, by halves: the middle of a stretch lies about its ends as a
//! Brownian bridge does, and the variance of a stretch is shared unevenly by its halves, so that calm
//! and wild times cluster (Mandelbrot, Calvet and Fisher, *A multifractal model of asset returns*,
//! 1997). What moved it before says nothing of where it goes next, but something of how far.

use std::time::Duration;

use thalweg_core::time::Timestamp;

/// Length of the walk between two levels that a price comes back to, in milliseconds: about 25 days.
const BLOCK_MS: i64 = 1 << 31;
/// Below this length, in milliseconds, a price moves in a straight line.
const LINE_MS: i64 = 1 << 8;
/// How unevenly the two halves of a stretch share its variance: so calm and wild hours cluster.
const UNEVEN: f64 = 0.35;
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
    /// Standard deviation of its logarithm over a day.
    daily: f64,
}

/// Coins with prices of every magnitude.
pub(crate) const COINS: [Coin; 20] = [
    coin("Bitcoin", "BTCUSDT", 43_650.0, 19_496_962, 0.025),
    coin("Ethereum", "ETHUSDT", 2_310.0, 120_180_345, 0.03),
    coin("BNB", "BNBUSDT", 270.0, 153_856_150, 0.04),
    coin("Solana", "SOLUSDT", 98.0, 427_912_500, 0.04),
    coin("XRP", "XRPUSDT", 0.62, 53_896_124_121, 0.04),
    coin("USDC", "USDCUSDT", 1.0, 24_500_120_300, 0.000_3),
    coin("Cardano", "ADAUSDT", 0.61, 35_353_300_100, 0.04),
    coin("Avalanche", "AVAXUSDT", 47.0, 365_200_800, 0.04),
    coin("Dogecoin", "DOGEUSDT", 0.094, 142_176_400_000, 0.05),
    coin("Polkadot", "DOTUSDT", 8.7, 1_270_400_500, 0.04),
    coin("TRON", "TRXUSDT", 0.105, 88_400_700_200, 0.04),
    coin("Chainlink", "LINKUSDT", 15.4, 556_849_970, 0.04),
    coin("Litecoin", "LTCUSDT", 72.0, 74_000_210, 0.04),
    coin("Shiba Inu", "SHIBUSDT", 0.000_010_4, 589_300_000_000_000, 0.05),
    coin("Uniswap", "UNIUSDT", 6.2, 598_700_000, 0.04),
    coin("Stellar", "XLMUSDT", 0.128, 28_100_000_000, 0.04),
    coin("Monero", "XMRUSDT", 169.0, 18_300_000, 0.04),
    coin("Cosmos", "ATOMUSDT", 10.9, 384_200_000, 0.04),
    coin("Filecoin", "FILUSDT", 5.3, 486_500_000, 0.04),
    coin("Pepe", "PEPEUSDT", 0.000_001_4, 420_689_900_000_000, 0.06),
];

const fn coin(
    name: &'static str,
    symbol: &'static str,
    price: f64,
    supply: u64,
    daily: f64,
) -> Coin {
    Coin { name, symbol, price, supply, daily }
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
        let price = self.price * self.walk(seed, at.millis()).exp();
        (price * 1e8).round() / 1e8
    }

    /// How far the logarithm of its price is from where it comes back to.
    fn walk(&self, seed: u64, at_ms: i64) -> f64 {
        let block = at_ms.div_euclid(BLOCK_MS);
        let days = BLOCK_MS as f64 / 86_400_000.0;
        let level =
            |block: i64| self.daily * (days / 2.0).sqrt() * normal(hash(seed, self.symbol, block));
        let (mut left, mut right) = (level(block), level(block + 1));
        let mut variance = self.daily * self.daily * days;
        let (mut from, mut length) = (block * BLOCK_MS, BLOCK_MS);
        let walk = hash(seed, self.symbol, !block);
        while length > LINE_MS {
            let half = length / 2;
            let draw = mix(walk ^ mix((from + half) as u64));
            let share = 0.5 + UNEVEN * (2.0 * uniform(mix(draw)) - 1.0);
            let middle = left
                + (right - left) * share
                + (variance * share * (1.0 - share)).sqrt() * normal(draw);
            length = half;
            if at_ms < from + half {
                (right, variance) = (middle, variance * share);
            } else {
                (left, variance, from) = (middle, variance * (1.0 - share), from + half);
            }
        }
        left + (right - left) * (at_ms - from) as f64 / length as f64
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

/// Bits that look like any others (SplitMix64).
fn mix(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A number above 0 and below 1.
fn uniform(bits: u64) -> f64 {
    ((bits >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

/// A number of the standard normal distribution (Box and Muller).
fn normal(bits: u64) -> f64 {
    let (radius, angle) = (uniform(mix(bits ^ 1)), uniform(mix(bits ^ 2)));
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
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
        assert!((coin.price(7, at) / 43_650.0).ln().abs() < 0.5);
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

    /// Changes of the logarithm of Bitcoin's price from one `step_ms` to the next.
    fn changes(step_ms: i64, count: i64) -> Vec<f64> {
        let coin = Coin::of("BTCUSDT").unwrap();
        let price = |n: i64| coin.walk(7, 1_700_000_000_000 + n * step_ms);
        (0..count).map(|n| price(n + 1) - price(n)).collect()
    }

    /// Correlation of a series with itself one step later.
    fn autocorrelation(values: &[f64]) -> f64 {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let product = |(left, right): (&f64, &f64)| (left - mean) * (right - mean);
        let lagged: f64 = values.iter().zip(&values[1..]).map(product).sum();
        lagged / values.iter().map(|value| (value - mean).powi(2)).sum::<f64>()
    }

    #[test]
    fn changes_cannot_be_told_from_the_last_one_but_their_size_can() {
        let changes = changes(300_000, 20_000);
        assert!(autocorrelation(&changes).abs() < 0.03, "{}", autocorrelation(&changes));
        let sizes: Vec<f64> = changes.iter().map(|change| change.abs()).collect();
        assert!(autocorrelation(&sizes) > 0.15, "{}", autocorrelation(&sizes));
    }

    #[test]
    fn a_day_moves_a_price_as_far_as_it_is_said_to() {
        let days = changes(86_400_000, 4_000);
        let variance = days.iter().map(|change| change * change).sum::<f64>() / days.len() as f64;
        assert!((0.02..0.03).contains(&variance.sqrt()), "{}", variance.sqrt());
    }
}
