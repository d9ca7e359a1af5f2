//! The way through one frame, by the names of its keys.
//!
//! Rows are decoded as they are met, before it is known whether the frame is valid or filtered:
//! `decode` takes them back if not. Within the frame they are taken back when a key on the way to
//! them comes again, for of equal keys the last one counts.

use serde::de::IgnoredAny;

use super::plan::{Node, Notice, Plan, Test, Tree};
use super::scan::{DEPTH_MAX, Key, Scan};
use super::shape::Shapes;
use super::value::{push, shown, unquote};
use crate::codecs::rows::{FRAME_ROWS_MAX, Mark, Rows, too_long};

/// Longest value that a column may take from a frame of many rows, in bytes: each row stores it.
const FRAME_TEXT_MAX: usize = 256;
/// Longest notice, in bytes.
const NOTICE_MAX: usize = 1_000;

/// What became of a wanted value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// It is not there.
    Missing,
    /// It lies here.
    At { start: usize, end: usize },
    /// A value on the way to it, the one of `node`, is not the container it has to be.
    Broken { node: usize, start: usize, end: usize },
}

/// What became of a frame.
pub(super) enum Outcome {
    Decoded,
    Filtered,
    /// Filtered, and its text is worth showing.
    Notice(String),
    Refused(String),
}

/// What became of the way to the rows.
#[derive(Clone, Copy)]
enum Way {
    Missing,
    Found,
    Broken { node: usize, start: usize, end: usize },
}

/// One walk through one frame.
pub(super) struct Walk<'a> {
    plan: &'a Plan,
    scan: Scan<'a>,
    slots: &'a mut [Slot],
    rows: &'a mut Rows,
    shapes: &'a mut Shapes,
    way: Way,
    has_too_many_rows: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        bytes: &'a [u8],
        slots: &'a mut [Slot],
        rows: &'a mut Rows,
        shapes: &'a mut Shapes,
    ) -> Self {
        let scan = Scan { bytes };
        Self { plan, scan, slots, rows, shapes, way: Way::Missing, has_too_many_rows: false }
    }

    /// Decodes the frame; the caller takes back its rows unless the outcome is `Decoded`.
    pub(super) fn frame(mut self) -> Outcome {
        let (plan, scan) = (self.plan, self.scan);
        let rows_before = self.rows.len();
        if let Some(reason) = too_long(scan.bytes) {
            return Outcome::Refused(reason);
        }
        let start = scan.space(0);
        if start == scan.bytes.len() {
            return Outcome::Filtered;
        }
        for slot in plan.frame.root().beneath.iter().chain(&plan.row_conditions) {
            self.slots[*slot] = Slot::Missing;
        }
        let end = self.visit(&plan.frame, 0, start, 0);
        if self.has_too_many_rows {
            return Outcome::Refused(format!("more than {FRAME_ROWS_MAX} rows in one frame"));
        }
        if end.map(|end| scan.space(end)) != Some(scan.bytes.len()) {
            return Outcome::Refused(refusal(scan.bytes));
        }
        if let Some(notice) = plan.notices.iter().find(|notice| self.holds(&notice.when)) {
            return Outcome::Notice(self.notice(notice));
        }
        if plan.only_if.as_ref().is_some_and(|test| !self.holds(test)) {
            return Outcome::Filtered;
        }
        match self.way {
            Way::Missing => Outcome::Refused(format!("rows: nothing at `{}`", plan.rows)),
            Way::Broken { node, start, end } => Outcome::Refused(format!(
                "rows: {}",
                mismatch(plan.frame.node(node), scan.slice(start, end))
            )),
            Way::Found => match self.fill_frame_columns(rows_before) {
                Ok(()) => Outcome::Decoded,
                Err(reason) => Outcome::Refused(reason),
            },
        }
    }

    /// The value of a slot.
    fn raw(&self, slot: usize) -> Option<&'a [u8]> {
        match self.slots[slot] {
            Slot::At { start, end } => Some(self.scan.slice(start, end)),
            Slot::Missing | Slot::Broken { .. } => None,
        }
    }

    fn holds(&self, test: &Test) -> bool {
        test.condition.holds(self.raw(test.slot))
    }

    /// The text of a notice; the whole frame, where the rule's path leads to nothing.
    fn notice(&self, notice: &Notice) -> String {
        let raw = self.raw(notice.message).unwrap_or(self.scan.bytes.trim_ascii());
        let text = if raw.starts_with(b"\"") { unquote(raw) } else { String::from_utf8_lossy(raw) };
        text[..text.floor_char_boundary(NOTICE_MAX)].to_owned()
    }

    /// Gives every row of the frame the values that stand outside the rows.
    fn fill_frame_columns(&mut self, rows_before: usize) -> Result<(), String> {
        let plan = self.plan;
        let rows = rows_before..self.rows.len();
        for &column in &plan.frame_columns {
            let length = self.raw(column).map_or(0, <[u8]>::len);
            if plan.rows.has_each() && !rows.is_empty() && length > FRAME_TEXT_MAX {
                let name = &self.rows.declared(column).name;
                return Err(format!(
                    "{name}: {length} bytes, and a value that goes into every row of a frame has \
                     {FRAME_TEXT_MAX} at most"
                ));
            }
            for _ in rows.clone() {
                self.convert(&plan.frame, column)?;
            }
        }
        Ok(())
    }

    /// Appends what is in a column's slot to the column.
    fn convert(&mut self, tree: &Tree, column: usize) -> Result<(), String> {
        let buffer = self.rows.column(column);
        match self.slots[column] {
            Slot::Missing => {
                buffer.push_null().map_err(|_| format!("{}: missing", buffer.column().name))
            }
            Slot::At { start, end } => {
                let raw = self.scan.slice(start, end);
                push(buffer, raw).map_err(|why| buffer.reason(why, &shown(raw)))
            }
            Slot::Broken { node, start, end } => Err(format!(
                "{}: {}",
                buffer.column().name,
                mismatch(tree.node(node), self.scan.slice(start, end))
            )),
        }
    }

    /// Passes the value of a node, fills the slots of what is wanted there and below, and decodes
    /// rows. Returns where the value ends; none: not JSON.
    fn visit(&mut self, tree: &'a Tree, index: usize, at: usize, depth: usize) -> Option<usize> {
        let node = tree.node(index);
        let end = match self.scan.byte(at) {
            _ if node.is_row => self.row(at, depth)?,
            b'{' if node.wants_object() => self.object(tree, node, at, depth)?,
            b'[' if node.wants_array() => self.array(tree, node, at, depth)?,
            first => {
                let end = self.scan.value(at, depth)?;
                if first != b'n' && !node.beneath.is_empty() {
                    for slot in &node.beneath {
                        self.slots[*slot] = Slot::Broken { node: index, start: at, end };
                    }
                }
                if node.leads_to_rows {
                    self.way = Way::Broken { node: index, start: at, end };
                }
                end
            }
        };
        for slot in &node.slots {
            self.slots[*slot] = Slot::At { start: at, end };
        }
        Some(end)
    }

    fn object(&mut self, tree: &'a Tree, node: &Node, at: usize, depth: usize) -> Option<usize> {
        if depth == DEPTH_MAX {
            return None;
        }
        let scan = self.scan;
        let before = (self.rows.mark(), self.way);
        let mut hint = 0;
        let mut at = scan.space(at + 1);
        if scan.byte(at) == b'}' {
            return Some(at + 1);
        }
        loop {
            let key = scan.key(at)?;
            let end = match find(node, scan, key, &mut hint) {
                None => scan.value(key.value, depth + 1)?,
                Some(child) => {
                    self.forget(tree.node(child), before);
                    self.visit(tree, child, key.value, depth + 1)?
                }
            };
            at = scan.space(end);
            match scan.byte(at) {
                b',' => at = scan.space(at + 1),
                b'}' => return Some(at + 1),
                _ => return None,
            }
        }
    }

    /// Undoes what an earlier value of an equal key did.
    fn forget(&mut self, node: &Node, (mark, way): (Mark, Way)) {
        for slot in &node.beneath {
            self.slots[*slot] = Slot::Missing;
        }
        if node.leads_to_rows {
            self.rows.rollback(mark);
            self.way = way;
            for slot in &self.plan.row_conditions {
                self.slots[*slot] = Slot::Missing;
            }
        }
    }

    fn array(&mut self, tree: &'a Tree, node: &Node, at: usize, depth: usize) -> Option<usize> {
        if depth == DEPTH_MAX {
            return None;
        }
        let scan = self.scan;
        if node.each.is_some() && !matches!(self.way, Way::Broken { .. }) {
            self.way = Way::Found;
        }
        let mut at = scan.space(at + 1);
        if scan.byte(at) == b']' {
            return Some(at + 1);
        }
        for index in 0.. {
            let end = match (node.item(index), node.each) {
                (None, None) => scan.value(at, depth + 1)?,
                (Some(child), None) | (None, Some(child)) => {
                    self.visit(tree, child, at, depth + 1)?
                }
                (Some(item), Some(each)) => {
                    self.visit(tree, item, at, depth + 1)?;
                    self.visit(tree, each, at, depth + 1)?
                }
            };
            at = scan.space(end);
            match scan.byte(at) {
                b',' => at = scan.space(at + 1),
                b']' => return Some(at + 1),
                _ => return None,
            }
        }
        None
    }

    /// Decodes the row at `at` and returns where it ends.
    fn row(&mut self, at: usize, depth: usize) -> Option<usize> {
        if !matches!(self.way, Way::Broken { .. }) {
            self.way = Way::Found;
        }
        if self.rows.next_row() == FRAME_ROWS_MAX {
            self.has_too_many_rows = true;
            return None;
        }
        if let Some(end) = self.shapes.row(self.scan, at, depth, self.rows, self.slots) {
            self.rows.accept_row();
            return Some(end);
        }
        self.row_by_name(at, depth)
    }

    fn row_by_name(&mut self, at: usize, depth: usize) -> Option<usize> {
        let (plan, scan) = (self.plan, self.scan);
        let root = plan.row.root();
        for slot in &root.beneath {
            self.slots[*slot] = Slot::Missing;
        }
        let end = self.visit(&plan.row, 0, at, depth)?;
        let fits = match scan.byte(at) {
            b'{' => root.wants_object() || !root.wants_array(),
            b'[' => root.wants_array() || !root.wants_object(),
            _ => root.container().is_none(),
        };
        if !fits {
            self.rows.reject_row(mismatch(root, scan.slice(at, end)));
            return Some(end);
        }
        for &column in &plan.row_columns {
            if let Err(reason) = self.convert(&plan.row, column) {
                self.rows.reject_row(reason);
                return Some(end);
            }
        }
        self.rows.accept_row();
        self.shapes.learn(plan, scan, at, depth, self.rows);
        Some(end)
    }
}

/// The node a key leads to.
#[inline]
fn find(node: &Node, scan: Scan<'_>, key: Key, hint: &mut usize) -> Option<usize> {
    if key.is_escaped {
        let name = unquote(scan.slice(key.start - 1, key.end + 1));
        node.key(name.as_bytes(), hint)
    } else {
        node.key(scan.slice(key.start, key.end), hint)
    }
}

/// What a node's value has to be and is not.
fn mismatch(node: &Node, raw: &[u8]) -> String {
    let wanted = node.container().unwrap_or("a value");
    let place = &node.place;
    if place.contains(' ') {
        format!("expected {place} to be {wanted}, found {}", shown(raw))
    } else {
        format!("expected {wanted} at `{place}`, found {}", shown(raw))
    }
}

/// Why a frame that the recogniser refused is not JSON, in the words of `serde_json`.
fn refusal(bytes: &[u8]) -> String {
    if let Err(error) = std::str::from_utf8(bytes) {
        return format!("not UTF-8 at byte {}", error.valid_up_to());
    }
    match serde_json::from_slice::<IgnoredAny>(bytes) {
        Err(error) => format!("not JSON: {error}"),
        // What `serde_json` passes over in a value nobody reads, but refuses in one.
        Ok(_) => format!(
            "not JSON: deeper than {DEPTH_MAX} levels, a number beyond a double, \
             or half a surrogate pair"
        ),
    }
}
