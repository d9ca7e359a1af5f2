//! Values of options: formats, lengths of time, clocks.

use std::time::Duration;

use clap::ValueEnum;
use thalweg_core::env::Clock;
use thalweg_core::time::Timestamp;

/// When to use colours.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// Rows in aligned columns.
    Table,
    /// Rows as comma-separated values.
    Csv,
    /// One JSON value.
    Json,
    /// Rows as a JSON object a line.
    Jsonl,
    /// Rows as an Arrow IPC stream.
    Arrow,
    /// A graph as Mermaid.
    Mermaid,
    /// A graph as SVG.
    Svg,
}

/// What can be exported.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Export {
    /// The OpenAPI document of the HTTP API.
    Openapi,
    /// The JSON Schema of the project file.
    Schema,
    /// The reference of the project file, as Markdown.
    Reference,
}

/// How a task ended, as a person says.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Outcome {
    /// As it should.
    Succeeded,
    /// Otherwise.
    Failed,
    /// It was left out.
    Skipped,
}

impl Outcome {
    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// A clock with an origin and a rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ClockArg {
    /// What it reads at the start.
    pub origin: Timestamp,
    /// How many times as fast as the machine's it runs; none: it leaps over idle time.
    pub rate: Option<f64>,
}

impl ClockArg {
    /// The clock, beginning now; inside the runtime.
    pub(crate) fn start(self) -> Clock {
        match self.rate {
            Some(rate) => Clock::scaled(self.origin, rate),
            None => Clock::leaping(self.origin),
        }
    }
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    thalweg_core::time::parse_duration(text)
        .ok_or_else(|| "expected a length of time, such as 500ms, 10s or 5m".to_owned())
}

pub(super) fn clock(text: &str) -> Result<ClockArg, String> {
    let (origin, rate) = text.split_once('@').unwrap_or((text, "1"));
    let origin =
        Timestamp::parse(origin).ok_or("expected an instant, such as 2023-12-22T15:00:00Z")?;
    if rate == "max" {
        return Ok(ClockArg { origin, rate: None });
    }
    let rate: f64 = rate.parse().map_err(|_| "expected a number or `max` after `@`".to_owned())?;
    if rate > 0.0 && rate.is_finite() {
        Ok(ClockArg { origin, rate: Some(rate) })
    } else {
        Err("the rate of a clock is above zero".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use crate::cli::Cli;

    #[test]
    fn every_verb_shows_examples() {
        let command = Cli::command();
        command.clone().debug_assert();
        for verb in command.get_subcommands() {
            let examples = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(examples.starts_with("Examples:\n  thalweg "), "{}", verb.get_name());
        }
    }
}
