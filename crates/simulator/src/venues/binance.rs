//! Binance's streams, raw and combined.
//!
//! - Events are wrapped as `{"stream":"btcusdt@trade","data":{…}}` on `/stream`, raw on `/ws`.
//! - `SUBSCRIBE`, `UNSUBSCRIBE` and `LIST_SUBSCRIPTIONS` are answered; a stream that does not exist
//!   is accepted, and never says anything; what is no request gets an error.
//! - A ping frame every 20 s; without its pong for a minute the connection is cut.
//! - More than five messages of a client within a second, pongs too: closed with 1008.
//! - A connection lives 24 hours.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use thalweg_core::time::Timestamp;

use super::{Desk, Due, Idle, Reply, Told, Venue, text};
use crate::quotes::Coin;
use crate::rest::amount;
use crate::tape::Tape;

const PING_EVERY: Duration = Duration::from_secs(20);
const PONG_WAIT: Duration = Duration::from_secs(60);
const LIFETIME: Duration = Duration::from_secs(86_400);
const MESSAGES_A_SECOND: usize = 5;
const STREAMS_MAX: usize = 1_024;
/// What stands before the event in its wrapping.
const DATA: &str = ",\"data\":";
const MINUTE_MS: i64 = 60_000;

/// A kind of stream.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Trade,
    AggTrade,
    BookTicker,
    Ticker,
    Kline1m,
}

impl Kind {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "trade" => Self::Trade,
            "aggTrade" => Self::AggTrade,
            "bookTicker" => Self::BookTicker,
            "ticker" => Self::Ticker,
            "kline_1m" => Self::Kline1m,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Trade => "trade",
            Self::AggTrade => "aggTrade",
            Self::BookTicker => "bookTicker",
            Self::Ticker => "ticker",
            Self::Kline1m => "kline_1m",
        }
    }

    fn every(self) -> Option<Duration> {
        match self {
            Self::Trade | Self::AggTrade | Self::BookTicker => None,
            Self::Ticker => Some(Duration::from_secs(1)),
            Self::Kline1m => Some(Duration::from_secs(2)),
        }
    }
}

/// A connection to Binance.
pub(super) struct Binance {
    is_combined: bool,
    desk: Desk<Kind>,
    // Those that do not exist, too.
    streams: BTreeSet<String>,
    connected_at: Timestamp,
    pinged_at: Timestamp,
    // Since when a pong is due.
    unanswered: Option<Timestamp>,
    // When the client sent its last messages.
    heard: VecDeque<Timestamp>,
    tape: Tape,
}

impl Binance {
    pub(super) fn new<'a>(
        is_combined: bool,
        streams: impl Iterator<Item = &'a str>,
        tape: Tape,
        now: Timestamp,
    ) -> Self {
        let mut binance = Self {
            is_combined,
            desk: Desk::new(tape),
            streams: BTreeSet::new(),
            connected_at: now,
            pinged_at: now,
            unanswered: None,
            heard: VecDeque::new(),
            tape,
        };
        for stream in streams.filter(|stream| !stream.is_empty()) {
            binance.subscribe(stream, now);
        }
        binance
    }

    fn subscribe(&mut self, stream: &str, now: Timestamp) {
        self.streams.insert(stream.to_owned());
        if let Some((kind, coin)) = known(stream) {
            self.desk.follow(kind, coin, coin.symbol, kind.every(), now);
        }
    }

    fn unsubscribe(&mut self, stream: &str) {
        self.streams.remove(stream);
        if let Some((kind, coin)) = known(stream) {
            self.desk.unfollow(kind, coin.symbol);
        }
    }

    /// Whether the client says too much.
    fn is_flooded(&mut self, now: Timestamp) -> bool {
        self.heard.push_back(now);
        while self.heard.front().is_some_and(|at| now.since(*at) >= Duration::from_secs(1)) {
            self.heard.pop_front();
        }
        self.heard.len() > MESSAGES_A_SECOND
    }

    fn answer(&mut self, request: &Value, now: Timestamp) -> Reply {
        let id = request.get("id").cloned().unwrap_or(Value::Null);
        let invalid = |what: &str| {
            Reply::Error(text(&json!({
                "code": 2, "msg": format!("Invalid request: {what}"), "id": id,
            })))
        };
        let Some(method) = request.get("method").and_then(Value::as_str) else {
            return invalid("missing field `method`");
        };
        let params: Option<Vec<&str>> = request
            .get("params")
            .and_then(Value::as_array)
            .map(|params| params.iter().filter_map(Value::as_str).collect());
        match (method, params) {
            ("LIST_SUBSCRIPTIONS", _) => {
                Reply::Say(text(&json!({"result": self.streams, "id": id})))
            }
            ("SUBSCRIBE", Some(streams)) => {
                if self.streams.len() + streams.len() > STREAMS_MAX {
                    let error = json!({"code": 4, "msg": "Too many subscriptions"});
                    return Reply::Error(text(&json!({"error": error, "id": id})));
                }
                for stream in streams {
                    self.subscribe(stream, now);
                }
                Reply::Say(text(&json!({"result": null, "id": id})))
            }
            ("UNSUBSCRIBE", Some(streams)) => {
                for stream in streams {
                    self.unsubscribe(stream);
                }
                Reply::Say(text(&json!({"result": null, "id": id})))
            }
            ("SUBSCRIBE" | "UNSUBSCRIBE", None) => invalid("`params` must be a list of texts"),
            _ => invalid("unknown variant"),
        }
    }
}

/// The kind and the coin of a stream that exists.
fn known(stream: &str) -> Option<(Kind, Coin)> {
    let (symbol, kind) = stream.split_once('@')?;
    let coin = Coin::of(&symbol.to_uppercase()).filter(|_| symbol == symbol.to_lowercase())?;
    Some((Kind::of(kind)?, coin))
}

impl Venue for Binance {
    fn hear(&mut self, said: &str, now: Timestamp) -> Vec<Reply> {
        if self.is_flooded(now) {
            return vec![Reply::Close(1008, "Too many requests")];
        }
        match serde_json::from_str(said) {
            Ok(request) => vec![self.answer(&request, now)],
            Err(error) => {
                let place = format!("at line {} column {}", error.line(), error.column());
                let msg = format!("Invalid JSON: expected value {place}");
                vec![Reply::Error(text(&json!({"code": 3, "msg": msg})))]
            }
        }
    }

    fn pong(&mut self, payload: &[u8], now: Timestamp) -> Option<Reply> {
        // One that was not asked for counts as a message, and for nothing else.
        if payload == self.pinged_at.millis().to_string().as_bytes() {
            self.unanswered = None;
        }
        self.is_flooded(now).then_some(Reply::Close(1008, "Too many requests"))
    }

    fn is_subscribed(&self) -> bool {
        !self.streams.is_empty()
    }

    fn next(&mut self, now: Timestamp) -> Result<Told, Option<Timestamp>> {
        let tape = self.tape;
        let due = self.desk.next(now)?;
        let trades = u64::from(matches!(due.follow.channel, Kind::Trade | Kind::AggTrade));
        let data = event(&due, &tape);
        let stream = format!("{}@{}", due.follow.symbol.to_lowercase(), due.follow.channel.name());
        let said = match self.is_combined {
            true => json!({"stream": stream, "data": data}),
            false => data,
        };
        Ok(Told { text: text(&said), trades })
    }

    fn idle(&mut self, now: Timestamp, _quiet_since: Timestamp, _is_replay: bool) -> Idle {
        if self.unanswered.is_some_and(|since| now.since(since) >= PONG_WAIT) {
            return Idle::Cut;
        }
        let ends_at = self.connected_at.plus(LIFETIME);
        if ends_at <= now {
            return Idle::Goodbye;
        }
        let ping_at = self.pinged_at.plus(PING_EVERY);
        if ping_at <= now {
            self.pinged_at = now;
            self.unanswered.get_or_insert(now);
            return Idle::Ping(now.millis().to_string().into());
        }
        let cut_at = self.unanswered.map_or(Timestamp::MAX, |since| since.plus(PONG_WAIT));
        Idle::Wait(ping_at.min(ends_at).min(cut_at))
    }

    fn resume(&mut self, now: Timestamp) {
        self.desk.resume(now);
    }

    fn recorded(&self, said: Bytes) -> Bytes {
        let Ok(value) = serde_json::from_slice::<Value>(&said) else { return said };
        let is_wrapped = value.get("stream").is_some();
        if is_wrapped && !self.is_combined {
            // As text, so that the event stays as it was written.
            let data = std::str::from_utf8(&said).ok().and_then(|said| said.find(DATA));
            return data.map_or(said.clone(), |at| said.slice(at + DATA.len()..said.len() - 1));
        }
        match stream_of(&value).filter(|_| self.is_combined && !is_wrapped) {
            Some(stream) => {
                let head = format!("{{\"stream\":{},\"data\":", json!(stream));
                [head.as_bytes(), &said, b"}"].concat().into()
            }
            None => said,
        }
    }

    fn error(&self) -> Bytes {
        Bytes::from_static(br#"{"error":{"code":4,"msg":"Too many subscriptions"},"id":19}"#)
    }

    fn farewell(&self, now: Timestamp) -> Option<Bytes> {
        let data = json!({"e": "serverShutdown", "E": now.millis()});
        Some(text(&match self.is_combined {
            true => json!({"stream": "!serverShutdown", "data": data}),
            false => data,
        }))
    }
}

/// The stream of a raw event.
fn stream_of(event: &Value) -> Option<String> {
    let symbol = event.get("s")?.as_str()?.to_lowercase();
    let name = match event.get("e").and_then(Value::as_str) {
        Some("kline") => format!("kline_{}", event.get("k")?.get("i")?.as_str()?),
        Some("24hrTicker") => "ticker".to_owned(),
        Some("24hrMiniTicker") => "miniTicker".to_owned(),
        Some("depthUpdate") => "depth".to_owned(),
        Some(name) => name.to_owned(),
        None if event.get("u").is_some() => "bookTicker".to_owned(),
        None => return None,
    };
    Some(format!("{symbol}@{name}"))
}

fn event(due: &Due<'_, Kind>, tape: &Tape) -> Value {
    let Due { follow, print, at } = due;
    let (symbol, millis) = (follow.symbol.as_str(), print.at.millis());
    let half_spread = print.price * 1e-4;
    let (bid, ask) = (amount(print.price - half_spread), amount(print.price + half_spread));
    match follow.channel {
        Kind::Trade => json!({
            "e": "trade", "E": millis + 1, "s": symbol, "t": print.id, "p": amount(print.price),
            "q": amount(print.qty), "T": millis, "m": print.is_buyer_maker, "M": true,
        }),
        Kind::AggTrade => json!({
            "e": "aggTrade", "E": millis + 1, "s": symbol, "a": print.id, "p": amount(print.price),
            "q": amount(print.qty), "f": print.id, "l": print.id, "T": millis,
            "m": print.is_buyer_maker, "M": true,
        }),
        Kind::BookTicker => json!({
            "u": print.id * 7, "s": symbol, "b": bid, "B": amount(print.qty), "a": ask,
            "A": amount(print.qty),
        }),
        Kind::Ticker => {
            let close = at.millis();
            let open = close - 86_400_000;
            let bar = follow.coin.bar(tape.seed(), open, close);
            let change = bar.close - bar.open;
            json!({
                "e": "24hrTicker", "E": close, "s": symbol, "p": amount(change),
                "P": format!("{:.3}", 100.0 * change / bar.open),
                "w": amount((bar.high + bar.low) / 2.0), "x": amount(bar.open),
                "c": amount(bar.close), "Q": amount(print.qty), "b": bid, "B": amount(1.0), "a": ask,
                "A": amount(1.0), "o": amount(bar.open), "h": amount(bar.high), "l": amount(bar.low),
                "v": amount(bar.volume), "q": amount(bar.volume * bar.close), "O": open, "C": close,
                "F": print.id - 86_400, "L": print.id, "n": 86_401,
            })
        }
        Kind::Kline1m => {
            // The message at the full minute is the last one of the bar before.
            let now = at.millis();
            let open = (now - 1).div_euclid(MINUTE_MS) * MINUTE_MS;
            let bar = follow.coin.bar(tape.seed(), open, now);
            json!({
                "e": "kline", "E": now, "s": symbol,
                "k": {
                    "t": open, "T": open + MINUTE_MS - 1, "s": symbol, "i": "1m", "f": print.id,
                    "L": print.id, "o": amount(bar.open), "c": amount(bar.close),
                    "h": amount(bar.high), "l": amount(bar.low), "v": amount(bar.volume),
                    "n": bar.trades, "x": now == open + MINUTE_MS,
                    "q": amount(bar.volume * bar.close), "V": amount(bar.volume / 2.0),
                    "Q": amount(bar.volume * bar.close / 2.0), "B": "0",
                },
            })
        }
    }
}
