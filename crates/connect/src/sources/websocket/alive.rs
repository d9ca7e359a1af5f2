//! Which messages only show that a feed is alive.

use std::str::FromStr;

use memchr::memmem;
use serde_json::Value;
use thalweg_core::Error;

/// Longest message that is looked at: one that only says "ping" is short.
const MESSAGE_BYTES_MAX: usize = 512;

/// Recognises a keep-alive message by one text in it, such as `$.type = 'ping'`.
///
/// Such a message resets the watchdog and is not journaled. Anything that is not surely one is
/// data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliveRule {
    // Keys from the root of the message to the text.
    path: Vec<String>,
    text: String,
}

impl AliveRule {
    /// Whether `message` is a keep-alive.
    pub(super) fn matches(&self, message: &[u8]) -> bool {
        if message.len() > MESSAGE_BYTES_MAX
            || memmem::find(message, self.text.as_bytes()).is_none()
        {
            return false;
        }
        let Ok(message) = serde_json::from_slice::<Value>(message) else { return false };
        let found = self.path.iter().try_fold(&message, |value, key| value.get(key));
        found.and_then(Value::as_str) == Some(&self.text)
    }
}

impl FromStr for AliveRule {
    type Err = Error;

    /// # Errors
    ///
    /// `Invalid` when it is not a path from `$`, an equals sign and a quoted text.
    fn from_str(rule: &str) -> Result<Self, Error> {
        let parsed = rule.split_once('=').and_then(|(path, text)| {
            let path = path.trim().strip_prefix("$.")?.split('.').map(str::to_owned);
            let text = text.trim().strip_prefix('\'')?.strip_suffix('\'')?;
            let path: Vec<String> = path.collect();
            let is_whole = !text.is_empty() && !path.iter().any(String::is_empty);
            is_whole.then(|| Self { path, text: text.to_owned() })
        });
        parsed.ok_or_else(|| {
            Error::invalid(format!("`{rule}` does not say what a keep-alive looks like"))
                .with_hint("It is written like `$.type = 'ping'`.")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keep_alive_is_recognised_and_nothing_else() {
        check("$.type = 'ping'", r#"{"type":"ping"}"#, true);
        check("$.type = 'ping'", r#"{"type":"error","msg":"ping"}"#, false);
        check("$.type = 'ping'", r#"{"type":"ping""#, false);
        check("$.a.b='x'", r#"{"a":{"b":"x"}}"#, true);
        check("$.a.b='x'", r#"{"a":"x"}"#, false);
        check("$.type = 'ping'", &format!(r#"{{"type":"ping","pad":"{:600}"}}"#, ""), false);
    }

    #[track_caller]
    fn check(rule: &str, message: &str, expected: bool) {
        let rule: AliveRule = rule.parse().expect("a rule");
        assert_eq!(rule.matches(message.as_bytes()), expected, "{message}");
    }

    #[test]
    fn a_rule_that_is_none_is_refused() {
        for wrong in ["", "type = 'ping'", "$.type", "$.type = ping", "$. = 'ping'", "$.type = ''"]
        {
            assert!(wrong.parse::<AliveRule>().is_err(), "{wrong}");
        }
    }
}
