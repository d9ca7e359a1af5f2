//! Builds again when the screen was built: it is embedded from `ui/dist`, which may be empty.

use std::fs;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // A watched path that does not exist makes every build a rebuild, and a folder is watched with all
    // that is below it, `ui/node_modules` too: so the folder that will hold the screen is made here.
    let dist = Path::new("../../ui/dist");
    if dist.exists() || fs::create_dir_all(dist).is_ok() {
        println!("cargo::rerun-if-changed={}", dist.display());
    }
}
