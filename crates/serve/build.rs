//! Builds again when the screen was built: it is embedded from `ui/dist`, which may be absent.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // A watched path that does not exist makes every build a rebuild: watch the nearest that does.
    let ui = Path::new("../../ui");
    let watched = [ui.join("dist"), ui.to_path_buf()].into_iter().find(|path| path.exists());
    if let Some(path) = watched {
        println!("cargo::rerun-if-changed={}", path.display());
    }
}
