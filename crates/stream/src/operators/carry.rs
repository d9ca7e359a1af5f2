//! Values remembered per key: what `lag` and `first_value` look back at.
//!
//! Each key holds the places of its last `depth` values (or of its first). Values stay in the
//! arrays they came in; when those hold far more than is referred to, the living are copied
//! together. So a batch costs its own rows, whatever the number of keys.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::DataType;
use thalweg_core::Result;

use super::expressions::engine_error;

/// Chunk 0 is one null; `(0, 0)` stands for "no value".
type Place = (usize, usize);
const NOTHING: Place = (0, 0);
/// Rows kept beyond the living ones before they are copied together.
const SLACK_ROWS: usize = 65_536;

/// Values remembered per key.
pub struct Carry {
    chunks: Vec<ArrayRef>,
    places: Vec<VecDeque<Place>>,
    depth: usize,
    keep_first: bool,
    living: usize,
}

impl Carry {
    /// Remembers the last `depth` values of each key.
    pub fn last(data_type: &DataType, depth: usize) -> Self {
        Self::new(data_type, depth, false)
    }

    /// Remembers the first value of each key.
    pub fn first(data_type: &DataType) -> Self {
        Self::new(data_type, 1, true)
    }

    fn new(data_type: &DataType, depth: usize, keep_first: bool) -> Self {
        Self {
            chunks: vec![new_null_array(data_type, 1)],
            places: Vec::new(),
            depth,
            keep_first,
            living: 0,
        }
    }

    /// Takes the values of a batch and gives, for each row, the value its key remembered before it
    /// `depth` rows ago, or its key's first one; null (and `false` in the second part) if none.
    pub fn advance(&mut self, keys: &[usize], values: &ArrayRef) -> Result<(ArrayRef, Vec<bool>)> {
        let chunk = self.chunks.len();
        self.chunks.push(Arc::clone(values));
        let mut wanted = Vec::with_capacity(keys.len());
        let mut known = Vec::with_capacity(keys.len());
        for (row, key) in keys.iter().enumerate() {
            if *key >= self.places.len() {
                self.places.resize_with(*key + 1, VecDeque::new);
            }
            let places = &mut self.places[*key];
            if self.keep_first {
                if places.is_empty() {
                    places.push_back((chunk, row));
                    self.living += 1;
                }
                wanted.push(places[0]);
                known.push(true);
            } else if places.len() == self.depth {
                wanted.push(places.pop_front().unwrap_or(NOTHING));
                known.push(true);
                places.push_back((chunk, row));
            } else {
                wanted.push(NOTHING);
                known.push(false);
                places.push_back((chunk, row));
                self.living += 1;
            }
        }
        let arrays: Vec<&dyn Array> = self.chunks.iter().map(AsRef::as_ref).collect();
        let found = interleave(&arrays, &wanted).map_err(engine_error)?;
        let held: usize = self.chunks.iter().map(|chunk| chunk.len()).sum();
        if held > 4 * self.living + SLACK_ROWS || self.chunks.len() > 64 {
            self.compact()?;
        }
        Ok((found, known))
    }

    fn compact(&mut self) -> Result<()> {
        let living: Vec<Place> = self.places.iter().flatten().copied().collect();
        let arrays: Vec<&dyn Array> = self.chunks.iter().map(AsRef::as_ref).collect();
        let values = interleave(&arrays, &living).map_err(engine_error)?;
        self.chunks.truncate(1);
        self.chunks.push(values);
        for (row, place) in self.places.iter_mut().flatten().enumerate() {
            *place = (1, row);
        }
        Ok(())
    }

    /// The remembered values, and how many of them belong to each of `keys` keys.
    pub fn snapshot(&mut self, keys: usize) -> Result<(ArrayRef, Vec<u32>)> {
        self.places.resize_with(keys.max(self.places.len()), VecDeque::new);
        self.compact()?;
        let counts = self.places.iter().map(|places| places.len() as u32).collect();
        Ok((Arc::clone(&self.chunks[1]), counts))
    }

    /// Takes back what [`snapshot`](Self::snapshot) gave.
    pub fn restore(&mut self, values: ArrayRef, counts: &[u32]) {
        let mut row = 0;
        self.places = counts
            .iter()
            .map(|count| {
                let places = (row..row + *count as usize).map(|row| (1, row)).collect();
                row += *count as usize;
                places
            })
            .collect();
        self.living = row;
        self.chunks.truncate(1);
        self.chunks.push(values);
    }

    /// Bytes held, roughly.
    pub fn bytes(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(|chunk| chunk.get_array_memory_size()).sum();
        chunks
            + self.places.len() * (size_of::<VecDeque<Place>>() + self.depth * size_of::<Place>())
    }
}
