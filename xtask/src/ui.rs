//! Building and testing the screen.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{command, tree};

/// Oldest major version of Node.js that the tools of the screen run on.
const NODE_MAJOR_MIN: u32 = 20;

/// Builds `ui/dist`; with `is_tested` checks types and runs the tests after it.
pub(crate) fn run(is_tested: bool) -> Result<(), String> {
    let ui = tree::root().join("ui");
    require_node()?;
    // In CI the packages are always those of the lock file; here they are when it is not newer.
    if std::env::var_os("CI").is_some() || !is_installed(&ui) {
        command::run(&ui, &[], "npm ci --no-audit --no-fund")?;
    }
    command::run(&ui, &[], "npm run build")?;
    if is_tested {
        command::run(&ui, &[], "npm test")?;
    }
    Ok(())
}

fn require_node() -> Result<(), String> {
    let wanted = format!("Node.js {NODE_MAJOR_MIN} or newer with npm is needed for the screen");
    let answer = Command::new("node").arg("--version").output();
    let version = answer.map_err(|error| format!("{wanted}: `node` cannot be run: {error}"))?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    match major(&version) {
        Some(major) if major >= NODE_MAJOR_MIN => Ok(()),
        _ => Err(format!("{wanted}: `node --version` says `{version}`")),
    }
}

/// The major version in `v20.20.2`.
fn major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

/// Whether what is installed was installed by the lock file as it is now.
fn is_installed(ui: &Path) -> bool {
    let changed = |path: &str| fs::metadata(ui.join(path)).and_then(|it| it.modified()).ok();
    match (changed("node_modules/.package-lock.json"), changed("package-lock.json")) {
        (Some(installed), Some(locked)) => installed >= locked,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_a_major_number() {
        assert_eq!(major("v20.20.2"), Some(20));
        assert_eq!(major("v8"), Some(8));
        assert_eq!(major("20.20.2"), None);
        assert_eq!(major(""), None);
    }
}
