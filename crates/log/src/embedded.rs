//! The log as a whole: its topics, opening them, and the trait.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;

use async_trait::async_trait;
use bytes::Bytes;
use thalweg_core::env::Disk;
use thalweg_core::log::{
    Durability, FetchLimit, Fetched, Log, OffsetBounds, OffsetSpan, TopicSettings,
};
use thalweg_core::time::Timestamp;
use thalweg_core::topic::{Offset, TopicPartition, is_topic_name};
use thalweg_core::{Error, Result};

use crate::error::{cannot, damaged};
use crate::flusher::Flusher;
use crate::partition::{Partition, PartitionUsage, Parts};
use crate::recovery::{Recovery, make_partition, open_partition};
use crate::retention::Removed;
use crate::topic;

/// The log of one process, in one folder.
///
/// Dropping it syncs what was appended and waits for that.
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    flusher_thread: Option<JoinHandle<()>>,
}

struct Shared {
    folder: PathBuf,
    parts: Parts,
    topics: RwLock<BTreeMap<String, Topic>>,
    // Held while the settings of a topic are written; one at a time.
    settings_lock: Mutex<()>,
}

struct Topic {
    settings: TopicSettings,
    partitions: Vec<Arc<Partition>>,
}

impl EmbeddedLog {
    /// Opens the log in `folder`, making the folder if need be, and recovers what a crash left.
    ///
    /// Blocks: it reads every active segment. The caller holds the lock of the data folder, and has
    /// made the folder above durable.
    ///
    /// # Errors
    ///
    /// `Internal` when something is damaged that was synced before; `Unavailable` when files cannot
    /// be read or written.
    pub fn open(disk: Arc<dyn Disk>, folder: impl Into<PathBuf>) -> Result<(Self, Recovery)> {
        let (shared, recovery) = Shared::open(disk, folder.into())?;
        let thread = shared.parts.flusher.start().map_err(|error| {
            Error::unavailable("cannot start the log's thread").with_source(error)
        })?;
        Ok((Self { shared: Arc::new(shared), flusher_thread: Some(thread) }, recovery))
    }

    /// As [`open`](Self::open), without the thread: syncs happen when the test says so.
    #[cfg(test)]
    pub(crate) fn open_without_thread(
        disk: Arc<dyn Disk>,
        folder: impl Into<PathBuf>,
    ) -> Result<(Self, Recovery)> {
        let (shared, recovery) = Shared::open(disk, folder.into())?;
        Ok((Self { shared: Arc::new(shared), flusher_thread: None }, recovery))
    }

    /// One turn of the flusher.
    #[cfg(test)]
    pub(crate) fn sync_group(&self) {
        self.shared.parts.flusher.sync_group();
    }

    /// Changes how a topic is kept, but for its number of partitions. Does nothing when it is kept
    /// so already.
    ///
    /// # Errors
    ///
    /// `Invalid` when there is no such topic, it has another number of partitions, or the settings
    /// are wrong.
    pub async fn update_topic(&self, topic: &str, settings: &TopicSettings) -> Result<()> {
        let (topic, settings) = (topic.to_owned(), settings.clone());
        self.on_blocking_thread(move |shared| shared.update_topic(&topic, &settings)).await
    }

    /// Sets how many bytes of segments the log may hold; without a limit there is only the disk's
    /// own. What is held already stays; appends that do not fit are refused with `Unavailable`.
    pub fn set_budget(&self, bytes: Option<u64>) {
        self.shared.parts.budget.set_limit(bytes.unwrap_or(u64::MAX));
    }

    /// What each partition holds and for whom, by topic and number.
    pub fn usage(&self) -> Vec<PartitionUsage> {
        self.shared.partitions().iter().map(|partition| partition.usage()).collect()
    }

    /// Removes the segments that no limit keeps any more and nobody holds.
    ///
    /// Blocks; call it every few minutes, after whoever needs old records has said so by
    /// [`hold`](Log::hold): holds do not outlive the process.
    ///
    /// # Errors
    ///
    /// The first failure, after all partitions were tried; what is left is tried next time.
    pub fn retain(&self, now: Timestamp) -> Result<Removed> {
        let mut removed = Removed::default();
        let mut failure = None;
        for partition in self.shared.partitions() {
            match partition.retain(now) {
                Ok(more) => {
                    removed.segments += more.segments;
                    removed.bytes += more.bytes;
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(removed), Err)
    }

    /// The first offset below the high watermark whose record has `time` or a later one; `None`
    /// when there is none. Compressed batches are found as a whole.
    ///
    /// # Errors
    ///
    /// `Invalid` when there is no such partition.
    pub async fn offset_at(
        &self,
        partition: &TopicPartition,
        time: Timestamp,
    ) -> Result<Option<Offset>> {
        self.shared.partition(partition)?.offset_at(time).await
    }

    /// Waits for the first failed sync, and says what failed. Appends are refused from then on
    /// (L5); whoever runs the process decides to end it.
    pub async fn failed(&self) -> Error {
        let reason = self.shared.parts.flusher.failure().await;
        Error::internal("the log cannot make appends durable")
            .with_detail(format!("What failed: {reason}."))
            .with_hint("Check the disk, then restart.")
    }

    /// Runs what waits for the disk where it holds nobody up; it ends even if the caller does not
    /// wait for it.
    async fn on_blocking_thread<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Shared) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || act(&shared)).await.unwrap_or_else(|panicked| {
            Err(Error::internal("changing a topic failed").with_source(panicked))
        })
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        self.shared.parts.flusher.stop();
        if let Some(thread) = self.flusher_thread.take() {
            // A panic was reported by the partition it was in.
            let _ = thread.join();
        }
    }
}

#[async_trait]
impl Log for EmbeddedLog {
    async fn create_topic(&self, topic: &str, settings: &TopicSettings) -> Result<()> {
        let (topic, settings) = (topic.to_owned(), settings.clone());
        self.on_blocking_thread(move |shared| shared.create_topic(&topic, &settings)).await
    }

    async fn topics(&self) -> Result<Vec<(String, TopicSettings)>> {
        let topics = self.shared.topics();
        Ok(topics.iter().map(|(name, topic)| (name.clone(), topic.settings.clone())).collect())
    }

    async fn append(
        &self,
        partition: &TopicPartition,
        batches: Bytes,
        durability: Durability,
    ) -> Result<OffsetSpan> {
        self.shared.partition(partition)?.append(batches, durability).await
    }

    async fn fetch(
        &self,
        partition: &TopicPartition,
        from: Offset,
        limit: FetchLimit,
    ) -> Result<Fetched> {
        self.shared.partition(partition)?.fetch(from, limit).await
    }

    async fn bounds(&self, partition: &TopicPartition) -> Result<OffsetBounds> {
        Ok(self.shared.partition(partition)?.bounds())
    }

    async fn hold(
        &self,
        partition: &TopicPartition,
        holder: &str,
        from: Option<Offset>,
    ) -> Result<()> {
        self.shared.partition(partition)?.hold(holder, from);
        Ok(())
    }

    async fn sync(&self) -> Result<()> {
        for partition in self.shared.partitions() {
            partition.sync().await?;
        }
        Ok(())
    }
}

impl Shared {
    fn open(disk: Arc<dyn Disk>, folder: PathBuf) -> Result<(Self, Recovery)> {
        disk.create_dir_all(&folder).map_err(|error| cannot("make", &folder, error))?;
        // The names that a killed process left unsynced are about to be relied on.
        for folder in folder.ancestors().take(2) {
            disk.sync_dir(folder).map_err(|error| cannot("sync", folder, error))?;
        }
        let names = disk.list(&folder).map_err(|error| cannot("list", &folder, error))?;
        let shared = Self {
            folder,
            parts: Parts { disk, flusher: Arc::new(Flusher::new()), budget: Arc::default() },
            topics: RwLock::default(),
            settings_lock: Mutex::default(),
        };
        let mut recovery = Recovery::default();
        for name in names {
            let topic = name.to_str().filter(|name| is_topic_name(name));
            match topic.map(|topic| shared.open_topic(topic, &mut recovery)) {
                Some(Ok(true)) => {}
                Some(Err(error)) => return Err(error),
                Some(Ok(false)) | None => recovery.left_alone.push(shared.folder.join(&name)),
            }
        }
        Ok((shared, recovery))
    }

    /// Opens a topic's folder, unless it holds none: whoever makes a topic writes its settings last.
    fn open_topic(&self, name: &str, recovery: &mut Recovery) -> Result<bool> {
        let folder = self.folder.join(name);
        let path = folder.join(topic::FILE);
        let settings = match self.parts.disk.read(&path) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(false);
            }
            bytes => bytes.map_err(|error| cannot("read", &path, error))?,
        };
        let settings = topic::decode(&settings).map_err(|reason| damaged(&path, reason))?;
        topic::check(name, &settings)?;

        let names =
            self.parts.disk.list(&folder).map_err(|error| cannot("list", &folder, error))?;
        let is_ours = |name: &Path| {
            let number = || name.to_str()?.parse::<u32>().ok().filter(|n| *n < settings.partitions);
            // One number has one name: `01` is not ours.
            [topic::FILE, topic::UNNAMED].iter().any(|ours| name == Path::new(ours))
                || number().is_some_and(|n| name == Path::new(&n.to_string()))
        };
        recovery
            .left_alone
            .extend(names.iter().filter(|name| !is_ours(name)).map(|name| folder.join(name)));
        self.parts.disk.sync_dir(&folder).map_err(|error| cannot("sync", &folder, error))?;
        self.open_partitions(name, settings, recovery)?;
        Ok(true)
    }

    fn open_partitions(
        &self,
        topic: &str,
        settings: TopicSettings,
        recovery: &mut Recovery,
    ) -> Result<()> {
        let folder = self.folder.join(topic);
        let name: Arc<str> = Arc::from(topic);
        let partitions = (0..settings.partitions)
            .map(|number| {
                let partition = TopicPartition::new(Arc::clone(&name), number);
                let folder = folder.join(number.to_string());
                open_partition(&self.parts, partition, folder, &settings, recovery).map(Arc::new)
            })
            .collect::<Result<_>>()?;
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        topics.insert(topic.to_owned(), Topic { settings, partitions });
        Ok(())
    }

    fn create_topic(&self, name: &str, settings: &TopicSettings) -> Result<()> {
        topic::check(name, settings)?;
        let _alone = self.settings_lock.lock().unwrap_or_else(PoisonError::into_inner);
        let partitions = self.topics().get(name).map(|topic| topic.settings.partitions);
        if let Some(partitions) = partitions {
            return check_partitions(name, partitions, settings);
        }
        if self.parts.flusher.has_failed() {
            return Err(Error::internal(format!("topic {name} cannot be made"))
                .with_detail("A sync has failed; nothing more is made until a restart."));
        }
        // The settings say that the partitions are there, so those come first.
        let folder = self.folder.join(name);
        for number in 0..settings.partitions {
            let partition = folder.join(number.to_string());
            make_partition(&*self.parts.disk, &partition)?;
            self.sync_folder(&partition)?;
        }
        self.sync_folder(&folder)?;
        self.sync_folder(&self.folder)?;
        self.write_settings(name, settings)?;
        self.open_partitions(name, settings.clone(), &mut Recovery::default())
    }

    fn update_topic(&self, name: &str, settings: &TopicSettings) -> Result<()> {
        topic::check(name, settings)?;
        let _alone = self.settings_lock.lock().unwrap_or_else(PoisonError::into_inner);
        let found = self.topics().get(name).map(|topic| topic.settings.clone());
        let found = found.ok_or_else(|| unknown(name))?;
        check_partitions(name, found.partitions, settings)?;
        if found == *settings {
            return Ok(());
        }
        self.write_settings(name, settings)?;
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        let topic = topics.get_mut(name).ok_or_else(|| unknown(name))?;
        topic.settings = settings.clone();
        for partition in &topic.partitions {
            partition.set_settings(settings);
        }
        Ok(())
    }

    fn write_settings(&self, name: &str, settings: &TopicSettings) -> Result<()> {
        let path = self.folder.join(name).join(topic::FILE);
        self.parts
            .disk
            .write_whole(&path, &topic::encode(settings))
            .map_err(|error| cannot("write", &path, error))
    }

    /// Makes names durable. What is asked for again must not take a failed sync for a good one, so
    /// the failure is remembered (L5).
    fn sync_folder(&self, folder: &Path) -> Result<()> {
        self.parts.disk.sync_dir(folder).map_err(|error| {
            let reason = format!("syncing {}: {error}", folder.display());
            self.parts.flusher.report_failure(&Arc::from(reason));
            cannot("sync", folder, error)
        })
    }

    fn topics(&self) -> RwLockReadGuard<'_, BTreeMap<String, Topic>> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn partition(&self, name: &TopicPartition) -> Result<Arc<Partition>> {
        let topics = self.topics();
        let topic = topics.get(&*name.topic).ok_or_else(|| unknown(&name.topic))?;
        let number = usize::try_from(name.partition).unwrap_or(usize::MAX);
        topic.partitions.get(number).cloned().ok_or_else(|| {
            Error::invalid(format!("there is no partition {name}"))
                .with_detail(format!("The topic has {} partitions.", topic.partitions.len()))
        })
    }

    fn partitions(&self) -> Vec<Arc<Partition>> {
        self.topics().values().flat_map(|topic| topic.partitions.iter().cloned()).collect()
    }
}

fn unknown(topic: &str) -> Error {
    Error::invalid(format!("there is no topic {topic}"))
}

fn check_partitions(name: &str, found: u32, wanted: &TopicSettings) -> Result<()> {
    if found == wanted.partitions {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "topic {name} has {found} partitions, which cannot become {}",
        wanted.partitions
    )))
}
