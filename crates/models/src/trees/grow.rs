//! Grows one tree, best split first, from histograms (as LightGBM does: Ke et al. 2017).
//!
//! A split's gain is `G₁²/(W₁+λ) + G₂²/(W₂+λ) − G²/(W+λ)`, with G the sum of what is left to learn
//! and W the weight of the rows; a leaf says `G/(W+λ)`. When all features are tried, a child's
//! histogram is its parent's less its sibling's, so only the smaller child is summed. Sums run in
//! the order of the rows: the same rows and seed give the same tree to the bit.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ops::Range;

use rand::Rng;

use super::Tree;
use super::bins::Binned;

const BUCKETS: usize = 256;

/// A gain below this is rounding.
const GAIN_MIN: f64 = 1e-12;

/// How far a tree may grow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    /// Most leaves.
    pub(crate) leaves: usize,
    /// Most splits between the root and a leaf.
    pub(crate) depth: usize,
    /// Least weight of rows in a leaf.
    pub(crate) leaf_weight_min: f64,
    /// λ: draws leaves of few rows towards zero.
    pub(crate) penalty: f64,
    /// Features tried at each split, drawn anew; all of them if there are fewer.
    pub(crate) features_tried: usize,
}

/// A tree, and where the rows it learnt from ended.
pub(crate) struct Grown {
    pub(crate) tree: Tree,
    /// Ranges of the rows as `grow` has left them, and what their leaf says.
    pub(crate) leaves: Vec<(Range<usize>, f64)>,
}

#[derive(Clone, Copy, Default)]
struct Sum {
    left: f64,
    weight: f64,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.left += other.left;
        self.weight += other.weight;
    }

    fn less(self, other: Self) -> Self {
        Self { left: self.left - other.left, weight: self.weight - other.weight }
    }

    fn score(self, penalty: f64) -> f64 {
        self.left * self.left / (self.weight + penalty)
    }
}

#[derive(Clone, Copy)]
struct Split {
    gain: f64,
    feature: usize,
    bin: u8,
}

/// A leaf that could be split.
struct Bud {
    split: Split,
    node: usize,
    rows: Range<usize>,
    depth: usize,
    // Only where all features are tried.
    histogram: Option<Vec<Sum>>,
}

impl PartialEq for Bud {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Bud {}

impl PartialOrd for Bud {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bud {
    fn cmp(&self, other: &Self) -> Ordering {
        // Of equal gains the older node goes first.
        self.split.gain.total_cmp(&other.split.gain).then(other.node.cmp(&self.node))
    }
}

struct Grower<'a, R> {
    binned: &'a Binned,
    left: &'a [f64],
    weights: Option<&'a [f64]>,
    growth: Growth,
    rng: &'a mut R,
    features: Vec<usize>,
}

/// Grows a tree over `rows`, which it sorts by leaf. `left` is what each row of `binned` has left to
/// learn; without `weights` each row weighs one.
pub(crate) fn grow<R: Rng>(
    binned: &Binned,
    rows: &mut [u32],
    left: &[f64],
    weights: Option<&[f64]>,
    growth: Growth,
    rng: &mut R,
) -> Grown {
    let features = (0..binned.width).collect();
    let mut grower = Grower { binned, left, weights, growth, rng, features };
    let mut tree = Tree::default();
    let root = tree.push_leaf();
    let mut leaves = Vec::new();
    let mut buds = BinaryHeap::new();
    let all = 0..rows.len();
    let histogram = grower.tries_all().then(|| grower.histogram(rows));
    grower.bud(root, rows, all, 0, histogram, &mut buds, &mut leaves);
    let mut leaf_count = 1;
    let mut moved = Vec::new();
    while let Some(bud) = buds.pop() {
        if leaf_count >= growth.leaves || bud.depth >= growth.depth {
            leaves.push((bud.node, bud.rows));
            continue;
        }
        leaf_count += 1;
        let Split { feature, bin, .. } = bud.split;
        let middle = bud.rows.start
            + partition(&mut rows[bud.rows.clone()], &mut moved, |row| {
                binned.row(row)[feature] <= bin
            });
        let child = tree.push_leaf();
        tree.push_leaf();
        tree.feature[bud.node] = feature as u32;
        tree.value[bud.node] = binned.edges[feature][usize::from(bin)];
        tree.child[bud.node] = child as u32;
        let (first, second) = (bud.rows.start..middle, middle..bud.rows.end);
        let (in_first, in_second) = match bud.histogram {
            Some(whole) if first.len() < second.len() => {
                let small = grower.histogram(&rows[first.clone()]);
                let rest = rest(whole, &small);
                (Some(small), Some(rest))
            }
            Some(whole) => {
                let small = grower.histogram(&rows[second.clone()]);
                let rest = rest(whole, &small);
                (Some(rest), Some(small))
            }
            None => (None, None),
        };
        let depth = bud.depth + 1;
        grower.bud(child, rows, first, depth, in_first, &mut buds, &mut leaves);
        grower.bud(child + 1, rows, second, depth, in_second, &mut buds, &mut leaves);
    }
    let leaves = leaves
        .into_iter()
        .map(|(node, range)| {
            let mut sum = Sum::default();
            for &row in &rows[range.clone()] {
                sum.add(grower.one(row));
            }
            let value = sum.left / (sum.weight + growth.penalty).max(f64::MIN_POSITIVE);
            tree.value[node] = value;
            (range, value)
        })
        .collect();
    Grown { tree, leaves }
}

impl<R: Rng> Grower<'_, R> {
    fn tries_all(&self) -> bool {
        self.growth.features_tried >= self.binned.width
    }

    fn one(&self, row: u32) -> Sum {
        let weight = self.weights.map_or(1.0, |weights| weights[row as usize]);
        Sum { left: self.left[row as usize] * weight, weight }
    }

    fn histogram(&self, rows: &[u32]) -> Vec<Sum> {
        let mut histogram = vec![Sum::default(); self.binned.width * BUCKETS];
        for &row in rows {
            let one = self.one(row);
            for (buckets, &bin) in histogram.chunks_exact_mut(BUCKETS).zip(self.binned.row(row)) {
                buckets[usize::from(bin)].add(one);
            }
        }
        histogram
    }

    /// Finds the best split of a leaf, and keeps the leaf as a bud or, without a split, as it is.
    #[expect(clippy::too_many_arguments, reason = "a leaf, and the two places it may go to")]
    fn bud(
        &mut self,
        node: usize,
        all: &[u32],
        range: Range<usize>,
        depth: usize,
        histogram: Option<Vec<Sum>>,
        buds: &mut BinaryHeap<Bud>,
        leaves: &mut Vec<(usize, Range<usize>)>,
    ) {
        match self.best(&all[range.clone()], histogram.as_deref()) {
            Some(split) => buds.push(Bud { split, node, rows: range, depth, histogram }),
            None => leaves.push((node, range)),
        }
    }

    fn best(&mut self, rows: &[u32], histogram: Option<&[Sum]>) -> Option<Split> {
        let mut best = None;
        if let Some(histogram) = histogram {
            for (feature, buckets) in histogram.chunks_exact(BUCKETS).enumerate() {
                self.scan(buckets, feature, &mut best);
            }
            return best;
        }
        let tried = self.growth.features_tried.min(self.features.len());
        for place in 0..tried {
            let drawn = self.rng.random_range(place..self.features.len());
            self.features.swap(place, drawn);
            let feature = self.features[place];
            let mut buckets = [Sum::default(); BUCKETS];
            for &row in rows {
                buckets[usize::from(self.binned.row(row)[feature])].add(self.one(row));
            }
            self.scan(&buckets, feature, &mut best);
        }
        best
    }

    fn scan(&self, buckets: &[Sum], feature: usize, best: &mut Option<Split>) {
        let Growth { leaf_weight_min, penalty, .. } = self.growth;
        let edges = self.binned.edges[feature].len();
        let mut whole = Sum::default();
        buckets[..=edges].iter().for_each(|bucket| whole.add(*bucket));
        let mut first = Sum::default();
        for (bin, bucket) in buckets[..edges].iter().enumerate() {
            first.add(*bucket);
            let second = whole.less(first);
            if first.weight < leaf_weight_min || second.weight < leaf_weight_min {
                continue;
            }
            let gain = first.score(penalty) + second.score(penalty) - whole.score(penalty);
            if gain > best.map_or(GAIN_MIN, |best| best.gain) {
                let bin = u8::try_from(bin).expect("a feature has at most 254 edges");
                *best = Some(Split { gain, feature, bin });
            }
        }
    }
}

/// What is left of a histogram without a part of it.
fn rest(mut whole: Vec<Sum>, part: &[Sum]) -> Vec<Sum> {
    for (sum, part) in whole.iter_mut().zip(part) {
        *sum = sum.less(*part);
    }
    whole
}

/// Moves the rows that go first to the front, both sides in their order; returns how many they are.
fn partition(rows: &mut [u32], moved: &mut Vec<u32>, goes_first: impl Fn(u32) -> bool) -> usize {
    moved.clear();
    let mut first = 0;
    for place in 0..rows.len() {
        let row = rows[place];
        if goes_first(row) {
            rows[first] = row;
            first += 1;
        } else {
            moved.push(row);
        }
    }
    rows[first..].copy_from_slice(moved);
    first
}
