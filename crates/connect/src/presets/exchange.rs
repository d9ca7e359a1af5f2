//! What the presets of exchanges have in common.

use thalweg_core::error::{Error, Result};
use url::Url;

use crate::feed::IdScope;
use crate::sources::websocket::WebSocketConfig;

/// What a preset of an exchange brings.
#[derive(Clone, Debug)]
pub struct Streamed {
    /// How to reach the feed and what to say to it.
    pub websocket: WebSocketConfig,
    /// What shows that records are missing; none where nothing does.
    pub ids: Option<Ids>,
}

/// Ids without gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids {
    /// Path of the id, from the row or with `$` from the frame.
    pub id: &'static str,
    /// What they count.
    pub scope: IdScope,
}

impl Ids {
    /// Ids of each key, whose path this is.
    pub(super) fn of_key(id: &'static str, key: &str) -> Self {
        Self { id, scope: IdScope::Key(key.to_owned()) }
    }
}

/// The address of a venue; it may be shown in a message only without what is behind its path.
///
/// # Errors
///
/// `Invalid` when it is no URL of a WebSocket.
pub(super) fn address(venue: &str, text: &str) -> Result<Url> {
    let url = Url::parse(text).map_err(|error| {
        Error::invalid(format!("the address of {venue} is no URL")).with_source(error)
    })?;
    if !matches!(url.scheme(), "ws" | "wss") {
        return Err(Error::invalid(format!("the address of {venue} is not of a WebSocket"))
            .with_hint("It begins with `wss://`, or with `ws://` for the simulator."));
    }
    Ok(url)
}

/// Refuses an empty list of symbols.
///
/// # Errors
///
/// `Invalid` when there are none.
pub(super) fn require(venue: &str, symbols: &[String]) -> Result<()> {
    if symbols.is_empty() {
        return Err(Error::invalid(format!("no symbols to ask {venue} for")));
    }
    Ok(())
}
