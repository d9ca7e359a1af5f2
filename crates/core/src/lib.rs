//! Nouns and traits of thalweg: what flows, what is kept, and where the parts meet.
//!
//! Every other crate depends on this one and on no other of ours; only the binary sees many. So a
//! leaf can be read alone, and two leaves meet at a trait here.
//!
//! Architecture invariant: this crate does no I/O and starts nothing, and knows neither DataFusion
//! nor a wire protocol nor a database. In the order of the flow:
//!
//! [`frame`] → [`log`] ([`records`], [`topic`]) → [`decode`] ([`schema`]) → [`sink`], [`table`] →
//! [`query`], [`task`], [`model`]; beside it [`env`], [`error`], [`problem`], [`ledger`], [`store`],
//! [`time`], [`control`], [`budget`].

pub mod budget;
pub mod control;
pub mod decode;
pub mod env;
pub mod error;
pub mod frame;
pub mod ledger;
pub mod log;
pub mod model;
pub mod problem;
pub mod query;
pub mod records;
pub mod schema;
pub mod sink;
pub mod source;
pub mod store;
pub mod table;
pub mod task;
pub mod time;
pub mod topic;

pub use error::{Error, ErrorKind, Result};
