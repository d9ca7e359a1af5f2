//! Recorded messages: each once, in order, at their pace.

use std::time::Duration;

use thalweg_core::time::Timestamp;
use thalweg_simulator::{Feed, ReplayState};

use crate::support::{Client, PING, START, Venue, recorded, replaying};

async fn state(venue: &Venue, wanted: ReplayState) {
    let mut state = venue.running.replay().unwrap();
    let reached = state.wait_for(|state| *state == wanted);
    tokio::time::timeout(Duration::from_secs(20), reached).await.unwrap().unwrap();
}

async fn receive_all(client: &mut Client, count: usize, into: &mut Vec<String>) {
    while into.len() < count {
        into.push(client.text().await);
    }
}

/// What still comes until the simulator ends the connection.
async fn receive_rest(client: &mut Client, into: &mut Vec<String>) {
    let (messages, _) = client.rest().await;
    into.extend(messages.into_iter().map(|message| message.into_text().unwrap().to_string()));
}

#[tokio::test]
async fn a_capture_comes_once_and_in_order_over_reconnects() {
    let Some(capture) = recorded("finnhub/trades-2023-12-22_25.ndjson") else { return };
    check_once(&capture).await;
}

#[tokio::test]
async fn long_messages_come_once_and_in_order_over_reconnects() {
    // More than sockets hold.
    let padding = "x".repeat(60_000);
    let lines: Vec<String> = (0..1000).map(|n| format!(r#"{{"n":{n},"p":"{padding}"}}"#)).collect();
    check_once(&lines.join("\n")).await;
}

/// Plays `recording` to clients that are cut in every way, and compares what they got.
async fn check_once(recording: &str) {
    let mut config = replaying("max");
    config.faults = "close@#100,goodbye@#250,close@#251,fragments@#300:50".parse().unwrap();
    let venue = Venue::replay(config, recording).await;
    let expected: Vec<&str> = recording.lines().collect();
    assert_eq!(*venue.running.replay().unwrap().borrow(), ReplayState::Waiting);
    let mut received = Vec::new();
    for count in [100, 250, 251] {
        let mut client = venue.connect().await;
        client.ask("subscribe", "AAPL").await;
        receive_rest(&mut client, &mut received).await;
        assert_eq!(received.len(), count);
    }
    // Connections that are thrown out by the next one at any moment.
    let mut client = venue.connect().await;
    client.ask("subscribe", "AAPL").await;
    for part in 1..=4 {
        let count = (received.len() + 20 * part).min(expected.len());
        while received.len() < count {
            let message = client.receive().await.unwrap().unwrap();
            received.extend(message.is_text().then(|| message.into_text().unwrap().to_string()));
        }
        venue.until_it_waits().await;
        // The older one is not reading: what it is cut in must come again, whole.
        let next = venue.connect().await;
        let (messages, _) = client.rest().await;
        let texts = messages.into_iter().filter(|message| message.is_text());
        received.extend(texts.map(|message| message.into_text().unwrap().to_string()));
        client = next;
        client.ask("subscribe", "AAPL").await;
    }
    receive_all(&mut client, expected.len(), &mut received).await;
    for (number, (received, expected)) in received.iter().zip(&expected).enumerate() {
        assert_eq!(received, expected, "message {number}");
    }
    state(&venue, ReplayState::Ended).await;
    assert_eq!(venue.statistics().messages, expected.len() as u64);

    // The feed stays open and silent.
    assert_eq!(venue.text(&mut client).await, PING);
    client.vanish();
    let mut client = venue.subscribed(&["AAPL"]).await;
    assert_eq!(venue.text(&mut client).await, PING);
}

fn message(millis: i64) -> String {
    let older = millis - 5000;
    format!(r#"{{"data":[{{"t":{millis}}},{{"t":{older}}}],"type":"trade"}}"#)
}

/// Event times in milliseconds, and the pauses at speed 1 cut to a second.
const TIMES: [i64; 7] = [70_000, 70_400, 70_100, 70_500, 80_500, 80_500, 80_750];
const PAUSES: [u64; 7] = [0, 400, 0, 100, 1000, 0, 250];

#[tokio::test]
async fn the_pace_is_that_of_the_newest_event_time() {
    check_pace("1", 1, PAUSES).await;
    check_pace("10", 1000, [0, 40, 0, 10, 1000, 0, 25]).await;
    check_pace("100", 1000, [0, 4, 0, 1, 100, 0, 2]).await;
    check_pace("max", 1000, [0; 7]).await;
}

async fn check_pace(speed: &str, max_pause_s: u64, pauses: [u64; 7]) {
    let mut config = replaying(speed);
    if let Feed::Replay(replay) = &mut config.feed {
        replay.max_pause = Duration::from_secs(max_pause_s);
    }
    let recording: Vec<String> = TIMES.into_iter().map(message).collect();
    let venue = Venue::replay(config, &recording.join("\n")).await;
    let mut client = venue.connect().await;
    // It begins at the first subscribe, however late.
    venue.step_to(Duration::from_secs(5)).await;
    client.ask("subscribe", "AAPL").await;
    assert_eq!(client.text().await, recording[0]);
    let mut at = START.plus(Duration::from_secs(5));
    let mut sent = 0;
    for (number, pause) in pauses.into_iter().enumerate() {
        if pause > 0 {
            sent = number as u64;
            assert_eq!(venue.asleep().await.millis(), at.millis() + pause as i64, "{speed}");
            assert_eq!(venue.statistics().messages, sent, "speed {speed}, message {number}");
            at = venue.step().await;
        }
    }
    venue.asleep().await;
    assert!(sent <= venue.statistics().messages);
    assert_eq!(venue.statistics().messages, 7, "speed {speed}");
    assert_eq!(venue.statistics().trades, 14);
}

#[tokio::test]
async fn time_without_a_connection_is_not_caught_up() {
    let recording: Vec<String> = TIMES.into_iter().map(message).collect();
    let venue = Venue::replay(replaying("1"), &recording.join("\n")).await;
    let mut client = venue.connect().await;
    client.ask("subscribe", "AAPL").await;
    assert_eq!(client.text().await, recording[0]);
    client.vanish();
    let mut client = venue.connect().await;
    venue.step_to(Duration::from_secs(30)).await;
    client.ask("subscribe", "AAPL").await;
    let is_paused = |deadline: Timestamp| deadline == START.plus(Duration::from_millis(30_400));
    while !is_paused(venue.asleep().await) {
        tokio::task::yield_now().await;
    }
    assert_eq!(venue.statistics().messages, 1);
}

#[tokio::test]
async fn lines_are_sent_as_they_are() {
    let recording = "{broken\r\n\n{\"type\":\"ping\"}\nnull\n[1, 2]\n{\"data\":7}\nlast";
    let mut config = replaying("1");
    if let Feed::Replay(replay) = &mut config.feed {
        replay.files.push("/recorded.ndjson".into());
    }
    let venue = Venue::replay(config, recording).await;
    let mut client = venue.connect().await;
    client.ask("subscribe", "ANYTHING").await;
    for _ in 0..2 {
        for line in ["{broken", PING, "null", "[1, 2]", r#"{"data":7}"#, "last"] {
            assert_eq!(client.text().await, line);
        }
    }
    state(&venue, ReplayState::Ended).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_replay_back() {
    let line = "x".repeat(10_000);
    let lines = 5000;
    let recording = vec![line.as_str(); lines].join("\n");
    let venue = Venue::replay(replaying("max"), &recording).await;
    let mut client = venue.connect().await;
    client.ask("subscribe", "AAPL").await;
    assert_eq!(client.text().await, line);
    venue.until_it_waits().await;
    let sent = venue.statistics().messages as usize;
    assert!(sent < lines / 2, "{sent} messages are more than sockets hold");
    for _ in 1..lines {
        assert_eq!(client.text().await, line);
    }
    state(&venue, ReplayState::Ended).await;
}
