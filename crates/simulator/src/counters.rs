//! What a simulator has done so far, counted where it happens.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a simulator has sent and suffered since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Connections upgraded, those cut at once included.
    pub connections: u64,
    /// Connections refused with an HTTP status.
    pub connections_refused: u64,
    /// Messages of the market or the replay sent, spoilt ones included; no pings, no errors, and
    /// nothing that a fault made.
    pub messages: u64,
    /// Trades in [`messages`](Self::messages), spoilt ones included.
    pub trades: u64,
    /// Messages that the market spoilt on request.
    pub messages_spoilt: u64,
    /// Trades that a reader must refuse, being spoilt or in a message that cannot be read.
    pub trades_spoilt: u64,
    /// Times the market skipped to now because the client was too slow.
    pub skips: u64,
    /// Messages sent again by the fault `dup`.
    pub messages_repeated: u64,
    /// Trades in [`messages_repeated`](Self::messages_repeated).
    pub trades_repeated: u64,
    /// Messages that the fault `skip` kept back.
    pub messages_skipped: u64,
    /// Pings and heartbeats sent.
    pub pings: u64,
    /// Error messages sent, those of the fault `error` included.
    pub errors: u64,
    /// Requests of clients that were neither `subscribe` nor `unsubscribe`.
    pub requests_ignored: u64,
    /// Answers of REST and pages given, errors included.
    pub answers: u64,
    /// Those of [`answers`](Self::answers) that were errors.
    pub answers_refused: u64,
    /// Requests that came before the time that a `Retry-After` had told was over.
    pub answers_early: u64,
    /// Faults that had an effect; one that lasts counts once.
    pub faults: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: Counter,
    pub(crate) connections_refused: Counter,
    pub(crate) messages: Counter,
    pub(crate) trades: Counter,
    pub(crate) messages_spoilt: Counter,
    pub(crate) trades_spoilt: Counter,
    pub(crate) skips: Counter,
    pub(crate) messages_repeated: Counter,
    pub(crate) trades_repeated: Counter,
    pub(crate) messages_skipped: Counter,
    pub(crate) pings: Counter,
    pub(crate) errors: Counter,
    pub(crate) requests_ignored: Counter,
    pub(crate) answers: Counter,
    pub(crate) answers_refused: Counter,
    pub(crate) answers_early: Counter,
    pub(crate) faults: Counter,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(crate) fn read(&self) -> Statistics {
        Statistics {
            connections: self.connections.get(),
            connections_refused: self.connections_refused.get(),
            messages: self.messages.get(),
            trades: self.trades.get(),
            messages_spoilt: self.messages_spoilt.get(),
            trades_spoilt: self.trades_spoilt.get(),
            skips: self.skips.get(),
            messages_repeated: self.messages_repeated.get(),
            trades_repeated: self.trades_repeated.get(),
            messages_skipped: self.messages_skipped.get(),
            pings: self.pings.get(),
            errors: self.errors.get(),
            requests_ignored: self.requests_ignored.get(),
            answers: self.answers.get(),
            answers_refused: self.answers_refused.get(),
            answers_early: self.answers_early.get(),
            faults: self.faults.get(),
        }
    }
}
