//! Every file of the robustness data: the right rows or a reason, never a panic.
//!
//! What is right is said by the data itself where it says so: JSONTestSuite by the names of its
//! files, csv-spectrum by the JSON beside each CSV. Of the others the counts must add up (S12), and
//! the few that hold a trap are named here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow::array::AsArray;
use serde_json::Value;
use thalweg_connect::codecs::columns::{ColumnsDecoder, carried_columns};
use thalweg_connect::codecs::csv::{CsvConfig, CsvDecoder, Header};
use thalweg_connect::codecs::json::{JsonConfig, JsonDecoder};
use thalweg_connect::sources::file::{Encoding, FileConfig, Framing, RowFormat};
use thalweg_core::decode::Decoder;
use thalweg_core::schema::{Column, ColumnType};
use thalweg_core::source::Chunk;

use super::{EVERYTHING, Rig};

fn recorded(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("THALWEG_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    let path = root.join("robustness").join(folder);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: no recorded data at {}", path.display());
    None
}

/// The files of a folder and those below it, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

fn text(name: &str, select: Option<&str>) -> Column {
    Column {
        name: name.to_owned(),
        kind: ColumnType::Text,
        nullable: true,
        select: select.map(str::to_owned),
        unit: None,
        allow_nan: true,
    }
}

/// What became of a file.
#[derive(Debug, Default)]
struct Outcome {
    /// Texts of each row; empty for NULL. Counted only, for rows of Parquet and Avro.
    rows: Vec<Vec<String>>,
    count: usize,
    reasons: Vec<String>,
}

/// Reads a file to its end.
async fn chunks(rig: &mut Rig) -> Vec<Chunk> {
    let mut all = Vec::new();
    for _ in 0..10_000 {
        let chunk = rig.read(EVERYTHING).await.unwrap();
        let is_end = chunk.at_end;
        let is_empty = chunk.frames.is_empty();
        all.push(chunk);
        if is_end {
            return all;
        }
        if is_empty {
            rig.pass(Duration::from_millis(500));
        }
    }
    panic!("it does not end");
}

/// Takes chunks as the intake of a source does; the counts add up.
fn take(decoder: &mut dyn Decoder, chunks: &[Chunk]) -> Outcome {
    let mut outcome = Outcome::default();
    for chunk in chunks {
        outcome.reasons.extend(chunk.unreadable.iter().map(|part| part.reason.clone()));
        outcome.reasons.extend(chunk.oversized.iter().map(|long| format!("{} bytes", long.length)));
        let decoded = decoder.decode(&chunk.frames).unwrap();
        let counts = decoded.frames;
        let frames = counts.decoded + counts.filtered + counts.quarantined;
        assert_eq!(frames, chunk.frames.len() as u64, "S12");
        for reject in &decoded.rejects {
            assert!(chunk.place(reject.frame).is_some(), "a reject has a place");
            outcome.reasons.push(reject.reason.clone());
        }
        outcome.count += decoded.rows.num_rows();
        let columns = &decoded.rows.columns()[..decoded.rows.num_columns() - 4];
        let texts: Vec<_> = columns.iter().filter_map(|it| it.as_string_opt::<i32>()).collect();
        for row in 0..decoded.rows.num_rows() {
            outcome.rows.push(texts.iter().map(|column| column.value(row).to_owned()).collect());
        }
    }
    outcome
}

async fn json(path: &Path, framing: Framing) -> Outcome {
    let bytes = fs::read(path).unwrap();
    let mut rig =
        Rig::over(&[("/data/a", &bytes)], FileConfig { framing, ..FileConfig::new("/data/*") });
    let column = Column { kind: ColumnType::Json, ..text("v", Some("$")) };
    let config = JsonConfig { columns: vec![column], ..JsonConfig::default() };
    take(&mut JsonDecoder::new(&config).unwrap(), &chunks(&mut rig).await)
}

async fn csv(path: &Path, header: bool, encoding: Option<&str>) -> (Vec<String>, Outcome) {
    let bytes = fs::read(path).unwrap();
    let encoding = encoding.and_then(|label| Encoding::for_label(label.as_bytes()));
    let framing = Framing::Csv { delimiter: b',', quote: b'"', header };
    let config = FileConfig { framing, encoding, ..FileConfig::new("/data/*") };
    let mut rig = Rig::over(&[("/data/a", &bytes)], config);
    let chunks = chunks(&mut rig).await;
    let names: Vec<String> = match rig.input.header_source()(0).unwrap() {
        Some(line) => {
            let line = String::from_utf8_lossy(&line).into_owned();
            line.split(',').map(|name| name.trim_matches('"').to_owned()).collect()
        }
        None => vec!["first".to_owned()],
    };
    let columns = names
        .iter()
        .enumerate()
        .map(|(index, name)| text(&format!("c{index}"), header.then_some(name)))
        .collect();
    let header = if header { Header::File } else { Header::None };
    let mut decoder = CsvDecoder::new(CsvConfig { columns, header, ..CsvConfig::default() })
        .unwrap()
        .with_headers(rig.input.header_source());
    let outcome = take(&mut decoder, &chunks);
    (names, outcome)
}

async fn rows(path: &Path, format: RowFormat) -> Outcome {
    let bytes = fs::read(path).unwrap();
    let config = FileConfig { framing: Framing::Rows(format), ..FileConfig::new("/data/*") };
    let mut rig = Rig::over(&[("/data/a", &bytes)], config);
    let chunks = chunks(&mut rig).await;
    let schema = chunks.iter().find_map(|chunk| Some(chunk.frames.rows.as_ref()?.schema()));
    let mut columns = schema.map(|schema| carried_columns(&schema)).unwrap_or_default();
    columns.iter_mut().for_each(|column| column.allow_nan = true);
    take(&mut ColumnsDecoder::new(columns).unwrap(), &chunks)
}

#[tokio::test]
async fn json_test_suite() {
    let Some(folder) = recorded("json-test-suite") else { return };
    let mut wrong = Vec::new();
    for path in files(&folder).iter().filter(|path| name(path).ends_with(".json")) {
        let outcome = json(path, Framing::Document).await;
        let is_right = match name(path).split_once('_').map(|(kind, _)| kind) {
            Some("y") => outcome.count == 1 && outcome.reasons.is_empty(),
            Some("n") => outcome.count == 0,
            _ => outcome.count + outcome.reasons.len() <= 1,
        };
        // An array that is one is read by its elements, too; one that is none gives a reason.
        let elements = json(path, Framing::Array).await;
        let is_right_by_elements =
            match fs::read(path).ok().map(|text| serde_json::from_slice(&text)) {
                Some(Ok(Value::Array(items))) => {
                    elements.count == items.len() && elements.reasons.is_empty()
                }
                Some(Ok(_)) => elements.count <= 1,
                _ if name(path).starts_with("n_") => {
                    let bytes = fs::read(path).unwrap();
                    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
                    !elements.reasons.is_empty() || text.trim_ascii().is_empty()
                }
                _ => true,
            };
        if !is_right || !is_right_by_elements {
            wrong.push(format!("{}: {outcome:?}, by elements {elements:?}", name(path)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn csv_spectrum() {
    let Some(folder) = recorded("csv-spectrum") else { return };
    for path in files(&folder.join("csvs")) {
        // One of them is in Latin-1, and so is what is expected of it.
        let bytes = fs::read(&path).unwrap();
        let label = std::str::from_utf8(&bytes).map_or(Some("windows-1252"), |_| None);
        let (names, outcome) = csv(&path, true, label).await;
        let encoding = Encoding::for_label(label.unwrap_or("utf-8").as_bytes()).unwrap();
        let expected = folder.join("json").join(name(&path)).with_extension("json");
        // One row is written without an array round it.
        let expected = fs::read(expected).unwrap();
        let expected = match serde_json::from_str(&encoding.decode(&expected).0).unwrap() {
            Value::Array(rows) => rows,
            row => vec![row],
        };
        let expected: Vec<BTreeMap<String, String>> =
            expected.into_iter().map(|row| serde_json::from_value(row).unwrap()).collect();
        let found: Vec<BTreeMap<String, String>> = outcome
            .rows
            .iter()
            .map(|row| names.iter().cloned().zip(row.iter().cloned()).collect())
            .collect();
        // The files with CRLF are stored with LF.
        let plain = |rows: Vec<BTreeMap<String, String>>| -> Vec<BTreeMap<String, String>> {
            let value = |(name, value): (String, String)| (name, value.replace("\r\n", "\n"));
            // The number of a telephone is another one in the CSV than beside it.
            let is_same = |(name, _): &(String, String)| name != "Contact Phone Number";
            let plain = |row: BTreeMap<String, String>| {
                row.into_iter().filter(is_same).map(value).collect()
            };
            rows.into_iter().map(plain).collect()
        };
        assert_eq!(plain(found), plain(expected), "{}", name(&path));
        assert!(outcome.reasons.is_empty(), "{}: {:?}", name(&path), outcome.reasons);
    }
}

#[tokio::test]
async fn csv_files_of_the_world() {
    let Some(folder) = recorded("csvkit") else { return };
    for path in files(&folder) {
        let (_, outcome) = csv(&path, true, None).await;
        let reasons = outcome.reasons.join("; ");
        match name(&path) {
            "mac_newlines.csv" => {
                assert_eq!(outcome.rows, [["1", "2", "3"], ["Once upon\ra time", "5", "6"]])
            }
            "test_utf16_big.csv" => {
                assert!(outcome.count == 2 && reasons.is_empty(), "{outcome:?}")
            }
            "dummy.csv.gz" => assert_eq!(outcome.rows, [["1", "2", "3"]]),
            "dummy.csv.bz2" => {
                assert!(outcome.count == 0 && reasons.contains("bzip2"), "{reasons}")
            }
            "test_latin1.csv" => assert!(reasons.contains("UTF-8"), "{reasons}"),
            "empty.csv" => assert_eq!((outcome.count, reasons.as_str()), (0, "")),
            name if name.ends_with(".xlsx") => {
                assert!(outcome.count == 0 && reasons.contains("spreadsheet"), "{name}: {reasons}");
            }
            _ => {}
        }
    }
    let (_, latin) = csv(&folder.join("test_latin1.csv"), true, Some("latin1")).await;
    assert!(latin.count == 2 && latin.reasons.is_empty(), "{latin:?}");
    let Some(ticks) = recorded("finance-odd/quote_tick_data_noheader.csv") else { return };
    let (_, outcome) = csv(&ticks, false, None).await;
    let lines = fs::read_to_string(&ticks).unwrap().lines().count();
    assert_eq!((outcome.count, outcome.reasons.len()), (lines, 0));
    let Some(naughty) = recorded("naughty-strings/blns.part1.txt") else { return };
    let outcome = json(&naughty, Framing::Lines).await;
    let lines = fs::read_to_string(&naughty).unwrap();
    let lines = lines.split('\n').filter(|line| !line.trim_ascii().is_empty()).count();
    assert!(outcome.count + outcome.reasons.len() <= lines && outcome.reasons.len() > lines / 2);
}

#[tokio::test]
async fn csv_of_arrow() {
    let Some(folder) = recorded("arrow-testing/csv") else { return };
    let (_, plain) = csv(&folder.join("aggregate_test_100.csv"), true, None).await;
    let (_, packed) = csv(&folder.join("aggregate_test_100.csv.gz"), true, None).await;
    assert_eq!((plain.count, plain.reasons.len()), (100, 0));
    assert_eq!(packed.rows, plain.rows);
    for path in files(&folder.join("fuzzing")) {
        csv(&path, true, None).await;
        csv(&path, false, Some("utf-16le")).await;
    }
}

#[tokio::test]
async fn avro_files() {
    let Some(folder) = recorded("arrow-testing/avro") else { return };
    let mut wrong = Vec::new();
    for path in files(&folder).iter().filter(|path| name(path).ends_with(".avro")) {
        let outcome = rows(path, RowFormat::Avro).await;
        if outcome.count == 0 || !outcome.reasons.is_empty() {
            wrong.push(format!("{}: {} rows, {:?}", name(path), outcome.count, outcome.reasons));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn parquet_files() {
    let Some(folder) = recorded("parquet-testing") else { return };
    let mut wrong = Vec::new();
    for path in files(&folder.join("data")) {
        if !name(&path).contains(".parquet") || name(&path).ends_with(".json") {
            continue;
        }
        let outcome = rows(&path, RowFormat::Parquet).await;
        let reasons = outcome.reasons.join("; ");
        let is_right = match name(&path) {
            encrypted if encrypted.ends_with(".encrypted") => {
                outcome.count == 0 && reasons.contains("encrypted")
            }
            // A footer that the library does not read, and a page that unpacks to 1 GiB.
            "dict-page-offset-zero.parquet" => reasons.contains("list element type"),
            "large_string_map.brotli.parquet" => reasons.contains("a page of 1073741828 bytes"),
            _ => reasons.is_empty(),
        };
        if !is_right {
            wrong.push(format!("{}: {} rows, {reasons}", name(&path), outcome.count));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn parquet_files_that_are_wrong() {
    for folder in ["parquet-testing/bad_data", "arrow-testing/parquet/fuzzing"] {
        let Some(folder) = recorded(folder) else { return };
        for path in files(&folder).iter().filter(|path| !name(path).ends_with(".md")) {
            let outcome = rows(path, RowFormat::Parquet).await;
            assert!(
                outcome.count > 0 || !outcome.reasons.is_empty(),
                "{}: neither rows nor a reason",
                name(path)
            );
        }
    }
}
