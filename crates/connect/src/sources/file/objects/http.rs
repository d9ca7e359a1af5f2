//! One file over HTTP.
//!
//! Its length comes from the answer to a request for its first byte, which servers that know ranges
//! answer with the whole length beside it. Where ranges are not known, what comes before the range
//! is passed over.
//!
//! Not here: an address that is asked again and again and answers anew each time (`sources::http`).

use std::io;
use std::ops::Range;

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, future};
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, HeaderValue,
    LAST_MODIFIED, RANGE,
};
use reqwest::{Client, Response, StatusCode};
use thalweg_core::error::{Error, Result};
use url::Url;

use super::{Look, Objects, Opened, PATIENCE, unavailable};
use crate::sources::file::files::{Listed, ReadError};
use crate::sources::redact_url;

/// One address.
pub(in crate::sources::file) struct HttpFile {
    client: Client,
    url: Url,
    // The address as it is shown and stored, without its secrets.
    shown: String,
}

impl HttpFile {
    /// # Errors
    ///
    /// `Invalid` when the address is no URL, has wildcards, or a header is malformed.
    pub(in crate::sources::file) fn new(url: &str, headers: &[(String, String)]) -> Result<Self> {
        let shown = redact_url(url);
        let parsed = Url::parse(url).map_err(|error| {
            Error::invalid("the address of a file is no URL").with_source(error)
        })?;
        if parsed.path().contains('*') {
            return Err(Error::invalid(format!("{shown} has wildcards, which HTTP does not know"))
                .with_hint("Name one file, or use a store that can be listed."));
        }
        let mut defaults = HeaderMap::new();
        // A length is one of the bytes as they are stored.
        defaults.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        for (name, value) in headers {
            let wrong = || Error::invalid(format!("header `{name}` of {shown} is malformed"));
            let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
            let mut value = HeaderValue::from_str(value).map_err(|_| wrong())?;
            value.set_sensitive(true);
            defaults.insert(key, value);
        }
        let client = Client::builder()
            .connect_timeout(PATIENCE)
            .read_timeout(PATIENCE)
            .default_headers(defaults)
            .build()
            .map_err(|error| Error::internal("no HTTP client").with_source(error))?;
        Ok(Self { client, url: parsed, shown })
    }

    async fn get(&self, range: &Range<u64>) -> Result<Response, ReadError> {
        let bytes = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        let answer = self.client.get(self.url.clone()).header(RANGE, bytes).send().await;
        let answer = answer.map_err(|error| unavailable(&self.shown, error.without_url()))?;
        match answer.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                Ok(answer)
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(ReadError::Gone),
            status => Err(unavailable(&self.shown, format!("the server answers {status}"))),
        }
    }

    fn look_at(&self, answer: &Response) -> Result<Look, ReadError> {
        let header = |name| {
            let value: Option<&HeaderValue> = answer.headers().get(name);
            value.and_then(|value| value.to_str().ok())
        };
        let size = match answer.status() {
            StatusCode::OK => header(CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            _ => header(CONTENT_RANGE)
                .and_then(|range| range.rsplit_once('/'))
                .and_then(|(_, size)| size.parse().ok()),
        };
        let size: u64 = size.ok_or_else(|| {
            unavailable(&self.shown, "the server does not say how long the file is")
        })?;
        let changed = header(LAST_MODIFIED).map(|at| format!("{at}-{size}"));
        Ok(Look { size, tag: header(ETAG).map(str::to_owned).or(changed) })
    }
}

#[async_trait]
impl Objects for HttpFile {
    async fn list(&self) -> Result<Vec<Listed>> {
        match self.look(&self.shown).await {
            Ok(Look { size, tag }) => Ok(vec![Listed { path: self.shown.clone(), size, tag }]),
            Err(ReadError::Gone) => Ok(Vec::new()),
            Err(error) => Err(error.about(&self.shown)),
        }
    }

    async fn look(&self, _path: &str) -> Result<Look, ReadError> {
        self.look_at(&self.get(&(0..1)).await?)
    }

    async fn open(&self, _path: &str, range: Range<u64>) -> Result<Opened, ReadError> {
        let answer = self.get(&range).await?;
        let look = self.look_at(&answer)?;
        let mut skipped = match answer.status() {
            StatusCode::OK => range.start,
            StatusCode::PARTIAL_CONTENT => 0,
            _ => return Err(ReadError::Changed("is shorter than it was just now")),
        };
        let bytes = answer.bytes_stream().map_err(|error| io::Error::other(error.without_url()));
        let bytes = bytes.map_ok(move |bytes| {
            let cut = usize::try_from(skipped).unwrap_or(usize::MAX).min(bytes.len());
            skipped -= cut as u64;
            bytes.slice(cut..)
        });
        // What was wholly passed over is no end.
        let bytes = bytes.try_filter(|bytes| future::ready(!bytes.is_empty()));
        Ok(Opened { look, bytes: bytes.boxed() })
    }
}
