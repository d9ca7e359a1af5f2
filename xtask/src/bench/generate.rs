//! Trades to measure with, and what a right program makes of them.
//!
//! A file holds [`FILE_ROWS`] lines of about 61 bytes, such as
//!
//! ```json
//! {"p":211.37,"s":"MARKET:SYM07","t":1700000040000,"v":112.345}
//! ```
//!
//! There are 50 symbols, drawn by Zipf's law, 100 trades a second of event time, each up to 2 s out
//! of order, and 1 % of the lines are invalid, in four ways. A file depends on its number only, so
//! a smaller set is the beginning of a larger one.
//!
//! What is expected is computed while the lines are made, from the very numbers they print, so that
//! nothing has to be read again.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Lines of a file.
pub(super) const FILE_ROWS: u64 = 100_000;
const SYMBOLS: usize = 50;
/// Event time of the first trade, in milliseconds: a full minute.
const START_MS: i64 = 1_700_000_040_000;
/// Event time from one trade to the next.
const STEP_MS: i64 = 10;
/// Largest disorder; smaller than the watermark's delay, so no row is late.
const JITTER_MS: u64 = 2_000;
const MINUTE_MS: i64 = 60_000;

/// What a right program makes of a set of trades.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Expected {
    /// Lines.
    pub(super) rows: u64,
    /// Lines that are valid.
    pub(super) valid: u64,
    /// Sum of price times volume.
    pub(super) notional: f64,
    /// Sum of the volumes.
    pub(super) volume: f64,
    /// Bars of a minute and a symbol.
    pub(super) bars: u64,
    /// Sums over the bars, in this order: open, high, low, close.
    pub(super) prices: [f64; 4],
    /// Rows that have a trade of their symbol before them.
    pub(super) changes: u64,
    /// Sum of the differences to the trade before.
    pub(super) change: f64,
}

/// Trades in `folder`, made if they are not there yet.
pub(super) fn trades(folder: &Path, rows: u64) -> Result<Expected, String> {
    let note = folder.join("expected.txt");
    if let Some(expected) = fs::read_to_string(&note).ok().and_then(|text| Expected::parse(&text)) {
        return Ok(expected);
    }
    eprintln!("making {rows} trades in {}", folder.display());
    let cannot = |error| format!("cannot write to {}: {error}", folder.display());
    fs::create_dir_all(folder.join("trades")).map_err(cannot)?;
    let mut market = Market::new();
    for number in 0..rows.div_ceil(FILE_ROWS) {
        let lines = FILE_ROWS.min(rows - number * FILE_ROWS);
        let text = market.file(number, lines);
        fs::write(file(folder, number), text).map_err(cannot)?;
    }
    let expected = market.expected();
    // Last, and by rename: a set that was not finished is made again.
    let unfinished = folder.join("expected.tmp");
    fs::write(&unfinished, expected.to_string()).map_err(cannot)?;
    fs::rename(&unfinished, &note).map_err(cannot)?;
    Ok(expected)
}

fn file(folder: &Path, number: u64) -> PathBuf {
    folder.join("trades").join(format!("{number:05}.json"))
}

impl Expected {
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split_whitespace();
        let mut whole = || numbers.next()?.parse().ok();
        let (rows, valid, bars, changes) = (whole()?, whole()?, whole()?, whole()?);
        let mut float = || numbers.next()?.parse().ok();
        Some(Self {
            rows,
            valid,
            bars,
            changes,
            notional: float()?,
            volume: float()?,
            prices: [float()?, float()?, float()?, float()?],
            change: float()?,
        })
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rows, valid, bars, changes, notional, volume, prices, change } = self;
        let [open, high, low, close] = prices;
        write!(
            f,
            "{rows} {valid} {bars} {changes} {notional:?} {volume:?} {open:?} {high:?} {low:?} {close:?} {change:?}"
        )
    }
}

/// A sum that keeps what rounding would lose (Neumaier), so that it can be compared with any order
/// of adding.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    sum: f64,
    lost: f64,
}

impl Sum {
    fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        self.lost += if self.sum.abs() >= value.abs() {
            (self.sum - sum) + value
        } else {
            (value - sum) + self.sum
        };
        self.sum = sum;
    }

    fn value(self) -> f64 {
        self.sum + self.lost
    }
}

/// A bar under construction, with the times of its first and last trade.
#[derive(Clone, Copy, Debug)]
struct Bar {
    first: i64,
    last: i64,
    prices: [f64; 4],
}

/// Makes lines, and remembers what is expected of them.
struct Market {
    symbols: Vec<String>,
    /// Cumulated weights.
    weights: Vec<f64>,
    /// In cents, of the trade before, of each symbol.
    prices: Vec<i64>,
    last: Vec<Option<f64>>,
    bars: BTreeMap<(i64, usize), Bar>,
    expected: Expected,
    notional: Sum,
    volume: Sum,
    change: Sum,
    bar_prices: [Sum; 4],
}

impl Market {
    fn new() -> Self {
        let mut total = 0.0;
        let weights = (1..=SYMBOLS).map(|rank| {
            total += 1.0 / rank as f64;
            total
        });
        Self {
            weights: weights.collect(),
            symbols: (0..SYMBOLS).map(|number| format!("MARKET:SYM{number:02}")).collect(),
            prices: Vec::new(),
            last: vec![None; SYMBOLS],
            bars: BTreeMap::new(),
            expected: Expected::default(),
            notional: Sum::default(),
            volume: Sum::default(),
            change: Sum::default(),
            bar_prices: [Sum::default(); 4],
        }
    }

    /// The lines of file `number`.
    fn file(&mut self, number: u64, lines: u64) -> Vec<u8> {
        let mut random = Random(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x7461_6C77_6567_0001);
        self.prices = (0..SYMBOLS).map(|symbol| 5_000 + 1_000 * symbol as i64).collect();
        let mut text = Vec::with_capacity(64 * FILE_ROWS as usize);
        for line in 0..lines {
            let at = (number * FILE_ROWS + line).cast_signed();
            let late = random.below(JITTER_MS + 1).cast_signed();
            self.line(&mut text, &mut random, START_MS + at * STEP_MS - late);
        }
        let open_from = START_MS + ((number + 1) * FILE_ROWS).cast_signed() * STEP_MS;
        self.close_bars(open_from - JITTER_MS.cast_signed() - MINUTE_MS);
        text
    }

    fn line(&mut self, text: &mut Vec<u8>, random: &mut Random, time: i64) {
        let place = random.unit() * self.weights[SYMBOLS - 1];
        let symbol = self.weights.partition_point(|weight| *weight <= place).min(SYMBOLS - 1);
        let step = random.below(21).cast_signed() - 10;
        let cents = (self.prices[symbol] + step).max(100);
        self.prices[symbol] = cents;
        let thousandths = 1 + random.below(200_000);
        let name = &self.symbols[symbol];
        let price = format!("{}.{:02}", cents / 100, cents % 100);
        let volume = format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000);
        self.expected.rows += 1;
        let kind = random.below(400);
        let wrong = |text: &mut Vec<u8>, line: String| {
            text.extend_from_slice(line.as_bytes());
            text.push(b'\n');
        };
        match kind {
            0 => return wrong(text, format!(r#"{{"p":{price},"s":"{name}","t":{time},"v"#)),
            1 => return wrong(text, format!(r#"{{"s":"{name}","t":{time},"v":{volume}}}"#)),
            2 => {
                let line = format!(r#"{{"p":"none","s":"{name}","t":{time},"v":{volume}}}"#);
                return wrong(text, line);
            }
            3 => {
                let line = format!(r#"{{"p":-{price},"s":"{name}","t":{time},"v":{volume}}}"#);
                return wrong(text, line);
            }
            _ => {}
        }
        writeln!(text, r#"{{"p":{price},"s":"{name}","t":{time},"v":{volume}}}"#)
            .expect("a Vec takes all");
        self.expect(symbol, time, as_read(&price), as_read(&volume));
    }

    fn expect(&mut self, symbol: usize, time: i64, price: f64, volume: f64) {
        self.expected.valid += 1;
        self.notional.add(price * volume);
        self.volume.add(volume);
        if let Some(before) = self.last[symbol].replace(price) {
            self.expected.changes += 1;
            self.change.add(price - before);
        }
        let minute = time.div_euclid(MINUTE_MS) * MINUTE_MS;
        let bar = self.bars.entry((minute, symbol)).or_insert(Bar {
            first: time,
            last: time,
            prices: [price; 4],
        });
        let [open, high, low, close] = &mut bar.prices;
        *high = high.max(price);
        *low = low.min(price);
        // Of trades of one instant the first to arrive opens, the last one closes.
        if time < bar.first {
            (bar.first, *open) = (time, price);
        }
        if time >= bar.last {
            (bar.last, *close) = (time, price);
        }
    }

    /// Adds up the bars that begin before `until`.
    fn close_bars(&mut self, until: i64) {
        let open = self.bars.split_off(&(until, 0));
        for bar in std::mem::replace(&mut self.bars, open).into_values() {
            self.expected.bars += 1;
            for (sum, price) in self.bar_prices.iter_mut().zip(bar.prices) {
                sum.add(price);
            }
        }
    }

    fn expected(mut self) -> Expected {
        self.close_bars(i64::MAX);
        Expected {
            notional: self.notional.value(),
            volume: self.volume.value(),
            prices: self.bar_prices.map(Sum::value),
            change: self.change.value(),
            ..self.expected
        }
    }
}

/// The double a reader makes of a printed number.
fn as_read(number: &str) -> f64 {
    number.parse().expect("it was just printed")
}

/// SplitMix64 (Steele, Lea and Flood 2014): fast, seeded, the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`, as good as evenly.
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// In `0 .. 1`.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_gives_the_same_file() {
        let (mut one, mut other) = (Market::new(), Market::new());
        assert_eq!(one.file(3, 500), other.file(3, 500));
        assert_ne!(one.file(4, 500), other.file(5, 500));
    }

    #[test]
    fn one_line_in_a_hundred_is_invalid() {
        let mut market = Market::new();
        let text = market.file(0, 20_000);
        let expected = market.expected();
        assert_eq!(expected.rows, 20_000);
        assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 20_000);
        let invalid = expected.rows - expected.valid;
        assert!((100..300).contains(&invalid), "{invalid} of 20,000");
    }

    #[test]
    fn what_is_expected_is_kept_as_it_is() {
        let mut market = Market::new();
        market.file(0, 10_000);
        let expected = market.expected();
        assert_eq!(Expected::parse(&expected.to_string()), Some(expected));
    }

    #[test]
    fn trades_of_one_instant_open_and_close_by_arrival() {
        let mut market = Market::new();
        for (time, price) in [(5_000, 2.0), (1_000, 3.0), (1_000, 4.0), (9_000, 5.0), (9_000, 6.0)]
        {
            market.expect(0, time, price, 1.0);
        }
        let expected = market.expected();
        assert_eq!((expected.bars, expected.prices), (1, [3.0, 6.0, 2.0, 6.0]));
        assert_eq!((expected.changes, expected.change), (4, 4.0));
    }
}
