//! Routes: the conditions of arms typed at their places, each arm a relation.

use std::collections::BTreeSet;

use thalweg_core::problem::SqlProblem;
use thalweg_project::{Arm, Route, SqlText};
use thalweg_stream::program::{arm_sql, check_condition, prepare, prepare_route};
use thalweg_stream::sql::Named;

use super::{Typing, problem};

/// The conditions of a route, in the order of its arms.
pub(crate) fn conditions(route: &Route) -> Vec<Option<&str>> {
    fn when(arm: &Arm) -> Option<&str> {
        arm.when.as_ref().map(SqlText::as_str)
    }
    route.arms.iter().map(when).collect()
}

impl Typing<'_> {
    /// Types a route; `false` when it has to wait.
    pub(super) fn route(&mut self, route: &Route) -> bool {
        let from = route.from.as_str();
        let reads = self.condition_reads(route);
        let all = || reads.iter().map(String::as_str).chain([from]);
        if all().any(|name| self.broken.contains(name)) {
            return self.break_arms(route);
        }
        let is_known =
            |name: &str| self.names.get(name).is_some() || self.project.declaration(name).is_none();
        if !all().all(is_known) {
            return false;
        }
        if self.names.get(from).is_none() {
            // That there is no such relation was told with all other names.
            return self.break_arms(route);
        }
        let planner = self.checked.planner.clone();
        let before = self.problems.len();
        for when in route.arms.iter().filter_map(|arm| arm.when.as_ref()) {
            if let Err(problems) = check_condition(&planner, from, when.as_str(), &self.names) {
                self.add(when, &problems);
            }
        }
        if self.problems.len() > before {
            return self.break_arms(route);
        }
        let conditions = conditions(route);
        match prepare_route(&planner, from, &conditions, &self.names) {
            Ok(query) if self.checked.sources.contains_key(&query.source) => {
                self.checked.routes.insert(route.name.value.clone(), query);
            }
            Ok(query) => {
                let message =
                    format!("a route reads sources and streams, `{}` is neither", query.source);
                self.problems.push(problem("T0305", message, None, route.from.place.clone()));
                return self.break_arms(route);
            }
            Err(problems) => return self.refuse_route(route, problems),
        }
        for (number, arm) in route.arms.iter().enumerate() {
            let sql = arm_sql(from, &conditions, number);
            match prepare(&planner, &sql, &self.names, false) {
                Ok(query) => {
                    let key = self.key_of(&query);
                    self.names.insert(arm.name.as_str(), Named::Plan(query.plan.clone()), key);
                    self.checked.streams.insert(arm.name.value.clone(), query);
                }
                Err(problems) => return self.refuse_route(route, problems),
            }
        }
        true
    }

    /// What each arm of a route reads, for the search of circles.
    pub(super) fn route_reads(&self, route: &Route) -> Vec<(String, BTreeSet<String>)> {
        let mut reads = self.condition_reads(route);
        reads.insert(route.from.value.clone());
        route.arms.iter().map(|arm| (arm.name.value.clone(), reads.clone())).collect()
    }

    /// Relations that the conditions of a route look up in.
    fn condition_reads(&self, route: &Route) -> BTreeSet<String> {
        let planner = &self.checked.planner;
        let conditions = route.arms.iter().filter_map(|arm| arm.when.as_ref());
        let reads = conditions.flat_map(|when| {
            planner.reads(&format!("SELECT 1 WHERE ({}\n)", when.as_str())).unwrap_or_default()
        });
        reads.collect()
    }

    fn refuse_route(&mut self, route: &Route, problems: Vec<SqlProblem>) -> bool {
        for SqlProblem { code, message, label, hint, .. } in problems {
            let mut told = problem(code, message, label, route.from.place.clone());
            told.hint = hint;
            self.problems.push(told);
        }
        self.break_arms(route)
    }

    fn break_arms(&mut self, route: &Route) -> bool {
        self.broken.extend(route.arms.iter().map(|arm| arm.name.value.clone()));
        true
    }
}
