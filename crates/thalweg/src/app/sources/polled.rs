//! What is polled: any address, and Binance's market data.

use thalweg_connect::presets::binance::rest::{self, BinancePoll, Endpoint, Interval};
use thalweg_connect::sources::http::{Emit, HttpConfig, Paging};
use thalweg_core::{Error, Result};
use thalweg_project::{Binance, BinanceEndpoint, Http, PagesBy, PollEmit};

/// The polls of an address.
pub(super) fn http(http: &Http) -> Result<HttpConfig> {
    let mut config = HttpConfig::new(http.url.reveal(), http.every);
    config.jitter = http.jitter;
    config.headers = http
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), value.reveal().to_owned()))
        .collect();
    config.emit = match http.emit {
        PollEmit::All => Emit::All,
        PollEmit::Changed => Emit::Changed,
    };
    config.redirects_max = http.redirects_max;
    config.timeout = http.timeout;
    if let Some(pages) = &http.pages {
        let pages_max = pages.max;
        config.paging = match &pages.by {
            PagesBy::Link => Paging::Link { pages_max },
            PagesBy::Next { path, param } => {
                Paging::Next { path: path.as_str().parse()?, param: param.clone(), pages_max }
            }
            PagesBy::Number { param, first, rows } => Paging::Number {
                param: param.clone(),
                first: *first,
                rows: rows.as_str().parse()?,
                pages_max,
            },
        };
    }
    Ok(config)
}

/// The polls of Binance.
pub(super) fn binance(binance: &Binance) -> Result<HttpConfig> {
    let endpoint = match binance.poll {
        BinanceEndpoint::TickerPrice => Endpoint::TickerPrice,
        BinanceEndpoint::Ticker24Hr => Endpoint::Ticker24Hr,
        BinanceEndpoint::Klines => Endpoint::Klines {
            interval: Interval::parse(&binance.interval).ok_or_else(|| {
                Error::invalid(format!("`{}` is no length of a bar", binance.interval))
            })?,
            history: binance.history.unwrap_or_default(),
        },
    };
    rest::preset(&BinancePoll {
        endpoint,
        symbols: binance.symbols.clone(),
        every: binance.every,
        url: binance.url.reveal().to_owned(),
    })
}
