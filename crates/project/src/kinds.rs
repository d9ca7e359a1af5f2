//! What a project declares, kind by kind: the declared types and how they are lowered from the
//! file.
//!
//! Every `lower` returns none only for what a problem was reported of. The fields say units and
//! defaults; what a key means in full stands in the table of keys.

pub(crate) mod alert;
pub(crate) mod dashboard;
pub(crate) mod job;
pub(crate) mod model;
pub(crate) mod route;
pub(crate) mod runtime;
pub(crate) mod sink;
pub(crate) mod source;
pub(crate) mod stream;
pub(crate) mod table;
pub(crate) mod test;
pub(crate) mod topic;
pub(crate) mod view;

pub use alert::{Alert, Notify};
pub use dashboard::{Band, Dashboard, Filter, KpiFormat, Panel, PanelKind};
pub(crate) use dashboard::{Known, is_relation, relation_name};
pub use job::{CallMethod, ExportFormat, Job, Task, TaskAction, TaskDay};
pub use model::{Candidate, ChampionRule, Evaluation, Model, Training};
pub use route::{Arm, Route};
pub use runtime::{DiskBudget, Runtime, Server};
pub use sink::{DatabaseTable, Mode, Sink, Target, Webhook};
pub use source::{
    AvroMessages, AvroSchema, Binance, BinanceChannel, BinanceEndpoint, Channel, Check, Clean,
    Cleaning, CoinbaseChannel, Connector, CsvFormat, Exchange, Exec, FileInput, FilePlace, Finnhub,
    Format, Heartbeat, HtmlFormat, HtmlRows, Http, JsonFormat, JsonLayout, Keep, KrakenChannel,
    Locale, Location, Notice, OnInvalid, Pages, PagesBy, PollEmit, S3, Source, TopicInput, Unique,
    Websocket,
};
pub use stream::{Emit, Stream};
pub use table::{Partition, Roll, Table, TableFormat, TableInput, TableMode, TablePlace};
pub use test::{Cell, Expectation, Given, GivenInput, Test, TestRow, TestRows};
pub use topic::Topic;
pub use view::{View, ViewInput};

use crate::entry::Entry;
use crate::names;
use crate::spanned::Spanned;

/// Lowers every member of a section, in the order of the files.
pub(crate) fn lower_all<'a, T>(
    root: Entry<'a>,
    section: &str,
    lower: impl Fn(&'a Spanned<String>, Entry<'a>) -> Option<T>,
) -> Vec<T> {
    let members = root.child(section).members();
    members.into_iter().filter_map(|(name, entry)| lower(name, entry)).collect()
}

pub(crate) use names::cycle;
