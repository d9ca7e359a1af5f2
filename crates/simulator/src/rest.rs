//! Binance's REST, and pages of prices, as a client sees them.
//!
//! | path | answer |
//! |---|---|
//! | `/api/v3/ping`, `/api/v3/time`, `/api/v3/exchangeInfo` | as the venue's |
//! | `/api/v3/ticker/price`, `/api/v3/ticker/24hr` | an object for `symbol=`, an array for `symbols=` or neither |
//! | `/api/v3/klines` | bars with paging; the last one may still be open |
//! | `/pages/prices` | a table of prices behind two copies of its header; `?lazy=5` ends in rows that are not filled in |
//! | `/pages/next` | the same as JSON in `script#__NEXT_DATA__` |
//!
//! Each answer of `/api` carries the weight used in the minute; over the limit it
//! is 429, and 418 for who goes on. Faults of the plan befall answers as they befall connects.
//!
//! Not here: prices (`quotes`), what pages look like (`pages`).

use std::time::Duration;

use serde_json::{Value, json};
use thalweg_core::time::Timestamp;

use crate::faults::Fault;
use crate::pages;
use crate::quotes::{COINS, Coin};

/// Bars of a page at most, and where nothing is said.
const LIMIT_MAX: usize = 1_000;
const LIMIT: usize = 500;
/// Requests against a 429 after which it is a ban.
const PATIENCE: u64 = 10;
/// How long a ban lasts at first.
const BAN: Duration = Duration::from_secs(120);
/// Intervals whose bars begin at multiples of their length.
const INTERVALS: [(&str, i64); 14] = [
    ("1s", 1),
    ("1m", 60),
    ("3m", 180),
    ("5m", 300),
    ("15m", 900),
    ("30m", 1_800),
    ("1h", 3_600),
    ("2h", 7_200),
    ("4h", 14_400),
    ("6h", 21_600),
    ("8h", 28_800),
    ("12h", 43_200),
    ("1d", 86_400),
    ("3d", 259_200),
];

/// An answer over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body ends before its length.
    pub(crate) is_cut: bool,
}

/// What is asked for.
pub(crate) struct Question<'a> {
    pub(crate) path: &'a str,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) if_none_match: Option<&'a str>,
    pub(crate) now: Timestamp,
    pub(crate) seed: u64,
}

impl Question<'_> {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// Limits and bans of one address: all clients here have the same.
#[derive(Debug)]
pub(crate) struct Limits {
    weight_limit: u64,
    minute: i64,
    weight: u64,
    refused: u64,
    // Nobody may ask before then, and what the answer is until then.
    closed: Option<(Timestamp, u16)>,
    ban: Duration,
}

impl Limits {
    pub(crate) fn new(weight_limit: u64) -> Self {
        Self { weight_limit, minute: 0, weight: 0, refused: 0, closed: None, ban: BAN }
    }

    /// Whether it is too early to ask again.
    pub(crate) fn is_closed(&self, now: Timestamp) -> bool {
        self.closed.is_some_and(|(until, _)| now < until)
    }

    /// Answers 429 or 418 for a while.
    pub(crate) fn close(&mut self, until: Timestamp, status: u16) {
        if self.closed.is_none_or(|(closed, _)| closed < until) {
            self.closed = Some((until, status));
        }
    }

    /// The refusal of a request of this weight, if it is refused.
    fn take(&mut self, weight: u64, now: Timestamp) -> Option<Answer> {
        let minute = now.millis().div_euclid(60_000);
        if self.minute != minute {
            (self.minute, self.weight) = (minute, 0);
        }
        self.weight += weight;
        if self.weight > self.weight_limit {
            self.close(Timestamp::from_millis((minute + 1) * 60_000), 429);
        }
        let Some((until, mut status)) = self.closed.filter(|(until, _)| now < *until) else {
            self.refused = 0;
            return None;
        };
        let mut until = until;
        self.refused += 1;
        if self.refused > PATIENCE && status == 429 {
            (until, status) = (now.plus(self.ban), 418);
            self.closed = Some((until, status));
            self.ban *= 2;
        }
        let seconds = until.since(now).as_millis().div_ceil(1_000).max(1);
        let text = match status {
            418 => format!("Way too much request weight used; IP banned until {}.", until.millis()),
            _ => format!(
                "Too much request weight used; current limit is {} request weight per 1 MINUTE.",
                self.weight_limit
            ),
        };
        let mut answer = error(status, -1003, &text);
        answer.headers.push(("Retry-After", seconds.to_string()));
        Some(self.weighed(answer))
    }

    fn weighed(&self, mut answer: Answer) -> Answer {
        answer.headers.push(("X-MBX-USED-WEIGHT", self.weight.to_string()));
        answer.headers.push(("X-MBX-USED-WEIGHT-1M", self.weight.to_string()));
        answer
    }
}

/// Whether a path is answered here.
pub(crate) fn knows(path: &str) -> bool {
    path.starts_with("/api/") || path.starts_with("/pages/")
}

/// The answer to a question, under the fault that befalls it, if one does.
pub(crate) fn answer(question: &Question<'_>, fault: Option<Fault>, limits: &mut Limits) -> Answer {
    let is_api = question.path.starts_with("/api/");
    match fault {
        Some(Fault::ServerError(_)) => return html(502, "502 Bad Gateway"),
        Some(Fault::Forbidden(_)) => return html(403, "403 Forbidden: request blocked"),
        Some(Fault::RedirectLoop(_)) => {
            let mut answer = html(302, "Found");
            answer.headers.push(("Location", question.path.to_owned()));
            return answer;
        }
        Some(Fault::Maintenance(_)) => return html(200, "Down for maintenance"),
        _ => {}
    }
    let weight = if is_api { weight(question) } else { 1 };
    let mut answer = match limits.take(weight, question.now) {
        Some(refusal) => return refusal,
        None if is_api => limits.weighed(api(question, limits.weight_limit)),
        None => pages::answer(question, matches!(fault, Some(Fault::Layout(_)))),
    };
    answer.is_cut = matches!(fault, Some(Fault::Cut));
    answer
}

fn api(question: &Question<'_>, weight_limit: u64) -> Answer {
    match question.path.trim_start_matches("/api/v3/") {
        "ping" => ok(&json!({})),
        "time" => ok(&json!({ "serverTime": question.now.millis() })),
        "exchangeInfo" => {
            of_symbols(question, |coins, _| exchange_info(coins, question, weight_limit))
        }
        "ticker/price" => of_symbols(question, |coins, is_one| {
            one_or_all(
                coins,
                is_one,
                |coin| json!({ "symbol": coin.symbol, "price": amount(coin.price(question.seed, question.now)) }),
            )
        }),
        "ticker/24hr" => of_symbols(question, |coins, is_one| {
            one_or_all(coins, is_one, |coin| day(coin, question))
        }),
        "klines" => klines(question),
        _ => html(404, "404 Not Found"),
    }
}

fn weight(question: &Question<'_>) -> u64 {
    let is_one = question.get("symbol").is_some();
    match question.path.trim_start_matches("/api/v3/") {
        "exchangeInfo" => 20,
        "ticker/price" if is_one => 2,
        "ticker/price" => 4,
        "ticker/24hr" if !is_one && question.get("symbols").is_none() => 80,
        "ticker/24hr" | "klines" => 2,
        _ => 1,
    }
}

/// An answer of the coins that are asked for, and whether it is by `symbol`.
fn of_symbols(question: &Question<'_>, answer: impl Fn(&[Coin], bool) -> Value) -> Answer {
    let (one, several) = (question.get("symbol"), question.get("symbols"));
    let (symbols, is_one): (Vec<String>, bool) = match (one, several) {
        (Some(_), Some(_)) => {
            return error(400, -1128, "Combination of optional parameters invalid.");
        }
        (Some(one), None) => (vec![one.to_owned()], true),
        (None, Some(several)) => match serde_json::from_str(several) {
            Ok(several) => (several, false),
            Err(_) => {
                return error(400, -1100, "Illegal characters found in parameter 'symbols'.");
            }
        },
        (None, None) => return ok(&answer(&COINS, false)),
    };
    let coins: Option<Vec<Coin>> = symbols.iter().map(|symbol| Coin::of(symbol)).collect();
    match coins {
        Some(coins) => ok(&answer(&coins, is_one)),
        None => error(400, -1121, "Invalid symbol."),
    }
}

fn one_or_all(coins: &[Coin], is_one: bool, value: impl Fn(&Coin) -> Value) -> Value {
    match coins {
        [only] if is_one => value(only),
        coins => coins.iter().map(value).collect(),
    }
}

fn exchange_info(coins: &[Coin], question: &Question<'_>, weight_limit: u64) -> Value {
    let symbols: Vec<Value> = coins
        .iter()
        .map(|coin| {
            let base = coin.symbol.trim_end_matches("USDT");
            json!({
                "symbol": coin.symbol, "status": "TRADING", "baseAsset": base,
                "baseAssetPrecision": 8, "quoteAsset": "USDT", "quotePrecision": 8,
                "quoteAssetPrecision": 8, "filters": [], "permissions": [],
            })
        })
        .collect();
    json!({
        "timezone": "UTC", "serverTime": question.now.millis(), "exchangeFilters": [],
        "rateLimits": [
            { "rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": weight_limit },
            { "rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 300_000 },
        ],
        "symbols": symbols,
    })
}

fn day(coin: &Coin, question: &Question<'_>) -> Value {
    let close = question.now.millis();
    let open = close - 86_400_000;
    let bar = coin.bar(question.seed, open, close + 1);
    let change = bar.close - bar.open;
    let last_id = close / 100;
    json!({
        "symbol": coin.symbol, "priceChange": amount(change),
        "priceChangePercent": format!("{:.3}", 100.0 * change / bar.open),
        "weightedAvgPrice": amount((bar.high + bar.low) / 2.0), "prevClosePrice": amount(bar.open),
        "lastPrice": amount(bar.close), "lastQty": amount(1.0), "bidPrice": amount(bar.close),
        "bidQty": amount(3.0), "askPrice": amount(bar.close), "askQty": amount(2.0),
        "openPrice": amount(bar.open), "highPrice": amount(bar.high), "lowPrice": amount(bar.low),
        "volume": amount(bar.volume), "quoteVolume": amount(bar.volume * bar.close),
        "openTime": open, "closeTime": close, "firstId": last_id - 863_999, "lastId": last_id,
        "count": 864_000,
    })
}

fn klines(question: &Question<'_>) -> Answer {
    let missing = |name: &str| {
        let text =
            format!("Mandatory parameter '{name}' was not sent, was empty/null, or malformed.");
        error(400, -1102, &text)
    };
    let Some(symbol) = question.get("symbol") else { return missing("symbol") };
    let Some(interval) = question.get("interval") else { return missing("interval") };
    let Some(coin) = Coin::of(symbol) else { return error(400, -1121, "Invalid symbol.") };
    let Some((_, seconds)) = INTERVALS.into_iter().find(|(text, _)| *text == interval) else {
        return error(400, -1120, "Invalid interval.");
    };
    let length = seconds * 1_000;
    let number = |name: &str| question.get(name).map(str::parse::<i64>).transpose();
    let (Ok(start), Ok(end), Ok(limit)) = (number("startTime"), number("endTime"), number("limit"))
    else {
        return error(400, -1100, "Illegal characters found in a parameter.");
    };
    let limit = limit.map_or(Some(LIMIT), |limit| usize::try_from(limit).ok());
    let Some(limit) = limit.filter(|limit| (1..=LIMIT_MAX).contains(limit)) else {
        return error(400, -1130, "Data sent for parameter 'limit' is not valid.");
    };
    let now = question.now.millis();
    let newest = end.unwrap_or(now).min(now).div_euclid(length);
    let count = i64::try_from(limit).unwrap_or(i64::MAX);
    let (first, last) = match start {
        Some(start) => {
            let first = start.div_euclid(length) + i64::from(start.rem_euclid(length) > 0);
            (first, newest.min(first.saturating_add(count - 1)))
        }
        None => (newest - count + 1, newest),
    };
    let bar = |number: i64| {
        let open = number * length;
        let bar = coin.bar(question.seed, open, (open + length).min(now + 1));
        json!([
            open,
            amount(bar.open),
            amount(bar.high),
            amount(bar.low),
            amount(bar.close),
            amount(bar.volume),
            open + length - 1,
            amount(bar.volume * bar.close),
            bar.trades,
            amount(bar.volume / 2.0),
            amount(bar.volume * bar.close / 2.0),
            "0",
        ])
    };
    ok(&(first..=last).map(bar).collect())
}

/// Money and sizes are texts of eight decimals.
pub(crate) fn amount(value: f64) -> String {
    format!("{value:.8}")
}

fn ok(body: &Value) -> Answer {
    Answer {
        status: 200,
        headers: vec![("Content-Type", "application/json;charset=UTF-8".to_owned())],
        body: body.to_string().into_bytes(),
        is_cut: false,
    }
}

fn error(status: u16, code: i32, text: &str) -> Answer {
    Answer { status, ..ok(&json!({ "code": code, "msg": text })) }
}

fn html(status: u16, text: &str) -> Answer {
    Answer {
        status,
        headers: vec![("Content-Type", "text/html".to_owned())],
        body: format!("<html><body><h1>{text}</h1></body></html>").into_bytes(),
        is_cut: false,
    }
}

#[cfg(test)]
mod tests;
