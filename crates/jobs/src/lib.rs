//! Jobs: schedules, runs of tasks that depend on each other, retries and back-fills.
//!
//! In the order of the flow: a [`definition`] says when and what; its [`schedule`] fires; the fires
//! that are [`due`] become [`run`]s; the [`machine`] decides what happens to each of them; the
//! [`scheduler`] stores every decision in the [`archive`] and then carries it out; [`status`] is
//! what people see of it.
//!
//! What a task does is not known here: the binary hands over a [`thalweg_core::task::Task`] for each
//! (refresh in `stream`, compact in `lake`, train in `models`). Where the records are kept is not
//! either: that is a [`thalweg_core::store::Store`].

pub mod archive;
pub mod definition;
mod due;
mod log;
mod machine;
pub mod run;
pub mod schedule;
pub mod scheduler;
pub mod status;

pub use definition::{JobDefinition, TaskDefinition};
pub use run::{Run, State, TaskRun, Trigger};
pub use schedule::{Period, Schedule};
pub use scheduler::Scheduler;
