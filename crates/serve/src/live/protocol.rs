//! Messages of the live feed, both ways, one JSON object each.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::problem::Problem;
use crate::rows::ColumnInfo;

/// JSON text, shared.
pub(crate) type Json = Arc<RawValue>;

/// What a client sends: `subscribe` with one of `panel`, `view` and `sql`, or `unsubscribe`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LiveRequest {
    /// Id of the new subscription: the client's choice, 1 to 128 bytes.
    pub(crate) subscribe: Option<String>,
    /// Id of the subscription to end.
    pub(crate) unsubscribe: Option<String>,
    /// `<dashboard>/<panel id>`.
    pub(crate) panel: Option<String>,
    /// A relation of the schema `public`.
    pub(crate) view: Option<String>,
    /// A statement.
    pub(crate) sql: Option<String>,
    /// Values of the panel's or statement's `$name`; of a view, columns and what they shall equal.
    #[serde(default)]
    pub(crate) params: Map<String, Value>,
    /// Columns that tell the rows of `sql` apart.
    #[serde(default)]
    pub(crate) key: Vec<String>,
    /// Order of a view, such as `ts desc`.
    pub(crate) order_by: Option<String>,
    /// Rows of a view at most.
    pub(crate) limit: Option<u32>,
}

/// What the server sends: a snapshot, a delta, an error or a heartbeat.
///
/// A delta is applied in the order of its fields.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct LiveFrame<'a> {
    /// The subscription.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<&'a str>,
    /// Number of the frame within its subscription, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seq: Option<u64>,
    /// The whole result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot: Option<Snapshot<'a>>,
    /// Rows to remove: their key values, or the whole rows when there is no key.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Option<Vec<Vec<Value>>>)]
    pub(crate) delete: &'a [Json],
    /// Rows to put in the place of those with the same key, or at the end.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Option<Vec<Vec<Value>>>)]
    pub(crate) upsert: &'a [Json],
    /// For each row of the result, where it stands after the steps before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<u32>>)]
    pub(crate) order: Option<&'a [usize]>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Problem>)]
    pub(crate) error: Option<&'a Problem>,
    /// With `error`: whether the subscription lives on, and a snapshot follows when it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retrying: Option<bool>,
    /// The time of the server's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) heartbeat: Option<String>,
}

impl LiveFrame<'_> {
    /// The text of the message.
    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).expect("frames are written to memory")
    }
}

/// A whole result.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Snapshot<'a> {
    /// Its columns.
    #[schema(value_type = Vec<ColumnInfo>)]
    pub(crate) columns: &'a [ColumnInfo],
    /// Columns that tell its rows apart; `null` when rows may repeat.
    #[schema(value_type = Option<Vec<String>>, required = true)]
    pub(crate) key: Option<&'a [String]>,
    /// Its rows, each an array in the order of `columns`.
    #[schema(value_type = Vec<Vec<Value>>)]
    pub(crate) rows: Vec<&'a RawValue>,
}
