//! The table of keys: every key a project file may hold, once.
//!
//! Loading (`shape`, `entry`), the JSON Schema, the reference page and completion are all made from
//! this table, so they cannot drift; the tests of `kinds` hold it against what lowering reads.
//!
//! A path names a key from the top of the file: `source.*.finnhub.token`. `*` stands for a name the
//! user chooses. A key whose shape is a list of tables is the parent of the keys in those tables.
//!
//! Not here: what a value of a shape looks like ([`shape`]), and what lowering makes of it
//! (`kinds`).

mod alert;
mod dashboard;
mod job;
mod model;
mod project;
pub mod shape;
mod sink;
mod source;
mod stream;
mod table;
mod test;
mod topic;
mod tree;

use std::fmt;

pub use shape::{Shape, Word};
pub(crate) use tree::{KeyNode, root};

/// One key of the project file.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Where it stands, with `*` for names the user chooses.
    pub path: &'static str,
    /// What its value looks like.
    pub shape: Shape,
    /// What it means, in a sentence or two.
    pub doc: &'static str,
    /// The value it has when it is absent, as text.
    pub default: Option<&'static str>,
    /// A value to show in messages and documents, where the shape's own would not do.
    pub example: Option<&'static str>,
    /// Whether the table it stands in is wrong without it.
    pub is_required: bool,
    /// Whether this version does what it says.
    pub state: State,
    /// For a table: the key that a bare value in its place stands for.
    pub short_for: Option<&'static str>,
    /// Keys beside it one of which must be there for it to mean anything.
    pub with: &'static [&'static str],
    /// Keys beside it that must be there too.
    pub needs: &'static [&'static str],
}

/// Whether this version does what a key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It does.
    Built,
    /// It is read, checked and kept, and nothing comes of it yet.
    Accepted,
    /// It is an error for now; the text says what the key is for.
    Planned(&'static str),
}

impl Key {
    const fn default(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    const fn example(mut self, example: &'static str) -> Self {
        self.example = Some(example);
        self
    }

    const fn required(mut self) -> Self {
        self.is_required = true;
        self
    }

    const fn accepted(mut self) -> Self {
        self.state = State::Accepted;
        self
    }

    const fn short_for(mut self, key: &'static str) -> Self {
        self.short_for = Some(key);
        self
    }

    const fn with(mut self, keys: &'static [&'static str]) -> Self {
        self.with = keys;
        self
    }

    const fn needs(mut self, keys: &'static [&'static str]) -> Self {
        self.needs = keys;
        self
    }

    /// Its last part: `token` of `source.*.finnhub.token`.
    pub fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// A value to show, as TOML writes it.
    pub fn shown_example(&self) -> String {
        match self.example.or(self.default) {
            Some(text) => self.shape.quoted(text),
            None => self.shape.example(),
        }
    }
}

/// A key that this version builds.
const fn key(path: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key {
        path,
        shape,
        doc,
        default: None,
        example: None,
        is_required: false,
        state: State::Built,
        short_for: None,
        with: &[],
        needs: &[],
    }
}

/// A key that a later version builds; `doc` says what for.
const fn planned(path: &'static str, shape: Shape, doc: &'static str) -> Key {
    let mut key = key(path, shape, doc);
    key.state = State::Planned(doc);
    key
}

/// Keys of which a table holds one.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// The table.
    pub path: &'static str,
    /// The keys.
    pub keys: &'static [&'static str],
    /// Whether one of them must be there.
    pub is_required: bool,
    /// What the keys say, with an article: "a connector".
    pub noun: &'static str,
}

/// The kinds of things a project declares by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `[source.X]`
    Source,
    /// `[topic.X]`
    Topic,
    /// `[stream.X]`
    Stream,
    /// `[table.X]`
    Table,
    /// `[view.X]`
    View,
    /// `[model.X]`
    Model,
    /// `[route.X]`
    Route,
    /// `[sink.X]`
    Sink,
    /// `[job.X]`
    Job,
    /// `[alert.X]`
    Alert,
    /// `[notify.X]`
    Notify,
    /// `[dashboard.X]`
    Dashboard,
    /// `[function.X]`
    Function,
    /// `[test.X]`
    Test,
}

impl Kind {
    /// Every kind, in the order of the reference page.
    pub const ALL: [Self; 14] = [
        Self::Source,
        Self::Topic,
        Self::Stream,
        Self::Table,
        Self::View,
        Self::Model,
        Self::Route,
        Self::Sink,
        Self::Job,
        Self::Alert,
        Self::Notify,
        Self::Dashboard,
        Self::Function,
        Self::Test,
    ];

    /// The kind of the top-level table `section`.
    pub fn of_section(section: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.section() == section)
    }

    /// Its top-level table.
    pub fn section(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Topic => "topic",
            Self::Stream => "stream",
            Self::Table => "table",
            Self::View => "view",
            Self::Model => "model",
            Self::Route => "route",
            Self::Sink => "sink",
            Self::Job => "job",
            Self::Alert => "alert",
            Self::Notify => "notify",
            Self::Dashboard => "dashboard",
            Self::Function => "function",
            Self::Test => "test",
        }
    }

    /// Whether SQL can read it, so that its names are unique among all such kinds.
    pub fn is_relation(self) -> bool {
        matches!(
            self,
            Self::Source | Self::Topic | Self::Stream | Self::Table | Self::View | Self::Model
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.section())
    }
}

/// Every key, in the order of the reference page.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    [
        project::KEYS,
        source::KEYS,
        source::PAGE_KEYS,
        source::AVRO_KEYS,
        source::POLL_KEYS,
        source::EXCHANGE_KEYS,
        source::PLACE_KEYS,
        source::FIRST_OF_KEYS,
        topic::KEYS,
        topic::ROUTE_KEYS,
        stream::KEYS,
        table::KEYS,
        stream::VIEW_KEYS,
        model::KEYS,
        sink::KEYS,
        job::KEYS,
        alert::KEYS,
        dashboard::KEYS,
        dashboard::PANEL_KEYS,
        topic::OTHER_KEYS,
        test::KEYS,
        project::MACHINE_KEYS,
    ]
    .into_iter()
    .flatten()
}

/// Every group of keys of which a table holds one.
pub fn groups() -> impl Iterator<Item = &'static Group> {
    [
        source::GROUPS,
        source::PAGE_GROUPS,
        source::AVRO_GROUPS,
        source::POLL_GROUPS,
        stream::GROUPS,
        table::GROUPS,
        sink::GROUPS,
        job::GROUPS,
        alert::GROUPS,
        dashboard::GROUPS,
        test::GROUPS,
    ]
    .into_iter()
    .flatten()
}
