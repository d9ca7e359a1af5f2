//! `thalweg dev`: the project runs, and runs anew whenever one of its files is saved.
//!
//! A file with a problem stops nothing: the problem is shown, and what ran goes on until the next
//! save. Else the project ends as on SIGTERM, with a checkpoint, and starts again from it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use thalweg_core::env::Env;

use super::place::Place;
use super::run::simulate_feeds;
use super::{Failure, listen_to_signals, load, load_checked, machine};
use crate::app::{App, Request};
use crate::cli::DevArgs;

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Time and length of each file of a project.
type Prints = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

pub(super) async fn run(place: &Place, args: &DevArgs) -> Result<u8, Failure> {
    // Of the process; each run has one of its own.
    let process = machine(None);
    let signals = listen_to_signals(&process);
    let mut prints = prints(&place.dir);
    while !process.shutdown.is_cancelled() {
        match load_checked(load(&place.dir), place.is_colored) {
            Ok((mut project, checked)) => {
                let env = Env { shutdown: process.shutdown.child_token(), ..machine(None) };
                let http = Some(args.http.unwrap_or(project.server.http));
                simulate_feeds(&env, &mut project).await?;
                let request = Request { data: place.data.clone(), drain: None, http, given: None };
                let app = Arc::new(App::open(project, checked, env.clone(), request).await?);
                let mut running = Box::pin(app.run());
                tokio::select! {
                    ended = &mut running => {
                        ended?;
                        continue;
                    }
                    () = saved(place, &process, &mut prints) => {}
                }
                eprintln!("saved: the project starts anew");
                env.shutdown.cancel();
                running.await?;
            }
            Err(failure) => {
                eprintln!("error: {}", failure.error.chain());
                eprintln!("save a file to try again");
                changed(&place.dir, &process, &mut prints).await;
            }
        }
    }
    Ok(signals.code())
}

/// Comes back when a file was saved and the project has no error; shows those it has meanwhile.
async fn saved(place: &Place, process: &Env, prints: &mut Prints) {
    loop {
        changed(&place.dir, process, prints).await;
        if process.shutdown.is_cancelled()
            || load_checked(load(&place.dir), place.is_colored).is_ok()
        {
            return;
        }
        eprintln!("what ran before goes on");
    }
}

/// Comes back when a file of the project is another one, or the process ends.
async fn changed(dir: &Path, process: &Env, before: &mut Prints) {
    while process.sleep(LOOK_EVERY).await {
        let now = prints(dir);
        if now != *before {
            *before = now;
            return;
        }
    }
}

fn prints(dir: &Path) -> Prints {
    let mut files = vec![dir.join("thalweg.toml"), dir.join(".env")];
    for folder in ["thalweg.d", "sql", "schemas"] {
        let entries = std::fs::read_dir(dir.join(folder)).into_iter().flatten().flatten();
        files.extend(entries.map(|entry| entry.path()));
    }
    let print = |path: PathBuf| {
        let meta = std::fs::metadata(&path).ok()?;
        Some((path, (meta.modified().ok(), meta.len())))
    };
    files.into_iter().filter_map(print).collect()
}
