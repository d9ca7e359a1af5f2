//! Pauses: what a person has stopped, remembered over restarts.
//!
//! A live source is paused by its feed, which closes the connection and marks a gap; a source of
//! files, and a stream, by their pipelines, which stop at the end of an epoch. The row is stored
//! before anything stops, and removed before anything goes on, so a crash in between leaves what was
//! asked for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thalweg_core::store::{Expected, Store};
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};

use super::App;

/// Rows of what is paused: id `source/NAME` or `stream/NAME`.
const KIND: &str = "pause";

/// What can be paused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    kind: &'static str,
    name: String,
}

/// Who paused it, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pause {
    by: String,
    at: Timestamp,
}

impl Pause {
    /// What people read.
    pub(super) fn reason(&self) -> String {
        format!("paused by {} at {}", self.by, self.at)
    }
}

impl Held {
    /// A source of the project.
    pub(super) fn source(app: &App, name: &str) -> Result<Self> {
        match app.project.source(name) {
            Some(_) => Ok(Self { kind: "source", name: name.to_owned() }),
            None => Err(Error::invalid(format!("no source `{name}`"))),
        }
    }

    /// A stream of the project.
    pub(super) fn stream(app: &App, name: &str) -> Result<Self> {
        match app.project.stream(name) {
            Some(_) => Ok(Self { kind: "stream", name: name.to_owned() }),
            None => Err(Error::invalid(format!("no stream `{name}`"))),
        }
    }

    fn id(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}

/// Why each source that is paused is, by its name.
pub(super) async fn reasons(store: &dyn Store) -> Result<BTreeMap<String, String>> {
    let mut reasons = BTreeMap::new();
    for row in store.list(KIND, "source/", false, usize::MAX).await? {
        let name = row.id.strip_prefix("source/").unwrap_or_default().to_owned();
        let held = Held { kind: "source", name: name.clone() };
        reasons.insert(name, read(&held, row.value)?.reason());
    }
    Ok(reasons)
}

impl App {
    /// Pauses something until it is resumed, over restarts too.
    pub(super) async fn pause(&self, held: Held, by: &str) -> Result<()> {
        let pause = match self.store.get(KIND, &held.id()).await? {
            // Whoever did it first.
            Some(row) => read(&held, row.value)?,
            None => {
                let pause = Pause { by: by.to_owned(), at: self.env.clock.now() };
                let value = serde_json::to_value(&pause).map_err(|error| {
                    Error::internal("a pause has no JSON form").with_source(error)
                })?;
                self.store.put(KIND, &held.id(), Expected::Any, &value).await?;
                pause
            }
        };
        self.set_paused(&held, Some(&pause));
        Ok(())
    }

    /// Lets something that is paused go on.
    pub(super) async fn resume(&self, held: Held) -> Result<()> {
        self.store.delete(KIND, &held.id()).await?;
        self.set_paused(&held, None);
        // A stream of it that was paused by itself stays so.
        self.restore_pauses().await
    }

    /// Pauses what was paused when the process before ended. What is no longer in the project is
    /// left alone.
    pub(super) async fn restore_pauses(&self) -> Result<()> {
        for row in self.store.list(KIND, "", false, usize::MAX).await? {
            let held = match row.id.split_once('/') {
                Some(("source", name)) => Held::source(self, name),
                Some(("stream", name)) => Held::stream(self, name),
                _ => continue,
            };
            if let Ok(held) = held {
                let pause = read(&held, row.value)?;
                self.set_paused(&held, Some(&pause));
            }
        }
        Ok(())
    }

    fn set_paused(&self, held: &Held, pause: Option<&Pause>) {
        if let (true, Some(feed)) = (held.kind == "source", self.feeds.get(&held.name)) {
            match pause {
                Some(_) => feed.pause(),
                None => feed.resume(),
            }
            return;
        }
        let concerns = |name: &str, source: &str| match held.kind {
            "source" => source == held.name,
            _ => name == held.name,
        };
        for pipeline in self.pipelines.iter().filter(|it| concerns(it.name(), it.source())) {
            match pause {
                Some(pause) => pipeline.pause(pause.reason()),
                None => pipeline.resume(),
            }
        }
    }
}

fn read(held: &Held, value: serde_json::Value) -> Result<Pause> {
    serde_json::from_value(value).map_err(|error| {
        Error::internal(format!("the pause of {} is malformed", held.id())).with_source(error)
    })
}
