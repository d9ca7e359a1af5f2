//! The rules of CSV decoding, one table a rule; and decoding that begins in the middle.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use thalweg_core::ErrorKind;
use thalweg_core::frame::FRAME_BYTES_MAX;

use super::*;
use crate::codecs::testing::{
    assert_balanced, cases, column, columns, frames, frames_at, recorded, rows, show,
};

fn config(texts: &[&str]) -> CsvConfig {
    CsvConfig { columns: columns(texts), ..CsvConfig::default() }
}

#[track_caller]
fn check(config: &CsvConfig, texts: &[(i64, &str)], expected: &str) {
    let input = frames_at(texts);
    let mut decoder = CsvDecoder::new(config.clone()).expect("a valid config");
    let decoded = decoder.decode(&input).expect("no error");
    assert_balanced(&decoded, &input);
    assert_eq!(show(&decoded), expected);
}

/// Offset of a byte in a file.
fn at(file: i64, byte: i64) -> i64 {
    (file << FILE_BITS) + byte
}

#[test]
fn fields_are_found_by_their_header_in_each_file() {
    let (first, second) = (at(1, 8), at(2, 14));
    check(
        &config(&["id bigint not null", "name text from First Name"]),
        &[
            (at(1, 0), "id,First Name\n"),
            (first, "1,\"Ann, \"\"A\"\"\"\r\n"),
            (at(2, 0), "\u{feff}First Name,x,id"),
            (second, "Bob,,2"),
        ],
        &format!("{first}.0 id=1 name=Ann, \"A\"\n{second}.0 id=2 name=Bob\nfiltered 2\n"),
    );
}

#[test]
fn a_header_stands_behind_a_byte_order_mark() {
    check(&config(&["id bigint"]), &[(3, "id\n"), (6, "1\n")], "6.0 id=1\nfiltered 1\n");
    // A record at byte 3 behind a header at byte 0 is a record.
    check(&config(&["id bigint"]), &[(0, "id\n"), (3, "1\n")], "3.0 id=1\nfiltered 1\n");
}

#[test]
fn each_type_is_read_and_null_has_its_spellings() {
    let wanted = [
        "t text",
        "b boolean",
        "i int",
        "l bigint",
        "r real",
        "d double",
        "x decimal(8,2)",
        "y date",
        "z timestamp",
        "j json",
        "o bytes",
    ];
    let config = CsvConfig {
        null: vec![String::new(), "NA".to_owned()],
        header: Header::None,
        ..config(&wanted)
    };
    check(
        &config,
        &[
            (
                0,
                "a ,TRUE,-1,2,0.5,8e-05,1.50,2023-12-22,2023-12-22 15:24:04,\"{\"\"a\"\":1}\",aGk=",
            ),
            (1, "NA,,NA,,NA,,NA,,NA,,NA"),
            (2, "na,na,NA,,NA,,NA,,NA,,NA"),
            (3, "a,1, 1,,NA,,NA,,NA,,NA"),
        ],
        "0.0 t=a  b=true i=-1 l=2 r=0.5 d=0.00008 x=1.50 y=2023-12-22 z=2023-12-22T15:24:04Z \
         j={\"a\":1} o=6869\n\
         1.0 t=null b=null i=null l=null r=null d=null x=null y=null z=null j=null o=null\n\
         ! 2.0 b: expected true or false, found \"na\"\n\
         ! 3.0 i: expected a whole number, found \" 1\"\n",
    );
}

#[test]
fn a_null_in_a_not_null_column_is_a_reject() {
    let config = CsvConfig { header: Header::None, ..config(&["a text not null", "b double"]) };
    check(
        &config,
        &[(0, ",1"), (1, "x,1"), (2, "x,\"abc\""), (3, "x,NaN")],
        "1.0 a=x b=1.0\n\
         ! 0.0 a: null in a column that is not null\n\
         ! 2.0 b: expected a number, found \"abc\"\n\
         ! 3.0 b: \"NaN\" is not a finite number\n",
    );
}

#[test]
fn ragged_records_are_rejects_with_their_counts() {
    check(
        &config(&["a text", "b text"]),
        &[(0, "a,b,c"), (6, "1,2"), (10, "1,2,3"), (16, "1,2,3,")],
        "10.0 a=1 b=2\n\
         ! 6.0 2 fields under a header of 3\n\
         ! 16.0 4 fields under a header of 3\nfiltered 1\n",
    );
    let positions = CsvConfig { header: Header::None, ..config(&["a text", "d text from [3]"]) };
    check(
        &positions,
        &[(0, "1,2,3,4"), (1, "1,2,3,4,5"), (2, "1,2,3")],
        "0.0 a=1 d=4\n1.0 a=1 d=4\n! 2.0 3 fields where the columns need 4\n",
    );
}

#[test]
fn a_header_that_does_not_fit_refuses_its_file_only() {
    check(
        &config(&["price double not null", "size double"]),
        &[
            (at(0, 0), "Price,size"),
            (at(0, 11), "1,2"),
            (at(1, 0), "price,size,price"),
            (at(1, 11), "1,2,3"),
            (at(2, 0), "x,price"),
            (at(2, 11), "1,2"),
            (at(3, 0), "price,\"size"),
            (at(3, 11), "1,2"),
        ],
        &format!(
            "{}.0 price=2.0 size=null\n\
             ! {} header: no `price`, but `Price`\n\
             ! {} header: `price` stands twice\n\
             ! {} a quote is not closed\n\
             ! {} the header of the file is not known\n\
             filtered 3\nquarantined 4\n",
            at(2, 11),
            at(0, 11),
            at(1, 11),
            at(3, 0),
            at(3, 11),
        ),
    );
    check(
        &config(&["a text", "b text"]),
        &[(0, "1,2"), (4, "3,4")],
        "! 4 header: none of the columns\nfiltered 1\nquarantined 1\n",
    );
}

#[test]
fn broken_frames_are_refused_whole() {
    let config = CsvConfig { header: Header::None, ..config(&["a text", "b text"]) };
    let texts: [&[u8]; 5] = [b"1,\xff", b"1,\"2", b"1,\"2\n", b"", b"\r\n\n"];
    let input = frames(&texts);
    let decoded =
        CsvDecoder::new(config).and_then(|mut decoder| decoder.decode(&input)).expect("no error");
    assert_balanced(&decoded, &input);
    assert_eq!(
        show(&decoded),
        "! 0 not UTF-8 at byte 2\n! 1 a quote is not closed\n! 2 a quote is not closed\n\
         filtered 2\nquarantined 3\n"
    );
}

#[test]
fn a_frame_may_hold_a_whole_table() {
    let config = CsvConfig { header: Header::Frame, ..config(&["x bigint not null"]) };
    check(
        &config,
        &[(0, "x,y\r\n1,a\r\n\r\n?,b\n3,\"c\nd\"\n4"), (1, "y\n1"), (2, "x\n"), (3, "y,x\na,5\n")],
        "0.0 x=1\n0.2 x=3\n3.0 x=5\n\
         ! 0.1 x: expected a whole number, found \"?\"\n\
         ! 0.3 1 fields under a header of 2\n\
         ! 1 header: no `x`, but `y`\nfiltered 1\nquarantined 1\n",
    );
}

#[test]
fn delimiters_and_quotes_are_as_configured() {
    let piped = CsvConfig {
        delimiter: b'|',
        quote: b'\'',
        header: Header::None,
        ..config(&["a text", "b text"])
    };
    check(&piped, &[(0, "'x|y'|\"z\"")], "0.0 a=x|y b=\"z\"\n");
}

#[test]
fn a_frame_has_a_bounded_length() {
    let config = CsvConfig { header: Header::None, ..config(&["a text"]) };
    let long = "x".repeat(FRAME_BYTES_MAX + 1);
    check(
        &config,
        &[(0, &long)],
        "! 0 10000001 bytes, and a frame has 10000000 at most\nquarantined 1\n",
    );
}

#[test]
fn a_record_has_a_bounded_number_of_fields() {
    let config = CsvConfig { header: Header::None, ..config(&["a text"]) };
    let full = ",".repeat(65_535);
    let more = ",".repeat(65_536);
    let expected = "0.0 a=null\n! 1 more than 65536 fields in a record\nquarantined 1\n";
    check(&config, &[(0, &full), (1, &more)], expected);
}

#[test]
fn a_config_that_cannot_work_is_refused() {
    let positions = |select: &str| CsvConfig {
        header: Header::None,
        columns: vec![column(&format!("a text from {select}"))],
        ..CsvConfig::default()
    };
    for config in [
        CsvConfig { delimiter: b'\n', ..config(&["a text"]) },
        CsvConfig { quote: b'\r', ..config(&["a text"]) },
        CsvConfig { delimiter: 0xFF, ..config(&["a text"]) },
        CsvConfig { quote: b',', ..config(&["a text"]) },
        config(&["a text", "a text"]),
        config(&["_row text"]),
        positions("price"),
        positions("[-1]"),
    ] {
        let error = CsvDecoder::new(config).err().expect("refused");
        assert_eq!(error.kind, ErrorKind::Invalid);
    }
}

/// Records of two files, the second with another order of columns.
fn two_files() -> Vec<(i64, &'static str)> {
    vec![
        (at(0, 0), "a,b\n"),
        (at(0, 4), "1,x\n"),
        (at(0, 8), "2,y\n"),
        (at(1, 3), "b,a\n"),
        (at(1, 7), "z,3\n"),
        (at(1, 11), "w,?\n"),
    ]
}

fn headers() -> HeaderSource {
    Box::new(|file| {
        Ok(["a,b\n", "\u{feff}b,a\n"].get(file as usize).map(|text| Bytes::from(*text)))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases() / 20))]

    /// However the records are cut into calls, and whether a decoder is new or not, the rows are
    /// the same.
    #[test]
    fn cuts_and_restarts_change_nothing(cuts in prop::collection::vec((0..6_usize, any::<bool>()), 0..5)) {
        let config = config(&["a bigint not null", "b text"]);
        let new = || CsvDecoder::new(config.clone()).expect("a valid config").with_headers(headers());
        let records = two_files();
        let whole = new().decode(&frames_at(&records)).expect("no error");
        let mut decoder = new();
        let mut text = String::new();
        let mut filtered = 0;
        let mut begin = 0;
        let mut cuts = cuts;
        cuts.sort_unstable();
        cuts.push((records.len(), false));
        let mut rejects = String::new();
        for (end, restarts) in cuts {
            let part = decoder.decode(&frames_at(&records[begin..end])).expect("no error");
            let shown = show(&part);
            filtered += part.frames.filtered;
            for line in shown.lines().filter(|line| !line.starts_with("filtered")) {
                let target = if line.starts_with('!') { &mut rejects } else { &mut text };
                target.push_str(line);
                target.push('\n');
            }
            if restarts {
                decoder = new();
            }
            begin = end;
        }
        prop_assert_eq!(format!("{text}{rejects}filtered {filtered}\n"), show(&whole));
    }

    /// No bytes make the decoder panic, and the frames add up.
    #[test]
    fn every_frame_has_an_outcome(texts in prop::collection::vec("[a1,\"\r\n é]{0,20}", 0..8)) {
        for header in [Header::None, Header::File, Header::Frame] {
            let config = CsvConfig { header, ..config(&["a bigint"]) };
            let input = frames(&texts);
            let decoded = CsvDecoder::new(config)
                .and_then(|mut decoder| decoder.decode(&input))
                .expect("no error");
            assert_balanced(&decoded, &input);
        }
    }
}

#[test]
fn a_header_that_cannot_be_read_now_stops_the_call_and_can_be_asked_again() {
    let answers = Arc::new(Mutex::new(vec![
        Ok(Some(Bytes::from("a\n"))),
        Err(Error::unavailable("the file server does not answer")),
    ]));
    let source: HeaderSource = {
        let answers = Arc::clone(&answers);
        Box::new(move |_| answers.lock().expect("not poisoned").pop().expect("asked twice at most"))
    };
    let mut decoder = CsvDecoder::new(config(&["a bigint"])).expect("valid").with_headers(source);
    let input = frames_at(&[(at(0, 10), "1"), (at(0, 12), "2")]);
    let error = decoder.decode(&input).expect_err("unavailable");
    assert_eq!(error.kind, ErrorKind::Unavailable);
    let decoded = decoder.decode(&input).expect("no error");
    assert_eq!(show(&decoded), "10.0 a=1\n12.0 a=2\n");
}

#[test]
fn the_spectrum_of_csv_reads_as_its_json_says() {
    let Some(folder) = recorded("robustness/csv-spectrum") else { return };
    for name in ["comma_in_quotes", "empty", "newlines", "quotes_and_newlines", "utf8"] {
        let table = std::fs::read(folder.join(format!("csvs/{name}.csv"))).expect("a file");
        let expected = std::fs::read(folder.join(format!("json/{name}.json"))).expect("a file");
        let expected: Vec<serde_json::Map<String, serde_json::Value>> =
            serde_json::from_slice(&expected).expect("an array of objects");
        let names: Vec<_> = expected[0].keys().map(|key| format!("{key} text")).collect();
        let config = CsvConfig {
            header: Header::Frame,
            null: Vec::new(),
            columns: names.iter().map(|name| column(name)).collect(),
            ..CsvConfig::default()
        };
        let decoded = CsvDecoder::new(config)
            .and_then(|mut decoder| decoder.decode(&frames(&[table])))
            .expect("no error");
        assert_eq!(decoded.rejects, [], "{name}");
        let found: Vec<serde_json::Map<_, _>> = rows(&decoded.rows)
            .into_iter()
            .map(|row| row.values.into_iter().map(|(key, value)| (key, value.into())).collect())
            .collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn the_customers_decode() {
    let Some(file) = recorded("customers/customers.csv") else { return };
    let table = std::fs::read(file).expect("a file");
    let config = CsvConfig {
        header: Header::Frame,
        ..config(&[
            "id bigint not null",
            "first_name text",
            "age int not null",
            "location text not null",
        ])
    };
    let decoded = CsvDecoder::new(config)
        .and_then(|mut decoder| decoder.decode(&frames(&[table])))
        .expect("no error");
    assert_eq!((decoded.rows.num_rows(), decoded.rejects.len()), (667, 0));
}
