//! The preset against a server that speaks as Finnhub does, and against recorded messages.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thalweg_connect::codecs::json::JsonDecoder;
use thalweg_connect::feed::{Feed, FeedState, FeedStatus, GapState};
use thalweg_connect::presets::finnhub::{FinnhubConfig, preset};
use thalweg_connect::sources::websocket::WebSocket;
use thalweg_core::decode::Decoder;
use thalweg_core::frame::{FrameSpan, Frames};
use thalweg_core::topic::TopicPartition;

use crate::support::{
    MemLog, MemStore, START, Server, env, eventually, soon, step_to_next_sleeper,
};

const TRADE: &str = r#"{"data":[{"c":null,"p":7296.89,"s":"BINANCE:BTCUSDT","t":1575526691134,"v":0.011467}],"type":"trade"}"#;

fn config(url: &str) -> FinnhubConfig {
    FinnhubConfig {
        token: "c0ffee".into(),
        symbols: vec!["AAPL".into(), "BINANCE:BTCUSDT".into()],
        url: Some(url.into()),
    }
}

fn subscribes() -> [&'static str; 2] {
    [
        r#"{"symbol":"AAPL","type":"subscribe"}"#,
        r#"{"symbol":"BINANCE:BTCUSDT","type":"subscribe"}"#,
    ]
}

#[tokio::test]
async fn after_a_silent_stall_everything_is_subscribed_anew_and_the_gap_is_marked() {
    let (server, env) = (Server::start().await, env());
    let mut preset = preset(&config(&server.url)).unwrap();
    preset.websocket.subscribe_interval = Duration::ZERO;
    let source = Box::new(WebSocket::new(preset.websocket, &env).unwrap());
    let (log, store) = (Arc::new(MemLog::new()), Arc::new(MemStore::default()));
    let status = Arc::new(FeedStatus::default());
    let running = env.spawn({
        let (env, log, store, status) = (env.clone(), log.clone(), store.clone(), status.clone());
        async move {
            let partition = TopicPartition::new("trades.raw", 0);
            Feed::run(&env, source, log, partition, store, status).await
        }
    });

    let mut peer = server.accept().await;
    assert_eq!(peer.uri, "/?token=c0ffee");
    assert_eq!(peer.texts(2).await, subscribes());
    peer.text(TRADE).await;
    log.has(1).await;
    // Pings as text are signs of life, not records.
    env.clock.step_to(START.plus(Duration::from_secs(120)));
    peer.text(r#"{"type":"ping"}"#).await;
    let dead_at = START.plus(Duration::from_secs(420));
    eventually("the ping is heard", || env.clock.next_deadline() == Some(dead_at)).await;
    assert_eq!(log.records().len(), 1);

    // The socket stays open and nothing comes any more.
    env.clock.step_to(dead_at);
    eventually("the stall is seen", || status.read(START).state == FeedState::Waiting).await;
    step_to_next_sleeper(&env.clock).await;
    let mut peer = server.accept().await;
    assert_eq!(peer.texts(2).await, subscribes());
    peer.text(TRADE).await;
    log.has(2).await;
    eventually("the gap is closed", || {
        store.gaps().iter().filter(|gap| gap.state == GapState::Unfillable).count() == 2
    })
    .await;
    for (gap, key) in store.gaps().iter().zip(["AAPL", "BINANCE:BTCUSDT"]) {
        assert_eq!((gap.key.as_str(), gap.source.as_str()), (key, "trades"));
        assert_eq!(gap.from, START.plus(Duration::from_secs(120)));
        assert!(gap.to >= Some(dead_at));
    }
    let connections: Vec<_> = log.records().iter().map(|record| record.connection).collect();
    assert_eq!(connections, [Some(1), Some(2)]);
    env.shutdown.cancel();
    soon("the end", running).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_second_connection_on_the_token_is_survived() {
    // Finnhub closes one of the two: the feed must not give up, however often.
    let (server, env) = (Server::start().await, env());
    let preset = preset(&config(&server.url)).unwrap();
    let mut websocket = preset.websocket;
    websocket.subscribe_interval = Duration::ZERO;
    let source = Box::new(WebSocket::new(websocket, &env).unwrap());
    let status = Arc::new(FeedStatus::default());
    let running = env.spawn({
        let (env, status) = (env.clone(), status.clone());
        let (log, store) = (Arc::new(MemLog::new()), Arc::new(MemStore::default()));
        async move {
            let partition = TopicPartition::new("trades.raw", 0);
            Feed::run(&env, source, log, partition, store, status).await
        }
    });
    for connection in 0..4 {
        let peer = server.accept().await;
        eventually("connected", || {
            let reading = status.read(START);
            (reading.state, reading.reconnects) == (FeedState::Live, connection)
        })
        .await;
        drop(peer);
        eventually("the loss is seen", || status.read(START).state == FeedState::Waiting).await;
        step_to_next_sleeper(&env.clock).await;
    }
    let _peer = server.accept().await;
    env.shutdown.cancel();
    soon("the end", running).await.unwrap().unwrap();
}

/// Decodes messages as the preset says.
fn decode(messages: &[&str]) -> thalweg_core::decode::Decoded {
    let preset = preset(&config("ws://h")).unwrap();
    let data = messages.concat();
    let mut spans = Vec::new();
    let mut start = 0;
    for (offset, message) in messages.iter().enumerate() {
        let len = message.len() as u32;
        spans.push(FrameSpan { start, len, offset: offset as i64, received_at: START });
        start += len;
    }
    let frames = Frames { data: Bytes::from(data), spans, ..Frames::default() };
    JsonDecoder::new(&preset.format).unwrap().decode(&frames).unwrap()
}

#[test]
fn its_messages_decode_by_what_it_brings() {
    let decoded = decode(&[
        TRADE,
        r#"{"data":[{"p":43694,"s":"AAPL","t":1575526691135,"v":30},{"c":["1"],"p":2,"s":"X","t":1,"v":0}],"type":"trade"}"#,
        r#"{"msg":"Subscribing to too many symbols","type":"error"}"#,
        r#"{"type":"ping"}"#,
    ]);
    assert_eq!(decoded.rows.num_rows(), 3);
    assert_eq!((decoded.frames.decoded, decoded.frames.filtered), (2, 2));
    assert!(decoded.rejects.is_empty(), "{:?}", decoded.rejects);
    assert_eq!(decoded.notices, ["Subscribing to too many symbols"]);
    let names: Vec<_> =
        decoded.rows.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(&names[..4], ["symbol", "price", "volume", "ts"]);
}

#[test]
fn every_recorded_trade_decodes() {
    let folder = std::env::var_os("THALWEG_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    let path = folder.join("finnhub/trades-2023-12-22_25.ndjson");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: no recorded data at {}", path.display());
        return;
    };
    let messages: Vec<&str> = text.lines().collect();
    let decoded = decode(&messages);
    assert_eq!((messages.len(), decoded.rows.num_rows()), (864, 6_959));
    assert_eq!(decoded.frames.decoded, 864);
    assert!(decoded.rejects.is_empty());
}
