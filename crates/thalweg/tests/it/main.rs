//! The binary, run whole: real processes, a real PostgreSQL and MariaDB, recorded trades.
//!
//! The recorded data is looked for in `THALWEG_DATA`, else in `../shared/data` beside the checkout.
//! A test that needs it and finds none says so and passes; with `CI=true` it fails.

mod adding;
mod check;
mod clock;
mod crash;
mod crypto_forecast;
mod customers;
mod databases;
mod delta;
mod exchanges;
mod files;
mod guides;
mod hostile;
mod http;
mod insurance;
mod merged;
mod messages;
mod models;
mod mysql;
mod originals;
mod postgres;
mod programs;
mod project;
mod recorded;
mod relations;
mod robust;
mod serve;
mod services;
mod steering;
mod support;
mod tables;
mod tasks;
mod trials;
mod webhooks;
