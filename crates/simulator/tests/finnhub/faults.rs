//! Each fault, as a client meets it.

use std::time::Duration;

use thalweg_simulator::SimulatorConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::support::{Client, START, Venue, config, replaying};

const SYMBOLS: [&str; 2] = ["AAPL", "BINANCE:BTCUSDT"];

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn failing(plan: &str) -> SimulatorConfig {
    SimulatorConfig { faults: plan.parse().unwrap(), ..config() }
}

/// A venue with `plan` and a client that has subscribed, after `after`.
async fn met(plan: &str, after: Duration) -> (Venue, Client) {
    let venue = Venue::start(failing(plan)).await;
    let client = venue.subscribed(&SYMBOLS).await;
    venue.step_to(after).await;
    (venue, client)
}

#[tokio::test]
async fn a_close_has_no_close_frame_and_loses_nothing() {
    let (venue, mut client) = met("close@5s", seconds(4)).await;
    venue.step_until_fault().await;
    let (received, ending) = client.rest().await;
    assert!(matches!(ending, Err(Error::Protocol(_))), "{ending:?}");
    assert_eq!(received.len() as u64, venue.statistics().messages);
    assert!(received.len() > 10);
    // The next connection is served.
    let mut client = venue.subscribed(&SYMBOLS).await;
    assert!(venue.text(&mut client).await.contains("trade"));
    assert_eq!(venue.statistics().faults, 1);
}

#[tokio::test]
async fn a_reset_is_a_reset() {
    let (venue, mut client) = met("reset@5s", seconds(4)).await;
    venue.step_until_fault().await;
    let (_, ending) = client.rest().await;
    let Err(Error::Io(error)) = ending else { panic!("{ending:?}") };
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_goodbye_has_a_close_frame() {
    let (venue, mut client) = met("goodbye@5s", seconds(4)).await;
    venue.step_until_fault().await;
    let (received, ending) = client.rest().await;
    assert_eq!(ending.unwrap(), Some(1001));
    assert_eq!(received.len() as u64, venue.statistics().messages);
}

#[tokio::test]
async fn a_stall_is_silent_and_ends() {
    // Longer than pings are apart.
    let (venue, mut client) = met("stall@5s:100s", seconds(4)).await;
    venue.step_until_fault().await;
    let before = venue.statistics();
    assert_eq!(venue.asleep().await, START.plus(seconds(105)), "nothing to do until then");
    client.ask("subscribe", "NOSUCH").await;
    client.ask("hush", "AAPL").await;
    while venue.statistics().requests_ignored == before.requests_ignored {
        tokio::task::yield_now().await;
    }
    assert_eq!(venue.statistics().errors, before.errors, "not even errors");
    assert_eq!(venue.asleep().await, START.plus(seconds(105)));
    venue.step().await;
    while venue.statistics().messages == before.messages {
        venue.step().await;
    }
    assert_eq!(venue.statistics().pings, 0);
    let mut last = String::new();
    for _ in 0..venue.statistics().messages {
        last = client.text().await;
    }
    let time = START.plus(seconds(105)).millis() / 1000;
    assert!(last.contains(&format!(r#""t":{time}"#)), "what was missed does not come: {last}");
}

#[tokio::test]
async fn a_stall_befalls_one_connection() {
    let (venue, mut stalled) = met("stall@5s:100s", seconds(4)).await;
    venue.step_until_fault().await;
    let mut client = venue.subscribed(&SYMBOLS).await;
    assert!(venue.text(&mut client).await.contains("trade"));
    assert!(stalled.rest().await.1.is_err());
}

#[tokio::test]
async fn connects_are_refused_for_a_while() {
    check_refusal("refuse@3s:5s", 503).await;
    check_refusal("http200@3s:5s", 200).await;
    check_refusal("http401@3s:5s", 401).await;
}

async fn check_refusal(plan: &str, status: u16) {
    let venue = Venue::start(failing(plan)).await;
    let mut open = venue.subscribed(&SYMBOLS).await;
    venue.step_to(seconds(3)).await;
    for _ in 0..2 {
        assert_eq!(venue.try_connect("?token=demo").await.err(), Some(status), "{plan}");
    }
    assert_eq!(venue.statistics().connections_refused, 2);
    assert_eq!(venue.statistics().faults, 1);
    assert!(venue.text(&mut open).await.contains("trade"), "open ones stay");
    venue.step_to(seconds(8)).await;
    assert!(venue.try_connect("?token=demo").await.is_ok());
}

#[tokio::test]
async fn a_handshake_may_be_slow() {
    let venue = Venue::start(failing("slow@0s:3s")).await;
    let (client, at) = tokio::join!(venue.connect(), venue.step());
    assert_eq!(at, START.plus(seconds(3)));
    client.vanish();
    venue.connect().await;
    assert_eq!(venue.statistics().faults, 1);
}

/// The first message that is no trades, and the one after it.
async fn odd_one(plan: &str) -> (Venue, Client, String) {
    let (venue, mut client) = met(plan, seconds(1)).await;
    loop {
        let text = venue.text(&mut client).await;
        if !text.starts_with(r#"{"data""#) {
            return (venue, client, text);
        }
    }
}

#[tokio::test]
async fn odd_messages_come_once_and_trades_go_on() {
    for (plan, expected) in [
        ("garbage@2s", "<html>502 Bad Gateway</html>"),
        ("error@2s", r#"{"msg":"Subscribing to too many symbols","type":"error"}"#),
    ] {
        let (venue, mut client, text) = odd_one(plan).await;
        assert_eq!(text, expected);
        assert!(venue.text(&mut client).await.contains("trade"), "{plan}");
        assert_eq!(venue.statistics().faults, 1);
    }
}

#[tokio::test]
async fn an_oversized_message_is_longer_than_clients_take() {
    let (_venue, _client, text) = odd_one("oversized@2s").await;
    assert_eq!(text.len(), 11_000_000);
    assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
}

#[tokio::test]
async fn text_may_be_no_utf8() {
    let (venue, mut client) = met("utf8@2s", seconds(1)).await;
    venue.step_until_fault().await;
    let (_, ending) = client.rest().await;
    assert!(matches!(ending, Err(Error::Utf8(_))), "{ending:?}");
}

#[tokio::test]
async fn a_message_is_repeated() {
    let mut config = replaying("max");
    config.faults = "dup@#2:3".parse().unwrap();
    let venue = Venue::replay(config, "one\n{\"data\":[{},{}]}\nthree").await;
    let mut client = venue.connect().await;
    client.ask("subscribe", "AAPL").await;
    assert_eq!(client.text().await, "one");
    for _ in 0..4 {
        assert_eq!(client.text().await, r#"{"data":[{},{}]}"#);
    }
    assert_eq!(client.text().await, "three");
    venue.asleep().await;
    let statistics = venue.statistics();
    assert_eq!((statistics.messages, statistics.messages_repeated), (3, 3));
    assert_eq!((statistics.trades, statistics.trades_repeated), (2, 6));
}

#[tokio::test]
async fn messages_come_in_fragments() {
    let mut config = replaying("max");
    config.faults = "fragments@#0:2".parse().unwrap();
    let venue = Venue::replay(config, "première\nseconde\ntroisième").await;
    let mut client = venue.connect().await;
    client.ask("subscribe", "AAPL").await;
    let between = Message::Ping("between".into());
    let text = |text: &str| Message::text(text);
    for expected in [between.clone(), text("première"), between, text("seconde"), text("troisième")]
    {
        assert_eq!(client.receive().await.unwrap().unwrap(), expected);
    }
}

#[tokio::test]
async fn a_fault_waits_for_a_subscription() {
    let venue = Venue::start(failing("garbage@1s")).await;
    let mut client = venue.connect().await;
    venue.step_to(seconds(10)).await;
    assert_eq!(venue.statistics().faults, 0);
    client.ask("subscribe", "AAPL").await;
    assert_eq!(client.text().await, "<html>502 Bad Gateway</html>");
}

#[tokio::test]
async fn faults_at_random_times_come_again_with_the_seed() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let venue = Venue::start(failing("random@20s,stall@1s:1s")).await;
        let _client = venue.subscribed(&SYMBOLS).await;
        venue.step_until_faults(2).await;
        runs.push((venue.env.clock.now(), venue.statistics().messages));
    }
    assert_eq!(runs[0], runs[1]);
}
