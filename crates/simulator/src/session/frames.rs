//! Frames as they go out, the wrong ones among them.

use bytes::Bytes;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

/// The message of the fault `garbage`.
pub(super) const GARBAGE: &[u8] = b"<html>502 Bad Gateway</html>";
/// The message of the fault `utf8`.
pub(super) const INVALID_UTF8: &[u8] = b"{\"data\":[{\"c\":null,\"p\":1,\"s\":\"\xff\xfe\"";

/// Length of the message of the fault `oversized`.
const OVERSIZED_BYTES: usize = 11_000_000;

/// A frame as it is: the library would not write text that is no UTF-8.
pub(super) fn frame(payload: Bytes, data: Data, is_final: bool) -> Message {
    Message::Frame(Frame::message(payload, OpCode::Data(data), is_final))
}

/// A message with a field that nobody knows, if it is an object that has others.
pub(super) fn with_field(text: &Bytes) -> Bytes {
    match text.strip_prefix(b"{\"") {
        Some(rest) => [br#"{"_new":{"of":["tomorrow"]},""#, rest].concat().into(),
        None => text.clone(),
    }
}

/// A message whose first key stands there twice, first with null, if it is an object that has one.
pub(super) fn with_key_twice(text: &Bytes) -> Bytes {
    let key = text.strip_prefix(b"{\"").and_then(|rest| rest.split(|byte| *byte == b'"').next());
    match key {
        Some(key) => [&b"{\""[..], key, b"\":null,", &text[1..]].concat().into(),
        None => text.clone(),
    }
}

/// The message of the fault `oversized`.
pub(super) fn oversized() -> Bytes {
    let (head, tail) = (br#"{"padding":""#, br#"","type":"trade"}"#);
    let mut text = Vec::with_capacity(OVERSIZED_BYTES);
    text.extend_from_slice(head);
    text.resize(OVERSIZED_BYTES - tail.len(), b'x');
    text.extend_from_slice(tail);
    text.into()
}
