//! The binary, run whole: real processes, a real PostgreSQL, recorded trades.
//!
//! The recorded data is looked for in `THALWEG_DATA`, else in `../shared/data` beside the checkout.
//! A test that needs it and finds none says so and passes; with `CI=true` it fails.

mod check;
mod clock;
mod crash;
mod customers;
mod files;
mod hostile;
mod http;
mod merged;
mod models;
mod postgres;
mod programs;
mod project;
mod recorded;
mod relations;
mod robust;
mod serve;
mod steering;
mod support;
