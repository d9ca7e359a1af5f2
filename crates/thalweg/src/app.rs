//! The running whole: what a project declares, wired.
//!
//! The only place that sees every part. In the order of the flow: [`sources`] feed the log and are
//! read back, [`pipelines`] run streams and feed tables and sinks, [`readers`] let SQL see all of it,
//! [`jobs`] refresh and compact, [`notices`] tells what sources report, [`web`] serves.

mod control;
pub(crate) mod data_folder;
pub(crate) mod databases;
mod drains;
pub(crate) mod given;
mod house;

mod jobs;
mod layers;
mod lookups;
mod models;
mod notices;
mod pauses;
pub(crate) mod pipelines;
mod readers;
pub(crate) mod sources;
pub(crate) mod system;
pub(crate) mod tables;
mod web;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thalweg_connect::feed::{FeedState, FeedStatus};
use thalweg_connect::sources::push::PushDoor;
use thalweg_core::budget::Budget;
use thalweg_core::env::{Clock, Env};
use thalweg_core::log::{Log, TopicSettings};
use thalweg_core::store::Store;
use thalweg_core::topic::TopicPartition;
use thalweg_core::{Error, Result};
use thalweg_lake::LakeTable;
use thalweg_log::EmbeddedLog;
use thalweg_models::Registry;
use thalweg_project::{Connector, Project};
use thalweg_store::SqliteStore;
use thalweg_stream::engine::{Engine, Panels};
use thalweg_stream::epoch;
use thalweg_stream::pipeline::{Drain, Pipeline, Shared};
use thalweg_stream::sides;
use thalweg_stream::sql::Planner;
use tokio::sync::{Mutex, watch};

use self::data_folder::{DataFolder, Use};
use self::drains::{Drains, TopicEnd};
use self::given::Given;
use self::house::House;
use self::models::Forecasting;
use crate::check::Checked;

/// Of `runtime.memory`, what all queries may hold together.
const QUERY_PARTS: u64 = 4;

/// What a run is asked for.
pub(crate) struct Request {
    /// The data folder.
    pub data: PathBuf,
    /// Reads what there is, then ends.
    pub drain: Option<DrainRequest>,
    /// Where HTTP listens; none for no listener. Without it, and no drain, a question is answered.
    pub http: Option<std::net::SocketAddr>,
    /// What sources read in a test, instead of what they are connected to.
    pub given: Option<Arc<Given>>,
}

/// How a drain ends.
#[derive(Clone, Copy)]
pub(crate) struct DrainRequest {
    /// Silence after which a live feed counts as drained.
    pub idle: Duration,
    /// How long sinks may take to commit the rest.
    pub wait: Duration,
}

/// How often a drain looks whether every polled source has been polled.
const POLL_TICK: Duration = Duration::from_millis(50);

/// The project, running.
pub(crate) struct App {
    /// What it is.
    pub project: Arc<Project>,
    /// Clock, files, shutdown.
    pub env: Env,
    /// The log.
    pub log: Arc<EmbeddedLog>,
    /// Small rows.
    pub store: Arc<dyn Store>,
    /// Every pipeline, sources' first.
    pub pipelines: Vec<Arc<Pipeline>>,
    /// Tables of the lake, by name.
    pub tables: BTreeMap<String, Arc<LakeTable>>,
    /// Status of each live feed.
    pub feeds: BTreeMap<String, Arc<FeedStatus>>,
    /// Jobs.
    pub scheduler: Arc<thalweg_jobs::Scheduler>,
    /// Runs queries.
    pub engine: Arc<Engine>,
    /// Models.
    forecasting: Forecasting,
    feeds_silent: watch::Sender<bool>,
    topic_ends: Mutex<Vec<TopicEnd>>,
    /// Where records of each source that others post come in.
    pub doors: BTreeMap<String, PushDoor>,
    request: Request,
    folder: DataFolder,
    house: Mutex<Option<House>>,
}

impl App {
    /// Opens the data folder and makes every part; nothing runs yet.
    pub(crate) async fn open(
        project: Project,
        checked: Checked,
        env: Env,
        request: Request,
    ) -> Result<Self> {
        let asks = request.drain.is_none() && request.http.is_none();
        let its_use = if asks { Use::Question } else { Use::Run };
        let folder = DataFolder::open(&env, &request.data, its_use).await?;
        let memory = project.runtime.memory_bytes;
        let queries = usize::try_from(memory / QUERY_PARTS).unwrap_or(usize::MAX);
        let checked = Checked { planner: Planner::with_memory(queries)?, ..checked };
        let (project, checked) = (Arc::new(project), Arc::new(checked));
        let disk_bytes = house::disk_budget(project.runtime.disk, &*env.disk, &folder.path)?;
        let log_folder = folder.path.join("log");
        let disk = Arc::clone(&env.disk);
        let (log, recovery) =
            tokio::task::spawn_blocking(move || EmbeddedLog::open(disk, log_folder))
                .await
                .map_err(|error| Error::internal("opening the log ended").with_source(error))??;
        for cut in &recovery.cut {
            tracing::warn!(?cut, "a torn tail was cut from the log");
        }
        let log = Arc::new(log);
        for topic in [epoch::TOPIC, sides::QUARANTINE, sides::LATE] {
            log.create_topic(topic, &TopicSettings::default()).await?;
        }
        let store: Arc<dyn Store> =
            Arc::new(SqliteStore::open(folder.path.join("store.sqlite")).await?);
        let tables = tables::open(&project, &checked, &env).await?;
        let registry =
            Registry::open(Arc::clone(&store), Arc::clone(&env.disk), folder.path.join("models"))?;
        let forecasting = Forecasting::new(&project, &checked, registry, &env)?;
        let places = sources::Places::new(request.given.clone());
        places.recall(&project.sources, &store).await?;
        let shared_log = Arc::clone(&log) as Arc<dyn Log>;
        let wiring = lookups::Wiring {
            project: &project,
            checked: &checked,
            env: &env,
            log: &shared_log,
            tables: &tables,
            places: &places,
        };
        let lookups = lookups::lookups(&wiring);
        let (feeds_silent, silent) = watch::channel(false);
        let shared = Shared {
            env: env.clone(),
            log: Arc::clone(&shared_log),
            store: Arc::clone(&store),
            data: folder.path.clone(),
            incarnation: folder.incarnation.clone(),
            has_readers: request.http.is_some() || request.given.is_some(),
            memory: Budget::new("memory", memory),
            disk: Budget::new("disk", disk_bytes),
            models: Arc::clone(&forecasting.models),
            lookups: Arc::clone(&lookups),
        };
        let drain =
            request.drain.map(|drain| Drain { feeds_silent: silent.clone(), wait: drain.wait });
        let drains = Drains::new(&project, drain);
        let boundaries = readers::Boundaries::open(&project, &tables).await?;
        let pipelines = pipelines::declare(
            &project,
            &checked,
            &shared,
            &tables,
            &boundaries,
            &places,
            &drains,
        )?;
        let feeds: BTreeMap<String, Arc<FeedStatus>> = project
            .sources
            .iter()
            .filter(|source| source.is_live())
            .map(|source| (source.name.value.clone(), Arc::new(FeedStatus::default())))
            .collect();
        for source in project.sources.iter().filter(|source| source.is_live()) {
            let topic = sources::journal_topic(source.name.as_str());
            let settings = house::journal_settings(disk_bytes, feeds.len());
            log.create_topic(&topic, &settings).await?;
            log.update_topic(&topic, &settings).await?;
        }
        for (topic, settings) in house::published_topics(&project) {
            log.create_topic(&topic, &settings).await?;
            log.update_topic(&topic, &settings).await?;
        }
        let entries = readers::entries(&wiring, &pipelines)?;
        let doors = project.sources.iter().filter(|it| it.connector == Connector::Push);
        let doors = doors.map(|source| {
            let name = source.name.as_str();
            let partition = TopicPartition::new(sources::journal_topic(name), 0);
            let status = Arc::clone(&feeds[name]);
            let body = sources::posted(source);
            let door = PushDoor::new(name, body, Arc::clone(&shared_log), partition, &env, status);
            (name.to_owned(), door)
        });
        let doors = doors.collect();
        let house = House::new(&log, &shared.disk, &folder.path);
        let world = Arc::new(system::World {
            project: Arc::clone(&project),
            planner: checked.planner.clone(),
            env: env.clone(),
            log: Arc::clone(&log),
            store: Arc::clone(&store),
            pipelines: pipelines.clone(),
            feeds: feeds.clone(),
            places: places.clone(),
            tables: tables.clone(),
            scheduler: std::sync::OnceLock::new(),
            forecasting: forecasting.clone(),
        });
        // Without a page there are no panels, only questions.
        let panels = match request.http {
            Some(_) => readers::panels(&checked, &pipelines),
            None => Panels::default(),
        };
        let asking = match &request.given {
            // Whoever asks does so when all has come.
            Some(given) => Env { clock: Clock::stepped(given.ends_at()), ..env.clone() },
            None => env.clone(),
        };
        let engine = Engine::new(asking, entries, system::tables(&world))
            .with_planner(checked.planner.clone())
            .with_models(Arc::clone(&forecasting.models))
            .with_panels(panels);
        let engine = Arc::new(engine);
        let layers = Arc::new(layers::Layers::new(&project, &env, &store));
        let scheduler = jobs::scheduler(
            &project,
            &checked,
            &env,
            &store,
            &log,
            &tables,
            &pipelines,
            &engine,
            &boundaries,
            &forecasting,
            &layers,
            &lookups,
        )?;
        let _ = world.scheduler.set(Arc::clone(&scheduler));
        Ok(Self {
            project,
            env,
            log,
            store,
            pipelines,
            tables,
            feeds,
            scheduler,
            engine,
            forecasting,
            feeds_silent,
            topic_ends: Mutex::new(drains.ends),
            doors,
            request,
            folder,
            house: Mutex::new(Some(house)),
        })
    }

    /// Runs until the process is asked to stop, or the drain is done.
    ///
    /// # Errors
    ///
    /// What kept it from starting, or a drain from ending well.
    pub(crate) async fn run(self: Arc<Self>) -> Result<()> {
        let server = match self.request.http {
            Some(listen) => Some(web::start(&self, listen).await?),
            None => None,
        };
        if let Some(server) = &server {
            self.folder.publish_addresses(server.address())?;
        }
        if self.request.drain.is_none() {
            self.restore_pauses().await?;
        }
        let mut running = Vec::new();
        let ended = watch::Sender::new(BTreeSet::new());
        self.watch_publishers(std::mem::take(&mut *self.topic_ends.lock().await), &ended);
        for pipeline in &self.pipelines {
            let (pipeline, ended) = (Arc::clone(pipeline), ended.clone());
            running.push(self.env.spawn(async move {
                let ran = pipeline.run().await;
                ended.send_modify(|ended| {
                    ended.insert(pipeline.name().to_owned());
                });
                ran
            }));
        }
        let is_started = |source: &&thalweg_project::Source| {
            source.is_live() && source.connector != Connector::Push
        };
        for source in self.project.sources.iter().filter(is_started) {
            self.start_feed(source)?;
        }
        if let Some(house) = self.house.lock().await.take() {
            self.env.spawn(house.keep(self.env.clone()));
        }
        notices::follow(&self);
        if self.request.drain.is_some() {
            self.watch_silence();
        } else {
            let scheduler = Arc::clone(&self.scheduler);
            self.env.spawn(async move {
                if let Err(error) = scheduler.run().await {
                    tracing::error!(error = error.chain(), "the scheduler ended");
                }
            });
        }
        let log = Arc::clone(&self.log);
        let shutdown = self.env.shutdown.clone();
        self.env.spawn(async move {
            tokio::select! {
                error = log.failed() => {
                    // A failed sync is never retried (L5): end, and recover what is there.
                    tracing::error!(error = error.chain(), "the log failed; the process ends");
                    shutdown.cancel();
                }
                () = shutdown.cancelled() => {}
            }
        });
        let mut failed = Ok(());
        for task in running {
            match task.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => failed = Err(error),
                Err(error) => {
                    let message = "a pipeline broke down; what it said is above";
                    failed = Err(Error::internal(message).with_source(error));
                }
            }
        }
        if self.request.drain.is_some() {
            // Now: when the process stops, every feed does.
            failed = failed.and_then(|()| self.unpolled());
        } else {
            self.env.shutdown.cancelled().await;
        }
        self.env.shutdown.cancel();
        if let Some(server) = server {
            server.stopped().await;
        }
        self.env.tasks.close();
        let ended = tokio::time::timeout(Duration::from_secs(10), self.env.tasks.wait()).await;
        if ended.is_err() {
            tracing::warn!("some parts did not end in time");
        }
        failed
    }

    fn start_feed(&self, source: &thalweg_project::Source) -> Result<()> {
        let name = source.name.value.clone();
        let live = sources::live(source, &self.env, self.request.drain.is_some())?;
        let ids = sources::id_rule(source)?;
        let partition = TopicPartition::new(sources::journal_topic(&name), 0);
        let (env, log, store) = (self.env.clone(), Arc::clone(&self.log), Arc::clone(&self.store));
        let status = Arc::clone(&self.feeds[&name]);
        self.env.spawn(async move {
            let feed = thalweg_connect::feed::Feed::run_with_ids(
                &env, live, log, partition, store, status, ids,
            );
            let ran = feed.await;
            if let Err(error) = ran {
                tracing::error!(source = name, error = error.chain(), "the feed ended");
            }
        });
        Ok(())
    }

    /// Ends a drain when every polled source has been polled, and no other live feed has had a frame
    /// for long enough.
    fn watch_silence(self: &Arc<Self>) {
        let app = Arc::clone(self);
        let Some(drain) = self.request.drain else { return };
        if app.feeds.is_empty() {
            app.feeds_silent.send_replace(true);
            return;
        }
        self.env.spawn(async move {
            let started = app.env.clock.now();
            loop {
                let now = app.env.clock.now();
                let left = app.feeds.iter().map(|(name, feed)| {
                    let reading = feed.read(now);
                    let last = reading.last_frame_at.unwrap_or(started).max(started);
                    let left = drain.idle.saturating_sub(now.since(last));
                    match reading.state {
                        FeedState::Stopped | FeedState::Failed => Duration::ZERO,
                        // It ends by itself, unless nobody answers.
                        FeedState::Connecting | FeedState::Live
                            if app.is_polled(name) && reading.errors == 0 =>
                        {
                            POLL_TICK
                        }
                        _ => left,
                    }
                });
                let left = left.max().unwrap_or_default();
                if left.is_zero() {
                    app.feeds_silent.send_replace(true);
                    return;
                }
                if !app.env.sleep(left.min(POLL_TICK)).await {
                    return;
                }
            }
        });
    }

    fn is_polled(&self, source: &str) -> bool {
        self.project.source(source).is_some_and(|source| source.polled_every().is_some())
    }

    /// The error of a drain that could not poll what it should have.
    fn unpolled(&self) -> Result<()> {
        let now = self.env.clock.now();
        let readings = self.feeds.iter().map(|(name, feed)| (name, feed.read(now)));
        let mut unpolled = readings
            .filter(|(name, reading)| self.is_polled(name) && reading.state != FeedState::Stopped);
        match unpolled.next() {
            None => Ok(()),
            Some((name, reading)) => {
                let error = Error::unavailable(format!("source `{name}` could not be polled"));
                Err(match reading.last_errors.last() {
                    Some((_, reason)) => error.with_detail(reason.clone()),
                    None => error,
                })
            }
        }
    }

    /// Brings every pipeline up to what is in the data folder, without connecting to anything, so
    /// that questions can be asked beside a stopped server.
    pub(crate) async fn catch_up(&self) -> Result<()> {
        for pipeline in &self.pipelines {
            pipeline.read_checkpoint().await?;
        }
        Ok(())
    }

    /// Versions of models, who serves, and why.
    pub(crate) fn registry(&self) -> &Registry {
        &self.forecasting.registry
    }

    /// The data folder.
    pub(crate) fn data(&self) -> &std::path::Path {
        &self.folder.path
    }
}
