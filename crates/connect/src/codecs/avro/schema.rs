//! Schemas of Avro, as far as the bytes of a value can be judged by them.
//!
//! Every value of a list takes a byte at least and a schema has a bounded number of parts, so what
//! bytes can make a decoder do is bounded by their number. What `arrow-avro` has no columns for is
//! refused: schemas that hold themselves.
//!
//! Source: the Avro specification, "Schema Declaration", "Names" and "Binary Encoding".

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use thalweg_core::frame::FRAME_BYTES_MAX;

/// Most parts of a schema, those of a named type counted wherever it is used.
const PARTS_MAX: usize = 10_000;
/// How deep types may lie in each other.
const DEPTH_MAX: usize = 64;
/// Most bytes that any value of a fixed size takes in a column: an interval, a wide decimal.
const WIDTH_MAX: u64 = 32;

/// A type, and what bounds its values.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(super) kind: Kind,
    /// Fewest bytes of a value.
    pub(super) bytes_min: u64,
    /// Most bytes that a value adds to columns, beside its texts and what its lists hold.
    pub(super) width: u64,
    parts: usize,
    depth: usize,
}

/// What is written of a value.
#[derive(Debug)]
pub(super) enum Kind {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Text,
    Fixed(usize),
    /// The number of its symbols.
    Enum(usize),
    Array(Arc<Schema>),
    Map(Arc<Schema>),
    Union(Vec<Arc<Schema>>),
    Record(Vec<(String, Arc<Schema>)>),
}

impl Schema {
    /// Reads the JSON of a schema.
    ///
    /// # Errors
    ///
    /// One clause that says what is wrong with it.
    pub(crate) fn parse(text: &[u8]) -> Result<Arc<Self>, String> {
        let json: Value =
            serde_json::from_slice(text).map_err(|error| format!("it is no JSON: {error}"))?;
        Names::default().read(&json, "")
    }

    /// Whether it is a record with fields, as rows are.
    pub(super) fn is_row(&self) -> bool {
        matches!(&self.kind, Kind::Record(fields) if !fields.is_empty())
    }

    fn of(kind: Kind) -> Result<Arc<Self>, String> {
        let inner: Vec<&Schema> = match &kind {
            Kind::Array(inner) | Kind::Map(inner) => vec![inner],
            Kind::Union(branches) => branches.iter().map(AsRef::as_ref).collect(),
            Kind::Record(fields) => fields.iter().map(|(_, field)| field.as_ref()).collect(),
            _ => Vec::new(),
        };
        let sum = |of: fn(&Schema) -> u64| inner.iter().map(|it| of(it)).sum::<u64>();
        let parts = 1 + inner.iter().map(|it| it.parts).sum::<usize>();
        let depth = 1 + inner.iter().map(|it| it.depth).max().unwrap_or(0);
        let bytes_min = match &kind {
            Kind::Null => 0,
            Kind::Float => 4,
            Kind::Double => 8,
            Kind::Fixed(size) => *size as u64,
            Kind::Record(_) => sum(|it| it.bytes_min),
            _ => 1,
        };
        let width = match &kind {
            Kind::Null | Kind::Boolean => 1,
            Kind::Fixed(size) => WIDTH_MAX.max(*size as u64),
            // A branch that is not taken may have a value that stands for nothing.
            Kind::Union(_) | Kind::Record(_) => WIDTH_MAX + sum(|it| it.width),
            _ => WIDTH_MAX,
        };
        if parts > PARTS_MAX {
            return Err(format!("it has more than {PARTS_MAX} parts"));
        }
        if depth > DEPTH_MAX {
            return Err(format!("its types lie more than {DEPTH_MAX} deep in each other"));
        }
        Ok(Arc::new(Self { kind, bytes_min, width, parts, depth }))
    }
}

/// The types that have a name, by that in full; none while one is being read.
#[derive(Default)]
struct Names(BTreeMap<String, Option<Arc<Schema>>>);

impl Names {
    fn read(&mut self, json: &Value, namespace: &str) -> Result<Arc<Schema>, String> {
        match json {
            Value::String(name) => self.named(name, namespace),
            Value::Array(branches) => {
                let branches: Result<Vec<_>, _> =
                    branches.iter().map(|branch| self.read(branch, namespace)).collect();
                let branches = branches?;
                if branches.is_empty() {
                    return Err("a union in it has no branch".to_owned());
                }
                Schema::of(Kind::Union(branches))
            }
            Value::Object(members) => match members.get("type") {
                Some(Value::String(kind)) => self.complex(kind, members, namespace),
                Some(inner) => self.read(inner, namespace),
                None => Err("a type in it is not said".to_owned()),
            },
            _ => Err("a type in it is neither name, list nor object".to_owned()),
        }
    }

    fn named(&self, name: &str, namespace: &str) -> Result<Arc<Schema>, String> {
        let kind = match name {
            "null" => Kind::Null,
            "boolean" => Kind::Boolean,
            "int" => Kind::Int,
            "long" => Kind::Long,
            "float" => Kind::Float,
            "double" => Kind::Double,
            "bytes" => Kind::Bytes,
            "string" => Kind::Text,
            _ => {
                let full = full_name(name, namespace);
                return match self.0.get(&full) {
                    Some(Some(schema)) => Ok(Arc::clone(schema)),
                    Some(None) => {
                        Err(format!("`{name}` holds itself, for which there is no column"))
                    }
                    None => Err(format!("it names no type `{name}` before it uses it")),
                };
            }
        };
        Schema::of(kind)
    }

    fn complex(
        &mut self,
        kind: &str,
        members: &Map<String, Value>,
        namespace: &str,
    ) -> Result<Arc<Schema>, String> {
        let part = |name: &str| {
            members.get(name).ok_or_else(|| format!("a type `{kind}` in it lacks `{name}`"))
        };
        match kind {
            "array" => {
                let items = self.read(part("items")?, namespace)?;
                if items.bytes_min == 0 {
                    // A few bytes could name any number of them.
                    return Err("items of a list in it take no bytes".to_owned());
                }
                Schema::of(Kind::Array(items))
            }
            "map" => Schema::of(Kind::Map(self.read(part("values")?, namespace)?)),
            "record" | "error" | "enum" | "fixed" => {
                let name = part("name")?.as_str().ok_or("a name in it is no text")?;
                let within = members.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
                let full = full_name(name, within);
                self.0.insert(full.clone(), None);
                let list = |name: &str| {
                    let list = part(name)?.as_array();
                    list.ok_or_else(|| format!("`{name}` of `{full}` is no list"))
                };
                let kind = match kind {
                    "enum" => Kind::Enum(list("symbols")?.len()),
                    "fixed" => {
                        let size = part("size")?.as_u64().and_then(|it| usize::try_from(it).ok());
                        let size = size.filter(|size| *size <= FRAME_BYTES_MAX);
                        Kind::Fixed(
                            size.ok_or_else(|| format!("`{full}` has no size that can be"))?,
                        )
                    }
                    _ => {
                        // What it holds is in its namespace, unless that says otherwise.
                        let within = full.rsplit_once('.').map_or("", |(within, _)| within);
                        let mut fields = Vec::new();
                        for field in list("fields")? {
                            let name = field.get("name").and_then(Value::as_str);
                            let (Some(name), Some(kind)) = (name, field.get("type")) else {
                                return Err(format!("a field of `{full}` lacks `name` or `type`"));
                            };
                            fields.push((name.to_owned(), self.read(kind, within)?));
                        }
                        Kind::Record(fields)
                    }
                };
                let schema = Schema::of(kind)?;
                self.0.insert(full, Some(Arc::clone(&schema)));
                Ok(schema)
            }
            name => self.named(name, namespace),
        }
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    match name.contains('.') || namespace.is_empty() {
        true => name.to_owned(),
        false => format!("{namespace}.{name}"),
    }
}
