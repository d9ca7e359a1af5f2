//! The tests of `make test` with the counts that take hours.

use std::path::Path;

use crate::{command, tree};

/// How often each kind of test is repeated, by the variable that it reads.
const COUNTS: [(&str, &str); 4] = [
    ("PROPTEST_CASES", "100000"), // properties of the codecs
    ("THALWEG_CASES", "100000"),  // stream = batch
    ("THALWEG_SEEDS", "20000"),   // simulated lives on a failing disk
    ("THALWEG_KILLS", "100"),     // kill -9 of the binary
];

/// Runs them, or only the lives of `seed`.
pub(crate) fn run(seed: Option<&str>) -> Result<(), String> {
    let root = tree::root();
    match seed {
        None => test(&root, &COUNTS),
        Some(seed) if seed.parse::<u64>().is_ok() => test(&root, &[("THALWEG_SEED", seed)]),
        Some(seed) => Err(format!("a seed is a number, not `{seed}`")),
    }
}

fn test(root: &Path, environment: &[(&str, &str)]) -> Result<(), String> {
    command::run(root, environment, "cargo test --workspace --no-fail-fast")
}
