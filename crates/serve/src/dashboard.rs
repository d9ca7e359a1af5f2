//! Dashboards, as the screen gets them: what the project file says, with every panel as SQL.
//!
//! The binary makes them from the project; nothing here is parsed or checked.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// One dashboard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Dashboard {
    /// Its name in the project file; the first half of a panel's address.
    pub name: String,
    /// What stands above it.
    pub title: String,
    /// Choices that stand for `$name` in the SQL of panels.
    pub filters: Vec<Filter>,
    /// Panels, row by row.
    pub rows: Vec<Vec<Panel>>,
}

/// A choice of a dashboard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Filter {
    /// Its parameter, without `$`.
    pub name: String,
    /// What stands before it; the name, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// SQL whose first column lists the choices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options_sql: Option<String>,
    /// The choices, where they are listed in the file.
    #[serde(default)]
    #[schema(required)]
    pub options: Vec<Value>,
    /// The choice made at first; `null` binds NULL.
    #[serde(default)]
    #[schema(required)]
    pub default: Value,
}

/// One panel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Panel {
    /// Unique within its dashboard; the second half of its address.
    pub id: String,
    /// `kpi`, `ranking`, `candles`, `lines`, `bars`, `pivot`, `table`, …
    pub kind: String,
    /// What stands above it.
    pub label: String,
    /// What it shows.
    pub sql: String,
    /// Columns that tell its rows apart; empty when not known.
    #[serde(default)]
    #[schema(required)]
    pub key: Vec<String>,
    /// The other keys of the panel, as the file has them.
    #[serde(default)]
    #[schema(required)]
    pub options: Map<String, Value>,
    /// The filter a click on a row sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sets: Option<String>,
    /// Columns of the 12-column grid; shared evenly, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u8>,
}
