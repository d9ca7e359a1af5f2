//! What to look for in a frame: the declared paths, as two trees.
//!
//! The *frame* tree leads to the rows and to the values that stand outside them; the *row* tree
//! holds the paths within a row. When a frame is one row (no `[*]`), what a condition wants inside
//! the row belongs to the row tree, so that nothing is walked twice.
//!
//! Every wanted value has a slot: first one a column, in order, then those of the conditions.

use thalweg_core::schema::Column;
use thalweg_core::{Error, Result};

use super::JsonConfig;
use super::path::{Condition, JsonPath, Step};

/// Compiled paths of one decoder.
pub(super) struct Plan {
    pub(super) frame: Tree,
    pub(super) row: Tree,
    /// Columns found in a row, in order.
    pub(super) row_columns: Vec<usize>,
    /// Columns found in the frame as a whole, in order.
    pub(super) frame_columns: Vec<usize>,
    /// Slots of the row tree that belong to conditions.
    pub(super) row_conditions: Vec<usize>,
    pub(super) only_if: Option<Test>,
    pub(super) notices: Vec<Notice>,
    pub(super) slots: usize,
    /// For messages.
    pub(super) rows: JsonPath,
}

/// A condition and the slot of its value.
pub(super) struct Test {
    pub(super) slot: usize,
    pub(super) condition: Condition,
}

/// A rule for notices and the slot of their text.
pub(super) struct Notice {
    pub(super) when: Test,
    pub(super) message: usize,
}

/// Paths with a common root, node 0.
pub(super) struct Tree(Vec<Node>);

/// One value on the way to what is wanted.
#[derive(Default)]
pub(super) struct Node {
    /// Wanted keys of the object, each with its node.
    keys: Vec<(Box<[u8]>, usize)>,
    /// Wanted elements of the array.
    items: Vec<(usize, usize)>,
    /// The node of every element.
    pub(super) each: Option<usize>,
    /// Slots that the value itself fills.
    pub(super) slots: Vec<usize>,
    /// Slots filled further down.
    pub(super) beneath: Vec<usize>,
    /// Whether the value is a row.
    pub(super) is_row: bool,
    /// Whether rows are here or further down.
    pub(super) leads_to_rows: bool,
    /// The path to it, for messages.
    pub(super) place: String,
}

impl Plan {
    /// # Errors
    ///
    /// `Invalid` when a path is not one, or has a `[*]` where one value is wanted.
    pub(super) fn new(config: &JsonConfig) -> Result<Self> {
        let mut rows = config.rows.clone().unwrap_or_default();
        rows.is_from_frame = true;
        let mut plan = Self {
            frame: Tree::new("$"),
            row: Tree::new("the row"),
            row_columns: Vec::new(),
            frame_columns: Vec::new(),
            row_conditions: Vec::new(),
            only_if: None,
            notices: Vec::new(),
            slots: config.columns.len(),
            rows,
        };
        plan.frame.add_rows(&plan.rows);
        for (index, column) in config.columns.iter().enumerate() {
            plan.add_column(index, column)?;
        }
        if let Some(condition) = &config.only_if {
            plan.only_if = Some(plan.test(condition)?);
        }
        for rule in &config.notices {
            let when = plan.test(&rule.when)?;
            let message = plan.add_slot(&rule.message)?;
            plan.notices.push(Notice { when, message });
        }
        Ok(plan)
    }

    fn add_column(&mut self, index: usize, column: &Column) -> Result<()> {
        let path: JsonPath = column.path().parse()?;
        refuse_each(&path)?;
        match self.within_row(&path) {
            Some(steps) if !steps.is_empty() => {
                self.row.add(steps, index);
                self.row_columns.push(index);
            }
            _ => {
                self.frame.add(&path.steps, index);
                self.frame_columns.push(index);
            }
        }
        Ok(())
    }

    fn test(&mut self, condition: &Condition) -> Result<Test> {
        Ok(Test { slot: self.add_slot(&condition.path)?, condition: condition.clone() })
    }

    /// Adds a path that is always meant from the frame, with or without its `$`.
    fn add_slot(&mut self, path: &JsonPath) -> Result<usize> {
        refuse_each(path)?;
        let path = JsonPath { is_from_frame: true, ..path.clone() };
        let slot = self.slots;
        self.slots += 1;
        match self.within_row(&path) {
            Some(steps) if !steps.is_empty() => {
                self.row.add(steps, slot);
                self.row_conditions.push(slot);
            }
            _ => self.frame.add(&path.steps, slot),
        }
        Ok(slot)
    }

    /// The steps from the row on, when the value lies within the one row of a frame.
    fn within_row<'p>(&self, path: &'p JsonPath) -> Option<&'p [Step]> {
        if !path.is_from_frame {
            return Some(&path.steps);
        }
        if self.rows.has_each() {
            return None;
        }
        path.steps.strip_prefix(self.rows.steps.as_slice())
    }
}

fn refuse_each(path: &JsonPath) -> Result<()> {
    if path.has_each() {
        return Err(Error::invalid(format!("`{path}` stands for more than one value"))
            .with_hint("Only `rows` may go into every element with `[*]`."));
    }
    Ok(())
}

impl Tree {
    fn new(place: &str) -> Self {
        Self(vec![Node { place: place.to_owned(), ..Node::default() }])
    }

    pub(super) fn root(&self) -> &Node {
        &self.0[0]
    }

    pub(super) fn node(&self, index: usize) -> &Node {
        &self.0[index]
    }

    /// Number of nodes.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn add(&mut self, steps: &[Step], slot: usize) {
        let mut at = 0;
        for step in steps {
            self.0[at].beneath.push(slot);
            at = self.child(at, step);
        }
        self.0[at].slots.push(slot);
    }

    fn add_rows(&mut self, path: &JsonPath) {
        let mut at = 0;
        self.0[at].leads_to_rows = true;
        for step in &path.steps {
            at = self.child(at, step);
            self.0[at].leads_to_rows = true;
        }
        self.0[at].is_row = true;
    }

    /// The node behind a step, made when it is not there.
    fn child(&mut self, at: usize, step: &Step) -> usize {
        let new = self.0.len();
        let node = &mut self.0[at];
        let known = match step {
            Step::Key(key) => node.keys.iter().find(|(k, _)| **k == *key.as_bytes()).map(|k| k.1),
            Step::Item(index) => node.items.iter().find(|(i, _)| i == index).map(|i| i.1),
            Step::Each => node.each,
        };
        if let Some(known) = known {
            return known;
        }
        let place = match step {
            Step::Key(key) if at == 0 && node.place != "$" => key.clone(),
            Step::Key(key) => format!("{}.{key}", node.place),
            Step::Item(index) if at == 0 && node.place != "$" => format!("[{index}]"),
            Step::Item(index) => format!("{}[{index}]", node.place),
            Step::Each => format!("{}[*]", node.place),
        };
        match step {
            Step::Key(key) => node.keys.push((key.as_bytes().into(), new)),
            Step::Item(index) => node.items.push((*index, new)),
            Step::Each => node.each = Some(new),
        }
        self.0.push(Node { place, ..Node::default() });
        new
    }
}

impl Node {
    /// Whether anything is wanted inside an object here.
    pub(super) fn wants_object(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether anything is wanted inside an array here.
    pub(super) fn wants_array(&self) -> bool {
        !self.items.is_empty() || self.each.is_some()
    }

    /// What the value has to be, for messages; none when anything will do.
    pub(super) fn container(&self) -> Option<&'static str> {
        match (self.wants_object(), self.wants_array()) {
            (true, _) => Some("an object"),
            (false, true) => Some("an array"),
            (false, false) => None,
        }
    }

    /// The node of a key. Searches from `hint` on, and leaves it behind what it found: records
    /// mostly hold their keys in one order.
    #[inline]
    pub(super) fn key(&self, key: &[u8], hint: &mut usize) -> Option<usize> {
        let (before, after) = self.keys.split_at((*hint).min(self.keys.len()));
        let found = after.iter().chain(before).position(|(name, _)| **name == *key)?;
        let index = (*hint + found) % self.keys.len();
        *hint = index + 1;
        Some(self.keys[index].1)
    }

    /// The node of an element.
    pub(super) fn item(&self, index: usize) -> Option<usize> {
        self.items.iter().find(|(wanted, _)| *wanted == index).map(|(_, node)| *node)
    }
}
