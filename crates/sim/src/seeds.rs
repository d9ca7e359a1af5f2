//! Which seeds a test runs.

use std::env;

/// Runs `test` with the seeds `0 .. count`, and says which one failed.
///
/// `THALWEG_SEEDS=5000` runs as many instead, `THALWEG_SEED=17` only that one.
///
/// # Panics
///
/// When `test` does, or a variable does not hold a number.
pub fn for_each_seed(count: u64, test: impl Fn(u64)) {
    let seeds = match (number("THALWEG_SEED"), number("THALWEG_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(count)) => 0..count,
        (None, None) => 0..count,
    };
    for seed in seeds {
        let named = NamedSeed(seed);
        test(seed);
        drop(named);
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}, not a number")))
}

/// Names the seed when the test panics.
struct NamedSeed(u64);

impl Drop for NamedSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {seed} failed; THALWEG_SEED={seed} runs it alone", seed = self.0);
        }
    }
}
