//! Addresses of database servers: reading a URL without ever showing it, and waiting for an answer
//! no longer than a deadline.
//!
//! What a server's errors mean is in its own folder.

use std::future::Future;
use std::time::Duration;

use thalweg_core::{Error, Result, problem};
use url::Url;

/// How much longer than the server's own limit we wait for its answer.
pub(in crate::sinks) const SILENCE: Duration = Duration::from_secs(5);

/// What URLs of a kind of server look like.
pub(in crate::sinks) struct UrlForm {
    /// What the server is called.
    pub(in crate::sinks) name: &'static str,
    /// Its schemes, the usual one first.
    pub(in crate::sinks) schemes: &'static [&'static str],
    /// Its usual port.
    pub(in crate::sinks) port: u16,
    /// Keys a URL may have after the `?`.
    pub(in crate::sinks) keys: &'static [&'static str],
}

impl UrlForm {
    /// Reads a connection URL. An unescaped `?`, `#` or `@` of a password moves the rest of it into
    /// another part of the URL, so no part is ever shown, nor handed to a library that might log it.
    pub(in crate::sinks) fn read(&self, url: &str) -> Result<Url> {
        let parsed = Url::parse(url).map_err(|error| self.wrong(&format!("It has an {error}.")))?;
        if !self.schemes.contains(&parsed.scheme()) {
            return Err(self.wrong(&format!("It does not begin with {}://.", self.schemes[0])));
        }
        if parsed.fragment().is_some() {
            return Err(self.wrong("It has a `#`."));
        }
        for (key, _) in parsed.query_pairs() {
            if !self.keys.contains(&&*key) {
                let nearest = problem::nearest(&key, self.keys.iter().copied());
                let meant = nearest.map(|name| format!(" Did you mean `{name}`?"));
                return Err(self.wrong(&format!(
                    "It has an unknown parameter after the `?`.{}",
                    meant.unwrap_or_default()
                )));
            }
        }
        Ok(parsed)
    }

    /// An error about a URL, which shows nothing of it.
    pub(in crate::sinks) fn wrong(&self, detail: &str) -> Error {
        Error::invalid(format!("the {} URL cannot be read", self.name))
            .with_detail(detail)
            .with_hint(format!(
                "It has the form {}://user:password@host:{}/database; in the password, write \
                 `%40` for `@`, `%2F` for `/`, `%3F` for `?` and `%23` for `#`.",
                self.schemes[0], self.port
            ))
    }
}

/// Whether an error is about TLS, be it about what was agreed or about a certificate.
pub(in crate::sinks) fn is_tls(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Tls(_) => true,
        sqlx::Error::Io(error) => {
            error.get_ref().is_some_and(|inner| inner.downcast_ref::<rustls::Error>().is_some())
        }
        _ => false,
    }
}

/// Waits for an answer of the server `name` at `address`, for a time; `fold` says what an error of
/// the library means.
pub(in crate::sinks) async fn within<T>(
    limit: Duration,
    (name, address): (&str, &str),
    doing: &str,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
    fold: fn(&str, &str, sqlx::Error) -> Error,
) -> Result<T> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer.map_err(|error| fold(address, doing, error)),
        Err(_) => Err(Error::unavailable(format!("{name} at {address} does not answer"))
            .with_detail(format!("It was silent for {} s while {doing}.", limit.as_secs_f32()))),
    }
}
