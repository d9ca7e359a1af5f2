//! Features that see the future are refused, honest ones are not (S21).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Float64Array, RecordBatch};
use arrow::datatypes::{Float64Type, Schema};

use super::support::{Noise, batch, spec};
use crate::guards::{Input, sees_no_future};

/// Computes one feature over the prices of all rows.
type Feature = fn(&[f64]) -> Vec<f64>;

fn with_feature(rows: &RecordBatch, feature: Feature) -> RecordBatch {
    let column = rows.column_by_name("price").expect("a price");
    let prices: Vec<f64> = column
        .as_primitive::<Float64Type>()
        .iter()
        .map(|price| price.unwrap_or(f64::NAN))
        .collect();
    let values = Float64Array::from(feature(&prices));
    let mut fields = rows.schema().fields().to_vec();
    fields.push(Arc::new(arrow::datatypes::Field::new(
        "feature",
        values.data_type().clone(),
        true,
    )));
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(values));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("one more column")
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn around(values: &[f64], before: usize, after: usize) -> Vec<f64> {
    (0..values.len())
        .map(|i| mean(&values[i.saturating_sub(before)..(i + after + 1).min(values.len())]))
        .collect()
}

fn input(rows: RecordBatch) -> BTreeMap<String, Input> {
    BTreeMap::from([("prices".to_owned(), Input { rows, time: "at".to_owned() })])
}

async fn check(what: &str, feature: Feature, is_refused: bool) {
    let mut noise = Noise::new(3);
    let prices: Vec<f64> = (0..300).map(|_| 100.0 + noise.next()).collect();
    let rows = batch("A", 0, &[("price", prices)]);
    let sql = |rows: BTreeMap<String, RecordBatch>| async move {
        Ok(vec![with_feature(&rows["prices"], feature)])
    };
    let verdict = sees_no_future(&spec("price"), &input(rows), sql).await;
    match (verdict, is_refused) {
        (Ok(()), false) => {}
        (Err(error), true) => {
            assert!(error.message.contains("`feature` of `A`"), "{what}: {}", error.message);
        }
        (verdict, _) => panic!("{what}: {verdict:?}"),
    }
}

#[tokio::test]
async fn s21_what_sees_the_future_is_refused() {
    check("the value itself", |prices| prices.to_vec(), false).await;
    check("a mean of the past", |prices| around(prices, 14, 0), false).await;
    check("a mean of all before", |prices| around(prices, usize::MAX, 0), false).await;
    check("the next value", |prices| [&prices[1..], &[0.0]].concat(), true).await;
    check("a centred mean", |prices| around(prices, 3, 3), true).await;
    let share_of_all = |prices: &[f64]| prices.iter().map(|price| price / mean(prices)).collect();
    check("a share of the whole", share_of_all, true).await;
    let count = |prices: &[f64]| vec![prices.len() as f64; prices.len()];
    check("how many rows there will be", count, true).await;
    // Only in the rows that are there: truncation alone would have to cut just before them.
    let highest = |prices: &[f64]| vec![prices.iter().copied().fold(0.0, f64::max); prices.len()];
    check("the highest price of all", highest, true).await;
}

#[tokio::test]
async fn too_few_rows_prove_nothing() {
    let rows = batch("A", 0, &[("price", vec![1.0; 9])]);
    let sql = |rows: BTreeMap<String, RecordBatch>| async { Ok(rows.into_values().collect()) };
    assert!(sees_no_future(&spec("price"), &input(rows), sql).await.is_err());
}
