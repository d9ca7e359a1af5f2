//! One open connection: what the client asks, what it is sent, what goes wrong.
//!
//! A single task reads and writes, one message at a time. The feed is its own while it lasts, so
//! that two connections never send the same message.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, SinkExt, StreamExt};
use serde::Deserialize;
use thalweg_core::time::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};
use tokio_util::sync::CancellationToken;

use crate::exchange::Exchange;
use crate::faults::Fault;
use crate::market::{Batch, Market, Said};
use crate::replay::{Cue, Recorded, Replay};

const PING: &[u8] = br#"{"type":"ping"}"#;
const INVALID_SYMBOL: &[u8] = br#"{"msg":"Invalid symbol","type":"error"}"#;
const TOO_MANY_SYMBOLS: &[u8] = br#"{"msg":"Subscribing to too many symbols","type":"error"}"#;
const GARBAGE: &[u8] = b"<html>502 Bad Gateway</html>";
const INVALID_UTF8: &[u8] = b"{\"data\":[{\"c\":null,\"p\":1,\"s\":\"\xff\xfe\"";

/// Length of the message of the fault `oversized`.
const OVERSIZED_BYTES: usize = 11_000_000;

/// Longest time for a client to take its leave.
const GOODBYE_WAIT: Duration = Duration::from_secs(1);

/// Where the messages of a connection come from.
pub(crate) enum Supply {
    Market(Market),
    Replay(Replay),
}

/// An open connection.
pub(crate) struct Session<'a> {
    exchange: &'a Exchange,
    socket: WebSocketStream<TcpStream>,
    supply: OwnedMutexGuard<Supply>,
    // Fires when another connection takes the token.
    cut: CancellationToken,
    symbols: BTreeSet<String>,
    // Since when nothing has been sent.
    quiet_since: Timestamp,
    stalled_until: Option<Timestamp>,
    // How many messages are still to be sent in fragments.
    fragments: u64,
    // How often the last message is still to be sent again.
    repeats: u64,
    last: Option<Outgoing>,
}

/// A message of the feed.
#[derive(Clone)]
struct Outgoing {
    text: Bytes,
    trades: u64,
    trades_spoilt: u64,
}

/// What is to be done next.
enum Next {
    Send(Outgoing),
    Repeat(Outgoing),
    Ping,
    Wait(Timestamp),
}

/// How a connection ends.
pub(crate) enum Ending {
    /// Without a close frame, after what was sent.
    Cut,
    /// By a reset.
    Reset,
    /// With a close frame.
    Goodbye,
    /// The client left.
    Gone,
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        exchange: &'a Exchange,
        socket: WebSocketStream<TcpStream>,
        mut supply: OwnedMutexGuard<Supply>,
        cut: CancellationToken,
    ) -> Self {
        if let Supply::Market(market) = &mut *supply {
            market.unsubscribe_all();
        }
        Self {
            socket,
            supply,
            cut,
            symbols: BTreeSet::new(),
            quiet_since: exchange.env.clock.now(),
            stalled_until: None,
            fragments: 0,
            repeats: 0,
            last: None,
            exchange,
        }
    }

    /// Serves the client until one of the two leaves.
    pub(crate) async fn run(mut self) {
        let (exchange, cut) = (self.exchange, self.cut.clone());
        // In this order: a connection that is cut sends nothing more, or the next one would repeat it.
        let ending = tokio::select! {
            biased;
            () = cut.cancelled() => Ending::Cut,
            () = exchange.env.shutdown.cancelled() => Ending::Goodbye,
            ending = self.converse() => ending.unwrap_or(Ending::Gone),
        };
        let Self { socket, supply, .. } = self;
        // The next connection need not wait for the goodbyes of this one.
        drop(supply);
        leave(socket, ending).await;
    }

    async fn converse(&mut self) -> Result<Ending, WebSocketError> {
        loop {
            // First what the client asks, or a fast feed would never hear it.
            while let Some(received) = self.socket.next().now_or_never() {
                if let Some(ending) = self.hear(received).await? {
                    return Ok(ending);
                }
            }
            let now = self.exchange.env.clock.now();
            if self.stalled_until.is_some_and(|until| until <= now) {
                self.stalled_until = None;
                // It was silent, not idle.
                self.quiet_since = now;
                self.resume(now);
            }
            if let Some(fault) = self.take_fault(now) {
                self.exchange.counters.faults.add(1);
                if let Some(ending) = self.suffer(fault, now).await? {
                    return Ok(ending);
                }
                continue;
            }
            match self.next(now).await {
                Next::Send(message) => self.send_message(message).await?,
                Next::Repeat(message) => self.send_again(message).await?,
                Next::Ping => {
                    self.send(Bytes::from_static(PING)).await?;
                    self.exchange.counters.pings.add(1);
                }
                Next::Wait(until) => {
                    let received = tokio::select! {
                        received = self.socket.next() => received,
                        () = self.exchange.env.clock.sleep(until.since(now)) => continue,
                    };
                    if let Some(ending) = self.hear(received).await? {
                        return Ok(ending);
                    }
                }
            }
        }
    }

    /// What is to be done at `now`.
    async fn next(&mut self, now: Timestamp) -> Next {
        let fault_at =
            if self.symbols.is_empty() { None } else { self.exchange.faults().next_at(now) };
        if let Some(until) = self.stalled_until {
            return Next::Wait(fault_at.map_or(until, |at| at.min(until)));
        }
        if self.repeats > 0
            && let Some(last) = &self.last
        {
            return Next::Repeat(last.clone());
        }
        let due = match self.supplied(now).await {
            Ok(message) => return Next::Send(message),
            Err(due) => due,
        };
        let ping_at = self.quiet_since.plus(self.exchange.config.ping_interval);
        if ping_at <= now {
            return Next::Ping;
        }
        Next::Wait([due, fault_at].into_iter().flatten().fold(ping_at, Timestamp::min))
    }

    /// The next message of the feed, or when there will be one.
    async fn supplied(&mut self, now: Timestamp) -> Result<Outgoing, Option<Timestamp>> {
        if self.symbols.is_empty() {
            return Err(None);
        }
        match &mut *self.supply {
            Supply::Market(market) => {
                let skips_before = market.skips();
                let said = market.say(now);
                self.exchange.counters.skips.add(market.skips() - skips_before);
                match said {
                    Said::Message(Batch { text, trades, trades_spoilt }) => {
                        Ok(Outgoing { text: text.into(), trades, trades_spoilt })
                    }
                    Said::Nothing(until) => Err(until),
                }
            }
            Supply::Replay(replay) => match replay.cue(now).await {
                Cue::Message(Recorded { text, trades, .. }) => {
                    Ok(Outgoing { text, trades, trades_spoilt: 0 })
                }
                Cue::Nothing(until) => Err(until),
            },
        }
    }

    /// Goes on after the feed stood still.
    fn resume(&mut self, now: Timestamp) {
        match &mut *self.supply {
            Supply::Market(market) => market.skip_to(now),
            Supply::Replay(replay) => replay.resume(now),
        }
    }

    fn take_fault(&self, now: Timestamp) -> Option<Fault> {
        if self.symbols.is_empty() {
            return None;
        }
        let messages = self.exchange.counters.messages.get();
        self.exchange.faults().take_open(now, messages, self.stalled_until.is_some())
    }

    async fn suffer(
        &mut self,
        fault: Fault,
        now: Timestamp,
    ) -> Result<Option<Ending>, WebSocketError> {
        match fault {
            Fault::Close => return Ok(Some(Ending::Cut)),
            Fault::Reset => return Ok(Some(Ending::Reset)),
            Fault::Goodbye => return Ok(Some(Ending::Goodbye)),
            Fault::Stall(length) => self.stalled_until = Some(now.plus(length)),
            Fault::Repeat(count) => self.repeats = count,
            Fault::Fragments(count) => self.fragments = count,
            Fault::Error => self.send_error(TOO_MANY_SYMBOLS).await?,
            Fault::Garbage => self.send(Bytes::from_static(GARBAGE)).await?,
            Fault::InvalidUtf8 => self.send(Bytes::from_static(INVALID_UTF8)).await?,
            Fault::Oversized => self.send(oversized()).await?,
            other => {
                debug_assert!(
                    other.is_of_open_connection(),
                    "{other:?} befalls no open connection"
                );
            }
        }
        Ok(None)
    }

    /// Acts on what came from the client.
    async fn hear(
        &mut self,
        received: Option<Result<Message, WebSocketError>>,
    ) -> Result<Option<Ending>, WebSocketError> {
        match received.transpose()? {
            None => Ok(Some(Ending::Gone)),
            Some(Message::Text(text)) => {
                self.obey(&text).await?;
                Ok(None)
            }
            Some(Message::Close(_)) => {
                // The answer is queued already; whether it arrives makes no difference to us.
                let _ = timeout(GOODBYE_WAIT, self.socket.flush()).await;
                Ok(Some(Ending::Gone))
            }
            Some(_) => Ok(None),
        }
    }

    /// Subscribes or unsubscribes. Nothing is acknowledged.
    async fn obey(&mut self, text: &str) -> Result<(), WebSocketError> {
        let Ok(Request { kind, symbol }) = serde_json::from_str(text) else {
            self.exchange.counters.requests_ignored.add(1);
            return Ok(());
        };
        match kind.as_str() {
            "subscribe" => match symbol.filter(|symbol| self.knows(symbol)) {
                None => self.send_error(INVALID_SYMBOL).await?,
                Some(symbol) if self.symbols.contains(&symbol) => {}
                Some(_) if self.symbols.len() >= self.exchange.config.symbols_max => {
                    self.send_error(TOO_MANY_SYMBOLS).await?;
                }
                Some(symbol) => {
                    let now = self.exchange.env.clock.now();
                    match &mut *self.supply {
                        Supply::Market(market) => market.subscribe(&symbol, now),
                        Supply::Replay(replay) if self.symbols.is_empty() => replay.resume(now),
                        Supply::Replay(_) => {}
                    }
                    self.symbols.insert(symbol);
                }
            },
            "unsubscribe" => {
                let Some(symbol) = symbol.filter(|symbol| self.symbols.remove(symbol)) else {
                    return Ok(());
                };
                if let Supply::Market(market) = &mut *self.supply {
                    market.unsubscribe(&symbol);
                }
            }
            _ => self.exchange.counters.requests_ignored.add(1),
        }
        Ok(())
    }

    /// Whether `symbol` may be subscribed to; a replay sends all it has whatever the symbols.
    fn knows(&self, symbol: &str) -> bool {
        match &*self.supply {
            Supply::Market(market) => market.knows(symbol),
            Supply::Replay(_) => !symbol.is_empty(),
        }
    }

    async fn send_message(&mut self, message: Outgoing) -> Result<(), WebSocketError> {
        if self.fragments > 0 {
            self.fragments -= 1;
            self.send_fragments(&message.text).await?;
        } else {
            self.send(message.text.clone()).await?;
        }
        // The socket has all of it, so it counts.
        if let Supply::Replay(replay) = &mut *self.supply {
            replay.sent();
        }
        let counters = &self.exchange.counters;
        counters.messages.add(1);
        counters.trades.add(message.trades);
        counters.messages_spoilt.add(u64::from(message.trades_spoilt > 0));
        counters.trades_spoilt.add(message.trades_spoilt);
        self.last = Some(message);
        Ok(())
    }

    async fn send_again(&mut self, message: Outgoing) -> Result<(), WebSocketError> {
        self.repeats -= 1;
        self.send(message.text).await?;
        self.exchange.counters.messages_repeated.add(1);
        self.exchange.counters.trades_repeated.add(message.trades);
        Ok(())
    }

    async fn send_error(&mut self, text: &'static [u8]) -> Result<(), WebSocketError> {
        if self.stalled_until.is_some() {
            return Ok(());
        }
        self.send(Bytes::from_static(text)).await?;
        self.exchange.counters.errors.add(1);
        Ok(())
    }

    /// Sends a text message, UTF-8 or not, and waits until the socket has all of it.
    async fn send(&mut self, text: Bytes) -> Result<(), WebSocketError> {
        self.socket.send(frame(text, Data::Text, true)).await?;
        self.quiet_since = self.exchange.env.clock.now();
        Ok(())
    }

    /// As [`Session::send`], in two frames with a ping between.
    async fn send_fragments(&mut self, text: &Bytes) -> Result<(), WebSocketError> {
        let middle = text.len() / 2;
        self.socket.feed(frame(text.slice(..middle), Data::Text, false)).await?;
        self.socket.feed(Message::Ping(Bytes::from_static(b"between"))).await?;
        self.socket.send(frame(text.slice(middle..), Data::Continue, true)).await?;
        self.quiet_since = self.exchange.env.clock.now();
        Ok(())
    }
}

/// What a client asks.
#[derive(Deserialize)]
struct Request {
    #[serde(rename = "type")]
    kind: String,
    symbol: Option<String>,
}

/// A frame as it is: the library would not write text that is no UTF-8.
fn frame(payload: Bytes, data: Data, is_final: bool) -> Message {
    Message::Frame(Frame::message(payload, OpCode::Data(data), is_final))
}

/// The message of the fault `oversized`.
fn oversized() -> Bytes {
    let (head, tail) = (br#"{"padding":""#, br#"","type":"trade"}"#);
    let mut text = Vec::with_capacity(OVERSIZED_BYTES);
    text.extend_from_slice(head);
    text.resize(OVERSIZED_BYTES - tail.len(), b'x');
    text.extend_from_slice(tail);
    text.into()
}

/// Ends a connection; takes a second at most.
pub(crate) async fn leave(mut socket: WebSocketStream<TcpStream>, ending: Ending) {
    // Whether the client hears any of it makes no difference to us.
    let _ = timeout(GOODBYE_WAIT, async {
        match ending {
            Ending::Cut => {
                let stream = socket.get_mut();
                stream.shutdown().await?;
                // Closing with something unread would reset the connection, and lose what was sent.
                while stream.read(&mut [0; 1024]).await? > 0 {}
            }
            Ending::Reset => socket.get_ref().set_zero_linger()?,
            Ending::Goodbye => {
                let frame = CloseFrame { code: CloseCode::Away, reason: "".into() };
                socket.close(Some(frame)).await?;
                while let Some(received) = socket.next().await {
                    received?;
                }
            }
            Ending::Gone => {}
        }
        Ok::<(), WebSocketError>(())
    })
    .await;
}
