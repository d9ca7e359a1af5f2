//! The webhook sink: rows over HTTP, at least once.
//!
//! A request has the rows of one epoch in order: a JSON object, or an array of up to `rows_max`. Its
//! `Idempotency-Key` is made of incarnation, sink, epoch, number within the epoch and a checksum of the
//! body, since with other settings the same number has other rows. An epoch that is run again has the
//! same rows (S8), so a receiver that keeps the keys has each row once.
//!
//! What has been answered with a 2xx is not sent again in this process. 408, 425, 429 and 5xx are tried
//! again, a few times at once and then with the commit, not before `Retry-After`; any other answer stops
//! the sink, since the same request would get it again.

use std::fmt;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Response, StatusCode};
use thalweg_core::env::Env;
use thalweg_core::sink::{Committed, Epoch, Guarantee, Sink, Stamp};
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, ErrorKind, Result};

use super::json_rows::{in_utc, json_rows};
use crate::sources::http::retry_after;
use crate::sources::redact_url;

/// Longest time for one request, and of it for the connection.
const TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before a request is sent once more: the first, and the longest.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(3);
/// How much of what a receiver says against a request is shown, in bytes.
const SAID_MAX: usize = 300;

/// Where rows go.
#[derive(Clone)]
pub struct WebhookConfig {
    /// Name of the sink.
    pub name: String,
    /// Address; secret.
    pub url: String,
    /// Headers of each request, by name; secret.
    pub headers: Vec<(String, String)>,
    /// Most rows of a request; 1: an object for each row, else an array.
    pub rows_max: usize,
}

impl fmt::Debug for WebhookConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookConfig")
            .field("name", &self.name)
            .field("url", &redact_url(&self.url))
            .field("rows_max", &self.rows_max)
            .finish_non_exhaustive()
    }
}

impl WebhookConfig {
    /// Whether requests can be made with it.
    ///
    /// # Errors
    ///
    /// `Invalid` when the address is no URL, or a header cannot be sent.
    pub fn check(&self) -> Result<()> {
        self.headers().map(drop)
    }

    fn headers(&self) -> Result<HeaderMap> {
        let wrong = |what: String| Error::invalid(format!("sink `{}`: {what}", self.name));
        let url = url::Url::parse(&self.url)
            .map_err(|error| wrong("its address is no URL".to_owned()).with_source(error))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("its address begins with neither http:// nor https://".to_owned()));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let header = HeaderName::from_bytes(name.as_bytes());
            let header = header.map_err(|_| wrong(format!("`{name}` is no name of a header")))?;
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| wrong(format!("the value of header `{name}` cannot be sent")))?;
            value.set_sensitive(true);
            headers.insert(header, value);
        }
        Ok(headers)
    }
}

/// Posts rows.
pub struct WebhookSink {
    config: WebhookConfig,
    schema: SchemaRef,
    env: Env,
    http: reqwest::Client,
    headers: HeaderMap,
    staged: Vec<(Epoch, Vec<Bytes>)>,
    // The last request that was taken: its epoch, and its number within it.
    taken: Option<(Epoch, usize)>,
    not_before: Timestamp,
}

impl WebhookSink {
    /// A sink for rows of `schema`.
    ///
    /// # Errors
    ///
    /// As [`WebhookConfig::check`].
    pub fn new(config: WebhookConfig, schema: SchemaRef, env: Env) -> Result<Self> {
        let headers = config.headers()?;
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Error::internal("no HTTP client").with_source(error))?;
        Ok(Self {
            config,
            schema,
            env,
            http,
            headers,
            staged: Vec::new(),
            taken: None,
            not_before: Timestamp::MIN,
        })
    }

    fn body(&self, rows: &[Bytes]) -> Bytes {
        match rows {
            [only] if self.config.rows_max == 1 => only.clone(),
            rows => [b"[", rows.join(&b","[..]).as_slice(), b"]"].concat().into(),
        }
    }

    async fn post_in_a_few_tries(&mut self, key: &str, rows: &[Bytes]) -> Result<()> {
        let mut pause = PAUSE;
        loop {
            let wait = self.not_before.since(self.env.clock.now());
            if wait > PAUSE_MAX {
                let (name, wait) = (&self.config.name, wait.as_secs_f64().ceil());
                let message = format!("webhook `{name}` wants no request for {wait} s");
                return Err(Error::unavailable(message));
            }
            if !self.env.sleep(wait).await {
                return Err(Error::unavailable("the process stops"));
            }
            match self.post(key, rows).await {
                Err(error) if error.kind == ErrorKind::Unavailable && pause <= PAUSE_MAX => {
                    if !self.env.sleep(pause).await {
                        return Err(error);
                    }
                    pause *= 3;
                }
                answered => return answered,
            }
        }
    }

    /// Sends rows once; the key begins with `key`.
    async fn post(&mut self, key: &str, rows: &[Bytes]) -> Result<()> {
        let body = self.body(rows);
        let key = format!("{key}-{:08x}", crc32c::crc32c(&body));
        let key = HeaderValue::from_str(&key)
            .map_err(|error| Error::internal("a key is no header").with_source(error))?;
        let mut headers = self.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("idempotency-key", key);
        let failed =
            |what: String| Error::unavailable(format!("webhook `{}` {what}", self.config.name));
        let answer =
            self.http.post(&self.config.url).headers(headers).body(body).send().await.map_err(
                |error| failed("does not answer".to_owned()).with_source(error.without_url()),
            )?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let now = self.env.clock.now();
        if let Some(wait) = retry_after(status.as_u16(), answer.headers(), None, now) {
            self.not_before = now.plus(wait);
        }
        let is_passing = status.is_server_error()
            || matches!(
                status,
                StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
            );
        let error = failed(format!("answers {status}"));
        if is_passing {
            return Err(error);
        }
        let said = said(answer).await;
        let error = Error::invalid(error.message)
            .with_hint("The same rows would be refused again; mend the receiver or the sink.");
        Err(if said.is_empty() { error } else { error.with_detail(said) })
    }
}

/// The beginning of what an answer says.
async fn said(mut answer: Response) -> String {
    let mut said = Vec::new();
    while said.len() < SAID_MAX
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        said.extend_from_slice(&chunk[..chunk.len().min(SAID_MAX - said.len())]);
    }
    let said = String::from_utf8_lossy(&said).into_owned();
    said.chars().map(|it| if it.is_control() { ' ' } else { it }).collect()
}

#[async_trait]
impl Sink for WebhookSink {
    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    async fn open(&mut self) -> Result<Option<Stamp>> {
        Ok(None)
    }

    async fn write(&mut self, epoch: Epoch, rows: &RecordBatch) -> Result<()> {
        let failed =
            |error| Error::internal("rows could not be written as JSON").with_source(error);
        let mut columns = Vec::with_capacity(rows.num_columns());
        for (field, column) in self.schema.fields().iter().zip(rows.columns()) {
            columns.push((field.name().as_str(), in_utc(column).map_err(failed)?));
        }
        let rows = json_rows(&columns, rows.num_rows()).map_err(failed)?;
        match self.staged.last_mut() {
            Some((last, staged)) if *last == epoch => staged.extend(rows),
            _ => self.staged.push((epoch, rows)),
        }
        Ok(())
    }

    async fn commit(&mut self, stamp: &Stamp) -> Result<Committed> {
        let staged = std::mem::take(&mut self.staged);
        let mut committed = Committed::default();
        for (epoch, rows) in &staged {
            for (number, part) in rows.chunks(self.config.rows_max).enumerate() {
                if self.taken < Some((*epoch, number)) {
                    let Stamp { incarnation, .. } = stamp;
                    let key = format!("{incarnation}-{}-{epoch}-{number}", self.config.name);
                    self.post_in_a_few_tries(&key, part).await?;
                    self.taken = Some((*epoch, number));
                }
                committed.rows_written += part.len() as u64;
            }
        }
        Ok(committed)
    }

    async fn discard(&mut self) {
        self.staged.clear();
    }
}
