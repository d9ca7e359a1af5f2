//! From what a client asks for to a statement: panels, views, SQL.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::collect::Key;
use super::feed::Target;
use super::protocol::LiveRequest;
use crate::app::Shared;
use crate::problem::Problem;
use crate::select::{Selection, select};

impl Target {
    /// What a message of the WebSocket asks for.
    pub(crate) fn of_request(app: &Shared, request: LiveRequest) -> Result<Self, Problem> {
        let LiveRequest { panel, view, sql, params, key, order_by, limit, .. } = request;
        let only_for_views = order_by.is_some() || limit.is_some();
        if view.is_none() && only_for_views {
            return Err(Problem::invalid("`order_by` and `limit` go with `view` only"));
        }
        if sql.is_none() && !key.is_empty() {
            return Err(Problem::invalid("`key` goes with `sql` only"));
        }
        match (panel, view, sql) {
            (Some(panel), None, None) => Self::of_panel(app, &panel, params),
            (None, Some(view), None) => {
                let mut pairs = equalities(params)?;
                pairs.extend(order_by.map(|order| ("order_by".to_owned(), order)));
                pairs.extend(limit.map(|limit| ("limit".to_owned(), limit.to_string())));
                Self::of_view(app, &view, &pairs)
            }
            (None, None, Some(sql)) => {
                let params = params.into_iter().collect();
                Ok(Self { sql, params, is_panel: false, key: Key::Demanded(key) })
            }
            _ => Err(Problem::invalid("a subscription needs one of `panel`, `view` and `sql`")),
        }
    }

    /// A view with the pairs of a query string.
    pub(crate) fn of_view(
        app: &Shared,
        name: &str,
        pairs: &[(String, String)],
    ) -> Result<Self, Problem> {
        let view = app.view(name)?;
        let Selection { sql, params } = select(&view, pairs)?;
        Ok(Self { sql, params, is_panel: false, key: Key::Offered(view.relation.key) })
    }

    fn of_panel(app: &Shared, address: &str, chosen: Map<String, Value>) -> Result<Self, Problem> {
        let not_found = || Problem::not_found(format!("there is no panel `{address}`"));
        let (dashboard, id) = address.split_once('/').ok_or_else(|| {
            not_found().with_hint("A panel is named `<dashboard>/<panel id>`; see `/dashboards`.")
        })?;
        let dashboards = &app.parts.dashboards;
        let dashboard = dashboards
            .iter()
            .find(|candidate| candidate.name == dashboard)
            .ok_or_else(not_found)?;
        let panel =
            dashboard.rows.iter().flatten().find(|panel| panel.id == id).ok_or_else(|| {
                let ids = dashboard.rows.iter().flatten().map(|panel| panel.id.as_str());
                not_found().with_nearest(id, ids)
            })?;
        let filters = dashboard.filters.iter();
        let mut params: BTreeMap<String, Value> =
            filters.map(|filter| (filter.name.clone(), filter.default.clone())).collect();
        for (name, value) in chosen {
            match params.get_mut(&name) {
                Some(place) => *place = value,
                None => {
                    let title = format!("dashboard `{}` has no filter `{name}`", dashboard.name);
                    return Err(Problem::invalid(title)
                        .with_nearest(&name, params.keys().map(String::as_str)));
                }
            }
        }
        // A filter a panel does not use makes no feed of its own.
        params.retain(|name, _| uses(&panel.sql, name));
        let key = Key::Offered(panel.key.clone());
        Ok(Self { sql: panel.sql.clone(), params, is_panel: true, key })
    }
}

/// Columns and what they shall equal, as the pairs of a query string.
fn equalities(params: Map<String, Value>) -> Result<Vec<(String, String)>, Problem> {
    let mut pairs = Vec::new();
    for (column, value) in params {
        let values = match value {
            Value::Array(values) => values,
            value => vec![value],
        };
        for value in values {
            let text = match value {
                Value::String(text) => text,
                Value::Number(_) | Value::Bool(_) => value.to_string(),
                _ => {
                    return Err(Problem::invalid(format!(
                        "column `{column}` can equal a text, a number, true or false"
                    )));
                }
            };
            pairs.push((column.clone(), text));
        }
    }
    Ok(pairs)
}

/// Whether `$name` stands in the text.
fn uses(sql: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let after = |rest: &str| rest.strip_prefix(name).is_some_and(|rest| !rest.starts_with(is_word));
    sql.split('$').skip(1).any(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_used_when_its_whole_name_stands_there() {
        assert!(uses("SELECT * FROM t WHERE symbol = $symbol", "symbol"));
        assert!(uses("SELECT $symbol, $symbol_2", "symbol"));
        assert!(!uses("SELECT $symbols", "symbol"));
        assert!(!uses("SELECT symbol", "symbol"));
        assert!(!uses("", "symbol"));
    }
}
