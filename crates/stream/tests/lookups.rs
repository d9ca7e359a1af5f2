//! S11: a stream that looks up in a table gives what the same SQL gives as a batch; a route's arms are
//! its input, row by row.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use futures::TryStreamExt as _;
use proptest::prelude::*;
use thalweg_core::schema::timestamp_type;
use thalweg_core::time::Timestamp;
use thalweg_stream::engine::run_plan;
use thalweg_stream::lookups::LookupRows;
use thalweg_stream::operators::route::ARM;
use thalweg_stream::program::{Program, Sides, arm_sql, prepare, prepare_route};
use thalweg_stream::sql::rewrite::Mode;
use thalweg_stream::sql::{Named, Names, Planner};

fn people_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("city", DataType::Utf8, true),
        Field::new("_partition", DataType::Int32, false),
        Field::new("_offset", DataType::Int64, false),
        Field::new("_row", DataType::Int32, false),
        Field::new("_received_at", timestamp_type(), false),
    ]))
}

fn cities_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("name", DataType::Utf8, true),
        Field::new("size", DataType::Int64, true),
    ]))
}

fn people(rows: &[Option<&str>]) -> RecordBatch {
    let count = rows.len();
    let ids: Int64Array = (0..count as i64).map(Some).collect();
    let times = TimestampMicrosecondArray::from(vec![0; count]).with_data_type(timestamp_type());
    let columns: Vec<ArrayRef> = vec![
        Arc::new(ids.clone()),
        Arc::new(rows.iter().copied().collect::<StringArray>()),
        Arc::new(Int32Array::from(vec![0; count])),
        Arc::new(ids),
        Arc::new(Int32Array::from(vec![0; count])),
        Arc::new(times),
    ];
    RecordBatch::try_new(people_schema(), columns).expect("columns that fit")
}

fn cities(rows: &[(Option<&str>, Option<i64>)]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.0).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(cities_schema(), columns).expect("columns that fit")
}

fn typed() -> Names {
    let mut names = Names::default();
    names.insert("people", Named::Rows(people_schema()), Vec::new());
    names.insert("cities", Named::Rows(cities_schema()), Vec::new());
    names.let_look_up("cities");
    names
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

/// Rows of a stream over `people`, in batches of `size`.
fn streamed(sql: &str, people: &RecordBatch, cities: &RecordBatch, size: usize) -> Vec<String> {
    let planner = Planner::new();
    let query = prepare(&planner, sql, &typed(), false);
    let query = query.unwrap_or_else(|problems| panic!("{sql}: {problems:?}"));
    let mut program = Program::new(&planner, &query).expect("it was checked");
    let rows = LookupRows {
        version: "1".to_owned(),
        schema: cities_schema(),
        batches: vec![cities.clone()],
    };
    let lookups = BTreeMap::from([("cities".to_owned(), rows)]);
    block_on(program.look_up(&lookups)).expect("its lookup is there");
    let mut sides = Sides::default();
    let mut given = Vec::new();
    for start in (0..people.num_rows()).step_by(size) {
        let part = people.slice(start, size.min(people.num_rows() - start));
        given.extend(program.process(part, Timestamp::MIN, &mut sides).expect("it runs"));
    }
    for operator in program.operators() {
        assert_eq!(operator.ledger().broken(), Vec::<String>::new(), "S12: {sql}");
    }
    let visible = query.visible();
    let columns: Vec<usize> = visible
        .fields()
        .iter()
        .map(|it| query.schema.index_of(it.name()).expect("its own"))
        .collect();
    let given: Vec<RecordBatch> =
        given.iter().map(|batch| batch.project(&columns).expect("its own")).collect();
    lines(&given)
}

/// Rows of the same SQL by DataFusion alone.
fn batched(sql: &str, people: &RecordBatch, cities: &RecordBatch) -> Vec<String> {
    let planner = Planner::new();
    let table = |rows: &RecordBatch| {
        let table = MemTable::try_new(rows.schema(), vec![vec![rows.clone()]]).expect("rows");
        Named::Table(Arc::new(table))
    };
    let mut names = Names::default();
    names.insert("people", table(people), Vec::new());
    names.insert("cities", table(cities), Vec::new());
    let planned = planner.plan(sql, &names, Mode::Stream);
    let plan = planned.unwrap_or_else(|problems| panic!("{sql}: {problems:?}")).plan;
    let rows: Vec<RecordBatch> = block_on(async {
        run_plan(&planner, plan, Timestamp(0))
            .await
            .expect("it runs")
            .batches
            .try_collect()
            .await
            .expect("it ends")
    });
    lines(&rows)
}

/// Rows as text, sorted.
fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let Some(first) = batches.first() else { return Vec::new() };
    let whole = concat_batches(&first.schema(), batches).expect("one schema");
    let text = pretty_format_batches(&[whole]).expect("they print").to_string();
    let mut rows: Vec<String> =
        text.lines().skip(3).filter(|line| line.starts_with('|')).map(str::to_owned).collect();
    rows.sort_unstable();
    rows
}

const QUERIES: &[&str] = &[
    "SELECT id, city FROM people WHERE city IN (SELECT name FROM cities)",
    "SELECT id, city FROM people WHERE city NOT IN (SELECT name FROM cities WHERE name IS NOT NULL)",
    "SELECT id FROM people WHERE city NOT IN (SELECT name FROM cities)",
    "SELECT id FROM people WHERE upper(city) IN (SELECT upper(name) FROM cities WHERE size > 1) OR id = 0",
    "SELECT id FROM people p WHERE EXISTS (SELECT 1 FROM cities c WHERE c.name = p.city)",
    "SELECT id FROM people p WHERE NOT EXISTS (SELECT 1 FROM cities c WHERE c.name = p.city AND c.size > 1)",
    "SELECT id FROM people WHERE EXISTS (SELECT 1 FROM cities WHERE size > 2)",
    "SELECT p.id, c.size FROM people p JOIN cities c ON p.city = c.name",
    "SELECT p.id, c.size FROM people p JOIN cities c ON p.city = c.name AND c.size > p.id",
    "SELECT p.id, c.name, c.size FROM people p LEFT JOIN cities c ON p.city = c.name",
    "SELECT p.id, c.size FROM people p LEFT JOIN cities c ON p.city = c.name AND c.size > p.id",
    "SELECT p.id, c.n FROM people p JOIN (SELECT name, count(*) AS n FROM cities GROUP BY name) c ON p.city = c.name",
    "SELECT id, (SELECT max(size) FROM cities) - id AS rest FROM people",
    "SELECT id, now() > (SELECT min(arrow_cast(size, 'Timestamp(Microsecond, Some(\"UTC\"))')) FROM cities) AS later FROM people",
];

#[test]
fn a_lookup_with_every_turn_of_sql_gives_what_a_batch_gives() {
    let people = people(&[Some("a"), Some("b"), None, Some("A"), Some("c"), Some("a"), Some("zz")]);
    let with_null = cities(&[
        (Some("a"), Some(1)),
        (Some("a"), Some(5)),
        (Some("b"), Some(2)),
        (None, Some(9)),
        (Some("d"), None),
    ]);
    let whole = cities(&[(Some("a"), Some(1)), (Some("c"), Some(3)), (Some("c"), Some(3))]);
    for cities in [with_null, whole, cities(&[])] {
        for sql in QUERIES {
            for size in [1, 3, 100] {
                let found = streamed(sql, &people, &cities, size);
                assert_eq!(found, batched(sql, &people, &cities), "{sql}, {size} at a time");
            }
        }
    }
}

#[test]
fn what_a_stream_cannot_look_up_is_refused_in_words() {
    let planner = Planner::new();
    let mut names = typed();
    names.insert("feed", Named::Rows(cities_schema()), Vec::new());
    let refused = |sql: &str, expected: &str| {
        let problems = prepare(&planner, sql, &names, false).expect_err("it is refused");
        assert!(problems[0].message.contains(expected), "{sql}: {}", problems[0].message);
    };
    refused("SELECT id FROM people JOIN feed ON city = name", "`feed` is not read whole");
    refused("SELECT id FROM people JOIN cities ON city > name", "needs an equality");
    refused("SELECT id FROM people RIGHT JOIN cities ON city = name", "stands on the left");
    refused(
        "SELECT (SELECT max(size) FROM cities c WHERE c.name = p.city) AS size FROM people p",
        "write a JOIN",
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// S11: whatever the conditions give, also NULL, each row is in one arm or in none.
    #[test]
    fn the_arms_of_a_route_and_what_none_took_are_the_input(
        rows in prop::collection::vec(prop::option::of("[abc]"), 0..40),
        known in prop::collection::vec(prop::option::of("[abc]"), 0..4),
        has_rest in any::<bool>(),
        size in 1_usize..9,
    ) {
        let rows: Vec<Option<&str>> = rows.iter().map(Option::as_deref).collect();
        let people = people(&rows);
        let cities: Vec<(Option<&str>, Option<i64>)> =
            known.iter().map(|name| (name.as_deref(), Some(1))).collect();
        let cities = self::cities(&cities);
        let mut conditions =
            vec![Some("city IN (SELECT name FROM cities)"), Some("id % 2 = 0 -- even"), Some("city > 'a'")];
        if has_rest {
            conditions.push(None);
        }
        let planner = Planner::new();
        let query = prepare_route(&planner, "people", &conditions, &typed()).expect("it is right");
        let mut program = Program::new(&planner, &query).expect("it was checked");
        let looked_up = LookupRows {
            version: String::new(),
            schema: cities_schema(),
            batches: vec![cities.clone()],
        };
        block_on(program.look_up(&BTreeMap::from([("cities".to_owned(), looked_up)]))).expect("it is there");
        let mut by_arm: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for start in (0..people.num_rows()).step_by(size) {
            let part = people.slice(start, size.min(people.num_rows() - start));
            for batch in program.process(part, Timestamp::MIN, &mut Sides::default()).expect("it runs") {
                let arms = batch.column_by_name(ARM).expect("it has arms").as_primitive::<Int64Type>().clone();
                let ids = batch.column_by_name("id").expect("an id").as_primitive::<Int64Type>().clone();
                prop_assert_eq!(arms.null_count(), 0);
                for (arm, id) in arms.values().iter().zip(ids.values()) {
                    by_arm.entry(*arm).or_default().push(*id);
                }
            }
        }
        let ledger = program.route_ledger().expect("it is a route").clone();
        prop_assert_eq!(ledger.broken(), Vec::<String>::new());
        prop_assert_eq!(ledger.rows_in, rows.len() as u64);
        if has_rest {
            prop_assert_eq!(ledger.rows_unrouted, 0);
        }
        for arm in 0..conditions.len() {
            let sql = arm_sql("people", &conditions, arm).replace("SELECT *", "SELECT id");
            let expected = batched(&sql, &people, &cities);
            let found = by_arm.get(&(arm as i64)).cloned().unwrap_or_default();
            prop_assert_eq!(ledger.rows_arms[arm], found.len() as u64);
            let mut found: Vec<String> = found.iter().map(|id| format!("| {id:<2} |")).collect();
            found.sort_unstable();
            let trimmed = |rows: Vec<String>| -> Vec<String> {
                let mut rows: Vec<String> = rows.iter().map(|row| row.replace(' ', "")).collect();
                rows.sort_unstable();
                rows
            };
            prop_assert_eq!(trimmed(found), trimmed(expected));
        }
    }
}
