//! What a simulator is told: every field with its unit, default and range.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use thalweg_core::error::{Error, Result};

use crate::faults::FaultPlan;

/// How an exchange is simulated.
#[derive(Clone, Debug)]
pub struct SimulatorConfig {
    /// Address to listen on, a loopback one; port 0 takes a free one. Default `127.0.0.1:7979`.
    pub listen: SocketAddr,
    /// The one token that is accepted. Default `demo`; not empty.
    pub token: Token,
    /// What a second connection with the token does. Default [`SecondConnection::NewerWins`].
    pub second_connection: SecondConnection,
    /// Symbols that a connection may subscribe to. Default 50; from 1.
    pub symbols_max: usize,
    /// Silence after which a ping is sent, of the clock. Default 60 s; from 1 ms.
    pub ping_interval: Duration,
    /// Where trades come from. Default a made-up market.
    pub feed: Feed,
    /// What goes wrong, and when. Default nothing.
    pub faults: FaultPlan,
    /// Weight of requests of REST that is allowed a minute. Default 6,000; from 1.
    pub weight_limit: u64,
}

/// A token; its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// What happens when a second connection comes with a token in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecondConnection {
    /// The older one is cut.
    #[default]
    NewerWins,
    /// The newer one is cut right after its upgrade.
    OlderWins,
    /// Both are cut, so that two clients that reconnect keep throwing each other out.
    BothDropped,
}

/// Where trades come from.
#[derive(Clone, Debug)]
pub enum Feed {
    /// Prices made up from the seed.
    Market(MarketConfig),
    /// Messages recorded earlier.
    Replay(ReplayConfig),
}

/// A market that is made up.
#[derive(Clone, Debug)]
pub struct MarketConfig {
    /// What is traded; other symbols are `Invalid symbol`. Default nine: stocks, crypto, a currency.
    pub instruments: Vec<Instrument>,
    /// Trades a second of all instruments together, on average over a day; those not subscribed
    /// to are not sent. Default 20; above 0, at most 50,000.
    pub rate: f64,
    /// How long trades are collected before a message with fewer than ten is sent. Default 100 ms.
    pub batch_interval: Duration,
    /// Whether the rate follows the hours of the day: high when New York opens and closes, low at
    /// night. Otherwise it is the same all day. Default true.
    pub daily_shape: bool,
    /// Whether stocks rest at weekends and from 20:00 to 4:00 in New York. Default false: they
    /// trade round the clock, so that there is always something to see.
    pub stocks_close: bool,
    /// Share of messages that are spoilt: cut short, of an unknown type, or with a trade that has a
    /// negative volume, a price as text, `"NaN"` as price or no price. Default 0; 0 to 1.
    pub invalid_share: f64,
    /// How far the market may be behind the clock, when the client is slow to take its trades,
    /// before it skips to now. Default 10 s; from 1 s.
    pub lag_max: Duration,
}

/// Something that is traded.
#[derive(Clone, Debug, PartialEq)]
pub struct Instrument {
    /// Symbol as on the wire, such as `AAPL` or `BINANCE:BTCUSDT`; not empty.
    pub symbol: String,
    /// What it is: decides on conditions, sizes and hours.
    pub kind: InstrumentKind,
    /// Price to which it returns over days, in the quoted currency; above 0, at most 1e9.
    pub price: f64,
    /// Smallest step of the price; from 1e-8.
    pub tick: f64,
    /// Standard deviation of the logarithm of the price over a second; 0 to 0.01.
    pub volatility: f64,
    /// Median size of a trade, in shares or coins; 0 for a price without volume, at most 1e6.
    pub size: f64,
    /// Its part of the trades, relative to the others; 0 never trades.
    pub weight: f64,
}

/// What kind of thing is traded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstrumentKind {
    /// Whole shares, condition codes, New York's hours.
    Stock,
    /// Five decimals of size, `null` for conditions, round the clock.
    Crypto,
    /// Like crypto, with a volume of 0.
    Forex,
}

/// Recorded messages, sent again.
#[derive(Clone, Debug)]
pub struct ReplayConfig {
    /// Files of one wire message a line, played one after the other; at least one. No default.
    pub files: Vec<PathBuf>,
    /// How fast. Default 1.
    pub speed: Speed,
    /// Longest wait between two messages, after the speed is taken into account. Default 1 s.
    pub max_pause: Duration,
}

/// The speed of a replay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// So many times as fast as recorded; 1 to 1000.
    Times(f64),
    /// As fast as the client takes it.
    Max,
}

impl Default for SimulatorConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7979)),
            token: Token::new("demo"),
            second_connection: SecondConnection::default(),
            symbols_max: 50,
            ping_interval: Duration::from_secs(60),
            feed: Feed::Market(MarketConfig::default()),
            faults: FaultPlan::default(),
            weight_limit: 6_000,
        }
    }
}

impl Default for MarketConfig {
    fn default() -> Self {
        Self {
            instruments: Instrument::all(),
            rate: 20.0,
            batch_interval: Duration::from_millis(100),
            daily_shape: true,
            stocks_close: false,
            invalid_share: 0.0,
            lag_max: Duration::from_secs(10),
        }
    }
}

impl ReplayConfig {
    /// `files` at the recorded pace.
    pub fn new(files: Vec<PathBuf>) -> Self {
        Self { files, speed: Speed::Times(1.0), max_pause: Duration::from_secs(1) }
    }
}

impl Instrument {
    /// The instruments of the default market.
    ///
    /// `GBP` is known and never trades: a symbol on which a client waits in vain.
    pub fn all() -> Vec<Self> {
        use InstrumentKind::{Crypto, Forex, Stock};
        let instrument = |symbol: &str, kind, price, tick, volatility, size, weight| Self {
            symbol: symbol.to_owned(),
            kind,
            price,
            tick,
            volatility,
            size,
            weight,
        };
        vec![
            instrument("BINANCE:BTCUSDT", Crypto, 43_650.0, 0.01, 8e-5, 0.0013, 35.0),
            instrument("BINANCE:ETHUSDT", Crypto, 2_310.0, 0.01, 9e-5, 0.02, 25.0),
            instrument("AAPL", Stock, 194.7, 0.01, 6e-5, 12.0, 10.0),
            instrument("MSFT", Stock, 374.7, 0.01, 6e-5, 8.0, 10.0),
            instrument("AMZN", Stock, 153.6, 0.01, 7e-5, 12.0, 8.0),
            instrument("TSLA", Stock, 253.0, 0.01, 1.2e-4, 10.0, 6.0),
            instrument("BINANCE:SOLUSDT", Crypto, 98.0, 0.01, 1.3e-4, 0.8, 4.0),
            instrument("OANDA:EUR_USD", Forex, 1.1, 0.00001, 2e-5, 0.0, 2.0),
            instrument("GBP", Stock, 25.0, 0.01, 6e-5, 10.0, 0.0),
        ]
    }
}

impl Token {
    /// A token of this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether `text` is this token.
    pub(crate) fn is(&self, text: &str) -> bool {
        self.0 == text
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl FromStr for Speed {
    type Err = Error;

    /// Reads `max`, or a number from 1 to 1000, with or without an `x` after it.
    fn from_str(text: &str) -> Result<Self> {
        if text == "max" {
            return Ok(Self::Max);
        }
        text.strip_suffix('x')
            .unwrap_or(text)
            .parse()
            .ok()
            .map(Self::Times)
            .filter(Speed::is_in_range)
            .ok_or_else(|| {
                Error::invalid(format!("`{text}` is no speed"))
                    .with_hint("Write a number from 1 to 1000, or `max`.")
            })
    }
}

impl Speed {
    fn is_in_range(&self) -> bool {
        match self {
            Self::Times(times) => (1.0..=1000.0).contains(times),
            Self::Max => true,
        }
    }
}

impl SimulatorConfig {
    /// Holds every field against its range.
    ///
    /// # Errors
    ///
    /// `Invalid`, naming every field that is out of its range.
    pub fn check(&self) -> Result<()> {
        let mut problems = Vec::new();
        let mut require = |is_right: bool, problem: &str| {
            if !is_right {
                problems.push(problem.to_owned());
            }
        };
        require(self.listen.ip().is_loopback(), "The address to listen on is not a loopback one.");
        require(!self.token.is(""), "The token is empty.");
        require(self.symbols_max > 0, "`symbols_max` is 0.");
        require(self.weight_limit > 0, "`weight_limit` is 0.");
        require(self.ping_interval >= MILLISECOND, "`ping_interval` is shorter than 1 ms.");
        match &self.feed {
            Feed::Market(market) => market.check(&mut require),
            Feed::Replay(replay) => {
                require(!replay.files.is_empty(), "There is no file to replay.");
                require(replay.speed.is_in_range(), "The speed is not within 1 to 1000.");
            }
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error::invalid("the simulator is configured wrongly").with_detail(problems.join(" ")))
    }
}

const MILLISECOND: Duration = Duration::from_millis(1);

impl MarketConfig {
    fn check(&self, require: &mut impl FnMut(bool, &str)) {
        require(
            self.rate > 0.0 && self.rate <= 50_000.0,
            "The rate is not above 0 and at most 50,000.",
        );
        require((0.0..=1.0).contains(&self.invalid_share), "`invalid_share` is not within 0 to 1.");
        require(self.lag_max >= Duration::from_secs(1), "`lag_max` is shorter than 1 s.");
        let weights: f64 = self.instruments.iter().map(|instrument| instrument.weight).sum();
        require(weights > 0.0 && weights.is_finite(), "No instrument has a weight.");
        for (number, instrument) in self.instruments.iter().enumerate() {
            let Instrument { symbol, price, tick, volatility, size, weight, .. } = instrument;
            let mut require_of = |is_right, problem: &str| {
                require(is_right, &format!("The instrument `{symbol}` {problem}."));
            };
            let is_new = !self.instruments[..number].iter().any(|other| other.symbol == *symbol);
            require_of(is_new, "is there twice");
            require_of(!symbol.is_empty(), "has no name");
            require_of(*tick >= 1e-8 && *tick <= *price, "has no tick from 1e-8 to its price");
            require_of(*price > 0.0 && *price <= 1e9, "has no price above 0 and up to 1e9");
            require_of((0.0..=0.01).contains(volatility), "has no volatility of 0 to 0.01");
            require_of((0.0..=1e6).contains(size), "has no size of 0 to 1e6");
            require_of(*weight >= 0.0, "has a weight below 0");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_their_ranges() {
        SimulatorConfig::default().check().expect("in range");
    }

    #[test]
    fn everything_out_of_its_range_is_named() {
        let config = SimulatorConfig {
            listen: "0.0.0.0:0".parse().expect("an address"),
            token: Token::new(""),
            feed: Feed::Market(MarketConfig {
                rate: f64::NAN,
                instruments: vec![Instrument { price: -1.0, ..Instrument::all().remove(0) }],
                ..MarketConfig::default()
            }),
            ..SimulatorConfig::default()
        };
        let detail = config.check().expect_err("out of range").detail.expect("what");
        for part in ["loopback", "token is empty", "rate", "`BINANCE:BTCUSDT` has no price"] {
            assert!(detail.contains(part), "{part:?} in {detail:?}");
        }
        let nothing = ReplayConfig::new(Vec::new());
        let config = SimulatorConfig { feed: Feed::Replay(nothing), ..SimulatorConfig::default() };
        assert!(config.check().is_err());
    }

    #[test]
    fn a_speed_is_a_number_or_max() {
        check_speed("10", Some(Speed::Times(10.0)));
        check_speed("2.5x", Some(Speed::Times(2.5)));
        check_speed("max", Some(Speed::Max));
        for wrong in ["", "0", "1001", "NaN", "-3", "fast"] {
            check_speed(wrong, None);
        }
    }

    #[track_caller]
    fn check_speed(text: &str, speed: Option<Speed>) {
        assert_eq!(text.parse::<Speed>().ok(), speed, "{text:?}");
    }

    #[test]
    fn a_token_is_not_shown() {
        let config = SimulatorConfig { token: Token::new("c0ffee"), ..Default::default() };
        assert!(!format!("{config:?}").contains("c0ffee"));
    }
}
