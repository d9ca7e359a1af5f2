//! What must not be shown: secrets of an address and of headers, and texts cleaned of them.
//!
//! Anything a far end says may repeat the token it was given, so every text of it goes through
//! [`Secrets::scrub`] before it becomes part of an error or a log line.

use url::{Url, form_urlencoded};

/// What stands in place of a secret.
const MASK: &str = "***";

/// A shorter value is no secret, and masking it would only garble texts.
const SECRET_CHARS_MIN: usize = 4;

/// Secrets of a connection, or of a whole project.
#[derive(Clone, Default)]
pub struct Secrets(Vec<String>);

impl Secrets {
    /// Collects user, password and query values of `url`, and the values of headers.
    pub(super) fn new<'a>(url: &Url, header_values: impl Iterator<Item = &'a str>) -> Self {
        let mut found: Vec<String> = Vec::new();
        for pair in url.query().unwrap_or_default().split('&') {
            // As it stands on the wire, and as it was meant.
            found.extend(pair.split_once('=').map(|(_, value)| value.to_owned()));
        }
        found.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
        found.push(url.username().to_owned());
        found.extend(url.password().map(str::to_owned));
        for value in header_values {
            found.push(value.to_owned());
            // `Authorization: Bearer token`: the token alone is the secret as well.
            found.extend(value.split_whitespace().skip(1).map(str::to_owned));
        }
        Self::of(found)
    }

    /// Values that are secret whole, each line of them too; of addresses also password and query
    /// values.
    pub fn of_values<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        let mut found: Vec<String> = Vec::new();
        for value in values {
            found.push(value.to_owned());
            found.extend(value.lines().map(str::to_owned));
            let Ok(url) = Url::parse(value) else { continue };
            found.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
            if let Some(password) = url.password() {
                found.push(password.to_owned());
                // As it was before it became a part of an address.
                let escaped = password.replace('+', "%2B");
                let plain = form_urlencoded::parse(escaped.as_bytes());
                found.extend(plain.map(|(plain, _)| plain.into_owned()));
            }
        }
        Self::of(found)
    }

    /// The secrets of several.
    pub(super) fn merged(all: Vec<Self>) -> Self {
        Self::of(all.into_iter().flat_map(|secrets| secrets.0).collect())
    }

    fn of(mut found: Vec<String>) -> Self {
        found.retain(|secret| secret.chars().count() >= SECRET_CHARS_MIN);
        // Longest first, so that a secret inside another leaves nothing of the longer one.
        found.sort_by(|left, right| (right.len(), left).cmp(&(left.len(), right)));
        found.dedup();
        Self(found)
    }

    /// The text with secrets masked.
    pub fn mask(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for secret in self.0.iter().filter(|secret| text.contains(secret.as_str())) {
            clean = clean.replace(secret.as_str(), MASK);
        }
        clean
    }

    /// The text on one line, without control characters, cut to `chars_max`, secrets masked.
    pub(super) fn scrub(&self, text: &str, chars_max: usize) -> String {
        let line = self.mask(text);
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut shown: String = line.chars().filter(|c| !c.is_control()).take(chars_max).collect();
        if shown.len() < line.len() {
            shown.push('…');
        }
        shown
    }
}

/// The address with user, password and the values of its query masked, for messages.
pub fn redact_url(url: &str) -> String {
    let Ok(url) = Url::parse(url) else { return "an address that is no URL".to_owned() };
    let user = if url.username().is_empty() && url.password().is_none() { "" } else { "***@" };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let query: Vec<String> = url
        .query()
        .into_iter()
        .flat_map(|query| query.split('&'))
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) => format!("{name}={MASK}"),
            None => MASK.to_owned(),
        })
        .collect();
    let mark = if query.is_empty() { "" } else { "?" };
    format!(
        "{}://{user}{}{port}{}{mark}{}",
        url.scheme(),
        url.host_str().unwrap_or_default(),
        url.path(),
        query.join("&")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        check("wss://ws.finnhub.io?token=c0ffee", "wss://ws.finnhub.io/?token=***");
        check("ws://me:pw@127.0.0.1:8080/a/b?x=1&y=2", "ws://***@127.0.0.1:8080/a/b?x=***&y=***");
        check("ws://host/?baretoken", "ws://host/?***");
        check("not a url, token=c0ffee", "an address that is no URL");
    }

    #[track_caller]
    fn check(url: &str, expected: &str) {
        assert_eq!(redact_url(url), expected);
    }

    #[test]
    fn what_the_far_end_repeats_is_masked() {
        let url = Url::parse("wss://u:hunter2@h/?token=a%20secret&n=1").expect("a URL");
        let secrets = Secrets::new(&url, ["Bearer hush-hush"].into_iter());
        assert_eq!(
            secrets.scrub("bad key a secret,\r\n a%20secret, hunter2 or hush-hush n=1", 100),
            "bad key ***, ***, *** or *** n=1"
        );
        assert_eq!(secrets.scrub("abcdef", 3), "abc…");
    }

    #[test]
    fn values_of_a_project_are_masked_in_whole_and_in_part() {
        let values =
            ["postgres://me:p%40ss+word@db/x?sslpassword=tls-key", "c0ffee\nc0ffee-2", "no"];
        let secrets = Secrets::of_values(values.into_iter());
        let told = "me c0ffee c0ffee-2 no p%40ss+word p@ss+word tls-key db";
        assert_eq!(secrets.mask(told), "me *** *** no *** *** *** db");
        assert_eq!(secrets.mask(&format!("<{}>", values[0])), "<***>");
    }
}
