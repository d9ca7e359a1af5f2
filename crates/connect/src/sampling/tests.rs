//! What is proposed for small samples, as one line a column.

use super::*;

const NOW: &str = "2026-01-01";

fn now() -> Timestamp {
    Timestamp::parse(NOW).expect("a day")
}

/// `name: type from place in unit`, with `!` where it is not null and `<clean>`.
fn shown(proposal: &Proposal) -> Vec<String> {
    let line = |it: &ProposedColumn| {
        let Column { name, kind, nullable, select, unit, .. } = &it.column;
        let null = if *nullable { "" } else { "!" };
        let from = select.as_ref().map_or(String::new(), |select| format!(" from {select}"));
        let unit = unit.map_or(String::new(), |unit| format!(" in {unit:?}"));
        let clean = it.clean.map_or(String::new(), |clean| format!(" <{clean:?}>"));
        format!("{name}: {kind}{null}{from}{unit}{clean}")
    };
    proposal.columns.iter().map(line).collect()
}

#[track_caller]
fn file(text: &[u8]) -> Proposal {
    propose(text, Whole::File, false, now()).expect("it is a sample")
}

#[test]
fn csv_tells_its_delimiter_header_nulls_and_types() {
    let proposal = file(
        b"id;Name;Paid;Ratio;When;Day;Zip;ok\n\
          1;\"A; B\";12.50;0.5;2024-01-31T12:00:00Z;2024-01-31;01234;true\n\
          2;C;NA;1.25;2024-01-31 12:00:01;2024-02-01;98765;false\n\
          3;;7.00;-3;2024-01-31T12:00:02Z;2024-02-02;00001;true\n",
    );
    let expected = [
        "id: int!",
        "name: text from Name",
        "paid: decimal(18,2) from Paid",
        "ratio: double! from Ratio",
        "when: timestamp! from When",
        "day: date! from Day",
        "zip: text! from Zip",
        "ok: boolean!",
    ];
    assert_eq!(shown(&proposal), expected);
    let format = ProposedFormat::Csv {
        delimiter: ';',
        quote: '"',
        header: true,
        null: vec![String::new(), "NA".to_owned()],
        encoding: None,
    };
    assert_eq!(proposal.format, format);
    assert_eq!(
        (proposal.key.as_deref(), proposal.event_time.as_deref()),
        (Some("id"), Some("when"))
    );
}

#[test]
fn csv_without_a_header_in_another_encoding_is_told_as_that() {
    let proposal = file(b"1,M\xfcller,3.5\n2,Weber,4\n");
    assert_eq!(shown(&proposal), ["c1: int!", "c2: text!", "c3: double!"]);
    let ProposedFormat::Csv { header, encoding, .. } = proposal.format else { panic!("CSV") };
    assert_eq!((header, encoding), (false, Some("windows-1252")));
}

#[test]
fn names_of_text_alone_are_a_header() {
    let proposal = file(b"City|State\nAlbany|New York\nAustin|Texas\n");
    assert_eq!(shown(&proposal), ["city: text! from City", "state: text! from State"]);
}

#[test]
fn messages_tell_their_rows_and_which_of_them_hold_some() {
    let messages = [
        r#"{"type":"trade","data":[{"s":"A","p":1.5,"t":1704110400000,"volume":2}]}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"trade","data":[{"s":"B","p":2,"t":1704110401000,"volume":0},{"s":"C","p":3,"t":1704110402000,"volume":1}]}"#,
        r#"{"type":"trade","data":[{"s":"B","p":2,"t":1704110401000,"volume":0}]}"#,
        "not JSON",
    ];
    let proposal = propose_messages(messages.iter().map(|it| it.as_bytes()), now()).expect("it is");
    let ProposedFormat::Json { rows, only_if, .. } = &proposal.format else { panic!("JSON") };
    assert_eq!(rows.as_deref(), Some("$.data[*]"));
    assert_eq!(only_if.as_deref(), Some("$.type = 'trade'"));
    let expected = ["s: text!", "p: double!", "t: timestamp! in Millis", "volume: int!"];
    assert_eq!(shown(&proposal), expected);
    assert_eq!(proposal.checks, [("volume_nonnegative".to_owned(), "volume >= 0".to_owned())]);
}

#[test]
fn members_of_members_are_columns_and_lists_are_json() {
    let proposal = file(
        br#"{"id":"x","k":{"openPrice":"1.50","x y":true},"tags":["a"],"n":null}
{"id":"y","k":{"openPrice":"12.2500"},"tags":[],"n":7}
"#,
    );
    let expected = [
        "id: text!",
        "k_open_price: decimal(18,4)! from k.openPrice",
        "k_x_y: boolean from k['x y']",
        "tags: json!",
        "n: int",
    ];
    assert_eq!(shown(&proposal), expected);
    let check = ("k_open_price_positive".to_owned(), "k_open_price > 0".to_owned());
    assert_eq!(proposal.checks, [check]);
}

#[test]
fn arrays_and_documents_are_told_apart() {
    let layout = |text: &str, whole| {
        let proposal = propose(text.as_bytes(), whole, false, now()).expect("it is a sample");
        let ProposedFormat::Json { rows, layout, .. } = proposal.format else { panic!("JSON") };
        (rows, layout)
    };
    assert_eq!(layout("[{\"a\":1}]", Whole::File), (None, JsonLayout::Array));
    let all = Some("$[*]".to_owned());
    assert_eq!(layout("[{\"a\":1}]", Whole::Body), (all, JsonLayout::Document));
    let nested = "{\n\"meta\":{\"n\":2},\n\"out\":{\"items\":[{\"a\":1},{\"a\":2}]}\n}";
    let path = Some("$.out.items[*]".to_owned());
    assert_eq!(layout(nested, Whole::File), (path, JsonLayout::Document));
}

#[test]
fn a_cut_sample_is_looked_at_as_far_as_it_goes() {
    let cut = |text: &str| {
        shown(&propose(text.as_bytes(), Whole::File, true, now()).expect("it is a sample"))
    };
    assert_eq!(cut("[{\"a\":1},{\"a\":2},{\"a\":"), ["a: int!"]);
    assert_eq!(cut("{\"a\":1}\n{\"a\":2.5}\n{\"a\":\"x"), ["a: double!"]);
    assert_eq!(cut("a,b\n1,2\n3,4\n5"), ["a: int!", "b: int!"]);
}

#[test]
fn the_table_of_a_page_has_its_amounts_cleaned() {
    let page = "<html><table><tr><th>Menu</th></tr></table><table>\
        <thead><tr><th>#</th><th>Name</th><th>Price</th><th>24h %</th><th></th></tr></thead><tbody>\
        <tr><td>1</td><td>Bitcoin</td><td>$61,837.63</td><td>-0.33%</td><td>x</td></tr>\
        <tr><td>2</td><td>Ether</td><td>$3,412.00</td><td>--</td><td>y</td></tr></tbody></table>";
    let proposal = file(page.as_bytes());
    let expected = [
        "column: int! from #",
        "name: text! from Name <Text>",
        "price: decimal(28,8)! from Price <Money>",
        "c_24h: decimal(28,8) from 24h % <Percent>",
    ];
    assert_eq!(shown(&proposal), expected);
    assert_eq!(proposal.key.as_deref(), Some("name"));
}

#[test]
fn what_holds_nothing_is_refused_with_a_reason() {
    for wrong in ["", "   \n", "{}", "{\"a\": ", "<p>no table</p>", "\u{0}\u{1}\u{ff}"] {
        let bytes = match wrong.starts_with('\u{0}') {
            true => &[0_u8, 1, 255, 254, 0][..],
            false => wrong.as_bytes(),
        };
        assert!(propose(bytes, Whole::File, false, now()).is_err(), "{wrong:?}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]

    /// S30: nothing that comes from outside makes it panic.
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), is_cut: bool) {
        let _ = propose(&bytes, Whole::File, is_cut, now());
        let _ = propose(&bytes, Whole::Body, is_cut, now());
        let _ = propose_messages([&bytes[..]], now());
    }

    #[test]
    fn no_text_makes_it_panic(text in "[\\[{\"a1.,:;é|\n\t'}\\]<>/td-]{0,80}", is_cut: bool) {
        let _ = propose(text.as_bytes(), Whole::File, is_cut, now());
    }
}
