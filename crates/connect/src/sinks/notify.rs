//! Tells an alert to somebody over HTTP, at least once.
//!
//! The rows of an alert's stream are grouped by `per`; the first row of a group is sent, and none of
//! that group again before the cool-down is over. Each message carries an `Idempotency-Key` made of
//! pipeline, epoch and group, so a receiver can tell a repeat. What was sent last is not kept over a
//! restart.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use async_trait::async_trait;
use serde_json::{Map, Value, json};
use thalweg_core::env::Clock;
use thalweg_core::sink::{Committed, Epoch, Guarantee, Sink, Stamp};
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};

use crate::sources::redact_url;

/// Longest time for one message, and of it for the connection.
const TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Groups remembered at most; beyond it those that cooled down longest ago are forgotten.
const GROUPS_MAX: usize = 10_000;

/// Where an alert goes, and how often.
#[derive(Clone)]
pub struct NotifyConfig {
    /// Address; secret. No default.
    pub url: String,
    /// Name of the alert.
    pub alert: String,
    /// Columns that make a group; none: all rows are one group.
    pub per: Vec<String>,
    /// Shortest time between two messages of one group. Default 5 min.
    pub cooldown: Duration,
}

impl fmt::Debug for NotifyConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotifyConfig")
            .field("url", &redact_url(&self.url))
            .field("alert", &self.alert)
            .finish_non_exhaustive()
    }
}

/// Posts the first row of each group.
pub struct NotifySink {
    config: NotifyConfig,
    schema: SchemaRef,
    clock: Clock,
    http: reqwest::Client,
    staged: Vec<(String, Map<String, Value>)>,
    rows_staged: u64,
    sent_at: BTreeMap<String, Timestamp>,
}

impl NotifySink {
    /// A sink for rows of `schema`.
    ///
    /// # Errors
    ///
    /// `Invalid` when a column of `per` is missing, or the address is no URL.
    pub fn new(config: NotifyConfig, schema: SchemaRef, clock: Clock) -> Result<Self> {
        if let Some(missing) =
            config.per.iter().find(|column| schema.column_with_name(column).is_none())
        {
            return Err(Error::invalid(format!(
                "alert `{}` has no column `{missing}` to group by",
                config.alert
            )));
        }
        url::Url::parse(&config.url).map_err(|error| {
            Error::invalid(format!("the webhook of alert `{}` is no URL", config.alert))
                .with_source(error)
        })?;
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Error::internal("no HTTP client").with_source(error))?;
        let (staged, sent_at) = (Vec::new(), BTreeMap::new());
        Ok(Self { config, schema, clock, http, staged, rows_staged: 0, sent_at })
    }

    fn row(&self, rows: &RecordBatch, row: usize) -> Result<(String, Map<String, Value>)> {
        let options = FormatOptions::default();
        let mut columns = Map::new();
        for (field, column) in self.schema.fields().iter().zip(rows.columns()) {
            let text = ArrayFormatter::try_new(column, &options)
                .map_err(|error| Error::internal("a row does not print").with_source(error))?;
            let value = if column.is_null(row) {
                Value::Null
            } else {
                let text = text.value(row).to_string();
                match serde_json::from_str::<serde_json::Number>(&text) {
                    Ok(number) if field.data_type().is_numeric() => Value::Number(number),
                    _ => Value::String(text),
                }
            };
            columns.insert(field.name().clone(), value);
        }
        let group: Vec<String> =
            self.config.per.iter().map(|column| columns[column].to_string()).collect();
        Ok((group.join(" "), columns))
    }

    async fn post(&self, stamp: &Stamp, group: &str, row: &Map<String, Value>) -> Result<()> {
        let body = json!({
            "alert": self.config.alert, "state": "firing", "at": self.clock.now().to_string(),
            "row": row,
        });
        let key = format!("{}-{}-{group}", stamp.pipeline, stamp.epoch);
        let failed = |what: String| {
            Error::unavailable(format!("the webhook of alert `{}` {what}", self.config.alert))
        };
        let answer = self
            .http
            .post(&self.config.url)
            .header("Idempotency-Key", key)
            .json(&body)
            .send()
            .await
            .map_err(|error| {
                failed("does not answer".to_owned()).with_source(error.without_url())
            })?;
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(failed(format!("answers {status}"))) }
    }
}

#[async_trait]
impl Sink for NotifySink {
    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    async fn open(&mut self) -> Result<Option<Stamp>> {
        Ok(None)
    }

    async fn write(&mut self, _: Epoch, rows: &RecordBatch) -> Result<()> {
        self.rows_staged += rows.num_rows() as u64;
        for row in 0..rows.num_rows() {
            let (group, columns) = self.row(rows, row)?;
            if self.staged.iter().all(|(staged, _)| *staged != group) {
                self.staged.push((group, columns));
            }
        }
        Ok(())
    }

    async fn commit(&mut self, stamp: &Stamp) -> Result<Committed> {
        let now = self.clock.now();
        for (group, row) in &self.staged {
            let is_hot =
                self.sent_at.get(group).is_some_and(|sent| now.since(*sent) < self.config.cooldown);
            if is_hot {
                continue;
            }
            self.post(stamp, group, row).await?;
            self.sent_at.insert(group.clone(), now);
        }
        while self.sent_at.len() > GROUPS_MAX {
            let oldest = self.sent_at.iter().min_by_key(|(_, at)| **at).map(|(it, _)| it.clone());
            oldest.and_then(|oldest| self.sent_at.remove(&oldest));
        }
        self.staged.clear();
        Ok(Committed { rows_written: std::mem::take(&mut self.rows_staged), rows_superseded: 0 })
    }

    async fn discard(&mut self) {
        self.staged.clear();
        self.rows_staged = 0;
    }
}
