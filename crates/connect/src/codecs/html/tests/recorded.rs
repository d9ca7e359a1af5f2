//! Real pages: what they hold was counted and compared by hand, and every value is held against what
//! the page says of it a second time, in attributes.

use super::*;
use crate::codecs::testing::{recorded, rows};

fn page(name: &str) -> Option<Vec<u8>> {
    Some(std::fs::read(recorded("crypto-html")?.join(name)).expect("a file"))
}

fn decode(config: HtmlConfig, page: Vec<u8>) -> Vec<Vec<String>> {
    let input = frames(&[page]);
    let decoded = HtmlDecoder::new(config).and_then(|mut it| it.decode(&input)).expect("no error");
    assert_balanced(&decoded, &input);
    assert_eq!((decoded.rejects, decoded.notices), (Vec::new(), Vec::new()));
    let values = |row: crate::codecs::testing::Row| row.values.into_iter().map(|it| it.1).collect();
    rows(&decoded.rows).into_iter().map(values).collect()
}

/// February 2019, rendered by the server: one table of 100 rows, exact values in attributes.
#[test]
fn the_page_of_2019_has_its_100_rows() {
    let Some(page) = page("coinmarketcap-2019-02-07T2028Z.html") else { return };
    let columns = vec![
        cleaned("rank int not null from #", Some(Clean::Number)),
        cleaned("symbol text not null from Name >> .currency-symbol a", None),
        cleaned("name text not null from Name >> a.currency-name-container", None),
        cleaned("market_cap decimal(24,0) not null from Market Cap", Some(Clean::Money)),
        cleaned("price decimal(24,10) not null from Price", Some(Clean::Money)),
        cleaned("volume decimal(24,0) not null from Volume (24h)", Some(Clean::Money)),
        cleaned("supply decimal(24,0) not null from Circulating Supply", Some(Clean::Number)),
        cleaned("change_24h decimal(8,2) not null from Change (24h)", Some(Clean::Percent)),
        cleaned("exact_market_cap double not null from Market Cap @data-usd", None),
        cleaned("exact_price double not null from Price >> a @data-usd", None),
        cleaned("exact_supply double not null from Circulating Supply @data-sort", None),
        cleaned("exact_change double not null from Change (24h) @data-percentusd", None),
    ];
    let rows = decode(HtmlConfig::new(columns, table(&["Name", "Price"])), page);
    assert_eq!(rows.len(), 100);
    assert_eq!(
        rows[0][..8],
        [
            "1",
            "BTC",
            "Bitcoin",
            "59591148812",
            "3400.2700000000",
            "5045745406",
            "17525437",
            "-0.20"
        ]
    );
    assert_eq!(rows[1][6], "41169202069", "its footnote is no digit");
    assert_eq!(
        rows[99][..8],
        ["100", "WAN", "Wanchain", "28767241", "0.2709990000", "2088843", "106152493", "-3.05"]
    );
    for (index, row) in rows.iter().enumerate() {
        assert_eq!(row[0], (index + 1).to_string());
        let number = |at: usize| row[at].parse::<f64>().expect("a number");
        // Shown as a person reads it: rounded to a dollar, a cent or a millionth, a hundredth of a
        // percent.
        let price_rounding = if number(9) < 1.0 { 5e-7 } else { 0.005 };
        for (shown, exact, rounding) in [
            (number(3), number(8), 0.5),
            (number(4), number(9), price_rounding),
            (number(6), number(10), 0.5),
            (number(7), number(11), 0.005),
        ] {
            assert!((shown - exact).abs() <= rounding + 1e-9, "{row:?}: {shown} and {exact}");
        }
    }
}

/// January 2020, rendered by a script: two sticky copies of the header, and a table of 100 rows.
#[test]
fn the_page_of_2020_has_its_100_rows_behind_two_decoys() {
    let Some(page) = page("coinmarketcap-2020-01-28T2101Z.html") else { return };
    let columns = vec![
        cleaned("rank int not null from #", None),
        cleaned("name text not null from Name", None),
        cleaned("title text not null from Name >> a @title", None),
        cleaned("market_cap decimal(24,0) not null from Market Cap", Some(Clean::Money)),
        cleaned("price decimal(24,10) not null from Price", Some(Clean::Money)),
        cleaned("volume decimal(24,0) not null from Volume (24h)", Some(Clean::Money)),
        cleaned("supply decimal(24,0) not null from Circulating Supply", Some(Clean::Number)),
        cleaned("change_24h decimal(8,2) not null from Change (24h)", Some(Clean::Percent)),
    ];
    let rows = decode(HtmlConfig::new(columns, table(&["Name", "Price"])), page);
    assert_eq!(rows.len(), 100);
    let shown = |row: &[String]| row.join(" ");
    assert_eq!(
        shown(&rows[0]),
        "1 Bitcoin Bitcoin 164801763670 9061.5800000000 32574994336 18186875 1.52"
    );
    assert_eq!(shown(&rows[99]), "100 SOLVE SOLVE 36780989 0.1123340000 1068007 327424138 -0.57");
    for (index, row) in rows.iter().enumerate() {
        assert_eq!(row[0], (index + 1).to_string());
        assert_eq!(row[1], row[2], "the name is its link's title");
        // A market is its price times its supply, but for the digits that are not shown.
        let number = |at: usize| row[at].parse::<f64>().expect("a number");
        let product = number(4) * number(6);
        assert!((product / number(3) - 1.0).abs() < 0.01, "{row:?}");
    }
}

/// The layout of a page saved by a Portuguese browser in 2023, as it is described: locales mixed in
/// one row, amounts printed twice, two decoys, and 180 of 200 rows not filled in yet.
#[test]
fn a_page_of_mixed_locales_gives_the_rows_that_are_filled_in() {
    let head = "<thead><tr><th>#<th>Name<th>Symbol<th>Market Cap<th>Price<th>Circulating Supply\
                <th>Volume(24h)<th>% 1h<th>% 24h<th>% 7d<th></tr></thead>";
    let filled: String = (1..=20)
        .map(|n| {
            format!(
                "<tr><td>{n}<td>Coin {n}<td>C{n}<td><p><span>$511.98B</span><span>$511,982,705,{:03}\
                 </span></p><td>$26,259.{n:02}<td>19.496.{:03} BTC<td>$7.299.982.{:03}<td>0,01 %\
                 <td>-0,{n:02} %<td>1,20 %<td></tr>",
                100 + n, 900 + n, 100 + n
            )
        })
        .collect();
    let placeholders: String =
        (21..=200).map(|n| format!("<tr><td>{n}<td><i></i><td></tr>")).collect();
    let page = format!(
        "<table>{head}</table><table>{head}</table><table>{head}<tbody>{filled}{placeholders}</table>"
    );
    let columns = vec![
        cleaned("name text not null from Name", None),
        cleaned(
            "market_cap decimal(24,0) not null from Market Cap >> span:last-child",
            Some(Clean::Money),
        ),
        cleaned("price decimal(24,10) not null from Price", Some(Clean::Money)),
        cleaned("supply decimal(24,0) not null from Circulating Supply", Some(Clean::Number)),
        cleaned("volume decimal(24,0) not null from Volume(24h)", Some(Clean::Money)),
        cleaned("change_24h decimal(8,2) not null from % 24h", Some(Clean::Percent)),
    ];
    let config = HtmlConfig::new(columns, table(&["Name", "Price"]));
    let input = frames(&[&page]);
    let decoded =
        HtmlDecoder::new(config.clone()).and_then(|mut it| it.decode(&input)).expect("rows");
    assert_eq!(decoded.rejects.len(), 180);
    let placeholder = |reject: &thalweg_core::decode::Reject| {
        reject.reason == "3 cells under a header of 11" && reject.row.is_some_and(|row| row >= 20)
    };
    assert!(decoded.rejects.iter().all(placeholder));
    let rows = rows(&decoded.rows);
    assert_eq!(rows.len(), 20);
    let values: Vec<&str> = rows[0].values.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(
        values,
        ["Coin 1", "511982705101", "26259.0100000000", "19496901", "7299982101", "-0.01"]
    );

    // Without the selector the cell has two amounts, and no row is made of it.
    let mut config = config;
    config.columns[1].column.select = Some("Market Cap".to_owned());
    let decoded = HtmlDecoder::new(config).and_then(|mut it| it.decode(&input)).expect("no error");
    assert_eq!((decoded.rows.num_rows(), decoded.rejects.len()), (0, 200));
}
