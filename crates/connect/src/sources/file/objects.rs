//! Files in a store of objects: S3, HDFS, HTTP.
//!
//! What is read one piece after the other is read from one request that stays open, so an object of
//! any size costs a request or two, and a server that knows no ranges serves as well. A request
//! that breaks off is made once more, from where it was. Every wait ends after [`PATIENCE`] (S25).
//!
//! Not here: what a store is called and how it is reached (`stores`).

pub(super) mod http;
pub(super) mod stores;

use std::io;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use thalweg_core::error::{Error, Result};
use tokio::sync::Mutex;

use super::files::{Files, Listed, Part, ReadError, Watched};

/// Longest wait for an answer, and between two parts of it.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Objects that one source may list.
pub(super) const LISTED_MAX: usize = 1_000_000;

/// A store of objects, by their paths in messages and manifests.
#[async_trait]
pub(super) trait Objects: Send + Sync {
    /// The objects that match, by path.
    async fn list(&self) -> Result<Vec<Listed>>;

    /// Length and tag of an object.
    async fn look(&self, path: &str) -> Result<Look, ReadError>;

    /// The bytes of an object in `range`, which begins before its end; as it is when asked.
    async fn open(&self, path: &str, range: Range<u64>) -> Result<Opened, ReadError>;
}

/// Length and tag of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) size: u64,
    pub(super) tag: Option<String>,
}

/// The bytes of an object, as they come.
pub(super) struct Opened {
    pub(super) look: Look,
    pub(super) bytes: BoxStream<'static, io::Result<Bytes>>,
}

/// Reads objects as files are read.
pub(super) struct ObjectFiles<O> {
    objects: O,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    // The request that stays open.
    open: Option<Open>,
    // Where the last read of an object ended.
    last: Option<(String, u64)>,
}

struct Open {
    path: String,
    at: u64,
    look: Look,
    rest: Bytes,
    bytes: BoxStream<'static, io::Result<Bytes>>,
}

impl Open {
    /// Appends to `buffer` until it has `length` bytes or the object ends.
    async fn fill(&mut self, buffer: &mut BytesMut, length: usize) -> Result<(), ReadError> {
        while buffer.len() < length && self.at < self.look.size {
            if self.rest.is_empty() {
                let next = tokio::time::timeout(PATIENCE, self.bytes.next()).await;
                let next = next.map_err(|_| unavailable(&self.path, "no more of it came"))?;
                self.rest = match next {
                    Some(Ok(bytes)) => bytes,
                    Some(Err(error)) => return Err(unavailable(&self.path, error)),
                    None => return Err(unavailable(&self.path, "the answer was cut off")),
                };
                continue;
            }
            let left = usize::try_from(self.look.size - self.at).unwrap_or(usize::MAX);
            let taken = self.rest.len().min(length - buffer.len()).min(left);
            buffer.extend_from_slice(&self.rest[..taken]);
            self.rest.advance(taken);
            self.at += taken as u64;
        }
        Ok(())
    }
}

/// It cannot be read now, and why.
pub(super) fn unavailable(
    path: &str,
    why: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> ReadError {
    ReadError::Unavailable(Error::unavailable(format!("cannot read {path}")).with_source(why))
}

impl<O: Objects> ObjectFiles<O> {
    pub(super) fn new(objects: O) -> Self {
        Self { objects, state: Mutex::default() }
    }

    async fn look(&self, path: &str) -> Result<Look, ReadError> {
        let looked = tokio::time::timeout(PATIENCE, self.objects.look(path)).await;
        looked.map_err(|_| unavailable(path, "no answer came"))?
    }

    async fn open(&self, path: &str, range: Range<u64>) -> Result<Open, ReadError> {
        let at = range.start;
        let opened = tokio::time::timeout(PATIENCE, self.objects.open(path, range)).await;
        let Opened { look, bytes } = opened.map_err(|_| unavailable(path, "no answer came"))??;
        Ok(Open { path: path.to_owned(), at, look, rest: Bytes::new(), bytes })
    }

    /// Reads a range by a request of its own.
    async fn once(&self, path: &str, range: Range<u64>) -> Result<Bytes, ReadError> {
        let mut buffer = BytesMut::new();
        if !range.is_empty() {
            let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
            self.open(path, range).await?.fill(&mut buffer, length).await?;
        }
        Ok(buffer.freeze())
    }

    /// Goes on with the open request, or makes one.
    async fn piece(
        &self,
        state: &mut State,
        path: &str,
        range: &Range<u64>,
        buffer: &mut BytesMut,
    ) -> Result<Look, ReadError> {
        let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        buffer.clear();
        let kept = state.open.take();
        if let Some(mut open) = kept.filter(|open| open.path == path && open.at == range.start) {
            // At its end it is looked at anew: it may have grown.
            if open.at < open.look.size && open.fill(buffer, length).await.is_ok() {
                let look = open.look.clone();
                state.open = Some(open);
                return Ok(look);
            }
            buffer.clear();
        }
        let look = self.look(path).await?;
        if range.start >= look.size {
            return Ok(look);
        }
        let is_next =
            state.last.as_ref().is_some_and(|(last, at)| last == path && *at == range.start);
        let end = if is_next { look.size } else { range.end.min(look.size) };
        let mut open = self.open(path, range.start..end).await?;
        let known = open.look.clone();
        open.look.size = end.min(known.size);
        open.fill(buffer, length).await?;
        if is_next {
            open.look.size = known.size;
            state.open = Some(open);
        }
        Ok(known)
    }
}

#[async_trait]
impl<O: Objects> Files for ObjectFiles<O> {
    async fn list(&self) -> Result<Vec<Listed>> {
        let listed = tokio::time::timeout(PATIENCE, self.objects.list()).await;
        let mut listed = listed.map_err(|_| {
            Error::unavailable("the files of the source cannot be listed")
                .with_detail(format!("No answer came within {} s.", PATIENCE.as_secs()))
        })??;
        listed.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(listed)
    }

    async fn read(
        &self,
        path: &str,
        range: Range<u64>,
        watched: Watched<'_>,
        mut buffer: BytesMut,
    ) -> Result<Part, ReadError> {
        buffer.clear();
        let look = if range.is_empty() {
            self.look(path).await?
        } else {
            let mut state = self.state.lock().await;
            let look = self.piece(&mut state, path, &range, &mut buffer).await?;
            state.last = Some((path.to_owned(), range.start + buffer.len() as u64));
            look
        };
        let watched = if watched.is_same(look.tag.as_deref()) {
            None
        } else {
            let [head, tail] = watched.ranges;
            let within = |range: Range<u64>| range.start.min(look.size)..range.end.min(look.size);
            Some([self.once(path, within(head)).await?, self.once(path, within(tail)).await?])
        };
        Ok(Part { data: buffer.freeze(), size: look.size, tag: look.tag, watched })
    }
}
