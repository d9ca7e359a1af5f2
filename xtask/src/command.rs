//! Running other programs: shown before, timed after.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Runs `line`, split at blanks, in `folder` with more environment, and waits for it.
pub(crate) fn run(folder: &Path, environment: &[(&str, &str)], line: &str) -> Result<(), String> {
    let assignments: String =
        environment.iter().map(|(name, value)| format!("{name}={value} ")).collect();
    eprintln!("+ {assignments}{line}");
    let mut words = line.split_whitespace();
    let program = words.next().ok_or("an empty command")?;
    let started = Instant::now();
    let status = Command::new(program)
        .args(words)
        .envs(environment.iter().copied())
        .current_dir(folder)
        .status()
        .map_err(|error| format!("`{program}` cannot be run: {error}"))?;
    if !status.success() {
        return Err(format!("`{line}` ended with {status}"));
    }
    eprintln!("+ {} s", started.elapsed().as_secs());
    Ok(())
}
