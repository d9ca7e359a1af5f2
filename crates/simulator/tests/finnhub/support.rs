//! A simulator on a stepped clock, and a client that speaks as Finnhub's do.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use thalweg_core::env::{Clock, Env};
use thalweg_core::time::Timestamp;
use thalweg_sim::MemDisk;
use thalweg_simulator::{Feed, ReplayConfig, Running, Simulator, SimulatorConfig, Statistics};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A Friday, in New York's morning.
pub(crate) const START: Timestamp = Timestamp(1_703_258_640_000_000);

/// Longest wait for anything.
const WAIT: Duration = Duration::from_secs(20);

pub(crate) const PING: &str = r#"{"type":"ping"}"#;
pub(crate) const INVALID_SYMBOL: &str = r#"{"msg":"Invalid symbol","type":"error"}"#;

/// A running simulator.
pub(crate) struct Venue {
    pub(crate) env: Env,
    pub(crate) running: Running,
}

/// A configuration that takes a free port.
pub(crate) fn config() -> SimulatorConfig {
    SimulatorConfig { listen: "127.0.0.1:0".parse().unwrap(), ..SimulatorConfig::default() }
}

/// A configuration that replays `/recorded.ndjson`.
pub(crate) fn replaying(speed: &str) -> SimulatorConfig {
    let mut replay = ReplayConfig::new(vec![PathBuf::from("/recorded.ndjson")]);
    replay.speed = speed.parse().unwrap();
    SimulatorConfig { feed: Feed::Replay(replay), ..config() }
}

/// An environment on a stepped clock, with a recording.
pub(crate) fn env(recorded: &str) -> Env {
    let env = Env {
        clock: Clock::stepped(START),
        disk: Arc::new(MemDisk::new(0)),
        shutdown: CancellationToken::new(),
        tasks: TaskTracker::new(),
        seed: 7,
    };
    env.disk.write_whole(&PathBuf::from("/recorded.ndjson"), recorded.as_bytes()).unwrap();
    env
}

impl Venue {
    pub(crate) async fn start(config: SimulatorConfig) -> Self {
        Self::replay(config, "").await
    }

    pub(crate) async fn replay(config: SimulatorConfig, recorded: &str) -> Self {
        let env = env(recorded);
        let running = Simulator::start(&env, config).await.unwrap();
        Self { env, running }
    }

    /// Connects, or tells the HTTP status of the refusal.
    pub(crate) async fn try_connect(&self, query: &str) -> Result<Client, u16> {
        let url = format!("{}{query}", self.running.finnhub_url());
        let config = WebSocketConfig::default().max_frame_size(None).max_message_size(None);
        let connecting = connect_async_with_config(url, Some(config), true);
        match timeout(WAIT, connecting).await.expect("an answer") {
            Ok((socket, _)) => Ok(Client { socket }),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("no HTTP: {error}"),
        }
    }

    pub(crate) async fn connect(&self) -> Client {
        self.try_connect("?token=demo").await.expect("the token is right")
    }

    /// A client with `symbols` subscribed, and the simulator knows.
    pub(crate) async fn subscribed(&self, symbols: &[&str]) -> Client {
        let mut client = self.connect().await;
        for symbol in symbols {
            client.subscribe(symbol).await;
        }
        client
    }

    pub(crate) fn statistics(&self) -> Statistics {
        self.running.statistics()
    }

    /// Waits until the simulator has nothing to do before a time, and tells it.
    pub(crate) async fn asleep(&self) -> Timestamp {
        let sleeping = async {
            loop {
                if let Some(deadline) = self.env.clock.next_deadline() {
                    return deadline;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(WAIT, sleeping).await.expect("the simulator sleeps")
    }

    /// Steps the clock to when the simulator next has something to do; that time.
    pub(crate) async fn step(&self) -> Timestamp {
        let deadline = self.asleep().await;
        self.env.clock.step_to(deadline);
        deadline
    }

    /// Steps the clock as long as the simulator has something to do by then, and to `after`.
    pub(crate) async fn step_to(&self, after: Duration) {
        let to = START.plus(after);
        while self.asleep().await <= to {
            self.step().await;
        }
        self.env.clock.step_to(to);
    }

    /// Waits until no more messages are sent, the socket being full or everything sent.
    ///
    /// Too short a wait would make a test weaker, not fail it.
    pub(crate) async fn until_it_waits(&self) {
        let mut sent = None;
        while sent != Some(self.statistics().messages) {
            sent = Some(self.statistics().messages);
            for _ in 0..10_000 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Steps the clock until a fault has had its effect.
    pub(crate) async fn step_until_fault(&self) {
        self.step_until_faults(1).await;
    }

    pub(crate) async fn step_until_faults(&self, faults: u64) {
        let stepping = async {
            while self.statistics().faults < faults {
                // A connection that has ended sleeps no more.
                if let Some(deadline) = self.env.clock.next_deadline() {
                    self.env.clock.step_to(deadline);
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(WAIT, stepping).await.expect("a fault");
    }

    /// The next text for `client`, stepping the clock until there is one.
    pub(crate) async fn text(&self, client: &mut Client) -> String {
        self.heard(client).await.into_text().expect("text").to_string()
    }

    /// The next message for `client`, stepping the clock until there is one.
    pub(crate) async fn heard(&self, client: &mut Client) -> Message {
        let stepping = async {
            loop {
                self.step().await;
            }
        };
        tokio::select! {
            biased;
            message = client.receive() => message.expect("still connected").expect("a message"),
            () = stepping => unreachable!("it steps for ever"),
        }
    }
}

impl Drop for Venue {
    fn drop(&mut self) {
        self.env.shutdown.cancel();
    }
}

/// A connected client.
pub(crate) struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    pub(crate) async fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn ask(&mut self, kind: &str, symbol: &str) {
        self.send(&format!(r#"{{"type":"{kind}","symbol":"{symbol}"}}"#)).await;
    }

    /// Subscribes, and waits until the simulator knows: it answers a request that is wrong.
    pub(crate) async fn subscribe(&mut self, symbol: &str) {
        self.ask("subscribe", symbol).await;
        self.send(r#"{"type":"subscribe"}"#).await;
        let answer = self.receive().await.unwrap().unwrap().into_text().unwrap();
        assert_eq!(answer.as_str(), INVALID_SYMBOL, "a subscription has no acknowledgement");
    }

    /// The next message; `None` at the end.
    pub(crate) async fn receive(&mut self) -> Option<Result<Message, Error>> {
        timeout(WAIT, self.socket.next()).await.expect("a message")
    }

    /// The next text message, without touching the clock.
    pub(crate) async fn text(&mut self) -> String {
        self.receive().await.unwrap().unwrap().into_text().unwrap().to_string()
    }

    /// Everything that still comes, and how the connection ends: a close frame's code, if any.
    pub(crate) async fn rest(&mut self) -> (Vec<Message>, Result<Option<u16>, Error>) {
        let mut messages = Vec::new();
        let mut code = None;
        loop {
            match self.receive().await {
                None => return (messages, Ok(code)),
                Some(Ok(Message::Close(frame))) => code = frame.map(|frame| frame.code.into()),
                Some(Ok(message)) => messages.push(message),
                Some(Err(error)) => return (messages, Err(error)),
            }
        }
    }

    /// Leaves without a word.
    pub(crate) fn vanish(self) {
        drop(self);
    }
}

/// Recorded data, if there is any on this machine.
pub(crate) fn recorded(path: &str) -> Option<String> {
    let folder = std::env::var_os("THALWEG_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    let path = folder.join(path);
    let text = std::fs::read_to_string(&path).ok();
    if text.is_none() {
        println!("skipped: no recorded data at {} (set THALWEG_DATA)", path.display());
    }
    text
}
