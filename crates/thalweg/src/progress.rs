//! Progress of what takes long, on standard error: nothing for 300 ms, then a spinner, or a bar with
//! rate and remaining time where the total is known; a line each 10 s where no terminal shows it.

use std::future::Future;
use std::io::IsTerminal as _;
use std::pin::pin;
use std::time::Duration;

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use thalweg_core::env::Clock;

/// Time for which nothing is shown.
const PATIENCE: Duration = Duration::from_millis(300);
/// How often a terminal is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How far something has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Rows so far.
    pub done: u64,
    /// Rows in all, where that is known.
    pub total: Option<u64>,
}

/// Shows that `work` goes on until it is done.
pub(crate) async fn during<T>(is_quiet: bool, what: &str, work: impl Future<Output = T>) -> T {
    follow(is_quiet, what, || None, work).await
}

/// Shows how far `work` has come until it is done.
pub(crate) async fn follow<T>(
    is_quiet: bool,
    what: &str,
    count: impl Fn() -> Option<Count>,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    // People wait by the machine's clock, whatever `--clock` says.
    let clock = Clock::system();
    tokio::select! {
        done = &mut work => return done,
        () = clock.sleep(PATIENCE) => {}
    }
    if is_quiet {
        return work.await;
    }
    if !std::io::stderr().is_terminal() {
        let begun = clock.now();
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = clock.sleep(LINE_EVERY) => {
                    eprintln!("{}", line(what, clock.now().since(begun), count()));
                }
            }
        }
    }
    let bar = ProgressBar::new_spinner();
    bar.set_message(what.to_owned());
    loop {
        draw(&bar, count());
        tokio::select! {
            done = &mut work => {
                bar.finish_and_clear();
                return done;
            }
            () = clock.sleep(DRAW_EVERY) => {}
        }
    }
}

fn draw(bar: &ProgressBar, count: Option<Count>) {
    let template = match count {
        None => "{spinner} {msg}, {elapsed}",
        Some(Count { total: None, .. }) => {
            "{spinner} {msg}: {human_pos} rows, {per_sec}, {elapsed}"
        }
        Some(Count { total: Some(_), .. }) => {
            "{msg} {wide_bar} {human_pos} of {human_len} rows, {per_sec}, {eta} left"
        }
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    if let Some(Count { done, total }) = count {
        if let Some(total) = total {
            bar.set_length(total);
        }
        bar.set_position(done);
    }
    bar.tick();
}

fn line(what: &str, since: Duration, count: Option<Count>) -> String {
    let mut line = format!("{what}: {}", HumanDuration(since));
    if let Some(Count { done, total }) = count {
        let of = total.map_or_else(String::new, |total| format!(" of {}", HumanCount(total)));
        line.push_str(&format!(", {}{of} rows", HumanCount(done)));
        let per_second = done as f64 / since.as_secs_f64().max(1e-3);
        line.push_str(&format!(", {per_second:.0} rows/s"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_has_come() {
        let since = Duration::from_secs(20);
        assert_eq!(line("draining", since, None), "draining: 20 seconds");
        let count = Count { done: 40_000, total: Some(100_000) };
        let expected = "draining: 20 seconds, 40,000 of 100,000 rows, 2000 rows/s";
        assert_eq!(line("draining", since, Some(count)), expected);
    }
}
