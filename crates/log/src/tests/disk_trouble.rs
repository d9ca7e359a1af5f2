//! Full disks, failing syncs, slow disks.

use std::io;
use std::sync::Mutex;
use std::task::Poll;

use futures::FutureExt;
use thalweg_core::env::DiskFile;

use super::*;
use crate::Hold;
use crate::partition::UNSYNCED_BYTES_MAX;

#[tokio::test]
async fn a_full_disk_refuses_and_forgets_until_there_is_room() {
    let (disk, log) = fresh(1 << 20).await;
    append_synced(&log, batch(0, &["a"])).await.unwrap();
    // The first batch fits, the second does not.
    let two = [batch(0, &["b"]), batch(0, &["c"])].concat();
    disk.set_capacity(Some(disk.used_bytes() + two.len() as u64 - 1));
    let error = assert_kind(append_synced(&log, two.into()).await, ErrorKind::Unavailable);
    assert!(error.hint.is_some(), "{}", error.chain());
    assert_eq!(bounds(&log).await.log_end, 1);

    disk.set_capacity(None);
    append_synced(&log, batch(0, &["d"])).await.unwrap();
    assert_eq!(values(&log, 0).await, ["a", "d"]);
    drop(log);
    disk.crash();
    assert_eq!(values(&open(&disk).unwrap().0, 0).await, ["a", "d"]);
}

#[tokio::test]
async fn a_log_over_its_budget_refuses_until_retention_makes_room() {
    let (disk, log) = three_segments().await;
    log.hold(&trades(), "checkpoint", Some(0)).await.unwrap();
    log.hold(&trades(), "outbox", Some(3)).await.unwrap();
    let [usage] = &log.usage()[..] else { panic!("there is one partition") };
    assert_eq!(usage.bounds.log_end, 6);
    let hold = Hold { holder: "checkpoint".to_owned(), from: 0 };
    assert_eq!(usage.oldest_hold, Some(hold));
    let segments =
        ["00000000000000000000.log", "00000000000000000002.log", "00000000000000000004.log"]
            .map(|name| disk.read(&file_in_trades(name)).unwrap().len() as u64);
    assert_eq!(usage.bytes, segments.iter().sum::<u64>());

    let more = batch(0, &["more"]);
    let fits = usage.bytes + more.len() as u64;
    log.set_budget(Some(fits));
    append_synced(&log, more.clone()).await.unwrap();
    let error = assert_kind(append_synced(&log, more.clone()).await, ErrorKind::Unavailable);
    let detail = error.detail.unwrap();
    assert!(
        detail.contains(&format!("{fits} of {fits} bytes; of trades.raw-0, checkpoint needs")),
        "{detail}"
    );

    log.hold(&trades(), "checkpoint", None).await.unwrap();
    let removed = log.retain(Timestamp::MAX).unwrap();
    assert_eq!((removed.segments, removed.bytes), (1, segments[0]));
    append_synced(&log, more.clone()).await.unwrap();
    let used = log.usage()[0].bytes;
    drop(log);
    let (log, _) = open(&disk).unwrap();
    assert_eq!(log.usage()[0].bytes, used);
    log.set_budget(Some(used));
    assert_kind(append_synced(&log, more.clone()).await, ErrorKind::Unavailable);
    log.set_budget(None);
    append_synced(&log, more).await.unwrap();
}

#[tokio::test]
async fn a_segment_that_cannot_be_begun_for_want_of_room_is_begun_later() {
    let (disk, log) = fresh(1024).await;
    let long = "x".repeat(1024);
    disk.set_capacity(Some(disk.used_bytes() + batch(0, &[&long]).len() as u64 + 10));
    append_synced(&log, batch(0, &[&long])).await.unwrap();
    assert!(disk.read(&file_in_trades("00000000000000000001.log")).is_err());
    disk.set_capacity(None);
    append_synced(&log, batch(0, &["b"])).await.unwrap();
    assert!(disk.read(&file_in_trades("00000000000000000002.log")).is_ok());
    assert_eq!(values(&log, 1).await, ["b"]);
}

#[tokio::test]
async fn a_failed_sync_is_never_retried() {
    let (disk, log) = fresh(1 << 20).await;
    append_synced(&log, batch(0, &["a"])).await.unwrap();
    let mut failed = pin!(log.failed());
    assert!(poll!(&mut failed).is_pending());

    disk.fail_sync_after(0);
    assert_kind(append_synced(&log, batch(0, &["b"])).await, ErrorKind::Internal);
    // The disk is well again, but who knows what it lost (L5).
    for _ in 0..3 {
        log.sync_group();
        let error = assert_kind(append_synced(&log, batch(0, &["c"])).await, ErrorKind::Internal);
        assert!(error.detail.unwrap().contains("a sync failed in partition trades.raw-0"));
    }
    assert_eq!(bounds(&log).await.high_watermark, 1, "L3");
    assert_eq!(values(&log, 0).await, ["a"]);
    let Poll::Ready(failed) = poll!(&mut failed) else { panic!("it has failed") };
    assert_eq!(failed.kind, ErrorKind::Internal);
    assert_kind(log.sync().await, ErrorKind::Internal);
    assert_kind(log.create_topic("other", &settings(1024)).await, ErrorKind::Internal);
}

/// The system believes that what it could not write is written, and goes on showing it. A restart
/// of the process alone must not take that for stable.
#[tokio::test]
async fn after_a_failed_sync_and_a_restart_the_log_is_really_on_the_disk() {
    for seed in 0..20 {
        let disk = MemDisk::new(seed);
        let (log, _) = open(&disk).unwrap();
        log.create_topic("trades.raw", &settings(1 << 20)).await.unwrap();
        disk.fail_sync_after(0);
        assert_kind(append_synced(&log, batch(0, &["a"])).await, ErrorKind::Internal);
        drop(log);
        let (log, _) = open(&disk).unwrap();
        let shown = values(&log, 0).await;
        append_synced(&log, batch(0, &["b"])).await.unwrap();
        drop(log);
        disk.crash();
        let (log, recovery) = open(&disk).unwrap();
        assert_eq!(recovery, Recovery::default());
        assert_eq!(values(&log, 0).await, [shown, vec!["b".to_owned()]].concat());
    }
}

/// What is appended between the last sync of a segment and its end is synced before the next one
/// has a name.
#[tokio::test]
async fn an_append_while_a_segment_is_closed_is_not_left_behind() {
    for seed in 0..20 {
        let disk = MemDisk::new(seed);
        let busy = Arc::new(BusyDisk { disk: disk.clone(), at_next_segment: Mutex::default() });
        let (log, _) = EmbeddedLog::open_without_thread(Arc::clone(&busy) as _, FOLDER).unwrap();
        let log = Arc::new(log);
        log.create_topic("trades.raw", &settings(1024)).await.unwrap();
        *busy.at_next_segment.lock().unwrap() = Some(Box::new({
            let log = Arc::clone(&log);
            move || {
                let appended = append_buffered(&log, batch(0, &["late"])).now_or_never();
                assert!(appended.expect("nobody holds the lock").is_ok());
            }
        }));
        let full = "x".repeat(1024);
        append_synced(&log, batch(0, &[&full])).await.unwrap();
        assert!(busy.at_next_segment.lock().unwrap().is_none(), "a segment was begun");
        assert_eq!(bounds(&log).await.high_watermark, 2);
        disk.crash();
        assert_eq!(values(&open(&disk).unwrap().0, 1).await, ["late"]);
    }
}

/// A disk on which something happens when a segment is begun.
struct BusyDisk {
    disk: MemDisk,
    at_next_segment: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Disk for BusyDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.disk.list(path)
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn DiskFile>> {
        if path.ends_with("next.tmp")
            && let Some(act) = self.at_next_segment.lock().unwrap().take()
        {
            act();
        }
        self.disk.open(path, create)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.disk.read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }
}

#[tokio::test]
async fn an_append_too_far_ahead_of_the_disk_waits() {
    let (_, log) = fresh(1 << 30).await;
    let megabyte = encode(&[record(0, vec![b'x'; 1 << 20])]).unwrap();
    let many = megabyte.repeat(UNSYNCED_BYTES_MAX as usize >> 20);
    append_buffered(&log, many.into()).await.unwrap();
    let partition = trades();
    let mut append = pin!(log.append(&partition, batch(0, &["a"]), Durability::Buffered));
    assert!(poll!(&mut append).is_pending());
    log.sync_group();
    assert!(poll!(&mut append).is_ready());
}
