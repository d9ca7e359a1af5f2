//! Problems as people read them, and as programs do.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::{Value, json};
use thalweg_core::problem::{Place, Problem, Severity};

use crate::source_map::SourceMap;

/// What a person wants of colour: `--color auto|always|never`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// Whether to write colour to an output.
    pub fn is_on(self, is_terminal: bool, no_color: bool) -> bool {
        match self {
            Self::Auto => is_terminal && !no_color,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// The problems in the manner of rustc, a blank line after each.
pub fn render(problems: &[Problem], sources: &SourceMap, is_colored: bool) -> String {
    let renderer = if is_colored { Renderer::styled() } else { Renderer::plain() };
    let mut text = String::new();
    for problem in problems {
        text.push_str(&renderer.render(&report(problem, sources)));
        text.push_str("\n\n");
    }
    text
}

fn report<'a>(problem: &'a Problem, sources: &'a SourceMap) -> Vec<Group<'a>> {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(problem.message.as_str()).id(problem.code);
    let mut group = Group::with_title(title);
    if let Some(place) = &problem.place {
        let annotation = AnnotationKind::Primary.span(span(place, sources));
        group = group.element(snippet(place, sources, annotation.label(problem.label.as_deref())));
    }
    for (text, place) in &problem.related {
        let annotation = AnnotationKind::Context.span(span(place, sources)).label(text.as_str());
        group = group.element(snippet(place, sources, annotation));
    }
    let help = problem.hint.as_deref().map(|hint| {
        let hint = hint.strip_suffix('.').unwrap_or(hint);
        Group::with_title(Level::HELP.secondary_title(hint))
    });
    std::iter::once(group).chain(help).collect()
}

fn snippet<'a>(
    place: &'a Place,
    sources: &'a SourceMap,
    annotation: annotate_snippets::Annotation<'a>,
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let source = sources.text(&place.file).unwrap_or_default();
    Snippet::source(source).path(place.file.to_string_lossy()).annotation(annotation)
}

/// The bytes of a place, within its file and at characters; of several lines the first.
fn span(place: &Place, sources: &SourceMap) -> std::ops::Range<usize> {
    let text = sources.text(&place.file).unwrap_or_default();
    let start = text.floor_char_boundary(place.range.start);
    let end = text.ceil_char_boundary(place.range.end.clamp(start, text.len()));
    start..text[start..end].find('\n').map_or(end, |at| start + at)
}

/// The problems as `check --format json` prints them: an array of `{code, severity, message, hint,
/// file, line, column, end_line, end_column, related: [{message, file, line, column}]}`. Lines and
/// columns count from 1, columns in characters; the end is the place behind the last character. The
/// text at the caret is the beginning of the hint. What there is none of is null.
pub fn problems_json(problems: &[Problem], sources: &SourceMap) -> Value {
    problems.iter().map(|problem| problem_json(problem, sources)).collect()
}

fn problem_json(problem: &Problem, sources: &SourceMap) -> Value {
    let place = problem.place.as_ref();
    let start = place.and_then(|place| sources.position(&place.file, place.range.start));
    let end = place.and_then(|place| sources.position(&place.file, place.range.end));
    let hint: Vec<&str> = problem.label.iter().chain(&problem.hint).map(String::as_str).collect();
    let related: Vec<Value> = problem
        .related
        .iter()
        .map(|(message, place)| {
            let at = sources.position(&place.file, place.range.start);
            json!({
                "message": message,
                "file": place.file.to_string_lossy(),
                "line": at.map(|at| at.line),
                "column": at.map(|at| at.column),
            })
        })
        .collect();
    json!({
        "code": problem.code,
        "severity": match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        "message": problem.message,
        "hint": (!hint.is_empty()).then(|| hint.join(". ")),
        "file": place.map(|place| place.file.to_string_lossy()),
        "line": start.map(|at| at.line),
        "column": start.map(|at| at.column),
        "end_line": end.map(|at| at.line),
        "end_column": end.map(|at| at.column),
        "related": related,
    })
}
