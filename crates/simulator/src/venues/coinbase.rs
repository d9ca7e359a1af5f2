//! Coinbase: Exchange where a subscribe names `channels`, Advanced Trade where it names a `channel`.
//!
//! - Who has not subscribed after 5 s is cut off.
//! - Exchange: on `matches` the `last_match` of each product, then each `match`; `ticker`; with
//!   `heartbeat` one a second for each product. Acknowledged by all that is subscribed.
//! - Advanced Trade: a snapshot with the newest trade first, before the acknowledgement; every message
//!   has the next `sequence_num`, of all channels together.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use thalweg_core::time::Timestamp;

use super::{Desk, Due, Idle, Reply, Told, Venue, coin_of_pair, rfc3339, text};
use crate::quotes::Coin;
use crate::tape::{Print, Tape};

const SUBSCRIBE_WAIT: Duration = Duration::from_secs(5);
const HEARTBEAT_EVERY: Duration = Duration::from_secs(1);
/// Trades of a snapshot.
const SNAPSHOT_TRADES: i64 = 20;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Matches,
    Ticker,
    MarketTrades,
    AdvancedTicker,
}

/// A connection to Coinbase.
pub(super) struct Coinbase {
    desk: Desk<Kind>,
    tape: Tape,
    connected_at: Timestamp,
    // Products of heartbeats of Exchange, and when the next ones are due.
    heartbeats: Vec<String>,
    has_heartbeats: bool,
    beat_at: Timestamp,
    beats: u64,
    // Messages of Advanced Trade so far.
    sequence: u64,
    has_subscribed: bool,
}

impl Coinbase {
    pub(super) fn new(tape: Tape, now: Timestamp) -> Self {
        Self {
            desk: Desk::new(tape),
            tape,
            connected_at: now,
            heartbeats: Vec::new(),
            has_heartbeats: false,
            beat_at: now,
            beats: 0,
            sequence: 0,
            has_subscribed: false,
        }
    }

    /// A message of Advanced Trade.
    fn advanced(&mut self, channel: &str, at: Timestamp, events: &Value) -> Bytes {
        let message = json!({
            "channel": channel, "client_id": "", "timestamp": rfc3339(at),
            "sequence_num": self.sequence, "events": events,
        });
        self.sequence += 1;
        text(&message)
    }

    fn subscribe_exchange(
        &mut self,
        channels: &[Value],
        products: &[(String, Coin)],
        now: Timestamp,
    ) -> Vec<Reply> {
        let mut said = Vec::new();
        for channel in channels.iter().filter_map(|it| it.as_str().or(it["name"].as_str())) {
            let kind = match channel {
                "matches" => Kind::Matches,
                "ticker" => Kind::Ticker,
                "heartbeat" => {
                    self.heartbeats.extend(products.iter().map(|(product, _)| product.clone()));
                    self.beat_at = now.plus(HEARTBEAT_EVERY);
                    continue;
                }
                other => return vec![failed(&format!("{other} is not a valid channel"))],
            };
            for (product, coin) in products {
                let is_new = self.desk.follow(kind, *coin, product, None, now);
                if is_new && kind == Kind::Matches {
                    let last = self.tape.first_after(coin, now) - 1;
                    let print = self.tape.print(coin, last);
                    said.push(Reply::Say(text(&matched("last_match", product, &print))));
                }
            }
        }
        let listed = |name: &str, kind| {
            let followed = self.desk.follows.iter().filter(|it| it.channel == kind);
            let products: Vec<&str> = followed.map(|it| it.symbol.as_str()).collect();
            (!products.is_empty()).then(|| json!({"name": name, "product_ids": products}))
        };
        let listed = [listed("matches", Kind::Matches), listed("ticker", Kind::Ticker)];
        let channels: Vec<Value> = listed.into_iter().flatten().collect();
        said.insert(0, Reply::Say(text(&json!({"type": "subscriptions", "channels": channels}))));
        said
    }

    fn subscribe_advanced(
        &mut self,
        channel: &str,
        products: &[(String, Coin)],
        now: Timestamp,
    ) -> Vec<Reply> {
        let mut said = Vec::new();
        match channel {
            "market_trades" => {
                for (product, coin) in products {
                    self.desk.follow(Kind::MarketTrades, *coin, product, None, now);
                    let last = self.tape.first_after(coin, now) - 1;
                    let newest_first = (0..SNAPSHOT_TRADES).map(|back| last - back);
                    let trades: Vec<Value> = newest_first
                        .map(|id| market_trade(product, &self.tape.print(coin, id)))
                        .collect();
                    let events = json!([{"type": "snapshot", "trades": trades}]);
                    said.push(Reply::Say(self.advanced("market_trades", now, &events)));
                }
            }
            "ticker" => {
                for (product, coin) in products {
                    self.desk.follow(Kind::AdvancedTicker, *coin, product, None, now);
                    let last = self.tape.print(coin, self.tape.first_after(coin, now) - 1);
                    let tickers = [advanced_ticker(product, &last)];
                    let events = json!([{"type": "snapshot", "tickers": tickers}]);
                    said.push(Reply::Say(self.advanced("ticker", now, &events)));
                }
            }
            "heartbeats" => {
                self.has_heartbeats = true;
                self.beat_at = now.plus(HEARTBEAT_EVERY);
            }
            _ => {
                let message =
                    json!({"type": "error", "message": format!("channel {channel} not valid")});
                return vec![Reply::Error(text(&message))];
            }
        }
        let subscribed: Vec<&str> = products.iter().map(|(product, _)| product.as_str()).collect();
        let events = json!([{"subscriptions": {channel: subscribed}}]);
        said.push(Reply::Say(self.advanced("subscriptions", now, &events)));
        said
    }
}

/// The products a subscribe names, or the first that is none.
fn products(request: &Value) -> Result<Vec<(String, Coin)>, String> {
    let named = request["product_ids"].as_array().into_iter().flatten().filter_map(Value::as_str);
    named
        .map(|it| coin_of_pair(it, '-').map(|coin| (it.to_owned(), coin)).ok_or(it.to_owned()))
        .collect()
}

fn failed(reason: &str) -> Reply {
    let error = json!({"type": "error", "message": "Failed to subscribe", "reason": reason});
    Reply::Error(text(&error))
}

impl Venue for Coinbase {
    fn hear(&mut self, said: &str, now: Timestamp) -> Vec<Reply> {
        let Ok(request) = serde_json::from_str::<Value>(said) else {
            return vec![failed("Malformed JSON")];
        };
        let products = match products(&request) {
            Ok(products) => products,
            Err(product) => return vec![failed(&format!("{product} is not a valid product"))],
        };
        match (request["type"].as_str(), &request["channels"], request["channel"].as_str()) {
            (Some("subscribe"), Value::Array(channels), _) => {
                self.has_subscribed = true;
                self.subscribe_exchange(channels, &products, now)
            }
            (Some("subscribe"), _, Some(channel)) => {
                self.has_subscribed = true;
                self.subscribe_advanced(channel, &products, now)
            }
            (Some("unsubscribe"), ..) => {
                let kinds = [Kind::Matches, Kind::Ticker, Kind::MarketTrades, Kind::AdvancedTicker];
                for (product, _) in &products {
                    kinds.into_iter().for_each(|kind| self.desk.unfollow(kind, product));
                }
                Vec::new()
            }
            _ => vec![failed("Type has to be either subscribe or unsubscribe")],
        }
    }

    fn is_subscribed(&self) -> bool {
        self.has_subscribed && !self.desk.is_empty()
    }

    fn next(&mut self, now: Timestamp) -> Result<Told, Option<Timestamp>> {
        let Due { follow, print, .. } = self.desk.next(now)?;
        let (kind, product) = (follow.channel, follow.symbol.clone());
        let said = match kind {
            Kind::Matches => text(&matched("match", &product, &print)),
            Kind::Ticker => text(&ticker(&product, &print)),
            Kind::MarketTrades => {
                let trades = [market_trade(&product, &print)];
                let events = json!([{"type": "update", "trades": trades}]);
                self.advanced("market_trades", print.at, &events)
            }
            Kind::AdvancedTicker => {
                let tickers = [advanced_ticker(&product, &print)];
                let events = json!([{"type": "update", "tickers": tickers}]);
                self.advanced("ticker", print.at, &events)
            }
        };
        Ok(Told {
            text: said,
            trades: u64::from(matches!(kind, Kind::Matches | Kind::MarketTrades)),
        })
    }

    fn idle(&mut self, now: Timestamp, _quiet_since: Timestamp, is_replay: bool) -> Idle {
        if !self.has_subscribed && !is_replay {
            let cut_at = self.connected_at.plus(SUBSCRIBE_WAIT);
            return if cut_at <= now { Idle::Cut } else { Idle::Wait(cut_at) };
        }
        // The numbers of recorded messages leave no room for ours.
        let beats = !self.heartbeats.is_empty() || (self.has_heartbeats && !is_replay);
        if !beats || self.beat_at > now {
            let next = if beats { self.beat_at } else { now.plus(HEARTBEAT_EVERY) };
            return Idle::Wait(next);
        }
        self.beats += 1;
        if self.has_heartbeats {
            self.beat_at = now.plus(HEARTBEAT_EVERY);
            let time = rfc3339(now).replace('T', " ").replace('Z', " +0000 UTC m=+1.5");
            let events = json!([{"current_time": time, "heartbeat_counter": self.beats}]);
            return Idle::Say(self.advanced("heartbeats", now, &events));
        }
        let index = usize::try_from(self.beats).unwrap_or(0) % self.heartbeats.len();
        // One after the other, so that each product has its own each second.
        self.beat_at =
            now.plus(HEARTBEAT_EVERY / u32::try_from(self.heartbeats.len()).unwrap_or(1));
        Idle::Say(text(&json!({
            "type": "heartbeat", "sequence": self.beats, "last_trade_id": 0,
            "product_id": self.heartbeats[index], "time": rfc3339(now),
        })))
    }

    fn resume(&mut self, now: Timestamp) {
        self.desk.resume(now);
    }

    fn error(&self) -> Bytes {
        Bytes::from_static(
            br#"{"type":"error","message":"Failed to subscribe","reason":"Too many requests"}"#,
        )
    }
}

/// The side of the maker.
fn side(print: &Print) -> &'static str {
    if print.is_buyer_maker { "buy" } else { "sell" }
}

fn price(value: f64) -> String {
    format!("{value:.8}")
}

fn matched(kind: &str, product: &str, print: &Print) -> Value {
    let order = |which: u32| format!("00000000-0000-4000-8000-{which}{:011x}", print.id);
    json!({
        "type": kind, "trade_id": print.id, "maker_order_id": order(1), "taker_order_id": order(2),
        "side": side(print), "size": price(print.qty), "price": price(print.price),
        "product_id": product, "sequence": print.id * 9 + 4, "time": rfc3339(print.at),
    })
}

fn ticker(product: &str, print: &Print) -> Value {
    let half_spread = print.price * 1e-4;
    json!({
        "type": "ticker", "sequence": print.id * 9 + 5, "product_id": product,
        "price": price(print.price), "open_24h": price(print.price * 0.99),
        "volume_24h": price(1_234.5), "low_24h": price(print.price * 0.98),
        "high_24h": price(print.price * 1.02), "volume_30d": price(41_234.5),
        "best_bid": price(print.price - half_spread), "best_ask": price(print.price + half_spread),
        "side": if print.is_buyer_maker { "sell" } else { "buy" }, "time": rfc3339(print.at),
        "trade_id": print.id, "last_size": price(print.qty),
    })
}

fn market_trade(product: &str, print: &Print) -> Value {
    json!({
        "product_id": product, "trade_id": print.id.to_string(), "price": price(print.price),
        "size": price(print.qty), "time": rfc3339(print.at), "side": side(print).to_uppercase(),
    })
}

fn advanced_ticker(product: &str, print: &Print) -> Value {
    let half_spread = print.price * 1e-4;
    json!({
        "type": "ticker", "product_id": product, "price": price(print.price),
        "volume_24_h": price(1_234.5), "low_24_h": price(print.price * 0.98),
        "high_24_h": price(print.price * 1.02), "low_52_w": price(print.price * 0.5),
        "high_52_w": price(print.price * 2.0), "price_percent_chg_24_h": "0.09601107287722",
        "best_bid": price(print.price - half_spread), "best_ask": price(print.price + half_spread),
        "best_bid_quantity": price(0.5), "best_ask_quantity": price(0.25),
    })
}
