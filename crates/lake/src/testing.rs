//! Stores that fail on demand, for the tests of both kinds of tables.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

/// A store that answers a number of calls, and none after that.
#[derive(Debug)]
pub(crate) struct Dying {
    store: Arc<dyn ObjectStore>,
    calls_left: AtomicI64,
    // Whether the last call is carried out, and only its answer lost.
    loses_the_answer: bool,
}

impl Dying {
    /// A store that carries out `calls`, and of the next one loses the answer or the whole.
    pub(crate) fn after(calls: i64, loses_the_answer: bool, store: Arc<dyn ObjectStore>) -> Self {
        Self { store, calls_left: AtomicI64::new(calls), loses_the_answer }
    }

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

/// A store whose answer to an object put if absent is lost each time, so that its client tries again
/// and is told that there is one.
#[derive(Debug)]
pub(crate) struct Repeating(pub(crate) Arc<dyn ObjectStore>);

impl fmt::Display for Repeating {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a store that is asked twice")
    }
}

#[async_trait]
impl ObjectStore for Repeating {
    async fn put_opts(&self, at: &Path, bytes: PutPayload, how: PutOptions) -> Result<PutResult> {
        if matches!(how.mode, PutMode::Create) {
            self.0.put_opts(at, bytes.clone(), how.clone()).await?;
        }
        self.0.put_opts(at, bytes, how).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(at, how).await
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        self.0.get_opts(at, how).await
    }

    async fn get_ranges(&self, at: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.0.get_ranges(at, ranges).await
    }

    fn delete_stream(
        &self,
        places: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(places)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, how).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, how: RenameOptions) -> Result<()> {
        self.0.rename_opts(from, to, how).await
    }
}
