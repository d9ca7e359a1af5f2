//! What each venue says: its greetings, answers, heartbeats and messages.

use serde_json::Value;

use super::*;

const START: Timestamp = Timestamp(1_700_000_000_000_000);

fn venue(path: &str, streams: Option<&str>) -> Box<dyn Venue> {
    at(path, streams, Tape::new(7, 20.0), START).expect("a venue")
}

fn seconds(seconds: u64) -> Timestamp {
    START.plus(Duration::from_secs(seconds))
}

/// The messages of a feed up to `until`.
fn told(venue: &mut dyn Venue, until: Timestamp) -> Vec<Value> {
    let mut told = Vec::new();
    let mut now = START;
    while now <= until {
        match venue.next(now) {
            Ok(Told { text, .. }) => told.push(serde_json::from_slice(&text).expect("JSON")),
            Err(Some(next)) => now = next,
            Err(None) => break,
        }
    }
    told
}

fn said(replies: &[Reply]) -> Vec<Value> {
    let say = |reply: &Reply| match reply {
        Reply::Say(text) | Reply::Error(text) => serde_json::from_slice(text).expect("JSON"),
        other => panic!("{other:?} says nothing"),
    };
    replies.iter().map(say).collect()
}

#[test]
fn paths_that_nobody_speaks_at_are_none() {
    for path in ["/", "/binance", "/kraken/v3", "/coinbase/pro", "/finnhub"] {
        assert!(at(path, None, Tape::new(7, 20.0), START).is_none(), "{path}");
    }
}

#[test]
fn binance_wraps_on_one_path_and_not_on_the_other() {
    let mut combined = venue("/binance/stream", Some("btcusdt@trade/nope@trade"));
    let mut raw = venue("/binance/ws/btcusdt@trade", None);
    let (combined, raw) = (told(&mut *combined, seconds(20)), told(&mut *raw, seconds(20)));
    assert!(combined.len() > 10);
    let unwrapped: Vec<Value> = combined.iter().map(|it| it["data"].clone()).collect();
    assert_eq!(unwrapped, raw);
    assert!(combined.iter().all(|it| it["stream"] == "btcusdt@trade"));
    let ids: Vec<i64> = raw.iter().filter_map(|it| it["t"].as_i64()).collect();
    assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1), "{ids:?}");
    assert_eq!((&raw[0]["s"], raw[0]["p"].is_string()), (&Value::from("BTCUSDT"), true));
}

#[test]
fn binance_answers_requests_and_closes_on_too_many() {
    let mut binance = venue("/binance/ws", None);
    let subscribe = r#"{"method":"SUBSCRIBE","params":["ethusdt@kline_1m"],"id":7}"#;
    let answers = said(&binance.hear(subscribe, START));
    assert_eq!(answers, [serde_json::json!({"result": null, "id": 7})]);
    let list = said(&binance.hear(r#"{"method":"LIST_SUBSCRIPTIONS","id":"a"}"#, START));
    assert_eq!(list[0]["result"], serde_json::json!(["ethusdt@kline_1m"]));
    assert_eq!(said(&binance.hear("{", START))[0]["code"], 3);
    assert_eq!(said(&binance.hear(r#"{"id":1}"#, START))[0]["code"], 2);
    assert_eq!(binance.hear(r#"{"method":"X"}"#, START).len(), 1);
    assert_eq!(binance.hear("{}", START), [Reply::Close(1008, "Too many requests")]);
    let bars = told(&mut *binance, seconds(120));
    let closed = bars.iter().filter(|bar| bar["k"]["x"] == true).count();
    assert_eq!((bars.len(), closed), (60, 2), "{bars:?}");
}

#[test]
fn binance_pings_and_cuts_who_does_not_answer() {
    let mut binance = venue("/binance/stream", Some("btcusdt@trade"));
    assert_eq!(binance.idle(START, START, false), Idle::Wait(seconds(20)));
    let Idle::Ping(payload) = binance.idle(seconds(20), START, false) else { panic!("a ping") };
    assert_eq!(binance.pong(b"unasked", seconds(21)), None);
    assert_eq!(binance.pong(&payload, seconds(21)), None);
    assert!(matches!(binance.idle(seconds(40), START, false), Idle::Ping(_)));
    assert!(matches!(binance.idle(seconds(60), START, false), Idle::Ping(_)));
    assert_eq!(binance.idle(seconds(100), START, false), Idle::Cut);
    let mut binance = venue("/binance/stream", None);
    assert_eq!(binance.idle(seconds(86_400), START, false), Idle::Goodbye);
}

#[test]
fn coinbase_waits_five_seconds_for_a_subscribe() {
    let mut coinbase = venue("/coinbase", None);
    assert_eq!(coinbase.idle(START, START, false), Idle::Wait(seconds(5)));
    assert_eq!(coinbase.idle(seconds(5), START, false), Idle::Cut);
}

#[test]
fn coinbase_exchange_begins_with_the_last_match() {
    let mut coinbase = venue("/coinbase", None);
    let subscribe = r#"{"type":"subscribe","product_ids":["BTC-USD","ETH-USD"],"channels":["matches","heartbeat"]}"#;
    let answers = said(&coinbase.hear(subscribe, START));
    let kinds: Vec<&str> = answers.iter().filter_map(|it| it["type"].as_str()).collect();
    assert_eq!(kinds, ["subscriptions", "last_match", "last_match"]);
    let matches = told(&mut *coinbase, seconds(10));
    let first = matches.iter().find(|it| it["product_id"] == "BTC-USD").expect("a match");
    assert_eq!(first["trade_id"].as_i64(), answers[1]["trade_id"].as_i64().map(|id| id + 1));
    assert!(matches!(coinbase.idle(seconds(1), START, false), Idle::Say(_)));
    let wrong = r#"{"type":"subscribe","product_ids":["NO-WAY"],"channels":["matches"]}"#;
    assert_eq!(said(&coinbase.hear(wrong, START))[0]["type"], "error");
}

#[test]
fn advanced_trade_numbers_all_it_says_and_acknowledges_late() {
    let mut coinbase = venue("/coinbase", None);
    let subscribe = r#"{"type":"subscribe","product_ids":["BTC-USD"],"channel":"market_trades"}"#;
    let mut all = said(&coinbase.hear(subscribe, START));
    assert_eq!(
        (&all[0]["channel"], &all[1]["channel"]),
        (&"market_trades".into(), &"subscriptions".into())
    );
    let trades = all[0]["events"][0]["trades"].as_array().expect("a snapshot");
    let ids: Vec<i64> = trades
        .iter()
        .map(|it| it["trade_id"].as_str().expect("text").parse().expect("digits"))
        .collect();
    assert!(ids.windows(2).all(|pair| pair[1] == pair[0] - 1), "the newest first: {ids:?}");
    all.extend(said(&coinbase.hear(&subscribe.replace("market_trades", "heartbeats"), START)));
    let Idle::Say(beat) = coinbase.idle(seconds(1), START, false) else { panic!("a heartbeat") };
    all.push(serde_json::from_slice(&beat).expect("JSON"));
    all.extend(told(&mut *coinbase, seconds(5)));
    let numbers: Vec<i64> = all.iter().filter_map(|it| it["sequence_num"].as_i64()).collect();
    assert_eq!(numbers, (0..).take(all.len()).collect::<Vec<_>>());
}

#[test]
fn kraken_has_a_status_and_a_heartbeat_in_both_versions() {
    for (path, subscribe, status) in [
        (
            "/kraken/v2",
            r#"{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD","NO/WAY"]},"req_id":1}"#,
            "channel",
        ),
        (
            "/kraken",
            r#"{"event":"subscribe","pair":["XBT/USD","NO/WAY"],"subscription":{"name":"trade"}}"#,
            "event",
        ),
    ] {
        let mut kraken = venue(path, None);
        assert_eq!(kraken.greet().len(), 1);
        let replies = kraken.hear(subscribe, START);
        assert!(
            matches!(replies[..], [Reply::Say(_), Reply::Say(_), Reply::Error(_)]),
            "{replies:?}"
        );
        let Idle::Say(beat) = kraken.idle(seconds(1), START, false) else { panic!("a heartbeat") };
        let beat: Value = serde_json::from_slice(&beat).expect("JSON");
        assert_eq!(beat[status], "heartbeat");
        assert!(told(&mut *kraken, seconds(10)).len() > 5);
    }
}

#[test]
fn who_is_far_behind_misses_trades() {
    let mut kraken = venue("/kraken", None);
    kraken
        .hear(r#"{"event":"subscribe","pair":["XBT/USD"],"subscription":{"name":"trade"}}"#, START);
    assert!(matches!(kraken.next(seconds(60)), Err(Some(_))));
    kraken.resume(seconds(60));
    assert!(kraken.next(seconds(62)).is_ok());
}

#[test]
fn a_recorded_event_comes_as_the_connection_wants_it() {
    let combined = venue("/binance/stream", None);
    let raw = venue("/binance/ws", None);
    let event = r#"{"e":"kline","s":"BTCUSDT","k":{"i":"1m","o":"1.10"}}"#;
    let wrapped = format!(r#"{{"stream":"btcusdt@kline_1m","data":{event}}}"#);
    assert_eq!(combined.recorded(event.into()), wrapped);
    assert_eq!(combined.recorded(wrapped.clone().into()), wrapped);
    assert_eq!(raw.recorded(event.into()), event);
    assert_eq!(raw.recorded(wrapped.into()), event);
    let snapshot = r#"{"lastUpdateId":1,"bids":[],"asks":[]}"#;
    assert_eq!(combined.recorded(snapshot.into()), snapshot);
}
