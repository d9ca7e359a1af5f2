//! The one error type that crosses crate boundaries.
//!
//! Inside a crate, use a private `thiserror` enum as rich as needed. At the boundary, fold it into
//! [`Error`]: a small [`ErrorKind`] that tells the caller what to *do*, and text that tells a person
//! what *happened*. The kind is a contract; the text may change in any release.
//!
//! Problems of a project file have places and come in lists: see [`crate::problem`].

use std::fmt::Write as _;

/// What the caller must do next.
///
/// Add a kind only when a caller would act differently on it; otherwise improve the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The configuration or the request is wrong. Do not retry; show it to the person who wrote it.
    Invalid,
    /// The data is wrong: it does not decode, or it breaks a check. Quarantine it and go on.
    Data,
    /// Something we depend on does not answer, or a disk is full. Retry with back-off.
    Unavailable,
    /// Another owner has been here: a newer writer, another incarnation. Stop at once; never retry.
    Fenced,
    /// We broke an invariant of our own. Stop the part and keep the evidence.
    Internal,
}

/// An error as the rest of the system, the REST API and the command line see it.
///
/// `message` is one lower-case clause without a full stop; `detail` and `hint` are whole sentences.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What the caller must do next.
    pub kind: ErrorKind,
    /// What was being done, and to which named object.
    pub message: String,
    /// Facts that would make the message too long.
    pub detail: Option<String>,
    /// What the person reading this can try.
    pub hint: Option<String>,
    /// The error beneath this one, never repeated in `message`.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// A result that crosses a crate boundary.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Makes an error without detail, hint or source; add them with the `with_…` methods.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), detail: None, hint: None, source: None }
    }

    /// An error of kind [`ErrorKind::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// An error of kind [`ErrorKind::Data`].
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Data, message)
    }

    /// An error of kind [`ErrorKind::Unavailable`].
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// An error of kind [`ErrorKind::Fenced`].
    pub fn fenced(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Fenced, message)
    }

    /// An error of kind [`ErrorKind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Adds facts that would make the message too long.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds what the reader can try.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the error beneath.
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The message, each source beneath it, and the hint, for a log line or a terminal.
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        if let Some(detail) = &self.detail {
            let _ = write!(text, "\n  detail: {detail}");
        }
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            let _ = write!(text, "\n  because: {error}");
            source = error.source();
        }
        if let Some(hint) = &self.hint {
            let _ = write!(text, "\n  hint: {hint}");
        }
        text
    }
}
