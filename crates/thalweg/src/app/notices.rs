//! What a source reports of itself (an error its feed sends as data, a page that has changed) is told
//! on: to the status of its feed, and to whom the project notifies of the system's own alerts.
//!
//! At least once, and of one source not again before [`COOLDOWN`] is over; a message that cannot be
//! sent is logged, and the next report is told instead.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};
use thalweg_project::Project;

use super::App;

/// Shortest time between two messages about one source.
const COOLDOWN: Duration = Duration::from_secs(300);
/// How often sources are looked at.
const TICK: Duration = Duration::from_millis(500);
/// Longest time for one message.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What is known of one source's reports.
#[derive(Default)]
struct Told {
    notices: u64,
    at: Option<Timestamp>,
}

/// Follows the reports of every source until the process stops.
pub(super) fn follow(app: &Arc<App>) {
    let app = Arc::clone(app);
    app.env.clone().spawn(async move {
        let mut told: BTreeMap<String, Told> = BTreeMap::new();
        while app.env.doze(TICK).await {
            for pipeline in app.pipelines.iter().filter(|pipeline| pipeline.is_source()) {
                let reading = pipeline.status().read();
                let told = told.entry(reading.name.clone()).or_default();
                let Some((at, notice)) = reading.last_notice else { continue };
                if reading.notices == told.notices {
                    continue;
                }
                told.notices = reading.notices;
                if let Some(feed) = app.feeds.get(&reading.name) {
                    feed.notice(at, &notice);
                }
                let now = app.env.clock.now();
                let is_hot = told.at.is_some_and(|at| now.since(at) < COOLDOWN);
                let Some(url) = webhook(&app.project).filter(|_| !is_hot) else { continue };
                match post(url, &reading.name, at, &notice).await {
                    Ok(()) => told.at = Some(now),
                    Err(error) => tracing::warn!(source = reading.name, "{}", error.chain()),
                }
            }
        }
    });
}

/// Where the system's own alerts go, if anywhere.
fn webhook(project: &Project) -> Option<&str> {
    let told = project.notify.as_ref()?;
    let mut notifies = project.notifies.iter();
    let notify = notifies.find(|notify| notify.name.as_str() == told.as_str())?;
    Some(notify.webhook_url.reveal())
}

async fn post(url: &str, source: &str, at: Timestamp, notice: &str) -> Result<()> {
    let failed =
        |what: String| Error::unavailable(format!("the webhook for the system's alerts {what}"));
    let http = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| Error::internal("no HTTP client").with_source(error))?;
    let body = json!({
        "alert": format!("source.{source}"), "state": "firing", "at": at.to_string(),
        "row": { "source": source, "notice": notice },
    });
    let answer = http
        .post(url)
        .header("Idempotency-Key", format!("source.{source}-{}", at.0))
        .json(&body)
        .send()
        .await
        .map_err(|error| failed("does not answer".to_owned()).with_source(error.without_url()))?;
    let status = answer.status();
    if status.is_success() { Ok(()) } else { Err(failed(format!("answers {status}"))) }
}
