//! What must not be shown: secrets of an address and of headers, and texts cleaned of them.
//!
//! Anything a far end says may repeat the token it was given, so every text of it goes through
//! [`Secrets::scrub`] before it becomes part of an error or a log line.

use url::Url;

/// What stands in place of a secret.
const MASK: &str = "***";

/// A shorter value is no secret, and masking it would only garble texts.
const SECRET_CHARS_MIN: usize = 4;

/// The secrets of one connection.
#[derive(Clone, Default)]
pub(super) struct Secrets(Vec<String>);

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
        found.retain(|secret| secret.chars().count() >= SECRET_CHARS_MIN);
        // Longest first, so that a secret inside another leaves nothing of the longer one.
        found.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        found.dedup();
        Self(found)
    }

    /// The secrets of several.
    pub(super) fn merged(all: Vec<Self>) -> Self {
        let mut found: Vec<String> = all.into_iter().flat_map(|secrets| secrets.0).collect();
        found.sort_by(|left, right| (right.len(), left).cmp(&(left.len(), right)));
        found.dedup();
        Self(found)
    }

    /// The text on one line, without control characters, cut to `chars_max`, secrets masked.
    pub(super) fn scrub(&self, text: &str, chars_max: usize) -> String {
        let mut clean = text.to_owned();
        for secret in &self.0 {
            clean = clean.replace(secret.as_str(), MASK);
        }
        let line = clean.split_whitespace().collect::<Vec<_>>().join(" ");
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
}
