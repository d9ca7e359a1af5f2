//! The WebSocket source against servers on loopback, well-behaved and not.

use std::time::Duration;

use bytes::Bytes;
use thalweg_connect::sources::websocket::{Heartbeat, WebSocket, WebSocketConfig};
use thalweg_core::env::Env;
use thalweg_core::frame::FRAME_BYTES_MAX;
use thalweg_core::source::{Source, SourceEvent};
use thalweg_core::{Error, ErrorKind};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::support::{Server, env, soon, step_to_next_sleeper};

const TOKEN: &str = "s3cr3t-t0k3n";

/// A source of `server` with a token in its address.
fn source(server: &Server, env: &Env, change: impl FnOnce(&mut WebSocketConfig)) -> WebSocket {
    let mut config = WebSocketConfig::new(format!("{}/feed?token={TOKEN}", server.url));
    config.subscribe_interval = Duration::ZERO;
    config.connect_timeout = Duration::from_secs(5);
    change(&mut config);
    WebSocket::new(config, env).unwrap()
}

async fn next(source: &mut WebSocket) -> SourceEvent {
    soon("an event", source.next()).await.unwrap()
}

async fn next_frame(source: &mut WebSocket) -> Bytes {
    match next(source).await {
        SourceEvent::Frame(frame) => frame.bytes,
        other => panic!("not a frame: {other:?}"),
    }
}

#[tokio::test]
async fn subscribe_messages_and_headers_arrive_and_frames_come_back() {
    let (server, env) = (Server::start().await, env());
    let mut source = source(&server, &env, |config| {
        config.headers = vec![("X-Api-Key".into(), "another s3cr3t".into())];
        config.subscribe = vec!["auth".into(), "trades".into(), "quotes".into()];
    });
    let (connected, mut peer) = tokio::join!(source.connect(), server.accept());
    connected.unwrap();
    assert_eq!(peer.uri, format!("/feed?token={TOKEN}"));
    assert!(peer.headers.contains(&("x-api-key".into(), "another s3cr3t".into())));
    assert_eq!(peer.texts(3).await, ["auth", "trades", "quotes"]);

    peer.text("one").await;
    peer.send(Message::binary(&b"\x00\xff"[..])).await;
    // Text that is not UTF-8 is for the quarantine to judge.
    peer.raw(b"\x81\x02\xff\xfe").await;
    assert_eq!(&next_frame(&mut source).await[..], b"one");
    assert_eq!(&next_frame(&mut source).await[..], b"\x00\xff");
    assert_eq!(&next_frame(&mut source).await[..], b"\xff\xfe");
}

#[tokio::test]
async fn subscribe_messages_are_paced() {
    let (server, env) = (Server::start().await, env());
    let mut source = source(&server, &env, |config| {
        config.subscribe = vec!["first".into(), "second".into()];
        config.subscribe_interval = Duration::from_millis(200);
    });
    let connecting = env.spawn(async move { source.connect().await });
    let mut peer = server.accept().await;
    assert_eq!(peer.texts(1).await, ["first"]);
    assert_eq!(step_to_next_sleeper(&env.clock).await, Duration::from_millis(200));
    assert_eq!(peer.texts(1).await, ["second"]);
    soon("the connection", connecting).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_comes_right_behind_the_handshake_is_not_lost() {
    let (server, env) = (Server::start().await, env());
    let mut source = source(&server, &env, |_| {});
    let serve = async {
        let mut peer = server.accept().await;
        peer.text("hello").await;
        peer
    };
    let (connected, _peer) = tokio::join!(source.connect(), serve);
    connected.unwrap();
    assert_eq!(&next_frame(&mut source).await[..], b"hello");
}

#[tokio::test]
async fn pings_are_answered_and_keep_alives_are_not_data() {
    let (server, env) = (Server::start().await, env());
    let mut source =
        source(&server, &env, |config| config.alive = vec!["$.type = 'ping'".parse().unwrap()]);
    let (connected, mut peer) = tokio::join!(source.connect(), server.accept());
    connected.unwrap();
    peer.send(Message::Ping(Bytes::from_static(b"42"))).await;
    peer.text(r#"{"type":"ping"}"#).await;
    peer.text(r#"{"type":"trade"}"#).await;
    assert_eq!(next(&mut source).await, SourceEvent::Alive);
    assert_eq!(next(&mut source).await, SourceEvent::Alive);
    assert_eq!(&next_frame(&mut source).await[..], br#"{"type":"trade"}"#);
    // The pong goes out while the source waits for more.
    let pong = tokio::select! {
        pong = peer.receive() => pong,
        event = source.next() => panic!("nothing was sent: {event:?}"),
    };
    assert_eq!(pong, Message::Pong(Bytes::from_static(b"42")));
}

#[tokio::test]
async fn heartbeats_are_sent_on_time() {
    let (server, env) = (Server::start().await, env());
    let mut source = source(&server, &env, |config| {
        config.heartbeat = Some(Heartbeat {
            message: r#"{"event":"ping"}"#.into(),
            every: Duration::from_secs(20),
        });
    });
    let (connected, mut peer) = tokio::join!(source.connect(), server.accept());
    connected.unwrap();
    let reading = env.spawn(async move { source.next().await });
    for _ in 0..2 {
        assert_eq!(step_to_next_sleeper(&env.clock).await, Duration::from_secs(20));
        assert_eq!(peer.texts(1).await, [r#"{"event":"ping"}"#]);
    }
    reading.abort();
}

#[tokio::test]
async fn a_message_of_over_10_mb_leaves_its_head_and_the_feed_goes_on() {
    let (server, env) = (Server::start().await, env());
    let mut source = source(&server, &env, |_| {});
    let (connected, mut peer) = tokio::join!(source.connect(), server.accept());
    connected.unwrap();
    let sending = env.spawn(async move {
        peer.text(&"x".repeat(FRAME_BYTES_MAX + 5)).await;
        peer.text("after").await;
        peer
    });
    match next(&mut source).await {
        SourceEvent::Oversized { length, head, received_at } => {
            assert_eq!((length, head.len()), (FRAME_BYTES_MAX as u64 + 5, 64 << 10));
            assert_eq!(received_at, env.clock.now());
        }
        other => panic!("not what was sent: {other:?}"),
    }
    assert_eq!(&next_frame(&mut source).await[..], b"after");
    sending.await.unwrap();
}

#[tokio::test]
async fn a_close_frame_is_told_with_its_reason() {
    let (server, env) = (Server::start().await, env());
    let mut source = source(&server, &env, |_| {});
    let (connected, mut peer) = tokio::join!(source.connect(), server.accept());
    connected.unwrap();
    let reason = format!("too many requests for {TOKEN}").into();
    peer.send(Message::Close(Some(CloseFrame { code: CloseCode::Policy, reason }))).await;
    let closed = SourceEvent::Closed("1008: too many requests for ***".into());
    assert_eq!(next(&mut source).await, closed);
    source.disconnect().await;
    assert!(matches!(peer.receive().await, Message::Close(_)), "it is answered");
}

#[tokio::test]
async fn an_abrupt_end_is_a_close_without_a_word() {
    let (server, env) = (Server::start().await, env());
    let mut source = source(&server, &env, |_| {});
    let (connected, peer) = tokio::join!(source.connect(), server.accept());
    connected.unwrap();
    drop(peer);
    assert_eq!(next(&mut source).await, SourceEvent::Closed("without a close frame".into()));
}

/// Connects to a server that gives `answer`, and returns the error, which shows no token.
async fn refusal(answer: &str) -> Error {
    let (server, env) = (Server::start().await, env());
    let mut source = source(&server, &env, |_| {});
    let (connected, ()) = tokio::join!(source.connect(), server.refuse(answer));
    let error = connected.unwrap_err();
    for shown in [error.chain(), format!("{error:?}")] {
        assert!(!shown.contains(TOKEN), "{shown}");
    }
    error
}

#[tokio::test]
async fn a_refused_token_is_named_and_not_shown() {
    let answer = format!(
        "HTTP/1.1 401 Unauthorized\r\nContent-Length: 60\r\n\r\n{{\"error\":\"Invalid API key {TOKEN}\"}}"
    );
    let error = refusal(&answer).await;
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.message.ends_with("/feed?token=*** refused the token (HTTP 401)"), "{error}");
    assert_eq!(error.detail.as_deref(), Some(r#"It says: {"error":"Invalid API key ***"}"#));
    assert!(error.hint.unwrap().contains("still valid"));
}

#[tokio::test]
async fn answers_that_are_no_upgrade_say_what_to_do() {
    for (answer, kind, message) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>back soon</html>",
            ErrorKind::Unavailable,
            "a page instead of a WebSocket",
        ),
        ("HTTP/1.1 403 Forbidden\r\n\r\n", ErrorKind::Invalid, "refused access"),
        ("HTTP/1.1 404 Not Found\r\n\r\n", ErrorKind::Invalid, "refused the upgrade (HTTP 404)"),
        ("HTTP/1.1 429 Too Many\r\n\r\n", ErrorKind::Unavailable, "too many requests"),
        ("HTTP/1.1 503 Busy\r\n\r\n", ErrorKind::Unavailable, "out of order (HTTP 503)"),
        (
            "HTTP/1.1 301 Moved\r\nLocation: https://example.org/?token=s3cr3t-t0k3n\r\n\r\n",
            ErrorKind::Invalid,
            "has moved",
        ),
        ("SSH-2.0-OpenSSH_9.6\r\n\r\n", ErrorKind::Unavailable, "does not answer in HTTP"),
        ("", ErrorKind::Unavailable, "lost the connection during the upgrade"),
        (
            "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: bm8=\r\n\r\n",
            ErrorKind::Unavailable,
            "does not complete the upgrade",
        ),
    ] {
        let error = refusal(answer).await;
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(message), "{error}");
    }
}

#[tokio::test]
async fn a_feed_that_asks_for_time_gets_it() {
    let (server, env) = (Server::start().await, env());
    let mut source = source(&server, &env, |_| {});
    let answer = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 45\r\n\r\n";
    let (connected, ()) = tokio::join!(source.connect(), server.refuse(answer));
    assert_eq!(connected.unwrap_err().kind, ErrorKind::Unavailable);
    let connecting = env.spawn(async move { source.connect().await });
    assert_eq!(step_to_next_sleeper(&env.clock).await, Duration::from_secs(45));
    server.accept().await;
    soon("the connection", connecting).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let (server, env) = (Server::start().await, env());
    let mut source =
        source(&server, &env, |config| config.connect_timeout = Duration::from_millis(50));
    let error = soon("the time-out", source.connect()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("did not answer in time"), "{error}");
}

#[tokio::test]
async fn nobody_at_the_address_is_unavailable() {
    let env = env();
    // A port that was free a moment ago.
    let server = Server::start().await;
    let mut source = source(&server, &env, |_| {});
    drop(server);
    let error = source.connect().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("cannot connect to ws://127.0.0.1"), "{error}");
    assert!(!error.chain().contains(TOKEN));
}

#[test]
fn a_wrong_config_is_refused_and_debug_shows_no_secret() {
    let env = env();
    for url in ["", "feed", "http://h/", "ws://"] {
        let refused = WebSocket::new(WebSocketConfig::new(url), &env);
        assert_eq!(refused.err().map(|error| error.kind), Some(ErrorKind::Invalid), "{url}");
    }
    let mut config = WebSocketConfig::new(format!("wss://u:{TOKEN}@h/?token={TOKEN}"));
    config.headers = vec![("Authorization".into(), format!("Bearer {TOKEN}"))];
    config.subscribe = vec![format!("auth {TOKEN}")];
    config.heartbeat = Some(Heartbeat { message: TOKEN.into(), every: Duration::from_secs(5) });
    assert!(!format!("{config:?}").contains(TOKEN));
    config.headers[0].1.push('\n');
    let error = WebSocket::new(config, &env).err().unwrap();
    assert!(!error.chain().contains(TOKEN), "{}", error.chain());
}

#[tokio::test]
async fn a_tls_handshake_with_a_plain_server_fails_cleanly() {
    let (server, env) = (Server::start().await, env());
    let url = server.url.replace("ws://", "wss://");
    let mut source = WebSocket::new(WebSocketConfig::new(url), &env).unwrap();
    let answer = async {
        use tokio::io::AsyncWriteExt;
        let mut tcp = server.tcp().await;
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    };
    let (connected, ()) = tokio::join!(source.connect(), answer);
    let error = connected.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.starts_with("no secure connection to wss://127.0.0.1"), "{error}");
}
