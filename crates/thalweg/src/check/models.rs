//! Typing models: their columns in the features, and what `FROM <model>` reads.
//!
//! Where rows of the features come for ever, a pipeline of its own follows them and what a model
//! predicts is kept; else it is computed when somebody asks, by the SQL of [`asked_for`].

use std::collections::BTreeSet;
use std::time::Duration;

use arrow::datatypes::DataType;
use thalweg_core::model::ForecastColumns;
use thalweg_core::problem::{SqlProblem, nearest};
use thalweg_core::time::micros;
use thalweg_models::spec::WARM_UP_HORIZONS;
use thalweg_project::{Model, Spanned, ViewInput};
use thalweg_stream::operators::outcomes;
use thalweg_stream::program::{self, Shape, StreamQuery};
use thalweg_stream::sql::Named;
use thalweg_stream::sql::predict::NamedModel;
use thalweg_stream::sql::rewrite::{Mode, is_hidden};

use super::{Typing, problem};

/// A model whose columns are typed.
#[derive(Clone)]
pub(crate) struct CheckedModel {
    /// What it reads of a row.
    pub columns: ForecastColumns,
    /// Where its predictions come from.
    pub predictions: Predictions,
}

/// Where the rows of `FROM <model>` come from.
#[expect(clippy::large_enum_variant, reason = "one a model")]
#[derive(Clone)]
pub(crate) enum Predictions {
    /// A pipeline that follows the features.
    Followed(StreamQuery),
    /// This query, whenever somebody asks.
    Asked(String),
}

/// How far back `FROM <model>` goes where it is computed when asked: enough for a chart.
const HORIZONS_SHOWN: u32 = 512;

impl Typing<'_> {
    /// Types a model; `false` when it has to wait for its features.
    pub(super) fn model(&mut self, model: &Model) -> bool {
        let (name, features) = (model.name.as_str(), model.features.as_str());
        let is_missing = self.project.declaration(features).is_none();
        if self.broken.contains(features) || is_missing {
            self.broken.insert(name.to_owned());
            return true;
        }
        if self.names.get(features).is_none() {
            return false;
        }
        match self.columns(model).and_then(|columns| self.predictions(model, columns)) {
            Some(checked) => {
                let schema = outcomes::schema(&checked.columns.key);
                let key = outcomes::row_key(&checked.columns.key);
                self.names.insert(name, Named::Rows(schema), key);
                self.checked.models.insert(name.to_owned(), checked);
            }
            None => {
                self.broken.insert(name.to_owned());
            }
        }
        true
    }

    /// Refuses features that see the future by what their SQL says, down through views (S21).
    pub(super) fn features_look_ahead(&mut self) {
        let mut waiting: Vec<&str> =
            self.project.models.iter().map(|model| model.features.as_str()).collect();
        let mut seen = BTreeSet::new();
        while let Some(name) = waiting.pop() {
            let view = self.project.views.iter().find(|view| view.name.as_str() == name);
            let Some(ViewInput::Query(sql)) = view.map(|view| &view.input) else { continue };
            if !seen.insert(name) {
                continue;
            }
            self.add(sql, &self.checked.planner.looks_ahead(sql.as_str()));
            let reads = self.reads(sql);
            let views = self.project.views.iter().map(|view| view.name.as_str());
            waiting.extend(views.filter(|view| reads.iter().any(|read| read == view)));
        }
    }

    /// The columns of the features that the model reads, if it finds those it names.
    fn columns(&mut self, model: &Model) -> Option<ForecastColumns> {
        let features = model.features.as_str();
        let schema = self.names.schema(features)?;
        let before = self.problems.len();
        let mut expect = |column: &Spanned<String>, wanted: Option<&str>, fits: bool| {
            let name = column.as_str();
            let (code, message, label) = match schema.column_with_name(name) {
                None => {
                    let known = schema.fields().iter().map(|field| field.name().as_str());
                    let near = nearest(name, known.filter(|name| !is_hidden(name)));
                    let label = near.map(|near| format!("did you mean `{near}`?"));
                    ("T0302", format!("no column `{name}` in `{features}`"), label)
                }
                Some((_, field)) if !fits => {
                    let message =
                        format!("column `{name}` of `{features}` is {}", field.data_type());
                    ("T0304", message, wanted.map(|wanted| format!("a model needs {wanted} here")))
                }
                Some(_) => return,
            };
            self.problems.push(problem(code, message, label, column.place.clone()));
        };
        let data_type = |column: &Spanned<String>| {
            schema.column_with_name(column.as_str()).map(|(_, field)| field.data_type())
        };
        let is_time = matches!(data_type(&model.time), Some(DataType::Timestamp(..)));
        expect(&model.time, Some("a timestamp"), is_time);
        let is_number = data_type(&model.target).is_some_and(|it| it.is_numeric());
        expect(&model.target, Some("a number"), is_number);
        for key in &model.key {
            expect(key, None, true);
        }
        if self.problems.len() > before {
            return None;
        }
        let key: Vec<String> = model.key.iter().map(|key| key.value.clone()).collect();
        let is_feature = |name: &str| {
            !is_hidden(name) && name != model.time.as_str() && !key.iter().any(|key| key == name)
        };
        let numbers = schema.fields().iter().filter(|field| field.data_type().is_numeric());
        let numbers = numbers.map(|field| field.name().clone()).filter(|name| is_feature(name));
        Some(ForecastColumns {
            features: numbers.collect(),
            key,
            time: model.time.value.clone(),
            target: model.target.value.clone(),
            horizon: model.horizon,
        })
    }

    fn predictions(&mut self, model: &Model, columns: ForecastColumns) -> Option<CheckedModel> {
        let (name, features) = (model.name.as_str(), model.features.as_str());
        let named = NamedModel { columns: columns.clone(), served: None };
        self.names.insert_model(name, named);
        let stream = self.checked.streams.get(features);
        let comes_for_ever = self.checked.sources.contains_key(features)
            || stream.is_some_and(|query| query.shape != Shape::Updating);
        if comes_for_ever {
            let planner = self.checked.planner.clone();
            // Windows whose order the model's time does not tell are asked, as a table is.
            if let Ok(query) = program::prepare_forecasts(&planner, name, features, &self.names) {
                let predictions = Predictions::Followed(query);
                return Some(CheckedModel { columns, predictions });
            }
        }
        let sql = asked_for(name, features, &columns);
        match self.checked.planner.plan(&sql, &self.names, Mode::Query) {
            Ok(_) => Some(CheckedModel { columns, predictions: Predictions::Asked(sql) }),
            Err(problems) => {
                self.problems.extend(problems.into_iter().map(|found| {
                    let SqlProblem { code, message, label, hint, .. } = found;
                    let mut told = problem(code, message, label, model.features.place.clone());
                    told.hint = hint;
                    told
                }));
                None
            }
        }
    }
}

/// What a model predicts for the newest rows of its features, and what came of it. A row's `actual`
/// is the target of the row whose time is exactly what it was for.
fn asked_for(model: &str, features: &str, columns: &ForecastColumns) -> String {
    let interval = |duration: Duration| format!("interval '{} microseconds'", micros(duration));
    let horizon = interval(columns.horizon);
    let shown = interval(columns.horizon.saturating_mul(WARM_UP_HORIZONS + HORIZONS_SHOWN));
    let quoted = |name: &String| format!("\"{}\"", name.replace('"', "\"\""));
    let (time, target) = (quoted(&columns.time), quoted(&columns.target));
    let time = format!("arrow_cast({time}, 'Timestamp(Microsecond, Some(\"UTC\"))')");
    let keys: Vec<String> = columns.key.iter().map(quoted).collect();
    let series = match keys.as_slice() {
        [] => String::new(),
        keys => format!("PARTITION BY {} ", keys.join(", ")),
    };
    let keys: String = keys.iter().map(|key| format!("CAST({key} AS text) AS {key}, ")).collect();
    let (model, features) = (quoted(&model.to_owned()), quoted(&features.to_owned()));
    format!(
        "WITH dated AS (SELECT *, {time} AS __time, max({time}) OVER () AS __newest FROM {features}), \
         newest AS (SELECT *, max(CAST({target} AS double)) OVER ({series}ORDER BY __time RANGE \
         BETWEEN {horizon} FOLLOWING AND {horizon} FOLLOWING) AS __actual \
         FROM dated WHERE __time >= __newest - {shown}) \
         SELECT {keys}__time AS made_at, __time + {horizon} AS for_time, prediction, lower, upper, \
         __actual AS actual, model_version FROM predict({model}, newest) WHERE prediction IS NOT NULL"
    )
}

/// The name of the pipeline that follows the features of a model.
pub(crate) fn pipeline_name(model: &str) -> String {
    format!("model.{model}")
}

impl CheckedModel {
    /// The query of its pipeline, if it has one.
    pub(crate) fn followed(&self) -> Option<&StreamQuery> {
        match &self.predictions {
            Predictions::Followed(query) => Some(query),
            Predictions::Asked(_) => None,
        }
    }
}

/// What of a project's models is part of a query's identity: state of another horizon is no use.
pub(crate) fn fingerprint(query: &StreamQuery) -> String {
    query.models.iter().map(|(model, columns)| format!("\n{model} {columns:?}")).collect()
}
