//! Learned shapes: rows whose keys stand in a known order, with known spacing.
//!
//! A shape is what one accepted row looked like: literals (the bytes between the values) and, behind
//! each, what value is wanted there. A row matches when every literal is equal and every value is
//! one its step can read; then it says the same as [`super::walk`] would. A shape holds no value of
//! the row it was learned from, so rows do not depend on what was decoded before.
//!
//! Values nobody wants are passed over whatever they are, nested ones too. An escape in a key, a
//! wanted key that comes twice, a null or a wrong kind on the way to a nested column: no shape.

use thalweg_core::schema::{ColumnType, EpochUnit};

use super::number;
use super::plan::{Node, Plan};
use super::scan::{DEPTH_MAX, Scan, word};
use super::value::push;
use super::walk::Slot;
use crate::codecs::rows::{ColumnBuffer, Rows, Value};

/// Most shapes that are kept.
const SHAPES_MAX: usize = 8;
/// When all places are taken, one row in so many that no shape knows replaces the last one.
const RELEARN_EVERY: u32 = 1_024;
/// Most values and literal bytes of a shape.
const STEPS_MAX: usize = 512;
const LITERALS_MAX: usize = 32 * 1024;

/// The shapes of one decoder, those of use first.
pub(super) struct Shapes {
    shapes: Vec<Shape>,
    places: usize,
    misses: u32,
    rows: u64,
}

/// The layout of one kind of row.
struct Shape {
    steps: Vec<Step>,
    tail: Literal,
    /// Columns read from their slots when the whole row has matched.
    slot_columns: Vec<usize>,
    /// Columns the row does not have. Slots of conditions it does not have are clear: `walk` clears
    /// them before the row, and a shape tried before this one has met the same keys.
    absent_columns: Vec<usize>,
}

struct Step {
    literal: Literal,
    wanted: Wanted,
    /// Containers open round the value, from the row on.
    depth: usize,
}

/// What is done with a value.
enum Wanted {
    /// It is passed over.
    Nothing,
    /// It is kept in slots, and converted from there when the whole row has matched.
    Slots(Box<[usize]>),
    /// It goes straight into a column.
    Column(usize, Reading),
}

/// How a value is read that goes straight into a column. Null is read by all.
#[derive(Clone, Copy)]
enum Reading {
    Text,
    Double,
    /// A double in a string.
    QuotedDouble,
    Bigint,
    Instant(EpochUnit),
}

/// Bytes that must be equal, eight at a time, the last word under a mask.
#[derive(Default)]
struct Literal {
    words: Box<[(u64, u64)]>,
    length: usize,
}

impl Literal {
    fn new(bytes: &[u8]) -> Self {
        let words = bytes.chunks(8).map(|chunk| {
            let mask = u64::MAX >> (8 * (8 - chunk.len()));
            (word(chunk, 0), mask)
        });
        Self { words: words.collect(), length: bytes.len() }
    }

    /// Where the literal ends, if it stands at `at`.
    #[inline(always)]
    fn pass(&self, scan: Scan<'_>, at: usize) -> Option<usize> {
        let mut place = at;
        for (expected, mask) in &self.words {
            if word(scan.bytes, place) & mask != *expected {
                return None;
            }
            place += 8;
        }
        Some(at + self.length)
    }
}

impl Shapes {
    pub(super) fn new() -> Self {
        Self { shapes: Vec::new(), places: SHAPES_MAX, misses: 0, rows: 0 }
    }

    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self { places: 0, ..Self::new() }
    }

    /// Rows decoded by a shape.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Pushes the values of the row at `at`, if a shape knows it, and returns where the row ends.
    #[inline]
    pub(super) fn row(
        &mut self,
        scan: Scan<'_>,
        at: usize,
        depth: usize,
        rows: &mut Rows,
        slots: &mut [Slot],
    ) -> Option<usize> {
        for index in 0..self.shapes.len() {
            if let Some(end) = self.shapes[index].row(scan, at, depth, rows, slots) {
                self.rows += 1;
                if index > 0 {
                    self.shapes.swap(index, index - 1);
                }
                return Some(end);
            }
            rows.undo_row();
        }
        None
    }

    /// Learns the shape of a row that was accepted and that no shape knew.
    pub(super) fn learn(
        &mut self,
        plan: &Plan,
        scan: Scan<'_>,
        at: usize,
        depth: usize,
        rows: &Rows,
    ) {
        if self.shapes.len() == self.places {
            self.misses += 1;
            if self.misses < RELEARN_EVERY || self.places == 0 {
                return;
            }
            self.shapes.pop();
        }
        self.misses = 0;
        self.shapes.extend(Learner::new(plan, scan, at, rows).learn(at, depth));
    }
}

impl Shape {
    #[inline]
    fn row(
        &self,
        scan: Scan<'_>,
        mut at: usize,
        depth: usize,
        rows: &mut Rows,
        slots: &mut [Slot],
    ) -> Option<usize> {
        for step in &self.steps {
            let start = step.literal.pass(scan, at)?;
            at = match &step.wanted {
                Wanted::Nothing => scan.value(start, depth + step.depth)?,
                Wanted::Slots(wanted) => {
                    let end = scan.value(start, depth + step.depth)?;
                    for slot in wanted {
                        slots[*slot] = Slot::At { start, end };
                    }
                    end
                }
                Wanted::Column(column, reading) => {
                    reading.push(scan, start, rows.column(*column))?
                }
            };
        }
        let end = self.tail.pass(scan, at)?;
        for &column in &self.slot_columns {
            if let Slot::At { start, end } = slots[column] {
                push(rows.column(column), scan.slice(start, end)).ok()?;
            }
        }
        for &column in &self.absent_columns {
            rows.column(column).push_null().ok()?;
        }
        Some(end)
    }
}

impl Reading {
    /// Puts the value at `at` into the column and returns where it ends.
    #[inline(always)]
    fn push(self, scan: Scan<'_>, at: usize, buffer: &mut ColumnBuffer) -> Option<usize> {
        let (value, end) = match self {
            Self::Text => {
                let Some(text) = scan.string(at) else { return null(scan, at, buffer) };
                if text.is_escaped {
                    push(buffer, scan.slice(at, text.end)).ok()?;
                } else {
                    buffer.push_bytes(scan.slice(at + 1, text.end - 1)).ok()?;
                }
                return Some(text.end);
            }
            Self::Double => match number::double(scan, at) {
                Some((value, end)) => (Value::Double(value), end),
                None => return null(scan, at, buffer),
            },
            Self::QuotedDouble => {
                if scan.byte(at) != b'"' {
                    return null(scan, at, buffer);
                }
                match number::double(scan, at + 1) {
                    Some((value, end)) if scan.byte(end) == b'"' => (Value::Double(value), end + 1),
                    _ => return None,
                }
            }
            Self::Bigint => match number::integer(scan, at) {
                Some((value, end)) => (Value::Bigint(value), end),
                None => return null(scan, at, buffer),
            },
            Self::Instant(unit) => match number::integer(scan, at) {
                Some((value, end)) => (Value::Bigint(micros(value, unit)?), end),
                None => return null(scan, at, buffer),
            },
        };
        buffer.push(value).ok()?;
        Some(end)
    }
}

#[inline(always)]
fn micros(value: i64, unit: EpochUnit) -> Option<i64> {
    match unit {
        EpochUnit::Seconds => value.checked_mul(1_000_000),
        EpochUnit::Millis => value.checked_mul(1_000),
        EpochUnit::Micros => Some(value),
        EpochUnit::Nanos => Some(value.div_euclid(1_000)),
    }
}

/// Pushes a null that stands at `at`.
#[inline(never)]
fn null(scan: Scan<'_>, at: usize, buffer: &mut ColumnBuffer) -> Option<usize> {
    if !scan.bytes.get(at..)?.starts_with(b"null") {
        return None;
    }
    buffer.push_null().ok()?;
    Some(at + 4)
}

/// Reads a shape off a row that `walk` has accepted; such a row is valid.
struct Learner<'a> {
    plan: &'a Plan,
    scan: Scan<'a>,
    rows: &'a Rows,
    steps: Vec<Step>,
    /// Where the literal begins that the next step ends.
    literal_start: usize,
    literal_bytes: usize,
    /// By node of the row tree.
    seen_nodes: Vec<bool>,
    /// By slot.
    seen_slots: Vec<bool>,
}

impl<'a> Learner<'a> {
    fn new(plan: &'a Plan, scan: Scan<'a>, at: usize, rows: &'a Rows) -> Self {
        Self {
            plan,
            scan,
            rows,
            steps: Vec::new(),
            literal_start: at,
            literal_bytes: 0,
            seen_nodes: vec![false; plan.row.len()],
            seen_slots: vec![false; plan.slots],
        }
    }

    fn learn(mut self, at: usize, depth: usize) -> Option<Shape> {
        let plan = self.plan;
        let end = self.container(plan.row.root(), at, depth, 0)?;
        let tail = Literal::new(self.scan.slice(self.literal_start, end));
        let slots = |step: &Step| match &step.wanted {
            Wanted::Slots(slots) => slots.to_vec(),
            _ => Vec::new(),
        };
        let mut slot_columns: Vec<usize> = self.steps.iter().flat_map(slots).collect();
        slot_columns.retain(|slot| *slot < self.rows.columns());
        let mut absent_columns = plan.row_columns.clone();
        absent_columns.retain(|column| !self.seen_slots[*column]);
        Some(Shape { steps: self.steps, tail, slot_columns, absent_columns })
    }

    /// Goes through an object or array whose parts are wanted. `inner` counts from the row on.
    fn container(&mut self, node: &Node, at: usize, depth: usize, inner: usize) -> Option<usize> {
        if depth + inner >= DEPTH_MAX {
            return None;
        }
        let scan = self.scan;
        let is_object = match scan.byte(at) {
            b'{' if node.wants_object() => true,
            b'[' if node.wants_array() => false,
            _ => return None,
        };
        let close = if is_object { b'}' } else { b']' };
        let mut hint = 0;
        let mut index = 0;
        let mut at = scan.space(at + 1);
        while scan.byte(at) != close {
            let (child, value) = if is_object {
                let key = scan.key(at)?;
                if key.is_escaped {
                    return None;
                }
                (node.key(scan.slice(key.start, key.end), &mut hint), key.value)
            } else {
                (node.item(index), at)
            };
            index += 1;
            let end = self.value(child, value, depth, inner + 1)?;
            at = scan.space(end);
            if scan.byte(at) == b',' {
                at = scan.space(at + 1);
            }
        }
        Some(at + 1)
    }

    fn value(
        &mut self,
        child: Option<usize>,
        at: usize,
        depth: usize,
        inner: usize,
    ) -> Option<usize> {
        let Some(child) = child else {
            let end = self.scan.value(at, depth + inner)?;
            return self.step(at, end, Wanted::Nothing, inner);
        };
        if std::mem::replace(&mut self.seen_nodes[child], true) {
            return None;
        }
        let node = self.plan.row.node(child);
        match (node.container(), node.slots.is_empty()) {
            (Some(_), true) => return self.container(node, at, depth, inner),
            (Some(_), false) => return None,
            (None, _) => {}
        }
        for slot in &node.slots {
            self.seen_slots[*slot] = true;
        }
        let end = self.scan.value(at, depth + inner)?;
        let wanted = self.wanted(&node.slots, at);
        self.step(at, end, wanted, inner)
    }

    /// The fastest way to read the value at `at`, of those that can.
    fn wanted(&self, slots: &[usize], at: usize) -> Wanted {
        let scan = self.scan;
        let kept = Wanted::Slots(slots.into());
        let &[column] = slots else { return kept };
        if column >= self.rows.columns() {
            return kept;
        }
        let declared = self.rows.declared(column);
        let is_integer = number::integer(scan, at).is_some();
        let reading = match declared.kind {
            ColumnType::Text => Reading::Text,
            ColumnType::Double if scan.byte(at) == b'"' => match number::double(scan, at + 1) {
                Some((_, end)) if scan.byte(end) == b'"' => Reading::QuotedDouble,
                _ => return kept,
            },
            ColumnType::Double => Reading::Double,
            ColumnType::Bigint if is_integer => Reading::Bigint,
            ColumnType::Timestamp if is_integer => {
                Reading::Instant(declared.unit.unwrap_or(EpochUnit::Millis))
            }
            _ => return kept,
        };
        Wanted::Column(column, reading)
    }

    fn step(&mut self, at: usize, end: usize, wanted: Wanted, depth: usize) -> Option<usize> {
        let literal = self.scan.slice(self.literal_start, at);
        self.literal_bytes += literal.len();
        if self.steps.len() == STEPS_MAX || self.literal_bytes > LITERALS_MAX {
            return None;
        }
        self.steps.push(Step { literal: Literal::new(literal), wanted, depth });
        self.literal_start = end;
        Some(end)
    }
}

#[cfg(test)]
mod tests;
