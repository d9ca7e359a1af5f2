//! What requests bring: segments of paths, query strings, bodies; and what any may be answered with.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;
use utoipa::openapi::{
    Content, Ref, RefOr, Response as ResponseDoc, ResponseBuilder, content::ContentBuilder,
};
use utoipa::{IntoParams, IntoResponses};

use crate::problem::{Code, Problem};

/// Names and values of a query string, decoded, in their order.
pub(crate) fn pairs(query: Option<&str>) -> Vec<(String, String)> {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect()
}

/// The one variable segment of a path, decoded.
pub(crate) struct Segment(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(segment)) => Ok(Self(segment)),
            Err(error) => Err(Problem::invalid("the path cannot be read")
                .with_detail(format!("{}.", error.body_text()))),
        }
    }
}

/// A JSON body; an empty one is `{}`.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let content_type = request.headers().get(header::CONTENT_TYPE).cloned();
        let bytes = Bytes::from_request(request, state).await.map_err(|error| {
            let code = match error.status() {
                StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
                _ => Code::Invalid,
            };
            Problem::new(code, "the body cannot be read")
                .with_detail(format!("{}.", error.body_text()))
        })?;
        if !bytes.is_empty() {
            let kind = content_type.as_ref().and_then(|value| value.to_str().ok());
            let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
            if !kind.eq_ignore_ascii_case("application/json") {
                return Err(Problem::new(Code::UnsupportedMediaType, "the body is not JSON")
                    .with_hint("Send it with `Content-Type: application/json`."));
            }
        }
        let bytes = if bytes.is_empty() { b"{}" } else { bytes.as_ref() };
        serde_json::from_slice(bytes).map(Self).map_err(|error| {
            Problem::invalid("the body is not what is expected here")
                .with_detail(format!("{error}."))
        })
    }
}

/// Pairs that order and cut a relation; any other name is a column, and means equality.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the document: `select` reads the pairs one by one")]
pub(crate) struct ViewParams {
    /// Columns, each with `asc` or `desc`, such as `ts desc,symbol`.
    order_by: Option<String>,
    /// Rows at most.
    limit: Option<u32>,
    /// Any column's name, with the value it shall equal; given twice, either value.
    #[param(style = Form, explode, additional_properties)]
    column: Option<BTreeMap<String, String>>,
}

/// Any operation may be answered with a problem.
pub(crate) struct Problems;

impl IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<ResponseDoc>> {
        let content: Content =
            ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let response = ResponseBuilder::new()
            .description("a problem")
            .content("application/problem+json", content)
            .build();
        BTreeMap::from([("default".to_owned(), response.into())])
    }
}
