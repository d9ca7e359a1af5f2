//! The ledger: what went in and what came out, per source, operator and sink (S12).
//!
//! Both sides of every identity are counted where they happen, none by subtraction. The counts ride
//! in the checkpoint, so they survive a crash together with what they count.

use serde::{Deserialize, Serialize};

/// Frames and rows of one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceLedger {
    /// Frames read from the journal or the files.
    pub frames_received: u64,
    /// Frames that held rows.
    pub frames_decoded: u64,
    /// Frames left out by `only_if`.
    pub frames_filtered: u64,
    /// Frames that did not decode.
    pub frames_quarantined: u64,
    /// Rows found in decoded frames.
    pub rows_decoded: u64,
    /// Rows that passed every check.
    pub rows_valid: u64,
    /// Rows that did not.
    pub rows_quarantined: u64,
    /// Rows dropped by `unique`.
    pub rows_duplicate: u64,
}

/// Rows through one operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorLedger {
    /// Rows handed in.
    pub rows_in: u64,
    /// Rows a filter dropped by intent.
    pub rows_filtered: u64,
    /// Rows on which an expression failed; in quarantine.
    pub rows_quarantined: u64,
    /// Rows sent to `system.late`.
    pub rows_late: u64,
    /// Rows given on one by one; for a windowed operator zero.
    pub rows_emitted: u64,
    /// Rows that a lookup found more than one match for, once for each match beyond the first: they
    /// are emitted without having come in.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rows_added: u64,
    /// Rows in windows that have closed.
    pub rows_closed: u64,
    /// Rows in windows or groups still open.
    pub rows_open: u64,
}

/// Rows through one route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteLedger {
    /// Rows handed in.
    pub rows_in: u64,
    /// Rows each arm took, in order.
    pub rows_arms: Vec<u64>,
    /// Rows that no arm took.
    pub rows_unrouted: u64,
    /// Rows on which a condition failed; in quarantine.
    pub rows_quarantined: u64,
}

/// Rows through one sink or table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkLedger {
    /// Rows handed over by the pipeline, in epochs the target holds.
    pub rows_handed: u64,
    /// Rows the target reports as written.
    pub rows_written: u64,
    /// Rows replaced within a commit by a later row of the same key.
    pub rows_superseded: u64,
}

impl SourceLedger {
    /// The identities that do not hold, each as an equation in words; none when all hold.
    pub fn broken(&self) -> Vec<String> {
        let frames = [self.frames_decoded, self.frames_filtered, self.frames_quarantined];
        let rows = [self.rows_valid, self.rows_quarantined, self.rows_duplicate];
        [
            unequal(
                "frames received",
                self.frames_received,
                "decoded + filtered + quarantined",
                &frames,
            ),
            unequal("rows decoded", self.rows_decoded, "valid + quarantined + duplicate", &rows),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl OperatorLedger {
    /// The identity that does not hold, if it does not.
    pub fn broken(&self) -> Vec<String> {
        let out = [
            self.rows_filtered,
            self.rows_quarantined,
            self.rows_late,
            self.rows_emitted,
            self.rows_closed,
            self.rows_open,
        ];
        // Without a lookup nothing is added, and the identity is the shorter one.
        let left = if self.rows_added > 0 { "rows in + added" } else { "rows in" };
        unequal(
            left,
            self.rows_in + self.rows_added,
            "filtered + quarantined + late + emitted + closed + open",
            &out,
        )
        .into_iter()
        .collect()
    }
}

impl RouteLedger {
    /// The identity that does not hold, if it does not.
    pub fn broken(&self) -> Vec<String> {
        let mut out = self.rows_arms.clone();
        out.extend([self.rows_unrouted, self.rows_quarantined]);
        unequal("rows in", self.rows_in, "the arms + unrouted + quarantined", &out)
            .into_iter()
            .collect()
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl SinkLedger {
    /// The identity that does not hold, if it does not.
    pub fn broken(&self) -> Vec<String> {
        let out = [self.rows_written, self.rows_superseded];
        unequal("rows handed over", self.rows_handed, "written + superseded", &out)
            .into_iter()
            .collect()
    }
}

fn unequal(left: &str, left_count: u64, right: &str, right_counts: &[u64]) -> Option<String> {
    let sum: u64 = right_counts.iter().sum();
    let terms: Vec<String> = right_counts.iter().map(u64::to_string).collect();
    (left_count != sum)
        .then(|| format!("{left} {left_count} is not {right} = {} = {sum}", terms.join(" + ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_that_does_not_hold_is_named() {
        let mut ledger = SourceLedger {
            frames_received: 3,
            frames_decoded: 2,
            frames_filtered: 1,
            ..Default::default()
        };
        assert!(ledger.broken().is_empty());
        ledger.rows_decoded = 5;
        assert_eq!(
            ledger.broken(),
            ["rows decoded 5 is not valid + quarantined + duplicate = 0 + 0 + 0 = 0"]
        );
    }
}
