//! Messages that another implementation wrote (`vectors.py`), and those that nobody should write.

use std::cell::RefCell;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use thalweg_core::frame::Frames;

use super::super::testing::{assert_balanced, cases, columns, frames, rows, show};
use super::*;

const VECTORS: &str = include_str!("vectors.json");

/// A message in parts.
struct Vector {
    schema: String,
    /// As it stands in front of the record.
    fingerprint: Vec<u8>,
    body: Vec<u8>,
    row: String,
}

fn vectors() -> Vec<Vector> {
    let all: Vec<Value> = serde_json::from_str(VECTORS).expect("JSON");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let vector = |value: &Value| Vector {
        schema: value["schema"].to_string(),
        fingerprint: bytes(&text(&value["fingerprint"])),
        body: bytes(&text(&value["body"])),
        row: text(&value["row"]),
    };
    all.iter().map(vector).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().map(|it| it.to_digit(16).expect("hex") as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

const TRADES: [&str; 4] =
    ["symbol text not null", "price decimal(20,4)", "volume double", "ts timestamp not null"];
const READINGS: [&str; 7] = [
    "id bytes from meter.id",
    "on boolean from meter.on",
    "before json",
    "day date",
    "values json",
    "tags json",
    "note text",
];

fn single(vector: &Vector) -> Vec<u8> {
    [&[0xc3, 1], &vector.fingerprint[..], &vector.body].concat()
}

fn confluent(id: u32, body: &[u8]) -> Vec<u8> {
    [&[0], &id.to_be_bytes()[..], body].concat()
}

/// Every schema of the vectors, by both framings.
fn decoders(declared: &[&str]) -> [AvroDecoder; 2] {
    let texts: Vec<String> = vectors().into_iter().map(|vector| vector.schema).collect();
    let ids = texts.iter().enumerate().map(|(number, text)| (number as u32, text.clone()));
    let ids = AvroSchemas::Ids(ids.collect());
    [AvroSchemas::Fingerprints(texts), ids]
        .map(|schemas| AvroDecoder::new(columns(declared), &schemas).expect("schemas"))
}

fn decode<T: AsRef<[u8]>>(decoder: &mut AvroDecoder, messages: &[T]) -> Decoded {
    let frames = frames(messages);
    let decoded = decoder.decode(&frames).expect("bytes are no reason to fail");
    assert_balanced(&decoded, &frames);
    decoded
}

#[test]
fn what_another_implementation_wrote_is_read() {
    for (declared, wanted) in [(&TRADES[..], 0..3), (&READINGS, 3..5)] {
        let [mut by_fingerprint, mut by_id] = decoders(declared);
        let of = |number: &usize| wanted.contains(number);
        let all: Vec<(usize, Vector)> =
            vectors().into_iter().enumerate().filter(|(number, _)| of(number)).collect();
        let messages: Vec<Vec<u8>> = all.iter().map(|(_, vector)| single(vector)).collect();
        let expected: String =
            all.iter().enumerate().map(|(at, (_, it))| format!("{at}.0 {}\n", it.row)).collect();
        assert_eq!(show(&decode(&mut by_fingerprint, &messages)), expected);
        let messages: Vec<Vec<u8>> =
            all.iter().map(|(id, vector)| confluent(*id as u32, &vector.body)).collect();
        assert_eq!(show(&decode(&mut by_id, &messages)), expected);
    }
}

#[test]
fn what_is_no_message_says_why() {
    let [mut by_fingerprint, mut by_id] = decoders(&TRADES);
    let vectors = vectors();
    let whole = single(&vectors[0]);
    let at = whole.len();
    let with = |from: usize, part: &[u8]| {
        let mut message = whole.clone();
        message.splice(from..from + part.len(), part.iter().copied());
        message
    };
    let check = |decoder: &mut AvroDecoder, message: &[u8], reason: &str| {
        let good = whole.clone();
        let good = if decoder.framing.split(&good).is_ok() {
            good
        } else {
            confluent(0, &vectors[0].body)
        };
        let shown = show(&decode(decoder, &[&good[..], message, &good]));
        let row = &vectors[0].row;
        assert_eq!(shown, format!("0.0 {row}\n2.0 {row}\n! 1 {reason}\nquarantined 1\n"));
    };
    let single = &mut by_fingerprint;
    check(single, b"", "expected c301 of Avro's single-object encoding, found nothing");
    check(single, b"{\"symbol\"", "expected c301 of Avro's single-object encoding, found 7b22");
    check(single, &whole[..9], "cut off before the name of its schema ends");
    check(single, &with(2, &[0; 8]), "no schema with the fingerprint 0000000000000000");
    check(single, &whole[..10], "symbol: cut off");
    check(single, &whole[..at - 1], "ts: cut off");
    check(single, &[&whole[..], b"xyz"].concat(), "bytes left behind the record: 3");
    check(single, &[&whole[..], &whole].concat(), &format!("bytes left behind the record: {at}"));
    // Lengths that are not, in front of a text.
    check(single, &with(10, &[0xfe, 0xff, 0xff, 0xff, 0x0f]), "symbol: cut off");
    check(single, &with(10, &[0x01]), "symbol: a negative length");
    check(single, &with(10, &[0xff; 10]), "symbol: a number that does not end");
    check(single, &with(11, &[0xff]), "symbol: bytes that are not UTF-8");
    // The branch of a union.
    let branch = 10 + 5 + 4;
    assert_eq!(whole[branch], 2);
    check(single, &with(branch, &[4]), "volume: there is no branch 2");
    check(single, &with(branch, &[3]), "volume: there is no branch -2");
    // Wider than its decimal: the walk cannot know, the reader does.
    let wide = [&whole[..15], &[0x50], &[0x7f; 40], &whole[branch..]].concat();
    let told = show(&decode(single, &[&whole[..], &wide, &whole]));
    assert_eq!(told.lines().filter(|line| line.starts_with("! 1")).count(), 1, "{told}");
    assert_eq!(told.lines().filter(|line| line.contains("AAPL")).count(), 2, "{told}");

    check(&mut by_id, b"\x01\0\0\0\0", "expected 00 of Confluent's framing, found 01");
    check(&mut by_id, b"\0\0\0\0", "cut off before the name of its schema ends");
    check(&mut by_id, b"\0\0\0\x01\x00", "no schema with the id 256");
}

#[test]
fn a_row_is_refused_alone_where_its_record_does_not_fit_the_columns() {
    let [mut decoder, _] = decoders(&["symbol text not null", "venue text not null", "ts bigint"]);
    let messages: Vec<Vec<u8>> = vectors()[..3].iter().map(single).collect();
    let told = show(&decode(&mut decoder, &messages));
    assert!(told.starts_with("! 0.0 "), "{told}");
    let [mut decoder, _] = decoders(&["symbol text", "venue text not null"]);
    let expected = "2.0 symbol=VOD venue=LSE\n\
                    ! 0.0 venue: null in a column that is not null\n\
                    ! 1.0 venue: null in a column that is not null\n";
    assert_eq!(show(&decode(&mut decoder, &messages)), expected);
}

#[test]
fn records_of_many_schemas_come_out_in_the_order_of_their_frames() {
    let [mut decoder, _] = decoders(&TRADES);
    let (vectors, count) = (vectors(), 3 * BATCH_ROWS);
    let messages: Vec<Vec<u8>> = (0..count).map(|number| single(&vectors[number % 3])).collect();
    let decoded = decode(&mut decoder, &messages);
    let offsets: Vec<i64> = rows(&decoded.rows).iter().map(|row| row.offset).collect();
    assert!(offsets.iter().copied().eq(0..count as i64));
}

#[test]
fn a_schema_that_cannot_be_read_says_why() {
    let check = |schema: Value, reason: &str| {
        let error = record_schema(&schema.to_string()).expect_err("it is none");
        assert_eq!(error.detail.as_deref(), Some(reason), "{schema}");
    };
    let record = |kind: Value| json!({"type": "record", "name": "R", "fields": [{"name": "a", "type": kind}]});
    check(json!("string"), "it is of no record with fields");
    check(json!({"type": "record", "name": "R", "fields": []}), "it is of no record with fields");
    check(record(json!("Date")), "it names no type `Date` before it uses it");
    check(record(json!(["null", "R"])), "`R` holds itself, for which there is no column");
    let nothing = json!({"type": "record", "name": "N", "fields": []});
    for items in [json!("null"), nothing.clone(), json!({"type": "fixed", "name": "F", "size": 0})]
    {
        let list = json!({"type": "array", "items": items});
        check(record(list), "items of a list in it take no bytes");
    }
    // By its name, too.
    let fields = json!([{"name": "a", "type": nothing}, {"name": "b", "type": {"type": "array", "items": "N"}}]);
    let named = json!({"type": "record", "name": "R", "fields": fields});
    check(named, "items of a list in it take no bytes");
    let deep = (0..70).fold(json!("int"), |inner, _| json!({"type": "array", "items": inner}));
    check(record(deep), "its types lie more than 64 deep in each other");
    // Each of forty records holds the one before it twice.
    let mut fields = vec![json!({"name": "f0", "type": record(json!("int"))})];
    for number in 1..40 {
        let inner = if number == 1 { "R".to_owned() } else { format!("R{}", number - 1) };
        let twice = json!([{"name": "a", "type": inner}, {"name": "b", "type": inner}]);
        let kind = json!({"type": "record", "name": format!("R{number}"), "fields": twice});
        fields.push(json!({"name": format!("f{number}"), "type": kind}));
    }
    let many = json!({"type": "record", "name": "Many", "fields": fields});
    check(many, "it has more than 10000 parts");
    assert!(record_schema("{").is_err());
}

#[test]
fn few_bytes_cannot_come_to_many() {
    // Each item that is NULL takes a byte, and a megabyte in a column.
    let wide = json!({"type": "fixed", "name": "Wide", "size": 1_000_000});
    let items = json!({"type": "array", "items": ["null", wide]});
    let schema = json!({"type": "record", "name": "R", "fields": [{"name": "a", "type": items}]});
    let schemas = AvroSchemas::Ids(BTreeMap::from([(1, schema.to_string())]));
    let mut decoder = AvroDecoder::new(columns(&["a json"]), &schemas).expect("a schema");
    // A thousand of them in one block.
    let body = [&[0xd0, 0x0f][..], &[0; 1_000], &[0]].concat();
    let told = show(&decode(&mut decoder, &[confluent(1, &body)]));
    assert_eq!(told, format!("! 0 a: it comes to more than {SIZE_MAX} bytes\nquarantined 1\n"));
}

/// Bytes of a message, some of them others.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0..4_u8);
    (0..5_usize, any::<bool>(), vec(change, 0..6)).prop_map(|(number, is_single, changes)| {
        let vector = &vectors()[number];
        let mut message = match is_single {
            true => single(vector),
            false => confluent(number as u32, &vector.body),
        };
        for (at, byte, kind) in changes {
            let at = at.index(message.len() + 1);
            match kind {
                0 => message.truncate(at.max(1)),
                1 => message.insert(at, byte),
                2 if at < message.len() => drop(message.remove(at)),
                _ if at < message.len() => message[at] = byte,
                _ => message.push(byte),
            }
        }
        message
    })
}

#[test]
fn any_bytes_are_rows_or_refused_and_the_others_are_read() {
    let decoders = RefCell::new([decoders(&TRADES), decoders(&READINGS)]);
    let good = [single(&vectors()[0]), single(&vectors()[3])];
    let mut runner =
        TestRunner::new(ProptestConfig { cases: cases(), ..ProptestConfig::default() });
    let property = |messages: Vec<Vec<u8>>| {
        for ([by_fingerprint, by_id], good) in decoders.borrow_mut().iter_mut().zip(&good) {
            decode(by_id, &messages);
            let mut messages = messages.clone();
            messages.push(good.clone());
            let frames: Frames = frames(&messages);
            let decoded = by_fingerprint.decode(&frames).expect("never fails");
            assert_balanced(&decoded, &frames);
            let last = rows(&decoded.rows).last().map(|row| row.offset);
            prop_assert_eq!(last, Some(messages.len() as i64 - 1), "the good one is read");
        }
        Ok(())
    };
    runner.run(&vec(prop_oneof![mutated(), vec(any::<u8>(), 0..40)], 0..6), property).expect("S30");
}
