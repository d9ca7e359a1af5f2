//! Who may ask (S28): the admin token, or the session cookie that a login with it sets.
//!
//! Every request passes [`guard`] before anything else looks at it. In order: `Host` must name this
//! machine; `/api/v1/health/live` and `/login` go through; a bearer token is compared; a cookie must
//! belong to a session, and the request to a page of ours. Users and roles are not here yet.

pub(crate) mod login;
mod origin;
mod session;
pub(crate) mod token;

use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use thalweg_core::env::Clock;

use self::session::{Attempts, SESSION_TIME, Sessions};
use self::token::{AdminToken, digest, equal, secret};
use crate::api::BASE;
use crate::app::App;
use crate::problem::{Code, Problem};

/// What the guard knows.
pub(crate) struct Gate {
    token: [u8; 32],
    sessions: Mutex<Sessions>,
    attempts: Mutex<Attempts>,
    cookie_name: String,
    clock: Clock,
}

impl Gate {
    /// A gate that opens for `token`. Cookies do not tell ports apart, so the cookie's name does.
    pub(crate) fn new(token: AdminToken, port: u16, clock: Clock) -> Self {
        Self {
            token: token.digest(),
            sessions: Mutex::default(),
            attempts: Mutex::new(Attempts::new(clock.now())),
            cookie_name: format!("thalweg_session_{port}"),
            clock,
        }
    }

    /// Compares a token a client shows; wrong ones are limited.
    fn check(&self, shown: &str) -> Result<(), Problem> {
        let mut attempts = lock(&self.attempts);
        if let Some(wait) = attempts.wait(self.clock.now()) {
            let mut problem = Problem::new(Code::TooManyAttempts, "too many wrong tokens")
                .with_hint("Wait as long as `Retry-After` says. Sessions that are on go on.");
            problem.retry_after = Some(wait.as_secs_f64().ceil() as u64);
            return Err(problem);
        }
        let shown = digest(shown);
        if equal(&shown, &self.token) {
            return Ok(());
        }
        attempts.count(shown);
        Err(Problem::new(Code::Unauthorized, "this is not the admin token").with_hint(
            "It is in `admin_token` in the data folder; `thalweg open` logs a browser in.",
        ))
    }

    /// Lets a session begin, and returns the `Set-Cookie` header for it.
    fn begin_session(&self) -> Result<HeaderValue, Problem> {
        let id = secret()?;
        lock(&self.sessions).begin(digest(&id), self.clock.now());
        Ok(self.cookie(&id, SESSION_TIME.as_secs()))
    }

    /// Ends the session a request belongs to, and returns the header that removes its cookie.
    fn end_session(&self, headers: &HeaderMap) -> HeaderValue {
        if let Some(id) = self.session_id(headers) {
            lock(&self.sessions).end(&digest(id));
        }
        self.cookie("", 0)
    }

    fn has_session(&self, headers: &HeaderMap) -> bool {
        let now = self.clock.now();
        let id = self.session_id(headers).map(digest);
        id.is_some_and(|id| lock(&self.sessions).is_on(&id, now))
    }

    fn session_id<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        cookies
            .flat_map(|line| line.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .find(|(name, _)| *name == self.cookie_name)
            .map(|(_, id)| id)
    }

    fn cookie(&self, id: &str, seconds: u64) -> HeaderValue {
        let name = &self.cookie_name;
        HeaderValue::try_from(format!(
            "{name}={id}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}"
        ))
        .expect("name and id are letters, digits, `-` and `_`")
    }
}

/// Lets a request through or answers it.
pub(crate) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    match admit(&app.gate, &request) {
        Ok(()) => next.run(request).await,
        Err(problem) if problem.code == Code::Unauthorized && wants_page(&request) => {
            Redirect::to("/login").into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

fn admit(gate: &Gate, request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    if !origin::names_this_machine(request.uri(), headers) {
        return Err(Problem::new(Code::WrongHost, "this server answers only for this machine")
            .with_hint("Ask for `localhost`, `127.0.0.1` or `[::1]`."));
    }
    let path = request.uri().path();
    if path == "/login" || path.strip_prefix(BASE) == Some("/health/live") {
        return Ok(());
    }
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let shown = value.to_str().ok().and_then(|value| value.split_once(' '));
        return match shown {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                gate.check(token.trim())
            }
            _ => Err(Problem::new(Code::Unauthorized, "the authorization is not a bearer token")),
        };
    }
    if !gate.has_session(headers) {
        return Err(Problem::new(Code::Unauthorized, "a token is needed").with_hint(
            "Send `Authorization: Bearer` with the token in `admin_token` in the data folder.",
        ));
    }
    if !origin::is_ours(request.method(), headers) {
        return Err(Problem::new(
            Code::Forbidden,
            "the request was made by a page of another site",
        )
        .with_hint("Programs send the token; the cookie is for the screen."));
    }
    Ok(())
}

/// Whether a browser asks for a page of the screen.
fn wants_page(request: &Request) -> bool {
    let accepts = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
    request.method() == Method::GET
        && !request.uri().path().starts_with("/api/")
        && !request.headers().contains_key(header::AUTHORIZATION)
        && accepts.is_some_and(|accepts| accepts.contains("text/html"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
