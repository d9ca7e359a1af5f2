//! The text of an element as a reader sees it.

use scraper::{ElementRef, Node};

use super::clean::plain;

/// Longest text that is taken of one element, in bytes.
const TEXT_MAX: usize = 64 << 10;

/// Elements that stand on lines of their own.
const BLOCKS: [&str; 24] = [
    "address",
    "article",
    "aside",
    "blockquote",
    "br",
    "dd",
    "div",
    "dl",
    "dt",
    "figure",
    "footer",
    "h1",
    "h2",
    "h3",
    "h4",
    "header",
    "li",
    "ol",
    "p",
    "section",
    "table",
    "td",
    "tr",
    "ul",
];

/// The text within an element, white space as [`plain`] leaves it. What blocks part is parted by a
/// space; scripts, styles and what is hidden by its attribute are left out.
pub(super) fn visible(element: ElementRef<'_>) -> String {
    let mut text = String::new();
    // Nodes to come, the next one last; none where a block ends.
    let mut rest = vec![Some(*element)];
    while let Some(next) = rest.pop() {
        if text.len() > TEXT_MAX {
            break;
        }
        let Some(node) = next else {
            text.push(' ');
            continue;
        };
        match node.value() {
            Node::Text(piece) => text.push_str(piece),
            Node::Element(inner) => {
                let name = inner.name();
                let is_hidden = inner.attr("hidden").is_some();
                if matches!(name, "script" | "style" | "template" | "noscript") || is_hidden {
                    continue;
                }
                if BLOCKS.contains(&name) && node.id() != element.id() {
                    text.push(' ');
                    rest.push(None);
                }
                rest.extend(node.children().rev().map(Some));
            }
            _ => {}
        }
    }
    text.truncate(text.floor_char_boundary(TEXT_MAX));
    plain(&text)
}
