//! The JSON Schema of the project file, made from the table of keys.
//!
//! Draft 2020-12, of which it uses what every editor's checker knows. Which keys exclude each other
//! is left out: checkers explain that badly, and `check` explains it well. Keys and words that are
//! not built yet are offered as what they are.

use serde_json::{Map, Value, json};

use crate::keys::{self, KeyNode, Shape, State};

/// The schema that `#:schema .thalweg/schema.json` names.
pub fn schema() -> Value {
    let mut schema = table(keys::root());
    schema.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
    schema.insert("title".to_owned(), "thalweg project file".into());
    Value::Object(schema)
}

fn table(keys: &KeyNode) -> Map<String, Value> {
    let mut schema = Map::new();
    schema.insert("type".to_owned(), "object".into());
    if !keys.children.is_empty() {
        let properties: Map<String, Value> =
            keys.children.iter().map(|(name, child)| ((*name).to_owned(), entry(child))).collect();
        schema.insert("properties".to_owned(), properties.into());
    }
    let any = keys.any.as_deref();
    // A planned table may say too little of what it holds.
    let is_open = any.is_none() && keys.children.is_empty() && keys.planned.is_some();
    schema.insert("additionalProperties".to_owned(), any.map_or(is_open.into(), entry));
    let required: Vec<&str> = keys
        .children
        .iter()
        .filter(|(_, child)| child.key().is_required)
        .map(|(name, _)| *name)
        .collect();
    if !required.is_empty() {
        schema.insert("required".to_owned(), required.into());
    }
    schema
}

fn entry(keys: &KeyNode) -> Value {
    let key = keys.key();
    let mut schema = value(&key.shape, keys);
    let doc = match keys.planned {
        Some(_) => format!("Not built yet. {}", key.doc),
        None => key.doc.to_owned(),
    };
    schema.insert("description".to_owned(), doc.into());
    if let Some(default) = key.default {
        schema.insert("default".to_owned(), typed(&key.shape, default));
    } else if let Some(example) = key.example {
        schema.insert("examples".to_owned(), vec![typed(&key.shape, example)].into());
    }
    Value::Object(schema)
}

/// What a value of a shape looks like; the keys are those of its tables.
fn value(shape: &Shape, keys: &KeyNode) -> Map<String, Value> {
    let schema = match shape {
        Shape::Table => {
            let table = table(keys);
            match keys.key.and_then(|key| key.short_for) {
                Some(short) => json!({ "anyOf": [entry(&keys.children[short]), table] }),
                None => return table,
            }
        }
        Shape::List(inner) => json!({ "type": "array", "items": value(inner, keys) }),
        Shape::Boolean => json!({ "type": "boolean" }),
        Shape::Integer { min, max } if *max == i64::MAX => {
            json!({ "type": "integer", "minimum": min })
        }
        Shape::Integer { min, max } => {
            json!({ "type": "integer", "minimum": min, "maximum": max })
        }
        Shape::Choice(words) => {
            let built = words.iter().filter(|word| word.state == State::Built);
            let words: Vec<&str> = built.map(|word| word.text).collect();
            json!({ "type": "string", "enum": words })
        }
        Shape::Rows => json!({
            "anyOf": [
                { "type": "string" },
                { "type": "array", "items": { "type": "object" } },
            ],
        }),
        Shape::Listen => json!({
            "anyOf": [
                { "type": "integer", "minimum": 0, "maximum": 65535 },
                { "type": "string" },
            ],
        }),
        shape => match shape.pattern() {
            Some(pattern) => json!({ "type": "string", "pattern": format!("^({pattern})$") }),
            None => json!({ "type": "string" }),
        },
    };
    match schema {
        Value::Object(schema) => schema,
        _ => Map::new(),
    }
}

/// A default or example as JSON.
fn typed(shape: &Shape, text: &str) -> Value {
    match shape {
        Shape::Boolean => (text == "true").into(),
        Shape::Integer { .. } => text.parse::<i64>().map_or(Value::Null, Value::from),
        // Lists are written alike in TOML and JSON, but for single quotes.
        Shape::List(_) => serde_json::from_str(text).unwrap_or_else(|_| {
            vec![text.trim_matches(['[', ']']).trim().trim_matches('\'')].into()
        }),
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_table_is_in_the_schema_with_its_sentence() {
        let schema = schema();
        for key in keys::keys() {
            let found = find(&schema, key).unwrap_or_else(|| panic!("`{}`", key.path));
            let description = found["description"].as_str().unwrap_or_default();
            assert!(description.ends_with(key.doc), "`{}`: {description}", key.path);
        }
    }

    /// What the schema says of a key.
    fn find<'a>(schema: &'a Value, key: &keys::Key) -> Option<&'a Value> {
        key.path.split('.').try_fold(schema, |schema, part| {
            let mut schema = schema;
            while let Some(items) = schema.get("items") {
                schema = items;
            }
            if let Some(table) = schema.pointer("/anyOf/1") {
                schema = table;
            }
            match part {
                "*" => schema.get("additionalProperties"),
                name => schema.get("properties")?.get(name),
            }
        })
    }

    #[test]
    fn the_schema_says_what_a_value_is() {
        let schema = schema();
        let watermark =
            &schema["properties"]["source"]["additionalProperties"]["properties"]["watermark"];
        assert_eq!(watermark["default"], "5s");
        assert_eq!(watermark["type"], "string");
        let mode = &schema["properties"]["sink"]["additionalProperties"]["properties"]["mode"];
        assert_eq!(mode["enum"], json!(["append", "upsert", "changelog"]));
        let null = &schema["properties"]["source"]["additionalProperties"]["properties"]["format"]
            ["properties"]["csv"]["properties"]["null"];
        assert_eq!(null["default"], json!([""]));
    }
}
