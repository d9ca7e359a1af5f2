//! Outboxes: what goes in comes out once, in order, whatever is in memory and what on disk.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use proptest::prelude::*;
use thalweg_core::budget::Budget;
use thalweg_sim::MemDisk;

use super::*;
use crate::checkpoint::SinkPosition;

/// Every batch has this row count at most; its bytes are a few hundred.
const LIMITS: OutboxLimits =
    OutboxLimits { memory_bytes: 4 << 10, segment_bytes: 2 << 10, disk_bytes: 1 << 20 };

fn rows(ids: &[i64]) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, false)]);
    let ids = Int64Array::from(ids.to_vec());
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(ids)]).unwrap()
}

fn outbox(disk: &MemDisk, memory: &Budget, room: &Budget) -> Outbox {
    let config = DeliveryConfig {
        name: "out".to_owned(),
        pipeline: "p".to_owned(),
        incarnation: "i".to_owned(),
        known: SinkPosition::default(),
        recorded: 0,
        outbox: "/outbox".into(),
        limits: LIMITS,
        memory: memory.clone(),
        disk: room.clone(),
    };
    Outbox::new(Arc::new(disk.clone()), &config)
}

fn ids(waiting: &Waiting) -> Vec<(Epoch, i64)> {
    let ids = waiting.rows.column(0).as_primitive::<Int64Type>().values();
    ids.iter().map(|id| (waiting.epoch, *id)).collect()
}

#[test]
fn thousands_of_epochs_take_few_files_and_bounded_memory() {
    let (disk, memory, room) =
        (MemDisk::new(1), Budget::unlimited("memory"), Budget::unlimited("disk"));
    let mut outbox = outbox(&disk, &memory, &room);
    for epoch in 1..=10_000 {
        outbox.push(epoch, rows(&[epoch as i64])).unwrap();
    }
    let files = disk.list(Path::new("/outbox")).unwrap().len();
    assert!((100..2_000).contains(&files), "{files} files for 10,000 epochs");
    assert!(memory.used() <= 8 << 10, "{} bytes in memory", memory.used());
    assert_eq!(room.used(), disk.used_bytes());
    assert_eq!(outbox.drop_through(9_000).unwrap(), 9_000);
    assert_eq!(outbox.next(Epoch::MAX).unwrap().map(|it| ids(&it)), Some(vec![(9_001, 9_001)]));
    outbox.clear();
    assert_eq!((memory.used(), room.used(), disk.used_bytes()), (0, 0, 0));
}

#[test]
fn it_is_full_when_memory_is_and_the_disk_takes_nothing() {
    let disk = MemDisk::new(1);
    disk.set_capacity(Some(0));
    let (memory, room) = (Budget::unlimited("memory"), Budget::unlimited("disk"));
    let mut outbox = outbox(&disk, &memory, &room);
    let mut epoch = 0;
    while !outbox.is_full() {
        epoch += 1;
        let _ = outbox.push(epoch, rows(&[epoch as i64]));
        assert!(epoch < 10_000, "nothing bounds it");
    }
    assert!(outbox.make_room().is_err(), "the disk is full");
    disk.set_capacity(None);
    outbox.make_room().unwrap();
    assert!(!outbox.is_full());
    assert_eq!(outbox.rows(), epoch);

    // The budget of the disk keeps it from it just as well.
    room.set_limit(0);
    while !outbox.is_full() {
        epoch += 1;
        outbox.push(epoch, rows(&[epoch as i64])).unwrap();
        assert!(epoch < 10_000, "nothing bounds it");
    }
    assert_eq!(outbox.rows(), epoch);
}

#[derive(Clone, Debug)]
enum Step {
    Push { rows: u8, new_epoch: bool },
    Read { epochs: u8 },
    Rewind,
    Drop { epochs: u8 },
    DiskFull(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..40u8, any::<bool>()).prop_map(|(rows, new_epoch)| Step::Push { rows, new_epoch }),
        4 => (0..12u8).prop_map(|epochs| Step::Read { epochs }),
        1 => Just(Step::Rewind),
        2 => (0..12u8).prop_map(|epochs| Step::Drop { epochs }),
        1 => any::<bool>().prop_map(Step::DiskFull),
    ]
}

proptest! {
    /// Against a list of rows: what is read is what was pushed and not dropped, in order.
    #[test]
    fn rows_come_back_in_order_once(steps in prop::collection::vec(step(), 1..200)) {
        let (disk, memory, room) =
            (MemDisk::new(1), Budget::unlimited("memory"), Budget::unlimited("disk"));
        let mut outbox = outbox(&disk, &memory, &room);
        let (mut model, mut epoch, mut next): (VecDeque<(Epoch, i64)>, _, _) = (VecDeque::new(), 1, 0);
        let (mut read, mut dropped) = (0, 0);
        for step in steps {
            match step {
                Step::Push { rows: count, new_epoch } => {
                    epoch += u64::from(new_epoch || dropped >= epoch);
                    let new: Vec<i64> = (next..next + i64::from(count)).collect();
                    next += i64::from(count);
                    // A full disk is told; the rows are there all the same.
                    let _ = outbox.push(epoch, rows(&new));
                    model.extend(new.into_iter().map(|id| (epoch, id)));
                }
                Step::Read { epochs } => {
                    let from = model.get(read).map_or(epoch, |(epoch, _)| *epoch);
                    let through = from + u64::from(epochs);
                    while let Some(waiting) = outbox.next(through).unwrap() {
                        for row in ids(&waiting) {
                            prop_assert_eq!(Some(&row), model.get(read));
                            read += 1;
                        }
                    }
                    prop_assert!(model.get(read).is_none_or(|(epoch, _)| *epoch > through));
                }
                Step::Rewind => {
                    outbox.rewind();
                    read = 0;
                }
                Step::Drop { epochs } => {
                    dropped += u64::from(epochs).min(epoch - dropped);
                    let mut count = 0;
                    while model.pop_front_if(|(epoch, _)| *epoch <= dropped).is_some() {
                        count += 1;
                        read = read.saturating_sub(1);
                    }
                    prop_assert_eq!(outbox.drop_through(dropped).unwrap(), count);
                }
                Step::DiskFull(full) => disk.set_capacity(full.then_some(0)),
            }
            prop_assert_eq!(outbox.rows(), model.len() as u64);
            prop_assert_eq!(room.used(), disk.used_bytes());
        }
    }
}
