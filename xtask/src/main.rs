//! Chores of the repository, as `cargo xtask <chore>`.
//!
//! It depends on none of our crates, so that `tidy` runs seconds after a clone: what only they know
//! (reference pages) is written and held fresh by their own tests, which `docs` runs.

mod bench;
mod command;
mod deep;
mod docs;
mod features;
mod tidy;
mod tree;
mod ui;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <chore>

  tidy              what the compiler does not see: the star of crates, contracts of files, links …
  docs              writes the generated pages of docs/ anew
  ui [--test]       builds the screen into ui/dist; --test: checks and tests it too, in a browser
                    against the binary (THALWEG_BIN names another one)
  deep [--seed N]   the tests with the high counts; hours. --seed: only the seed that failed
  bench [options]   what the release binary costs, against the goals; --help says more
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["tidy"] => tidy::run(),
        ["docs"] => docs::run(),
        ["ui"] => ui::run(false),
        ["ui", "--test"] => ui::run(true),
        ["deep"] => deep::run(None),
        ["deep", "--seed", seed] => deep::run(Some(seed)),
        ["bench", options @ ..] => bench::run(options),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}
