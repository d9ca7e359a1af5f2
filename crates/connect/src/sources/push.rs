//! Records that others post: JSON values, or one message of another format, journaled before they
//! are answered (S0, S7).
//!
//! Whoever posts has done its part when [`PushDoor::accept`] has returned: the records are on stable
//! storage, all of one call as one unit. One that was not answered may be there; it is up to whoever
//! posts to send it again, and to `unique` to find it.
//!
//! Invariant: nothing else appends to the partition. Not here: HTTP, and who may post.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;
use thalweg_core::env::{Clock, Env};
use thalweg_core::frame::{FRAME_BYTES_MAX, Frame};
use thalweg_core::log::{Durability, Log, OffsetSpan};
use thalweg_core::records::encode_frames;
use thalweg_core::time::Timestamp;
use thalweg_core::topic::TopicPartition;
use thalweg_core::{Error, Result};
use tokio::sync::Mutex;

use crate::feed::{FeedState, FeedStatus, last_frame};

/// Most records of one call.
const RECORDS_MAX: usize = 100_000;

/// What a body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// A JSON value, or an array of them: a record each.
    Json,
    /// One record, of whatever bytes.
    Message,
}

/// Where records of one source come in.
pub struct PushDoor {
    source: String,
    body: Body,
    log: Arc<dyn Log>,
    partition: TopicPartition,
    clock: Clock,
    status: Arc<FeedStatus>,
    // Nothing in the partition was received later.
    received_at: Mutex<Timestamp>,
}

impl PushDoor {
    /// The door of `source`; the topic exists.
    pub fn new(
        source: &str,
        body: Body,
        log: Arc<dyn Log>,
        partition: TopicPartition,
        env: &Env,
        status: Arc<FeedStatus>,
    ) -> Self {
        status.connected(env.clock.now(), true);
        status.enter(FeedState::Live);
        Self {
            source: source.to_owned(),
            body,
            log,
            partition,
            clock: env.clock.clone(),
            status,
            received_at: Mutex::new(Timestamp::MIN),
        }
    }

    /// Takes the records of a body, and returns the offsets they took; none for an empty array.
    ///
    /// # Errors
    ///
    /// `Data` when it is no JSON, where that is what it should be, or nothing at all; `Invalid` when it holds too much; `Unavailable` while the source
    /// is paused, or the log has no room.
    pub async fn accept(&self, body: &[u8]) -> Result<Option<OffsetSpan>> {
        let records = match self.body {
            Body::Json => records(body)?,
            Body::Message => vec![message(body)?],
        };
        if records.is_empty() {
            return Ok(None);
        }
        if self.status.is_paused() {
            return Err(Error::unavailable(format!("source `{}` is paused", self.source)));
        }
        // Held over the append: what was received later stands later.
        let mut last = self.received_at.lock().await;
        if *last == Timestamp::MIN {
            // Of an earlier life (S1).
            let newest = last_frame(self.log.as_ref(), &self.partition).await?;
            *last = newest.map_or(Timestamp::MIN, |newest| newest.received_at);
        }
        let received_at = self.clock.now().max(*last);
        let frames: Vec<Frame> =
            records.into_iter().map(|bytes| Frame { received_at, connection: 0, bytes }).collect();
        let span = self.log.append(&self.partition, encode_frames(&frames)?, Durability::Synced);
        let span = span.await?;
        *last = received_at;
        let bytes = frames.iter().map(|frame| frame.bytes.len() as u64).sum();
        self.status.received(frames.len() as u64, bytes, 0, received_at);
        Ok(Some(span))
    }
}

/// The values of a body, each as it was written.
fn records(body: &[u8]) -> Result<Vec<Bytes>> {
    let broken = |error: serde_json::Error| {
        Error::data("the body is no JSON").with_detail(format!("{error}."))
    };
    let is_array = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let values: Vec<&RawValue> = match is_array {
        true => serde_json::from_slice(body).map_err(broken)?,
        false => vec![serde_json::from_slice(body).map_err(broken)?],
    };
    if values.len() > RECORDS_MAX {
        return Err(Error::invalid(format!("a body holds {RECORDS_MAX} records at most")));
    }
    if values.iter().any(|value| value.get().len() > FRAME_BYTES_MAX) {
        return Err(Error::invalid(format!("a record has {FRAME_BYTES_MAX} bytes at most")));
    }
    Ok(values.iter().map(|value| Bytes::copy_from_slice(value.get().as_bytes())).collect())
}

/// A body that is one record.
fn message(body: &[u8]) -> Result<Bytes> {
    match body.len() {
        0 => Err(Error::data("the body is empty").with_hint("A post is one message.")),
        1..=FRAME_BYTES_MAX => Ok(Bytes::copy_from_slice(body)),
        _ => Err(Error::invalid(format!("a record has {FRAME_BYTES_MAX} bytes at most"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_a_value_or_an_array_of_them() {
        let check = |body: &str, expected: &[&str]| {
            let found = records(body.as_bytes()).expect("JSON");
            let found: Vec<&str> =
                found.iter().map(|it| std::str::from_utf8(it).expect("text")).collect();
            assert_eq!(found, expected);
        };
        check(r#"{"a": 1.10}"#, &[r#"{"a": 1.10}"#]);
        check(r#" [{"a":1}, [2], 3 ]"#, &[r#"{"a":1}"#, "[2]", "3"]);
        check("[]", &[]);
        for wrong in ["", "{", "[1,]", "{} {}", "\u{feff}{}"] {
            assert!(records(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
