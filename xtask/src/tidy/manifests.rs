//! Manifests: the star of crates, who may use what, and one version of each part of the engine.

use toml::{Table, Value};

use super::Finding;
use crate::tree::Tree;

/// The crate that sees all others.
const BINARY: &str = "thalweg";

/// Dependencies that only these crates name, so that what they stand for stays in one place.
const OWNERS: [(&str, &[&str]); 10] = [
    ("datafusion", &["lake", "stream", "thalweg"]),
    ("deltalake-core", &["lake"]),
    ("object_store", &["connect", "lake"]),
    ("axum", &["serve"]),
    ("sqlx", &["connect", "store"]),
    ("tokio-tungstenite", &["connect", "simulator"]),
    ("toml", &["project"]),
    ("croner", &["jobs"]),
    ("nalgebra", &["models"]),
    ("clap", &["thalweg"]),
];

/// Packages whose types cross crates: a second version would be other types of the same name.
const ONE_VERSION: [&str; 6] =
    ["arrow-array", "arrow-schema", "datafusion", "object_store", "parquet", "tokio"];

/// A crate depends on `core` and on no other of ours; `core` on none; the binary on any.
pub(super) fn star(tree: &Tree) -> Vec<Finding> {
    let fix = "Crates meet at traits in `core`: name the noun that is missing there. Tests may use \
               others, under [dev-dependencies].";
    let mut findings = Vec::new();
    for (path, name, manifest) in crates(tree) {
        let (name, manifest) = match manifest {
            Ok(manifest) => (name, manifest),
            Err(finding) => {
                findings.push(finding);
                continue;
            }
        };
        for dependency in dependencies(&manifest, &["dependencies", "build-dependencies"]) {
            let is_ours = dependency.name.starts_with("thalweg-");
            let is_allowed =
                name == BINARY || (dependency.name == "thalweg-core" && name != "core");
            if is_ours && !is_allowed {
                let what = format!("`{name}` depends on `{}`", dependency.name);
                findings.push(Finding::new(path, what, fix));
            }
        }
    }
    findings
}

/// A dependency with owners is named by nobody else.
pub(super) fn owners(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, name, manifest) in readable_crates(tree) {
        for dependency in dependencies(&manifest, &["dependencies", "build-dependencies"]) {
            let owned = OWNERS.iter().find(|(owned, _)| *owned == dependency.name);
            if let Some((_, owners)) = owned
                && !owners.contains(&name)
            {
                let what = format!("`{name}` depends on `{}`", dependency.name);
                let fix = format!("Only {} may; reach it by a trait of `core`.", owners.join(", "));
                findings.push(Finding::new(path, what, fix));
            }
        }
    }
    findings
}

/// Versions and lints stand once, in the manifest of the workspace.
pub(super) fn shared_settings(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, _, manifest) in readable_crates(tree) {
        let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
        if lints.and_then(Value::as_bool) != Some(true) {
            let fix = "Add `[lints]` with `workspace = true`.";
            findings.push(Finding::new(path, "has lints of its own", fix));
        }
        let sections = ["dependencies", "build-dependencies", "dev-dependencies"];
        for dependency in dependencies(&manifest, &sections) {
            if !dependency.is_shared {
                let what = format!("gives `{}` a version of its own", dependency.name);
                let fix = "Put it in [workspace.dependencies] and write `workspace = true` here.";
                findings.push(Finding::new(path, what, fix));
            }
        }
    }
    findings
}

/// The lock file has each package of [`ONE_VERSION`] once.
pub(super) fn one_version(tree: &Tree) -> Vec<Finding> {
    const PATH: &str = "Cargo.lock";
    let lock = tree.text(PATH).unwrap_or_default();
    let lock: Table = match lock.parse() {
        Ok(lock) => lock,
        Err(error) => return vec![unreadable(PATH, &error)],
    };
    let packages = lock.get("package").and_then(Value::as_array);
    let packages: Vec<(&str, &str)> = packages
        .into_iter()
        .flatten()
        .filter_map(|package| {
            Some((package.get("name")?.as_str()?, package.get("version")?.as_str()?))
        })
        .collect();
    let mut findings = Vec::new();
    for name in ONE_VERSION {
        let versions: Vec<&str> = packages
            .iter()
            .filter(|(found, _)| *found == name)
            .map(|(_, version)| *version)
            .collect();
        if versions.len() > 1 {
            let what = format!("has `{name}` {}", versions.join(" and "));
            let fix = format!("`cargo tree -i {name}@{}` says who wants it.", versions[0]);
            findings.push(Finding::new(PATH, what, fix));
        }
    }
    findings
}

/// A dependency as a manifest names it.
struct Dependency {
    name: String,
    /// Whether its version is the workspace's.
    is_shared: bool,
}

fn dependencies(manifest: &Table, sections: &[&str]) -> Vec<Dependency> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let targets = targets.into_iter().flat_map(Table::values).filter_map(Value::as_table);
    std::iter::once(manifest)
        .chain(targets)
        .flat_map(|table| sections.iter().filter_map(|section| table.get(*section)?.as_table()))
        .flatten()
        .map(|(name, value)| Dependency {
            // A renamed package is who it is, not what it is called here.
            name: value.get("package").and_then(Value::as_str).unwrap_or(name).to_owned(),
            is_shared: value.get("workspace").and_then(Value::as_bool) == Some(true),
        })
        .collect()
}

/// Path, folder's name and contents of each manifest below `crates/`.
fn crates(tree: &Tree) -> impl Iterator<Item = (&str, &str, Result<Table, Finding>)> {
    tree.ending("/Cargo.toml").filter_map(|(path, text)| {
        let name = path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml")?;
        Some((path, name, text.parse().map_err(|error| unreadable(path, &error))))
    })
}

/// Those that can be read; [`star`] reports the others.
fn readable_crates(tree: &Tree) -> impl Iterator<Item = (&str, &str, Table)> {
    crates(tree).filter_map(|(path, name, manifest)| Some((path, name, manifest.ok()?)))
}

fn unreadable(path: &str, error: &toml::de::Error) -> Finding {
    Finding::new(path, format!("cannot be read: {}", error.message()), "Mend its TOML.")
}

#[cfg(test)]
mod tests {
    use super::super::places;
    use super::*;

    const LOG: &str = "crates/log/Cargo.toml";

    #[test]
    fn a_crate_meets_others_only_in_core_and_in_tests() {
        let core = "[dependencies]\nthalweg-core.workspace = true\n";
        let tests = "[dev-dependencies]\nthalweg-sim.workspace = true\n";
        let other = "[dependencies]\nthalweg-sim.workspace = true\n";
        let renamed = "[dependencies]\nsim = { package = \"thalweg-sim\", path = \"../sim\" }\n";
        let by_target = "[target.'cfg(unix)'.dependencies]\nthalweg-sim.workspace = true\n";
        for allowed in [core, tests] {
            assert!(places(star, [(LOG, allowed)]).is_empty(), "{allowed}");
        }
        for refused in [other, renamed, by_target, "[dependencies"] {
            assert_eq!(places(star, [(LOG, refused)]), [LOG], "{refused}");
        }
        assert!(places(star, [("crates/thalweg/Cargo.toml", other)]).is_empty());
        assert_eq!(places(star, [("crates/core/Cargo.toml", core)]), ["crates/core/Cargo.toml"]);
    }

    #[test]
    fn an_owned_dependency_is_named_by_its_owners() {
        let engine = "[dependencies]\ndatafusion.workspace = true\n";
        assert!(places(owners, [("crates/stream/Cargo.toml", engine)]).is_empty());
        assert_eq!(places(owners, [(LOG, engine)]), [LOG]);
    }

    #[test]
    fn versions_and_lints_are_those_of_the_workspace() {
        let shared = "[lints]\nworkspace = true\n[dependencies]\nbytes = { workspace = true }\n";
        let own_version = "[lints]\nworkspace = true\n[dev-dependencies]\nbytes = \"1\"\n";
        assert!(places(shared_settings, [(LOG, shared)]).is_empty());
        assert_eq!(places(shared_settings, [(LOG, own_version)]), [LOG]);
        assert_eq!(places(shared_settings, [(LOG, "[package]\nname = \"log\"\n")]), [LOG]);
    }

    #[test]
    fn a_second_version_is_found() {
        let one = "[[package]]\nname = \"parquet\"\nversion = \"59.0.0\"\n";
        let two = "[[package]]\nname = \"parquet\"\nversion = \"58.0.0\"\n".to_owned() + one;
        assert!(places(one_version, [("Cargo.lock", one)]).is_empty());
        assert_eq!(places(one_version, [("Cargo.lock", &two)]), ["Cargo.lock"]);
    }
}
