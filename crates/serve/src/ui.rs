//! The screen: files embedded from `ui/dist` when it was there at build time.
//!
//! Names under `assets/` carry a hash of their content and are kept by browsers for a year; all
//! else is asked for again with its `ETag`. A path that is no file is a page of the screen, which
//! routes by itself: it gets `index.html`.

use std::borrow::Cow;

use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use rust_embed::RustEmbed;

use crate::problem::{Code, Problem};

#[derive(RustEmbed)]
#[folder = "../../ui/dist"]
#[allow_missing = true]
struct Dist;

/// A file of the screen.
struct File {
    bytes: Cow<'static, [u8]>,
    /// SHA-256 of the bytes.
    digest: [u8; 32],
}

/// Answers what no route does.
pub(crate) async fn fallback(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let find = |path: &str| {
        let file = Dist::get(path)?;
        Some(File { digest: file.metadata.sha256_hash(), bytes: file.data })
    };
    respond(&method, uri.path(), &headers, find)
}

/// Answers a path that exists, asked for with a method it does not know.
pub(crate) async fn wrong_method(method: Method, uri: Uri) -> Problem {
    Problem::new(Code::MethodNotAllowed, format!("`{}` does not answer {method}", uri.path()))
}

fn respond(
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    find: impl Fn(&str) -> Option<File>,
) -> Response {
    let not_found = || {
        Problem::not_found(format!("there is no `{path}`"))
            .with_hint("`/api/v1/openapi.json` lists what there is.")
            .into_response()
    };
    if path == "/api" || path.starts_with("/api/") {
        return not_found();
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        let title = format!("`{path}` does not answer {method}");
        return Problem::new(Code::MethodNotAllowed, title).into_response();
    }
    let name = path.trim_start_matches('/');
    if let Some(file) = find(name) {
        return serve(name, file, headers);
    }
    let is_page = is_page(name);
    match find("index.html") {
        Some(file) if is_page => serve("index.html", file, headers),
        None if is_page => Html(ABSENT).into_response(),
        _ => not_found(),
    }
}

/// Whether a path that is no file is a page. Names of what a page is about may have points:
/// `/jobs/model.next_price.train`.
fn is_page(name: &str) -> bool {
    let is_below = name.contains('/') && !name.starts_with("assets/");
    (is_below || !name.contains('.')) && name.split('/').all(|segment| segment != "..")
}

fn serve(name: &str, file: File, headers: &HeaderMap) -> Response {
    use std::fmt::Write as _;
    let mut tag = "\"".to_owned();
    for byte in &file.digest[..16] {
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    let kept = headers.get_all(header::IF_NONE_MATCH).iter();
    let is_kept = kept
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|kept| kept.trim().trim_start_matches("W/") == tag);
    let caching = match name.starts_with("assets/") {
        true => "private, max-age=31536000, immutable",
        false => "private, no-cache",
    };
    let caching = [(header::CACHE_CONTROL, caching.to_owned()), (header::ETAG, tag)];
    if is_kept {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, [(header::CONTENT_TYPE, content_type(name))], file.bytes).into_response()
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        "webmanifest" => "application/manifest+json",
        _ => "application/octet-stream",
    }
}

const ABSENT: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>thalweg</title>
<h1>thalweg is running without its screen</h1>
<p>This binary was built without it. In the source folder,
<code>cargo xtask ui</code> builds the screen (it needs Node), then build thalweg again.
<p>Everything else is here: <a href="/api/v1/openapi.json">the API</a>,
<a href="/api/v1/metrics">the metrics</a>, and <code>thalweg sql</code>.
</html>
"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn find(path: &str) -> Option<File> {
        let bytes: &[u8] = match path {
            "index.html" => b"<!doctype html>",
            "assets/app-1a2b.js" => b"run()",
            _ => return None,
        };
        Some(File { bytes: Cow::Borrowed(bytes), digest: [bytes.len() as u8; 32] })
    }

    #[test]
    fn files_are_files_and_all_else_is_a_page_of_the_screen() {
        check("/", "200 text/html; charset=utf-8 private, no-cache");
        check("/boards/market", "200 text/html; charset=utf-8 private, no-cache");
        check("/jobs/model.next_price.train", "200 text/html; charset=utf-8 private, no-cache");
        check("/robots.txt", "404 application/problem+json -");
        check(
            "/assets/app-1a2b.js",
            "200 text/javascript; charset=utf-8 private, max-age=31536000, immutable",
        );
        check("/assets/app-0000.js", "404 application/problem+json -");
        check("/api/v1/nothing", "404 application/problem+json -");
        check("/../index.html", "404 application/problem+json -");
    }

    #[track_caller]
    fn check(path: &str, expected: &str) {
        assert_eq!(summary(&respond(&Method::GET, path, &HeaderMap::new(), find)), expected);
    }

    fn summary(response: &Response) -> String {
        let text = |name| {
            let value = response.headers().get(name);
            value.map_or("-", |value: &header::HeaderValue| value.to_str().unwrap()).to_owned()
        };
        let status = response.status().as_u16();
        format!("{status} {} {}", text(header::CONTENT_TYPE), text(header::CACHE_CONTROL))
    }

    #[test]
    fn a_file_the_browser_has_is_not_sent_again() {
        let response = respond(&Method::GET, "/", &HeaderMap::new(), find);
        let tag = response.headers()[header::ETAG].clone();
        let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, tag)]);
        let response = respond(&Method::GET, "/", &headers, find);
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
        let response = respond(&Method::GET, "/assets/app-1a2b.js", &headers, find);
        assert_eq!(response.status(), StatusCode::OK);
    }

    #[test]
    fn without_the_screen_the_page_says_how_to_get_it() {
        let response = respond(&Method::GET, "/", &HeaderMap::new(), |_| None);
        assert_eq!(summary(&response), "200 text/html; charset=utf-8 -");
        let response = respond(&Method::POST, "/", &HeaderMap::new(), |_| None);
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}
