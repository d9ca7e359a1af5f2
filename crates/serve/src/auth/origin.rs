//! Where a request comes from: pure functions of its headers.
//!
//! Two attacks end here. *DNS rebinding*: a page of another site lets its own name point to
//! 127.0.0.1; its requests carry that name in `Host`. *Cross-site requests*: a page of another site,
//! or of another port of this machine (which is the same *site*, so `SameSite` does not help), makes
//! the browser send a request with our cookie.

use axum::http::{HeaderMap, Method, Uri, header};

/// Whether `Host`, and the address in the request line if there is one, name this machine.
pub(crate) fn names_this_machine(uri: &Uri, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let of_uri = uri.authority().is_none_or(|authority| is_local(authority.as_str()));
    of_uri && host.to_str().is_ok_and(is_local)
}

fn is_local(authority: &str) -> bool {
    let name = match authority.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => authority,
    };
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|local| name.eq_ignore_ascii_case(local))
}

/// Whether a request that came with our cookie was made by a page of ours, or by the user.
pub(crate) fn is_ours(method: &Method, headers: &HeaderMap) -> bool {
    let acts = !(method.is_safe()) || headers.contains_key(header::UPGRADE);
    match text(headers, "sec-fetch-site") {
        Some("same-origin") => true,
        Some("none") => !acts,
        // A link on another page may lead here; what is behind it must not be used there.
        Some(_) => !acts && is_navigation(headers),
        None => match text(headers, "origin") {
            Some(origin) => is_own_origin(origin, headers),
            None => !acts,
        },
    }
}

/// Whether the browser says that another page made the request.
pub(crate) fn is_foreign(headers: &HeaderMap) -> bool {
    match text(headers, "sec-fetch-site") {
        Some(site) => !matches!(site, "same-origin" | "none"),
        None => text(headers, "origin").is_some_and(|origin| !is_own_origin(origin, headers)),
    }
}

/// Whether the request opens a page in a tab, not in a frame.
pub(crate) fn is_navigation(headers: &HeaderMap) -> bool {
    text(headers, "sec-fetch-mode") == Some("navigate")
        && text(headers, "sec-fetch-dest") == Some("document")
}

fn is_own_origin(origin: &str, headers: &HeaderMap) -> bool {
    let host = text(headers, header::HOST.as_str()).unwrap_or_default();
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &str) -> HeaderMap {
        let pairs = lines.split(", ").filter_map(|line| line.split_once(": "));
        pairs
            .map(|(name, value)| {
                (
                    header::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    header::HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn only_names_of_this_machine_are_served() {
        for host in ["localhost", "LocalHost:7070", "127.0.0.1:7070", "[::1]:1", "[::1]"] {
            assert!(names_this_machine(&Uri::from_static("/"), &headers(&format!("host: {host}"))));
        }
        let foreign = ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example:7070"];
        for host in foreign.into_iter().chain(["localhost:", "localhost:1:2", "127.0.0.2", "::1"]) {
            let headers = headers(&format!("host: {host}"));
            assert!(!names_this_machine(&Uri::from_static("/"), &headers), "{host}");
        }
        assert!(!names_this_machine(&Uri::from_static("/"), &HeaderMap::new()));
        let local = headers("host: localhost");
        assert!(!names_this_machine(&Uri::from_static("http://evil.example/"), &local));
        let mut twice = local;
        twice.append(header::HOST, header::HeaderValue::from_static("localhost"));
        assert!(!names_this_machine(&Uri::from_static("/"), &twice));
    }

    #[test]
    fn the_cookie_is_good_only_for_our_own_pages() {
        check("GET", "", true);
        check("POST", "", false);
        check("POST", "origin: http://localhost:7070", true);
        check("POST", "origin: http://localhost:8080", false);
        check("POST", "origin: null", false);
        check("POST", "origin: https://evil.example", false);
        check("POST", "sec-fetch-site: same-origin", true);
        check("POST", "sec-fetch-site: same-site, origin: http://localhost:7070", false);
        check("POST", "sec-fetch-site: none", false);
        check("GET", "sec-fetch-site: none", true);
        check("GET", "sec-fetch-site: same-site", false);
        check("GET", "origin: http://localhost:8080", false);
        let link = "sec-fetch-site: cross-site, sec-fetch-mode: navigate, sec-fetch-dest";
        check("GET", &format!("{link}: document"), true);
        check("GET", &format!("{link}: iframe"), false);
        check("POST", &format!("{link}: document"), false);
        check("GET", "upgrade: websocket", false);
        check("GET", "upgrade: websocket, origin: http://localhost:7070", true);
        check("GET", "upgrade: websocket, origin: http://evil.example", false);
    }

    #[track_caller]
    fn check(method: &str, lines: &str, expected: bool) {
        let headers = headers(&format!("host: localhost:7070, {lines}"));
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        assert_eq!(is_ours(&method, &headers), expected, "{method} {lines}");
    }
}
