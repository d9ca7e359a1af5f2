//! The tests of `make test` with the counts that take hours.

use crate::{command, tree};

/// How often each kind of test is repeated, by the variable that it reads.
const COUNTS: [(&str, &str); 4] = [
    ("PROPTEST_CASES", "100000"), // properties of the codecs
    ("THALWEG_CASES", "100000"),  // stream = batch
    ("THALWEG_SEEDS", "20000"),   // simulated lives on a failing disk
    ("THALWEG_KILLS", "100"),     // kill -9 of the binary
];

/// What the seed decides: the cases of properties, and when kills come. Lives on a failing disk have
/// the seeds `0 ..`; one that failed is run alone with `THALWEG_SEED`, as its message says.
const SEEDED: [&str; 2] = ["PROPTEST_RNG_SEED", "THALWEG_KILL_SEED"];

/// Runs them; the tests say on standard error how far they are.
pub(crate) fn run(seed: &str) -> Result<(), String> {
    if seed.parse::<u64>().is_err() {
        return Err(format!("a seed is a number, not `{seed}`"));
    }
    let mut environment = COUNTS.to_vec();
    environment.extend(SEEDED.map(|variable| (variable, seed)));
    command::run(&tree::root(), &environment, "cargo test --workspace --no-fail-fast")
}
