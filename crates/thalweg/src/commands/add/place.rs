//! What is to be added, from the word on the command line.

use std::path::{Path, PathBuf};

use thalweg_core::{Error, Result};

/// Presets, for messages.
const PRESETS: &str = "finnhub:AAPL,MSFT, binance:ticker/price:BTCUSDT, binance:ticker/24hr:… or \
                       binance:klines:…";

/// What is sampled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Files of this machine.
    File {
        /// The path, from the root.
        path: PathBuf,
        /// As the project file names it: within the project folder, if it is there.
        shown: String,
    },
    /// An address that is polled.
    Http(String),
    /// A feed.
    WebSocket(String),
    /// Finnhub's trades of these symbols.
    Finnhub(Vec<String>),
    /// An endpoint of Binance, for these symbols.
    Binance(String, Vec<String>),
}

impl What {
    /// Reads the word; `dir` is the project folder.
    ///
    /// # Errors
    ///
    /// `Invalid` when it is nothing that can be sampled.
    pub(super) fn parse(word: &str, dir: &Path) -> Result<Self> {
        let scheme = word.split_once("://").map(|(scheme, _)| scheme);
        match scheme {
            Some("http" | "https") => return Ok(Self::Http(word.to_owned())),
            Some("ws" | "wss") => return Ok(Self::WebSocket(word.to_owned())),
            Some(other) => {
                return Err(Error::invalid(format!("`{other}://` cannot be sampled"))
                    .with_hint("A file, http, https, ws, wss or a preset can."));
            }
            None => {}
        }
        let (preset, rest) = word.split_once(':').unwrap_or((word, ""));
        let symbols = |text: &str| -> Vec<String> {
            let symbols = text.split(',').map(str::trim).filter(|it| !it.is_empty());
            symbols.map(str::to_owned).collect()
        };
        match preset {
            "finnhub" => {
                let symbols = symbols(rest);
                let default = || vec!["AAPL".to_owned(), "BINANCE:BTCUSDT".to_owned()];
                return Ok(Self::Finnhub(if symbols.is_empty() { default() } else { symbols }));
            }
            "binance" => {
                let (endpoint, of) = rest.split_once(':').unwrap_or((rest, "BTCUSDT"));
                if !["ticker/price", "ticker/24hr", "klines"].contains(&endpoint) {
                    return Err(Error::invalid(format!(
                        "Binance has no endpoint `{endpoint}` here"
                    ))
                    .with_hint(format!("Presets are written {PRESETS}.")));
                }
                return Ok(Self::Binance(endpoint.to_owned(), symbols(of)));
            }
            _ => {}
        }
        let path = std::path::absolute(word)
            .map_err(|error| Error::invalid(format!("`{word}` is no path")).with_source(error))?;
        let has_pattern = word.contains(['*', '?', '[']);
        if !has_pattern && !path.is_file() {
            return Err(Error::invalid(format!("there is no file `{word}`"))
                .with_hint(format!("An address begins with its scheme; presets are {PRESETS}.")));
        }
        // Links in the way there are no part of its name.
        let real = match has_pattern {
            true => path.clone(),
            false => path.canonicalize().unwrap_or_else(|_| path.clone()),
        };
        let within = real.strip_prefix(dir).or_else(|_| path.strip_prefix(dir));
        let shown = within.unwrap_or(&path).to_string_lossy().into_owned();
        Ok(Self::File { path, shown })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_addresses_presets_or_files() {
        let dir = Path::new("/nowhere");
        let parse = |word: &str| What::parse(word, dir);
        let http = What::Http("https://a.example/x".to_owned());
        assert_eq!(parse("https://a.example/x").ok(), Some(http));
        let feed = What::WebSocket("wss://a.example".to_owned());
        assert_eq!(parse("wss://a.example").ok(), Some(feed));
        let symbols = vec!["AAPL".to_owned(), "BINANCE:BTCUSDT".to_owned()];
        assert_eq!(parse("finnhub").ok(), Some(What::Finnhub(symbols.clone())));
        assert_eq!(parse("finnhub:AAPL,BINANCE:BTCUSDT").ok(), Some(What::Finnhub(symbols)));
        let binance = What::Binance("ticker/price".to_owned(), vec!["BTCUSDT".to_owned()]);
        assert_eq!(parse("binance:ticker/price").ok(), Some(binance));
        for wrong in ["ftp://a/b", "binance:depth", "binance", "no/such/file.csv"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
