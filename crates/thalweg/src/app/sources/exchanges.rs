//! Exchanges that stream: Binance, Coinbase, Kraken.

use thalweg_connect::feed::{IdRule, IdScope};
use thalweg_connect::presets::binance::stream::{self, Stream};
use thalweg_connect::presets::exchange::Streamed;
use thalweg_connect::presets::{coinbase, kraken};
use thalweg_core::Result;
use thalweg_project::{
    BinanceChannel, Channel, CoinbaseChannel, Exchange, Format, KrakenChannel, Source,
};

/// How the venue is spoken to.
pub(super) fn streamed(exchange: &Exchange) -> Result<Streamed> {
    let (symbols, url) = (&exchange.symbols, exchange.url.reveal());
    match exchange.channel {
        Channel::Binance(channel) => {
            let stream = match channel {
                BinanceChannel::Trade => Stream::Trade,
                BinanceChannel::AggTrade => Stream::AggTrade,
                BinanceChannel::BookTicker => Stream::BookTicker,
                BinanceChannel::Ticker => Stream::Ticker,
                BinanceChannel::Kline1m => Stream::Kline1m,
            };
            stream::preset(stream, symbols, url)
        }
        Channel::Coinbase(channel) => {
            let channel = match channel {
                CoinbaseChannel::Matches => coinbase::Channel::Matches,
                CoinbaseChannel::Ticker => coinbase::Channel::Ticker,
                CoinbaseChannel::AdvancedMarketTrades => coinbase::Channel::AdvancedMarketTrades,
                CoinbaseChannel::AdvancedTicker => coinbase::Channel::AdvancedTicker,
            };
            coinbase::preset(channel, symbols, url)
        }
        Channel::Kraken(channel) => {
            let channel = match channel {
                KrakenChannel::Trade => kraken::Channel::Trade,
                KrakenChannel::Ticker => kraken::Channel::Ticker,
                KrakenChannel::V1Trade => kraken::Channel::V1Trade,
                KrakenChannel::V1Ticker => kraken::Channel::V1Ticker,
            };
            kraken::preset(channel, symbols, url)
        }
    }
}

/// What shows that records are missing: ids of rows where the format has them, or of every message.
pub(super) fn id_rule(exchange: &Exchange, source: &Source) -> Result<Option<IdRule>> {
    let Some(ids) = streamed(exchange)?.ids else { return Ok(None) };
    let Format::Json(json) = &source.format else { return Ok(None) };
    let (rows, only_if) = match ids.scope {
        IdScope::Connection => (None, None),
        IdScope::Key(_) => {
            let rows = json.rows.as_ref().map(|path| path.as_str().parse()).transpose()?;
            let only_if = json.only_if.as_ref().map(|rule| rule.as_str().parse()).transpose()?;
            (rows, only_if)
        }
    };
    Ok(Some(IdRule { rows, only_if, id: ids.id.to_owned(), scope: ids.scope }))
}
