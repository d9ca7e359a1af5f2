//! Live results over a real WebSocket and a real event stream, under a clock that stands.

use std::net::SocketAddr;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use thalweg_core::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::fake::{Fixture, eventually, in_time, trades};

/// A tab.
struct Tab(WebSocketStream<TcpStream>);

impl Tab {
    async fn open(fixture: &Fixture) -> Self {
        let address: SocketAddr = fixture.address();
        let mut request = format!("ws://{address}/api/v1/live").into_client_request().unwrap();
        let token = format!("Bearer {}", fixture.token).parse().unwrap();
        request.headers_mut().insert("authorization", token);
        let stream = TcpStream::connect(address).await.unwrap();
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        Self(socket)
    }

    async fn send(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    /// The next frame; heartbeats are passed over.
    async fn next(&mut self) -> Value {
        in_time(async {
            loop {
                match self.0.next().await.expect("the socket is open").unwrap() {
                    Message::Text(text) => {
                        let frame: Value = serde_json::from_str(&text).unwrap();
                        if frame.get("heartbeat").is_none() {
                            return frame;
                        }
                    }
                    Message::Ping(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        })
        .await
    }

    /// The code the socket is closed with.
    async fn closed(&mut self) -> u16 {
        in_time(async {
            loop {
                if let Message::Close(frame) = self.0.next().await.unwrap().unwrap() {
                    return frame.unwrap().code.into();
                }
            }
        })
        .await
    }
}

const INTERVAL: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_snapshot_then_keyed_deltas() {
    let fixture = Fixture::start().await;
    let mut tab = Tab::open(&fixture).await;
    tab.send(json!({"subscribe": "a", "view": "changes"})).await;
    assert_eq!(
        tab.next().await,
        json!({"id": "a", "seq": 1, "snapshot": {
            "columns": [{"name": "symbol", "type": "text"}, {"name": "n", "type": "bigint"}],
            "key": ["symbol"],
            "rows": [["AAPL", 1], ["MSFT", 2]],
        }})
    );
    // The clock has not moved since the snapshot: a change waits for the interval.
    fixture.engine.set_changes(&[("AAPL", 1), ("AMZN", 5), ("TSLA", 6)]);
    fixture.step(INTERVAL).await;
    assert_eq!(
        tab.next().await,
        json!({"id": "a", "seq": 2, "delete": [["MSFT"]], "upsert": [["AMZN", 5], ["TSLA", 6]]})
    );
    // After a pause, the first change comes at once.
    fixture.clock.step_to(super::fake::NOW.plus(INTERVAL * 5));
    fixture.engine.set_changes(&[("AAPL", 7), ("AMZN", 5), ("TSLA", 6)]);
    assert_eq!(tab.next().await, json!({"id": "a", "seq": 3, "upsert": [["AAPL", 7]]}));
}

#[tokio::test]
async fn many_changes_become_ten_frames_a_second() {
    let fixture = Fixture::start().await;
    let mut tab = Tab::open(&fixture).await;
    tab.send(json!({"subscribe": "a", "view": "changes"})).await;
    assert_eq!(tab.next().await["seq"], 1);
    for turn in 1..=10 {
        for number in 0..100 {
            fixture.engine.set_changes(&[("AAPL", turn * 1000 + number), ("MSFT", 2)]);
        }
        fixture.step(INTERVAL * u32::try_from(turn).unwrap()).await;
        let frame = tab.next().await;
        let newest = json!([["AAPL", turn * 1000 + 99]]);
        assert_eq!((&frame["seq"], &frame["upsert"]), (&json!(turn + 1), &newest));
    }
    // One for the snapshot, and one for each tenth of the second.
    assert_eq!(fixture.metric("thalweg_serve_live_evaluations_total").await, 11);
    assert_eq!(fixture.metric("thalweg_serve_live_frames_total").await, 11);
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent() {
    let fixture = Fixture::start().await;
    let mut tab = Tab::open(&fixture).await;
    tab.send(json!({"subscribe": "a", "view": "changes"})).await;
    tab.next().await;
    fixture.engine.take_asked();
    fixture.engine.touch();
    fixture.step(INTERVAL).await;
    eventually(|| !fixture.engine.take_asked().is_empty()).await;
    fixture.engine.set_changes(&[("AAPL", 9), ("MSFT", 2)]);
    fixture.step(INTERVAL * 2).await;
    assert_eq!(tab.next().await, json!({"id": "a", "seq": 2, "upsert": [["AAPL", 9]]}));
}

#[tokio::test]
async fn a_panel_brings_its_key_and_takes_the_filters_of_its_dashboard() {
    let fixture = Fixture::start().await;
    let mut tab = Tab::open(&fixture).await;
    tab.send(json!({"subscribe": "r", "panel": "market/ranking", "params": {"symbol": "X"}})).await;
    assert_eq!(tab.next().await["snapshot"]["key"], json!(["symbol"]));
    // The panel does not use the filter.
    assert_eq!(fixture.engine.take_asked(), ["SELECT * FROM changes"]);
    tab.send(json!({"subscribe": "p", "panel": "market/price"})).await;
    assert_eq!(tab.next().await["snapshot"]["key"], Value::Null);
    let asked = r#"SELECT price FROM trades WHERE symbol = $symbol {"symbol":"AAPL"}"#;
    assert_eq!(fixture.engine.take_asked(), [asked]);
    tab.send(json!({"subscribe": "p", "panel": "market/price", "params": {"symbol": "MSFT"}}))
        .await;
    assert_eq!(tab.next().await["seq"], 1);
    let asked = r#"SELECT price FROM trades WHERE symbol = $symbol {"symbol":"MSFT"}"#;
    assert_eq!(fixture.engine.take_asked(), [asked]);
}

#[tokio::test]
async fn the_order_of_a_result_is_kept() {
    let fixture = Fixture::start().await;
    let mut tab = Tab::open(&fixture).await;
    tab.send(json!({"subscribe": "v", "view": "changes", "params": {"symbol": ["AAPL", "MSFT"]},
        "order_by": "n desc", "limit": 2}))
        .await;
    tab.next().await;
    let asked = fixture.engine.take_asked();
    let sql = r#"SELECT * FROM "public"."changes" WHERE "symbol" IN ($p0, $p1) ORDER BY "n" DESC LIMIT 2 {"p0":"AAPL","p1":"MSFT"}"#;
    assert_eq!(asked, [sql]);
    fixture.engine.set_changes(&[("MSFT", 2), ("AAPL", 1)]);
    fixture.step(INTERVAL).await;
    assert_eq!(tab.next().await, json!({"id": "v", "seq": 2, "order": [1, 0]}));
}

#[tokio::test]
async fn all_tabs_share_one_evaluation_and_the_last_one_ends_it() {
    let fixture = Fixture::start().await;
    let mut tabs = Vec::new();
    for _ in 0..10 {
        let mut tab = Tab::open(&fixture).await;
        tab.send(json!({"subscribe": "a", "view": "changes"})).await;
        tab.send(json!({"subscribe": "b", "view": "changes", "params": {}})).await;
        assert_eq!(tab.next().await["seq"], 1);
        assert_eq!(tab.next().await["seq"], 1);
        tabs.push(tab);
    }
    assert_eq!(fixture.metric("thalweg_serve_live_evaluations_total").await, 1);
    assert_eq!(fixture.metric("thalweg_serve_live_feeds").await, 1);
    assert_eq!(fixture.metric("thalweg_serve_live_streams").await, 10);
    for tab in &mut tabs {
        tab.send(json!({"unsubscribe": "a"})).await;
    }
    fixture.engine.set_changes(&[("AAPL", 3), ("MSFT", 2)]);
    fixture.step(INTERVAL).await;
    for tab in &mut tabs {
        assert_eq!(tab.next().await["id"], "b");
    }
    drop(tabs);
    in_time(async {
        while fixture.metric("thalweg_serve_live_feeds").await > 0
            || fixture.metric("thalweg_serve_live_streams").await > 0
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_asked_wrongly_is_answered_and_the_socket_goes_on() {
    let fixture = Fixture::start_with(|limits| {
        limits.live_subscriptions = 2;
        limits.live_feeds = 1;
        limits.live_query.rows_max = Some(5);
    })
    .await;
    let mut tab = Tab::open(&fixture).await;
    let long = "x".repeat(129);
    let cases = [
        (json!("hello"), None, "the message cannot be read"),
        (json!({"subscribe": "a", "veiw": "changes"}), None, "the message cannot be read"),
        (json!({}), None, "a message needs one of `subscribe` and `unsubscribe`"),
        (json!({"subscribe": ""}), None, "the id is not 1 to 128 bytes long"),
        (json!({"subscribe": long}), None, "the id is not 1 to 128 bytes long"),
        (
            json!({"subscribe": "a"}),
            Some("a"),
            "a subscription needs one of `panel`, `view` and `sql`",
        ),
        (
            json!({"subscribe": "a", "view": "x", "sql": "y"}),
            Some("a"),
            "a subscription needs one of `panel`, `view` and `sql`",
        ),
        (
            json!({"subscribe": "a", "sql": "y", "limit": 1}),
            Some("a"),
            "`order_by` and `limit` go with `view` only",
        ),
        (
            json!({"subscribe": "a", "view": "y", "key": ["z"]}),
            Some("a"),
            "`key` goes with `sql` only",
        ),
        (
            json!({"subscribe": "a", "view": "chnages"}),
            Some("a"),
            "there is no relation `public.chnages`",
        ),
        (
            json!({"subscribe": "a", "view": "changes", "params": {"n": {}}}),
            Some("a"),
            "column `n` can equal a text, a number, true or false",
        ),
        (json!({"subscribe": "a", "panel": "market"}), Some("a"), "there is no panel `market`"),
        (json!({"subscribe": "a", "panel": "market/x"}), Some("a"), "there is no panel `market/x`"),
        (
            json!({"subscribe": "a", "panel": "market/price", "params": {"sybol": 1}}),
            Some("a"),
            "dashboard `market` has no filter `sybol`",
        ),
        (
            json!({"subscribe": "a", "sql": "FAIL invalid"}),
            Some("a"),
            "no column `pirce` in `trades`",
        ),
        (
            json!({"subscribe": "a", "sql": "SELECT * FROM changes", "key": ["x"]}),
            Some("a"),
            "the result has no column `x` for its key",
        ),
        (
            json!({"subscribe": "a", "sql": "ROWS 6"}),
            Some("a"),
            "the live result has more than 5 rows",
        ),
    ];
    for (message, id, title) in cases {
        tab.send(message.clone()).await;
        let frame = tab.next().await;
        assert_eq!(frame["error"]["title"], title, "{message}");
        assert_eq!(
            (frame.get("id").and_then(Value::as_str), &frame["retrying"]),
            (id, &json!(false))
        );
    }
    // A feed that has failed for good leaves the list before the client hears of it.
    tab.send(json!({"subscribe": "a", "view": "changes"})).await;
    assert_eq!(tab.next().await["seq"], 1);
    tab.send(json!({"subscribe": "b", "view": "trades"})).await;
    assert_eq!(tab.next().await["error"]["title"], "1 different results are live already");
    tab.send(json!({"subscribe": "b", "view": "changes"})).await;
    assert_eq!(tab.next().await["seq"], 1);
    tab.send(json!({"subscribe": "c", "view": "changes"})).await;
    assert_eq!(tab.next().await["error"]["title"], "this socket has 2 subscriptions");
    tab.0.send(Message::binary(vec![0])).await.unwrap();
    assert_eq!(tab.next().await["error"]["title"], "messages are text");
}

#[tokio::test]
async fn a_failing_query_is_tried_again_until_it_succeeds() {
    let fixture = Fixture::start().await;
    let mut tab = Tab::open(&fixture).await;
    tab.send(json!({"subscribe": "a", "view": "changes"})).await;
    tab.next().await;
    fixture.engine.set_failure(Some(Error::unavailable("the lake does not answer")));
    fixture.engine.touch();
    fixture.step(INTERVAL).await;
    let frame = tab.next().await;
    assert_eq!(frame["error"]["title"], "the lake does not answer");
    assert_eq!((&frame["id"], &frame["retrying"]), (&json!("a"), &json!(true)));
    fixture.engine.set_failure(None);
    fixture.step(INTERVAL + Duration::from_secs(1)).await;
    let frame = tab.next().await;
    assert_eq!(frame["seq"], 2);
    assert_eq!(frame["snapshot"]["rows"], json!([["AAPL", 1], ["MSFT", 2]]));
}

#[tokio::test]
async fn a_slow_client_gets_the_newest_and_nothing_waits_for_it() {
    let fixture = Fixture::start().await;
    let mut tab = Tab::open(&fixture).await;
    tab.send(json!({"subscribe": "a", "view": "trades"})).await;
    tab.next().await;
    fixture.engine.take_asked();
    // Each state is a snapshot of a megabyte; the client reads none of them.
    let symbol = "s".repeat(1000);
    for turn in 1..=100_u32 {
        let price = f64::from(turn);
        fixture.engine.set_rows("trades", trades(&vec![(symbol.as_str(), price); 1000]));
        fixture.step(INTERVAL * turn).await;
        eventually(|| !fixture.engine.take_asked().is_empty()).await;
    }
    let mut frames = 0;
    loop {
        let frame = tab.next().await;
        frames += 1;
        assert_eq!(frame["seq"], frames + 1);
        if frame["snapshot"]["rows"][0][1] == 100.0 {
            break;
        }
    }
    // What the sockets hold, and one more.
    assert!(frames < 30, "{frames} frames waited for the client");
}

#[tokio::test]
async fn a_heartbeat_shows_that_the_server_lives_and_silence_that_the_client_does_not() {
    let fixture = Fixture::start().await;
    let mut tab = Tab::open(&fixture).await;
    let beat = Duration::from_secs(10);
    fixture.step(beat).await;
    let message = in_time(tab.0.next()).await.unwrap().unwrap();
    assert_eq!(message.to_text().unwrap(), r#"{"heartbeat":"2026-01-05T14:30:00Z"}"#);
    // The client reads, and so answers the ping.
    assert!(matches!(in_time(tab.0.next()).await.unwrap().unwrap(), Message::Ping(_)));
    tab.0.flush().await.unwrap();
    // The clock stands until the pong was heard at 10 s; from then on the client is silent.
    tab.send(json!({"unsubscribe": "nothing"})).await;
    tab.send(json!({})).await;
    tab.next().await;
    for turn in 2..=6 {
        fixture.step(beat * turn).await;
    }
    assert_eq!(tab.closed().await, 1008);
}

#[tokio::test]
async fn sockets_are_closed_when_the_server_stops() {
    let fixture = Fixture::start().await;
    let mut tab = Tab::open(&fixture).await;
    tab.send(json!({"subscribe": "a", "view": "changes"})).await;
    tab.next().await;
    let mut events = Events::open(&fixture, "/api/v1/live/changes").await;
    events.next().await;
    fixture.shutdown.cancel();
    assert_eq!(tab.closed().await, 1001);
    assert_eq!(events.next().await, None);
    in_time(fixture.server.stopped()).await;
    fixture.tasks.close();
    in_time(fixture.tasks.wait()).await;
}

#[tokio::test]
async fn sockets_and_event_streams_are_bounded() {
    let fixture = Fixture::start_with(|limits| limits.live_streams = 1).await;
    let _tab = Tab::open(&fixture).await;
    let answer = fixture.get("/api/v1/live/changes").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["title"], "1 live streams are open already");
}

#[tokio::test]
async fn events_carry_the_same_feed() {
    let fixture = Fixture::start().await;
    let mut events = Events::open(&fixture, "/api/v1/live/changes?symbol=AAPL&limit=5").await;
    assert_eq!(
        events.next().await.unwrap(),
        "event: snapshot\nid: 1\ndata: {\"snapshot\":{\"columns\":[{\"name\":\"symbol\",\"type\":\"text\"},\
         {\"name\":\"n\",\"type\":\"bigint\"}],\"key\":[\"symbol\"],\"rows\":[[\"AAPL\",1],[\"MSFT\",2]]}}"
    );
    fixture.engine.set_changes(&[("AAPL", 4), ("MSFT", 2)]);
    fixture.step(INTERVAL).await;
    assert_eq!(
        events.next().await.unwrap(),
        "event: delta\nid: 2\ndata: {\"upsert\":[[\"AAPL\",4]]}"
    );
    fixture.engine.set_failure(Some(Error::internal("a column is missing")));
    fixture.engine.touch();
    fixture.step(INTERVAL * 2).await;
    let event = events.next().await.unwrap();
    assert!(event.starts_with("event: problem\ndata: {\"error\":{"), "{event}");
    assert!(event.ends_with("\"retrying\":false}"), "{event}");
    assert_eq!(events.next().await, None);
    let sql = r#"SELECT * FROM "public"."changes" WHERE "symbol" = $p0 LIMIT 5 {"p0":"AAPL"}"#;
    assert_eq!(fixture.engine.take_asked()[0], sql);
}

/// An event stream over plain HTTP.
struct Events(BufReader<TcpStream>);

impl Events {
    async fn open(fixture: &Fixture, path: &str) -> Self {
        let mut stream = TcpStream::connect(fixture.address()).await.unwrap();
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\r\n",
            fixture.token
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut events = Self(BufReader::new(stream));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(in_time(events.0.read_line(&mut head)).await.unwrap() > 0);
        }
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        events
    }

    /// The lines of the next event; none at the end of the stream.
    async fn next(&mut self) -> Option<String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            in_time(self.0.read_line(&mut line)).await.unwrap();
            // Lines of the chunked transfer end with a carriage return.
            match line.strip_suffix('\n') {
                None => return None,
                Some("0\r") => return None,
                Some("") if !lines.is_empty() => return Some(lines.join("\n")),
                Some(line) if line.ends_with('\r') || line.is_empty() => {}
                Some(line) => lines.push(line.to_owned()),
            }
        }
    }
}
