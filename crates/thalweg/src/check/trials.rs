//! Tests of a project, typed: the files they name are there, and so are the columns of their rows.

use arrow::datatypes::SchemaRef;
use thalweg_core::problem::{Place, Problem, nearest};
use thalweg_core::schema::meta;
use thalweg_project::{GivenInput, TestRow, TestRows};

use super::{Typing, problem};
use crate::trial::{Row, RowPlace, TypedValue, load_rows};

/// A column that may be named, with what its values must be.
type Allowed<'a> = &'a dyn Fn(&str) -> Option<TypedAs>;

/// What the values of a column must be.
enum TypedAs {
    /// The source's decoder says.
    Decoded,
    /// A value of this type.
    Arrow(arrow::datatypes::DataType),
}

impl Typing<'_> {
    /// What is wrong with tests.
    pub(super) fn trials(&mut self) {
        let mut problems = Vec::new();
        for test in &self.project.tests {
            for given in &test.given {
                let name = given.source.as_str();
                let Some(schema) = self.checked.sources.get(name) else { continue };
                match &given.input {
                    GivenInput::Frames(path) => {
                        let file = self.project.dir.join(path.as_str());
                        if let Err(error) = std::fs::metadata(&file) {
                            let message = format!("`{}` cannot be read: {error}", path.as_str());
                            problems.push(problem("T0102", message, None, path.place.clone()));
                        }
                    }
                    GivenInput::Rows(rows) => {
                        let declared = |column: &str| {
                            let is_there = schema.column_with_name(column).is_some()
                                && !column.starts_with('_')
                                || column == meta::RECEIVED_AT;
                            is_there.then_some(TypedAs::Decoded)
                        };
                        problems.extend(self.rows(name, rows, schema, &declared));
                    }
                }
            }
            for expected in &test.expect {
                let name = expected.relation.as_str();
                if self.broken.contains(name) {
                    continue;
                }
                let Some(schema) = self.names.schema(name) else {
                    if name.starts_with("system.") {
                        problems.push(self.no_system_table(name, &expected.relation.place));
                    }
                    continue;
                };
                let typed = |column: &str| {
                    let field = schema.field_with_name(column).ok()?;
                    Some(TypedAs::Arrow(field.data_type().clone()))
                };
                problems.extend(self.rows(name, &expected.rows, &schema, &typed));
            }
        }
        self.problems.extend(problems);
    }

    fn rows(
        &self,
        relation: &str,
        rows: &TestRows,
        schema: &SchemaRef,
        allowed: Allowed<'_>,
    ) -> Vec<Problem> {
        let columns: Vec<&str> =
            schema.fields().iter().map(|field| field.name().as_str()).collect();
        let no_column = |column: &str, found_at: String, place: &Place| {
            let near = nearest(column, columns.iter().copied().filter(|it| allowed(it).is_some()));
            let message = format!("no column `{column}` in `{relation}`{found_at}");
            let label = near.map(|near| format!("did you mean `{near}`?"));
            let mut problem = problem("T0302", message, label, place.clone());
            if near.is_none() {
                let shown: Vec<&str> =
                    columns.iter().copied().filter(|it| !it.starts_with('_')).collect();
                problem.hint = Some(format!("The columns are: {}.", shown.join(", ")));
            }
            if let Some(near) = near
                && let Some(declared) =
                    self.project.source(relation).and_then(|source| source.column_place(near))
            {
                problem.related.push((format!("`{near}` is declared here"), declared.clone()));
            }
            problem
        };
        match rows {
            TestRows::Inline { rows, .. } => {
                let mut problems = Vec::new();
                for cell in rows.iter().flat_map(|TestRow { cells, .. }| cells) {
                    let column = cell.column.as_str();
                    match allowed(column) {
                        None => problems.push(no_column(column, String::new(), &cell.column.place)),
                        Some(TypedAs::Arrow(kind)) => {
                            if let Err(reason) = TypedValue::of_json(&cell.json, &kind) {
                                let message = format!("`{column}` of `{relation}`: {reason}");
                                let place = cell.column.place.clone();
                                problems.push(problem("T0205", message, None, place));
                            }
                        }
                        Some(TypedAs::Decoded) => {}
                    }
                }
                problems
            }
            TestRows::File(path) => {
                let rows = match load_rows(&self.project.dir, rows) {
                    Ok(rows) => rows,
                    Err(error) => {
                        let mut problem =
                            problem("T0102", error.message, error.detail, path.place.clone());
                        problem.hint = error.hint;
                        return vec![problem];
                    }
                };
                // Of a file one mistake is told: the others are likely the same.
                let wrong = |Row { cells, place }: &Row| {
                    let RowPlace::Line { line, .. } = place else { return None };
                    let found_at = format!(", which `{}` names in line {line}", path.as_str());
                    cells.iter().find_map(|(column, json)| match allowed(column) {
                        None => Some(no_column(column, found_at.clone(), &path.place)),
                        Some(TypedAs::Decoded) => None,
                        Some(TypedAs::Arrow(kind)) => {
                            let reason = TypedValue::of_json(json, &kind).err()?;
                            let message =
                                format!("`{column}` in line {line} of the file: {reason}");
                            Some(problem("T0205", message, None, path.place.clone()))
                        }
                    })
                };
                rows.iter().find_map(wrong).into_iter().collect()
            }
        }
    }

    fn no_system_table(&self, name: &str, place: &Place) -> Problem {
        let system: Vec<&str> = self.names.names().filter(|it| it.starts_with("system.")).collect();
        let near = nearest(name, system.iter().copied());
        let label = near.map(|near| format!("did you mean `{near}`?"));
        let mut problem = problem("T0301", format!("no table `{name}`"), label, place.clone());
        problem.hint = Some(format!("There are: {}.", system.join(", ")));
        problem
    }
}
