//! The format of Avro: files that carry their schema, or messages that name it.

use std::collections::BTreeMap;

use super::Format;
use crate::codes::{self, Telling as _};
use crate::entry::Entry;
use crate::spanned::Spanned;

/// The schemas of messages, and how a message names its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AvroMessages {
    /// By fingerprint: Avro's single-object encoding.
    Fingerprints(Vec<AvroSchema>),
    /// By id: Confluent's framing.
    Ids(BTreeMap<u32, AvroSchema>),
}

/// A schema of Avro.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvroSchema {
    /// The file it stands in, relative to the project folder.
    pub path: Spanned<String>,
    /// Its JSON.
    pub text: String,
}

impl AvroMessages {
    /// Every schema, the oldest first as far as the file says so.
    pub fn schemas(&self) -> Vec<&AvroSchema> {
        match self {
            Self::Fingerprints(schemas) => schemas.iter().collect(),
            Self::Ids(schemas) => schemas.values().collect(),
        }
    }
}

pub(super) fn lower_avro(entry: Entry<'_>) -> Option<Format> {
    let (list, ids) = (entry.child("schemas"), entry.child("ids"));
    let schemas: Vec<_> = list.items().into_iter().map(lower_schema).collect();
    let members: Vec<_> =
        ids.members().into_iter().map(|(id, it)| (id, lower_schema(it))).collect();
    for written in [list, ids].into_iter().filter_map(Entry::written) {
        if schemas.is_empty() && members.is_empty() {
            let problem = codes::problem(codes::MALFORMED, "no schema is named", written.place());
            entry.report(problem.hint("Without `schemas` and `ids` it is files that are read."));
            return None;
        }
    }
    if list.written().is_some() {
        let schemas: Option<Vec<_>> = schemas.into_iter().collect();
        return Some(Format::AvroMessages(AvroMessages::Fingerprints(schemas?)));
    }
    if ids.written().is_none() {
        return Some(Format::Avro);
    }
    let mut schemas = BTreeMap::new();
    let mut are_ids = true;
    for (id, schema) in members {
        match (id.parse::<u32>(), schema) {
            (Ok(number), Some(schema)) => drop(schemas.insert(number, schema)),
            (Ok(_), None) => are_ids = false,
            (Err(_), _) => {
                let message = format!("`{id}` is no id of a schema");
                let problem = codes::problem(codes::BAD_NAME, message, id.place.clone());
                entry.report(
                    problem.hint("A registry counts them: `ids = { 7 = \"trade.avsc\" }`."),
                );
                are_ids = false;
            }
        }
    }
    are_ids.then_some(Format::AvroMessages(AvroMessages::Ids(schemas)))
}

fn lower_schema(entry: Entry<'_>) -> Option<AvroSchema> {
    Some(AvroSchema { path: entry.read_spanned()?, text: entry.read_file()?.to_owned() })
}
