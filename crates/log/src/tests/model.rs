//! Random lives of a partition against a model that is a list: appends, group commits, segments,
//! retention, full disks, failed syncs, crashes at any operation, and recovery after each.
//!
//! One seed decides everything, as the flusher runs when the test says so. After every crash the
//! log must hold, once, in order and byte for byte, what it had acknowledged as synced or shown to
//! a reader, and beyond that only what was really appended.

use std::collections::BTreeMap;
use std::task::Poll;

use futures::future::LocalBoxFuture;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use thalweg_core::log::Fetched;
use thalweg_core::records::{BatchHeader, batches};
use thalweg_sim::for_each_seed;

use super::*;

const STEPS: usize = 120;

#[test]
fn a_log_keeps_its_promises_through_any_life() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for_each_seed(200, |seed| runtime.block_on(Life::live(seed)));
}

/// A log, and what must be true of it.
struct Life {
    disk: MemDisk,
    rng: SmallRng,
    log: Arc<EmbeddedLog>,
    /// Every batch that was taken, as it must be in the log, by base offset.
    batches: BTreeMap<Offset, Bytes>,
    /// Batches of appends that failed, or will be refused once that is durable: until then a crash
    /// may leave them in the log, in place of later ones.
    ghosts: Vec<(Offset, Bytes)>,
    /// Times of the records, by offset.
    times_ms: BTreeMap<Offset, i64>,
    /// Offset of the next record.
    end: Offset,
    /// Records below this one were promised: acknowledged as synced, or below a high watermark.
    promised: Offset,
    log_start: Offset,
    hold: Option<Offset>,
    /// Appends that wait for a sync.
    waiting: Vec<Waiting>,
    /// The partition takes no more appends in this process.
    failed: bool,
    /// A sync will fail, perhaps one of opening the log.
    sync_may_fail: bool,
    now_ms: i64,
    appended: u64,
}

/// An append that waits for a sync.
struct Waiting {
    future: LocalBoxFuture<'static, Result<OffsetSpan>>,
    /// What it will have taken; none if it is refused because the disk is full.
    span: Option<OffsetSpan>,
}

impl Life {
    async fn live(seed: u64) {
        let disk = MemDisk::new(seed);
        let (log, _) = open(&disk).unwrap();
        let settings = TopicSettings {
            retention_age: Some(Duration::from_secs(60)),
            retention_bytes: Some(20_000),
            ..settings(3000)
        };
        log.create_topic("trades.raw", &settings).await.unwrap();
        let mut life = Self {
            disk,
            rng: SmallRng::seed_from_u64(seed),
            log,
            batches: BTreeMap::new(),
            ghosts: Vec::new(),
            times_ms: BTreeMap::new(),
            end: 0,
            promised: 0,
            log_start: 0,
            hold: None,
            waiting: Vec::new(),
            failed: false,
            sync_may_fail: false,
            now_ms: 0,
            appended: 0,
        };
        for _ in 0..STEPS {
            life.step().await;
        }
        life.crash().await;
    }

    async fn step(&mut self) {
        self.now_ms += self.rng.random_range(0..2000);
        match self.rng.random_range(0..100) {
            0..45 => self.append().await,
            45..65 => self.sync_group().await,
            65..75 => self.fetch().await,
            75..78 => self.find_time().await,
            78..82 => self.retain().await,
            82..85 => self.change_hold().await,
            85..88 => {
                let room = self.rng.random_range(0..2000);
                self.disk.set_capacity(Some(self.disk.used_bytes() + room));
            }
            88..93 => self.disk.set_capacity(None),
            93 => {
                self.disk.fail_sync_after(self.rng.random_range(0..4));
                self.sync_may_fail = true;
            }
            94..96 => self.disk.cut_power_after(self.rng.random_range(0..12)),
            96..98 => self.crash().await,
            _ if self.disk.is_power_off() => self.crash().await,
            _ => self.restart().await,
        }
        self.check_bounds().await;
        if self.failed && self.rng.random_bool(0.3) {
            self.crash().await;
        }
    }

    async fn append(&mut self) {
        let (first, mut sent, mut stamped) = (self.end, Vec::new(), Vec::new());
        let mut end = first;
        for _ in 0..self.rng.random_range(1..=3) {
            let records = self.records();
            let bytes = encode(&records).unwrap();
            sent.extend_from_slice(&bytes);
            let mut expected = bytes.to_vec();
            BatchHeader::stamp(&mut expected, end, 0);
            stamped.push((end, Bytes::from(expected)));
            end += records.len() as i64;
        }

        let synced = self.rng.random_bool(0.6);
        let durability = if synced { Durability::Synced } else { Durability::Buffered };
        let (log, sent) = (Arc::clone(&self.log), Bytes::from(sent));
        let mut future: LocalBoxFuture<'static, _> =
            Box::pin(async move { log.append(&trades(), sent, durability).await });
        let polled = poll!(&mut future);

        let span = OffsetSpan { first, last: end - 1 };
        self.end = bounds(&self.log).await.log_end;
        let taken = self.end == end;
        assert!(taken || self.end == first, "an append is one unit");
        match polled {
            Poll::Ready(Ok(found)) => {
                assert!(!synced, "L2: nothing has synced it");
                assert!(taken && found == span, "L1: {found:?}");
            }
            Poll::Ready(Err(error)) => {
                assert!(!taken && error.kind == ErrorKind::Internal, "{}", error.chain());
                self.failed = true;
            }
            Poll::Pending => {
                self.waiting.push(Waiting { future, span: taken.then_some(span) });
            }
        }
        if taken {
            self.note_times(&stamped);
            self.batches.extend(stamped);
        } else {
            self.ghosts.extend(stamped);
        }
    }

    fn note_times(&mut self, stamped: &[(Offset, Bytes)]) {
        for (_, batch) in stamped {
            let records = decode(batch).unwrap().into_iter();
            self.times_ms
                .extend(records.map(|found| (found.offset, found.record.timestamp.millis())));
        }
    }

    /// One batch's records, each with a value of its own.
    fn records(&mut self) -> Vec<Record> {
        (0..self.rng.random_range(1..=4))
            .map(|_| {
                self.appended += 1;
                let filler = if self.rng.random_bool(0.1) { 0..3000 } else { 0..200 };
                let filler = self.rng.random_range(filler);
                let value = format!("{} {}", self.appended, "x".repeat(filler));
                record(self.now_ms - self.rng.random_range(0..500), value)
            })
            .collect()
    }

    /// One turn of the flusher: everything that waited gets its answer.
    async fn sync_group(&mut self) {
        self.log.sync_group();
        for mut waiting in std::mem::take(&mut self.waiting) {
            let Poll::Ready(answer) = poll!(&mut waiting.future) else {
                panic!("an append is left without an answer");
            };
            match (answer, waiting.span) {
                (Ok(found), Some(span)) => {
                    assert_eq!(found, span, "L1");
                    self.promised = self.promised.max(span.last + 1);
                    let seen = bounds(&self.log).await;
                    assert!(seen.high_watermark > span.last, "L3: {seen:?} after {span:?}");
                }
                (Err(error), None) if error.kind == ErrorKind::Unavailable => self.ghosts.clear(),
                (Err(error), _) if error.kind == ErrorKind::Internal => self.failed = true,
                (answer, span) => panic!("{answer:?} for {span:?}"),
            }
        }
    }

    async fn fetch(&mut self) {
        let seen = bounds(&self.log).await;
        let from = self.rng.random_range(seen.log_start..=seen.log_end);
        let bytes_max = self.rng.random_range(0..4000);
        let fetched = match self.log.fetch(&trades(), from, limit(bytes_max)).await {
            Err(_) if self.disk.is_power_off() => return,
            fetched => fetched.unwrap(),
        };
        assert_eq!(fetched.batches.is_empty(), from >= seen.high_watermark);
        assert!(fetched.next <= seen.high_watermark.max(from), "L3");
        self.check_fetched(from, &fetched);
    }

    /// Whether the batches are those of the model, from the one that holds `from` (L4).
    fn check_fetched(&self, from: Offset, fetched: &Fetched) {
        let mut next = from;
        for batch in batches(&fetched.batches) {
            let batch = batch.unwrap();
            let base = batch.header.base_offset;
            assert!(base <= next && next < batch.header.next_offset(), "no hole at {next}");
            let expected = self.batches.get(&base).expect("nothing is invented");
            assert_eq!(batch.bytes, expected, "L4: the batch at {base}");
            next = batch.header.next_offset();
        }
        assert_eq!(fetched.next, next);
    }

    async fn find_time(&mut self) {
        let time_ms = self.rng.random_range(0..=self.now_ms);
        let found = match self.log.offset_at(&trades(), Timestamp::from_millis(time_ms)).await {
            Err(_) if self.disk.is_power_off() => return,
            found => found.unwrap(),
        };
        let seen = bounds(&self.log).await;
        let mut visible = self.times_ms.range(seen.log_start..seen.high_watermark);
        let expected = visible.find(|(_, time)| **time >= time_ms).map(|(offset, _)| *offset);
        assert_eq!(found, expected, "the first at or after {time_ms} ms");
    }

    /// What may go is tested beside the decision; here, that nothing else does.
    async fn retain(&mut self) {
        if let Err(error) = self.log.retain(Timestamp::from_millis(self.now_ms)) {
            self.failed |= error.kind == ErrorKind::Internal;
            assert!(self.failed || self.disk.is_power_off(), "{}", error.chain());
        }
    }

    async fn change_hold(&mut self) {
        let seen = bounds(&self.log).await;
        let from = self.rng.random_range(seen.log_start..=seen.log_end);
        self.hold = self.rng.random_bool(0.7).then_some(from);
        self.log.hold(&trades(), "test", self.hold).await.unwrap();
    }

    async fn check_bounds(&mut self) {
        let seen = bounds(&self.log).await;
        assert!(seen.log_start <= seen.high_watermark && seen.high_watermark <= seen.log_end);
        assert!(seen.high_watermark >= self.promised, "L3: it never goes back");
        assert_eq!(seen.log_end, self.end, "L1");
        assert!(self.hold.is_none_or(|from| seen.log_start <= from), "S26: a hold holds");
        self.log_start = seen.log_start;
        self.promised = seen.high_watermark;
    }

    /// The process is killed; the system's memory lives on.
    async fn restart(&mut self) {
        let end = self.end;
        let power_failed = self.reopen().await;
        assert!(power_failed || self.end >= end, "only a power cut loses anything");
    }

    /// The power fails.
    async fn crash(&mut self) {
        self.disk.crash();
        self.reopen().await;
    }

    /// Opens the log and compares all of it with the model. The power may fail on the way; returns
    /// whether it did.
    async fn reopen(&mut self) -> bool {
        self.waiting.clear();
        if self.rng.random_bool(0.2) {
            self.disk.cut_power_after(self.rng.random_range(0..8));
        }
        let mut power_failed = false;
        self.log = loop {
            let opened = open(&self.disk);
            if self.disk.is_power_off() {
                self.disk.crash();
                power_failed = true;
                continue;
            }
            match opened {
                Ok((log, recovery)) => {
                    assert_eq!(recovery.left_alone, Vec::<PathBuf>::new());
                    break log;
                }
                Err(error) => {
                    let expected = std::mem::take(&mut self.sync_may_fail);
                    assert!(expected, "{}", error.chain());
                }
            }
        };

        let seen = bounds(&self.log).await;
        assert_eq!(seen.high_watermark, seen.log_end, "what recovery finds is stable");
        assert!(seen.log_end >= self.promised, "L2: {} promised, {seen:?}", self.promised);
        assert!(seen.log_start <= self.log_start, "nothing is gone that retention kept");
        let found = self.read_everything(seen).await;
        self.batches.split_off(&seen.log_start);
        self.times_ms.split_off(&seen.log_start);
        self.note_times(&found);
        self.batches.extend(found);
        self.ghosts.clear();
        (self.end, self.promised, self.log_start) = (seen.log_end, seen.log_end, seen.log_start);
        (self.hold, self.failed) = (None, false);
        power_failed
    }

    /// All batches, each of which was appended at its place.
    async fn read_everything(&self, seen: OffsetBounds) -> Vec<(Offset, Bytes)> {
        let mut found = Vec::new();
        let mut next = seen.log_start;
        while next < seen.log_end {
            let fetched = self.log.fetch(&trades(), next, limit(1 << 20)).await.unwrap();
            for batch in batches(&fetched.batches) {
                let batch = batch.unwrap();
                let base = batch.header.base_offset;
                assert_eq!(base, next, "L1: no hole, nothing twice");
                let bytes = fetched.batches.slice_ref(batch.bytes);
                let is_ghost =
                    || base >= self.promised && self.ghosts.contains(&(base, bytes.clone()));
                let taken = self.batches.get(&base) == Some(&bytes);
                assert!(taken || is_ghost(), "L4: nobody appended the batch at {base}");
                next = batch.header.next_offset();
                found.push((base, bytes));
            }
            assert_eq!(fetched.next, next);
        }
        found
    }
}
