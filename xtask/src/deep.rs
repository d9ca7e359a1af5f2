//! The tests of `make test` with the counts that take hours, and those of the MySQL sinks against
//! MySQL, which `make test` runs against MariaDB.

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

/// What is run with `THALWEG_MYSQL=mysql`.
const MYSQL: [&str; 2] = [
    "cargo test -p thalweg-connect --test sinks_databases mysql::",
    "cargo test -p thalweg --test it -- databases:: insurance::",
];

/// Runs them; the tests say on standard error how far they are.
pub(crate) fn run(seed: &str) -> Result<(), String> {
    if seed.parse::<u64>().is_err() {
        return Err(format!("a seed is a number, not `{seed}`"));
    }
    let mut environment = COUNTS.to_vec();
    environment.extend(SEEDED.map(|variable| (variable, seed)));
    let root = tree::root();
    command::run(&root, &environment, "cargo test --workspace --no-fail-fast")?;
    MYSQL.iter().try_for_each(|line| command::run(&root, &[("THALWEG_MYSQL", "mysql")], line))
}
