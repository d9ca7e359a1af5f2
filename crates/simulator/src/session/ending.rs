//! How connections end.

use std::time::Duration;

use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error as WebSocketError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Longest time for a client to take its leave.
pub(super) const GOODBYE_WAIT: Duration = Duration::from_secs(1);

/// How a connection ends.
pub(crate) enum Ending {
    /// Without a close frame, after what was sent.
    Cut,
    /// By a reset.
    Reset,
    /// With a close frame.
    Goodbye,
    /// With a close frame of this code and reason.
    Refused(u16, &'static str),
    /// The client left.
    Gone,
}

/// Ends a connection; takes a second at most.
pub(crate) async fn leave(mut socket: WebSocketStream<TcpStream>, ending: Ending) {
    // Whether the client hears any of it makes no difference to us.
    let _ = timeout(GOODBYE_WAIT, async {
        match ending {
            Ending::Cut => {
                let stream = socket.get_mut();
                stream.shutdown().await?;
                // Closing with something unread would reset the connection, and lose what was sent.
                while stream.read(&mut [0; 1024]).await? > 0 {}
            }
            Ending::Reset => socket.get_ref().set_zero_linger()?,
            Ending::Goodbye => {
                let frame = CloseFrame { code: CloseCode::Away, reason: "".into() };
                socket.close(Some(frame)).await?;
                while let Some(received) = socket.next().await {
                    received?;
                }
            }
            Ending::Refused(code, reason) => {
                let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
                socket.close(Some(frame)).await?;
                while let Some(received) = socket.next().await {
                    received?;
                }
            }
            Ending::Gone => {}
        }
        Ok::<(), WebSocketError>(())
    })
    .await;
}
