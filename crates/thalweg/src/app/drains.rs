//! How each pipeline of a drain knows that it may end.
//!
//! Files end by themselves, live feeds when all of them have been silent; a source of a topic when
//! everybody who publishes to the topic has ended, and has committed what it had.

use std::collections::{BTreeMap, BTreeSet};

use thalweg_project::{Connector, Project, Source};
use thalweg_stream::pipeline::Drain;
use tokio::sync::watch;

use super::App;
use super::pipelines::route_pipeline;

/// The drains of a project; none of them outside a drain.
#[derive(Default)]
pub(super) struct Drains {
    feeds: Option<Drain>,
    // By source of a topic.
    topics: BTreeMap<String, Drain>,
    /// What lets the sources of topics end.
    pub(super) ends: Vec<TopicEnd>,
}

/// Lets a source of a topic end.
pub(super) struct TopicEnd {
    may_end: watch::Sender<bool>,
    // Pipelines that publish to the topic.
    publishers: BTreeSet<String>,
}

impl Drains {
    /// The drains of a project, where there is to be a drain.
    pub(super) fn new(project: &Project, drain: Option<Drain>) -> Self {
        let Some(drain) = drain else { return Self::default() };
        let mut drains = Self { feeds: Some(drain.clone()), ..Self::default() };
        for source in &project.sources {
            let Connector::Topic(topic) = &source.connector else { continue };
            let (may_end, ended) = watch::channel(false);
            let of_source = Drain { feeds_silent: ended, wait: drain.wait };
            drains.topics.insert(source.name.value.clone(), of_source);
            let publishers = publishers(project, topic.name.as_str());
            drains.ends.push(TopicEnd { may_end, publishers });
        }
        drains
    }

    /// How pipelines of a source know that they may end.
    pub(super) fn of(&self, source: &Source) -> Option<Drain> {
        self.topics.get(source.name.as_str()).or(self.feeds.as_ref()).cloned()
    }
}

/// The pipelines that publish to a topic.
fn publishers(project: &Project, topic: &str) -> BTreeSet<String> {
    let names = project.published().filter(|(name, _)| name.as_str() == topic).map(|(_, of)| {
        let sink = project.sinks.iter().find(|sink| sink.name.value == of.value);
        let from = sink.map_or(of.as_str(), |sink| sink.from.as_str());
        match project.arm(from) {
            Some((route, _)) => route_pipeline(route.name.as_str()),
            None => from.to_owned(),
        }
    });
    names.collect()
}

impl App {
    /// Lets sources of topics end when those who publish have: `ended` names the pipelines that have.
    pub(super) fn watch_publishers(
        &self,
        ends: Vec<TopicEnd>,
        ended: &watch::Sender<BTreeSet<String>>,
    ) {
        for TopicEnd { may_end, publishers } in ends {
            let mut ended = ended.subscribe();
            let shutdown = self.env.shutdown.clone();
            self.env.spawn(async move {
                tokio::select! {
                    _ = ended.wait_for(|ended| publishers.is_subset(ended)) => {
                        may_end.send_replace(true);
                    }
                    () = shutdown.cancelled() => {}
                }
            });
        }
    }
}
