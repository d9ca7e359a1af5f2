//! The text of a project's files, and positions in it.
//!
//! Invariant: a place handed out for a file lies within its text. Secrets that stand in a file are
//! overwritten with `*` here, byte for byte, so that no rendering can show them (S28).

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thalweg_core::problem::Place;

/// Every file that was read, in reading order.
#[derive(Clone, Debug, Default)]
pub struct SourceMap {
    files: Vec<SourceFile>,
}

#[derive(Clone, Debug)]
struct SourceFile {
    path: Arc<PathBuf>,
    text: String,
    /// Byte offset of the first character of each line.
    line_starts: Vec<usize>,
}

/// A place between two characters, as editors count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl SourceMap {
    /// The text of a file, by its path relative to the project folder.
    pub fn text(&self, path: &Path) -> Option<&str> {
        self.file(path).map(|file| file.text.as_str())
    }

    /// The files that were read, relative to the project folder.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }

    /// Where `offset` bytes into a file is; its end when `offset` lies beyond it.
    pub fn position(&self, path: &Path, offset: usize) -> Option<Position> {
        let file = self.file(path)?;
        let offset = file.text.floor_char_boundary(offset);
        let line = file.line_starts.partition_point(|start| *start <= offset);
        let start = file.line_starts[line - 1];
        Some(Position { line, column: file.text[start..offset].chars().count() + 1 })
    }

    /// Adds a file, or replaces its text, and returns its path as places name it.
    pub(crate) fn add(&mut self, path: &Path, text: String) -> Arc<PathBuf> {
        let breaks = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(breaks).collect();
        let path = Arc::new(path.to_owned());
        self.files.retain(|file| file.path != path);
        self.files.push(SourceFile { path: Arc::clone(&path), text, line_starts });
        path
    }

    /// Number of a file in reading order; what was never read comes last.
    pub(crate) fn order(&self, path: &Path) -> usize {
        self.files.iter().position(|file| *file.path == path).unwrap_or(usize::MAX)
    }

    /// The bytes of a place.
    pub(crate) fn slice(&self, place: &Place) -> Option<&str> {
        self.text(&place.file)?.get(place.range.clone())
    }

    /// Overwrites the bytes of a place with `*`.
    pub(crate) fn mask(&mut self, place: &Place) {
        let Some(file) = self.files.iter_mut().find(|file| file.path == place.file) else { return };
        let range: Range<usize> = place.range.clone();
        if file.text.get(range.clone()).is_some() {
            let stars = "*".repeat(range.len());
            file.text.replace_range(range, &stars);
        }
    }

    fn file(&self, path: &Path) -> Option<&SourceFile> {
        self.files.iter().find(|file| *file.path == path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        check("a\nbü\nc", 0, 1, 1);
        check("a\nbü\nc", 1, 1, 2);
        check("a\nbü\nc", 2, 2, 1);
        check("a\nbü\nc", 5, 2, 3);
        check("a\nbü\nc", 6, 3, 1);
        check("a\nbü\nc", 99, 3, 2);
        check("", 0, 1, 1);
    }

    #[track_caller]
    fn check(text: &str, offset: usize, line: usize, column: usize) {
        let mut map = SourceMap::default();
        let path = map.add(Path::new("a.toml"), text.to_owned());
        assert_eq!(map.position(&path, offset), Some(Position { line, column }));
    }

    #[test]
    fn a_masked_place_keeps_its_length() {
        let mut map = SourceMap::default();
        let file = map.add(Path::new("a.toml"), "token = 'gehéim'\nx = 1".to_owned());
        map.mask(&Place { file: Arc::clone(&file), range: 9..16 });
        assert_eq!(map.text(&file), Some("token = '*******'\nx = 1"));
    }
}
