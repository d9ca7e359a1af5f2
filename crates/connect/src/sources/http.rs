//! A resource polled over HTTP: a source whose frames are the bodies of its answers.
//!
//! # When
//!
//! Polls are due at `start + n × every`, so that they do not drift however long an answer takes; a
//! slot that passes while an answer is awaited is left out. What failed is tried again by the
//! driver's back-off, or when the far end asked for it (`Retry-After`), and takes the place of the
//! slots it missed. Nothing counts as missed until a slot is due.
//!
//! # What is a frame
//!
//! The body of every answer that is a success, as it came but for its transfer encoding (gzip), each
//! page of a poll one; a [`Request::tag`] is written round it. No frame: an answer without a body,
//! one that is unchanged under [`Emit::Changed`], an error of the far end, whose text becomes the
//! error's detail. A page of HTML behind a success is a frame: what it should have been is for the
//! decoder to say.
//!
//! What it must know after a restart (validators, digests, cursors) is its position, journaled with
//! each frame, so that a [`CursorRule`] brings everything once.
//!
//! A request under way belongs to the source, not to the call of `next` that started it: dropping
//! that call sends no request twice. Addresses, headers and bodies of errors are shown without
//! secrets.
//!
//! Not here: back-off, gaps and watchdogs ([`crate::feed`]), venues ([`crate::presets`]).

mod client;
mod limits;
mod paging;
mod round;
mod schedule;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures::future::BoxFuture;
use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};
use thalweg_core::env::{Clock, Env};
use thalweg_core::error::{Error, ErrorKind, Result};
use thalweg_core::frame::{FRAME_BYTES_MAX, Frame};
use thalweg_core::source::{Source, SourceEvent};
use thalweg_core::time::Timestamp;

use self::client::{Answer, Asked, Client, Refusal};
use self::limits::Weights;
use self::round::{Page, Round};
use self::schedule::Schedule;
use super::secrets::redact_url;

pub use self::limits::WeightRule;
pub(crate) use self::limits::retry_after;
pub use self::paging::{CursorRule, Paging};

/// Stands for the one key of a feed that names none.
const EVERY_KEY: &str = "*";
/// How much of a body that is too long is kept.
const HEAD_BYTES: usize = 64 << 10;
/// Most requests of one poll, so that a position stays within its bound.
const REQUESTS_MAX: usize = 500;

/// What to poll, and how.
#[derive(Clone)]
pub struct HttpConfig {
    /// What one poll asks for, in order; at least one.
    pub requests: Vec<Request>,
    /// Time between two polls. No default; above zero.
    pub every: Duration,
    /// Each poll is late by a random time up to this; the schedule is not. Default 0; below `every`.
    pub jitter: Duration,
    /// Whether to poll once and then end. Default false.
    pub once: bool,
    /// Headers of each request; values are kept secret, and go to no other origin. Default none.
    pub headers: Vec<(String, String)>,
    /// Which answers are frames. Default all.
    pub emit: Emit,
    /// How the pages of an answer are found. Default none.
    pub paging: Paging,
    /// How many redirects in a row are followed. Default 5.
    pub redirects_max: u32,
    /// Longest time for one request with its redirects and its body. Default 30 s.
    pub timeout: Duration,
    /// What is missed while nothing is polled, such as symbols; a gap is marked for each. Default
    /// one, `*`. Of what is fetched by a [`CursorRule`] nothing is missed: none.
    pub keys: Vec<String>,
    /// Silence after which the source counts as dead. Default the longest time between two signs of
    /// life: three periods, at least 2 min.
    pub stale_after: Option<Duration>,
    /// How the far end says how much of its limit is used. Default it does not.
    pub weights: Option<WeightRule>,
}

/// One thing a poll asks for.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// Address, `http://` or `https://`. What stands in its query is kept secret.
    pub url: String,
    /// What the answer does not say of itself.
    pub tag: Option<Tag>,
}

/// Written round a body: `{"symbol":"BTCUSDT","klines":BODY}` for the three texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// `symbol`.
    pub name: String,
    /// `BTCUSDT`.
    pub value: String,
    /// `klines`.
    pub body: String,
}

/// Which answers are frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Emit {
    /// All of them.
    #[default]
    All,
    /// Those that differ from the one before; the far end is asked only for such, by `ETag` and
    /// `Last-Modified` where it gives them.
    Changed,
}

impl HttpConfig {
    /// Polls of `url`, with the default of every other field.
    pub fn new(url: impl Into<String>, every: Duration) -> Self {
        Self {
            requests: vec![Request { url: url.into(), tag: None }],
            every,
            jitter: Duration::ZERO,
            once: false,
            headers: Vec::new(),
            emit: Emit::All,
            paging: Paging::None,
            redirects_max: 5,
            timeout: Duration::from_secs(30),
            keys: vec![EVERY_KEY.to_owned()],
            stale_after: None,
            weights: None,
        }
    }
}

impl fmt::Debug for HttpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls: Vec<String> = self.requests.iter().map(|it| redact_url(&it.url)).collect();
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("HttpConfig")
            .field("requests", &urls)
            .field("every", &self.every)
            .field("jitter", &self.jitter)
            .field("headers", &headers)
            .field("emit", &self.emit)
            .field("paging", &self.paging)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("url", &redact_url(&self.url))
            .field("tag", &self.tag)
            .finish()
    }
}

/// A live source that polls.
///
/// Its frames carry connection 0: the driver puts the number in.
pub struct Http {
    config: HttpConfig,
    client: Client,
    clock: Clock,
    rng: SmallRng,
    schedule: Schedule,
    memory: Memory,
    weights: Weights,
    // Where the far end's clock stands against ours, as its answers tell, rounded down.
    skew_ms: i64,
    // The poll under way.
    round: Option<Round>,
    asked: Option<(Page, BoxFuture<'static, Asked>)>,
    ready: Option<SourceEvent>,
    retry_at: Option<Timestamp>,
    polls: u64,
}

/// What is remembered of each request, by what tells it from others: a project that asks for more, or
/// in another order, goes on where it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    requests: BTreeMap<u64, Remembered>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_modified: Option<String>,
    /// Digests of the pages that were given out last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    digests: Vec<u64>,
    /// The cursor of the newest row given out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cursor: Option<i64>,
}

impl Http {
    /// A source that has polled nothing yet.
    ///
    /// # Errors
    ///
    /// `Invalid` when an address or a header is malformed, or a time makes no sense.
    pub fn new(config: HttpConfig, env: &Env) -> Result<Self> {
        if config.requests.is_empty() {
            return Err(Error::invalid("there is nothing to poll"));
        }
        if config.requests.len() > REQUESTS_MAX {
            let message = format!("one poll makes more than {REQUESTS_MAX} requests");
            return Err(Error::invalid(message).with_hint("Make two sources of it."));
        }
        if config.every.is_zero() || config.timeout.is_zero() {
            return Err(Error::invalid("`every` and `timeout` are above zero"));
        }
        if config.jitter >= config.every {
            return Err(Error::invalid("`jitter` is not shorter than `every`"));
        }
        if config.stale_after.is_some_and(|stale_after| stale_after <= config.every) {
            return Err(Error::invalid("`stale_after` is not longer than `every`"));
        }
        let client = Client::new(&config)?;
        Ok(Self {
            rng: env.rng(&format!("polls of {}", redact_url(&config.requests[0].url))),
            schedule: Schedule::new(config.every, config.jitter),
            weights: Weights::new(config.weights.clone()),
            clock: env.clock.clone(),
            memory: Memory::default(),
            skew_ms: 0,
            round: None,
            asked: None,
            ready: None,
            retry_at: None,
            polls: 0,
            client,
            config,
        })
    }

    /// Sends the next request of the round, or takes its answer if it is under way, and goes on
    /// behind it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the request under way.
    async fn advance(&mut self) -> Result<()> {
        let Some(round) = &mut self.round else { return Ok(()) };
        if self.asked.is_none() {
            let hold = self.weights.hold_until(self.clock.now());
            if let Some(until) = hold {
                self.clock.sleep(until.since(self.clock.now())).await;
            }
            let now_ms = self.clock.now().millis() + self.skew_ms;
            let cursor = |identity| self.memory.requests.get(&identity).and_then(|it| it.cursor);
            let wants_limit = self.weights.wants_limit();
            match round.next(&self.config, wants_limit, now_ms, cursor)? {
                Some(page) => {
                    let known = self.memory.requests.get(&page.identity);
                    let known = known.filter(|_| self.config.emit == Emit::Changed);
                    let asked = self.client.ask(&page, known, self.clock.clone());
                    self.asked = Some((page, asked));
                }
                None => {
                    self.finish_round();
                    return Ok(());
                }
            }
        }
        let Some((_, asked)) = &mut self.asked else { return Ok(()) };
        let asked = asked.await;
        let Some((page, _)) = self.asked.take() else { return Ok(()) };
        match asked {
            Ok(answer) => self.take(&page, answer),
            Err(Refusal { error, retry_after }) => {
                if page.is_for_limit && retry_after.is_none() {
                    self.weights.learn_limit(None);
                    return Ok(());
                }
                self.retry_at = retry_after.map(|wait| self.clock.now().plus(wait));
                if error.kind == ErrorKind::Invalid {
                    // A page that is refused may only be there no more.
                    self.round = Some(Round::default());
                }
                Err(error)
            }
        }
    }

    fn finish_round(&mut self) {
        self.round = None;
        self.polls += 1;
        self.schedule.move_on(self.clock.now(), &mut self.rng);
        self.ready.get_or_insert(SourceEvent::Alive);
    }

    fn learn_skew(&mut self, date: Option<Timestamp>) {
        if let Some(date) = date {
            self.skew_ms = date.millis() - self.clock.now().millis();
        }
    }

    /// Makes an event of an answer, and moves the round on.
    fn take(&mut self, page: &Page, answer: Answer) -> Result<()> {
        let received_at = self.clock.now();
        self.learn_skew(answer.date);
        self.weights.read(&answer.headers, received_at);
        if page.is_for_limit {
            self.weights.learn_limit(Some(&answer.body));
            return Ok(());
        }
        let Some(round) = &mut self.round else { return Ok(()) };
        if let (Some(closes_ms), Some(date)) = (page.closes_ms, answer.date)
            && date.millis().saturating_add(999) < closes_ms
        {
            // Our clock is ahead of theirs: what was asked for is not final yet there. The skew is
            // known now, and the next request asks for less.
            tracing::warn!(ahead_ms = -self.skew_ms, "the clock is ahead of that of the venue");
            return Ok(());
        }
        let requests = self.config.requests.len();
        let remembered = self.memory.requests.entry(page.identity).or_default();
        let is_oversized = answer.length > FRAME_BYTES_MAX as u64;
        let follow = if answer.is_unchanged {
            paging::Follow::default()
        } else {
            self.config.paging.follow(page, &answer)
        };
        round.went(&follow);
        let mut is_new = !answer.is_unchanged && answer.length > 0 && !follow.is_empty;
        remembered.cursor = follow.cursor.max(remembered.cursor);
        if self.config.emit == Emit::Changed && !answer.is_unchanged {
            let digest = fnv1a(&answer.body);
            is_new &= remembered.digests.get(page.number) != Some(&digest);
            let pages = if follow.has_more { remembered.digests.len() } else { 0 };
            remembered.digests.resize(pages.max(page.number + 1), 0);
            remembered.digests[page.number] = digest;
            if page.number == 0 {
                remembered.etag = answer.header("etag");
                remembered.last_modified = answer.header("last-modified");
            }
        }
        self.ready = Some(if !is_new {
            SourceEvent::Alive
        } else if is_oversized {
            let head = answer.body.slice(..answer.body.len().min(HEAD_BYTES));
            SourceEvent::Oversized { received_at, length: answer.length, head }
        } else {
            let tag = self.config.requests[page.request].tag.as_ref();
            let bytes = tag.map_or(answer.body.clone(), |tag| tagged(tag, &answer.body));
            SourceEvent::Frame(Frame { received_at, connection: 0, bytes })
        });
        if self.round.as_ref().is_some_and(|round| round.is_over(requests)) {
            self.finish_round();
        }
        Ok(())
    }
}

/// A body within what its answer does not say of itself.
fn tagged(tag: &Tag, body: &[u8]) -> Bytes {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let head = format!("{{{}:{},{}:", quoted(&tag.name), quoted(&tag.value), quoted(&tag.body));
    let mut bytes = BytesMut::with_capacity(head.len() + body.len() + 1);
    bytes.put_slice(head.as_bytes());
    bytes.put_slice(body);
    bytes.put_u8(b'}');
    bytes.freeze()
}

/// A digest that stays what it is from version to version (Fowler, Noll, Vo: FNV-1a, 64 bits).
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |digest, byte| {
        (digest ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[async_trait]
impl Source for Http {
    /// Polls if a poll is due, so that being connected means that the newest poll went well.
    async fn connect(&mut self) -> Result<()> {
        let now = self.clock.now();
        if let Some(wait) = self.retry_at.map(|at| at.since(now)).filter(|wait| !wait.is_zero()) {
            self.clock.sleep(wait).await;
        }
        self.retry_at = None;
        let is_due = self.schedule.due(self.clock.now()) <= self.clock.now();
        if is_due && !(self.config.once && self.polls > 0) {
            self.round.get_or_insert_default();
            while self.round.is_some() && self.ready.is_none() {
                self.advance().await?;
            }
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<SourceEvent> {
        loop {
            if let Some(event) = self.ready.take() {
                return Ok(event);
            }
            if self.round.is_some() {
                self.advance().await?;
                continue;
            }
            if self.config.once && self.polls > 0 {
                return Ok(SourceEvent::End);
            }
            let now = self.clock.now();
            let wait = self.schedule.due(now).since(now);
            if wait.is_zero() {
                self.round = Some(Round::default());
                // Until now nothing was due, so nothing can have been missed.
                return Ok(SourceEvent::Alive);
            }
            self.clock.sleep(wait).await;
        }
    }

    async fn disconnect(&mut self) {
        self.asked = None;
    }

    fn keys(&self) -> Vec<String> {
        self.config.keys.clone()
    }

    fn stale_after(&self) -> Duration {
        self.config.stale_after.unwrap_or_else(|| {
            let signs = self.config.every.saturating_mul(3).saturating_add(self.config.timeout);
            signs.max(Duration::from_secs(120))
        })
    }

    fn position(&self) -> Option<Bytes> {
        let is_needed =
            self.config.emit == Emit::Changed || matches!(self.config.paging, Paging::Cursor(_));
        let position = serde_json::to_vec(&self.memory).ok().filter(|_| is_needed)?;
        (position.len() <= HEAD_BYTES).then(|| position.into())
    }

    fn restore(&mut self, position: &[u8]) -> Result<()> {
        // One that is not ours is of a connector the source had before: then it begins anew.
        let mut memory: Memory = serde_json::from_slice(position).unwrap_or_default();
        let known: Vec<u64> = self.config.requests.iter().map(round::identity).collect();
        memory.requests.retain(|identity, _| known.contains(identity));
        self.memory = memory;
        Ok(())
    }

    fn retry_at(&self) -> Option<Timestamp> {
        self.retry_at
    }
}
