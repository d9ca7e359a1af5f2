//! Workloads: a project over generated trades, drained by the binary in a fresh folder.

use std::os::unix::fs::symlink;
use std::path::Path;

use super::generate::{self, Expected};
use super::report::{Bound, Figure};
use super::{Bench, child, median};

/// Rows of the run that shows what starting costs.
const START_ROWS: u64 = 1_000;
/// How far a sum of doubles may be off: the order of adding is not fixed.
const TOLERANCE: f64 = 1e-9;

/// A project of `bench/`.
pub(super) struct Workload {
    /// Its folder, and what it is called.
    pub(super) name: &'static str,
    /// Asked of its table `result`, one row.
    sql: &'static str,
    /// What the answer has to be.
    answer: fn(&Expected) -> Vec<f64>,
    rows_per_cpu_s: (f64, f64),
}

/// Every workload, in order.
pub(super) const ALL: [Workload; 3] = [
    Workload {
        name: "w1",
        sql: "SELECT count(*), sum(volume), sum(notional) FROM result",
        answer: |expected| vec![expected.valid as f64, expected.volume, expected.notional],
        rows_per_cpu_s: (1e6, 5.5e6),
    },
    Workload {
        name: "w2",
        sql: "SELECT count(*), sum(trades), sum(volume), sum(open), sum(high), sum(low), sum(close) \
              FROM result",
        answer: |expected| {
            let mut answer = vec![expected.bars as f64, expected.valid as f64, expected.volume];
            answer.extend(expected.prices);
            answer
        },
        rows_per_cpu_s: (1e6, 10e6),
    },
    Workload {
        name: "w3",
        sql: "SELECT count(*), count(absolute_price_change), sum(absolute_price_change) FROM result",
        answer: |expected| vec![expected.valid as f64, expected.changes as f64, expected.change],
        rows_per_cpu_s: (1e6, 5e6),
    },
];

/// Measures a workload over `rows` lines.
pub(super) fn measure(
    bench: &Bench,
    workload: &Workload,
    rows: u64,
    runs: usize,
) -> Result<Figure, String> {
    let costs = costs(bench, workload, rows, runs)?;
    let cpu_s = median(costs.iter().map(|cost| cost.cpu_s).collect());
    let (must, goal) = workload.rows_per_cpu_s;
    Ok(Figure {
        workload: workload.name,
        rows: Some(rows),
        runs,
        values: vec![
            ("cpu_s", cpu_s),
            ("rows_per_cpu_s", rows as f64 / cpu_s),
            ("peak_mib", costs.iter().map(|cost| cost.peak_mib).fold(0.0, f64::max)),
            ("wall_s", median(costs.iter().map(|cost| cost.wall_s).collect())),
        ],
        bounds: vec![
            Bound::at_least("rows_per_cpu_s", Some(must), goal),
            Bound::at_most("peak_mib", Some(200.0), 40.0),
        ],
    })
}

/// Measures what it costs to start, commit a first row, and end.
pub(super) fn measure_start(bench: &Bench, runs: usize) -> Result<Figure, String> {
    // The kernel shows CPU time in steps of 10 ms: the mean of many runs is finer.
    let runs = 10.max(runs);
    let costs = costs(bench, &ALL[0], START_ROWS, runs)?;
    let mean = |value: fn(&child::Cost) -> f64| costs.iter().map(value).sum::<f64>() / runs as f64;
    Ok(Figure {
        workload: "start",
        rows: Some(START_ROWS),
        runs,
        values: vec![
            ("cpu_s", mean(|cost| cost.cpu_s)),
            ("wall_s", mean(|cost| cost.wall_s)),
            ("peak_mib", costs.iter().map(|cost| cost.peak_mib).fold(0.0, f64::max)),
        ],
        bounds: vec![Bound::at_most("cpu_s", Some(0.2), 0.03)],
    })
}

fn costs(
    bench: &Bench,
    workload: &Workload,
    rows: u64,
    runs: usize,
) -> Result<Vec<child::Cost>, String> {
    let input = bench.folder.join(format!("input-{rows}"));
    let expected = generate::trades(&input, rows)?;
    let mut costs = Vec::with_capacity(runs);
    for run in 1..=runs {
        let project = bench.project(workload.name, workload.name)?;
        symlink(input.join("trades"), project.join("trades"))
            .map_err(|error| format!("cannot link the trades: {error}"))?;
        let mut command = bench.thalweg();
        command.arg("run").arg(&project).arg("--drain").args(["--wait", "600s"]);
        let cost = child::measure(&mut command, &project.join("run.log"))
            .map_err(|reason| format!("{} over {rows} rows: {reason}", workload.name))?;
        eprintln!(
            "{} {rows} rows, run {run}: {:.2} CPU s, {:.2} s, {:.0} MiB",
            workload.name, cost.cpu_s, cost.wall_s, cost.peak_mib
        );
        verify(bench, workload, &project, &expected)?;
        costs.push(cost);
    }
    Ok(costs)
}

/// Asks the project's table, beside the server that has ended, and compares.
fn verify(
    bench: &Bench,
    workload: &Workload,
    project: &Path,
    expected: &Expected,
) -> Result<(), String> {
    let mut command = bench.thalweg();
    command.arg("sql").arg(project).args(["-c", workload.sql, "--format", "csv"]);
    let output = command.output().map_err(|error| format!("cannot ask the result: {error}"))?;
    if !output.status.success() {
        return Err(format!("cannot ask: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let wanted = (workload.answer)(expected);
    if !agrees(&said, &wanted) {
        return Err(format!(
            "{} gave a wrong answer, so there is no figure\nfound:    {}\nexpected: {wanted:?}",
            workload.name,
            said.lines().nth(1).unwrap_or("nothing")
        ));
    }
    Ok(())
}

/// Whether the first row of a CSV holds these numbers.
fn agrees(csv: &str, wanted: &[f64]) -> bool {
    let row: Option<Vec<f64>> = csv
        .lines()
        .nth(1)
        .and_then(|line| line.split(',').map(|field| field.parse().ok()).collect());
    row.is_some_and(|row| {
        row.len() == wanted.len()
            && row
                .iter()
                .zip(wanted)
                .all(|(found, wanted)| (found - wanted).abs() <= TOLERANCE * wanted.abs().max(1.0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_agree_but_for_the_order_of_adding() {
        assert!(agrees("count,sum\n3,10.000000000001\n", &[3.0, 10.0]));
        assert!(!agrees("count,sum\n3,10.0001\n", &[3.0, 10.0]));
        assert!(!agrees("count,sum\n2,10\n", &[3.0, 10.0]));
        assert!(!agrees("count,sum\n3\n", &[3.0, 10.0]));
        assert!(!agrees("count\n", &[3.0]));
    }
}
