//! Serving: the project over HTTP.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use thalweg_core::query::QueryEngine;
use thalweg_core::{Error, Result};
use thalweg_serve::{
    AdminToken, Dashboard, Filter, Health, HealthProblem, Panel, Parts, ProjectInfo, ServeConfig,
    Server,
};
use thalweg_stream::delivery::DeliveryState;
use thalweg_stream::pipeline::PipelineState;

use super::App;
use super::control::Controls;

/// Starts the HTTP server and says how to reach it.
pub(super) async fn start(app: &Arc<App>, listen: SocketAddr) -> Result<Server> {
    let data = app.data().to_owned();
    let token = tokio::task::spawn_blocking(move || AdminToken::of_data_folder(&data))
        .await
        .map_err(|error| Error::internal("making the admin token ended").with_source(error))??;
    let (is_new, link_token) = (token.is_new(), token.clone());
    let config = ServeConfig::new(listen, token);
    let (for_health, for_metrics) = (Arc::clone(app), Arc::clone(app));
    let parts = Parts {
        engine: Arc::clone(&app.engine) as Arc<dyn QueryEngine>,
        control: Arc::new(Controls { app: Arc::clone(app) }),
        dashboards: dashboards(app),
        health: Arc::new(move || health(&for_health)),
        metrics: Arc::new(move || metrics(&for_metrics)),
        project: ProjectInfo {
            name: app.project.name.clone(),
            timezone: app.project.timezone_name().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        env: app.env.clone(),
    };
    let server = Server::start(config, parts).await?;
    let address = server.address();
    if is_new {
        eprintln!("log in once with {}", link_token.login_link(address));
    }
    eprintln!("listening on http://{address}");
    Ok(server)
}

fn dashboards(app: &App) -> Vec<Dashboard> {
    let dashboards = app.project.dashboards.iter();
    dashboards
        .map(|dashboard| Dashboard {
            name: dashboard.name.value.clone(),
            title: dashboard.title.clone(),
            filters: dashboard
                .filters
                .iter()
                .map(|filter| Filter {
                    name: filter.name.value.clone(),
                    label: Some(filter.label.clone()),
                    options_sql: Some(filter.options.as_str().to_owned()),
                    options: Vec::new(),
                    default: filter.default.clone().map_or(serde_json::Value::Null, Into::into),
                })
                .collect(),
            rows: dashboard
                .rows
                .iter()
                .map(|row| {
                    row.iter()
                        .map(|panel| Panel {
                            id: panel.id.clone(),
                            kind: panel.kind.name().to_owned(),
                            label: panel.label.clone(),
                            sql: panel.sql.as_str().to_owned(),
                            key: panel_key(app, panel),
                            options: panel.options(),
                            sets: panel.sets.clone(),
                            width: u8::try_from(panel.width).ok(),
                        })
                        .collect()
                })
                .collect(),
        })
        .collect()
}

/// The key of a panel's rows: its own, or that of the relation whose latest rows it shows.
fn panel_key(app: &App, panel: &thalweg_project::Panel) -> Vec<String> {
    if !panel.key.is_empty() {
        return panel.key.clone();
    }
    let sql = panel.sql.as_str();
    let relation = sql.split_once("FROM latest(").and_then(|(_, rest)| rest.split_once(')'));
    let entry = relation.and_then(|(relation, _)| app.engine.entry(relation.trim()));
    entry.map(|entry| entry.key.clone()).unwrap_or_default()
}

/// One sentence, and what is wrong.
fn health(app: &App) -> Health {
    let mut problems = Vec::new();
    let now = app.env.clock.now();
    for pipeline in &app.pipelines {
        let reading = pipeline.status().read();
        if matches!(reading.state, PipelineState::Retrying | PipelineState::Stopped) {
            problems.push(HealthProblem {
                part: reading.name.clone(),
                message: reading.reason.clone().unwrap_or_else(|| reading.state.word().to_owned()),
                hint: None,
            });
        }
        for delivery in pipeline.deliveries() {
            if matches!(delivery.state, DeliveryState::Retrying | DeliveryState::Stopped) {
                problems.push(HealthProblem {
                    part: delivery.name.clone(),
                    message: delivery
                        .reason
                        .clone()
                        .unwrap_or_else(|| delivery.state.word().to_owned()),
                    hint: None,
                });
            }
            for broken in delivery.position.ledger.broken() {
                problems.push(HealthProblem {
                    part: delivery.name.clone(),
                    message: broken,
                    hint: None,
                });
            }
        }
        for broken in reading.source.broken() {
            problems.push(HealthProblem {
                part: reading.name.clone(),
                message: broken,
                hint: None,
            });
        }
    }
    for (name, feed) in &app.feeds {
        let feed = feed.read(now);
        if feed.connected_since.is_none()
            && let Some((_, error)) = feed.last_errors.last()
        {
            problems.push(HealthProblem {
                part: name.clone(),
                message: format!("not connected: {error}"),
                hint: None,
            });
        }
    }
    let sentence = match problems.len() {
        0 => "All good".to_owned(),
        1 => format!("1 problem: {}", problems[0].part),
        count => {
            let parts: Vec<&str> = problems.iter().map(|problem| problem.part.as_str()).collect();
            format!("{count} problems: {}", parts.join(", "))
        }
    };
    Health { ready: problems.is_empty(), sentence, problems }
}

/// Metrics in Prometheus' text format.
fn metrics(app: &App) -> String {
    let mut text = String::new();
    let now = app.env.clock.now();
    let mut line = |name: &str, label: &str, of: &str, value: f64| {
        let of = of.replace('\\', "\\\\").replace('"', "\\\"");
        let _ = writeln!(text, "thalweg_{name}{{{label}=\"{of}\"}} {value}");
    };
    for (name, feed) in &app.feeds {
        let feed = feed.read(now);
        line("source_frames_total", "source", name, feed.frames as f64);
        line("source_bytes_total", "source", name, feed.bytes as f64);
        line("source_reconnects_total", "source", name, feed.reconnects as f64);
        line("source_gap_seconds_total", "source", name, feed.gap.as_secs_f64());
    }
    for pipeline in &app.pipelines {
        let reading = pipeline.status().read();
        if pipeline.is_source() {
            line(
                "source_rows_valid_total",
                "source",
                &reading.name,
                reading.source.rows_valid as f64,
            );
            line(
                "source_rows_quarantined_total",
                "source",
                &reading.name,
                reading.source.rows_quarantined as f64,
            );
        }
        line("stream_rows_total", "stream", &reading.name, reading.rows_out as f64);
        line("stream_epoch_seconds", "stream", &reading.name, reading.epoch_micros as f64 / 1e6);
        line("stream_state_bytes", "stream", &reading.name, reading.state_bytes as f64);
        line("stream_lag_records", "stream", &reading.name, reading.lag_records as f64);
        if reading.watermark.0 > 0 {
            let delay = now.since(reading.watermark).as_secs_f64();
            line("stream_watermark_delay_seconds", "stream", &reading.name, delay);
        }
        if let Some((_, bytes, at)) = reading.checkpoint {
            line("stream_checkpoint_bytes", "stream", &reading.name, bytes as f64);
            line(
                "stream_checkpoint_age_seconds",
                "stream",
                &reading.name,
                now.since(at).as_secs_f64(),
            );
        }
        for delivery in pipeline.deliveries() {
            line(
                "sink_rows_written_total",
                "sink",
                &delivery.name,
                delivery.position.ledger.rows_written as f64,
            );
            line("sink_rows_waiting", "sink", &delivery.name, delivery.rows_waiting as f64);
        }
    }
    text
}
