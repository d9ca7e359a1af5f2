//! The WebSocket of a tab: many subscriptions, one frame at a time.
//!
//! One task per socket. It makes a frame only when the one before was accepted, so a slow client
//! costs two results per subscription and no queue; subscriptions take turns.

use std::collections::VecDeque;
use std::pin::Pin;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use futures::future::select_all;
use thalweg_core::time::Timestamp;
use tokio::time::timeout;

use super::feed::Target;
use super::protocol::{LiveFrame, LiveRequest};
use super::subscription::{FrameKind, Subscription, error_text};
use crate::api::input::Problems;
use crate::app::App;
use crate::problem::Problem;

/// Bytes of a message from the client.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an id.
const ID_BYTES_MAX: usize = 128;

/// Opens the live WebSocket; its messages are `LiveRequest` and `LiveFrame`.
#[utoipa::path(
    get,
    path = "/live",
    tag = "live",
    responses(
        (status = 101, description = "the connection is a WebSocket from now on"),
        Problems,
    )
)]
pub(crate) async fn live_socket(
    State(app): State<App>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|rejection| {
        Problem::invalid("this is a WebSocket")
            .with_detail(format!("{rejection}."))
            .with_hint("`/api/v1/live/{view}` is the same feed as server-sent events.")
    })?;
    let permit = super::permit(&app)?;
    let in_time = app.parts.env.tasks.token();
    let upgrade = upgrade
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .write_buffer_size(0);
    Ok(upgrade.on_upgrade(move |socket| async move {
        Session::new(app, socket).run().await;
        drop((permit, in_time));
    }))
}

/// An open socket.
struct Session {
    app: App,
    socket: WebSocket,
    /// By id; who was served last is last.
    subscriptions: VecDeque<(String, Subscription)>,
    heard_at: Timestamp,
}

/// What a session waits for.
enum Event {
    Stop,
    Message(Option<Result<Message, axum::Error>>),
    Changed(usize),
    Beat,
}

/// Why a session ends.
enum End {
    /// The client has closed it, or cannot be reached.
    Gone,
    /// We close it, for a reason with a code.
    Closed(u16, &'static str),
}

impl Session {
    fn new(app: App, socket: WebSocket) -> Self {
        let heard_at = app.clock.now();
        Self { app, socket, subscriptions: VecDeque::new(), heard_at }
    }

    async fn run(mut self) {
        let clock = self.app.clock.clone();
        let every = self.app.limits.heartbeat;
        let mut beat: Pin<Box<_>> = Box::pin(clock.sleep(every));
        let end = loop {
            let event = tokio::select! {
                () = self.app.parts.env.shutdown.cancelled() => Event::Stop,
                message = self.socket.recv() => Event::Message(message),
                index = changed(&mut self.subscriptions) => Event::Changed(index),
                () = &mut beat => Event::Beat,
            };
            let handled = match event {
                Event::Stop => Err(End::Closed(close_code::AWAY, "the server is stopping")),
                Event::Message(message) => self.hear(message).await,
                Event::Changed(index) => self.tell(index).await,
                Event::Beat => {
                    beat.set(clock.sleep(every));
                    self.beat().await
                }
            };
            if let Err(end) = handled {
                break end;
            }
        };
        if let End::Closed(code, reason) = end {
            let frame = CloseFrame { code, reason: reason.into() };
            // The client may be gone; there is nobody else to tell.
            let _ = self.send(Message::Close(Some(frame))).await;
        }
    }

    async fn hear(&mut self, message: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        let Some(Ok(message)) = message else { return Err(End::Gone) };
        self.heard_at = self.app.clock.now();
        match message {
            Message::Text(text) => match serde_json::from_str(&text) {
                Ok(request) => self.obey(request).await,
                Err(error) => {
                    let problem = Problem::invalid("the message cannot be read")
                        .with_detail(format!("{error}."));
                    self.send_text(error_text(None, &problem, false)).await
                }
            },
            Message::Binary(_) => {
                let problem = Problem::invalid("messages are text");
                self.send_text(error_text(None, &problem, false)).await
            }
            Message::Ping(_) | Message::Pong(_) => Ok(()),
            Message::Close(_) => Err(End::Gone),
        }
    }

    async fn obey(&mut self, mut request: LiveRequest) -> Result<(), End> {
        let refused = match (request.subscribe.take(), request.unsubscribe.take()) {
            (Some(id), None) if (1..=ID_BYTES_MAX).contains(&id.len()) => {
                self.forget(&id);
                match self.subscribe(request) {
                    Ok(subscription) => {
                        self.subscriptions.push_back((id, subscription));
                        return Ok(());
                    }
                    Err(problem) => error_text(Some(&id), &problem, false),
                }
            }
            (None, Some(id)) => {
                self.forget(&id);
                return Ok(());
            }
            (Some(_), None) => {
                let title = format!("the id is not 1 to {ID_BYTES_MAX} bytes long");
                error_text(None, &Problem::invalid(title), false)
            }
            _ => {
                let title = "a message needs one of `subscribe` and `unsubscribe`";
                error_text(None, &Problem::invalid(title), false)
            }
        };
        self.send_text(refused).await
    }

    fn forget(&mut self, id: &str) {
        self.subscriptions.retain(|(other, _)| other != id);
    }

    fn subscribe(&self, request: LiveRequest) -> Result<Subscription, Problem> {
        let limit = self.app.limits.live_subscriptions;
        if self.subscriptions.len() >= limit {
            return Err(Problem::unavailable(format!("this socket has {limit} subscriptions"))
                .with_hint("Unsubscribe from what is not on screen."));
        }
        self.app.feeds.subscribe(Target::of_request(&self.app, request)?)
    }

    /// Sends what a subscription has to say.
    async fn tell(&mut self, index: usize) -> Result<(), End> {
        let Some((id, mut subscription)) = self.subscriptions.remove(index) else { return Ok(()) };
        let frame = subscription.frame(Some(&id));
        if frame.as_ref().is_none_or(|frame| frame.kind != FrameKind::End) {
            self.subscriptions.push_back((id, subscription));
        }
        match frame {
            Some(frame) => self.send_text(frame.text).await,
            None => Ok(()),
        }
    }

    async fn beat(&mut self) -> Result<(), End> {
        if self.app.clock.now().since(self.heard_at) > self.app.limits.silence {
            return Err(End::Closed(close_code::POLICY, "nothing was heard for too long"));
        }
        let heartbeat = Some(self.app.parts.env.clock.now().to_string());
        self.send_text(LiveFrame { heartbeat, ..LiveFrame::default() }.text()).await?;
        self.send(Message::Ping(Default::default())).await
    }

    async fn send_text(&mut self, text: String) -> Result<(), End> {
        self.send(Message::Text(text.into())).await
    }

    /// Sends, or gives up on a client that does not accept it in time.
    async fn send(&mut self, message: Message) -> Result<(), End> {
        match timeout(self.app.limits.write_time, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }
}

/// Waits until a subscription may have a frame; its index.
async fn changed(subscriptions: &mut VecDeque<(String, Subscription)>) -> usize {
    if subscriptions.is_empty() {
        return std::future::pending().await;
    }
    let each = subscriptions.iter_mut().map(|(_, subscription)| Box::pin(subscription.changed()));
    let ((), index, _) = select_all(each).await;
    index
}
