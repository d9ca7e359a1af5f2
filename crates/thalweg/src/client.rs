//! A client of the running server: the same HTTP API the screen uses.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use serde_json::{Value, json};
use thalweg_core::{Error, ErrorKind, Result};

/// Speaks to one server.
pub(crate) struct Client {
    base: String,
    token: String,
    http: reqwest::Client,
}

impl Client {
    /// A client with the admin token of the data folder, or of `THALWEG_TOKEN`.
    pub(crate) fn new(server: &str, data: &Path) -> Result<Self> {
        let token = std::env::var("THALWEG_TOKEN").ok().or_else(|| {
            std::fs::read_to_string(data.join("admin_token")).ok().map(|it| it.trim().to_owned())
        });
        let token = token.ok_or_else(|| {
            Error::unavailable("there is no admin token for the server")
                .with_hint("Name the server's data folder with `--data-dir`, or set THALWEG_TOKEN.")
        })?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .build()
            .map_err(|error| Error::internal("no HTTP client").with_source(error))?;
        Ok(Self { base: format!("{}/api/v1", server.trim_end_matches('/')), token, http })
    }

    /// Runs a query.
    pub(crate) async fn query(
        &self,
        sql: &str,
        params: &BTreeMap<String, Value>,
    ) -> Result<Vec<RecordBatch>> {
        let answer = self
            .send(
                "/sql",
                &json!({ "sql": sql, "params": params }),
                "application/vnd.apache.arrow.stream",
            )
            .await?;
        let bytes = answer.bytes().await.map_err(|error| self.lost(error))?;
        let broken = |error: arrow::error::ArrowError| {
            Error::unavailable("the server's answer broke off").with_source(error)
        };
        let reader = StreamReader::try_new(Cursor::new(bytes), None).map_err(broken)?;
        let schema = reader.schema();
        let mut batches: Vec<RecordBatch> =
            reader.collect::<std::result::Result<_, _>>().map_err(broken)?;
        if batches.is_empty() {
            batches.push(RecordBatch::new_empty(schema));
        }
        Ok(batches)
    }

    /// Asks for an action.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let answer = self.send(path, body, "application/json").await?;
        answer.json().await.map_err(|error| self.lost(error))
    }

    /// Reads something that is not rows.
    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        let asked = self.http.get(format!("{}{path}", self.base)).bearer_auth(&self.token);
        let answer = accepted(asked.send().await.map_err(|error| self.lost(error))?).await?;
        answer.json().await.map_err(|error| self.lost(error))
    }

    async fn send(&self, path: &str, body: &Value, accept: &str) -> Result<reqwest::Response> {
        let answer = self
            .http
            .post(format!("{}{path}", self.base))
            .bearer_auth(&self.token)
            .header("accept", accept)
            .json(body)
            .send()
            .await
            .map_err(|error| self.lost(error))?;
        accepted(answer).await
    }

    fn lost(&self, error: reqwest::Error) -> Error {
        Error::unavailable(format!("the server at {} does not answer", self.base))
            .with_source(error.without_url())
    }
}

/// The answer, unless it is a problem.
async fn accepted(answer: reqwest::Response) -> Result<reqwest::Response> {
    if answer.status().is_success() {
        return Ok(answer);
    }
    let status = answer.status();
    let problem: Value = answer.json().await.unwrap_or(Value::Null);
    let message = problem["detail"].as_str().or(problem["title"].as_str());
    let message = message.map_or_else(|| format!("the server answers {status}"), str::to_owned);
    let mut error = Error::new(ErrorKind::Invalid, message);
    if let Some(hint) = problem["hint"].as_str() {
        error = error.with_hint(hint);
    }
    Err(error)
}
