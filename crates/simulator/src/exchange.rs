//! The listener: who may connect, and to what.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thalweg_core::env::Env;
use thalweg_core::error::{Error, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex as AsyncMutex, Semaphore, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_util::sync::CancellationToken;

use crate::config::{Feed, MarketConfig, SecondConnection, SimulatorConfig};
use crate::counters::{Counters, Statistics};
use crate::faults::{ConnectFault, Fault, FaultSchedule};
use crate::handshake::Caller;
use crate::market::Market;
use crate::replay::{Replay, ReplayState};
use crate::rest::{self, Limits, Question};
use crate::session::{Ending, Session, Supply, leave};
use crate::tape::Tape;
use crate::venues::{self, Venue};

/// The path that speaks as Finnhub does.
const FINNHUB_PATH: &str = "/finnhub";

/// Most connections at a time, those being opened included; more wait.
const CONNECTIONS_MAX: usize = 64;

/// Pause after a connection could not be accepted: the machine is short of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Starts simulated exchanges.
pub struct Simulator;

/// A simulated exchange that runs until its environment shuts down; dropping this does not stop it.
pub struct Running {
    address: SocketAddr,
    exchange: Arc<Exchange>,
    replay: Option<watch::Receiver<ReplayState>>,
}

/// What all connections share.
pub(crate) struct Exchange {
    pub(crate) env: Env,
    pub(crate) config: SimulatorConfig,
    pub(crate) counters: Counters,
    faults: Mutex<FaultSchedule>,
    // Held by the one connection that is served.
    supply: Arc<AsyncMutex<Supply>>,
    holder: Mutex<Holder>,
    limits: Mutex<Limits>,
}

/// The connection that has the token now.
#[derive(Default)]
struct Holder {
    number: u64,
    cut: Option<CancellationToken>,
}

impl Simulator {
    /// Listens, and serves until `env` shuts down.
    ///
    /// # Errors
    ///
    /// `Invalid` when the configuration is wrong or a recording cannot be opened, `Unavailable` when
    /// the address cannot be had.
    pub async fn start(env: &Env, config: SimulatorConfig) -> Result<Running> {
        config.check()?;
        let supply = match &config.feed {
            Feed::Market(market) => Supply::Market(Market::new(market.clone(), env)),
            Feed::Replay(replay) => Supply::Replay(Replay::open(replay, env).await?),
        };
        let replay = match &supply {
            Supply::Market(_) => None,
            Supply::Replay(replay) => Some(replay.state()),
        };
        let cannot_listen = |error| {
            Error::unavailable(format!("cannot listen on {}", config.listen)).with_source(error)
        };
        let listener = TcpListener::bind(config.listen).await.map_err(cannot_listen)?;
        let address = listener.local_addr().map_err(cannot_listen)?;
        let rng = env.rng("simulator faults");
        let limits = Limits::new(config.weight_limit);
        let exchange = Arc::new(Exchange {
            limits: Mutex::new(limits),
            faults: Mutex::new(FaultSchedule::new(&config.faults, env.clock.now(), rng)),
            env: env.clone(),
            config,
            counters: Counters::default(),
            supply: Arc::new(AsyncMutex::new(supply)),
            holder: Mutex::default(),
        });
        env.spawn(Arc::clone(&exchange).accept(listener));
        Ok(Running { address, exchange, replay })
    }
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL to give to a client of Finnhub, without the token.
    pub fn finnhub_url(&self) -> String {
        format!("ws://{}{FINNHUB_PATH}", self.address)
    }

    /// The URL to give to a client of Binance's streams.
    pub fn binance_stream_url(&self) -> String {
        format!("ws://{}/binance", self.address)
    }

    /// The URL to give to a client of Coinbase.
    pub fn coinbase_url(&self) -> String {
        format!("ws://{}/coinbase", self.address)
    }

    /// The URL to give to a client of Kraken, of version 2 or of version 1.
    pub fn kraken_url(&self, is_v2: bool) -> String {
        format!("ws://{}/kraken{}", self.address, if is_v2 { "/v2" } else { "" })
    }

    /// The address to give to a client of Binance's REST.
    pub fn binance_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address of the page of prices.
    pub fn prices_url(&self) -> String {
        format!("http://{}/pages/prices", self.address)
    }

    /// What it has done so far; cheap.
    pub fn statistics(&self) -> Statistics {
        self.exchange.counters.read()
    }

    /// How far the replay has come; `None` when the market is made up.
    pub fn replay(&self) -> Option<watch::Receiver<ReplayState>> {
        self.replay.clone()
    }
}

impl Exchange {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let next = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                next = next => next,
                () = self.env.shutdown.cancelled() => return,
            };
            match accepted {
                Ok((stream, _)) => {
                    let exchange = Arc::clone(&self);
                    self.env.spawn(async move {
                        exchange.serve(stream).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the simulator cannot accept a connection");
                    if !self.env.sleep(ACCEPT_PAUSE).await {
                        return;
                    }
                }
            }
        }
    }

    async fn serve(&self, stream: TcpStream) {
        // A message is small and shall not wait for the next one.
        let _ = stream.set_nodelay(true);
        let caller = tokio::select! {
            caller = Caller::hear(stream) => caller,
            () = self.env.shutdown.cancelled() => return,
        };
        let caller = match caller {
            Ok(caller) => caller,
            Err(error) => {
                tracing::debug!(error = %error.chain(), "no request to the simulator");
                return;
            }
        };
        if rest::knows(caller.path()) {
            self.answer(caller).await;
            return;
        }
        if let Some((status, text)) = self.refusal(&caller).await {
            self.counters.connections_refused.add(1);
            caller.refuse(status, text).await;
            return;
        }
        let streams = caller.query("streams");
        let now = self.env.clock.now();
        let venue = venues::at(caller.path(), streams.as_deref(), self.tape(), now);
        let Some(socket) = caller.upgrade().await else { return };
        self.counters.connections.add(1);
        if let Some(venue) = venue {
            self.serve_venue(socket, venue).await;
            return;
        }
        let (number, cut) = self.admit();
        let supply = tokio::select! {
            supply = Arc::clone(&self.supply).lock_owned() => Some(supply),
            () = cut.cancelled() => None,
            () = self.env.shutdown.cancelled() => None,
        };
        match supply {
            Some(supply) => Session::new(self, socket, Some(supply), None, cut).run().await,
            None => leave(socket, Ending::Cut).await,
        }
        let mut holder = lock(&self.holder);
        if holder.number == number {
            holder.cut = None;
        }
    }

    /// Serves an exchange that asks for no token, to as many as come; a replay to one at a time.
    async fn serve_venue(&self, socket: WebSocketStream<TcpStream>, venue: Box<dyn Venue>) {
        let cut = CancellationToken::new();
        let supply = match &self.config.feed {
            Feed::Market(_) => None,
            Feed::Replay(_) => tokio::select! {
                supply = Arc::clone(&self.supply).lock_owned() => Some(supply),
                () = self.env.shutdown.cancelled() => return,
            },
        };
        Session::new(self, socket, supply, Some(venue), cut).run().await;
    }

    /// The trades of exchanges.
    fn tape(&self) -> Tape {
        let rate = match &self.config.feed {
            Feed::Market(market) => market.rate,
            Feed::Replay(_) => MarketConfig::default().rate,
        };
        Tape::new(self.env.seed, rate)
    }

    /// Answers a request of REST or for a page.
    async fn answer(&self, caller: Caller) {
        let now = self.env.clock.now();
        let answers = self.counters.answers.get();
        let befalls = self.faults().answer(now, self.counters.messages.get(), answers);
        let fault = befalls.map(|(befalls, _)| befalls.fault);
        self.counters.faults.add(u64::from(befalls.is_some_and(|(befalls, _)| befalls.is_first)));
        if let Some(Fault::Late(delay)) = fault {
            self.env.sleep(delay).await;
        }
        let answer = {
            let mut limits = lock(&self.limits);
            self.counters.answers_early.add(u64::from(limits.is_closed(now)));
            match befalls {
                Some((ConnectFault { fault: Fault::TooManyRequests(_), .. }, until)) => {
                    limits.close(until, 429);
                }
                Some((ConnectFault { fault: Fault::Banned(_), .. }, until)) => {
                    limits.close(until, 418);
                }
                _ => {}
            }
            let question = Question {
                path: caller.path(),
                query: caller.queries(),
                if_none_match: caller.header("if-none-match"),
                now,
                seed: self.env.seed,
            };
            rest::answer(&question, fault, &mut limits)
        };
        self.counters.answers.add(1);
        self.counters.answers_refused.add(u64::from(answer.status >= 400));
        caller.answer(&answer, now).await;
    }

    /// Why `caller` is not upgraded, if it is not.
    async fn refusal(&self, caller: &Caller) -> Option<(StatusCode, &'static str)> {
        let is_finnhub = caller.path() == FINNHUB_PATH;
        let now = self.env.clock.now();
        if !is_finnhub && venues::at(caller.path(), None, self.tape(), now).is_none() {
            return Some((StatusCode::NOT_FOUND, "Not found"));
        }
        let befalls = self.faults().connect(now, self.counters.messages.get());
        if let Some(befalls) = befalls {
            self.counters.faults.add(u64::from(befalls.is_first));
            match befalls.fault {
                Fault::Refuse(_) => {
                    return Some((StatusCode::SERVICE_UNAVAILABLE, "Service unavailable"));
                }
                Fault::PlainPage(_) => return Some((StatusCode::OK, "Welcome")),
                Fault::Unauthorized(_) => return Some((StatusCode::UNAUTHORIZED, "Unauthorized")),
                Fault::SlowHandshake(delay) => {
                    self.env.sleep(delay).await;
                }
                other => debug_assert!(other.is_of_open_connection(), "a fault of connects"),
            }
        }
        let is_known = caller.query("token").is_some_and(|token| self.config.token.is(&token));
        (is_finnhub && !is_known).then_some((StatusCode::UNAUTHORIZED, "Unauthorized"))
    }

    /// Gives the token to a new connection, as [`SecondConnection`] says; its number, and the token
    /// that fires when it must end.
    fn admit(&self) -> (u64, CancellationToken) {
        let mut holder = lock(&self.holder);
        let cut = CancellationToken::new();
        let is_taken = holder.cut.is_some();
        if is_taken && self.config.second_connection == SecondConnection::OlderWins {
            cut.cancel();
            return (0, cut);
        }
        if let Some(older) = holder.cut.take() {
            older.cancel();
        }
        holder.number += 1;
        if is_taken && self.config.second_connection == SecondConnection::BothDropped {
            cut.cancel();
        } else {
            holder.cut = Some(cut.clone());
        }
        (holder.number, cut)
    }

    /// The faults still to come; hold them shortly.
    pub(crate) fn faults(&self) -> MutexGuard<'_, FaultSchedule> {
        lock(&self.faults)
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
