//! One client's view of a feed: what it has been sent, and the frame that brings it to the newest.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;

use super::collect::LiveResult;
use super::diff::{Change, diff};
use super::feed::News;
use super::protocol::{LiveFrame, Snapshot};
use crate::app::Counters;
use crate::problem::Problem;

/// A subscription.
pub(crate) struct Subscription {
    news: watch::Receiver<News>,
    /// What the client has: the feed's version, and the result.
    sent: Option<(u64, Arc<LiveResult>)>,
    seq: u64,
    counters: Arc<Counters>,
}

/// A frame, ready to be sent.
pub(crate) struct Frame {
    pub(crate) kind: FrameKind,
    /// Number within the subscription; none for errors.
    pub(crate) seq: Option<u64>,
    pub(crate) text: String,
}

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    Snapshot,
    Delta,
    /// An error; the feed goes on.
    Error,
    /// An error; nothing will follow.
    End,
}

impl Subscription {
    pub(crate) fn new(mut news: watch::Receiver<News>, counters: Arc<Counters>) -> Self {
        // What the feed said before is news to this client.
        news.mark_changed();
        Self { news, sent: None, seq: 0, counters }
    }

    /// Waits until there may be a frame.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub(crate) async fn changed(&mut self) {
        // A feed that is gone is news, too.
        let _ = self.news.changed().await;
    }

    /// The frame that brings the client to the newest result, if it is not there; `for_socket`
    /// frames carry the id of their subscription and their number.
    pub(crate) fn frame(&mut self, for_socket: Option<&str>) -> Option<Frame> {
        let is_gone = self.news.has_changed().is_err();
        let news = self.news.borrow_and_update().clone();
        match news {
            News::Failed { problem, retrying } => Some(self.error(&problem, retrying, for_socket)),
            _ if is_gone => {
                let problem = Problem::unavailable("the server is stopping");
                Some(self.error(&problem, false, for_socket))
            }
            News::Pending => None,
            News::Result { version, result, change } => {
                let frame = match &self.sent {
                    None => self.result_frame(&result, &Change::Snapshot, for_socket),
                    Some((sent, _)) if *sent == version => None,
                    Some((sent, _)) if *sent + 1 == version => {
                        self.result_frame(&result, &change, for_socket)
                    }
                    Some((_, old)) => {
                        self.result_frame(&result, &diff(&Arc::clone(old), &result), for_socket)
                    }
                };
                self.sent = Some((version, result));
                frame
            }
        }
    }

    fn result_frame(
        &mut self,
        result: &LiveResult,
        change: &Change,
        for_socket: Option<&str>,
    ) -> Option<Frame> {
        let mut frame = LiveFrame { id: for_socket, ..LiveFrame::default() };
        let kind = match change {
            Change::Nothing => return None,
            Change::Snapshot => {
                frame.snapshot = Some(Snapshot {
                    columns: &result.columns,
                    key: result.key.as_deref(),
                    rows: result.rows.iter().map(|row| &*row.json).collect(),
                });
                FrameKind::Snapshot
            }
            Change::Delta { delete, upsert, order } => {
                frame.delete = delete;
                frame.upsert = upsert;
                frame.order = order.as_deref();
                FrameKind::Delta
            }
        };
        self.seq += 1;
        frame.seq = for_socket.map(|_| self.seq);
        self.counters.live_frames.fetch_add(1, Ordering::Relaxed);
        Some(Frame { kind, seq: Some(self.seq), text: frame.text() })
    }

    fn error(&mut self, problem: &Problem, retrying: bool, for_socket: Option<&str>) -> Frame {
        self.sent = None;
        let kind = if retrying { FrameKind::Error } else { FrameKind::End };
        Frame { kind, seq: None, text: error_text(for_socket, problem, retrying) }
    }
}

/// The frame of an error.
pub(crate) fn error_text(id: Option<&str>, problem: &Problem, retrying: bool) -> String {
    let retrying = Some(retrying);
    LiveFrame { id, error: Some(problem), retrying, ..LiveFrame::default() }.text()
}

#[cfg(test)]
mod tests;
