//! A server under watch: what it takes at rest, and how soon a row of a feed can be read.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::child::{self, Running};
use super::http::Server;
use super::report::{Bound, Figure};
use super::{Bench, median};

/// Trades a second while latency is watched, on the average of a day.
const RATE: u32 = 1_000;
/// How long a server may take to come up.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Time before anything is measured, and over which a share of CPU is.
const SETTLE: Duration = Duration::from_secs(10);
/// Pause between an answer and the next question.
const POLL_PAUSE: Duration = Duration::from_millis(2);

/// Measures the demo, which is market-lambda at 20 trades a second with its exchange.
pub(super) fn measure_idle(bench: &Bench) -> Result<Figure, String> {
    let folder = bench.fresh("idle")?;
    let mut command = bench.thalweg();
    command.args(["demo", "--http", "127.0.0.1:0", "--data-dir"]).arg(&folder);
    let demo = Running(child::start(&mut command, &folder.join("demo.log"))?);
    await_server(&folder.join(".thalweg"), &folder.join("demo.log"))?;
    thread::park_timeout(SETTLE);
    let cpu_share = cpu_share(demo.0.id())?;
    Ok(Figure {
        workload: "idle",
        rows: None,
        runs: 1,
        values: vec![
            ("resident_mib", child::memory(demo.0.id(), "VmRSS")?),
            ("peak_mib", child::memory(demo.0.id(), "VmHWM")?),
            ("cpu_share", cpu_share),
        ],
        bounds: vec![
            Bound::at_most("resident_mib", Some(100.0), 40.0),
            Bound::at_most("cpu_share", None, 0.01),
        ],
    })
}

/// Measures the time from an instant the simulated exchange puts on a trade to an answer that holds
/// the trade's row in a stream, fsync of its journal included. The exchange collects up to ten
/// trades a message, and the answer is asked for again and again: both are part of the figure.
pub(super) fn measure_latency(bench: &Bench, seconds: u64) -> Result<Figure, String> {
    let project = bench.project("latency", "latency")?;
    let (exchange_log, log) = (project.join("exchange.log"), project.join("run.log"));
    let mut command = bench.thalweg();
    command.args(["simulate", "--listen", "127.0.0.1:0", "--rate", &RATE.to_string()]);
    let _exchange = Running(child::start(&mut command, &exchange_log)?);
    let url = await_that("the exchange", &exchange_log, || {
        let said = fs::read_to_string(&exchange_log).ok()?;
        said.lines().find(|line| line.starts_with("ws://")).map(str::to_owned)
    })?;
    fs::write(project.join(".env"), format!("EXCHANGE={url}\n"))
        .map_err(|error| format!("cannot write .env: {error}"))?;
    let mut command = bench.thalweg();
    command.arg("run").arg(&project).args(["--http", "127.0.0.1:0"]);
    let running = Running(child::start(&mut command, &log)?);
    let server = await_server(&project.join(".thalweg"), &log)?;
    thread::park_timeout(SETTLE);
    let cpu_share = cpu_share(running.0.id())?;
    let mut latencies = watch(&server, Duration::from_secs(seconds))?;
    if latencies.is_empty() {
        return Err("no trade came".to_owned());
    }
    latencies.sort_by(f64::total_cmp);
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share).round() as usize];
    Ok(Figure {
        workload: "latency",
        rows: None,
        runs: 1,
        values: vec![
            ("p50_ms", at(0.5)),
            ("p99_ms", at(0.99)),
            ("max_ms", at(1.0)),
            ("rows_per_s", latencies.len() as f64 / seconds as f64),
            ("cpu_share", cpu_share),
            ("resident_mib", child::memory(running.0.id(), "VmRSS")?),
        ],
        bounds: vec![Bound::at_most("p99_ms", None, 10.0), Bound::at_most("cpu_share", None, 0.01)],
    })
}

/// Asks for new rows again and again; for each row the milliseconds since its event.
fn watch(server: &Server, time: Duration) -> Result<Vec<f64>, String> {
    let newest = server.ask("SELECT max(_offset) FROM changes")?;
    let mut last = newest.first().and_then(|row| row.first()).copied().unwrap_or(-1);
    let mut latencies = Vec::new();
    let until = Instant::now() + time;
    while Instant::now() < until {
        let sql = format!(
            "SELECT _offset, CAST(arrow_cast(ts, 'Int64') AS BIGINT) FROM changes WHERE _offset > {last}"
        );
        let rows = server.ask(&sql)?;
        let now = unix_micros()?;
        for row in rows {
            let &[offset, event_micros] = row.as_slice() else { continue };
            last = last.max(offset);
            latencies.push((now - event_micros) as f64 / 1_000.0);
        }
        thread::park_timeout(POLL_PAUSE);
    }
    Ok(latencies)
}

/// Cores a process uses: the median of some stretches, so that a single job does not count.
fn cpu_share(id: u32) -> Result<f64, String> {
    let mut shares = Vec::new();
    for _ in 0..5 {
        let (before, started) = (child::cpu(id)?, Instant::now());
        thread::park_timeout(SETTLE / 5);
        shares.push((child::cpu(id)? - before) / started.elapsed().as_secs_f64());
    }
    Ok(median(shares))
}

#[expect(clippy::disallowed_methods, reason = "it is compared with the instants of an exchange")]
fn unix_micros() -> Result<i64, String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_err(|_| "the clock is before 1970".to_owned())?;
    i64::try_from(now.as_micros()).map_err(|error| error.to_string())
}

fn await_server(data: &Path, log: &Path) -> Result<Server, String> {
    await_that("the server", log, || {
        let server = Server::of(data)?;
        server.ask("SELECT 1").ok().map(|_| server)
    })
}

fn await_that<T>(
    what: &str,
    log: &Path,
    mut condition: impl FnMut() -> Option<T>,
) -> Result<T, String> {
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        if let Some(found) = condition() {
            return Ok(found);
        }
        if Instant::now() > deadline {
            let said = fs::read_to_string(log).unwrap_or_default();
            return Err(format!("{what} does not come up:\n{said}"));
        }
        thread::park_timeout(Duration::from_millis(20));
    }
}
