//! The fourth phase's eyes: typed reading of a tree that has been checked.
//!
//! An [`Entry`] is a key of the table together with what the file has there, possibly nothing.
//! Reading never reports: what is wrong was reported by `check` and `names`, and reads as if it
//! were absent. Defaults come from the table of keys and from nowhere else. Every read is noted, so
//! that a test can tell which keys nobody reads.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thalweg_core::problem::{Place, Problem};
use thalweg_core::time::{Timestamp, parse_duration};

use crate::keys::{self, KeyNode, Shape};
use crate::names::Definitions;
use crate::secret::{Environment, Secret};
use crate::source_map::SourceMap;
use crate::spanned::Spanned;
use crate::sql_text::SqlText;
use crate::tree::{Node, Value};
use crate::values;

/// What lowering sees of the project as a whole.
pub(crate) struct Lowering<'a> {
    /// The project folder.
    pub(crate) dir: &'a Path,
    pub(crate) environment: &'a Environment<'a>,
    pub(crate) sources: &'a SourceMap,
    pub(crate) definitions: &'a Definitions,
    /// False when a file did not parse.
    pub(crate) is_whole: bool,
    /// The files with a query or a schema that could be read, by the path the project file gives.
    pub(crate) named_files: &'a BTreeMap<String, Arc<PathBuf>>,
    /// Problems that only lowering can see.
    pub(crate) problems: RefCell<Vec<Problem>>,
    /// Paths of the keys that were read.
    pub(crate) reads: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Lowering<'a> {
    /// The root of the file.
    pub(crate) fn root(&'a self, node: &'a Node) -> Entry<'a> {
        Entry { lowering: self, keys: keys::root(), name: None, node: Some(node) }
    }
}

/// A key of the table, and what the file has there.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) lowering: &'a Lowering<'a>,
    keys: &'static KeyNode,
    /// The key as it is written; none in a list, at the root, and for what is not there.
    name: Option<&'a Spanned<String>>,
    node: Option<&'a Node>,
}

impl<'a> Entry<'a> {
    /// The key called `key` in this table.
    pub(crate) fn child(self, key: &str) -> Self {
        let keys = self.keys.children.get(key).expect("lowering reads keys of the table only");
        self.lowering.reads.borrow_mut().insert(keys.key().path);
        let member = self.node.and_then(|node| node.member(key));
        let (name, node) = match member {
            Some(member) => (Some(&member.key), Some(&member.node)),
            None if self.is_short_for(key) => (self.name, self.node),
            None => (None, None),
        };
        Entry { lowering: self.lowering, keys, name, node }
    }

    /// Whether this is a bare value that stands for `key` of the table it should be.
    fn is_short_for(self, key: &str) -> bool {
        let short = self.keys.key.and_then(|key| key.short_for);
        let is_bare =
            self.node.is_some_and(|node| !matches!(node.value, Value::Table(_) | Value::Broken));
        is_bare && short == Some(key)
    }

    /// The members of this table, whose names the user chose.
    pub(crate) fn members(self) -> Vec<(&'a Spanned<String>, Self)> {
        let keys = self.keys.any.as_deref().expect("lowering reads names of the table only");
        self.lowering.reads.borrow_mut().insert(keys.key().path);
        let members = self.node.map(Node::members).unwrap_or_default();
        let entry = |name, node| Entry {
            lowering: self.lowering,
            keys,
            name: Some(name),
            node: Some(node),
        };
        members.iter().map(|member| (&member.key, entry(&member.key, &member.node))).collect()
    }

    /// The items of this list.
    pub(crate) fn items(self) -> Vec<Self> {
        let items = self.node.map(Node::items).unwrap_or_default();
        items.iter().map(|item| Entry { name: None, node: Some(item), ..self }).collect()
    }

    /// This entry, if the file has it.
    pub(crate) fn written(self) -> Option<Self> {
        self.node.is_some().then_some(self)
    }

    /// Where it stands: its key, or its value where it has none.
    pub(crate) fn place(self) -> Place {
        let place = self.name.map(|name| &name.place).or(self.node.map(|node| &node.place));
        place.cloned().expect("only what is written is asked for its place")
    }

    /// What the file has there, for what reads values of any kind.
    pub(crate) fn node(self) -> Option<&'a Node> {
        self.node
    }

    /// Its value, or the default of its key.
    pub(crate) fn read<T: FromValue>(self) -> Option<T> {
        let written = self.node.and_then(|node| T::from_value(&node.value));
        written.or_else(|| {
            let default = self.keys.key().default?;
            T::from_value(&default_value(&self.keys.key().shape, default))
        })
    }

    /// Its value and place, if it is written.
    pub(crate) fn read_spanned<T: FromValue>(self) -> Option<Spanned<T>> {
        let node = self.node?;
        Some(Spanned { value: T::from_value(&node.value)?, place: node.place.clone() })
    }

    /// The value of a key, or its default.
    pub(crate) fn get<T: FromValue>(self, key: &str) -> Option<T> {
        self.child(key).read()
    }

    /// The value of a key that has a default.
    pub(crate) fn value<T: FromValue>(self, key: &str) -> T {
        self.get(key).expect("the table of keys has a default of the right shape, as its test says")
    }

    /// The value of a key with its place.
    pub(crate) fn spanned<T: FromValue>(self, key: &str) -> Option<Spanned<T>> {
        self.child(key).read_spanned()
    }

    /// The values of a list, each with its place.
    pub(crate) fn list<T: FromValue>(self, key: &str) -> Vec<Spanned<T>> {
        self.child(key).items().into_iter().filter_map(Self::read_spanned).collect()
    }

    /// The text of a key with its secrets in place; what is not set is left as it is written.
    pub(crate) fn secret(self, key: &str) -> Option<Secret> {
        self.child(key).read_secret()
    }

    /// As [`Entry::secret`], with its place.
    pub(crate) fn spanned_secret(self, key: &str) -> Option<Spanned<Secret>> {
        let child = self.child(key);
        let place = child.node?.place.clone();
        Some(Spanned { value: child.read_secret()?, place })
    }

    /// As [`Entry::secret`], of this entry.
    pub(crate) fn read_secret(self) -> Option<Secret> {
        let text: String = self.read()?;
        Some(self.lowering.environment.expand(&text).unwrap_or_else(|_| Secret::new(text)))
    }

    /// The SQL of a key.
    pub(crate) fn sql(self, key: &str) -> Option<SqlText> {
        self.child(key).read_sql()
    }

    /// The SQL of this entry.
    pub(crate) fn read_sql(self) -> Option<SqlText> {
        let node = self.node?;
        let literal = self.lowering.sources.slice(&node.place).unwrap_or_default();
        Some(SqlText::of_literal(node.as_text()?, literal, node.place.clone()))
    }

    /// The query that stands in `sql`, or in the file that `sql_file` names.
    pub(crate) fn query(self) -> Option<SqlText> {
        self.sql("sql").or_else(|| {
            let path: String = self.get("sql_file")?;
            let file = self.lowering.named_files.get(&path)?;
            Some(SqlText::of_file(Arc::clone(file), self.lowering.sources.text(file)?))
        })
    }

    /// The text of the file that this entry names; none where it could not be read.
    pub(crate) fn read_file(self) -> Option<&'a str> {
        let path: String = self.read()?;
        self.lowering.sources.text(self.lowering.named_files.get(&path)?)
    }

    /// Reports what only lowering can see.
    pub(crate) fn report(self, problem: Problem) {
        self.lowering.problems.borrow_mut().push(problem);
    }
}

/// A default of the table as a value.
fn default_value(shape: &Shape, text: &str) -> Value {
    match shape {
        Shape::Boolean => Value::Boolean(text == "true"),
        Shape::Integer { .. } => text.parse().map_or(Value::Broken, Value::Integer),
        Shape::List(inner) => {
            let items = text.trim_matches(['[', ']']).split(',').map(str::trim);
            let item = |item: &str| Node {
                value: default_value(inner, item.trim_matches('"')),
                place: Place { file: Arc::default(), range: 0..0 },
            };
            Value::List(items.map(item).collect())
        }
        _ => Value::Text(text.to_owned()),
    }
}

/// What can be read from a value of the file.
pub(crate) trait FromValue: Sized {
    /// None when the value is not one.
    fn from_value(value: &Value) -> Option<Self>;
}

/// Implements [`FromValue`] for what is written as text.
macro_rules! from_text {
    ($($type:ty: $parse:expr;)*) => {
        $(impl $crate::entry::FromValue for $type {
            fn from_value(value: &$crate::tree::Value) -> Option<Self> {
                let $crate::tree::Value::Text(text) = value else { return None };
                let parse: fn(&str) -> Option<Self> = $parse;
                parse(text)
            }
        })*
    };
}
pub(crate) use from_text;

from_text! {
    String: |text| Some(text.to_owned());
    Duration: parse_duration;
    Bytes: |text| values::parse_size(text).map(Bytes);
    Percent: |text| values::parse_percent(text).map(Percent);
    Rate: |text| values::parse_rate(text).map(Rate);
    char: |text| text.chars().next();
}

/// A number of bytes.
pub(crate) struct Bytes(pub(crate) u64);

/// A share in percent.
pub(crate) struct Percent(pub(crate) f64);

/// A number per second.
pub(crate) struct Rate(pub(crate) f64);

impl FromValue for bool {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Boolean(is_true) => Some(*is_true),
            _ => None,
        }
    }
}

impl FromValue for u32 {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Integer(number) => Self::try_from(*number).ok(),
            _ => None,
        }
    }
}

impl FromValue for usize {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Integer(number) => Self::try_from(*number).ok(),
            _ => None,
        }
    }
}

impl FromValue for Timestamp {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Text(text) | Value::Time(text) => Self::parse(text),
            _ => None,
        }
    }
}

impl FromValue for SocketAddr {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Text(text) => values::parse_listen(text),
            Value::Integer(port) => values::parse_listen(&port.to_string()),
            _ => None,
        }
    }
}

impl<T: FromValue> FromValue for Vec<T> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::List(items) => items.iter().map(|item| T::from_value(&item.value)).collect(),
            _ => None,
        }
    }
}
