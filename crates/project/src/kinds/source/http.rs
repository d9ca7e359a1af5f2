//! Connectors that poll: any address, and Binance's market data.

use std::time::Duration;

use crate::codes::{self, Telling};
use crate::entry::{Entry, from_text};
use crate::secret::Secret;
use crate::spanned::Spanned;

/// Binance's REST.
const BINANCE_URL: &str = "https://api.binance.com";

/// An address that is polled; the body of an answer is a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// `http://…` or `https://…`.
    pub url: Secret,
    /// Time between two polls.
    pub every: Duration,
    /// Each poll is late by a random time up to this. Default 0.
    pub jitter: Duration,
    /// Headers of each request: name and value.
    pub headers: Vec<(String, Secret)>,
    /// Which answers are frames. Default all.
    pub emit: PollEmit,
    /// How the pages of an answer are found. Default there are none.
    pub pages: Option<Pages>,
    /// How many redirects in a row are followed. Default 5.
    pub redirects_max: u32,
    /// Longest time for one request. Default 30 s.
    pub timeout: Duration,
}

/// Which answers of a poll are frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollEmit {
    /// All of them.
    All,
    /// Those that differ from the one before.
    Changed,
}

/// How the pages of an answer are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pages {
    /// What names the next page.
    pub by: PagesBy,
    /// Most pages of one poll. Default 100.
    pub max: usize,
}

/// What names the next page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PagesBy {
    /// The header `Link`.
    Link,
    /// A value of the body: an address, or the value of a parameter.
    Next {
        /// Where it is.
        path: Spanned<String>,
        /// The parameter.
        param: Option<String>,
    },
    /// A parameter that counts up until there are no rows.
    Number {
        /// The parameter.
        param: String,
        /// Its first value. Default 1.
        first: u64,
        /// Where the rows are.
        rows: Spanned<String>,
    },
}

/// Binance's market data, polled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binance {
    /// What is asked for.
    pub poll: BinanceEndpoint,
    /// Symbols; at least one.
    pub symbols: Vec<String>,
    /// Time between two polls. Default 5 s.
    pub every: Duration,
    /// Length of a bar, as Binance writes it. Default `1m`.
    pub interval: String,
    /// How much of the past to fetch on first start. Default none.
    pub history: Option<Duration>,
    /// Address. Default `https://api.binance.com`.
    pub url: Secret,
}

/// What Binance is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinanceEndpoint {
    /// The last price.
    TickerPrice,
    /// Statistics of 24 hours.
    Ticker24Hr,
    /// Bars.
    Klines,
}

from_text! {
    PollEmit: |text| match text {
        "all" => Some(Self::All),
        "changed" => Some(Self::Changed),
        _ => None,
    };
    BinanceEndpoint: |text| match text {
        "ticker/price" => Some(Self::TickerPrice),
        "ticker/24hr" => Some(Self::Ticker24Hr),
        "klines" => Some(Self::Klines),
        _ => None,
    };
}

pub(super) fn lower_http(entry: Entry<'_>) -> Option<Http> {
    let headers = entry.child("headers").members().into_iter();
    let headers = headers
        .filter_map(|(name, header)| Some((name.value.clone(), header.read_secret()?)))
        .collect();
    let pages = entry.child("pages");
    let pages = (pages.written().map(lower_pages), pages.value("max"));
    let (every, jitter): (Option<Duration>, Duration) = (entry.get("every"), entry.value("jitter"));
    if every.is_some_and(|every| jitter >= every) {
        let problem = codes::problem(
            codes::DOES_NOT_FIT,
            "`jitter` is not shorter than `every`",
            entry.child("jitter").place(),
        );
        entry.report(problem.hint("A poll that is late by more is the next one."));
        return None;
    }
    Some(Http {
        url: entry.secret("url")?,
        every: every?,
        jitter,
        headers,
        emit: entry.value("emit"),
        pages: match pages {
            (Some(by), max) => Some(Pages { by: by?, max }),
            (None, _) => None,
        },
        redirects_max: entry.value("redirects"),
        timeout: entry.value("timeout"),
    })
}

fn lower_pages(entry: Entry<'_>) -> Option<PagesBy> {
    let link: Option<Spanned<bool>> = entry.spanned("link");
    let next: Option<Spanned<String>> = entry.spanned("next");
    let (param, first) = (entry.get("param"), entry.value::<u32>("first"));
    let (number, rows) = (entry.get("number"), entry.spanned("rows"));
    match (link, next, number, rows) {
        (Some(link), ..) if link.value => Some(PagesBy::Link),
        (Some(link), ..) => {
            let message = "`link` is `true`, or is not there";
            entry.report(codes::problem(codes::MALFORMED, message, link.place));
            None
        }
        (None, Some(path), ..) => Some(PagesBy::Next { path, param }),
        (None, None, Some(param), Some(rows)) => {
            Some(PagesBy::Number { param, first: first.into(), rows })
        }
        _ => None,
    }
}

pub(super) fn lower_binance(entry: Entry<'_>) -> Option<Binance> {
    let symbols: Option<Vec<String>> = entry.get("symbols");
    if symbols.as_ref().is_some_and(Vec::is_empty) {
        let place = entry.child("symbols").place();
        let problem = codes::problem(codes::MALFORMED, "`symbols` is empty", place);
        entry.report(problem.label("such as `[\"BTCUSDT\"]`"));
    }
    let poll: Option<BinanceEndpoint> = entry.get("poll");
    let history: Option<Spanned<Duration>> = entry.spanned("history");
    let interval = entry.child("interval");
    let url = entry.child("url").written().map(Entry::read_secret);
    if poll.is_some_and(|poll| poll != BinanceEndpoint::Klines) {
        let written = interval.written().map(|interval| ("interval", interval.place()));
        let past = history.as_ref().map(|history| ("history", history.place.clone()));
        let misplaced: Vec<_> = written.into_iter().chain(past).collect();
        for (key, place) in &misplaced {
            let message = format!("`{key}` means nothing but for `poll = \"klines\"`");
            entry.report(codes::problem(codes::DOES_NOT_FIT, message, place.clone()));
        }
        if !misplaced.is_empty() {
            return None;
        }
    }
    Some(Binance {
        poll: poll?,
        symbols: symbols.filter(|symbols| !symbols.is_empty())?,
        every: entry.value("every"),
        interval: interval.read()?,
        history: history.map(|history| history.value),
        url: url.unwrap_or_else(|| Some(Secret::new(BINANCE_URL)))?,
    })
}
