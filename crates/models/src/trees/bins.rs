//! Rows as bins: each feature cut at quantiles into at most 255, so that a split is found by
//! looking at 255 sums and not at every row.

/// Most bins of a feature: their number fits a byte.
pub(crate) const BINS_MAX: usize = 255;

/// Rows the quantiles are taken of, at most; they are spread evenly over all.
const SAMPLE_ROWS_MAX: usize = 20_000;

/// Rows as numbers of bins, with the edges between them.
pub(crate) struct Binned {
    /// How many features a row has.
    pub(crate) width: usize,
    /// Row-major, `width` bins a row: how many of the feature's edges lie below the value.
    bins: Vec<u8>,
    /// Of each feature, ascending: bin `i` ends at edge `i`, the edge included.
    pub(crate) edges: Vec<Vec<f64>>,
}

impl Binned {
    /// Cuts the given columns of `rows`, whose values there are finite.
    pub(crate) fn of(rows: &[&[f64]], columns: &[usize]) -> Self {
        let width = columns.len();
        let step = rows.len().div_ceil(SAMPLE_ROWS_MAX).max(1);
        let mut edges = Vec::with_capacity(width);
        let mut bins = vec![0; rows.len() * width];
        for (place, &column) in columns.iter().enumerate() {
            let mut sample: Vec<f64> = rows.iter().step_by(step).map(|row| row[column]).collect();
            sample.sort_unstable_by(f64::total_cmp);
            let mut cuts: Vec<f64> = (1..BINS_MAX)
                .filter_map(|i| sample.get(i * sample.len() / BINS_MAX))
                .copied()
                .collect();
            cuts.dedup();
            // Nothing lies above the greatest value: a cut there would split nothing off.
            cuts.pop_if(|cut| sample.last() == Some(cut));
            for (row, values) in rows.iter().enumerate() {
                let below = cuts.partition_point(|cut| *cut < values[column]);
                bins[row * width + place] =
                    u8::try_from(below).expect("a feature has at most 254 edges");
            }
            edges.push(cuts);
        }
        Self { width, bins, edges }
    }

    /// The bins of a row.
    pub(crate) fn row(&self, row: u32) -> &[u8] {
        let start = row as usize * self.width;
        &self.bins[start..start + self.width]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bin_is_told_by_the_edges(values in prop::collection::vec(-50_i32..50, 1..400)) {
            let rows: Vec<[f64; 1]> = values.iter().map(|&value| [f64::from(value)]).collect();
            let rows: Vec<&[f64]> = rows.iter().map(<[f64; 1]>::as_slice).collect();
            let binned = Binned::of(&rows, &[0]);
            for (row, value) in rows.iter().enumerate() {
                let bin = usize::from(binned.row(row as u32)[0]);
                for (edge, cut) in binned.edges[0].iter().enumerate() {
                    prop_assert_eq!(value[0] <= *cut, bin <= edge);
                }
            }
        }
    }
}
