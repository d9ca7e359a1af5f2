//! The bytes of a WebSocket after its handshake (RFC 6455), on the client's side: pure.
//!
//! tungstenite parses headers and writes frames; assembling messages is our own, because the
//! library gives up the connection, and the bytes with it, over two things that must reach the
//! journal (S0): text that is not UTF-8, and a message longer than [`FRAME_BYTES_MAX`]. Of the
//! latter the first 64 KiB are kept and the rest is counted and thrown away.
//!
//! Memory grows with the bytes that have come, never with a length they name (S30).

use std::io::Cursor;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thalweg_core::error::{Error, Result};
use thalweg_core::frame::FRAME_BYTES_MAX;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};

/// Bytes kept of a message that is too long.
const HEAD_BYTES: usize = 64 << 10;
/// Room made before each read of the socket.
const READ_BYTES: usize = 64 << 10;
/// Longest payload of a ping, pong or close frame.
const CONTROL_BYTES_MAX: u64 = 125;

/// One message of the far end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// Text or binary, as it came; text is not checked to be UTF-8.
    Data(Bytes),
    /// A message longer than [`FRAME_BYTES_MAX`].
    Oversized { length: u64, head: Bytes },
    /// To be answered with a pong of the same payload.
    Ping(Bytes),
    /// The answer to a ping of ours.
    Pong,
    /// The far end is leaving, and says why.
    Close(String),
}

/// Takes bytes in and gives messages out.
#[derive(Debug, Default)]
pub(super) struct Reader {
    // Received and not yet looked at.
    buffer: BytesMut,
    // Header of the frame whose payload comes next, with what is left of the payload.
    frame: Option<(FrameHeader, u64)>,
    // The message that the frames so far began.
    message: Option<Assembly>,
}

/// A message of which not everything has come, or that came in several frames.
#[derive(Debug, Default)]
struct Assembly {
    // All of it, or once it is too long its head.
    bytes: BytesMut,
    length: u64,
}

impl Assembly {
    fn add(&mut self, bytes: &[u8]) {
        self.length = self.length.saturating_add(bytes.len() as u64);
        if !self.is_oversized() {
            self.bytes.extend_from_slice(bytes);
            return;
        }
        if self.bytes.len() < HEAD_BYTES {
            let missing = (HEAD_BYTES - self.bytes.len()).min(bytes.len());
            self.bytes.extend_from_slice(&bytes[..missing]);
        } else if self.bytes.len() > HEAD_BYTES {
            // A copy, so that the megabytes are given back.
            self.bytes = BytesMut::from(&self.bytes[..HEAD_BYTES]);
        }
    }

    fn is_oversized(&self) -> bool {
        self.length > FRAME_BYTES_MAX as u64
    }

    fn finish(self) -> Incoming {
        if self.is_oversized() {
            Incoming::Oversized { length: self.length, head: self.bytes.freeze() }
        } else {
            Incoming::Data(self.bytes.freeze())
        }
    }
}

impl Reader {
    /// A reader that begins with what came right behind the handshake.
    pub(super) fn new(received: &[u8]) -> Self {
        Self { buffer: BytesMut::from(received), ..Self::default() }
    }

    /// Where the next bytes of the socket go.
    pub(super) fn space(&mut self) -> &mut BytesMut {
        self.buffer.reserve(READ_BYTES);
        &mut self.buffer
    }

    /// The next message, if all of it is here.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the bytes are no WebSocket frames; nothing can be read after that.
    pub(super) fn next(&mut self) -> Result<Option<Incoming>> {
        loop {
            let Some((header, left)) = self.frame.take() else {
                if !self.take_header()? {
                    return Ok(None);
                }
                continue;
            };
            match header.opcode {
                OpCode::Control(control) => {
                    if (self.buffer.len() as u64) < left {
                        self.frame = Some((header, left));
                        return Ok(None);
                    }
                    let payload = self.take(left).freeze();
                    return Ok(Some(match control {
                        Control::Ping => Incoming::Ping(payload),
                        Control::Pong => Incoming::Pong,
                        _ => Incoming::Close(close_reason(&payload)),
                    }));
                }
                OpCode::Data(_) => {
                    let whole = header.is_final && self.message.is_none();
                    if whole && left <= FRAME_BYTES_MAX as u64 {
                        if (self.buffer.len() as u64) < left {
                            self.frame = Some((header, left));
                            return Ok(None);
                        }
                        return Ok(Some(Incoming::Data(self.take(left).freeze())));
                    }
                    let bytes = self.take(left);
                    let left = left - bytes.len() as u64;
                    self.message.get_or_insert_default().add(&bytes);
                    if left > 0 {
                        self.frame = Some((header, left));
                        return Ok(None);
                    }
                    if header.is_final {
                        return Ok(self.message.take().map(Assembly::finish));
                    }
                }
            }
        }
    }

    /// As many bytes of the buffer as there are, at most `count`.
    fn take(&mut self, count: u64) -> BytesMut {
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(self.buffer.len());
        self.buffer.split_to(count)
    }

    /// Parses the next header; `false` when not all of it is here.
    fn take_header(&mut self) -> Result<bool> {
        let mut cursor = Cursor::new(&self.buffer[..]);
        let parsed = FrameHeader::parse(&mut cursor)
            .map_err(|error| broken("a frame has an unknown kind").with_source(error))?;
        let Some((header, length)) = parsed else { return Ok(false) };
        let header_bytes = usize::try_from(cursor.position()).unwrap_or(self.buffer.len());
        self.buffer.advance(header_bytes);

        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(broken("a frame uses an extension nobody asked for"));
        }
        if header.mask.is_some() {
            return Err(broken("a frame of the server is masked"));
        }
        match (header.opcode, self.message.is_some()) {
            (OpCode::Control(_), _) if !header.is_final || length > CONTROL_BYTES_MAX => {
                return Err(broken("a control frame is fragmented or too long"));
            }
            (OpCode::Data(Data::Continue), false) => {
                return Err(broken("a continuation comes without a beginning"));
            }
            (OpCode::Data(Data::Text | Data::Binary), true) => {
                return Err(broken("a message begins inside another"));
            }
            _ => {}
        }
        self.frame = Some((header, length));
        Ok(true)
    }
}

fn broken(detail: &str) -> Error {
    Error::unavailable("the feed broke the WebSocket protocol").with_detail(format!("{detail}."))
}

/// What a close frame says, such as `1008: too many requests`.
fn close_reason(payload: &[u8]) -> String {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return "without a reason".to_owned();
    };
    let code = u16::from_be_bytes(*code);
    match String::from_utf8_lossy(reason).trim() {
        "" => format!("code {code}"),
        reason => format!("{code}: {reason}"),
    }
}

/// Bytes on their way out.
#[derive(Debug, Default)]
pub(super) struct Writer {
    buffer: BytesMut,
}

impl Writer {
    /// Queues a text message.
    pub(super) fn text(&mut self, text: &str, mask: [u8; 4]) {
        let text = Bytes::copy_from_slice(text.as_bytes());
        self.push(Frame::message(text, OpCode::Data(Data::Text), true), mask);
    }

    /// Queues the answer to a ping, unless so much is queued that the far end clearly does not
    /// read: only the newest ping needs an answer.
    pub(super) fn pong(&mut self, payload: Bytes, mask: [u8; 4]) {
        if self.buffer.len() < READ_BYTES {
            self.push(Frame::pong(payload), mask);
        }
    }

    /// Queues a close frame with code 1000, which is also the answer to one.
    pub(super) fn close(&mut self, mask: [u8; 4]) {
        let payload = Bytes::copy_from_slice(&1000_u16.to_be_bytes());
        let header = FrameHeader { opcode: OpCode::Control(Control::Close), ..Default::default() };
        self.push(Frame::from_payload(header, payload), mask);
    }

    /// What waits to be written; the socket takes it from the front.
    pub(super) fn queued(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Whether anything waits.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    fn push(&mut self, mut frame: Frame, mask: [u8; 4]) {
        frame.header_mut().mask = Some(mask);
        frame.format(&mut (&mut self.buffer).writer()).expect("writing to a buffer cannot fail");
    }
}

#[cfg(test)]
mod tests;
