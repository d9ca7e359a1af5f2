//! Places in SQL mapped back to places in the file.

use proptest::prelude::*;
use toml::de::DeTable;

use super::*;

/// The SQL of a file `sql = …`, and the file's text at the place of `word` in it.
#[track_caller]
fn check(toml: &str, word: &str, expected: &str) {
    let sql = sql_of(toml).expect("valid TOML");
    let start = sql.as_str().find(word).expect("the word stands in the SQL");
    let place = sql.place(start..start + word.len());
    assert_eq!(&toml[place.range], expected);
}

fn sql_of(toml: &str) -> Option<SqlText> {
    let (table, errors) = DeTable::parse_recoverable(toml);
    if !errors.is_empty() {
        return None;
    }
    let value = table.get_ref().get("sql")?;
    let place = Place { file: Arc::new("a.toml".into()), range: value.span() };
    Some(SqlText::of_literal(value.get_ref().as_str()?, &toml[value.span()], place))
}

#[test]
fn a_word_of_the_sql_is_found_in_the_file() {
    check("sql = 'SELECT pirce'", "pirce", "pirce");
    check("sql = '''\nSELECT pirce\nFROM a'''", "pirce", "pirce");
    check("sql = '''\r\nSELECT 1,\r\n  pirce\r\nFROM a'''", "pirce", "pirce");
    check(r#"sql = "SELECT \"City\", pirce""#, "pirce", "pirce");
    check(r#"sql = "SELECT \"City\", pirce""#, r#""City""#, r#"\"City\""#);
    check("sql = \"SELECT \\u00e4, pirce\"", "ä", "\\u00e4");
    check("sql = \"\"\"\nSELECT \\\n    pirce\"\"\"", "pirce", "pirce");
    check("sql = \"\"\"SELECT ä,\n pirce\"\"\"", "pirce", "pirce");
    check("sql = \"SELECT a\\tAS b\"", "a\tAS", "a\\tAS");
}

#[test]
fn the_end_of_the_sql_is_the_end_of_what_is_written() {
    let toml = "sql = 'SELECT'  # why";
    let sql = sql_of(toml).expect("valid TOML");
    assert_eq!(sql.place(6..6).range, 13..13);
    assert_eq!(sql.place(99..120).range, 13..13);
    let empty = sql_of("sql = ''").expect("valid TOML");
    assert_eq!(empty.place(0..5).range, 6..8);
}

#[test]
fn parts_of_a_shorthand_keep_their_places() {
    let file = Arc::new(PathBuf::from("a.toml"));
    let place = |range| Place { file: Arc::clone(&file), range };
    let relation = SqlText::of_literal("changes", "'changes'", place(100..109));
    let mut builder = SqlBuilder::new(place(90..120));
    builder.made("SELECT * FROM ").text(&relation).made(" LIMIT 1");
    let sql = builder.finish();
    assert_eq!(sql.as_str(), "SELECT * FROM changes LIMIT 1");
    assert_eq!(sql.place(14..21).range, 101..108);
    assert_eq!(sql.place(0..6).range, 90..120);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever a TOML string looks like, the text is what the parser says, every range lies in the
    /// literal, and verbatim bytes are the same bytes.
    #[test]
    fn every_byte_of_a_string_has_its_place(
        body in r#"([ -~äß\n]|\\[\\bnt"]|\\u00e4|\\\n  |\r\n){0,40}"#,
        quote in prop::sample::select(vec!["'", "\"", "'''", "\"\"\""]),
    ) {
        let toml = format!("sql = {quote}{body}{quote}\nnext = 1");
        let Some(sql) = sql_of(&toml) else { return Ok(()) };
        let literal = sql.whole_place().range.clone();
        for (at, c) in sql.as_str().char_indices() {
            let place = sql.place(at..at + c.len_utf8());
            prop_assert!(literal.start < place.range.start && place.range.end < literal.end);
            let written = &toml[place.range];
            prop_assert!(written.starts_with(c) || written.starts_with('\\'), "{written:?} for {c:?}");
        }
    }
}
