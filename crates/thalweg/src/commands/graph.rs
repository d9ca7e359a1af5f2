//! `thalweg graph`: what feeds what, as text, Mermaid or SVG.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use arrow::array::{AsArray as _, RecordBatch};
use thalweg_core::Error;

use super::Failure;
use super::place::Place;
use super::rows::query;
use crate::cli::Format;

/// A part of the project: its kind and its name.
type Part = (String, String);

/// What feeds what, without repetition.
struct Graph {
    edges: BTreeSet<(Part, Part)>,
}

pub(super) async fn run(place: &Place) -> Result<u8, Failure> {
    let draw = match place.format.unwrap_or(Format::Text) {
        Format::Text | Format::Table => Graph::text,
        Format::Mermaid => Graph::mermaid,
        Format::Svg => Graph::svg,
        _ => {
            return Err(Error::invalid("a graph is drawn as text, mermaid or svg")
                .with_hint("`thalweg sql -c 'SELECT * FROM system.graph'` gives it as rows.")
                .into());
        }
    };
    let sql = "SELECT upstream_kind, upstream, downstream_kind, downstream FROM system.graph";
    print!("{}", draw(&Graph::new(&query(place, sql).await?)));
    Ok(0)
}

impl Graph {
    fn new(rows: &[RecordBatch]) -> Self {
        let mut edges = BTreeSet::new();
        for batch in rows {
            let text = |column: usize, row: usize| {
                batch.column(column).as_string::<i32>().value(row).to_owned()
            };
            for row in 0..batch.num_rows() {
                edges.insert(((text(0, row), text(1, row)), (text(2, row), text(3, row))));
            }
        }
        Self { edges }
    }

    /// How many steps each part is behind the first: one more than the furthest that feeds it.
    fn depths(&self) -> BTreeMap<&Part, usize> {
        let mut depths: BTreeMap<&Part, usize> = BTreeMap::new();
        for (from, to) in &self.edges {
            depths.entry(from).or_default();
            depths.entry(to).or_default();
        }
        // A project has no circle; with one, this would still end.
        for _ in 0..depths.len() {
            let mut is_stable = true;
            for (from, to) in &self.edges {
                let least = depths[from] + 1;
                if depths[to] < least && least < self.edges.len() + 1 {
                    depths.insert(to, least);
                    is_stable = false;
                }
            }
            if is_stable {
                break;
            }
        }
        depths
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for ((from_kind, from), (to_kind, to)) in &self.edges {
            let _ = writeln!(text, "{from_kind} {from} -> {to_kind} {to}");
        }
        text
    }

    fn mermaid(&self) -> String {
        let depths = self.depths();
        let ids: BTreeMap<&Part, usize> = depths.keys().copied().zip(1..).collect();
        let mut text = String::from("flowchart LR\n");
        for (part, id) in &ids {
            let _ = writeln!(text, "  p{id}[\"{} {}\"]", part.0, part.1);
        }
        for (from, to) in &self.edges {
            let _ = writeln!(text, "  p{} --> p{}", ids[from], ids[to]);
        }
        text
    }

    /// Columns by depth, from left to right; in each the parts by kind and name.
    fn svg(&self) -> String {
        const WIDTH: usize = 180;
        const HEIGHT: usize = 40;
        const GAP: (usize, usize) = (60, 20);
        let mut columns: BTreeMap<usize, Vec<&Part>> = BTreeMap::new();
        for (part, depth) in self.depths() {
            columns.entry(depth).or_default().push(part);
        }
        let mut places: BTreeMap<&Part, (usize, usize)> = BTreeMap::new();
        for (column, parts) in &columns {
            for (row, part) in parts.iter().enumerate() {
                places.insert(part, (10 + column * (WIDTH + GAP.0), 10 + row * (HEIGHT + GAP.1)));
            }
        }
        let right = places.values().map(|(x, _)| x + WIDTH + 10).max().unwrap_or(20);
        let bottom = places.values().map(|(_, y)| y + HEIGHT + 10).max().unwrap_or(20);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{right}\" height=\"{bottom}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n"
        );
        for (from, to) in &self.edges {
            let ((x1, y1), (x2, y2)) = (places[from], places[to]);
            let (x1, y1, y2) = (x1 + WIDTH, y1 + HEIGHT / 2, y2 + HEIGHT / 2);
            let middle = x1.midpoint(x2);
            let _ = writeln!(
                svg,
                "<path d=\"M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}\" fill=\"none\" stroke=\"#888\"/>"
            );
        }
        for (part, (x, y)) in &places {
            let _ = writeln!(
                svg,
                "<rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"4\" fill=\"#fff\" stroke=\"#333\"/>\
                 <text x=\"{}\" y=\"{}\"><tspan fill=\"#888\">{}</tspan> {}</text>",
                x + 10,
                y + HEIGHT / 2 + 4,
                escaped(&part.0),
                escaped(&part.1),
            );
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str)]) -> Graph {
        let part = |text: &str| {
            let (kind, name) = text.split_once(' ').unwrap();
            (kind.to_owned(), name.to_owned())
        };
        Graph { edges: edges.iter().map(|(from, to)| (part(from), part(to))).collect() }
    }

    #[test]
    fn a_part_stands_behind_everything_that_feeds_it() {
        let graph = graph(&[
            ("source s", "stream a"),
            ("source s", "view v"),
            ("stream a", "table t"),
            ("table t", "view v"),
        ]);
        let depths: Vec<(String, usize)> =
            graph.depths().into_iter().map(|((_, name), depth)| (name.clone(), depth)).collect();
        let expected = [("s", 0), ("a", 1), ("t", 2), ("v", 3)].map(|(n, d)| (n.to_owned(), d));
        assert_eq!(depths, expected);
        assert_eq!(graph.text().lines().next(), Some("source s -> stream a"));
        assert!(graph.mermaid().contains("  p1 --> p2\n"), "{}", graph.mermaid());
        assert_eq!(graph.svg().matches("<rect").count(), 4);
    }

    #[test]
    fn a_circle_ends_too() {
        graph(&[("view a", "view b"), ("view b", "view a")]).svg();
    }
}
