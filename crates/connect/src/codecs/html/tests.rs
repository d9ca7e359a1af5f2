//! Pages as people write them, and as they must not become rows.

mod recorded;

use proptest::prelude::*;

use super::embedded::EmbeddedDecoder;
use super::*;
use crate::codecs::json::JsonConfig;
use crate::codecs::testing::{assert_balanced, cases, column, columns, frames, show};

/// A column written as for [`column`], with how it is cleaned.
fn cleaned(text: &str, clean: Option<Clean>) -> HtmlColumn {
    HtmlColumn { column: column(text), clean, mark: None }
}

fn table(headers: &[&str]) -> PageRows {
    let headers = headers.iter().map(|header| (*header).to_owned()).collect();
    PageRows::Table { headers, selector: None }
}

/// The price table of system A.
fn coins() -> HtmlConfig {
    HtmlConfig::new(
        vec![
            cleaned("name text not null from Name", None),
            cleaned("price decimal(24,10) not null from Price", Some(Clean::Money)),
            cleaned("change_24h double from 24H CHANGE", Some(Clean::Percent)),
        ],
        table(&["Name", "Price", "24H CHANGE", "Market Cap"]),
    )
}

#[track_caller]
fn check<T: AsRef<[u8]>>(config: &HtmlConfig, pages: &[T], expected: &str) {
    let input = frames(pages);
    let mut decoder = HtmlDecoder::new(config.clone()).expect("a valid config");
    let decoded = decoder.decode(&input).expect("no error");
    assert_balanced(&decoded, &input);
    assert_eq!(show(&decoded), expected);
}

const HEAD: &str = "<thead><tr><th>#<th>Name</th><th>Price <svg></svg>▼</th><th> 24h\n change</th>\
                    <th>Market Cap</th></tr></thead>";

#[test]
fn rows_are_bound_to_the_texts_of_headers() {
    let page = format!(
        "<!doctype html><p>Prices<table>{HEAD}</table><div><table class=css-1qxvubu>{HEAD}<tbody>\
         <tr><td>1<td><div><img alt=x><p>Bitcoin</p><span hidden>BTC</span></div><td>$26,259.61<td>\
         <b>-0.33</b>%<td>$511.98B\
         <tr><td>2<td>Tether<td>$1.0000000001<td>--<td>$83B</table></div>"
    );
    check(
        &coins(),
        &[page],
        "0.0 name=Bitcoin price=26259.6100000000 change_24h=-0.33\n\
         0.1 name=Tether price=1.0000000001 change_24h=null\n",
    );
}

#[test]
fn a_row_that_cannot_be_read_is_refused_alone_with_its_own_text() {
    let row = |cells: &str| format!("<tr>{cells}");
    let rows = [
        row("<td>1<td>Bitcoin<td>$26,259.61<td>-0.33%<td>$1B"),
        row("<td>2<td>Odd<td>$511.98B $511,982,705,805<td>1%<td>$1B"),
        row("<td>3<td>Lazy"),
        row("<td>4<td>Fine<td>$1,5<td>2%<td>$1B"),
        row("<td><td><td><td><td>"),
        row("<td>6<td><td>$1.50<td>2%<td>$1B"),
        row("<td>7<td>Exact<td>$0.00000000001<td>2%<td>$1B"),
        row("<td>8<td>Ok<td>$0.5<td>2%<td>$1B"),
    ];
    let page = format!("<table>{HEAD}<tbody>{}</table>", rows.concat());
    check(
        &coins(),
        &[&page],
        "0.0 name=Bitcoin price=26259.6100000000 change_24h=-0.33\n\
         0.3 name=Fine price=1.5000000000 change_24h=2.0\n\
         0.7 name=Ok price=0.5000000000 change_24h=2.0\n\
         ! 0.1 price: \"$511.98B $511,982,705,805\" holds two numbers\n\
         ! 0.2 2 cells under a header of 5\n\
         ! 0.4 an empty row\n\
         ! 0.5 name: null in a column that is not null\n\
         ! 0.6 price: \"$0.00000000001\" does not fit decimal(24,10)\n",
    );
    let input = frames(&[page]);
    let decoded = HtmlDecoder::new(coins()).and_then(|mut it| it.decode(&input)).expect("rows");
    assert_eq!(decoded.rejects[1].excerpt.as_deref(), Some(&b"3 | Lazy"[..]));
}

#[test]
fn a_page_that_has_changed_is_refused_whole() {
    let row = "<tr><td>1<td>Bitcoin<td>$5<td>1%<td>$1B";
    let head = |from: &str, to: &str| HEAD.replace(from, to);
    let page = |head: &str| format!("<table>{head}{row}</table>");
    let renamed = page(&head("Price", "Last price"));
    let gone = page(&head("Market Cap", "Volume"));
    let twice = page(HEAD).repeat(2);
    let double = page(&head("<th>#", "<th>Price"));
    let error = "<html><h1>403 Forbidden</h1>";
    let deep = "<div>".repeat(100_000);
    let expected = [
        "no table has a header `Price`; there are #, name, last price, 24h change, market cap",
        "no table has a header `Market Cap`; there are #, name, price, 24h change, volume",
        "2 tables have the headers",
        "the header `Price` stands twice",
        "the table has no rows",
        "no table has a header `Name`; the page has no table",
        "its elements are nested too deeply",
        "not UTF-8; `encoding` says what a page is written in",
    ];
    let mut text: String =
        expected.iter().enumerate().map(|(at, reason)| format!("! {at} {reason}\n")).collect();
    text.extend(expected.map(|reason| format!("? the page has changed: {reason}\n")));
    text += "filtered 1\nquarantined 8\n";
    let bare = format!("<table>{HEAD}</table>");
    let pages: [&[u8]; 9] = [
        renamed.as_bytes(),
        gone.as_bytes(),
        twice.as_bytes(),
        double.as_bytes(),
        bare.as_bytes(),
        error.as_bytes(),
        deep.as_bytes(),
        b"<p>\x80",
        b" \n",
    ];
    check(&coins(), &pages, &text);
}

#[test]
fn the_number_of_rows_is_what_is_expected() {
    let rows = "<tr><td>1<td>Bitcoin<td>$5.0<td>1%<td>$1B".repeat(3);
    let page = format!("<table>{HEAD}{rows}<tr><td>4</table>");
    let expecting = |rows_min, rows_max| HtmlConfig { rows_min, rows_max, ..coins() };
    let refused = |min: usize, max: usize| {
        let reason = format!("3 rows and 1 without data, where {min} to {max} are expected");
        format!("! 0 {reason}\n? the page has changed: {reason}\nquarantined 1\n")
    };
    check(&expecting(4, 9), &[&page], &refused(4, 9));
    check(&expecting(1, 2), &[&page], &refused(1, 2));
    let decoded = HtmlDecoder::new(expecting(3, 4)).and_then(|mut it| it.decode(&frames(&[page])));
    assert_eq!(decoded.expect("rows").rows.num_rows(), 3);
}

#[test]
fn cells_that_span_stand_under_each_header_they_reach() {
    let page = "<table><tr><th rowspan=2>Name<th colspan=2>Prices<tr><th>Bid<th>Ask\
                <tr><td rowspan=2>BTC<td>$1.0<td>$2.5<tr><td colspan=2>$3.5\
                <tfoot><tr><td>Sum<td>$9<td>$9</table>";
    let config = HtmlConfig::new(
        vec![
            cleaned("name text not null from Name", None),
            cleaned("bid double not null from Bid", Some(Clean::Money)),
            cleaned("ask double not null from Ask", Some(Clean::Money)),
        ],
        table(&[]),
    );
    check(&config, &[page], "0.0 name=BTC bid=1.0 ask=2.5\n0.1 name=BTC bid=3.5 ask=3.5\n");
}

#[test]
fn the_mark_of_a_column_is_the_one_its_texts_agree_on() {
    let page = |prices: &[&str]| {
        let rows = prices.iter().map(|price| format!("<tr><td>{price}")).collect::<String>();
        format!("<table><tr><th>Price{rows}</table>")
    };
    let config = |mark| {
        let price = cleaned("price decimal(20,3) from Price", Some(Clean::Money));
        HtmlConfig::new(vec![HtmlColumn { mark, ..price }], table(&["Price"]))
    };
    let pages = [
        page(&["$1,234", "$5.50"]),
        page(&["1.234 €", "5,50 €"]),
        page(&["$1,234", "$5"]),
        page(&["$1,234", "$5.50", "5,50 €"]),
    ];
    let ambiguous = "price: \"$1,234\" can be read in two ways; the column's `locale` says which \
                     mark is the decimal one";
    check(
        &config(None),
        &pages,
        &format!(
            "0.0 price=1234.000\n0.1 price=5.500\n1.0 price=1234.000\n1.1 price=5.500\n\
             2.1 price=5.000\n3.1 price=5.500\n3.2 price=5.500\n! 2.0 {ambiguous}\n! 3.0 {ambiguous}\n"
        ),
    );
    check(
        &config(Some(DecimalMark::Point)),
        &pages[2..],
        "0.0 price=1234.000\n0.1 price=5.000\n1.0 price=1234.000\n1.1 price=5.500\n\
         ! 1.2 price: \"5,50 €\" is not written in the column's locale\n",
    );
}

#[test]
fn rows_and_columns_are_found_by_selectors() {
    let page = "<ul><li class=coin data-id=7><a title='Bitcoin (BTC)'>BTC</a><b>$5.25</b><i>+1%</i>\
                <li class=coin><a title=Ether>ETH</a><b>$6.25</b><b>$7</b>\
                <li class=coin><p>soon</p><li class=ad>Buy now <b>$8</b></ul>";
    let config = HtmlConfig::new(
        vec![
            cleaned("id int from @data-id", None),
            cleaned("name text not null from a @title", None),
            cleaned("price double from b", Some(Clean::Money)),
            cleaned("up text from i", Some(Clean::Percent)),
        ],
        PageRows::Elements("li.coin".to_owned()),
    );
    check(
        &config,
        &[page],
        "0.0 id=7 name=Bitcoin (BTC) price=5.25 up=1\n\
         ! 0.1 price: the selector fits 2 elements\n! 0.2 an empty row\n",
    );
}

#[test]
fn json_is_read_out_of_a_script() {
    let page = r#"<html><script id="__NEXT_DATA__" type="application/json">{"coins":[{"n":"BTC </b>","p":"1.50"},{"n":"ETH","p":2}]}</script>"#;
    let broken = r#"<script id="__NEXT_DATA__">{"coins":[</script>"#;
    let config = JsonConfig {
        columns: columns(&["name text not null from n", "price decimal(10,2) from p"]),
        rows: Some("$.coins[*]".parse().expect("a path")),
        ..JsonConfig::default()
    };
    let mut decoder = EmbeddedDecoder::new("script#__NEXT_DATA__", &config).expect("a config");
    let input = frames(&[page, "<p>maintenance", broken, " ", page]);
    let decoded = decoder.decode(&input).expect("no error");
    assert_balanced(&decoded, &input);
    assert_eq!(
        show(&decoded),
        "0.0 name=BTC </b> price=1.50\n0.1 name=ETH price=2.00\n\
         4.0 name=BTC </b> price=1.50\n4.1 name=ETH price=2.00\n\
         ! 1 no element `script#__NEXT_DATA__`\n\
         ! 2 not JSON: EOF while parsing a list at line 1 column 10\n\
         ? the page has changed: no element `script#__NEXT_DATA__`\n\
         filtered 1\nquarantined 2\n"
    );
}

#[test]
fn what_is_configured_wrongly_is_said() {
    let one = |text: &str, clean| {
        HtmlDecoder::new(HtmlConfig::new(vec![cleaned(text, clean)], table(&["Price"])))
            .err()
            .map(|error| error.message)
    };
    assert_eq!(
        one("price double from Price >> ((", None).as_deref(),
        Some("`((` is no CSS selector")
    );
    assert_eq!(
        one("price date from Price", Some(Clean::Money)).as_deref(),
        Some("column `price` of type date cannot hold what its `clean` reads")
    );
    assert_eq!(one("price text from Price", Some(Clean::Money)), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases() / 4))]

    /// Foreign pages do no harm, and nothing is lost on the way (S12, S30).
    #[test]
    fn any_page_has_one_outcome(pieces in prop::collection::vec(
        prop::sample::select(vec![
            "<table>", "</table>", "<tr>", "<th>Name", "<th>Price", "<td>$5", "<td rowspan=65535>",
            "<td colspan=99999999999>x", "</td>", "<tbody>", "<thead>", "<b>", "</b>", "<p>", "<!--",
            "-->", "<script>", "</script>", "&#0;", "\u{0}", "<svg>", "<template>", "<select>", "é",
        ]), 0..40)
    ) {
        let config = HtmlConfig::new(
            vec![
                cleaned("name text from Name", None),
                cleaned("price double from Price", Some(Clean::Money)),
            ],
            table(&[]),
        );
        let input = frames(&[pieces.concat()]);
        let decoded = HtmlDecoder::new(config).and_then(|mut it| it.decode(&input)).expect("no error");
        assert_balanced(&decoded, &input);
    }
}
