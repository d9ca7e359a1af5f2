//! Numbers that others computed: scikit-learn 1.9.1 (ridge, elastic net, trees), statsmodels (the
//! robust z).

use thalweg_core::model::{Examples, Trainer};

use crate::candidates::elastic_net::ElasticNet;
use crate::candidates::gradient_boosting::GradientBoosting;
use crate::candidates::random_forest::RandomForest;
use crate::candidates::{Context, hybrid::Hybrid};
use crate::least_squares::Moments;
use crate::significance::diebold_mariano;
use crate::spec::TargetKind;

const ROWS: i32 = 120;

fn data() -> (Vec<[f64; 4]>, Vec<f64>) {
    (0..ROWS)
        .map(|row| {
            let i = f64::from(row);
            let x = [
                (0.37 * i).sin(),
                50.0 + 3.0 * (0.11 * i).cos() + 0.5 * (1.9 * i).sin(),
                f64::from((row * 7919) % 101) / 101.0,
                (i / 10.0).powf(1.5),
            ];
            let noise = 0.2 * (2.7 * i * i).sin();
            (x, 2.0 + 0.8 * x[0] - 0.05 * x[1] + 0.3 * x[2] + 0.01 * x[3] + noise)
        })
        .unzip()
}

/// `make_pipeline(StandardScaler(), Ridge(alpha))`: penalty, intercept, weights, predictions of
/// rows 0, 57 and 119.
const RIDGE: [(f64, f64, [f64; 4], [f64; 3]); 3] = [
    (
        0.0,
        -0.1976331139974051,
        [0.5417001870913326, -0.11630624895722246, 0.09915995493750776, 0.1363754708965262],
        [-0.6976133406005502, 0.07634791212226369, -0.08088010281623842],
    ),
    (
        1.2,
        -0.19763311399740507,
        [0.5360304468626536, -0.11492798576090904, 0.09789668610871732, 0.13425668505858884],
        [-0.6908739829678499, 0.07415726955995722, -0.08315444636954904],
    ),
    (
        120.0,
        -0.19763311399740502,
        [0.2643337713148736, -0.053472430854830756, 0.04252990740065529, 0.049513763669612604],
        [-0.40488330490827956, -0.04794446933488217, -0.16715204994230035],
    ),
];

#[test]
fn ridge_is_that_of_scikit_learn() {
    let (rows, labels) = data();
    let examples = rows.iter().map(<[f64; 4]>::as_slice).zip(labels.iter().copied());
    let moments = Moments::of(examples, &[0, 1, 2, 3]);
    for (penalty, intercept, weights, predictions) in RIDGE {
        let (own_intercept, own) = moments.solve(penalty);
        assert!((own_intercept - intercept).abs() < 1e-6);
        for (own, weight) in own.iter().zip(weights) {
            assert!((own.weight - weight).abs() < 1e-6, "{penalty}: {} {weight}", own.weight);
        }
        for (row, prediction) in [0, 57, 119].into_iter().zip(predictions) {
            let own = own.iter().fold(own_intercept, |sum, term| {
                sum + term.weight * (rows[row][term.column] - term.mean) / term.scale
            });
            assert!((own - prediction).abs() < 1e-6, "{penalty}: {own} {prediction}");
        }
    }
}

/// `make_pipeline(StandardScaler(), ElasticNet(alpha, l1_ratio))`: penalty, share, weights,
/// predictions of rows 0, 57 and 119. The intercept is ridge's.
const ELASTIC_NET: [(f64, f64, [f64; 4], [f64; 3]); 3] = [
    (
        0.01,
        0.5,
        [0.5328661190721864, -0.11010594520700799, 0.09348394002115781, 0.12897461532218793],
        [-0.670137186701903, 0.0845635828848357, -0.08576932677996968],
    ),
    (
        0.1,
        0.5,
        [0.45771246497350826, -0.057323669007995404, 0.044934369389052306, 0.06635697304109803],
        [-0.43635929940403756, 0.1547464090886088, -0.12648164801440154],
    ),
    (
        0.1,
        0.9,
        [0.4289555167327353, -0.0163588678298331, 0.00762581047482705, 0.020947798129600414],
        [-0.2597831442619478, 0.24097083632772384, -0.149996290989381],
    ),
];

#[test]
fn the_elastic_net_is_that_of_scikit_learn() {
    let (rows, labels) = data();
    let examples = rows.iter().map(<[f64; 4]>::as_slice).zip(labels.iter().copied());
    let moments = Moments::of(examples, &[0, 1, 2, 3]);
    for (penalty, share, weights, predictions) in ELASTIC_NET {
        let (intercept, own) = moments.select(penalty, share);
        assert!((intercept - RIDGE[0].1).abs() < 1e-6);
        for (own, weight) in own.iter().zip(weights) {
            assert!((own.weight - weight).abs() < 1e-6, "{penalty}: {} {weight}", own.weight);
        }
        for (row, prediction) in [0, 57, 119].into_iter().zip(predictions) {
            let own = own.iter().fold(intercept, |sum, term| {
                sum + term.weight * (rows[row][term.column] - term.mean) / term.scale
            });
            assert!((own - prediction).abs() < 1e-6, "{penalty}: {own} {prediction}");
        }
    }
    let strongest = moments.strongest(0.5);
    assert_eq!(moments.select(strongest, 0.5).1, [], "no feature is left in");
    assert_eq!(moments.select(0.99 * strongest, 0.5).1.len(), 1);
}

/// A curve, a step, a slope and noise, of six features that know nothing of each other.
fn bent(rows: std::ops::Range<u64>) -> Examples {
    const FACTORS: [u64; 6] = [7919, 104_729, 15_485_863, 32_452_843, 49_979_687, 67_867_967];
    let draw = |row: u64, j: usize| {
        ((row * FACTORS[j] + (j as u64 + 1) * 12_345) % 1_000_003) as f64 / 1_000_003.0
    };
    let mut examples =
        Examples { features: (0..6).map(|j| format!("x{j}")).collect(), ..Examples::default() };
    for row in rows {
        let x: [f64; 6] = std::array::from_fn(|j| draw(row, j));
        let noise: f64 = (1..=3)
            .map(|k| (row * row * (k * 1_299_709 + 7) + row * k * 15_485_863) % 1_000_003)
            .map(|residue| residue as f64 / 1_000_003.0 - 0.5)
            .sum();
        let step = if x[1] > 0.5 { 2.0 * x[2] } else { 0.0 };
        examples.labels.push((6.0 * x[0]).sin() + step + 0.5 * x[3] + 0.6 * noise);
        examples.rows.extend(x);
    }
    examples
}

/// `HistGradientBoostingRegressor` with our settings, and `RandomForestRegressor` likewise (mean of
/// three seeds): the root of the mean squared error on rows 6,000 to 9,000.
const BOOSTED: f64 = 0.31005;
const FOREST: f64 = 0.33034;

#[test]
fn trees_err_no_more_than_those_of_scikit_learn() {
    let (learnt, scored) = (bent(0..6_000), bent(6_000..9_000));
    let context = Context { kind: TargetKind::Return, target: 0, own_features: 6, horizon_rows: 1 };
    let rmse = |trainer: &dyn Trainer| {
        let model = trainer.fit(&learnt, 1).expect("a model");
        let said = model.predict(&scored.rows);
        let squares = said.iter().zip(&scored.labels).map(|(said, label)| (said - label).powi(2));
        (squares.sum::<f64>() / scored.labels.len() as f64).sqrt()
    };
    let boosted = rmse(&GradientBoosting { context });
    assert!((0.97..1.01).contains(&(boosted / BOOSTED)), "{boosted}");
    let forest = rmse(&RandomForest { context });
    assert!((0.97..1.01).contains(&(forest / FOREST)), "{forest}");
    let (line, hybrid) = (rmse(&ElasticNet { context }), rmse(&Hybrid { context }));
    assert!(hybrid < 0.6 * line, "{hybrid} {line}");
}

#[test]
fn the_robust_z_is_that_of_statsmodels() {
    // OLS on a constant with cov_type="HAC"; ours has the factor of Harvey et al. besides.
    let differences: Vec<f64> = (0..ROWS)
        .map(|row| {
            let wave = 0.4 * (0.9 * f64::from(row)).sin();
            0.1 + wave + f64::from((row * 37) % 101) / 101.0 - 0.5
        })
        .collect();
    let n = f64::from(ROWS);
    for (horizon, hac_z) in [(1, 5.053039087228974), (3, 6.1960438445654695)] {
        let h = horizon as f64;
        let factor = ((n + 1.0 - 2.0 * h + h * (h - 1.0) / n) / n).sqrt();
        let own = diebold_mariano(&differences, horizon).z;
        assert!((own - hac_z * factor).abs() < 1e-9, "{own} {}", hac_z * factor);
    }
}

#[test]
fn a_column_that_repeats_another_shares_its_weight() {
    let (rows, labels) = data();
    let doubled: Vec<[f64; 2]> = rows.iter().map(|row| [row[0], 2.0 * row[0]]).collect();
    let examples = doubled.iter().map(<[f64; 2]>::as_slice).zip(labels.iter().copied());
    let (_, weights) = Moments::of(examples, &[0, 1]).solve(0.0);
    assert!((weights[0].weight - weights[1].weight).abs() < 1e-3, "{weights:?}");
}

#[test]
fn a_constant_column_says_nothing() {
    let rows: Vec<[f64; 2]> = (0..50).map(|row| [0.1, f64::from(row)]).collect();
    let examples = rows.iter().map(|row| (row.as_slice(), 3.0 * row[1]));
    let (_, weights) = Moments::of(examples, &[0, 1]).solve(0.0);
    let columns: Vec<usize> = weights.iter().map(|weight| weight.column).collect();
    assert_eq!(columns, [1]);
}
