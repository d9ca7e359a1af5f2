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
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_of_this_package) {
            command.env_remove(&name);
        }
    }
    let status = command
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

/// Whether cargo set the variable to say what package it runs.
///
/// Build scripts of dependencies (`ring`) watch these: a cargo that inherits them from `cargo xtask`
/// would build those again, and all of DataFusion after them.
fn is_of_this_package(variable: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|start| variable.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_does_not_see_what_package_this_is() {
        // Cargo sets these for tests too.
        let here = Path::new(".");
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        assert!(run(here, &[], "printenv CARGO_MANIFEST_DIR").is_err());
        assert!(run(here, &[], "printenv CARGO_PKG_NAME").is_err());
        assert!(run(here, &[], "printenv PATH").is_ok());
        assert!(run(here, &[("THALWEG_SEED", "7")], "printenv THALWEG_SEED").is_ok());
    }
}
