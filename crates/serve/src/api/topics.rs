//! `GET /topics/{topic}/records`: a look at a topic. The list of topics is a system table (`query`).

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{RawQuery, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use thalweg_core::log::tail::{RECORDS_MAX, TailFrom, TailRecord, TailRequest};
use utoipa::{IntoParams, ToSchema};

use super::input::{Problems, Segment, pairs};
use crate::app::App;
use crate::problem::Problem;

/// Records shown when nobody says how many.
const LIMIT: usize = 100;

/// Records of a topic.
#[derive(Serialize, ToSchema)]
pub(crate) struct TopicRecords {
    /// The topic.
    topic: String,
    /// The records, by time; those of one partition in their order.
    records: Vec<TopicRecord>,
    /// Offset at which each partition goes on, by its number.
    next: BTreeMap<u32, i64>,
}

/// One record.
#[derive(Serialize, ToSchema)]
pub(crate) struct TopicRecord {
    /// Its partition.
    partition: u32,
    /// Its offset.
    offset: i64,
    /// Its time, RFC 3339 in UTC.
    timestamp: String,
    /// Its key as text; none without one.
    key: Option<String>,
    /// Its value as text; none without one.
    value: Option<String>,
    /// Its headers, in order: name and value as text.
    headers: Vec<(String, Option<String>)>,
    /// The value as base64, where it is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

/// Where to look.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the document: the pairs are read one by one")]
pub(crate) struct TailParams {
    /// `beginning`, `-N` for the newest N, an offset, or an instant; `-100`, when absent.
    from: Option<String>,
    /// One partition; all, when absent.
    partition: Option<u32>,
    /// Most records; 100, when absent.
    limit: Option<u32>,
}

/// Records of a topic, from a place on.
#[utoipa::path(
    get,
    path = "/topics/{topic}/records",
    tag = "reading",
    params(("topic" = String, Path, description = "a topic of the log"), TailParams),
    responses((status = 200, description = "the records", body = TopicRecords), Problems)
)]
pub(crate) async fn records(
    State(app): State<App>,
    Segment(topic): Segment,
    RawQuery(query): RawQuery,
) -> Result<Json<TopicRecords>, Problem> {
    let mut request =
        TailRequest { topic, partition: None, from: TailFrom::Newest(LIMIT as u64), limit: LIMIT };
    let wrong = |name: &str, value: &str| {
        Problem::invalid(format!("`{name}` is `{value}`, which is no number"))
    };
    for (name, value) in pairs(query.as_deref()) {
        match name.as_str() {
            "from" => request.from = TailFrom::parse(&value)?,
            "partition" => {
                request.partition = Some(value.parse().map_err(|_| wrong("partition", &value))?);
            }
            "limit" => {
                let limit: usize = value.parse().map_err(|_| wrong("limit", &value))?;
                request.limit = limit.min(RECORDS_MAX);
            }
            other => {
                return Err(Problem::invalid(format!("a topic has no `{other}`"))
                    .with_hint("There are: from, partition, limit."));
            }
        }
    }
    let topic = request.topic.clone();
    let tail = app.parts.control.topic_records(request).await?;
    let records = tail.records.into_iter().map(shown).collect();
    Ok(Json(TopicRecords { topic, records, next: tail.next }))
}

fn shown(found: TailRecord) -> TopicRecord {
    let TailRecord { partition, offset, record } = found;
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let is_text = |bytes: &&Bytes| std::str::from_utf8(bytes).is_ok();
    let headers = record.headers.iter();
    TopicRecord {
        partition,
        offset,
        timestamp: record.timestamp.to_string(),
        key: record.key.as_ref().map(text),
        value: record.value.as_ref().map(text),
        headers: headers
            .map(|header| (text(&header.name), header.value.as_ref().map(text)))
            .collect(),
        value_base64: record
            .value
            .as_ref()
            .filter(|value| !is_text(value))
            .map(|value| STANDARD.encode(value)),
    }
}
