//! `models card`: one version on a page of Markdown, with all that it is to be judged by: what it
//! forecasts, what it learnt from, how it did beside every other, what was decided, and its limits.

use std::fmt::Write as _;

use arrow::array::RecordBatch;
use serde_json::Value;
use thalweg_core::Error;

use super::Failure;
use super::place::Place;
use super::rows::{query, text};
use crate::output;

/// Decisions shown at most, newest first.
const DECISIONS_MAX: usize = 10;

/// Prints the card of a version; without a number, of the one that serves, or the newest.
pub(super) async fn print(place: &Place, model: &str, number: Option<u64>) -> Result<u8, Failure> {
    let name = text(model);
    let of_model = format!("WHERE model = {name}");
    let models = rows(place, &format!("SELECT * FROM system.models {of_model}")).await?;
    let Some(facts) = models.first() else {
        return Err(Error::invalid(format!("there is no model `{model}`")).into());
    };
    let wanted = number.map(|number| format!("AND version = {number}")).unwrap_or_default();
    let sql = format!(
        "SELECT * FROM system.model_versions {of_model} {wanted} \
         ORDER BY state = 'champion' DESC, version DESC LIMIT 1"
    );
    let versions = rows(place, &sql).await?;
    let Some(version) = versions.first() else {
        let what = number.map_or_else(|| "no version".to_owned(), |it| format!("no version {it}"));
        return Err(Error::invalid(format!("model `{model}` has {what}"))
            .with_hint(format!(
                "It has {} versions: {}.",
                facts["versions"],
                shown(&facts["reason"])
            ))
            .into());
    };
    // The last round that scored it, or else the last there was.
    let round = format!(
        "SELECT * FROM system.evaluations {of_model} AND evaluated_at = (\
         SELECT max(evaluated_at) FROM system.evaluations {of_model} AND version = {}) ORDER BY rmse",
        version["version"]
    );
    let round = rows(place, &round).await?;
    let decisions = format!("SELECT * FROM system.decisions {of_model} ORDER BY at DESC");
    let decisions = rows(place, &format!("{decisions} LIMIT {DECISIONS_MAX}")).await?;
    output::print_text(&page(facts, version, &round, &decisions))?;
    Ok(0)
}

async fn rows(place: &Place, sql: &str) -> Result<Vec<Value>, Failure> {
    let batches = query(place, sql).await?;
    let batches: Vec<&RecordBatch> = batches.iter().collect();
    let unreadable = |error: String| Error::internal("rows are no JSON").with_detail(error);
    let mut writer = arrow_json::ArrayWriter::new(Vec::new());
    let written = writer.write_batches(&batches).and_then(|()| writer.finish());
    written.map_err(|error| unreadable(error.to_string()))?;
    let bytes = writer.into_inner();
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    Ok(serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?)
}

fn page(facts: &Value, version: &Value, round: &[Value], decisions: &[Value]) -> String {
    let detail: Value =
        version["detail"].as_str().and_then(|it| serde_json::from_str(it).ok()).unwrap_or_default();
    let mut out = String::new();
    // Writing to a String does not fail.
    let mut line = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    let get = |row: &Value, name: &str| shown(&row[name]);
    line(format!(
        "# {}, version {} ({}): {}\n",
        get(facts, "model"),
        version["version"],
        get(version, "candidate"),
        get(version, "state")
    ));
    let series = match get(facts, "key").as_str() {
        "" | "–" => "one series".to_owned(),
        key => format!("a series per {key}"),
    };
    let (target, horizon) = (get(facts, "target"), get(facts, "horizon"));
    line(format!(
        "Forecasts `{target}` {horizon} ahead, {series}. Serves now: {}.\n",
        get(facts, "serves")
    ));
    line("## What it learnt from\n".to_owned());
    for (what, value) in [
        ("rows", format!("{} of {} series", get(version, "rows"), get(version, "series"))),
        ("from, up to", format!("{}, {}", get(version, "from"), get(version, "through"))),
        ("held out for its intervals", get(&detail, "rows_held_out")),
        ("trained", format!("{}, run {}", get(version, "trained_at"), get(version, "run"))),
        ("features", list(&detail["features"])),
        ("their SQL, SHA-256", get(&detail, "sql_sha256")),
        ("tables as read", detail["snapshot"].to_string()),
        ("settings", detail["parameters"].to_string()),
        ("seed", get(&detail, "seed")),
        ("code", detail["libraries"].to_string()),
        (
            "file, SHA-256",
            format!("{}, {}", get(version, "artifact"), get(version, "artifact_sha256")),
        ),
    ] {
        line(format!("- {what}: {value}"));
    }
    line("\n## How it did\n".to_owned());
    match round.first() {
        None => line("It has not been evaluated.".to_owned()),
        Some(first) => {
            let at = get(first, "evaluated_at");
            line(format!("Evaluated {at} on {} rows that none of them had seen.\n", first["rows"]));
            line("| candidate | version | RMSE | MAE | MASE | skill over naive | over strong naive | p | direction | in the 90 % interval |".to_owned());
            line("|---|---|---|---|---|---|---|---|---|---|".to_owned());
        }
    }
    for row in round {
        let mark = if row["version"] == version["version"] { "**" } else { "" };
        let cells = [
            "version",
            "rmse",
            "mae",
            "mase",
            "skill_naive",
            "skill_strong_naive",
            "p_against_strong_naive",
            "direction",
            "coverage",
        ];
        let cells = cells.map(|name| get(row, name)).join(" | ");
        line(format!("| {mark}{}{mark} | {cells} |", get(row, "candidate")));
    }
    line("\n## What was decided\n".to_owned());
    for decision in decisions {
        let (at, action) = (get(decision, "at"), get(decision, "action"));
        line(format!("- {at}, by {}: {action}. {}", get(decision, "by"), get(decision, "reasons")));
    }
    if decisions.is_empty() {
        line("Nothing yet: `strong_naive` serves.".to_owned());
    }
    line("\n## Its limits\n".to_owned());
    line("- It says what followed such rows before. Where the world changes it is wrong until it learns again.".to_owned());
    line(
        "- Skill is on past rows, before any costs; a forecast of prices is no advice to trade."
            .to_owned(),
    );
    line("- A row that lacks a feature, and a series it has not learnt, are answered by `strong_naive`.".to_owned());
    out
}

fn list(values: &Value) -> String {
    values
        .as_array()
        .map(|it| it.iter().map(shown).collect::<Vec<_>>().join(", "))
        .unwrap_or_default()
}

/// A value for people: numbers with four digits behind the point, nothing as a dash.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => {
            format!("{:.4}", number.as_f64().unwrap_or_default())
        }
        other => other.to_string(),
    }
}
