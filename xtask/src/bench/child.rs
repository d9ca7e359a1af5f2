//! Programs under measurement: what they cost, by what the kernel says of them in `/proc`.
//!
//! CPU time is user and system time of a process and its threads, as the kernel adds it to its
//! parent's when it has ended: exact but for the 10 ms the kernel shows it in. The peak of resident
//! memory is read while the process runs, every [`TICK`]; the kernel keeps it, so at most what
//! is added in the last tick is missed.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(5);
/// Ticks of a second in `/proc`; the same on every Linux that Rust runs on.
const CLOCK_TICKS: f64 = 100.0;
const MIB: f64 = 1024.0;

/// What a program has cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    pub(super) cpu_s: f64,
    pub(super) wall_s: f64,
    /// Largest resident memory.
    pub(super) peak_mib: f64,
}

/// Runs a command to its end; what it says goes to `log`.
///
/// # Errors
///
/// It cannot be run, or does not end well.
pub(super) fn measure(command: &mut Command, log: &Path) -> Result<Cost, String> {
    let before = cpu_of_ended_children()?;
    let started = Instant::now();
    let mut child = start(command, log)?;
    let mut peak = 0.0_f64;
    let status = loop {
        if let Ok(memory) = memory(child.id(), "VmHWM") {
            peak = peak.max(memory);
        }
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) => thread::park_timeout(TICK),
            Err(error) => return Err(format!("cannot wait for it: {error}")),
        }
    };
    let wall_s = started.elapsed().as_secs_f64();
    if !status.success() {
        let said = fs::read_to_string(log).unwrap_or_default();
        return Err(format!("it ended with {status}:\n{said}"));
    }
    Ok(Cost { cpu_s: cpu_of_ended_children()? - before, wall_s, peak_mib: peak })
}

/// Starts a command whose output goes to `log`.
pub(super) fn start(command: &mut Command, log: &Path) -> Result<Child, String> {
    let cannot = |error: std::io::Error| format!("cannot write {}: {error}", log.display());
    let out = File::create(log).map_err(cannot)?;
    let err = out.try_clone().map_err(cannot)?;
    let program = command.get_program().to_string_lossy().into_owned();
    let command = command.stdin(Stdio::null()).stdout(out).stderr(err);
    command.spawn().map_err(|error| format!("cannot run {program}: {error}"))
}

/// A process that is ended when this goes.
pub(super) struct Running(pub(super) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let id = self.0.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &id]).status();
        if asked.is_ok_and(|status| status.success()) {
            let deadline = Instant::now() + Duration::from_secs(15);
            while Instant::now() < deadline {
                if !matches!(self.0.try_wait(), Ok(None)) {
                    return;
                }
                thread::park_timeout(TICK);
            }
        }
        // An error means that it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A figure of `/proc/<id>/status` in MiB: `VmRSS` is resident now, `VmHWM` was at the most.
pub(super) fn memory(id: u32, figure: &str) -> Result<f64, String> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))
        .map_err(|error| format!("process {id} cannot be looked at: {error}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kib.map(|kib| kib / MIB).ok_or_else(|| format!("/proc says no {figure} of process {id}"))
}

/// CPU seconds a process has used so far.
pub(super) fn cpu(id: u32) -> Result<f64, String> {
    let [user, system, ..] = times(&id.to_string())?;
    Ok((user + system) / CLOCK_TICKS)
}

fn cpu_of_ended_children() -> Result<f64, String> {
    let [.., user, system] = times("self")?;
    Ok((user + system) / CLOCK_TICKS)
}

/// In ticks: user and system time of a process, then those of its children that have ended.
fn times(id: &str) -> Result<[f64; 4], String> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))
        .map_err(|error| format!("process {id} cannot be looked at: {error}"))?;
    // The name, in parentheses, may hold anything.
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().skip(11));
    let mut ticks = fields.into_iter().flatten().map_while(|field| field.parse().ok());
    let mut next = || ticks.next().ok_or_else(|| format!("/proc/{id}/stat is not as expected"));
    Ok([next()?, next()?, next()?, next()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_child_costs_what_it_used() {
        let log = std::env::temp_dir().join(format!("xtask-child-{}.log", std::process::id()));
        let mut busy = Command::new("sh");
        busy.args(["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"]);
        let cost = measure(&mut busy, &log).expect("sh runs");
        assert!(cost.cpu_s > 0.0 && cost.cpu_s < 2.0 * cost.wall_s + 0.02, "{cost:?}");
        let mut wrong = Command::new("sh");
        let said = measure(wrong.args(["-c", "echo broken; exit 3"]), &log);
        assert!(said.is_err_and(|reason| reason.contains("broken")));
        std::fs::remove_file(log).expect("it was written");
    }

    #[test]
    fn this_process_has_memory_and_times() {
        let own = std::process::id();
        assert!(memory(own, "VmRSS").is_ok_and(|mib| mib > 0.0));
        assert!(memory(own, "VmNothing").is_err());
        assert!(cpu(own).is_ok());
    }
}
