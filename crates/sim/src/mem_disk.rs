//! A disk in memory, with the failures of a real one.
//!
//! The rules, as strict as POSIX lets a disk be:
//!
//! - A file's bytes are durable after its `sync_data`, its name after `sync_dir` of its folder. A
//!   crash keeps any part of the rest: any sectors, and any of the names made, renamed and removed.
//! - A rename is one step: after a crash the old name is there, or the new one, never both or none.
//! - A file without a name that survived is gone, whatever was synced.
//! - A failed sync of a file loses what it should have written; the next one succeeds without it.
//!   One of a folder leaves some of it for the next.
//! - A write that does not fit the disk is done as far as it fits, then fails.
//!
//! Not modelled: bytes that change by themselves (write them through an open file), errors on
//! reading, permissions.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use thalweg_core::env::{Disk, DiskFile};

use crate::contents::Contents;

/// A disk in memory; clones are the same disk.
#[derive(Clone)]
pub struct MemDisk(Arc<Mutex<Machine>>);

struct Machine {
    rng: SmallRng,
    // Counts crashes; what was opened before one is dead.
    boot: u64,
    names: Names,
    durable_names: Names,
    unsynced_names: Vec<NameChange>,
    files: HashMap<FileId, Contents>,
    next_file: FileId,
    capacity_bytes: Option<u64>,
    operations_left: Option<u64>,
    syncs_left: Option<u64>,
    reads_short: bool,
}

type FileId = u64;
type Names = BTreeMap<PathBuf, Named>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Folder,
    File(FileId),
}

impl Named {
    fn file(self) -> Option<FileId> {
        match self {
            Self::Folder => None,
            Self::File(id) => Some(id),
        }
    }
}

/// Names that change in one step, and what they stand for afterwards.
type NameChange = Vec<(PathBuf, Option<Named>)>;

impl MemDisk {
    /// An empty disk; `seed` decides what crashes keep and how short reads are.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Machine {
            rng: SmallRng::seed_from_u64(seed),
            boot: 0,
            names: Names::new(),
            durable_names: Names::new(),
            unsynced_names: Vec::new(),
            files: HashMap::new(),
            next_file: 0,
            capacity_bytes: None,
            operations_left: None,
            syncs_left: None,
            reads_short: false,
        })))
    }

    /// Cuts the power and gives it back: what is not synced is kept in part or lost, and every open
    /// file is dead. Lifts every fault but the capacity.
    pub fn crash(&self) {
        self.machine().crash();
    }

    /// Lets `operations` more that change anything happen; from then on everything fails, as for a
    /// process whose machine has died under it, until [`crash`](Self::crash).
    pub fn cut_power_after(&self, operations: u64) {
        self.machine().operations_left = Some(operations);
    }

    /// Whether the cut has come.
    pub fn is_power_off(&self) -> bool {
        self.machine().operations_left == Some(0)
    }

    /// Sets how many bytes of files there is room for; `None` is without end.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.machine().capacity_bytes = bytes;
    }

    /// Bytes of all files.
    pub fn used_bytes(&self) -> u64 {
        self.machine().used_bytes()
    }

    /// Lets `syncs` more of files and folders succeed and the one after them fail.
    pub fn fail_sync_after(&self, syncs: u64) {
        self.machine().syncs_left = Some(syncs);
    }

    /// Whether a read brings fewer bytes than asked for, at random.
    pub fn shorten_reads(&self, short: bool) {
        self.machine().reads_short = short;
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Machine {
    fn crash(&mut self) {
        self.boot += 1;
        self.operations_left = None;
        self.syncs_left = None;
        self.reads_short = false;
        for change in std::mem::take(&mut self.unsynced_names) {
            if self.rng.random_bool(0.5) {
                apply(&mut self.durable_names, change);
            }
        }
        let folders: HashSet<PathBuf> = self
            .durable_names
            .iter()
            .filter(|(_, named)| **named == Named::Folder)
            .map(|(path, _)| path.clone())
            .collect();
        self.durable_names.retain(|path, _| {
            path.ancestors().skip(1).all(|folder| is_root(folder) || folders.contains(folder))
        });
        self.names.clone_from(&self.durable_names);
        let named: HashSet<FileId> = self.names.values().filter_map(|named| named.file()).collect();
        self.files.retain(|id, _| named.contains(id));
        // By number, so that a seed always draws alike.
        let mut files: Vec<_> = self.files.iter_mut().collect();
        files.sort_unstable_by_key(|(id, _)| **id);
        for (_, contents) in files {
            contents.crash(&mut self.rng);
        }
    }

    /// Fails when the power is off.
    fn check_power(&self) -> io::Result<()> {
        if self.operations_left == Some(0) {
            return Err(io::Error::other("the power is off"));
        }
        Ok(())
    }

    /// Counts an operation that changes something, unless the power is off.
    fn begin_change(&mut self) -> io::Result<()> {
        self.check_power()?;
        self.operations_left = self.operations_left.map(|left| left - 1);
        Ok(())
    }

    /// Counts a sync, and says whether it fails.
    fn sync_fails(&mut self) -> bool {
        match self.syncs_left.take() {
            None => false,
            Some(0) => true,
            Some(left) => {
                self.syncs_left = Some(left - 1);
                false
            }
        }
    }

    fn used_bytes(&self) -> u64 {
        self.names
            .values()
            .filter_map(|named| self.files.get(&named.file()?))
            .map(|contents| contents.current().len() as u64)
            .sum()
    }

    fn room_bytes(&self) -> usize {
        let room = self.capacity_bytes.map(|capacity| capacity.saturating_sub(self.used_bytes()));
        room.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX)
    }

    fn change_names(&mut self, change: NameChange) {
        apply(&mut self.names, change.clone());
        self.unsynced_names.push(change);
    }

    fn is_folder(&self, path: &Path) -> bool {
        is_root(path) || self.names.get(path) == Some(&Named::Folder)
    }

    fn file_at(&self, path: &Path) -> io::Result<FileId> {
        match self.names.get(path) {
            Some(Named::File(id)) => Ok(*id),
            Some(Named::Folder) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fn apply(names: &mut Names, change: NameChange) {
    for (path, named) in change {
        match named {
            Some(named) => names.insert(path, named),
            None => names.remove(&path),
        };
    }
}

/// Whether a folder is there without having been made.
fn is_root(path: &Path) -> bool {
    path.parent().is_none()
}

impl Disk for MemDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut machine = self.machine();
        machine.begin_change()?;
        let missing: Vec<&Path> =
            path.ancestors().take_while(|folder| !machine.is_folder(folder)).collect();
        for folder in missing.into_iter().rev() {
            if machine.names.contains_key(folder) {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            machine.change_names(vec![(folder.to_owned(), Some(Named::Folder))]);
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let machine = self.machine();
        machine.check_power()?;
        if let Some(Named::File(_)) = machine.names.get(path) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let inside = machine.names.keys().filter(|name| name.parent() == Some(path));
        Ok(inside.filter_map(|name| name.file_name()).map(PathBuf::from).collect())
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn DiskFile>> {
        let mut machine = self.machine();
        machine.check_power()?;
        let file = match machine.file_at(path) {
            Err(error) if create && error.kind() == io::ErrorKind::NotFound => {
                machine.begin_change()?;
                if !path.parent().is_some_and(|folder| machine.is_folder(folder)) {
                    return Err(error);
                }
                let file = machine.next_file;
                machine.next_file += 1;
                machine.files.insert(file, Contents::default());
                machine.change_names(vec![(path.to_owned(), Some(Named::File(file)))]);
                file
            }
            found => found?,
        };
        let boot = machine.boot;
        drop(machine);
        Ok(Box::new(MemFile { disk: self.clone(), file, boot }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let machine = self.machine();
        machine.check_power()?;
        let file = machine.file_at(path)?;
        Ok(machine.files[&file].current().to_vec())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut machine = self.machine();
        machine.begin_change()?;
        let file = machine.file_at(from)?;
        if machine.is_folder(to) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if !to.parent().is_some_and(|folder| machine.is_folder(folder)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        machine
            .change_names(vec![(from.to_owned(), None), (to.to_owned(), Some(Named::File(file)))]);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut machine = self.machine();
        machine.begin_change()?;
        match machine.file_at(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(_) => {
                machine.change_names(vec![(path.to_owned(), None)]);
                Ok(())
            }
        }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut machine = self.machine();
        machine.begin_change()?;
        if !machine.is_folder(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let fails = machine.sync_fails();
        let mut stopped = false;
        for change in std::mem::take(&mut machine.unsynced_names) {
            let is_here = change.iter().any(|(name, _)| name.parent() == Some(path));
            stopped |= is_here && fails && machine.rng.random_bool(0.5);
            if is_here && !stopped {
                apply(&mut machine.durable_names, change);
            } else {
                machine.unsynced_names.push(change);
            }
        }
        if fails { Err(io::Error::other("the disk did not take it")) } else { Ok(()) }
    }
}

/// An open file.
struct MemFile {
    disk: MemDisk,
    file: FileId,
    boot: u64,
}

impl MemFile {
    fn with<T>(&self, act: impl FnOnce(&mut Machine) -> io::Result<T>) -> io::Result<T> {
        let mut machine = self.disk.machine();
        if machine.boot != self.boot {
            return Err(io::Error::other("the file was opened before the crash"));
        }
        machine.check_power()?;
        act(&mut machine)
    }
}

impl Machine {
    fn contents(&mut self, file: FileId) -> &mut Contents {
        self.files.get_mut(&file).expect("contents outlive their name until a crash")
    }
}

impl DiskFile for MemFile {
    fn len(&self) -> io::Result<u64> {
        self.with(|machine| Ok(machine.contents(self.file).current().len() as u64))
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.with(|machine| {
            let short = machine.reads_short && buffer.len() > 1;
            let most =
                if short { machine.rng.random_range(1..=buffer.len()) } else { buffer.len() };
            let contents = machine.contents(self.file).current();
            let start = usize::try_from(position).unwrap_or(usize::MAX).min(contents.len());
            let count = most.min(contents.len() - start);
            buffer[..count].copy_from_slice(&contents[start..start + count]);
            Ok(count)
        })
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.with(|machine| {
            machine.begin_change()?;
            let position = usize::try_from(position).map_err(io::Error::other)?;
            let room = machine.room_bytes();
            let contents = machine.contents(self.file);
            let end_max = contents.current().len().saturating_add(room);
            let fits = bytes.len().min(end_max.saturating_sub(position));
            if fits > 0 {
                contents.write(position, &bytes[..fits]);
            }
            if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        })
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.with(|machine| {
            machine.begin_change()?;
            let length = usize::try_from(length).map_err(io::Error::other)?;
            let room = machine.room_bytes();
            let contents = machine.contents(self.file);
            if length > contents.current().len().saturating_add(room) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            contents.resize(length);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|machine| {
            machine.begin_change()?;
            if machine.sync_fails() {
                let Machine { files, rng, .. } = machine;
                if let Some(contents) = files.get_mut(&self.file) {
                    contents.fail_sync(rng);
                }
                return Err(io::Error::other("the disk did not take it"));
            }
            machine.contents(self.file).sync();
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests;
