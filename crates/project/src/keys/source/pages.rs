//! Keys of web pages: the format, and how texts made for people are read.

use super::TEXTS;
use crate::keys::shape::{Word, word};
use crate::keys::{Group, Key, Shape, key};

const CLEAN: &[Word] = &[
    word("money", "an amount of a currency: `$9,061.58`, `-0,50 €`, `$1.2B`, `₿0.5`, `($5)`"),
    word("percent", "a number with its `%`, which is the number: `-0,33 %` is -0.33"),
    word("number", "a number, with a unit or without: `19.496.962 BTC`, `17.5M`"),
    word("text", "text, its white space made single"),
];

const LOCALES: &[Word] = &[
    word("en", "`1,234.5`"),
    word("hi", "`12,34,567.5`"),
    word("ja", "`1,234.5`"),
    word("zh", "`1,234.5`"),
    word("de", "`1.234,5`"),
    word("es", "`1.234,5`"),
    word("fr", "`1 234,5`"),
    word("it", "`1.234,5`"),
    word("nl", "`1.234,5`"),
    word("pl", "`1 234,5`"),
    word("pt", "`1.234,5`"),
    word("sv", "`1 234,5`"),
];

pub(in crate::keys) const GROUPS: &[Group] = &[
    Group {
        path: "source.*.format.html",
        keys: &["table", "json"],
        is_required: false,
        noun: "a place of rows",
    },
    Group {
        path: "source.*.format.html",
        keys: &["table", "rows"],
        is_required: false,
        noun: "a place of rows",
    },
];

pub(in crate::keys) const KEYS: &[Key] = &[
    key(
        "source.*.format.html",
        Shape::Table,
        "A web page: the rows of a table, the elements a selector fits, or the JSON of a script \
         element. A page that is not what it should be is quarantined whole, with a notice.",
    ),
    key(
        "source.*.format.html.table",
        Shape::Table,
        "The table that has the headers and rows under them; copies of a header without rows are \
         passed over. A column's `select` is the text of its header; `Name >> a.coin @title` is an \
         attribute of an element within the cell.",
    ),
    key(
        "source.*.format.html.table.headers",
        TEXTS,
        "Texts of header cells that must be there, in any order, beside others or not; capitals do \
         not matter. Those of the columns must be there anyway.",
    )
    .example(r#"["Name", "Price"]"#),
    key(
        "source.*.format.html.table.selector",
        Shape::Text,
        "A CSS selector of the tables to look at. Default: all.",
    )
    .example("main table"),
    key(
        "source.*.format.html.rows",
        Shape::Text,
        "A CSS selector: each element it fits is a row, and a column's `select` a selector within \
         it. With `json`, where in the JSON the rows are.",
    )
    .example("li.coin"),
    key(
        "source.*.format.html.json",
        Shape::Text,
        "A CSS selector of the one script element whose JSON is read instead.",
    )
    .example("script#__NEXT_DATA__"),
    key(
        "source.*.format.html.rows_min",
        Shape::Integer { min: 0, max: 1_000_000 },
        "Fewest rows of a page that is what it should be; rows that are not filled in do not \
         count.",
    )
    .default("1"),
    key(
        "source.*.format.html.rows_max",
        Shape::Integer { min: 1, max: 1_000_000 },
        "Most rows of such a page.",
    )
    .default("1000000"),
    key(
        "source.*.format.html.encoding",
        Shape::Text,
        "What the page is written in, where it does not say so itself. Default: UTF-8.",
    )
    .example("windows-1252"),
    key("source.*.format.html.null", TEXTS, "Texts that mean NULL in columns that are not text.")
        .default(r#"["", "-", "--", "–", "—", "N/A", "n/a", "?"]"#),
    key(
        "source.*.columns.*.clean",
        Shape::Choice(CLEAN),
        "How the text of a web page is read: to the last digit, or not at all. A text that can be \
         read in two ways is refused.",
    )
    .example("money"),
    key(
        "source.*.columns.*.locale",
        Shape::Choice(LOCALES),
        "Whose custom the numbers follow. Default: what the texts of the column on a page tell.",
    )
    .example("en")
    .with(&["clean"]),
];
