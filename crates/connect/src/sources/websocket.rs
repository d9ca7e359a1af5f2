//! A WebSocket as a live source: several subscribe messages, heartbeats, keep-alives.
//!
//! Every data message becomes one frame, text and binary alike, as it came; only a message that an
//! [`AliveRule`] recognises, and the protocol's own pings and pongs, are not journaled. Pings are
//! answered. A message longer than [`FRAME_BYTES_MAX`](thalweg_core::frame::FRAME_BYTES_MAX) leaves
//! its head and its length, and the connection goes on.
//!
//! The token of a feed stands in its URL, in a header or in a subscribe message, so none of these
//! is ever shown: not in an error, not in `Debug`, not in a log line.
//!
//! Not here: reconnecting and watching for silence ([`crate::feed`]), venues ([`crate::presets`]).

mod alive;
mod handshake;
mod wire;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use rand::Rng;
use rand::rngs::SmallRng;
use thalweg_core::env::{Clock, Env};
use thalweg_core::error::{Error, Result};
use thalweg_core::frame::Frame;
use thalweg_core::source::{Source, SourceEvent};
use thalweg_core::time::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::MaybeTlsStream;

use self::handshake::Target;
use self::wire::{Incoming, Reader, Writer};
use super::secrets::redact_url;

pub use self::alive::AliveRule;

/// How long saying good-bye may take.
const GOODBYE_WAIT: Duration = Duration::from_secs(1);

/// Stands for the one key of a feed that names none.
const EVERY_KEY: &str = "*";

/// How to reach and keep a WebSocket feed.
#[derive(Clone)]
pub struct WebSocketConfig {
    /// Address, `ws://` or `wss://`. What stands in its query is kept secret. No default.
    pub url: String,
    /// Headers of the upgrade, by name and value; values are kept secret. Default none.
    pub headers: Vec<(String, String)>,
    /// Text messages sent after connecting, in order. Default none.
    pub subscribe: Vec<String>,
    /// Pause between two subscribe messages. Default 20 ms; 0 sends them all at once. A feed that
    /// takes 5 messages a second needs 200 ms.
    pub subscribe_interval: Duration,
    /// Text message sent at a steady pace, if the feed wants one. Default none.
    pub heartbeat: Option<Heartbeat>,
    /// Messages that show that the feed is alive and are not journaled. Default none.
    pub alive: Vec<AliveRule>,
    /// Messages by which the feed says that it will be gone soon: the connection is left at once, and
    /// they are not journaled. Default none.
    pub leave: Vec<AliveRule>,
    /// Keys of which records are missed while there is no connection, such as symbols; a gap is
    /// marked for each. Default: one key, `*`.
    pub keys: Vec<String>,
    /// Silence after which the feed counts as dead: no message, ping or pong. Default 2 min; from
    /// 1 s; two to three times the pace at which the feed shows that it is alive.
    pub stale_after: Duration,
    /// Longest time for TCP, TLS and the upgrade together, and for sending each subscribe message.
    /// Default 10 s.
    pub connect_timeout: Duration,
}

/// A text message that a feed wants to hear now and then.
#[derive(Clone)]
pub struct Heartbeat {
    /// The message.
    pub message: String,
    /// Time between two of them, from 1 s.
    pub every: Duration,
}

impl WebSocketConfig {
    /// A feed at `url`, with the default of every other field.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            headers: Vec::new(),
            subscribe: Vec::new(),
            subscribe_interval: Duration::from_millis(20),
            heartbeat: None,
            alive: Vec::new(),
            leave: Vec::new(),
            keys: Vec::new(),
            stale_after: Duration::from_secs(120),
            connect_timeout: Duration::from_secs(10),
        }
    }
}

impl fmt::Debug for WebSocketConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("WebSocketConfig")
            .field("url", &redact_url(&self.url))
            .field("headers", &headers)
            .field("subscribe", &self.subscribe.len())
            .field("heartbeat_every", &self.heartbeat.as_ref().map(|heartbeat| heartbeat.every))
            .field("alive", &self.alive)
            .field("keys", &self.keys)
            .field("stale_after", &self.stale_after)
            .finish_non_exhaustive()
    }
}

/// A live source over a WebSocket.
///
/// Its frames carry connection 0: the driver, which counts connections, puts the number in.
pub struct WebSocket {
    config: WebSocketConfig,
    target: Target,
    clock: Clock,
    masks: SmallRng,
    connection: Option<Connection>,
    // The feed asked to be left alone until then.
    not_before: Timestamp,
}

/// An open connection.
struct Connection {
    input: ReadHalf<MaybeTlsStream<TcpStream>>,
    output: WriteHalf<MaybeTlsStream<TcpStream>>,
    reader: Reader,
    writer: Writer,
    // TLS may hold back what was written to it.
    is_flushed: bool,
    heartbeat_at: Timestamp,
}

impl Connection {
    /// Writes everything that is queued.
    ///
    /// # Cancel safety
    ///
    /// What was not written stays queued.
    async fn send(&mut self) -> std::io::Result<()> {
        send(&mut self.output, &mut self.writer, &mut self.is_flushed).await
    }
}

/// [`Connection::send`] on parts of a connection, so that another part can be read meanwhile.
async fn send(
    output: &mut WriteHalf<MaybeTlsStream<TcpStream>>,
    writer: &mut Writer,
    is_flushed: &mut bool,
) -> std::io::Result<()> {
    while !writer.is_empty() {
        *is_flushed = false;
        if output.write_buf(writer.queued()).await? == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
    }
    output.flush().await?;
    *is_flushed = true;
    Ok(())
}

impl WebSocket {
    /// A source that is not connected yet.
    ///
    /// # Errors
    ///
    /// `Invalid` when the address or a header is malformed, or a time is too short.
    pub fn new(config: WebSocketConfig, env: &Env) -> Result<Self> {
        let target = Target::new(&config.url, &config.headers)?;
        let second = Duration::from_secs(1);
        if config.stale_after < second {
            return Err(Error::invalid("`stale_after` is shorter than a second"));
        }
        if config.heartbeat.as_ref().is_some_and(|heartbeat| heartbeat.every < second) {
            return Err(Error::invalid("the heartbeat of the feed is faster than one a second"));
        }
        Ok(Self {
            target,
            clock: env.clock.clone(),
            masks: env.rng(&format!("websocket masks of {}", redact_url(&config.url))),
            connection: None,
            not_before: Timestamp::MIN,
            config,
        })
    }

    async fn subscribe(&mut self, mut connection: Connection) -> Result<Connection> {
        for (number, message) in self.config.subscribe.iter().enumerate() {
            if number > 0 && !self.config.subscribe_interval.is_zero() {
                self.clock.sleep(self.config.subscribe_interval).await;
            }
            connection.writer.text(message, self.masks.random());
            timeout(self.config.connect_timeout, connection.send())
                .await
                .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
                .map_err(|error| {
                    let shown = self.target.shown();
                    Error::unavailable(format!("cannot subscribe at {shown}")).with_source(error)
                })?;
        }
        Ok(connection)
    }

    /// The event a message stands for, if it stands for one that the driver must hear of.
    fn event(&mut self, message: Incoming) -> SourceEvent {
        let connection = self.connection.as_mut().expect("a message came over it");
        match message {
            Incoming::Data(bytes) => {
                if self.config.alive.iter().any(|rule| rule.matches(&bytes)) {
                    return SourceEvent::Alive;
                }
                if self.config.leave.iter().any(|rule| rule.matches(&bytes)) {
                    return SourceEvent::Closed("as it is shutting down".to_owned());
                }
                SourceEvent::Frame(Frame { received_at: self.clock.now(), connection: 0, bytes })
            }
            Incoming::Oversized { length, head } => {
                SourceEvent::Oversized { received_at: self.clock.now(), length, head }
            }
            Incoming::Ping(payload) => {
                connection.writer.pong(payload, self.masks.random());
                SourceEvent::Alive
            }
            Incoming::Pong => SourceEvent::Alive,
            Incoming::Close(reason) => SourceEvent::Closed(self.target.scrub(&reason)),
        }
    }

    /// Waits until a message is here, sending meanwhile what must be sent; `None` at the end.
    async fn receive(&mut self) -> Result<Option<Incoming>> {
        let connection = self
            .connection
            .as_mut()
            .ok_or_else(|| Error::internal("a source is read that is not connected"))?;
        loop {
            if let Some(message) = connection.reader.next()? {
                return Ok(Some(message));
            }
            let until_heartbeat = connection.heartbeat_at.since(self.clock.now());
            let must_send = !connection.writer.is_empty() || !connection.is_flushed;
            let Connection { input, output, reader, writer, is_flushed, heartbeat_at } = connection;
            let moved = tokio::select! {
                sent = send(output, writer, is_flushed), if must_send => sent.map(|()| 1),
                read = input.read_buf(reader.space()) => read,
                () = self.clock.sleep(until_heartbeat), if self.config.heartbeat.is_some() => {
                    if let Some(heartbeat) = &self.config.heartbeat {
                        *heartbeat_at = self.clock.now().plus(heartbeat.every);
                        // One at a time: a far end that does not read needs no second one.
                        if writer.is_empty() {
                            writer.text(&heartbeat.message, self.masks.random());
                        }
                    }
                    Ok(1)
                }
            };
            match moved {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) => {
                    let shown = self.target.shown();
                    return Err(Error::unavailable(format!("lost the connection to {shown}"))
                        .with_source(error));
                }
            }
        }
    }
}

#[async_trait]
impl Source for WebSocket {
    async fn connect(&mut self) -> Result<()> {
        self.connection = None;
        let ban = self.not_before.since(self.clock.now());
        if !ban.is_zero() {
            self.clock.sleep(ban).await;
        }
        let dialled = timeout(self.config.connect_timeout, self.target.dial()).await;
        let upgraded = match dialled {
            Ok(Ok(upgraded)) => upgraded,
            Ok(Err(refusal)) => {
                if let Some(retry_after) = refusal.retry_after {
                    self.not_before = self.clock.now().plus(retry_after);
                }
                return Err(refusal.error);
            }
            Err(_) => {
                let shown = self.target.shown();
                return Err(Error::unavailable(format!("{shown} did not answer in time"))
                    .with_detail(format!("Waited {:?}.", self.config.connect_timeout)));
            }
        };
        let (input, output) = tokio::io::split(upgraded.stream);
        let beat = self.config.heartbeat.as_ref().map(|heartbeat| heartbeat.every);
        let connection = Connection {
            input,
            output,
            reader: Reader::new(&upgraded.received),
            writer: Writer::default(),
            is_flushed: true,
            heartbeat_at: self.clock.now().plus(beat.unwrap_or_default()),
        };
        self.connection = Some(self.subscribe(connection).await?);
        Ok(())
    }

    async fn next(&mut self) -> Result<SourceEvent> {
        Ok(match self.receive().await? {
            Some(message) => self.event(message),
            None => SourceEvent::Closed("without a close frame".to_owned()),
        })
    }

    async fn disconnect(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            connection.writer.close(self.masks.random());
            // Whether the far end hears it makes no difference to us.
            let _ = timeout(GOODBYE_WAIT, connection.send()).await;
        }
    }

    fn keys(&self) -> Vec<String> {
        if self.config.keys.is_empty() {
            return vec![EVERY_KEY.to_owned()];
        }
        self.config.keys.clone()
    }

    fn stale_after(&self) -> Duration {
        self.config.stale_after
    }
}
