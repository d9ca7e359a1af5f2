//! A request over HTTP as a task: who is called learns of the run, and its answer decides.
//!
//! The request carries `Idempotency-Key`, the same on every attempt, and unless it is a GET a body:
//! `{"run", "day", "period_start", "period_end", "attempt"}`. 2xx is success; what may be over later (no
//! answer, 408, 425, 429, 5xx) is `Unavailable`, which the task's retries are for; any other answer,
//! redirects among them, is `Invalid`.

use std::fmt;

use async_trait::async_trait;
use futures::StreamExt as _;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response, StatusCode};
use rustls::ClientConfig;
use serde_json::json;
use thalweg_core::task::{Task, TaskContext};
use thalweg_core::{Error, Result};
use url::Url;

use crate::sources::redact_url;
use crate::sources::tls::tls_config;

/// How much of an answer is read, and shown in the log of the task.
const ANSWER_BYTES_MAX: usize = 4 << 10;

/// How an address is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// With the run as JSON.
    #[default]
    Post,
    /// With the run as JSON.
    Put,
    /// Without a body.
    Get,
}

/// Whom to call.
#[derive(Clone)]
pub struct CallConfig {
    /// Address, `http://` or `https://`; secret. No default.
    pub url: String,
    /// Default POST.
    pub method: Method,
    /// Headers; values are secret. Default none.
    pub headers: Vec<(String, String)>,
}

impl fmt::Debug for CallConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("CallConfig")
            .field("url", &redact_url(&self.url))
            .field("method", &self.method)
            .field("headers", &headers)
            .finish()
    }
}

/// Calls an address; see the module.
pub struct Call {
    url: Url,
    shown: String,
    method: Method,
    headers: HeaderMap,
    http: Client,
}

impl Call {
    /// # Errors
    ///
    /// `Invalid` when the address or a header is malformed.
    pub fn new(config: &CallConfig) -> Result<Self> {
        let shown = redact_url(&config.url);
        // The error beneath may repeat the address with its secrets.
        let url = Url::parse(&config.url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| Error::invalid(format!("`{shown}` is no HTTP address to call")))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &config.headers {
            let malformed = || Error::invalid(format!("the header `{name}` is malformed"));
            let mut value = HeaderValue::try_from(value.as_str()).map_err(|_| malformed())?;
            value.set_sensitive(true);
            headers.insert(HeaderName::try_from(name.as_str()).map_err(|_| malformed())?, value);
        }
        let http = Client::builder()
            .tls_backend_preconfigured(ClientConfig::clone(&*tls_config()?))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Error::internal("no HTTP client").with_source(error))?;
        Ok(Self { url, shown, method: config.method, headers, http })
    }

    async fn ask(&self, context: &TaskContext) -> Result<String> {
        let mut request = self
            .http
            .request(
                match self.method {
                    Method::Post => reqwest::Method::POST,
                    Method::Put => reqwest::Method::PUT,
                    Method::Get => reqwest::Method::GET,
                },
                self.url.clone(),
            )
            .headers(self.headers.clone())
            .header("Idempotency-Key", &context.run);
        if self.method != Method::Get {
            request = request.json(&json!({
                "run": context.run,
                "day": context.day.to_string(),
                "period_start": context.period_start.to_string(),
                "period_end": context.period_end.to_string(),
                "attempt": context.attempt,
            }));
        }
        let answer = request.send().await.map_err(|error| {
            Error::unavailable(format!("{} does not answer", self.shown))
                .with_source(error.without_url())
        })?;
        let status = answer.status();
        let text = head_of(answer).await;
        if !text.is_empty() {
            context.log.line(&text);
        }
        let said = format!("{} answered {status}", self.shown);
        match status {
            status if status.is_success() => Ok(said),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                Err(Error::unavailable(said))
            }
            status if status.is_server_error() => Err(Error::unavailable(said)),
            _ => Err(Error::invalid(said)),
        }
    }
}

/// The begin of an answer's body, as far as it comes.
async fn head_of(answer: Response) -> String {
    let mut bytes = Vec::new();
    let mut body = answer.bytes_stream();
    while let Some(Ok(part)) = body.next().await {
        bytes.extend_from_slice(&part);
        if bytes.len() >= ANSWER_BYTES_MAX {
            bytes.truncate(ANSWER_BYTES_MAX);
            break;
        }
    }
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

#[async_trait]
impl Task for Call {
    async fn run(&self, context: &TaskContext) -> Result<String> {
        tokio::select! {
            said = self.ask(context) => said,
            () = context.cancel.cancelled() => {
                Err(Error::unavailable(format!("the call of {} was given up", self.shown)))
            }
        }
    }
}
