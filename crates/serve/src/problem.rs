//! Errors as RFC 9457 problem details.
//!
//! A [`Problem`] is what a client gets instead of an answer, whole: nothing of it is logged besides.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use thalweg_core::{Error, ErrorKind};
use utoipa::ToSchema;

/// What a program can tell problems apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    Invalid,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    NotAcceptable,
    Fenced,
    TooLarge,
    UnsupportedMediaType,
    WrongHost,
    Data,
    TooManyAttempts,
    Internal,
    Unavailable,
}

impl Code {
    fn name_and_status(self) -> (&'static str, StatusCode) {
        match self {
            Self::Invalid => ("invalid", StatusCode::BAD_REQUEST),
            Self::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED),
            Self::Forbidden => ("forbidden", StatusCode::FORBIDDEN),
            Self::NotFound => ("not_found", StatusCode::NOT_FOUND),
            Self::MethodNotAllowed => ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED),
            Self::NotAcceptable => ("not_acceptable", StatusCode::NOT_ACCEPTABLE),
            Self::Fenced => ("fenced", StatusCode::CONFLICT),
            Self::TooLarge => ("too_large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::UnsupportedMediaType => {
                ("unsupported_media_type", StatusCode::UNSUPPORTED_MEDIA_TYPE)
            }
            Self::WrongHost => ("wrong_host", StatusCode::MISDIRECTED_REQUEST),
            Self::Data => ("data", StatusCode::UNPROCESSABLE_ENTITY),
            Self::TooManyAttempts => ("too_many_attempts", StatusCode::TOO_MANY_REQUESTS),
            Self::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR),
            Self::Unavailable => ("unavailable", StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}

/// Problem details (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Problem {
    /// `urn:thalweg:problem:<code>`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// What happened: one clause.
    pub(crate) title: String,
    /// The HTTP status.
    pub(crate) status: u16,
    /// What a program can tell problems apart by.
    pub(crate) code: Code,
    /// More facts, in sentences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
    /// What to do, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    /// Seconds after which asking again makes sense; the header `Retry-After`.
    #[serde(skip)]
    pub(crate) retry_after: Option<u64>,
}

impl Problem {
    /// A problem without detail and hint.
    pub(crate) fn new(code: Code, title: impl Into<String>) -> Self {
        let (name, status) = code.name_and_status();
        Self {
            kind: format!("urn:thalweg:problem:{name}"),
            title: title.into(),
            status: status.as_u16(),
            code,
            detail: None,
            hint: None,
            retry_after: None,
        }
    }

    pub(crate) fn invalid(title: impl Into<String>) -> Self {
        Self::new(Code::Invalid, title)
    }

    pub(crate) fn not_found(title: impl Into<String>) -> Self {
        Self::new(Code::NotFound, title)
    }

    pub(crate) fn unavailable(title: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, title)
    }

    /// All places are taken; one may be free in a second.
    pub(crate) fn busy(title: impl Into<String>) -> Self {
        Self { retry_after: Some(1), ..Self::unavailable(title) }
    }

    pub(crate) fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds "Did you mean …?" when one of `candidates` is near `word`.
    pub(crate) fn with_nearest<'a>(
        self,
        word: &str,
        candidates: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        match thalweg_core::problem::nearest(word, candidates) {
            Some(candidate) => self.with_hint(format!("Did you mean `{candidate}`?")),
            None => self,
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let code = match error.kind {
            ErrorKind::Invalid => Code::Invalid,
            ErrorKind::Data => Code::Data,
            ErrorKind::Unavailable => Code::Unavailable,
            ErrorKind::Fenced => Code::Fenced,
            ErrorKind::Internal => Code::Internal,
        };
        let mut detail = error.detail.unwrap_or_default();
        let mut cause: Option<&(dyn std::error::Error + 'static)> = match &error.source {
            Some(source) => Some(source.as_ref()),
            None => None,
        };
        while let Some(source) = cause {
            if !detail.is_empty() {
                detail.push(' ');
            }
            detail.push_str(&format!("Because: {source}."));
            cause = source.source();
        }
        Self {
            detail: (!detail.is_empty()).then_some(detail),
            hint: error.hint,
            ..Self::new(code, error.message)
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).expect("statuses come from `Code`");
        let retry_after = self.retry_after;
        let code = self.code;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if code == Code::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
