//! Figures as people and programs read them.
//!
//! `bench/history.jsonl` has an object a line, in the order of measuring:
//!
//! ```json
//! {"date":"2026-01-05T14:30:00Z","commit":"1a2b3c4","machine":"2 x …","workload":"w1","rows":10000000,
//!  "runs":3,"cpu_s":2.41,"wall_s":2.02,"peak_mib":61.2,"rows_per_cpu_s":4149377.6}
//! ```
//!
//! Values that a workload does not have are left out: `resident_mib` and `cpu_share` are those of a
//! server, `p50_ms` to `max_ms` those of latency.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

/// What was measured of one workload.
pub(super) struct Figure {
    pub(super) workload: &'static str,
    /// Lines of input; none for a server.
    pub(super) rows: Option<u64>,
    pub(super) runs: usize,
    /// Names as in the history, in order.
    pub(super) values: Vec<(&'static str, f64)>,
    pub(super) bounds: Vec<Bound>,
}

/// What a value has to be, and what it shall become.
#[derive(Clone, Copy)]
pub(super) struct Bound {
    pub(super) value: &'static str,
    /// Without it a release is not made; absent where the figure is only noted.
    pub(super) must: Option<f64>,
    pub(super) goal: f64,
    pub(super) is_more_better: bool,
}

impl Bound {
    /// A value that shall be at most so much.
    pub(super) const fn at_most(value: &'static str, must: Option<f64>, goal: f64) -> Self {
        Self { value, must, goal, is_more_better: false }
    }

    /// A value that shall be at least so much.
    pub(super) const fn at_least(value: &'static str, must: Option<f64>, goal: f64) -> Self {
        Self { value, must, goal, is_more_better: true }
    }

    fn verdict(&self, found: f64) -> &'static str {
        let reaches =
            |bound: f64| if self.is_more_better { found >= bound } else { found <= bound };
        match self.must {
            _ if reaches(self.goal) => "goal",
            Some(must) if !reaches(must) => "MISSED",
            Some(_) => "must",
            None => "",
        }
    }
}

impl Figure {
    fn value(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(own, _)| *own == name).map(|(_, value)| *value)
    }

    fn name(&self) -> String {
        match self.rows {
            Some(rows) if rows % 1_000_000 == 0 => {
                format!("{} {} M", self.workload, rows / 1_000_000)
            }
            Some(rows) => format!("{} {rows}", self.workload),
            None => self.workload.to_owned(),
        }
    }

    fn json(&self, date: &str, commit: &str, machine: &str) -> String {
        let mut line = format!(
            r#"{{"date":"{date}","commit":"{commit}","machine":"{machine}","workload":"{}""#,
            self.workload
        );
        if let Some(rows) = self.rows {
            let _ = write!(line, r#","rows":{rows}"#);
        }
        let _ = write!(line, r#","runs":{}"#, self.runs);
        for (name, value) in &self.values {
            let _ = write!(line, r#","{name}":{}"#, shown(*value));
        }
        line + "}"
    }
}

/// Four digits, or all of a large number: more was not measured.
fn shown(value: f64) -> String {
    match value.abs() {
        large if large >= 1_000.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

/// A table of every value beside what it has to be.
pub(super) fn show(figures: &[Figure]) {
    eprintln!(
        "\n{:<14} {:<16} {:>12} {:>12} {:>12}",
        "workload", "figure", "found", "must", "goal"
    );
    for figure in figures {
        for (name, found) in &figure.values {
            let bound = figure.bounds.iter().find(|bound| bound.value == *name);
            let must = bound.and_then(|bound| bound.must).map_or(String::new(), shown);
            let goal = bound.map_or(String::new(), |bound| shown(bound.goal));
            let verdict = bound.map_or("", |bound| bound.verdict(*found));
            let (own, found) = (figure.name(), shown(*found));
            eprintln!("{own:<14} {name:<16} {found:>12} {must:>12} {goal:>12}  {verdict}");
        }
    }
    let by_rows = |figure: &Figure| figure.rows.is_some() && figure.value("peak_mib").is_some();
    for pair in figures.windows(2).filter(|pair| by_rows(&pair[0]) && by_rows(&pair[1])) {
        let [small, large] = pair else { continue };
        if small.workload != large.workload {
            continue;
        }
        let grown = large.value("peak_mib").unwrap_or(0.0) - small.value("peak_mib").unwrap_or(0.0);
        eprintln!("{}: peak {grown:+.1} MiB against {}", large.name(), small.name());
    }
}

/// Prints the figures as JSON lines and appends them to the history.
pub(super) fn append(root: &Path, figures: &[Figure]) -> Result<(), String> {
    let date = said(root, "date", &["-u", "+%FT%TZ"])?;
    let commit = said(root, "git", &["describe", "--always", "--dirty", "--exclude=*"])?;
    let machine = machine();
    let path = root.join("bench/history.jsonl");
    let cannot = |error| format!("cannot write {}: {error}", path.display());
    let mut history =
        fs::OpenOptions::new().create(true).append(true).open(&path).map_err(cannot)?;
    for figure in figures {
        let line = figure.json(&date, &commit, &machine);
        println!("{line}");
        writeln!(history, "{line}").map_err(cannot)?;
    }
    Ok(())
}

/// Cores and model, as the kernel says it.
fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut models =
        info.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = models.next().map_or("unknown", |(_, model)| model.trim());
    let cores = 1 + models.count();
    format!("{cores} x {}", model.replace(['"', '\\'], ""))
}

fn said(folder: &Path, program: &str, words: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(words).current_dir(folder).output();
    let output = output.map_err(|error| format!("`{program}` cannot be run: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_judged_by_its_bounds() {
        let memory = Bound::at_most("peak_mib", Some(200.0), 40.0);
        assert_eq!(
            [30.0, 120.0, 201.0].map(|found| memory.verdict(found)),
            ["goal", "must", "MISSED"]
        );
        let speed = Bound::at_least("rows_per_cpu_s", None, 5e6);
        assert_eq!([6e6, 1e6].map(|found| speed.verdict(found)), ["goal", ""]);
    }

    #[test]
    fn a_line_of_the_history_is_one_object() {
        let figure = Figure {
            workload: "w1",
            rows: Some(1_000_000),
            runs: 3,
            values: vec![("cpu_s", 0.5), ("peak_mib", 61.25), ("rows_per_cpu_s", 2e6)],
            bounds: Vec::new(),
        };
        assert_eq!(
            figure.json("2026-01-05T14:30:00Z", "1a2b3c4", "2 x CPU"),
            r#"{"date":"2026-01-05T14:30:00Z","commit":"1a2b3c4","machine":"2 x CPU","workload":"w1","rows":1000000,"runs":3,"cpu_s":0.500,"peak_mib":61.2,"rows_per_cpu_s":2000000}"#
        );
        assert_eq!(figure.name(), "w1 1 M");
    }
}
