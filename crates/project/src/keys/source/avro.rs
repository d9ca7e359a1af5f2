//! Keys of Avro: files, which carry their schema, and messages, which name theirs.

use crate::keys::{Group, Key, Shape, key};

const SCHEMAS: Shape = Shape::List(&Shape::AvroFile);

pub(in crate::keys) const GROUPS: &[Group] = &[Group {
    path: "source.*.format.avro",
    keys: &["schemas", "ids"],
    is_required: false,
    noun: "a way to name schemas",
}];

pub(in crate::keys) const KEYS: &[Key] = &[
    key(
        "source.*.format.avro",
        Shape::Table,
        "Avro. Files are object containers; a message is one record behind the name of its schema. \
         Either brings its columns, unless some are declared.",
    ),
    key(
        "source.*.format.avro.schemas",
        SCHEMAS,
        "Schemas of messages in Avro's single-object encoding, which name theirs by its \
         fingerprint.",
    )
    .example(r#"["schemas/trade.avsc", "schemas/trade-2.avsc"]"#),
    key(
        "source.*.format.avro.ids",
        Shape::Table,
        "Schemas of messages in Confluent's framing, by their ids in the registry. The registry \
         itself is not asked.",
    ),
    key("source.*.format.avro.ids.*", Shape::AvroFile, "The schema with this id.")
        .example("schemas/trade.avsc"),
];
