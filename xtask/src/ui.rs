//! Building and testing the screen.
//!
//! The build itself holds the size budget (`ui/scripts/sizes.mjs`). The tests in a browser run
//! against the binary with the screen in it; `ui/tests/setup.ts` starts it and ends it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use crate::{command, tree};

/// Oldest major version of Node.js that the tools of the screen run on.
const NODE_MAJOR_MIN: u32 = 20;

/// What the screen is built from, besides `src` and `public`.
const INPUTS: [&str; 4] = ["index.html", "package-lock.json", "svelte.config.js", "vite.config.ts"];

/// Builds `ui/dist`; with `is_tested` checks types and runs the tests after it.
pub(crate) fn run(is_tested: bool) -> Result<(), String> {
    let ui = tree::root().join("ui");
    require_node()?;
    if !is_installed(&ui) {
        command::run(&ui, &[], "npm ci --no-audit --no-fund")?;
    }
    // What is built already is not built again: the binary that holds it would be too.
    if !is_tested || !is_built(&ui) {
        command::run(&ui, &[], "npm run build")?;
    }
    if is_tested {
        command::run(&ui, &[], "npm test")?;
        test_in_browser(&ui)?;
    }
    Ok(())
}

/// Runs the tests in a browser against the binary, or one that `THALWEG_BIN` names.
fn test_in_browser(ui: &Path) -> Result<(), String> {
    let root = tree::root();
    let chromium = command::output(&root, "tests/services/chromium.sh")?;
    let binary = match std::env::var_os("THALWEG_BIN") {
        Some(binary) => PathBuf::from(binary),
        None => {
            command::run(&root, &[], "cargo build --package thalweg")?;
            target(&root, std::env::var_os("CARGO_TARGET_DIR")).join("debug/thalweg")
        }
    };
    let binary = binary.to_str().ok_or("the path of the binary is not UTF-8")?;
    let environment = [("CHROMIUM", chromium.as_str()), ("THALWEG_BIN", binary)];
    command::run(ui, &environment, "npm run test:browser")
}

fn target(root: &Path, chosen: Option<OsString>) -> PathBuf {
    root.join(chosen.unwrap_or_else(|| "target".into()))
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
    let installed = changed(&ui.join("node_modules/.package-lock.json"));
    installed.is_some() && installed >= changed(&ui.join("package-lock.json"))
}

/// Whether `dist` is newer than all it is built from.
fn is_built(ui: &Path) -> bool {
    let inputs = ["src", "public"].iter().chain(&INPUTS);
    let newest = inputs.filter_map(|name| newest_of(&ui.join(name))).max();
    let built = changed(&ui.join("dist/index.html"));
    built.is_some() && built >= newest
}

/// When a file, or the last one below a folder, was changed.
fn newest_of(path: &Path) -> Option<SystemTime> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let below = entries.filter_map(|entry| newest_of(&entry.path())).max();
    below.max(changed(path))
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|it| it.modified()).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_target_folder_is_where_cargo_puts_it() {
        let root = Path::new("/checkout");
        assert_eq!(target(root, None), Path::new("/checkout/target"));
        assert_eq!(target(root, Some("elsewhere".into())), Path::new("/checkout/elsewhere"));
        assert_eq!(target(root, Some("/cache/target".into())), Path::new("/cache/target"));
    }

    #[test]
    fn the_screen_is_built_when_nothing_is_newer() {
        let folder = std::env::temp_dir().join(format!("thalweg-xtask-ui-{}", std::process::id()));
        let file = |path: &str, seconds: u64| {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let file = fs::File::create(&path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
        };
        file("src/pages/Sql.svelte", 5);
        assert!(!is_built(&folder));
        file("dist/index.html", 4_000_000_000);
        assert!(is_built(&folder));
        file("src/pages/Sql.svelte", 4_000_000_001);
        assert!(!is_built(&folder));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_version_has_a_major_number() {
        assert_eq!(major("v20.20.2"), Some(20));
        assert_eq!(major("v8"), Some(8));
        assert_eq!(major("20.20.2"), None);
        assert_eq!(major(""), None);
    }
}
