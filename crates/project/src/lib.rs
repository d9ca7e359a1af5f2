//! The project file: `thalweg.toml`, read, checked and made into types.
//!
//! In the order of the flow: [`ProjectFiles`] → a tree of values with places (`tree`) → shape
//! (`check`, along the table of [`keys`]) → names (`names`) → the declared types (`kinds`, read by
//! `entry`) → a [`Project`] beside its problems ([`Loaded`]). From the same table come the JSON
//! Schema ([`schema`]) and the reference page ([`reference`]).
//!
//! Invariants: nothing that a file holds makes loading panic. All problems of all files come at
//! once. A project without errors has lost nothing of what its files declare. No secret is in a
//! problem, in its rendering, or in the `Debug` of anything here.
//!
//! Not here: SQL is found and mapped ([`SqlText`]), but parsed and typed by the crate `stream`;
//! cron and time zones are judged by `jobs`.

mod check;
mod codes;
pub mod edit;
mod entry;
mod files;
mod json_schema;
pub mod keys;
mod kinds;
mod load;
mod names;
mod project;
mod reference;
mod render;
mod secret;
mod source_map;
mod spanned;
mod sql_text;
mod tree;
mod values;

pub use codes::{codes, explain};
pub use files::{Edited, ProjectFiles};
pub use json_schema::schema;
pub use kinds::{
    Alert, Arm, AvroMessages, AvroSchema, Band, Binance, BinanceChannel, BinanceEndpoint,
    CallMethod, Candidate, Cell, ChampionRule, Channel, Check, Clean, Cleaning, CoinbaseChannel,
    Connector, CsvFormat, Dashboard, DatabaseTable, DiskBudget, Emit, Evaluation, Exchange, Exec,
    Expectation, ExportFormat, FileInput, FilePlace, Filter, Finnhub, Format, Given, GivenInput,
    Heartbeat, HtmlFormat, HtmlRows, Http, Job, JsonFormat, JsonLayout, Keep, KpiFormat,
    KrakenChannel, Locale, Location, Mode, Model, Notice, Notify, OnInvalid, Pages, PagesBy, Panel,
    PanelKind, Partition, PollEmit, Roll, Route, Runtime, S3, Server, Sink, Source, Stream, Table,
    TableFormat, TableInput, TableMode, TablePlace, Target, Task, TaskAction, TaskDay, Test,
    TestRow, TestRows, Topic, TopicInput, Training, Unique, View, ViewInput, Webhook, Websocket,
};
pub use load::Loaded;
pub use project::Project;
pub use reference::reference;
pub use render::{Color, problems_json, render};
pub use secret::Secret;
pub use source_map::{Position, SourceMap};
pub use spanned::Spanned;
pub use sql_text::SqlText;
