//! The metadata store: what thalweg must remember that is not data.
//!
//! [`SqliteStore`] keeps small rows with compare-and-swap and append-only histories in one SQLite
//! file of the data folder. Who calls and what holds is the contract of [`thalweg_core::store::Store`].
//!
//! The statements keep to what SQLite and PostgreSQL both take (`ON CONFLICT`, `RETURNING`, byte
//! order of text), so that a PostgreSQL store is the same tables with `COLLATE "C"` on its text
//! keys; only what is about the file itself (pragmas, `BEGIN IMMEDIATE`) is SQLite's own.
//!
//! What the rows mean is the business of their owners: runs are read and written by `jobs`,
//! versions by `models`, users by `serve`. Rows of data never come here.

mod bounds;
mod error;
mod format;
mod sqlite;

pub use bounds::{ID_BYTES_MAX, NAME_BYTES_MAX, VALUE_BYTES_MAX};
pub use sqlite::SqliteStore;
