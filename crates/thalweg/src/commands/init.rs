//! `thalweg init`: a folder with a project that runs at once, offline.
//!
//! Templates are the projects of `examples/`, built in, so they cannot drift from what is tested and
//! documented. One that needs other servers is made to run without: what only they can do is
//! commented out, and its feed is the built-in simulator's.

use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use thalweg_core::Error;

use super::Failure;
use super::place::Place;
use crate::cli::InitArgs;

/// A project to begin with.
struct Template {
    name: &'static str,
    /// Paths within the project, and what they hold.
    files: &'static [(&'static str, &'static str)],
    /// Secrets that the simulator takes.
    env: &'static str,
    /// Makes the project file run without other servers.
    offline: fn(&str) -> String,
}

const EMPTY: &str = r#"#:schema .thalweg/schema.json
[project]
name = "my-project"

# `thalweg sql -c 'SELECT …'` asks; https://toml.io says how this is written.
[source.readings]
file.path   = "readings.jsonl"
format.json = {}
key         = ["meter"]
event_time  = "ts"
[source.readings.columns]
meter = "text not null"
ts    = "timestamp not null"
kwh   = "double not null"
"#;

const READINGS: &str = r#"{"meter":"a","ts":"2026-01-05T10:00:00Z","kwh":1.5}
{"meter":"b","ts":"2026-01-05T10:00:01Z","kwh":2.25}
"#;

/// In the order of `--help`; a folder of `examples/` each, and one that is nearly empty.
const TEMPLATES: &[Template] = &[
    Template {
        name: "market-lambda",
        files: &[("thalweg.toml", super::run::DEMO)],
        env: "FINNHUB_TOKEN=demo\n",
        offline: simulated,
    },
    Template {
        name: "crypto-forecast",
        files: &[(
            "thalweg.toml",
            include_str!("../../../../examples/crypto-forecast/thalweg.toml"),
        )],
        env: "",
        offline: with_simulated_pages,
    },
    Template {
        name: "binance-poll",
        files: &[("thalweg.toml", include_str!("../../../../examples/binance-poll/thalweg.toml"))],
        env: "",
        offline: with_simulated_prices,
    },
    Template {
        name: "insurance",
        files: &[
            ("thalweg.toml", include_str!("../../../../examples/insurance/thalweg.toml")),
            ("data/claims.csv", include_str!("../../../../examples/insurance/data/claims.csv")),
        ],
        env: "",
        offline: simulated,
    },
    Template {
        name: "customers",
        files: &[
            ("thalweg.toml", include_str!("../../../../examples/customers/thalweg.toml")),
            (
                "data/customers.csv",
                include_str!("../../../../examples/customers/data/customers.csv"),
            ),
            (
                "data/us_cities.csv",
                include_str!("../../../../examples/customers/data/us_cities.csv"),
            ),
        ],
        env: "",
        offline: without_servers,
    },
    Template {
        name: "empty",
        files: &[("thalweg.toml", EMPTY), ("readings.jsonl", READINGS)],
        env: "",
        offline: str::to_owned,
    },
];

/// Names of the templates, for `--template`.
pub(crate) fn templates() -> PossibleValuesParser {
    PossibleValuesParser::new(TEMPLATES.iter().map(|template| template.name))
}

pub(super) fn run(args: &InitArgs, place: &Place) -> Result<u8, Failure> {
    let dir = args.dir.as_ref().unwrap_or(&place.dir);
    let template = TEMPLATES.iter().find(|template| template.name == args.template);
    let template =
        template.ok_or_else(|| Error::invalid(format!("no template `{}`", args.template)))?;
    let files = files_of(template);
    let taken: Vec<String> = (files.iter().map(|(path, _)| dir.join(path)))
        .filter(|path| path.exists())
        .map(|path| path.display().to_string())
        .collect();
    if !taken.is_empty() {
        return Err(Error::invalid(format!("{} would be overwritten", taken.join(", ")))
            .with_hint("Choose another folder: `thalweg init shop`.")
            .into());
    }
    for (path, text) in files {
        write(&dir.join(path), &text)?;
    }
    if !place.is_quiet {
        eprintln!("made {}; now: thalweg run {0}", dir.display());
    }
    Ok(0)
}

fn files_of(template: &Template) -> Vec<(PathBuf, String)> {
    let mut files: Vec<(PathBuf, String)> = template
        .files
        .iter()
        .map(|(path, text)| {
            let text =
                if *path == "thalweg.toml" { (template.offline)(text) } else { (*text).to_owned() };
            (PathBuf::from(path), text)
        })
        .collect();
    if !template.env.is_empty() {
        files.push((PathBuf::from(".env"), template.env.to_owned()));
    }
    files.push((PathBuf::from(".gitignore"), ".env\n.thalweg/\nlake/\n".to_owned()));
    files
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    let cannot = |error: std::io::Error| {
        Error::unavailable(format!("cannot write {}", path.display())).with_source(error)
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(cannot)?;
    }
    std::fs::write(path, text).map_err(cannot)
}

/// A project with the feed of the built-in simulator, and with what needs other servers commented out.
fn simulated(text: &str) -> String {
    let mut made = String::new();
    for line in without_servers(text).lines() {
        made.push_str(line);
        made.push('\n');
        if line.starts_with("finnhub.token") {
            made.push_str("finnhub.url     = \"simulator:\"             # built in; without this line the real feed\n");
        }
    }
    made
}

/// A project without PostgreSQL and webhooks: what needs them is commented out.
fn without_servers(text: &str) -> String {
    let mut made = String::new();
    // Whether the table that the line is in needs another server.
    let mut is_elsewhere = false;
    for line in text.lines() {
        if line.starts_with('[') {
            is_elsewhere = line.starts_with("[sink.") || line.starts_with("[notify.");
            if is_elsewhere {
                made.push_str(
                    "# needs another server; say which in .env, and take the `# ` away\n",
                );
            }
        }
        let is_blank = line.trim().is_empty() || line.starts_with('#');
        is_elsewhere &= !is_blank;
        if is_elsewhere || line.starts_with("notify ") {
            made.push_str("# ");
        }
        made.push_str(line);
        made.push('\n');
    }
    made
}

/// crypto-forecast with the page and the exchange of the built-in simulator.
fn with_simulated_pages(text: &str) -> String {
    let polled = "binance.every    = \"1h\"\n";
    let url =
        "binance.url      = \"simulator:\"            # built in; without this line the real one\n";
    text.replace("\"https://crypto.com/price\"", "\"simulator:/pages/prices\"")
        .replace(polled, &format!("{polled}{url}"))
}

/// binance-poll with the prices of the built-in simulator.
fn with_simulated_prices(text: &str) -> String {
    let polled = "binance.every   = \"5s\"\n";
    let url =
        "binance.url     = \"simulator:\"             # built in; without this line the real one\n";
    text.replace(polled, &format!("{polled}{url}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use thalweg_project::Project;

    use super::*;

    #[test]
    fn every_template_is_a_project_without_a_problem() {
        for template in TEMPLATES {
            let files = files_of(template);
            let bytes: BTreeMap<PathBuf, Vec<u8>> =
                files.into_iter().map(|(path, text)| (path, text.into_bytes())).collect();
            let secrets = |name: &str| {
                let line = template.env.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|rest| rest.strip_prefix('=')).map(str::to_owned)
            };
            let mut loaded = Project::load_from(Path::new("."), &bytes, &secrets);
            crate::check::check(&mut loaded);
            let problems = thalweg_project::render(&loaded.problems, &loaded.sources, false);
            assert!(loaded.problems.is_empty(), "{}: {problems}", template.name);
        }
    }

    #[test]
    fn what_needs_other_servers_is_commented_out() {
        let made = simulated(super::super::run::DEMO);
        assert!(made.contains("finnhub.url     = \"simulator:\""));
        let lines = || made.lines().filter(|line| !line.starts_with('#'));
        assert!(!lines().any(|line| line.contains("DATABASE_URL") || line.contains("OPS_WEBHOOK")));
        assert!(
            made.contains("# postgres.url   = \"${DATABASE_URL}\""),
            "it is still there to read"
        );
    }
}
