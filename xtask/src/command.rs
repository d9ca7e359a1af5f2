//! Running other programs: shown before, timed after.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Runs `line`, split at blanks, in `folder` with more environment, and waits for it.
pub(crate) fn run(folder: &Path, environment: &[(&str, &str)], line: &str) -> Result<(), String> {
    let assignments: String =
        environment.iter().map(|(name, value)| format!("{name}={value} ")).collect();
    eprintln!("+ {assignments}{line}");
    let started = Instant::now();
    let status = made(folder, line)?
        .envs(environment.iter().copied())
        .status()
        .map_err(|error| format!("`{line}` cannot be run: {error}"))?;
    if !status.success() {
        return Err(format!("`{line}` ended with {status}"));
    }
    eprintln!("+ {} s", started.elapsed().as_secs());
    Ok(())
}

/// Runs `line` like [`run`], and gives what it prints, without the end of its last line.
pub(crate) fn output(folder: &Path, line: &str) -> Result<String, String> {
    eprintln!("+ {line}");
    let output = made(folder, line)?
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("`{line}` cannot be run: {error}"))?;
    if !output.status.success() {
        return Err(format!("`{line}` ended with {}", output.status));
    }
    let text = String::from_utf8(output.stdout).map_err(|_| format!("`{line}` prints no text"))?;
    Ok(text.trim_end().to_owned())
}

fn made(folder: &Path, line: &str) -> Result<Command, String> {
    let mut words = line.split_whitespace();
    let program = words.next().ok_or("an empty command")?;
    // A program of the repository is named from its folder, not from the one it runs in.
    let inside = folder.join(program);
    let is_ours = program.contains('/') && inside.exists();
    let mut command = if is_ours { Command::new(inside) } else { Command::new(program) };
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_of_this_package) {
            command.env_remove(&name);
        }
    }
    command.args(words).current_dir(folder);
    Ok(command)
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
        assert_eq!(output(here, "echo a b").as_deref(), Ok("a b"));
        assert!(output(here, "false").is_err());
    }
}
