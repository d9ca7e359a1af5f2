//! Presets: what a connector brings where the file says nothing.

use std::sync::Arc;
use std::time::Duration;

use thalweg_core::problem::Place;
use thalweg_core::schema::{Column, ColumnType, EpochUnit};

use super::{Connector, Format, JsonFormat, Notice};
use crate::spanned::Spanned;

/// What a preset brings where the file says nothing.
pub(super) struct Preset {
    pub(super) columns: Vec<Column>,
    pub(super) format: Option<Format>,
    pub(super) key: Vec<String>,
    pub(super) event_time: Option<&'static str>,
    pub(super) stale_after: Duration,
}

impl Preset {
    pub(super) fn of(connector: &Connector) -> Self {
        let nothing = Self {
            columns: Vec::new(),
            format: None,
            key: Vec::new(),
            event_time: None,
            stale_after: Duration::from_secs(120),
        };
        match connector {
            Connector::File(_) => nothing,
            Connector::Websocket(_) => {
                Self { format: Some(Format::Json(JsonFormat::default())), ..nothing }
            }
            Connector::Finnhub(_) => Self::finnhub(),
        }
    }

    /// `{"data":[{"p":7296.89,"s":"AAPL","t":1575526691134,"v":0.01}],"type":"trade"}`; a ping comes
    /// every one to two minutes when nothing else does.
    fn finnhub() -> Self {
        let column = |name: &str, kind, select: &str| Column {
            name: name.to_owned(),
            kind,
            nullable: false,
            select: Some(select.to_owned()),
            unit: (kind == ColumnType::Timestamp).then_some(EpochUnit::Millis),
            allow_nan: false,
        };
        let preset_text = |text: &str| Spanned {
            value: text.to_owned(),
            place: Place { file: Arc::default(), range: 0..0 },
        };
        Self {
            columns: vec![
                column("symbol", ColumnType::Text, "s"),
                column("price", ColumnType::Double, "p"),
                column("volume", ColumnType::Double, "v"),
                column("ts", ColumnType::Timestamp, "t"),
            ],
            format: Some(Format::Json(JsonFormat {
                rows: Some(preset_text("$.data[*]")),
                only_if: Some(preset_text("$.type = 'trade'")),
                notices: vec![Notice {
                    when: preset_text("$.type = 'error'"),
                    message: preset_text("$.msg"),
                }],
            })),
            key: vec!["symbol".to_owned()],
            event_time: Some("ts"),
            stale_after: Duration::from_secs(300),
        }
    }
}
