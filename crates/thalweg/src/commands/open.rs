//! `thalweg open`: the pages of the running server in a browser.

use std::process::{Command, Stdio};

use thalweg_core::Error;

use super::Failure;
use super::place::Place;

/// Programs that open an address, the system's own first.
const OPENERS: [&str; 3] = ["xdg-open", "open", "wslview"];

pub(super) fn run(place: &Place) -> Result<u8, Failure> {
    // Without a server there is nothing to open.
    place.client()?;
    let server = place.server().unwrap_or_default();
    let token = std::fs::read_to_string(place.data.join("admin_token"));
    let address = match token {
        Ok(token) => format!("{server}/login?token={}", token.trim()),
        // The server of another machine: it asks whoever comes.
        Err(_) => server,
    };
    println!("{address}");
    let is_open = OPENERS.iter().any(|opener| {
        let mut command = Command::new(opener);
        command.arg(&address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    });
    if is_open {
        return Ok(0);
    }
    Err(Error::unavailable("no browser could be started")
        .with_hint("Open the address above yourself.")
        .into())
}
