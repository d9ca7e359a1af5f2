//! A process that dies at any call to its store, and the one that comes after it: each row is there
//! once, and nothing of the dead one stays.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use proptest::prelude::*;

use super::*;
use crate::storage;

/// A store that answers a number of calls, and none after that.
#[derive(Debug)]
struct Dying {
    store: Arc<dyn ObjectStore>,
    calls_left: AtomicI64,
    // Whether the last call is carried out, and only its answer lost.
    loses_the_answer: bool,
}

impl Dying {
    /// Whether a call is carried out, and whether it is answered.
    fn judge(&self) -> (bool, bool) {
        match self.calls_left.fetch_sub(1, Ordering::SeqCst) {
            1.. => (true, true),
            0 => (self.loses_the_answer, false),
            _ => (false, false),
        }
    }

    async fn call<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let (is_done, is_answered) = self.judge();
        let done = if is_done { Some(call.await) } else { None };
        done.filter(|_| is_answered).unwrap_or_else(|| Err(dead()))
    }
}

fn dead() -> object_store::Error {
    object_store::Error::Generic { store: "dying", source: "the process is dead".into() }
}

impl fmt::Display for Dying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a store that dies")
    }
}

#[async_trait]
impl ObjectStore for Dying {
    async fn put_opts(&self, at: &Path, bytes: PutPayload, how: PutOptions) -> Result<PutResult> {
        self.call(self.store.put_opts(at, bytes, how)).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.call(self.store.put_multipart_opts(at, how)).await
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        self.call(self.store.get_opts(at, how)).await
    }

    async fn get_ranges(&self, at: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.store.get_ranges(at, ranges).await
    }

    fn delete_stream(
        &self,
        places: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        match self.judge() {
            (true, true) => self.store.delete_stream(places),
            _ => futures::stream::once(async { Err(dead()) }).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.call(self.store.copy_opts(from, to, how)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, how: RenameOptions) -> Result<()> {
        self.call(self.store.rename_opts(from, to, how)).await
    }
}

const EPOCHS: u64 = 6;

fn of_epoch(epoch: u64) -> RecordBatch {
    let first = epoch as i64 * 10;
    // Of two days, so that a commit has several files.
    let (of_one, of_next) = (rows(0, first..first + 3), rows(1, first + 3..first + 5));
    arrow::compute::concat_batches(&schema(), [&of_one, &of_next]).unwrap()
}

/// Writes what the stamp lacks, two epochs a commit, until it is done or the store is dead.
async fn live(table: &FileTable) -> thalweg_core::Result<()> {
    let mut sink = table.sink()?;
    let held = sink.open().await?.map_or(0, |stamp| stamp.epoch);
    for epoch in held + 1..=EPOCHS {
        sink.write(epoch, &of_epoch(epoch)).await?;
        if epoch % 2 == 0 {
            sink.commit(&stamp(epoch)).await?;
        }
    }
    Ok(())
}

async fn die_and_live(store: Arc<dyn ObjectStore>, folder: &str, lives: &[(i64, bool)]) {
    let open = |store: Arc<dyn ObjectStore>| {
        let place = Place::of(store, folder, "test").unwrap();
        FileTable::new(&env(), place, "trades", &schema(), options(Format::Csv { delimiter: b',' }))
            .unwrap()
    };
    for (calls, loses_the_answer) in lives {
        let calls_left = AtomicI64::new(*calls);
        let dying = Dying { store: store.clone(), calls_left, loses_the_answer: *loses_the_answer };
        let _ = live(&open(Arc::new(dying))).await;
    }
    let table = open(store.clone());
    live(&table).await.unwrap();
    let expected: Vec<i64> =
        (1..=EPOCHS).flat_map(|it| it as i64 * 10..it as i64 * 10 + 5).collect();
    assert_eq!(ids(&table).await, expected, "S9: {lives:?}");
    let mut sink = open(store).sink().unwrap();
    sink.open().await.unwrap();
    assert_eq!(sink.total().unwrap().rows(), EPOCHS * 5, "S12: {lives:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_may_die_at_any_call() {
    for calls in 0..60 {
        for loses_the_answer in [false, true] {
            die_and_live(memory(), "lake/t", &[(calls, loses_the_answer)]).await;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn processes_may_die_one_after_the_other(
        lives in prop::collection::vec((0_i64..25, any::<bool>()), 1..6)
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(die_and_live(memory(), "lake/t", &lives));
        let folder = tempfile::tempdir().unwrap();
        let (store, path) = storage::folder(folder.path().to_str().unwrap()).unwrap();
        runtime.block_on(die_and_live(store, path.as_ref(), &lives));
    }
}
