//! What the product costs, measured on the release binary as people run it.
//!
//! ```text
//! generate   trades, and what a right program makes of them
//! workload   projects of `bench/` over these trades: CPU, peak of memory, answers compared
//! service    a server: start, memory at rest, latency from a feed to a reader
//! report     a table for people, JSON lines for `bench/history.jsonl`
//! ```
//!
//! A figure counts only if the ledger balanced (exit code 0 of `--drain`) and the answers are right.
//! CPU seconds are the whole process's, start included: on a shared machine they hold where the time
//! on the wall does not.

mod child;
mod generate;
mod http;
mod report;
mod service;
mod workload;

use std::path::{Path, PathBuf};

use crate::{command, tree};

const USAGE: &str = "\
usage: cargo xtask bench [options]

  --rows N,…       lines of input, such as 1m,10m (default 1m,10m); 100m takes 6 GB of disk
  --only NAME,…    w1 w2 w3 start idle latency (default all)
  --runs N         runs of each; the median counts (default 3)
  --seconds N      how long latency is watched (default 30)
  --binary PATH    measure this binary instead of building the release
  --no-history     do not append to bench/history.jsonl

Examples:
  cargo xtask bench
  cargo xtask bench --rows 10m --only w1 --runs 5
  cargo xtask bench --only latency --seconds 60 --no-history
";

/// What to measure.
struct Options {
    rows: Vec<u64>,
    only: Vec<String>,
    runs: usize,
    seconds: u64,
    binary: Option<PathBuf>,
    has_history: bool,
}

/// A binary and a folder to run it in.
struct Bench {
    binary: PathBuf,
    /// For generated trades and what the runs leave behind.
    folder: PathBuf,
    root: PathBuf,
}

/// Measures, prints, and appends to the history.
pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    if words.iter().any(|word| matches!(*word, "--help" | "-h")) {
        print!("{USAGE}");
        return Ok(());
    }
    let options = Options::parse(words)?;
    let root = tree::root();
    let target = target_folder()?;
    let binary = match &options.binary {
        Some(binary) => std::path::absolute(binary).map_err(|error| error.to_string())?,
        None => {
            command::run(&root, &[], "cargo build --release --package thalweg")?;
            target.join("release/thalweg")
        }
    };
    let bench = Bench { binary, folder: target.join("bench"), root };
    let mut figures = Vec::new();
    for workload in workload::ALL.iter().filter(|workload| options.wants(workload.name)) {
        for rows in &options.rows {
            figures.push(workload::measure(&bench, workload, *rows, options.runs)?);
        }
    }
    if options.wants("start") {
        figures.push(workload::measure_start(&bench, options.runs)?);
    }
    if options.wants("idle") {
        figures.push(service::measure_idle(&bench)?);
    }
    if options.wants("latency") {
        figures.push(service::measure_latency(&bench, options.seconds)?);
    }
    report::show(&figures);
    if options.has_history {
        report::append(&bench.root, &figures)?;
    }
    Ok(())
}

impl Options {
    fn parse(words: &[&str]) -> Result<Self, String> {
        let mut options = Self {
            rows: vec![1_000_000, 10_000_000],
            only: Vec::new(),
            runs: 3,
            seconds: 30,
            binary: None,
            has_history: true,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if *word == "--no-history" {
                options.has_history = false;
                continue;
            }
            let value = words.next().ok_or_else(|| format!("`{word}` has no value\n\n{USAGE}"))?;
            let wrong = || format!("`{word} {value}` is not understood\n\n{USAGE}");
            match *word {
                "--rows" => {
                    let rows: Option<Vec<u64>> = value.split(',').map(rows).collect();
                    options.rows = rows.ok_or_else(wrong)?;
                }
                "--only" => {
                    options.only = value.split(',').map(str::to_owned).collect();
                    if !options.only.iter().all(|name| is_known(name)) {
                        return Err(wrong());
                    }
                }
                "--runs" => options.runs = count(value).ok_or_else(wrong)? as usize,
                "--seconds" => options.seconds = count(value).ok_or_else(wrong)?,
                "--binary" => options.binary = Some(PathBuf::from(value)),
                _ => return Err(wrong()),
            }
        }
        Ok(options)
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

impl Bench {
    /// An empty folder for a run.
    fn fresh(&self, name: &str) -> Result<PathBuf, String> {
        let folder = self.folder.join("runs").join(name);
        let cannot = |error| format!("cannot empty {}: {error}", folder.display());
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(cannot(error));
            }
            _ => {}
        }
        std::fs::create_dir_all(&folder).map_err(cannot)?;
        Ok(folder)
    }

    /// A fresh folder with the project `bench/<project>` in it.
    fn project(&self, name: &str, project: &str) -> Result<PathBuf, String> {
        let folder = self.fresh(name)?;
        let from = self.root.join("bench").join(project).join("thalweg.toml");
        std::fs::copy(&from, folder.join("thalweg.toml"))
            .map_err(|error| format!("cannot copy {}: {error}", from.display()))?;
        Ok(folder)
    }

    /// The binary, with nothing of the caller's environment that it reads.
    fn thalweg(&self) -> std::process::Command {
        let mut command = std::process::Command::new(&self.binary);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("THALWEG_") {
                command.env_remove(name);
            }
        }
        command
    }
}

/// Where cargo builds: this program lies in `<target>/<profile>/`.
fn target_folder() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let target = own.parent().and_then(Path::parent).map(Path::to_owned);
    target.ok_or_else(|| "this program lies in no target folder".to_owned())
}

fn is_known(name: &str) -> bool {
    workload::ALL.iter().any(|workload| workload.name == name)
        || ["start", "idle", "latency"].contains(&name)
}

/// A number of lines: `250k`, `10m` or digits.
fn rows(text: &str) -> Option<u64> {
    let (digits, factor) = match text.strip_suffix('m') {
        Some(digits) => (digits, 1_000_000),
        None => text.strip_suffix('k').map_or((text, 1), |digits| (digits, 1_000)),
    };
    count(digits)?.checked_mul(factor)
}

fn count(text: &str) -> Option<u64> {
    text.parse().ok().filter(|count| *count > 0)
}

/// The middle one of `values`, in order; of an even number the upper one.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_understood_or_refused() {
        let options = Options::parse(&["--rows", "1m,250k,7", "--only", "w1,idle"]);
        let options = options.expect("they are right");
        assert_eq!(options.rows, [1_000_000, 250_000, 7]);
        assert!(options.wants("w1") && options.wants("idle") && !options.wants("w2"));
        for wrong in [["--rows", "0"], ["--only", "w9"], ["--runs", "x"], ["--what", "1"]] {
            assert!(Options::parse(&wrong).is_err(), "{wrong:?}");
        }
        assert!(Options::parse(&["--rows"]).is_err());
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert!(median(Vec::new()).is_nan());
    }
}
