//! The contents of one file: what programs see, what is on the platter, and what lies between.
//!
//! A crash decides for each sector of 512 bytes on its own how many of the unsynced changes had
//! reached it, in order, and for the length likewise. So a write may be torn at any sector, later
//! writes may survive where earlier ones do not, and a hole reads as zeros.

use std::collections::HashMap;

use rand::Rng;
use rand::rngs::SmallRng;

/// What reaches the platter whole or not at all.
const SECTOR_BYTES: usize = 512;

/// One file.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    current: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

/// One change that is not on the platter yet.
#[derive(Debug)]
enum Change {
    Write { position: usize, bytes: Vec<u8> },
    Resize { length: usize },
}

impl Change {
    /// Changes `image`, and returns the bytes it may have touched.
    fn apply(&self, image: &mut Vec<u8>) -> std::ops::Range<usize> {
        match self {
            Self::Write { position, bytes } => {
                let (start, end) = (*position, position + bytes.len());
                let hole_start = image.len().min(start);
                if image.len() < end {
                    image.resize(end, 0);
                }
                image[start..end].copy_from_slice(bytes);
                hole_start..end
            }
            Self::Resize { length } => {
                let touched = image.len().min(*length)..image.len().max(*length);
                image.resize(*length, 0);
                touched
            }
        }
    }
}

impl Contents {
    /// What programs see.
    pub(crate) fn current(&self) -> &[u8] {
        &self.current
    }

    /// Writes at `position`; bytes between the end and there become zeros.
    pub(crate) fn write(&mut self, position: usize, bytes: &[u8]) {
        self.change(Change::Write { position, bytes: bytes.to_vec() });
    }

    /// Cuts or extends with zeros.
    pub(crate) fn resize(&mut self, length: usize) {
        self.change(Change::Resize { length });
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.current);
        self.unsynced.push(change);
    }

    /// Puts everything on the platter.
    pub(crate) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// A sync that fails: some of it reaches the platter, and the system forgets that the rest has
    /// not, so that a second sync succeeds without writing it. The length is in the file system's
    /// journal and arrives.
    pub(crate) fn fail_sync(&mut self, rng: &mut SmallRng) {
        self.durable = self.torn(rng);
        self.durable.resize(self.current.len(), 0);
        self.unsynced.clear();
    }

    /// What programs see is what the platter holds after a crash.
    pub(crate) fn crash(&mut self, rng: &mut SmallRng) {
        self.durable = self.torn(rng);
        self.unsynced.clear();
        self.current.clone_from(&self.durable);
    }

    /// What the platter holds if the power fails now.
    fn torn(&self, rng: &mut SmallRng) -> Vec<u8> {
        let count = self.unsynced.len();
        // Half the time all sectors stand at one change: a cut between writes, not through them.
        let reached = |rng: &mut SmallRng| rng.random_range(0..=count);
        let (sectors_alike, all) = (rng.random_bool(0.5), reached(rng));
        let length_at = if sectors_alike { all } else { reached(rng) };

        let mut image = self.durable.clone();
        let mut torn = self.durable.clone();
        let mut length = self.durable.len();
        let mut reached_by_sector = HashMap::new();
        for (index, change) in self.unsynced.iter().enumerate() {
            let touched = change.apply(&mut image);
            if index < length_at {
                length = image.len();
            }
            for sector in touched.start / SECTOR_BYTES..touched.end.div_ceil(SECTOR_BYTES) {
                let reached = *reached_by_sector
                    .entry(sector)
                    .or_insert_with(|| if sectors_alike { all } else { reached(rng) });
                if index < reached {
                    copy_sector(&image, &mut torn, sector);
                }
            }
        }
        torn.resize(length, 0);
        torn
    }
}

/// Copies one sector; beyond the end of `from` it is zeros.
fn copy_sector(from: &[u8], to: &mut Vec<u8>, sector: usize) {
    let (start, end) = (sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
    if to.len() < end {
        to.resize(end, 0);
    }
    let there = &from[start.min(from.len())..end.min(from.len())];
    to[start..start + there.len()].copy_from_slice(there);
    to[start + there.len()..end].fill(0);
}
