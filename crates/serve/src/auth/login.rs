//! `/login` and `/logout`: a token becomes a session cookie, and the cookie ends.

use axum::extract::{RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::{Form, RequestExt as _};
use serde::Deserialize;
use utoipa::ToSchema;

use super::origin;
use crate::api::input::{Problems, pairs};
use crate::app::{App, Shared};
use crate::problem::{Code, Problem};

/// The form of the login page.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Login {
    /// The admin token.
    token: String,
}

/// Logs a browser in and sends it to `/`; without a token, a page that asks for one.
#[utoipa::path(
    get,
    path = "/login",
    tag = "session",
    security(()),
    params(("token" = Option<String>, Query, description = "the admin token")),
    responses(
        (status = 303, description = "logged in: the session cookie, and on to `/`"),
        (status = 200, description = "a page that asks for the token", content_type = "text/html"),
        Problems,
    )
)]
pub(crate) async fn log_in(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let pairs = pairs(query.as_deref());
    let Some((_, token)) = pairs.iter().find(|(name, _)| name == "token") else {
        return Ok(Html(LOGIN_PAGE).into_response());
    };
    // An image on another page must not use up the attempts; a link to here is welcome.
    let foreign = origin::is_foreign(&headers);
    if foreign && !origin::is_navigation(&headers) {
        return Err(Problem::new(Code::Forbidden, "another page cannot log in here"));
    }
    let cookie = [(header::SET_COOKIE, begin(&app, token)?)];
    Ok(if foreign {
        // Behind a link of another page a redirect does not carry a strict cookie; a new page does.
        (cookie, Html(ENTER_PAGE)).into_response()
    } else {
        (cookie, Redirect::to("/")).into_response()
    })
}

/// Logs a browser in, from the page that asks for the token.
#[utoipa::path(
    post,
    path = "/login",
    tag = "session",
    security(()),
    request_body(content = Login, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 303, description = "logged in: the session cookie, and on to `/`"),
        Problems,
    )
)]
pub(crate) async fn log_in_by_form(
    State(app): State<App>,
    request: Request,
) -> Result<Response, Problem> {
    if origin::is_foreign(request.headers()) {
        return Err(Problem::new(Code::Forbidden, "another page cannot log in here"));
    }
    let Form(Login { token }) = request
        .extract()
        .await
        .map_err(|_| Problem::invalid("the body is not a form with a field `token`"))?;
    Ok(([(header::SET_COOKIE, begin(&app, token.trim())?)], Redirect::to("/")).into_response())
}

/// Ends the session.
#[utoipa::path(
    post,
    path = "/logout",
    tag = "session",
    responses(
        (status = 204, description = "the session has ended, the cookie is removed"),
        Problems,
    )
)]
pub(crate) async fn log_out(State(app): State<App>, headers: HeaderMap) -> Response {
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, app.gate.end_session(&headers))]).into_response()
}

fn begin(app: &Shared, token: &str) -> Result<HeaderValue, Problem> {
    app.gate.check(token)?;
    app.gate.begin_session()
}

const LOGIN_PAGE: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>thalweg: log in</title>
<style>
  :root { color-scheme: light dark }
  body { font: 15px/1.5 system-ui, sans-serif; max-width: 32rem; margin: 20vh auto; padding: 0 1rem }
  input, button { font: inherit; padding: .3rem .5rem }
  input { width: 100%; box-sizing: border-box; font-family: ui-monospace, monospace }
</style>
<h1>thalweg</h1>
<form method="post" action="/login">
  <p><label>Admin token<br><input name="token" type="password" autocomplete="off" required autofocus></label>
  <p><button>Log in</button>
</form>
<p>The token is in the file <code>admin_token</code> of the data folder.
The command <code>thalweg open</code> logs you in without it.
</html>
"#;

const ENTER_PAGE: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url=/">
<title>thalweg</title>
<p><a href="/">Enter</a>
</html>
"#;
