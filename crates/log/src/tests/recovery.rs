//! Opening after a crash, after damage, and after a person has been there.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use thalweg_sim::for_each_seed;

use super::*;

const FIRST: &str = "00000000000000000000.log";
const SECOND: &str = "00000000000000000002.log";
const ACTIVE: &str = "00000000000000000004.log";
const FIRST_INDEX: &str = "00000000000000000000.index";

#[tokio::test]
async fn a_torn_tail_is_cut() {
    let whole = batch(0, &["a", "b"]).len() as u64;
    for (cut, flip) in [(1, None), (whole - 1, None), (0, Some(30)), (0, Some(3)), (0, Some(16))] {
        let (disk, log) = fresh(1 << 20).await;
        append_synced(&log, batch(0, &["kept"])).await.unwrap();
        let start = disk.read(&file_in_trades(FIRST)).unwrap().len();
        append_synced(&log, batch(0, &["a", "b"])).await.unwrap();
        append_synced(&log, batch(0, &["behind"])).await.unwrap();
        let behind = batch(0, &["behind"]).len() as u64;
        drop(log);
        damage(&disk, &file_in_trades(FIRST), |bytes| match flip {
            Some(place) => bytes[start + place] ^= 0x40,
            None => bytes.truncate(start + (whole - cut) as usize),
        });
        let (log, recovery) = open(&disk).unwrap();
        let [tail] = &recovery.cut[..] else { panic!("one tail is cut: {recovery:?}") };
        let bytes = if flip.is_some() { whole + behind } else { whole - cut };
        assert_eq!((tail.log_end, tail.bytes), (1, bytes), "{}", tail.reason);
        assert_eq!(values(&log, 0).await, ["kept"]);
        append_synced(&log, batch(0, &["next"])).await.unwrap();
        drop(log);
        let (log, recovery) = open(&disk).unwrap();
        assert_eq!(recovery, Recovery::default());
        assert_eq!(values(&log, 0).await, ["kept", "next"]);
    }
}

#[tokio::test]
async fn a_missing_or_wrong_index_is_made_again() {
    let (disk, log) = three_segments().await;
    let all = values(&log, 0).await;
    drop(log);
    let path = file_in_trades(FIRST_INDEX);
    let right = disk.read(&path).unwrap();
    let other = disk.read(&file_in_trades("00000000000000000002.index")).unwrap();
    for wrong in [None, Some(&b""[..]), Some(&right[..right.len() - 1]), Some(&other)] {
        disk.remove(&path).unwrap();
        if let Some(bytes) = wrong {
            disk.write_whole(&path, bytes).unwrap();
        }
        let (log, recovery) = open(&disk).unwrap();
        assert_eq!(recovery.indexes_rebuilt, std::slice::from_ref(&path));
        assert_eq!(disk.read(&path).unwrap(), right);
        assert_eq!(values(&log, 0).await, all);
    }
    for place in 0..right.len() {
        let mut flipped = right.clone();
        flipped[place] ^= 1;
        assert_eq!(crate::index::SegmentIndex::decode(&flipped, 0, 1234), None);
    }
}

#[tokio::test]
async fn a_damaged_closed_segment_is_refused_not_cut() {
    check_refused(|disk| {
        disk.remove(&file_in_trades(FIRST_INDEX)).unwrap();
        damage(disk, &file_in_trades(FIRST), |bytes| bytes[100] ^= 1);
    })
    .await;
    check_refused(|disk| {
        damage(disk, &file_in_trades(FIRST), |bytes| bytes.truncate(500));
    })
    .await;
    check_refused(|disk| damage(disk, &file_in_trades(FIRST), |bytes| bytes[0] = b'X')).await;
    check_refused(|disk| damage(disk, &file_in_trades(ACTIVE), |bytes| bytes[9] = 2)).await;
    check_refused(|disk| damage(disk, &file_in_trades(ACTIVE), |bytes| bytes.truncate(15))).await;
    check_refused(|disk| disk.remove(&file_in_trades(SECOND)).unwrap()).await;
    check_refused(|disk| {
        for name in [FIRST, SECOND, ACTIVE] {
            disk.remove(&file_in_trades(name)).unwrap();
        }
    })
    .await;
    check_refused(|disk| {
        let active = file_in_trades(ACTIVE);
        disk.rename(&active, &file_in_trades("00000000000000000005.log")).unwrap();
    })
    .await;
}

async fn check_refused(harm: impl FnOnce(&MemDisk)) {
    let (disk, log) = three_segments().await;
    drop(log);
    harm(&disk);
    let names = [FIRST, SECOND, ACTIVE].map(file_in_trades);
    let before = names.each_ref().map(|path| disk.read(path).ok());
    let error = assert_kind(open(&disk).map(|_| ()), ErrorKind::Internal);
    assert!(error.message.ends_with("is damaged") && error.detail.is_some(), "{}", error.chain());
    assert_eq!(names.each_ref().map(|path| disk.read(path).ok()), before, "nothing is changed");
}

#[tokio::test]
async fn leftovers_of_a_crash_are_removed() {
    let (disk, log) = three_segments().await;
    drop(log);
    let leftovers = ["next.tmp", "00000000000000000004.index", "00000000000000000099.index"]
        .map(file_in_trades);
    for path in &leftovers {
        disk.open(path, true).unwrap();
    }
    let (log, recovery) = open(&disk).unwrap();
    assert_eq!(recovery, Recovery::default());
    assert_eq!(values(&log, 4).await, ["4", "5"]);
    assert!(leftovers.iter().all(|path| disk.read(path).is_err()));
}

#[tokio::test]
async fn damage_below_the_high_watermark_is_an_error_to_the_reader() {
    let (disk, log) = three_segments().await;
    damage(&disk, &file_in_trades(FIRST), |bytes| bytes[16 + 16] = 9);
    let error = assert_kind(log.fetch(&trades(), 0, limit(1)).await, ErrorKind::Internal);
    assert!(error.message.contains(FIRST), "{error}");
    assert_eq!(values(&log, 4).await, ["4", "5"], "the rest can be read");
}

/// Whatever happens to a file, the log opens or says why not, and what it then serves are values
/// that were appended, in order and without a hole.
#[test]
fn no_damage_makes_the_log_panic_or_invent() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for_each_seed(400, |seed| runtime.block_on(damage_something(seed)));
}

async fn damage_something(seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let (disk, log) = three_segments().await;
    let all = values(&log, 0).await;
    drop(log);
    let names = [FIRST, SECOND, ACTIVE, FIRST_INDEX, "../topic"];
    let name = names[rng.random_range(0..names.len())];
    let path = match name {
        "../topic" => Path::new(FOLDER).join("trades.raw/topic"),
        name => file_in_trades(name),
    };
    damage(&disk, &path, |bytes| {
        let place = rng.random_range(0..bytes.len());
        match rng.random_range(0..4) {
            0 => bytes.truncate(place),
            1 => bytes[place] ^= 1 << rng.random_range(0..8),
            2 => rng.fill(&mut bytes[place..]),
            _ => bytes.extend((0..place).map(|_| rng.random::<u8>())),
        }
    });

    let Ok((log, _)) = open(&disk) else { return };
    let end = bounds(&log).await.log_end;
    let mut next = 0;
    while next < end {
        let Ok(fetched) = log.fetch(&trades(), next, limit(1 << 20)).await else { return };
        let Ok(found) = decode(&fetched.batches) else { return };
        for decoded in found {
            assert_eq!(decoded.offset, next);
            assert_eq!(decoded.record.value.unwrap(), all[next as usize]);
            next += 1;
        }
        assert_eq!(fetched.next, next);
    }
    assert!(end == 6 || name == ACTIVE, "only the active segment is cut");
}
