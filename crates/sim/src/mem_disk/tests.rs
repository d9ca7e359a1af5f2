//! The failures are those that the module promises, and all of them come up.

use std::collections::HashSet;

use super::*;

fn path(text: &str) -> PathBuf {
    PathBuf::from(text)
}

fn disk(seed: u64) -> MemDisk {
    let disk = MemDisk::new(seed);
    disk.create_dir_all(Path::new("/data")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

/// A disk with a file of `length` ones, all of it synced.
fn disk_with_ones(seed: u64, length: usize) -> MemDisk {
    let disk = disk(seed);
    disk.write_whole(Path::new("/data/file"), &vec![1; length]).unwrap();
    disk
}

#[test]
fn what_is_synced_survives_every_crash() {
    for seed in 0..50 {
        let disk = disk_with_ones(seed, 2000);
        for _ in 0..3 {
            disk.crash();
            assert_eq!(disk.read(Path::new("/data/file")).unwrap(), vec![1; 2000], "seed {seed}");
        }
    }
}

#[test]
fn an_unsynced_write_is_torn_at_sectors() {
    let mut outcomes = HashSet::new();
    for seed in 0..200 {
        let disk = disk_with_ones(seed, 2048);
        disk.open(Path::new("/data/file"), false).unwrap().write_at(&[2; 2048], 0).unwrap();
        disk.crash();
        let bytes = disk.read(Path::new("/data/file")).unwrap();
        assert_eq!(bytes.len(), 2048);
        let sectors: Vec<u8> = bytes.chunks(512).map(|sector| sector[0]).collect();
        assert!(bytes.chunks(512).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
        outcomes.insert(sectors);
    }
    assert_eq!(outcomes.len(), 16, "every subset of four sectors comes up");
}

#[test]
fn an_unsynced_cut_is_kept_or_lost() {
    let mut lengths = HashSet::new();
    for seed in 0..50 {
        let disk = disk_with_ones(seed, 1000);
        let file = disk.open(Path::new("/data/file"), false).unwrap();
        file.truncate(10).unwrap();
        file.write_at(&[2; 10], 10).unwrap();
        assert_eq!(file.len().unwrap(), 20);
        disk.crash();
        let bytes = disk.read(Path::new("/data/file")).unwrap();
        assert!(bytes[..10].iter().all(|byte| *byte == 1), "what was not cut is there");
        lengths.insert(bytes.len());
    }
    assert_eq!(lengths, HashSet::from([10, 20, 1000]));
}

#[test]
fn a_name_is_durable_once_its_folder_is_synced() {
    let mut outcomes = HashSet::new();
    for seed in 0..50 {
        let disk = disk(seed);
        disk.open(Path::new("/data/a"), true).unwrap();
        disk.sync_dir(Path::new("/data")).unwrap();
        disk.rename(Path::new("/data/a"), Path::new("/data/b")).unwrap();
        disk.open(Path::new("/data/c"), true).unwrap().sync_data().unwrap();
        disk.create_dir_all(Path::new("/data/deep/deeper")).unwrap();
        disk.sync_dir(Path::new("/data/deep")).unwrap();
        disk.crash();
        outcomes.insert(disk.list(Path::new("/data")).unwrap());
    }
    let (a, b, c, deep) = (path("a"), path("b"), path("c"), path("deep"));
    for renamed in [a, b] {
        for names in [vec![], vec![c.clone()], vec![deep.clone()], vec![c.clone(), deep.clone()]] {
            assert!(outcomes.remove(&[vec![renamed.clone()], names].concat()));
        }
    }
    assert_eq!(outcomes, HashSet::new());
}

#[test]
fn a_whole_write_is_old_or_new_wherever_the_power_goes() {
    let mut outcomes = HashSet::new();
    for seed in 0..20 {
        for operations in 0..8 {
            let disk = disk_with_ones(seed, 600);
            disk.cut_power_after(operations);
            let written = disk.write_whole(Path::new("/data/file"), &[2; 700]);
            assert_eq!(written.is_err(), operations < 6, "it is six operations");
            disk.crash();
            let bytes = disk.read(Path::new("/data/file")).unwrap();
            assert!(bytes == vec![1; 600] || bytes == vec![2; 700], "seed {seed}: torn");
            if written.is_ok() {
                assert_eq!(bytes.len(), 700, "what was promised is there");
            }
            outcomes.insert((operations, bytes.len()));
        }
    }
    assert!(outcomes.contains(&(0, 600)) && outcomes.contains(&(7, 700)));
}

#[test]
fn open_files_do_not_outlive_a_crash() {
    let disk = disk_with_ones(0, 10);
    let file = disk.open(Path::new("/data/file"), false).unwrap();
    disk.crash();
    assert!(file.len().is_err() && file.write_at(b"x", 0).is_err());
    assert!(disk.open(Path::new("/data/file"), false).is_ok());
}

#[test]
fn an_open_file_outlives_its_name() {
    let disk = disk_with_ones(0, 10);
    let file = disk.open(Path::new("/data/file"), false).unwrap();
    disk.remove(Path::new("/data/file")).unwrap();
    disk.remove(Path::new("/data/file")).unwrap();
    disk.sync_dir(Path::new("/data")).unwrap();
    assert_eq!(file.len().unwrap(), 10);
    assert!(disk.open(Path::new("/data/file"), false).is_err());
}

#[test]
fn a_full_disk_takes_what_fits() {
    let disk = disk_with_ones(0, 100);
    disk.set_capacity(Some(130));
    let file = disk.open(Path::new("/data/file"), false).unwrap();
    let error = file.write_at(&[2; 50], 90).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!((file.len().unwrap(), disk.used_bytes()), (130, 130));
    assert_eq!(file.truncate(140).unwrap_err().kind(), io::ErrorKind::StorageFull);
    file.write_at(&[3; 130], 0).unwrap();
    disk.set_capacity(None);
    file.write_at(&[2; 50], 90).unwrap();
    assert_eq!(disk.used_bytes(), 140);
}

#[test]
fn a_failed_sync_loses_what_a_second_one_seems_to_save() {
    let mut lost = 0;
    for seed in 0..20 {
        let disk = disk_with_ones(seed, 512);
        let file = disk.open(Path::new("/data/file"), false).unwrap();
        disk.fail_sync_after(1);
        file.sync_data().unwrap();
        file.write_at(&[2; 512], 0).unwrap();
        assert!(file.sync_data().is_err());
        file.sync_data().unwrap();
        assert_eq!(disk.read(Path::new("/data/file")).unwrap(), vec![2; 512]);
        disk.crash();
        lost += u32::from(disk.read(Path::new("/data/file")).unwrap() == vec![1; 512]);
    }
    assert!(lost > 0);
}

#[test]
fn reads_may_be_short() {
    let disk = disk_with_ones(7, 100);
    disk.shorten_reads(true);
    let file = disk.open(Path::new("/data/file"), false).unwrap();
    let mut buffer = [0; 100];
    let counts: HashSet<usize> = (0..50).map(|_| file.read_at(&mut buffer, 0).unwrap()).collect();
    assert!(counts.len() > 5 && counts.iter().all(|count| (1..=100).contains(count)));
    assert_eq!(file.read_at(&mut buffer, 100).unwrap(), 0);
}
