//! A reader: the inputs of a source, and the intake that makes rows of their frames.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;
use thalweg_core::env::{Clock, Env};
use thalweg_core::source::{Chunk, Input, ReadLimit};
use thalweg_core::time::Timestamp;
use thalweg_core::topic::Offset;
use thalweg_core::{Error, Result};

use crate::checkpoint::Position;
use crate::intake::{Intake, Taken};

/// Bits of a file's offset that are a byte of it: what is above is the number of the file (S1).
const FILE_BITS: u32 = 40;

/// What one read of a partition brought, and what became of it.
pub(super) struct Portion {
    pub(super) chunk: Chunk,
    pub(super) taken: Taken,
    /// Earliest event time of what is listed but not begun, where it was looked for (S2).
    pub(super) unread: Option<Option<Timestamp>>,
}

/// Reads a source and decodes it.
pub struct Reader {
    inputs: BTreeMap<u32, Stand>,
    intake: Intake,
    clock: Clock,
}

/// An input, and where it stands; none while that is not known.
struct Stand {
    input: Box<dyn Input>,
    at: Option<Position>,
}

impl Reader {
    /// Reads these inputs, by partition.
    pub fn new(inputs: BTreeMap<u32, Box<dyn Input>>, intake: Intake, env: &Env) -> Self {
        let stand = |(partition, input)| (partition, Stand { input, at: None });
        let clock = env.clock.clone();
        Self { inputs: inputs.into_iter().map(stand).collect(), intake, clock }
    }

    /// Columns of the rows.
    pub(super) fn schema(&self) -> &SchemaRef {
        self.intake.schema()
    }

    /// The partitions.
    pub(super) fn partitions(&self) -> Vec<u32> {
        self.inputs.keys().copied().collect()
    }

    /// Whether every input ends.
    pub(super) fn is_bounded(&self) -> bool {
        self.inputs.values().all(|stand| stand.input.is_bounded())
    }

    /// Where reading begins when nothing was read before.
    pub(super) async fn start(&mut self, partition: u32) -> Result<Offset> {
        self.stand(partition)?.input.start().await
    }

    /// Goes to a position, if the input does not stand there.
    pub(super) fn go_to(&mut self, partition: u32, position: &Position) -> Result<()> {
        let stand = self.stand(partition)?;
        if stand.at.as_ref() != Some(position) {
            stand.input.restore(position.manifest.as_deref())?;
            stand.at = Some(position.clone());
        }
        Ok(())
    }

    /// Reads from a position on, decodes and checks; for the first time it looks at what is listed but
    /// not begun, too.
    pub(super) async fn read(
        &mut self,
        partition: u32,
        position: &Position,
        limit: ReadLimit,
    ) -> Result<Portion> {
        self.go_to(partition, position)?;
        let stand = self.inputs.get_mut(&partition).ok_or_else(|| gone(partition))?;
        // Where a read that fails or is given up leaves the input is not known.
        let at = stand.at.take();
        let chunk = stand.input.read(position.next, limit).await?;
        let _busy = self.clock.busy();
        let is_next_file = chunk.next >> FILE_BITS != position.next >> FILE_BITS;
        let unread = if !limit.is_rerun && (chunk.manifest.is_some() || is_next_file) {
            let heads = stand.input.unread_heads(chunk.next).await?;
            Some(self.intake.earliest(&heads)?)
        } else {
            None
        };
        let taken = self.intake.take(&chunk)?;
        let manifest = chunk.manifest.clone().or_else(|| at.and_then(|at| at.manifest));
        stand.at = Some(Position { next: chunk.next, manifest });
        Ok(Portion { chunk, taken, unread })
    }

    fn stand(&mut self, partition: u32) -> Result<&mut Stand> {
        self.inputs.get_mut(&partition).ok_or_else(|| gone(partition))
    }
}

fn gone(partition: u32) -> Error {
    Error::invalid(format!("partition {partition} is no longer there"))
}
