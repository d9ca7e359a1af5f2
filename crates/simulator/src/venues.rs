//! Exchanges with protocols of their own: what they say beside their feed, and what they answer.
//!
//! | path | speaks as |
//! |---|---|
//! | `/binance/stream`, `/binance/ws`, with streams in the address or by message | Binance's combined and raw streams |
//! | `/coinbase` | Coinbase Exchange and Advanced Trade, as the subscribe asks |
//! | `/kraken`, `/kraken/v2` | Kraken's versions 1 and 2 |
//!
//! Trades are those of the `tape`, the same for every connection; there is no token. A venue is told
//! what happens and says what to send; a `session` does it.

mod binance;
mod coinbase;
mod kraken;

use std::time::Duration;

use bytes::Bytes;
use thalweg_core::time::Timestamp;

use self::binance::Binance;
use self::coinbase::Coinbase;
use self::kraken::{KrakenV1, KrakenV2};
use crate::quotes::{COINS, Coin};
use crate::tape::{Print, Tape};

/// How far a client may be behind before it misses trades.
const LAG_MAX: Duration = Duration::from_secs(10);

/// One connection to an exchange: pure.
pub(crate) trait Venue: Send {
    /// What it says right after the upgrade.
    fn greet(&mut self) -> Vec<Bytes> {
        Vec::new()
    }

    /// What it makes of a text message of the client.
    fn hear(&mut self, text: &str, now: Timestamp) -> Vec<Reply>;

    /// What it makes of a pong.
    fn pong(&mut self, _payload: &[u8], _now: Timestamp) -> Option<Reply> {
        None
    }

    /// Whether the client has subscribed to anything.
    fn is_subscribed(&self) -> bool;

    /// The next message of the feed that is due, or when there will be one.
    fn next(&mut self, now: Timestamp) -> Result<Told, Option<Timestamp>>;

    /// What is to be done at `now`, beside the feed, when nothing was sent since `quiet_since`.
    fn idle(&mut self, now: Timestamp, quiet_since: Timestamp, is_replay: bool) -> Idle;

    /// Goes on at `now`; what would have been said before is not.
    fn resume(&mut self, now: Timestamp);

    /// A recorded message as this connection gets it.
    fn recorded(&self, text: Bytes) -> Bytes {
        text
    }

    /// An error message of the venue.
    fn error(&self) -> Bytes;

    /// By what it says that it is about to shut down; none: it says nothing.
    fn farewell(&self, _now: Timestamp) -> Option<Bytes> {
        None
    }
}

/// An answer to the client.
#[derive(Debug, PartialEq)]
pub(crate) enum Reply {
    /// A message.
    Say(Bytes),
    /// A message that tells of an error.
    Error(Bytes),
    /// It was not understood, and nothing is said.
    Ignored,
    /// A close frame of this code and reason.
    Close(u16, &'static str),
}

/// What is to be done beside the feed.
#[derive(Debug, PartialEq)]
pub(crate) enum Idle {
    /// A message that keeps the connection alive.
    Say(Bytes),
    /// A ping frame.
    Ping(Bytes),
    /// The client has not done what it must: it is cut off.
    Cut,
    /// The connection has lived long enough.
    Goodbye,
    /// Nothing until then.
    Wait(Timestamp),
}

/// A message of the feed, and how many trades are in it.
#[derive(Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) text: Bytes,
    pub(crate) trades: u64,
}

/// The venue that speaks at `path`; `streams` is what the address asks for.
pub(crate) fn at(
    path: &str,
    streams: Option<&str>,
    tape: Tape,
    now: Timestamp,
) -> Option<Box<dyn Venue>> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        ["binance", "stream"] => {
            let streams = streams.into_iter().flat_map(|streams| streams.split('/'));
            Some(Box::new(Binance::new(true, streams, tape, now)))
        }
        ["binance", "ws", streams @ ..] => {
            Some(Box::new(Binance::new(false, streams.iter().copied(), tape, now)))
        }
        ["coinbase"] => Some(Box::new(Coinbase::new(tape, now))),
        ["kraken"] => Some(Box::new(KrakenV1::new(tape))),
        ["kraken", "v2"] => Some(Box::new(KrakenV2::new(tape))),
        _ => None,
    }
}

/// What a client has subscribed to, and up to where each of it was told.
struct Desk<C> {
    tape: Tape,
    follows: Vec<Follow<C>>,
}

/// A channel of a symbol.
struct Follow<C> {
    channel: C,
    coin: Coin,
    /// As the client writes it.
    symbol: String,
    pace: Pace,
}

/// When there is something to tell.
#[derive(Clone, Copy)]
enum Pace {
    /// At each trade; the number of the next one.
    Trades(i64),
    /// At steady times: the next one, and the time between two.
    Every(Timestamp, Duration),
}

/// What is due.
struct Due<'a, C> {
    follow: &'a Follow<C>,
    print: Print,
    at: Timestamp,
}

impl<C: Copy + PartialEq> Desk<C> {
    fn new(tape: Tape) -> Self {
        Self { tape, follows: Vec::new() }
    }

    /// Follows a channel, at each trade or every so often; `false`: it was followed before.
    fn follow(
        &mut self,
        channel: C,
        coin: Coin,
        symbol: &str,
        every: Option<Duration>,
        now: Timestamp,
    ) -> bool {
        if self.follows(channel, symbol) {
            return false;
        }
        let pace = match every {
            None => Pace::Trades(self.tape.first_after(&coin, now)),
            Some(every) => Pace::Every(after(now, every), every),
        };
        self.follows.push(Follow { channel, coin, symbol: symbol.to_owned(), pace });
        true
    }

    fn follows(&self, channel: C, symbol: &str) -> bool {
        self.follows.iter().any(|it| it.channel == channel && it.symbol == symbol)
    }

    fn unfollow(&mut self, channel: C, symbol: &str) {
        self.follows.retain(|it| it.channel != channel || it.symbol != symbol);
    }

    fn is_empty(&self) -> bool {
        self.follows.is_empty()
    }

    /// The earliest that is due, which is told by that; or when something will be.
    fn next(&mut self, now: Timestamp) -> Result<Due<'_, C>, Option<Timestamp>> {
        let tape = self.tape;
        let at = |it: &Follow<C>| match it.pace {
            Pace::Trades(id) => tape.print(&it.coin, id).at,
            Pace::Every(at, _) => at,
        };
        let earliest = self.follows.iter().enumerate().map(|(index, it)| (at(it), index)).min();
        let Some((due, index)) = earliest else { return Err(None) };
        if due > now {
            return Err(Some(due));
        }
        if due < now.minus(LAG_MAX) {
            self.resume(now);
            return Err(Some(now));
        }
        let follow = &mut self.follows[index];
        let print = match &mut follow.pace {
            Pace::Trades(id) => {
                *id += 1;
                tape.print(&follow.coin, *id - 1)
            }
            Pace::Every(at, every) => {
                *at = at.plus(*every);
                tape.print(&follow.coin, tape.first_after(&follow.coin, due) - 1)
            }
        };
        Ok(Due { follow, print, at: due })
    }

    fn resume(&mut self, now: Timestamp) {
        for follow in &mut self.follows {
            follow.pace = match follow.pace {
                Pace::Trades(_) => Pace::Trades(self.tape.first_after(&follow.coin, now)),
                Pace::Every(_, every) => Pace::Every(after(now, every), every),
            };
        }
    }
}

/// The first multiple of `every` after `now`.
fn after(now: Timestamp, every: Duration) -> Timestamp {
    let every = thalweg_core::time::micros(every);
    Timestamp((now.0.div_euclid(every) + 1) * every)
}

/// The coin of a pair against the dollar, such as `BTC-USD` with `-`.
fn coin_of_pair(pair: &str, by: char) -> Option<Coin> {
    let (base, quote) = pair.split_once(by)?;
    let base = if base == "XBT" { "BTC" } else { base };
    let is_it = |coin: &Coin| coin.symbol.strip_suffix("USDT") == Some(base);
    COINS.into_iter().find(|coin| matches!(quote, "USD" | "USDT") && is_it(coin))
}

/// RFC 3339 in UTC with microseconds.
fn rfc3339(at: Timestamp) -> String {
    let at = chrono::DateTime::from_timestamp_micros(at.0).unwrap_or_default();
    at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

fn text(value: &serde_json::Value) -> Bytes {
    value.to_string().into()
}

#[cfg(test)]
mod tests;
