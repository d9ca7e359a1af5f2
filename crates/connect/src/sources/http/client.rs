//! One request: its redirects, its body, and what an answer that is no success means.
//!
//! Redirects are followed here and not by the library, because headers with secrets must not go to
//! another origin, whatever they are called.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, DATE, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, LOCATION, USER_AGENT,
};
use reqwest::{Response, StatusCode};
use rustls::ClientConfig;
use thalweg_core::env::Clock;
use thalweg_core::error::{Error, Result};
use thalweg_core::frame::FRAME_BYTES_MAX;
use thalweg_core::time::Timestamp;
use tokio::time::timeout;
use url::{Origin, Url};

use super::limits::{http_date, retry_after};
use super::round::Page;
use super::{HttpConfig, Remembered};
use crate::sources::secrets::{Secrets, redact_url};
use crate::sources::tls::tls_config;

/// How much of an error's page is read and shown.
const PAGE_BYTES: usize = 4 << 10;
const SHOWN_CHARS: usize = 200;

/// An answer that is a success.
#[derive(Debug)]
pub(super) struct Answer {
    /// Where it came from in the end.
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    /// The body, or its first [`FRAME_BYTES_MAX`] bytes.
    pub(super) body: Bytes,
    /// Its whole length in bytes.
    pub(super) length: u64,
    /// The far end's time, to the second.
    pub(super) date: Option<Timestamp>,
    /// It is what it was when it was asked for last; there is no body.
    pub(super) is_unchanged: bool,
}

impl Answer {
    /// A header that is text.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        Some(self.headers.get(name)?.to_str().ok()?.to_owned())
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) error: Error,
    /// How long the far end asked to be left alone.
    pub(super) retry_after: Option<Duration>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { error, retry_after: None }
    }
}

/// What becomes of a request.
pub(super) type Asked = Result<Answer, Refusal>;

/// Sends requests.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    shared: Arc<Shared>,
}

struct Shared {
    headers: HeaderMap,
    // Whom the headers are for.
    origins: Vec<Origin>,
    secrets: Secrets,
    redirects_max: u32,
    timeout: Duration,
}

impl Client {
    /// # Errors
    ///
    /// `Invalid` when an address is no `http` or `https` URL, or a header is malformed.
    pub(super) fn new(config: &HttpConfig) -> Result<Self> {
        let mut headers = HeaderMap::new();
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("thalweg/", env!("CARGO_PKG_VERSION"))),
        );
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        for (name, value) in &config.headers {
            let malformed = || Error::invalid(format!("the header `{name}` is malformed"));
            let parsed = HeaderName::try_from(name.as_str()).map_err(|_| malformed())?;
            // The value is a secret more often than not, so the error beneath is left out.
            let mut value = HeaderValue::try_from(value.as_str()).map_err(|_| malformed())?;
            value.set_sensitive(true);
            headers.insert(parsed, value);
        }
        let mut urls = Vec::new();
        for request in &config.requests {
            urls.push(address(&request.url)?);
        }
        let values = || config.headers.iter().map(|(_, value)| value.as_str());
        let secrets = urls.iter().map(|url| Secrets::new(url, values())).collect::<Vec<_>>();
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(ClientConfig::clone(&*tls_config()?))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(config.timeout)
            .http1_only();
        if urls.iter().all(is_loopback) {
            builder = builder.no_proxy();
        }
        let http = builder
            .build()
            .map_err(|error| Error::internal("no HTTP client").with_source(error))?;
        let shared = Shared {
            headers,
            origins: urls.iter().map(Url::origin).collect(),
            secrets: Secrets::merged(secrets),
            redirects_max: config.redirects_max,
            timeout: config.timeout,
        };
        Ok(Self { http, shared: Arc::new(shared) })
    }

    /// Asks for a page; conditionally, where `known` says what it was.
    pub(super) fn ask(
        &self,
        page: &Page,
        known: Option<&Remembered>,
        clock: Clock,
    ) -> BoxFuture<'static, Asked> {
        let mut conditions = HeaderMap::new();
        if let Some(known) = known.filter(|_| page.number == 0) {
            let mut add = |name, value: &Option<String>| {
                if let Some(value) = value.as_ref().and_then(|it| HeaderValue::from_str(it).ok()) {
                    conditions.insert(name, value);
                }
            };
            add(IF_NONE_MATCH, &known.etag);
            add(IF_MODIFIED_SINCE, &known.last_modified);
        }
        let (client, url) = (self.clone(), page.url.clone());
        async move {
            // The far end's time to answer is no idle time.
            let _busy = clock.busy();
            let wait = client.shared.timeout;
            match timeout(wait, client.follow(url.clone(), conditions, &clock)).await {
                Ok(asked) => asked,
                Err(_) => {
                    let shown = redact_url(url.as_str());
                    Err(Error::unavailable(format!("{shown} did not answer in time"))
                        .with_detail(format!("Waited {wait:?}."))
                        .into())
                }
            }
        }
        .boxed()
    }

    async fn follow(&self, mut url: Url, conditions: HeaderMap, clock: &Clock) -> Asked {
        let first = redact_url(url.as_str());
        for _ in 0..=self.shared.redirects_max {
            let response = self.send(&url, &conditions).await?;
            let status = response.status();
            let is_redirect = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
            if !is_redirect {
                return self.read(url, response, !conditions.is_empty(), clock).await;
            }
            let location = response.headers().get(LOCATION).and_then(|it| it.to_str().ok());
            let next = location.and_then(|location| url.join(location).ok());
            let Some(next) = next.filter(|next| matches!(next.scheme(), "http" | "https")) else {
                return Err(Error::invalid(format!(
                    "{first} has moved (HTTP {}), and does not say where to",
                    status.as_u16()
                ))
                .into());
            };
            if url.scheme() == "https" && next.scheme() == "http" {
                return Err(Error::invalid(format!(
                    "{first} redirects to an address without encryption"
                ))
                .with_hint(format!("It names {}.", redact_url(next.as_str())))
                .into());
            }
            url = next;
        }
        Err(Error::invalid(format!(
            "{first} redirects more than {} times",
            self.shared.redirects_max
        ))
        .with_detail(format!("The last address was {}.", redact_url(url.as_str())))
        .into())
    }

    async fn send(&self, url: &Url, conditions: &HeaderMap) -> Result<Response, Error> {
        let mut request = self.http.get(url.clone());
        if self.shared.origins.contains(&url.origin()) {
            request = request.headers(self.shared.headers.clone()).headers(conditions.clone());
        }
        request.send().await.map_err(|error| self.lost("cannot reach", url, error))
    }

    /// An error of the way there, without the address it repeats.
    fn lost(&self, what: &str, url: &Url, error: reqwest::Error) -> Error {
        Error::unavailable(format!("{what} {}", redact_url(url.as_str())))
            .with_source(error.without_url())
    }

    /// Reads an answer that is no redirect.
    async fn read(
        &self,
        url: Url,
        mut response: Response,
        is_conditional: bool,
        clock: &Clock,
    ) -> Asked {
        let status = response.status();
        let headers = response.headers().clone();
        let date = headers.get(DATE).and_then(|date| http_date(date.to_str().ok()?));
        let is_unchanged = is_conditional && status == StatusCode::NOT_MODIFIED;
        if !status.is_success() && !is_unchanged {
            let error = self.refusal(&url, response).await;
            let retry_after = retry_after(status.as_u16(), &headers, date, clock.now());
            return Err(Refusal { error, retry_after });
        }
        let (mut body, mut length) = (BytesMut::new(), 0_u64);
        let cut = |error| self.lost("the body was cut short by", &url, error);
        while let Some(chunk) = response.chunk().await.map_err(cut)? {
            length += chunk.len() as u64;
            let room = FRAME_BYTES_MAX.saturating_sub(body.len());
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
        let is_packed = headers.get(CONTENT_ENCODING).is_some_and(|it| it == "gzip");
        let mut body = body.freeze();
        if is_packed && length <= FRAME_BYTES_MAX as u64 {
            (body, length) = unpack(&body).map_err(|error| {
                Error::unavailable(format!("{} sent a broken body", redact_url(url.as_str())))
                    .with_source(error)
            })?;
        }
        Ok(Answer { url, headers, body, length, date, is_unchanged })
    }

    /// What an answer that is no success means: who can help, and what it says.
    async fn refusal(&self, url: &Url, mut response: Response) -> Error {
        let status = response.status().as_u16();
        let shown = redact_url(url.as_str());
        let error = match status {
            401 => Error::invalid(format!("{shown} refused the token (HTTP 401)"))
                .with_hint("Check that the token is set, complete and still valid."),
            403 => Error::invalid(format!("{shown} refused access (HTTP 403)"))
                .with_hint("The site may block this address or programs in general."),
            418 => Error::unavailable(format!("{shown} has banned this address (HTTP 418)")),
            408 | 425 | 429 => {
                Error::unavailable(format!("{shown} has had too many requests (HTTP {status})"))
                    .with_hint("Poll less often, or for fewer things.")
            }
            300..=499 => Error::invalid(format!("{shown} refused the request (HTTP {status})")),
            _ => Error::unavailable(format!("{shown} is out of order (HTTP {status})")),
        };
        let mut page = Vec::new();
        while page.len() < PAGE_BYTES {
            // Best effort: the page says more than its status.
            let Ok(Some(chunk)) = response.chunk().await else { break };
            page.extend_from_slice(&chunk[..chunk.len().min(PAGE_BYTES - page.len())]);
        }
        let said = self.shared.secrets.scrub(&without_tags(&page), SHOWN_CHARS);
        if said.is_empty() { error } else { error.with_detail(format!("It says: {said}")) }
    }
}

/// An address that can be polled.
fn address(text: &str) -> Result<Url> {
    let invalid = |why: &str| {
        Error::invalid(format!("the address to poll {why}"))
            .with_hint("It is written like https://host/path.")
    };
    // The error beneath says nothing of the address, and so no secret.
    let url = Url::parse(text).map_err(|error| invalid("is no URL").with_source(error))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid("begins with neither http:// nor https://"));
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// The first [`FRAME_BYTES_MAX`] bytes of what is packed, and the whole length as far as it is worth
/// counting: a small body can unpack to more than any disk holds.
fn unpack(packed: &[u8]) -> std::io::Result<(Bytes, u64)> {
    let mut body = Vec::new();
    let mut decoder = MultiGzDecoder::new(packed);
    decoder.by_ref().take(FRAME_BYTES_MAX as u64).read_to_end(&mut body)?;
    let mut rest = decoder.take(FRAME_BYTES_MAX as u64);
    let beyond = std::io::copy(&mut rest, &mut std::io::sink())?;
    let length = body.len() as u64 + beyond;
    Ok((body.into(), length))
}

/// The text of an error's page, which may be HTML.
fn without_tags(page: &[u8]) -> String {
    let page = String::from_utf8_lossy(page);
    if !page.trim_start().starts_with('<') {
        return page.into_owned();
    }
    let pieces = page.split('<').filter_map(|piece| piece.split_once('>').map(|(_, text)| text));
    pieces.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn an_error_page_is_shown_as_text() {
        assert_eq!(without_tags(br#"{"code":-1121,"msg":"x<y"}"#), r#"{"code":-1121,"msg":"x<y"}"#);
        let page = b"<html><head><title>403</title></head><body>Forbidden<br/>Go";
        assert_eq!(
            without_tags(page).split_whitespace().collect::<Vec<_>>(),
            ["403", "Forbidden", "Go"]
        );
    }

    #[test]
    fn what_is_packed_is_unpacked_up_to_a_frame() {
        let pack = |bytes: &[u8]| {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        let (body, length) = unpack(&pack(b"[1,2]")).unwrap();
        assert_eq!((&body[..], length), (&b"[1,2]"[..], 5));
        let bomb = pack(&vec![b' '; 3 * FRAME_BYTES_MAX]);
        assert!(bomb.len() < FRAME_BYTES_MAX / 10);
        let (body, length) = unpack(&bomb).unwrap();
        assert_eq!((body.len(), length), (FRAME_BYTES_MAX, 2 * FRAME_BYTES_MAX as u64));
        assert!(unpack(b"no gzip").is_err());
    }
}
