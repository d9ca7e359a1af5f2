//! Whether a difference is more than luck.
//!
//! Diebold and Mariano's test on loss differences, its variance robust to their autocorrelation
//! (Newey and West, Bartlett weights), with the small-sample factor of Harvey, Leybourne and
//! Newbold (1997); Holm's correction over the tests of a round; Wilson's interval of a share.

/// The standard normal distribution function.
pub fn normal_cdf(z: f64) -> f64 {
    0.5 * libm::erfc(-z / std::f64::consts::SQRT_2)
}

/// A Diebold–Mariano test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// The statistic: positive when the first loses more on average. Zero without a verdict.
    pub z: f64,
    /// Probability of such a `z` or a larger one if the second were no better.
    pub p_second_better: f64,
    /// Probability of such a `z` or a smaller one if the second were no worse.
    pub p_second_worse: f64,
}

impl Comparison {
    /// Nothing can be said.
    pub const NONE: Self = Self { z: 0.0, p_second_better: 1.0, p_second_worse: 1.0 };
}

/// Tests whether the mean of `differences` (loss of the first less loss of the second, in order of
/// time) is above zero. `horizon_rows`: how many rows ahead was forecast; errors of overlapping
/// forecasts depend on each other, so autocovariances up to `lag(n, horizon_rows)` count.
pub fn diebold_mariano(differences: &[f64], horizon_rows: usize) -> Comparison {
    let count = differences.len();
    let n = count as f64;
    let mean = differences.iter().sum::<f64>() / n.max(1.0);
    let centred: Vec<f64> = differences.iter().map(|difference| difference - mean).collect();
    let covariance = |lag: usize| -> f64 {
        centred[lag..].iter().zip(&centred).map(|(now, before)| now * before).sum::<f64>() / n
    };
    let lags = lag(count, horizon_rows);
    if count < 2 * (lags + 1) {
        return Comparison::NONE;
    }
    let mut variance = covariance(0);
    for lag in 1..=lags {
        let weight = 1.0 - lag as f64 / (lags + 1) as f64;
        variance += 2.0 * weight * covariance(lag);
    }
    let h = horizon_rows as f64;
    let correction = (n + 1.0 - 2.0 * h + h * (h - 1.0) / n) / n;
    // Differences that do not vary are equal forecasts, or too few to tell.
    if variance <= 1e-24 * mean * mean || correction <= 0.0 {
        return Comparison::NONE;
    }
    let z = mean / (variance / n).sqrt() * correction.sqrt();
    Comparison { z, p_second_better: normal_cdf(-z), p_second_worse: normal_cdf(z) }
}

/// How many autocovariances count: the cube root of `count`, and twice the horizon when forecasts
/// overlap.
pub fn lag(count: usize, horizon_rows: usize) -> usize {
    let root = (count as f64).cbrt().ceil() as usize;
    if horizon_rows > 1 { root.max(2 * horizon_rows) } else { root }
}

/// Holm's adjusted p-values, in the order given: each is significant at a level when it is below.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut floor: f64 = 0.0;
    for (rank, &place) in order.iter().enumerate() {
        floor = floor.max((p_values.len() - rank) as f64 * p_values[place]).min(1.0);
        adjusted[place] = floor;
    }
    adjusted
}

/// The 95 % interval of a share of which `hits` of `count` were seen (Wilson 1927).
pub fn share_interval(hits: u64, count: u64) -> (f64, f64) {
    if count == 0 {
        return (0.0, 1.0);
    }
    let z = 1.959_963_984_540_054_f64;
    let (n, share) = (count as f64, hits as f64 / count as f64);
    let centre = share + z * z / (2.0 * n);
    let spread = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    (((centre - spread) / scale).max(0.0), ((centre + spread) / scale).min(1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn the_normal_distribution_is_that_of_the_tables() {
        for (z, p) in [(0.0, 0.5), (1.959_963_984_540_054, 0.975), (-3.0, 0.001_349_898_031_630)] {
            assert!((normal_cdf(z) - p).abs() < 1e-14, "{z}");
        }
    }

    #[test]
    fn equal_forecasts_give_no_verdict() {
        assert_eq!(diebold_mariano(&[0.0; 500], 1), Comparison::NONE);
        assert_eq!(diebold_mariano(&[1.0, -1.0, 0.5], 1), Comparison::NONE);
    }

    #[test]
    fn overlapping_forecasts_are_not_counted_as_so_many() {
        // Each difference is there ten times: ten times the rows, no more evidence.
        let mut rng = SmallRng::seed_from_u64(1);
        let once: Vec<f64> = (0..600).map(|_| rng.random::<f64>() - 0.4).collect();
        let tenfold: Vec<f64> = once.iter().flat_map(|difference| [*difference; 10]).collect();
        let alone = diebold_mariano(&once, 1).z;
        let robust = diebold_mariano(&tenfold, 10).z;
        assert!((robust / alone - 1.0).abs() < 0.3, "{robust} {alone}, and not √10 times as much");
    }

    #[test]
    fn holm_multiplies_by_the_hypotheses_left() {
        let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(close(&holm(&[0.01, 0.04, 0.03]), &[0.03, 0.06, 0.06]));
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn a_share_has_its_interval() {
        let (low, high) = share_interval(539, 1_000);
        assert!((low - 0.508).abs() < 1e-3 && (high - 0.5697).abs() < 1e-3, "{low} {high}");
        assert_eq!(share_interval(0, 0), (0.0, 1.0));
    }

    proptest! {
        #[test]
        fn the_test_is_antisymmetric_and_does_not_see_units(
            differences in prop::collection::vec(-1.0..1.0_f64, 20..200),
            unit in 1e-3..1e3_f64,
            horizon in 1_usize..4,
        ) {
            let there = diebold_mariano(&differences, horizon);
            let scaled: Vec<f64> = differences.iter().map(|d| -d * unit).collect();
            let back = diebold_mariano(&scaled, horizon);
            prop_assert!((there.z + back.z).abs() < 1e-6);
            prop_assert!((there.p_second_better - back.p_second_worse).abs() < 1e-9);
        }
    }
}
