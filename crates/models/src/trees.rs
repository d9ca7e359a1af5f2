//! The other form of what candidates learn: trees on top of a line.
//!
//! `prediction = line(row) + scale · Σ tree(row)`. A forest averages its trees (`scale` is one over
//! their number), boosted trees add small steps up, and the hybrid's line is an elastic net. Trees
//! cannot say a level they have not seen, so candidates teach them what the line leaves over. Its
//! bytes are JSON with `"form": "trees"`.
//!
//! [`grow`] learns one tree from [`bins`].

mod bins;
mod grow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thalweg_core::model::Model;
use thalweg_core::{Error, Result};

pub(crate) use self::bins::Binned;
pub(crate) use self::grow::{Growth, grow};
use crate::linear::Linear;

/// A line and trees that add to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trees {
    form: Form,
    features: Vec<String>,
    line: Linear,
    scale: f64,
    trees: Vec<Tree>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Form {
    Trees,
}

/// A regression tree as columns, one entry a node, the root first. A node with a child splits: rows
/// whose `feature` is at most `value` go to node `child`, the others to the one after it. Without a
/// child (0) it is a leaf, and `value` is what it says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tree {
    feature: Vec<u32>,
    value: Vec<f64>,
    child: Vec<u32>,
}

impl Tree {
    /// Adds a leaf; returns its place.
    fn push_leaf(&mut self) -> usize {
        self.feature.push(0);
        self.value.push(0.0);
        self.child.push(0);
        self.value.len() - 1
    }

    /// What the tree says of a row.
    fn predict(&self, row: &[f64]) -> f64 {
        let mut node = 0;
        while self.child[node] != 0 {
            let goes_right = row[self.feature[node] as usize] > self.value[node];
            node = self.child[node] as usize + usize::from(goes_right);
        }
        self.value[node]
    }

    /// Whether every walk ends: columns of one length, children behind their parents.
    fn is_sound(&self, features: usize) -> bool {
        let nodes = self.value.len();
        nodes > 0
            && self.feature.len() == nodes
            && self.child.len() == nodes
            && self.child.iter().zip(&self.feature).enumerate().all(|(node, (&child, &feature))| {
                let (child, feature) = (child as usize, feature as usize);
                child == 0 || (child > node && child + 1 < nodes && feature < features)
            })
    }
}

impl Trees {
    /// `names` are those of a whole row; `line` and `trees` say what is left when it has said its
    /// part.
    pub(crate) fn new(names: &[String], line: Linear, scale: f64, trees: Vec<Tree>) -> Self {
        Self { form: Form::Trees, features: names.to_vec(), line, scale, trees }
    }

    /// Reads what [`Model::export`] wrote.
    ///
    /// # Errors
    ///
    /// `Data`: these bytes are no trees, or a tree points where it has nothing.
    pub fn import(bytes: &[u8]) -> Result<Self> {
        let model: Self = serde_json::from_slice(bytes)
            .map_err(|error| Error::data("trees do not parse").with_source(error))?;
        model.line.check()?;
        let has_all = model.line.features().iter().all(|name| model.features.contains(name));
        if !has_all || !model.trees.iter().all(|tree| tree.is_sound(model.features.len())) {
            return Err(Error::data("a tree points at a node or feature it does not have"));
        }
        Ok(model)
    }
}

impl Model for Trees {
    fn features(&self) -> &[String] {
        &self.features
    }

    fn predict(&self, rows: &[f64]) -> Vec<f64> {
        let places: Vec<usize> = self
            .line
            .features()
            .iter()
            .map(|name| self.features.iter().position(|feature| feature == name))
            .map(|place| place.expect("`import` and `new` take lines over these features"))
            .collect();
        let mut seen = vec![0.0; places.len()];
        let one = |row: &[f64]| {
            // A comparison with NaN would go left and say a number.
            if row.iter().any(|value| value.is_nan()) {
                return f64::NAN;
            }
            for (value, &place) in seen.iter_mut().zip(&places) {
                *value = row[place];
            }
            let sum: f64 = self.trees.iter().map(|tree| tree.predict(row)).sum();
            self.line.predict_row(&seen) + self.scale * sum
        };
        rows.chunks_exact(self.features.len()).map(one).collect()
    }

    fn export(&self) -> Result<Bytes> {
        serde_json::to_vec(self)
            .map(Bytes::from)
            .map_err(|error| Error::internal("trees do not write").with_source(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stump() -> Tree {
        Tree { feature: vec![1, 0, 0], value: vec![0.5, -1.0, 2.0], child: vec![1, 0, 0] }
    }

    fn model() -> Trees {
        let names = ["a".to_owned(), "b".to_owned()];
        Trees::new(&names, Linear::feature("a"), 0.5, vec![stump(), stump()])
    }

    #[test]
    fn trees_add_to_the_line() {
        let said = model().predict(&[10.0, 0.5, 10.0, 0.6, f64::NAN, 1.0, 1.0, f64::NAN]);
        assert_eq!(said[..2], [9.0, 12.0], "the edge itself goes left");
        assert!(said[2].is_nan() && said[3].is_nan(), "a missing feature gives NaN");
    }

    #[test]
    fn bytes_come_back_and_broken_ones_are_refused() {
        let bytes = model().export().expect("JSON");
        assert_eq!(Trees::import(&bytes).expect("the same"), model());
        let broken = [
            Tree { child: vec![0, 0, 0], ..Tree::default() },
            Tree { child: vec![2, 0, 0], ..stump() },
            Tree { feature: vec![2, 0, 0], ..stump() },
            Tree { feature: vec![0], value: vec![0.0], child: vec![u32::MAX] },
            Tree::default(),
        ];
        for tree in broken {
            let model = Trees { trees: vec![tree.clone()], ..model() };
            let bytes = model.export().expect("JSON");
            assert!(Trees::import(&bytes).is_err(), "{tree:?}");
        }
        let elsewhere = Trees { line: Linear::feature("c"), ..model() };
        assert!(Trees::import(&elsewhere.export().expect("JSON")).is_err());
    }
}
