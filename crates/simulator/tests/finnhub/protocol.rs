//! Tokens, requests, pings, and the shape of messages.

use std::time::Duration;

use thalweg_simulator::{Feed, SecondConnection, Simulator, SimulatorConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{INVALID_SYMBOL, PING, START, Venue, config, env, recorded, replaying};

const TOO_MANY_SYMBOLS: &str = r#"{"msg":"Subscribing to too many symbols","type":"error"}"#;

#[tokio::test]
async fn a_token_is_wanted() {
    let venue = Venue::start(config()).await;
    for query in ["", "?token=", "?token=wrong", "?key=demo", "?token=demo%20"] {
        assert_eq!(venue.try_connect(query).await.err(), Some(401), "{query:?}");
    }
    assert!(venue.try_connect("?seed=7&token=d%65mo").await.is_ok());
    assert_eq!(venue.statistics().connections_refused, 5);
    assert_eq!(venue.statistics().connections, 1);
}

#[tokio::test]
async fn what_asks_for_no_websocket_is_told() {
    let venue = Venue::start(config()).await;
    for (request, status) in [
        ("GET /finnhub?token=demo HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 400 "),
        ("GET /elsewhere?token=demo HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 404 "),
        ("GET /finnhub HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 401 "),
        ("hello\r\n\r\n", ""),
    ] {
        let mut stream = TcpStream::connect(venue.running.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with(status), "{request:?}: {answer:?}");
    }
    assert_eq!(venue.statistics().connections, 0);
}

#[tokio::test]
async fn symbols_that_are_unknown_or_too_many_are_errors_and_the_connection_stays() {
    let venue = Venue::start(SimulatorConfig { symbols_max: 2, ..config() }).await;
    let mut client = venue.connect().await;
    client.ask("subscribe", "AAPL").await;
    client.ask("subscribe", "NOSUCH").await;
    assert_eq!(client.text().await, INVALID_SYMBOL);
    client.ask("subscribe", "AAPL").await;
    client.ask("subscribe", "MSFT").await;
    client.ask("subscribe", "TSLA").await;
    assert_eq!(client.text().await, TOO_MANY_SYMBOLS);
    client.ask("unsubscribe", "AAPL").await;
    client.subscribe("TSLA").await;
    assert_eq!(venue.statistics().errors, 3);
}

#[tokio::test]
async fn requests_it_does_not_know_are_ignored() {
    let venue = Venue::start(config()).await;
    let mut client = venue.connect().await;
    for request in ["{", "[]", r#"{"type":"pong"}"#, r#"{"type":"subscribe-news","symbol":"A"}"#] {
        client.send(request).await;
    }
    client.subscribe("AAPL").await;
    assert_eq!(venue.statistics().requests_ignored, 4);
}

#[tokio::test]
async fn a_client_is_pinged_when_there_is_nothing_to_say() {
    let venue = Venue::start(config()).await;
    // Known, and never traded.
    let mut client = venue.subscribed(&["GBP"]).await;
    for minute in 1..=3 {
        assert_eq!(venue.step().await, START.plus(Duration::from_secs(60 * minute)));
        assert_eq!(client.text().await, PING);
    }
    assert_eq!(venue.statistics().pings, 3);
    assert_eq!(venue.statistics().messages, 0);
}

#[tokio::test]
async fn messages_look_like_the_recorded_ones() {
    let venue = Venue::start(config()).await;
    let mut client = venue.subscribed(&["AAPL", "BINANCE:BTCUSDT", "OANDA:EUR_USD"]).await;
    for _ in 0..200 {
        check_shape(&venue.text(&mut client).await);
    }
    let Some(lines) = recorded("finnhub/raw-wire-lines.ndjson") else { return };
    lines.lines().filter(|line| line.contains("trade")).for_each(check_shape);
}

#[track_caller]
fn check_shape(text: &str) {
    assert!(text.starts_with(r#"{"data":[{"c":"#) && !text.contains(' '), "{text}");
    // What stands in quotes before a colon; no symbol ends in one.
    let quoted: Vec<&str> = text.split('"').collect();
    let keys: Vec<&str> =
        quoted.windows(2).filter(|pair| pair[1].starts_with(':')).map(|pair| pair[0]).collect();
    let trades = (keys.len() - 2) / 5;
    assert!((1..=10).contains(&trades), "{text}");
    let mut expected = vec!["data"];
    for _ in 0..trades {
        expected.extend(["c", "p", "s", "t", "v"]);
    }
    expected.push("type");
    assert_eq!(keys, expected, "{text}");
    assert!(text.ends_with(r#"],"type":"trade"}"#), "{text}");
    for trade in text.split(r#"{"c":"#).skip(1) {
        let is_crypto = trade.contains(r#""s":"BINANCE:"#) || trade.contains(r#""s":"OANDA:"#);
        assert_eq!(trade.starts_with("null"), is_crypto, "{text}");
        assert!(is_crypto || trade.starts_with(r#"[""#) || trade.starts_with("[]"), "{text}");
    }
}

#[tokio::test]
async fn an_unsubscribed_symbol_is_silent() {
    let venue = Venue::start(config()).await;
    let mut client = venue.subscribed(&["AAPL", "BINANCE:BTCUSDT"]).await;
    while !venue.text(&mut client).await.contains("AAPL") {}
    client.ask("unsubscribe", "AAPL").await;
    client.send(r#"{"type":"subscribe"}"#).await;
    while client.text().await != INVALID_SYMBOL {}
    for _ in 0..50 {
        assert!(!venue.text(&mut client).await.contains("AAPL"));
    }
}

#[tokio::test]
async fn the_newer_of_two_connections_wins() {
    let venue = Venue::start(config()).await;
    let mut older = venue.subscribed(&["AAPL"]).await;
    let mut newer = venue.subscribed(&["AAPL"]).await;
    assert!(older.rest().await.1.is_err(), "no close frame");
    venue.text(&mut newer).await;
}

#[tokio::test]
async fn the_older_of_two_connections_may_win() {
    let second_connection = SecondConnection::OlderWins;
    let venue = Venue::start(SimulatorConfig { second_connection, ..config() }).await;
    let mut older = venue.subscribed(&["AAPL"]).await;
    let mut newer = venue.connect().await;
    assert!(newer.rest().await.1.is_err(), "no close frame");
    venue.text(&mut older).await;
}

#[tokio::test]
async fn two_connections_may_throw_each_other_out() {
    let second_connection = SecondConnection::BothDropped;
    let venue = Venue::start(SimulatorConfig { second_connection, ..config() }).await;
    for round in 1..=2 {
        let mut older = venue.subscribed(&["AAPL"]).await;
        let mut newer = venue.connect().await;
        assert!(older.rest().await.1.is_err(), "no close frame");
        assert!(newer.rest().await.1.is_err(), "no close frame");
        assert_eq!(venue.statistics().connections, 2 * round);
    }
}

#[tokio::test]
async fn a_shutdown_says_goodbye_and_waits_for_nobody() {
    let venue = Venue::start(config()).await;
    let mut client = venue.subscribed(&["AAPL"]).await;
    venue.env.shutdown.cancel();
    assert_eq!(client.rest().await.1.unwrap(), Some(1001));
    venue.env.tasks.close();
    venue.env.tasks.wait().await;
}

#[tokio::test]
async fn a_wrong_configuration_does_not_start() {
    let env = env("");
    let beyond = SimulatorConfig { listen: "0.0.0.0:0".parse().unwrap(), ..config() };
    assert!(Simulator::start(&env, beyond).await.is_err());
    let mut missing = replaying("1");
    if let Feed::Replay(replay) = &mut missing.feed {
        replay.files.push("/missing.ndjson".into());
    }
    let error = Simulator::start(&env, missing).await.err().unwrap();
    assert_eq!(error.message, "cannot open the recording /missing.ndjson");
}
