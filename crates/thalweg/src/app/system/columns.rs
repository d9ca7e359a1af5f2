//! Columns of the system tables: one list, for those who read them and those who check queries.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use thalweg_core::schema::timestamp_type;
use thalweg_stream::engine::SystemColumn;

const TEXT: DataType = DataType::Utf8;
const COUNT: DataType = DataType::Int64;
const NUMBER: DataType = DataType::Float64;
const FLAG: DataType = DataType::Boolean;

fn times() -> DataType {
    DataType::List(Arc::new(Field::new("item", timestamp_type(), true)))
}

/// A system table as it is declared.
pub(super) struct Declared {
    /// Its full name.
    pub name: &'static str,
    /// Its columns, in order.
    pub columns: Vec<SystemColumn>,
    /// Columns that tell its rows apart.
    pub key: &'static [&'static str],
}

/// Every system table.
pub(super) fn declared() -> Vec<Declared> {
    let time = timestamp_type;
    let table = |name, columns: Vec<SystemColumn>, key| Declared { name, columns, key };
    vec![
        table(
            "system.alerts",
            vec![("name", TEXT), ("sql", TEXT), ("cooldown", TEXT), ("notify", TEXT)],
            &["name"],
        ),
        table(
            "system.gaps",
            vec![
                ("id", TEXT),
                ("source", TEXT),
                ("key", TEXT),
                ("from", time()),
                ("to", time()),
                ("reason", TEXT),
                ("state", TEXT),
                ("first_id", COUNT),
                ("last_id", COUNT),
            ],
            &["id"],
        ),
        table(
            "system.jobs",
            vec![
                ("job", TEXT),
                ("schedule", TEXT),
                ("timezone", TEXT),
                ("paused", FLAG),
                ("next_fires", times()),
                ("open_runs", COUNT),
                ("last_run", TEXT),
                ("last_state", TEXT),
                ("tasks", TEXT),
            ],
            &["job"],
        ),
        table(
            "system.late",
            vec![
                ("stream", TEXT),
                ("epoch", COUNT),
                ("operator", COUNT),
                ("window_start", time()),
                ("partition", COUNT),
                ("offset", COUNT),
                ("row", COUNT),
                ("columns", TEXT),
            ],
            &["stream", "partition", "offset", "row", "operator"],
        ),
        table(
            "system.ledger",
            vec![
                ("part", TEXT),
                ("name", TEXT),
                ("count", TEXT),
                ("value", COUNT),
                ("balanced", FLAG),
                ("problem", TEXT),
            ],
            &["part", "name", "count"],
        ),
        table(
            "system.layer_diff",
            vec![
                ("view", TEXT),
                ("day", DataType::Date32),
                ("key", TEXT),
                ("column", TEXT),
                ("live", TEXT),
                ("batch", TEXT),
                ("at", time()),
            ],
            &["view", "day", "key", "column"],
        ),
        table(
            "system.quarantine",
            vec![
                ("name", TEXT),
                ("check", TEXT),
                ("reason", TEXT),
                ("partition", COUNT),
                ("offset", COUNT),
                ("row", COUNT),
                ("place", TEXT),
                ("received_at", time()),
                ("length", COUNT),
                ("bytes", TEXT),
                ("epoch", COUNT),
            ],
            &["name", "partition", "offset", "row"],
        ),
        table(
            "system.runs",
            vec![
                ("run", TEXT),
                ("job", TEXT),
                ("trigger", TEXT),
                ("day", TEXT),
                ("state", TEXT),
                ("reason", TEXT),
                ("cancelling", FLAG),
                ("period_start", time()),
                ("period_end", time()),
                ("created_at", time()),
                ("started_at", time()),
                ("ended_at", time()),
                ("duration_ms", COUNT),
                ("tasks", COUNT),
                ("tasks_ended", COUNT),
            ],
            &["run"],
        ),
        table(
            "system.sinks",
            vec![
                ("name", TEXT),
                ("pipeline", TEXT),
                ("kind", TEXT),
                ("guarantee", TEXT),
                ("state", TEXT),
                ("reason", TEXT),
                ("epoch", COUNT),
                ("rows_written", COUNT),
                ("rows_superseded", COUNT),
                ("rows_waiting", COUNT),
            ],
            &["name"],
        ),
        table(
            "system.sources",
            vec![
                ("name", TEXT),
                ("connector", TEXT),
                ("reads", TEXT),
                ("state", TEXT),
                ("reason", TEXT),
                ("frames", COUNT),
                ("bytes", COUNT),
                ("rows_valid", COUNT),
                ("rows_quarantined", COUNT),
                ("reconnects", COUNT),
                ("errors", COUNT),
                ("gap_seconds", NUMBER),
                ("connected_since", time()),
                ("last_frame_at", time()),
                ("watermark", time()),
                ("lag_records", COUNT),
                ("lag_seconds", NUMBER),
                ("epoch", COUNT),
            ],
            &["name"],
        ),
        table(
            "system.streams",
            vec![
                ("name", TEXT),
                ("source", TEXT),
                ("state", TEXT),
                ("reason", TEXT),
                ("epoch", COUNT),
                ("watermark", time()),
                ("rows_in", COUNT),
                ("rows_out", COUNT),
                ("rows_late", COUNT),
                ("rows_quarantined", COUNT),
                ("state_bytes", COUNT),
                ("epoch_micros", COUNT),
                ("lag_records", COUNT),
                ("checkpoint_epoch", COUNT),
                ("checkpoint_bytes", COUNT),
                ("checkpoint_at", time()),
            ],
            &["name"],
        ),
        table(
            "system.table_files",
            vec![("table", TEXT), ("path", TEXT), ("bytes", COUNT), ("rows", COUNT), ("day", TEXT)],
            &["table", "path"],
        ),
        table(
            "system.table_history",
            vec![
                ("table", TEXT),
                ("version", COUNT),
                ("at", timestamp_type()),
                ("operation", TEXT),
                ("rows", COUNT),
            ],
            &["table", "version"],
        ),
        table(
            "system.tables",
            vec![
                ("name", TEXT),
                ("fed_by", TEXT),
                ("state", TEXT),
                ("path", TEXT),
                ("version", COUNT),
                ("files", COUNT),
                ("bytes", COUNT),
                ("rows", COUNT),
            ],
            &["name"],
        ),
        table(
            "system.tasks",
            vec![
                ("run", TEXT),
                ("job", TEXT),
                ("task", TEXT),
                ("after", TEXT),
                ("state", TEXT),
                ("attempt", COUNT),
                ("note", TEXT),
                ("queued_at", time()),
                ("started_at", time()),
                ("ended_at", time()),
                ("duration_ms", COUNT),
            ],
            &["run", "task"],
        ),
        table(
            "system.topics",
            vec![
                ("name", TEXT),
                ("partition", COUNT),
                ("log_start", COUNT),
                ("high_watermark", COUNT),
                ("log_end", COUNT),
                ("bytes", COUNT),
            ],
            &["name", "partition"],
        ),
        table("system.views", vec![("name", TEXT), ("kind", TEXT), ("sql", TEXT)], &["name"]),
        table(
            "system.graph",
            vec![
                ("upstream_kind", TEXT),
                ("upstream", TEXT),
                ("downstream_kind", TEXT),
                ("downstream", TEXT),
            ],
            &["upstream", "downstream"],
        ),
        table(
            "system.models",
            vec![
                ("model", TEXT),
                ("key", TEXT),
                ("target", TEXT),
                ("horizon", TEXT),
                ("state", TEXT),
                ("champion", COUNT),
                ("serves", TEXT),
                ("reason", TEXT),
                ("versions", COUNT),
                ("rows_needed", COUNT),
                ("rows_seen", COUNT),
                ("trained_at", time()),
            ],
            &["model"],
        ),
        table(
            "system.model_versions",
            vec![
                ("model", TEXT),
                ("version", COUNT),
                ("candidate", TEXT),
                ("state", TEXT),
                ("trained_at", time()),
                ("from", time()),
                ("through", time()),
                ("rows", COUNT),
                ("series", COUNT),
                ("run", TEXT),
                ("artifact", TEXT),
                ("artifact_sha256", TEXT),
                ("detail", TEXT),
            ],
            &["model", "version"],
        ),
        table(
            "system.evaluations",
            vec![
                ("model", TEXT),
                ("run", TEXT),
                ("evaluated_at", time()),
                ("version", COUNT),
                ("candidate", TEXT),
                ("was_champion", FLAG),
                ("rows", COUNT),
                ("rmse", NUMBER),
                ("mae", NUMBER),
                ("mase", NUMBER),
                ("direction", NUMBER),
                ("coverage", NUMBER),
                ("skill_naive", NUMBER),
                ("skill_strong_naive", NUMBER),
                ("p_against_strong_naive", NUMBER),
                ("p_against_champion", NUMBER),
                ("decision", TEXT),
                ("reason", TEXT),
                ("detail", TEXT),
            ],
            &["model", "run", "version"],
        ),
        table(
            "system.decisions",
            vec![
                ("model", TEXT),
                ("run", TEXT),
                ("by", TEXT),
                ("at", time()),
                ("action", TEXT),
                ("before", COUNT),
                ("after", COUNT),
                ("reasons", TEXT),
            ],
            &["model", "run"],
        ),
    ]
}
