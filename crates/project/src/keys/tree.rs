//! The table of keys as a tree, to walk a file along.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::{Group, Key, State, groups, keys};

/// A key and the keys below it.
#[derive(Debug, Default)]
pub(crate) struct KeyNode {
    /// The row of the table; none at the root.
    pub(crate) key: Option<&'static Key>,
    /// What the key, or the outermost planned one above it, is for when it is not built.
    pub(crate) planned: Option<&'static str>,
    /// Keys by name.
    pub(crate) children: BTreeMap<&'static str, KeyNode>,
    /// The key that stands for names the user chooses.
    pub(crate) any: Option<Box<KeyNode>>,
    /// Groups whose table this is.
    pub(crate) groups: Vec<&'static Group>,
}

impl KeyNode {
    /// The key called `name` below this one.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children.get(name).or(self.any.as_deref())
    }

    /// The row of the table; every node but the root has one.
    pub(crate) fn key(&self) -> &'static Key {
        self.key.expect("only the root of the key table has no row, and nothing reads its value")
    }
}

/// The table, as a tree.
pub(crate) fn root() -> &'static KeyNode {
    static ROOT: LazyLock<KeyNode> = LazyLock::new(|| {
        let mut root = KeyNode::default();
        for key in keys() {
            let node = descend(&mut root, key.path);
            node.key = Some(key);
            if let State::Planned(purpose) = key.state {
                node.planned = Some(purpose);
            }
        }
        for group in groups() {
            descend(&mut root, group.path).groups.push(group);
        }
        root
    });
    &ROOT
}

fn descend<'a>(root: &'a mut KeyNode, path: &'static str) -> &'a mut KeyNode {
    path.split('.').fold(root, |node, part| {
        let planned = node.planned;
        let child = match part {
            "*" => node.any.get_or_insert_default().as_mut(),
            name => node.children.entry(name).or_default(),
        };
        child.planned = child.planned.or(planned);
        child
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Shape;

    #[test]
    fn every_key_has_its_table_above_it() {
        check(root(), "");
    }

    fn check(node: &KeyNode, path: &str) {
        for (name, child) in node
            .children
            .iter()
            .map(|(name, child)| (*name, child))
            .chain(node.any.iter().map(|child| ("*", child.as_ref())))
        {
            let path = format!("{path}.{name}");
            let key = child.key.unwrap_or_else(|| panic!("`{path}` is not in the table"));
            assert!(
                child.children.is_empty() && child.any.is_none() || key.shape.holds_tables(),
                "`{path}` has keys below it and is no table"
            );
            check(child, &path);
        }
    }

    #[test]
    fn no_key_stands_in_the_table_twice() {
        let mut paths: Vec<&str> = keys().map(|key| key.path).collect();
        paths.sort_unstable();
        let all = paths.len();
        paths.dedup();
        assert_eq!(paths.len(), all);
    }

    #[test]
    fn what_keys_say_of_each_other_names_keys() {
        for key in keys() {
            let siblings = match key.path.rsplit_once('.') {
                Some((parent, _)) => find(parent),
                None => root(),
            };
            for name in key.with.iter().chain(key.needs) {
                assert!(siblings.children.contains_key(name), "`{}` names `{name}`", key.path);
            }
            if let Some(name) = key.short_for {
                assert!(find(key.path).children.contains_key(name), "`{}`: `{name}`", key.path);
            }
        }
        for group in groups() {
            for name in group.keys {
                assert!(find(group.path).children.contains_key(name), "`{}`: `{name}`", group.path);
            }
        }
    }

    #[test]
    fn every_default_and_example_is_a_value_of_its_key() {
        for key in keys() {
            for text in key.default.iter().chain(&key.example) {
                key.shape.check_text(text).unwrap_or_else(|fault| {
                    panic!("`{}`: `{text}` {fault:?}", key.path);
                });
            }
        }
    }

    #[test]
    fn every_key_is_explained_in_sentences() {
        for key in keys() {
            let doc = key.doc;
            assert!(doc.starts_with(|c: char| c.is_uppercase() || c == '`'), "`{}`", key.path);
            assert!(doc.ends_with('.'), "`{}`", key.path);
            assert!(key.default.is_none() || !key.is_required, "`{}`", key.path);
            assert!(!matches!(key.shape, Shape::Table) || key.default.is_none(), "`{}`", key.path);
        }
    }

    fn find(path: &str) -> &'static KeyNode {
        path.split('.').fold(root(), |node, part| match part {
            "*" => node.any.as_deref().expect("a key above it"),
            name => &node.children[name],
        })
    }
}
