//! The folder of a table as a store of its own, as the Delta library wants one.
//!
//! It sees to two things. Every call ends: a store that does not answer in time is unavailable
//! (S25). And what is listed from a name onwards comes in order, which the library
//! counts on and not every store gives.
//!
//! Not here: how a file becomes durable (`storage`), and how a store is reached.

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _, TryFutureExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    Result, UploadPart,
};

/// A folder of a store.
#[derive(Debug)]
pub(crate) struct Rooted {
    store: PrefixStore<Arc<dyn ObjectStore>>,
    wait: Wait,
}

impl Rooted {
    /// The folder `folder` of a store; `url` is its name in messages, `patience` the longest wait for
    /// an answer.
    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        folder: Path,
        url: &str,
        patience: Duration,
    ) -> Self {
        let wait = Wait { url: url.into(), patience };
        Self { store: PrefixStore::new(store, folder), wait }
    }
}

/// For whose answer it is waited, and how long.
#[derive(Clone, Debug)]
struct Wait {
    url: Arc<str>,
    patience: Duration,
}

impl Wait {
    /// Waits for an answer.
    async fn one<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let answer = tokio::time::timeout(self.patience, call).await;
        answer.unwrap_or_else(|_| Err(self.silent()))
    }

    /// Waits for each item of a stream; one that does not come is an error, and the last.
    fn each<T: Send + 'static>(
        &self,
        items: BoxStream<'static, Result<T>>,
    ) -> BoxStream<'static, Result<T>> {
        let wait = self.clone();
        let items = stream::unfold(Some(items), move |items| {
            let wait = wait.clone();
            async move {
                let mut items = items?;
                match tokio::time::timeout(wait.patience, items.next()).await {
                    Ok(item) => Some((item?, Some(items))),
                    Err(_) => Some((Err(wait.silent()), None)),
                }
            }
        });
        items.fuse().boxed()
    }

    fn silent(&self) -> Error {
        let source =
            format!("{} does not answer: nothing came within {:?}", self.url, self.patience);
        Error::Generic { store: "tables", source: source.into() }
    }
}

impl fmt::Display for Rooted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.wait.url)
    }
}

#[async_trait]
impl ObjectStore for Rooted {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.wait.one(self.store.put_opts(location, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.wait.one(self.store.put_multipart_opts(location, options)).await?;
        Ok(Box::new(Upload { upload, wait: self.wait.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let mut found = self.wait.one(self.store.get_opts(location, options)).await?;
        if let GetResultPayload::Stream(bytes) = found.payload {
            found.payload = GetResultPayload::Stream(self.wait.each(bytes));
        }
        Ok(found)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.wait.one(self.store.get_ranges(location, ranges)).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.wait.each(self.store.delete_stream(locations))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.wait.each(self.store.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let objects = self.wait.each(self.store.list_with_offset(prefix, offset));
        let objects = objects.try_collect().map_ok(|mut objects: Vec<ObjectMeta>| {
            objects.sort_unstable_by(|a, b| a.location.cmp(&b.location));
            stream::iter(objects.into_iter().map(Ok))
        });
        objects.try_flatten_stream().fuse().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.wait.one(self.store.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.wait.one(self.store.copy_opts(from, to, options)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.wait.one(self.store.rename_opts(from, to, options)).await
    }
}

/// An object written in parts.
#[derive(Debug)]
struct Upload {
    upload: Box<dyn MultipartUpload>,
    wait: Wait,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, payload: PutPayload) -> UploadPart {
        let (part, wait) = (self.upload.put_part(payload), self.wait.clone());
        async move { wait.one(part).await }.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.wait.one(self.upload.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.wait.one(self.upload.abort()).await
    }
}

#[cfg(test)]
mod tests;
