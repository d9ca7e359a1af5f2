//! Tasks of jobs that reach outside: a request over HTTP ([`call`]), a program ([`program`]).
//!
//! Both are done at least once (S20): an attempt that a crash cut off is made again, and carries the
//! same run, by which the far end can tell.

pub mod call;
pub mod program;
