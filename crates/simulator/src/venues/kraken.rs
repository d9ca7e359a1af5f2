//! Kraken, versions 1 and 2.
//!
//! - On connect version 1 says `systemStatus`, version 2 `status`.
//! - A subscribe is answered for each pair, by its status or an error; then come the last trades.
//! - A heartbeat each second when nothing else is said.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use thalweg_core::time::Timestamp;

use super::{Desk, Due, Idle, Reply, Told, Venue, coin_of_pair, rfc3339, text};
use crate::tape::{Print, Tape};

const HEARTBEAT_AFTER: Duration = Duration::from_secs(1);
/// Trades of a snapshot.
const SNAPSHOT_TRADES: i64 = 50;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Trade,
    Ticker,
}

impl Kind {
    fn of(name: &str) -> Option<Self> {
        match name {
            "trade" => Some(Self::Trade),
            "ticker" => Some(Self::Ticker),
            _ => None,
        }
    }
}

/// The trades that came last before `now`, oldest first.
fn newest(tape: &Tape, follow: &str, now: Timestamp, count: i64) -> Vec<Print> {
    let Some(coin) = coin_of_pair(follow, '/') else { return Vec::new() };
    let next = tape.first_after(&coin, now);
    (next - count..next).map(|id| tape.print(&coin, id)).collect()
}

fn beat(now: Timestamp, quiet_since: Timestamp, heartbeat: &'static [u8]) -> Idle {
    let due = quiet_since.plus(HEARTBEAT_AFTER);
    if due <= now { Idle::Say(Bytes::from_static(heartbeat)) } else { Idle::Wait(due) }
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// A connection over version 2.
pub(super) struct KrakenV2 {
    desk: Desk<Kind>,
    tape: Tape,
}

impl KrakenV2 {
    pub(super) fn new(tape: Tape) -> Self {
        Self { desk: Desk::new(tape), tape }
    }

    fn subscribe(&mut self, request: &Value, now: Timestamp) -> Vec<Reply> {
        let (params, req_id) = (&request["params"], &request["req_id"]);
        let (name, times) = (params["channel"].as_str().unwrap_or_default(), rfc3339(now));
        let refused = |symbol: &str, error: String| {
            Reply::Error(text(&json!({
                "error": error, "method": "subscribe", "req_id": req_id, "success": false,
                "symbol": symbol, "time_in": times, "time_out": times,
            })))
        };
        let Some(kind) = Kind::of(name) else {
            return vec![refused("", "Subscription name invalid".to_owned())];
        };
        let has_snapshot = params["snapshot"].as_bool().unwrap_or(true);
        let mut said = Vec::new();
        for symbol in texts(&params["symbol"]) {
            let Some(coin) = coin_of_pair(symbol, '/').filter(|_| !symbol.starts_with("XBT/"))
            else {
                said.push(refused(symbol, format!("Currency pair not supported {symbol}")));
                continue;
            };
            self.desk.follow(kind, coin, symbol, None, now);
            said.push(Reply::Say(text(&json!({
                "method": "subscribe", "req_id": req_id, "success": true,
                "result": {"channel": name, "symbol": symbol, "snapshot": has_snapshot},
                "time_in": times, "time_out": times,
            }))));
            if has_snapshot {
                let count = if kind == Kind::Trade { SNAPSHOT_TRADES } else { 1 };
                let prints = newest(&self.tape, symbol, now, count);
                said.push(Reply::Say(v2(kind, "snapshot", symbol, &prints)));
            }
        }
        said
    }
}

impl Venue for KrakenV2 {
    fn greet(&mut self) -> Vec<Bytes> {
        vec![text(&json!({
            "channel": "status", "type": "update",
            "data": [{"version": "2.0.10", "system": "online", "api_version": "v2",
                "connection_id": 13_834_774_380_200_032_777_u64}],
        }))]
    }

    fn hear(&mut self, said: &str, now: Timestamp) -> Vec<Reply> {
        let Ok(request) = serde_json::from_str::<Value>(said) else {
            return vec![Reply::Error(Bytes::from_static(br#"{"error":"Malformed request"}"#))];
        };
        match request["method"].as_str() {
            Some("subscribe") => self.subscribe(&request, now),
            Some("unsubscribe") => {
                let name = request["params"]["channel"].as_str().unwrap_or_default();
                for symbol in texts(&request["params"]["symbol"]) {
                    Kind::of(name).into_iter().for_each(|kind| self.desk.unfollow(kind, symbol));
                }
                Vec::new()
            }
            Some("ping") => {
                let times = rfc3339(now);
                vec![Reply::Say(text(&json!({
                    "method": "pong", "req_id": request["req_id"], "time_in": times,
                    "time_out": times,
                })))]
            }
            _ => vec![Reply::Ignored],
        }
    }

    fn is_subscribed(&self) -> bool {
        !self.desk.is_empty()
    }

    fn next(&mut self, now: Timestamp) -> Result<Told, Option<Timestamp>> {
        let Due { follow, print, .. } = self.desk.next(now)?;
        let trades = u64::from(follow.channel == Kind::Trade);
        Ok(Told { text: v2(follow.channel, "update", &follow.symbol, &[print]), trades })
    }

    fn idle(&mut self, now: Timestamp, quiet_since: Timestamp, _is_replay: bool) -> Idle {
        beat(now, quiet_since, br#"{"channel":"heartbeat"}"#)
    }

    fn resume(&mut self, now: Timestamp) {
        self.desk.resume(now);
    }

    fn error(&self) -> Bytes {
        Bytes::from_static(br#"{"Error":"Exceeded msg rate"}"#)
    }
}

/// Numbers keep their trailing zeros, so that the text is made by hand.
fn v2(kind: Kind, how: &str, symbol: &str, prints: &[Print]) -> Bytes {
    let one = |print: &Print| {
        let (symbol, time) = (json!(symbol), json!(rfc3339(print.at)));
        let (price, qty) = (print.price, print.qty);
        let side = if print.is_buyer_maker { "sell" } else { "buy" };
        match kind {
            Kind::Trade => format!(
                "{{\"symbol\":{symbol},\"side\":\"{side}\",\"price\":{price:.8},\"qty\":{qty:.8},\
                 \"ord_type\":\"market\",\"trade_id\":{},\"timestamp\":{time}}}",
                print.id
            ),
            Kind::Ticker => format!(
                "{{\"symbol\":{symbol},\"bid\":{:.8},\"bid_qty\":2.50000000,\"ask\":{:.8},\
                 \"ask_qty\":3.20000000,\"last\":{price:.8},\"volume\":163.28908096,\
                 \"vwap\":{price:.8},\"low\":{:.8},\"high\":{:.8},\"change\":{:.8},\
                 \"change_pct\":0.24,\"timestamp\":{time}}}",
                price * 0.9999,
                price * 1.0001,
                price * 0.98,
                price * 1.02,
                price * 0.01,
            ),
        }
    };
    let name = if kind == Kind::Trade { "trade" } else { "ticker" };
    let data: Vec<String> = prints.iter().map(one).collect();
    format!("{{\"channel\":\"{name}\",\"type\":\"{how}\",\"data\":[{}]}}", data.join(",")).into()
}

/// A connection over version 1.
pub(super) struct KrakenV1 {
    desk: Desk<Kind>,
    tape: Tape,
}

impl KrakenV1 {
    pub(super) fn new(tape: Tape) -> Self {
        Self { desk: Desk::new(tape), tape }
    }

    fn subscribe(&mut self, request: &Value, now: Timestamp) -> Vec<Reply> {
        let name = request["subscription"]["name"].as_str().unwrap_or_default();
        let refused = |pair: &str, error: String| {
            Reply::Error(text(&json!({
                "errorMessage": error, "event": "subscriptionStatus", "pair": pair,
                "status": "error", "subscription": {"name": name},
            })))
        };
        let Some(kind) = Kind::of(name) else {
            return vec![refused("", "Subscription name invalid".to_owned())];
        };
        let mut said = Vec::new();
        for pair in texts(&request["pair"]) {
            let Some(coin) = coin_of_pair(pair, '/').filter(|_| !pair.starts_with("BTC/")) else {
                said.push(refused(pair, format!("Currency pair not supported {pair}")));
                continue;
            };
            self.desk.follow(kind, coin, pair, None, now);
            said.push(Reply::Say(text(&json!({
                "channelID": channel_id(pair, kind), "channelName": name,
                "event": "subscriptionStatus", "pair": pair, "status": "subscribed",
                "subscription": {"name": name},
            }))));
            let count = if kind == Kind::Trade { SNAPSHOT_TRADES } else { 1 };
            said.push(Reply::Say(v1(kind, pair, &newest(&self.tape, pair, now, count))));
        }
        said
    }
}

impl Venue for KrakenV1 {
    fn greet(&mut self) -> Vec<Bytes> {
        vec![text(&json!({
            "connectionID": 18_239_578_009_413_566_319_u64, "event": "systemStatus",
            "status": "online", "version": "1.8.3",
        }))]
    }

    fn hear(&mut self, said: &str, now: Timestamp) -> Vec<Reply> {
        let Ok(request) = serde_json::from_str::<Value>(said) else {
            let error = br#"{"errorMessage":"Malformed request","event":"error"}"#;
            return vec![Reply::Error(Bytes::from_static(error))];
        };
        match request["event"].as_str() {
            Some("subscribe") => self.subscribe(&request, now),
            Some("unsubscribe") => {
                let name = request["subscription"]["name"].as_str().unwrap_or_default();
                for pair in texts(&request["pair"]) {
                    Kind::of(name).into_iter().for_each(|kind| self.desk.unfollow(kind, pair));
                }
                Vec::new()
            }
            Some("ping") => {
                let pong = json!({"event": "pong", "reqid": request["reqid"]});
                vec![Reply::Say(text(&pong))]
            }
            _ => vec![Reply::Ignored],
        }
    }

    fn is_subscribed(&self) -> bool {
        !self.desk.is_empty()
    }

    fn next(&mut self, now: Timestamp) -> Result<Told, Option<Timestamp>> {
        let Due { follow, print, .. } = self.desk.next(now)?;
        let trades = u64::from(follow.channel == Kind::Trade);
        Ok(Told { text: v1(follow.channel, &follow.symbol, &[print]), trades })
    }

    fn idle(&mut self, now: Timestamp, quiet_since: Timestamp, _is_replay: bool) -> Idle {
        beat(now, quiet_since, br#"{"event":"heartbeat"}"#)
    }

    fn resume(&mut self, now: Timestamp) {
        self.desk.resume(now);
    }

    fn error(&self) -> Bytes {
        Bytes::from_static(
            br#"{"errorMessage":"Exceeded msg rate","event":"subscriptionStatus","status":"error"}"#,
        )
    }
}

fn channel_id(pair: &str, kind: Kind) -> u32 {
    let sum: u32 = pair.bytes().map(u32::from).sum();
    sum * 2 + u32::from(kind == Kind::Ticker)
}

fn v1(kind: Kind, pair: &str, prints: &[Print]) -> Bytes {
    let amount = |value: f64| format!("{value:.8}");
    let body = match kind {
        Kind::Trade => prints
            .iter()
            .map(|print| {
                let seconds = format!("{}.{:06}", print.at.0 / 1_000_000, print.at.0 % 1_000_000);
                let side = if print.is_buyer_maker { "s" } else { "b" };
                json!([amount(print.price), amount(print.qty), seconds, side, "m", ""])
            })
            .collect(),
        Kind::Ticker => {
            let price = prints.last().map_or(0.0, |print| print.price);
            let qty = prints.last().map_or(0.0, |print| print.qty);
            let day = |value: f64| json!([amount(value), amount(value)]);
            json!({
                "a": [amount(price * 1.0001), 35, "35.72892241"],
                "b": [amount(price * 0.9999), 1, "1.40000000"],
                "c": [amount(price), amount(qty)], "v": day(163.289), "p": day(price),
                "t": [1_000, 2_000], "l": day(price * 0.98), "h": day(price * 1.02),
                "o": day(price * 0.99),
            })
        }
    };
    let name = if kind == Kind::Trade { "trade" } else { "ticker" };
    text(&json!([channel_id(pair, kind), body, name, pair]))
}
