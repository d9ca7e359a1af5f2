//! Schemas × records × mutations: with shapes, without shapes, and the reference say the same.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::reference::{self, Verdict};
use super::*;
use crate::codecs::testing::cases;
use thalweg_core::schema::ColumnType;

/// Decisions of a generator, taken from bytes that proptest can shrink; 0 when they run out.
struct Dice<'a>(std::slice::Iter<'a, u16>);

impl Dice<'_> {
    fn below(&mut self, sides: usize) -> usize {
        self.0.next().map_or(0, |number| usize::from(*number) % sides)
    }

    fn one_in(&mut self, sides: usize) -> bool {
        self.below(sides) == sides - 1
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            items.swap(index, self.below(index + 1));
        }
    }
}

/// Columns a schema is drawn from; the first letter of the path says what records hold there.
const COLUMNS: [&str; 14] = [
    "symbol text not null from s",
    "price double from p",
    "volume double from v",
    "ts timestamp from t",
    "id bigint from i",
    "small int from i",
    "exact decimal(20,8) from p",
    "ok boolean from b",
    "any json from j",
    "inner double from k.p",
    "text text from k.l.s",
    "first text from a[0]",
    "single real from v",
    "day date from d",
];

const NUMBERS: [&str; 26] = [
    "0",
    "-0",
    "-0.0",
    "1e-400",
    "1e400",
    "01",
    "1.",
    ".5",
    "+1",
    "1E+5",
    "1.5e-3",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551616",
    "123456789012345678901234567890.5",
    "1.7976931348623159e308",
    "12345678",
    "1234567.8",
    "99999999.99999999",
    "NaN",
    "2147483648",
    "1e3",
    "1.0",
    "100000000000.12345678",
    "3.5e38",
];

const TEXTS: [&str; 20] = [
    "AAPL",
    "BINANCE:BTCUSDT",
    "",
    "a",
    "naïve",
    "日本",
    "q\\\"uote",
    "tab\\t",
    "\\u00e9",
    "1234567",
    "12345678",
    "123456789012345",
    "\\ud83d\\ude00",
    "\\ud83d",
    "2023-12-22",
    "null",
    "2023-12-22T15:24:04.022Z",
    "2023-12-22T15:24:04+01:00",
    "a much longer text than two words",
    "true",
];

const ODD: [&str; 12] = [
    "null",
    "true",
    "false",
    "[1,2]",
    "{\"a\":\"}\"}",
    "\"\"",
    "[]",
    "{}",
    "[[],{}]",
    "{\"p\":1,\"p\":2}",
    " 1 ",
    "[null, \"x\"]",
];

fn number(dice: &mut Dice<'_>) -> String {
    match dice.below(24) {
        0 => dice.pick(&NUMBERS).to_owned(),
        1 => format!("\"{}\"", dice.pick(&NUMBERS)),
        2 => format!("\"{}.{:08}\"", dice.below(60_000), dice.below(60_000)),
        3 => format!("{}.{}{}", dice.below(100), dice.below(60_000), dice.below(60_000)),
        4 => dice.below(1000).to_string(),
        _ => format!("{:.*}", dice.below(6), dice.below(60_000) as f64 / 97.0),
    }
}

fn value(key: u8, dice: &mut Dice<'_>) -> String {
    if dice.one_in(64) {
        return dice.pick(&ODD).to_owned();
    }
    match key {
        b's' | b'd' if dice.one_in(8) => format!("\"{}\"", dice.pick(&TEXTS)),
        b's' => format!("\"{}\"", dice.pick(&["AAPL", "BINANCE:BTCUSDT", "", "naïve"])),
        b'd' => format!("\"2023-12-{:02}\"", 1 + dice.below(31)),
        b'p' | b'v' => number(dice),
        b't' if dice.one_in(24) => format!("\"{}\"", dice.pick(&TEXTS)),
        b't' if dice.one_in(12) => number(dice),
        b't' => format!("17036242{:05}", dice.below(60_000)),
        b'i' => format!("{}{}", dice.pick(&["", "-", "", "1234567"]), dice.below(60_000)),
        b'b' => dice.pick(&["true", "false", "true", "null", "\"1\""]).to_owned(),
        b'k' => object(b"psl", dice),
        b'l' => object(b"s", dice),
        b'a' => {
            let items: Vec<_> = (0..dice.below(4)).map(|_| value(b's', dice)).collect();
            format!("[{}]", items.join(dice.pick(&[",", " , "])))
        }
        b'c' => dice.pick(&["null", "[]", "[\"1\",\"12\"]", "[\"1\"]", "{\"p\":[{}]}"]).to_owned(),
        _ => match dice.below(4) {
            0 => number(dice),
            1 => object(b"pk", dice),
            _ => dice.pick(&ODD).to_owned(),
        },
    }
}

/// An object with keys from `keys` in that order, or rarely another, some missing or twice.
fn object(keys: &[u8], dice: &mut Dice<'_>) -> String {
    let mut keys = keys.to_vec();
    if dice.one_in(8) {
        dice.shuffle(&mut keys);
    }
    if dice.one_in(12) && !keys.is_empty() {
        let key = dice.pick(&keys);
        keys.push(key);
    }
    if dice.one_in(8) && !keys.is_empty() {
        keys.remove(dice.below(keys.len()));
    }
    let (colon, comma) = if dice.one_in(8) { (" : ", " ,\n") } else { (":", ",") };
    let mut text = "{".to_owned();
    for (index, key) in keys.into_iter().enumerate() {
        if index > 0 {
            text += comma;
        }
        let name =
            if dice.one_in(40) { format!("\\u{:04x}", key) } else { char::from(key).to_string() };
        let _ = write!(text, "\"{name}\"{colon}{}", value(key, dice));
    }
    text + "}"
}

/// A config and frames for it.
fn case(dice: &mut Dice<'_>) -> (JsonConfig, Vec<Vec<u8>>) {
    let (first, others) = COLUMNS.split_at(1);
    let others = others.iter().filter(|_| dice.one_in(2));
    let columns: Vec<_> = first.iter().chain(others).copied().collect();
    let rows = dice.pick(&["$", "$[*]", "$.data[*]", "$.a.b[*]", "$.data", "$.e[*].r[*]"]);
    let only_if = match rows {
        "$" => dice.pick(&[None, Some("$.s != 'AAPL'"), Some("$.k.l.s is null")]),
        "$[*]" => None,
        "$.data" => dice.pick(&[Some("$.type = 'trade'"), Some("$.data.b = true")]),
        _ => dice.pick(&[None, Some("$.type = 'trade'")]),
    };
    let config = JsonConfig {
        columns: super::columns(&columns),
        rows: Some(path(rows)),
        only_if: only_if.map(condition),
        notices: Vec::new(),
    };
    // The order that most records of this feed have.
    let mut keys = *b"spctvibjkadx";
    let count = 4 + dice.below(keys.len() - 3);
    let keys = &mut keys[..count];
    dice.shuffle(keys);
    let frames = (0..1 + dice.below(12)).map(|_| frame(rows, keys, dice)).collect();
    (config, frames)
}

fn frame(rows: &str, keys: &[u8], dice: &mut Dice<'_>) -> Vec<u8> {
    let kind = match dice.below(6) {
        0 => dice.pick(&["\"ping\"", "null", "7"]),
        _ => "\"trade\"",
    };
    let list = |dice: &mut Dice<'_>| {
        let count = dice.below(4);
        let items: Vec<_> = (0..count)
            .map(|_| if dice.one_in(16) { value(b'x', dice) } else { object(keys, dice) })
            .collect();
        format!("[{}]", items.join(dice.pick(&[",", ", "])))
    };
    let wrap = |key: &str, inside: String, dice: &mut Dice<'_>| match dice.below(24) {
        0 => format!("{{\"type\":{kind},\"{key}\":{inside}}}"),
        1 => format!("{{\"{key}\":[{{}}],\"{key}\":{inside},\"type\":{kind}}}"),
        2 => format!("{{\"{key}\":{inside},\"{key}\":{},\"type\":{kind}}}", value(b'x', dice)),
        3 => format!("{{\"type\":{kind}}}"),
        _ => format!("{{\"{key}\":{inside},\"type\":{kind}}}"),
    };
    let text = match rows {
        "$" => object(keys, dice),
        "$[*]" => list(dice),
        "$.data[*]" => {
            let inside = list(dice);
            wrap("data", inside, dice)
        }
        "$.data" => {
            let inside = object(keys, dice);
            wrap("data", inside, dice)
        }
        "$.a.b[*]" => {
            let inside = list(dice);
            let inside = wrap("b", inside, dice);
            wrap("a", inside, dice)
        }
        _ => {
            let events: Vec<_> = (0..dice.below(3))
                .map(|_| {
                    let inside = list(dice);
                    wrap("r", inside, dice)
                })
                .collect();
            wrap("e", format!("[{}]", events.join(",")), dice)
        }
    };
    mutate(text.into_bytes(), dice)
}

fn mutate(mut bytes: Vec<u8>, dice: &mut Dice<'_>) -> Vec<u8> {
    if !dice.one_in(8) {
        return bytes;
    }
    for _ in 0..=dice.below(3) {
        let at = dice.below(bytes.len() + 1);
        let byte = dice.pick(b"{}[]\":,.-+eE019 \\\tnx\x01\xff\xc3");
        match dice.below(4) {
            0 if at < bytes.len() => bytes[at] = byte,
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.truncate(at),
            _ => bytes.insert(at, byte),
        }
    }
    bytes
}

/// The values of a row, floats by their bits, as the reference writes them.
fn exact(array: &dyn Array, kind: ColumnType, row: usize) -> String {
    if array.is_null(row) {
        return "null".to_owned();
    }
    match kind {
        ColumnType::Text | ColumnType::Json => array.as_string::<i32>().value(row).to_owned(),
        ColumnType::Boolean => array.as_boolean().value(row).to_string(),
        ColumnType::Int => array.as_primitive::<Int32Type>().value(row).to_string(),
        ColumnType::Bigint => array.as_primitive::<Int64Type>().value(row).to_string(),
        ColumnType::Real => {
            format!("{:x}", array.as_primitive::<Float32Type>().value(row).to_bits())
        }
        ColumnType::Double => {
            format!("{:x}", array.as_primitive::<Float64Type>().value(row).to_bits())
        }
        ColumnType::Decimal(..) => array.as_primitive::<Decimal128Type>().value(row).to_string(),
        ColumnType::Date => array.as_primitive::<Date32Type>().value(row).to_string(),
        ColumnType::Timestamp => {
            array.as_primitive::<TimestampMicrosecondType>().value(row).to_string()
        }
        ColumnType::Bytes => unreachable!("no such column here"),
    }
}

/// What the reference says of each frame, as `decoded` says it.
fn verdicts(config: &JsonConfig, decoded: &Decoded, frames: &Frames) -> Vec<Verdict> {
    let rows = &decoded.rows;
    let offsets = rows["_offset"].as_primitive::<Int64Type>();
    let numbers = rows["_row"].as_primitive::<Int32Type>();
    let mut next = 0;
    let mut rejects = decoded.rejects.iter().peekable();
    let mut filtered = decoded.frames.filtered;
    let verdicts = (0..frames.len())
        .map(|frame| {
            let mut found = Vec::new();
            let mut is_refused = false;
            loop {
                let is_next = next < rows.num_rows()
                    && offsets.value(next) == frame as i64
                    && numbers.value(next) as usize == found.len();
                if is_next {
                    let values = config.columns.iter().zip(rows.columns());
                    let values = values.map(|(column, array)| exact(array, column.kind, next));
                    found.push(Some(values.collect()));
                    next += 1;
                } else if let Some(reject) = rejects.next_if(|reject| reject.frame == frame) {
                    match reject.row {
                        Some(row) => assert_eq!(row as usize, found.len(), "S1: rows in order"),
                        None => is_refused = true,
                    }
                    found.push(None);
                } else {
                    break;
                }
            }
            match (is_refused, found.is_empty()) {
                (true, _) => Verdict::Refused,
                (false, false) => Verdict::Rows(found),
                // No rows: filtered, or an empty list; only the counts tell them apart.
                (false, true) => match reference::decode(config, frames.bytes(frame)) {
                    Verdict::Rows(rows) if rows.is_empty() => Verdict::Rows(rows),
                    _ => {
                        filtered -= 1;
                        Verdict::Filtered
                    }
                },
            }
        })
        .collect();
    assert_eq!((filtered, next), (0, rows.num_rows()), "S12: every frame and row was met once");
    verdicts
}

#[test]
fn three_decoders_say_the_same() {
    let by_shape = AtomicU64::new(0);
    let all = AtomicU64::new(0);
    let strategy = prop::collection::vec(any::<u16>(), 100..2_000);
    let config =
        ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) };
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&strategy, |numbers| {
        let (config, texts) = case(&mut Dice(numbers.iter()));
        let input = frames(&texts);
        let mut learning = JsonDecoder::new(&config).expect("a valid config");
        let mut unlearned = JsonDecoder::without_shapes(&config).expect("a valid config");
        let expected = unlearned.decode(&input).expect("no internal error");
        assert_balanced(&expected, &input);
        // The second time it knows the shapes of the first.
        for _ in 0..2 {
            let decoded = learning.decode(&input).expect("no internal error");
            prop_assert_eq!(&decoded.rows, &expected.rows);
            prop_assert_eq!(&decoded.rejects, &expected.rejects);
            prop_assert_eq!(decoded.frames, expected.frames);
        }
        let found = verdicts(&config, &expected, &input);
        for (index, (found, text)) in found.iter().zip(&texts).enumerate() {
            let expected = reference::decode(&config, text);
            prop_assert_eq!(
                found,
                &expected,
                "frame {}: {:?}",
                index,
                String::from_utf8_lossy(text)
            );
        }
        by_shape.fetch_add(learning.rows_by_shape(), Ordering::Relaxed);
        all.fetch_add(2 * expected.rows.num_rows() as u64, Ordering::Relaxed);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    let (by_shape, all) = (by_shape.into_inner(), all.into_inner());
    println!("{by_shape} of {all} rows were decoded by a shape");
    assert!(by_shape * 4 > all, "the generated records hardly meet a shape");
}
