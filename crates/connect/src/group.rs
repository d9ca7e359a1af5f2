//! Programs in a process group of their own, so that all they have started ends with them.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Asks the group of a program to end, and kills what does not within `grace`.
///
/// The program was started with `process_group(0)`.
pub(crate) async fn end(child: &mut Child, grace: Duration) {
    let Some(group) = child.id() else { return };
    let mut has_ended = false;
    if !grace.is_zero() {
        signal(group, "TERM").await;
        has_ended = timeout(grace, child.wait()).await.is_ok();
    }
    // What the program had started may still be there.
    signal(group, "KILL").await;
    if !has_ended {
        let _ = child.wait().await;
    }
}

/// Sends a signal to a process group, by the shell's own `kill`: there is none in the standard
/// library. `-s`: the shells differ in what may follow `kill -TERM`.
async fn signal(group: u32, name: &str) {
    let mut kill = Command::new("sh");
    kill.arg("-c").arg(format!("kill -s {name} -- -{group}"));
    kill.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // A group that is gone is what was wanted.
    let _ = kill.status().await;
}
