//! One open connection: what the client asks, what it is sent, what goes wrong. Finnhub's words are
//! in `finnhub`, those of others in `venues`.
//!
//! A single task reads and writes, one message at a time. The feed is its own while it lasts, so
//! that two connections never send the same message.

mod ending;
mod finnhub;
mod frames;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, SinkExt, StreamExt};
use thalweg_core::time::Timestamp;
use tokio::net::TcpStream;
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::Data;
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};
use tokio_util::sync::CancellationToken;

use self::ending::GOODBYE_WAIT;
pub(crate) use self::ending::{Ending, leave};
use self::finnhub::{PING, TOO_MANY_SYMBOLS};
use self::frames::{GARBAGE, INVALID_UTF8, frame, oversized, with_field, with_key_twice};
use crate::exchange::Exchange;
use crate::faults::Fault;
use crate::market::{Batch, Market, Said};
use crate::replay::{Cue, Recorded, Replay};
use crate::venues::{Idle, Reply, Told, Venue};

/// How long a connection goes on after the venue has said that it shuts down.
const SHUTDOWN_AFTER: Duration = Duration::from_secs(10);

/// Where the messages of a connection come from.
pub(crate) enum Supply {
    Market(Market),
    Replay(Replay),
}

/// An open connection.
pub(crate) struct Session<'a> {
    exchange: &'a Exchange,
    socket: WebSocketStream<TcpStream>,
    // None for a venue that makes its trades itself.
    supply: Option<OwnedMutexGuard<Supply>>,
    // None: it speaks as Finnhub.
    venue: Option<Box<dyn Venue>>,
    // Fires when another connection takes the token.
    cut: CancellationToken,
    symbols: BTreeSet<String>,
    // Since when nothing has been sent.
    quiet_since: Timestamp,
    stalled_until: Option<Timestamp>,
    // How many messages are still to be sent in fragments.
    fragments: u64,
    // Whether the client of a venue that replays has asked for anything.
    has_asked: bool,
    // How many messages are still to be kept back, or to have a field more.
    skips: u64,
    fields: u64,
    twice: u64,
    // When it ends, once it has said so.
    ends_at: Option<Timestamp>,
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
    /// A sign of life.
    Beat(Message),
    End(Ending),
    Wait(Timestamp),
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        exchange: &'a Exchange,
        socket: WebSocketStream<TcpStream>,
        mut supply: Option<OwnedMutexGuard<Supply>>,
        venue: Option<Box<dyn Venue>>,
        cut: CancellationToken,
    ) -> Self {
        if let Some(Supply::Market(market)) = supply.as_deref_mut() {
            market.unsubscribe_all();
        }
        Self {
            socket,
            supply,
            venue,
            cut,
            symbols: BTreeSet::new(),
            quiet_since: exchange.env.clock.now(),
            stalled_until: None,
            fragments: 0,
            has_asked: false,
            skips: 0,
            fields: 0,
            twice: 0,
            ends_at: None,
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
        if let Some(venue) = self.venue.as_mut().filter(|_| self.supply.is_none()) {
            for text in venue.greet() {
                self.send(text).await?;
            }
        }
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
                Next::Beat(message) => {
                    self.socket.send(message).await?;
                    self.quiet_since = self.exchange.env.clock.now();
                    self.exchange.counters.pings.add(1);
                }
                Next::End(ending) => return Ok(ending),
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
            if self.is_subscribed() { self.exchange.faults().next_at(now) } else { None };
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
        let until = match self.idle(now) {
            Ok(until) => until,
            Err(next) => return next,
        };
        Next::Wait([due, fault_at, self.ends_at].into_iter().flatten().fold(until, Timestamp::min))
    }

    /// Until when nothing is to be done beside the feed, or what is.
    fn idle(&mut self, now: Timestamp) -> Result<Timestamp, Next> {
        if self.ends_at.is_some_and(|at| at <= now) {
            return Err(Next::End(Ending::Goodbye));
        }
        let text = |text| frame(text, Data::Text, true);
        match &mut self.venue {
            Some(venue) => match venue.idle(now, self.quiet_since, self.supply.is_some()) {
                Idle::Say(said) => Err(Next::Beat(text(said))),
                Idle::Ping(payload) => Err(Next::Beat(Message::Ping(payload))),
                Idle::Cut => Err(Next::End(Ending::Cut)),
                Idle::Goodbye => Err(Next::End(Ending::Goodbye)),
                Idle::Wait(until) => Ok(until),
            },
            None => {
                let ping_at = self.quiet_since.plus(self.exchange.config.ping_interval);
                match ping_at <= now {
                    true => Err(Next::Beat(text(Bytes::from_static(PING)))),
                    false => Ok(ping_at),
                }
            }
        }
    }

    fn is_subscribed(&self) -> bool {
        match &self.venue {
            Some(_) if self.supply.is_some() => self.has_asked,
            Some(venue) => venue.is_subscribed(),
            None => !self.symbols.is_empty(),
        }
    }

    /// The next message of the feed, or when there will be one.
    async fn supplied(&mut self, now: Timestamp) -> Result<Outgoing, Option<Timestamp>> {
        if !self.is_subscribed() {
            return Err(None);
        }
        let supply = match (self.supply.as_deref_mut(), &mut self.venue) {
            (Some(supply), _) => supply,
            (None, Some(venue)) => {
                let Told { text, trades } = venue.next(now)?;
                return Ok(Outgoing { text, trades, trades_spoilt: 0 });
            }
            (None, None) => return Err(None),
        };
        match supply {
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
                    let text = match &self.venue {
                        Some(venue) => venue.recorded(text),
                        None => text,
                    };
                    Ok(Outgoing { text, trades, trades_spoilt: 0 })
                }
                Cue::Nothing(until) => Err(until),
            },
        }
    }

    /// Goes on after the feed stood still.
    fn resume(&mut self, now: Timestamp) {
        match (self.supply.as_deref_mut(), &mut self.venue) {
            (Some(Supply::Market(market)), _) => market.skip_to(now),
            (Some(Supply::Replay(replay)), _) => replay.resume(now),
            (None, Some(venue)) => venue.resume(now),
            (None, None) => {}
        }
    }

    fn take_fault(&self, now: Timestamp) -> Option<Fault> {
        if !self.is_subscribed() {
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
            Fault::Skip(count) => self.skips = count,
            Fault::Fields(count) => self.fields = count,
            Fault::Twice(count) => self.twice = count,
            Fault::Shutdown => {
                if let Some(text) = self.venue.as_ref().and_then(|venue| venue.farewell(now)) {
                    self.send(text).await?;
                    self.ends_at = Some(now.plus(SHUTDOWN_AFTER));
                }
            }
            Fault::Error => {
                let text = match &self.venue {
                    Some(venue) => venue.error(),
                    None => Bytes::from_static(TOO_MANY_SYMBOLS),
                };
                self.send_error(text).await?;
            }
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
            Some(Message::Text(text)) if self.venue.is_some() => self.tell(&text).await,
            Some(Message::Pong(payload)) => {
                let now = self.exchange.env.clock.now();
                let reply = self.venue.as_mut().and_then(|venue| venue.pong(&payload, now));
                self.reply(reply).await
            }
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

    /// Tells the venue what the client says, and the client what the venue answers. A replay sends all
    /// it has whatever is asked for, its own acknowledgements among it.
    async fn tell(&mut self, said: &str) -> Result<Option<Ending>, WebSocketError> {
        let now = self.exchange.env.clock.now();
        if let Some(Supply::Replay(replay)) = self.supply.as_deref_mut() {
            if !self.has_asked {
                replay.resume(now);
            }
            self.has_asked = true;
            return Ok(None);
        }
        let replies = self.venue.as_mut().map(|venue| venue.hear(said, now)).unwrap_or_default();
        self.reply(replies).await
    }

    async fn reply(
        &mut self,
        replies: impl IntoIterator<Item = Reply>,
    ) -> Result<Option<Ending>, WebSocketError> {
        for reply in replies {
            match reply {
                Reply::Say(_) if self.stalled_until.is_some() => {}
                Reply::Say(text) => self.send(text).await?,
                Reply::Error(text) => self.send_error(text).await?,
                Reply::Ignored => self.exchange.counters.requests_ignored.add(1),
                Reply::Close(code, reason) => return Ok(Some(Ending::Refused(code, reason))),
            }
        }
        Ok(None)
    }

    async fn send_message(&mut self, mut message: Outgoing) -> Result<(), WebSocketError> {
        if self.skips > 0 {
            self.skips -= 1;
            if let Some(Supply::Replay(replay)) = self.supply.as_deref_mut() {
                replay.sent();
            }
            self.exchange.counters.messages_skipped.add(1);
            return Ok(());
        }
        if self.fields > 0 {
            self.fields -= 1;
            message.text = with_field(&message.text);
        }
        if self.twice > 0 {
            self.twice -= 1;
            message.text = with_key_twice(&message.text);
        }
        if self.fragments > 0 {
            self.fragments -= 1;
            self.send_fragments(&message.text).await?;
        } else {
            self.send(message.text.clone()).await?;
        }
        // The socket has all of it, so it counts.
        if let Some(Supply::Replay(replay)) = self.supply.as_deref_mut() {
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

    async fn send_error(&mut self, text: Bytes) -> Result<(), WebSocketError> {
        if self.stalled_until.is_some() {
            return Ok(());
        }
        self.send(text).await?;
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
