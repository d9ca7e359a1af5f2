//! The block that declares a source.

use thalweg_connect::codecs::html::Clean;
use thalweg_connect::sampling::{JsonLayout, Proposal, ProposedColumn, ProposedFormat};
use thalweg_core::Result;
use thalweg_core::schema::{EpochUnit, meta};
use thalweg_project::edit;

use super::place::What;
use crate::cli::AddArgs;

/// Parts of names of parameters that hold a secret.
const SECRETS: [&str; 8] =
    ["token", "key", "secret", "password", "passwd", "auth", "signature", "sig"];

/// A block, and the secrets that it reads.
pub(super) struct Block {
    name: String,
    /// What it reads.
    pub what: What,
    // Keys of the connector and their values, as TOML.
    connector: Vec<(String, String)>,
    /// Variables and their values, for `.env`.
    pub secrets: Vec<(String, String)>,
    /// What was found to be there; none while nobody has looked.
    pub proposal: Option<Proposal>,
}

impl Block {
    /// The block as far as it is known before anybody has looked.
    ///
    /// # Errors
    ///
    /// `Invalid` when an option does not go with what is added.
    pub(super) fn new(args: &AddArgs, what: What) -> Result<Self> {
        let mut secrets = Secrets { source: args.name.to_ascii_uppercase(), found: Vec::new() };
        let mut connector: Vec<(String, String)> = Vec::new();
        let mut add = |key: &str, value: String| connector.push((key.to_owned(), value));
        let list = |texts: &[String]| {
            let texts: Vec<String> = texts.iter().map(|it| edit::quoted(it)).collect();
            format!("[{}]", texts.join(", "))
        };
        let url = args.url.as_ref().map(|url| edit::quoted(url));
        match &what {
            What::File { shown, .. } => add("file.path", edit::quoted(shown)),
            What::Http(url) => {
                add("http.url", edit::quoted(&secrets.taken_out(url)));
                add("http.every", edit::quoted("1m"));
            }
            What::WebSocket(url) => {
                add("websocket.url", edit::quoted(&secrets.taken_out(url)));
                if !args.subscribe.is_empty() {
                    add("websocket.subscribe", list(&args.subscribe));
                }
            }
            What::Finnhub(symbols) => {
                add("finnhub.token", edit::quoted("${FINNHUB_TOKEN}"));
                add("finnhub.symbols", list(symbols));
                url.into_iter().for_each(|url| add("finnhub.url", url));
            }
            What::Binance(endpoint, symbols) => {
                add("binance.poll", edit::quoted(endpoint));
                add("binance.symbols", list(symbols));
                add("binance.every", edit::quoted("5s"));
                url.into_iter().for_each(|url| add("binance.url", url));
            }
        }
        Ok(Self {
            name: args.name.clone(),
            what,
            connector,
            secrets: secrets.found,
            proposal: None,
        })
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// As it stands in the project file.
    pub(super) fn toml(&self) -> String {
        let mut keys = self.connector.clone();
        let mut columns = Vec::new();
        let mut checks = Vec::new();
        match &self.proposal {
            // Enough to read it: one column of whatever comes.
            None if self.has_preset() => {}
            None => columns.push(("everything".to_owned(), edit::quoted("json"))),
            Some(proposal) => {
                let is_preset = self.has_preset();
                keys.extend((!is_preset).then(|| format(&proposal.format)));
                let key = proposal.key.as_ref().map(|key| format!("[{}]", edit::quoted(key)));
                keys.extend(key.map(|key| ("key".to_owned(), key)));
                let event_time = proposal.event_time.as_deref().unwrap_or(meta::RECEIVED_AT);
                keys.push(("event_time".to_owned(), edit::quoted(event_time)));
                columns = proposal.columns.iter().map(column).collect();
                let quoted = |(name, sql): &(String, String)| (name.clone(), edit::quoted(sql));
                checks = proposal.checks.iter().map(quoted).collect();
            }
        }
        let mut text = format!("[source.{}]\n", self.name);
        text.push_str(&aligned(&keys));
        if !columns.is_empty() {
            text.push_str(&format!("[source.{}.columns]\n{}", self.name, aligned(&columns)));
        }
        if !checks.is_empty() {
            text.push_str(&format!("[source.{}.checks]\n{}", self.name, aligned(&checks)));
        }
        text
    }

    /// Whether a preset brings the format.
    pub(super) fn has_preset(&self) -> bool {
        matches!(self.what, What::Finnhub(_) | What::Binance(..))
    }
}

fn aligned(keys: &[(String, String)]) -> String {
    let width = keys.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0);
    keys.iter().map(|(key, value)| format!("{key:<width$} = {value}\n")).collect()
}

fn format(format: &ProposedFormat) -> (String, String) {
    let table = |members: Vec<(&str, String)>| match members.is_empty() {
        true => "{}".to_owned(),
        false => {
            let members: Vec<String> =
                members.into_iter().map(|(name, value)| format!("{name} = {value}")).collect();
            format!("{{ {} }}", members.join(", "))
        }
    };
    let quoted = |text: &str| edit::quoted(text);
    match format {
        ProposedFormat::Csv { delimiter, quote, header, null, encoding } => {
            let mut members = vec![("header", header.to_string())];
            if *delimiter != ',' {
                members.push(("delimiter", quoted(&delimiter.to_string())));
            }
            if *quote != '"' {
                members.push(("quote", quoted(&quote.to_string())));
            }
            if null.len() > 1 {
                let null: Vec<String> = null.iter().map(|it| quoted(it)).collect();
                members.push(("null", format!("[{}]", null.join(", "))));
            }
            members.extend(encoding.map(|encoding| ("encoding", quoted(encoding))));
            ("format.csv".to_owned(), table(members))
        }
        ProposedFormat::Json { rows, only_if, layout } => {
            let mut members = Vec::new();
            members.extend(rows.as_ref().map(|rows| ("rows", quoted(rows))));
            members.extend(only_if.as_ref().map(|only_if| ("only_if", quoted(only_if))));
            match layout {
                JsonLayout::Lines => {}
                JsonLayout::Array => members.push(("layout", quoted("array"))),
                JsonLayout::Document => members.push(("layout", quoted("document"))),
            }
            ("format.json".to_owned(), table(members))
        }
        ProposedFormat::Html { headers } => {
            let headers: Vec<String> = headers.iter().map(|it| quoted(it)).collect();
            let headers = format!("{{ headers = [{}] }}", headers.join(", "));
            ("format.html".to_owned(), table(vec![("table", headers)]))
        }
        ProposedFormat::Parquet => ("format.parquet".to_owned(), "{}".to_owned()),
        ProposedFormat::Avro => ("format.avro".to_owned(), "{}".to_owned()),
    }
}

fn column(proposed: &ProposedColumn) -> (String, String) {
    let column = &proposed.column;
    let kind = format!("{}{}", column.kind, if column.nullable { "" } else { " not null" });
    let mut members = vec![format!("type = {}", edit::quoted(&kind))];
    members.extend(column.select.as_ref().map(|it| format!("select = {}", edit::quoted(it))));
    let unit = column.unit.map(|unit| match unit {
        EpochUnit::Seconds => "s",
        EpochUnit::Millis => "ms",
        EpochUnit::Micros => "us",
        EpochUnit::Nanos => "ns",
    });
    members.extend(unit.map(|unit| format!("unit = {}", edit::quoted(unit))));
    let clean = proposed.clean.map(|clean| match clean {
        Clean::Money => "money",
        Clean::Percent => "percent",
        Clean::Number => "number",
        Clean::Text => "text",
    });
    members.extend(clean.map(|clean| format!("clean = {}", edit::quoted(clean))));
    let value = match members.len() {
        1 => edit::quoted(&kind),
        _ => format!("{{ {} }}", members.join(", ")),
    };
    (column.name.clone(), value)
}

/// Secrets of an address, each with the variable that stands for it.
struct Secrets {
    source: String,
    found: Vec<(String, String)>,
}

impl Secrets {
    /// The address with `${NAME}` in the place of what is secret in it.
    fn taken_out(&mut self, url: &str) -> String {
        let mut made = url.to_owned();
        if let Some((_, rest)) = url.split_once("://")
            && let Some((user, _)) =
                rest.split(['/', '?', '#']).next().unwrap_or("").rsplit_once('@')
            && let Some((_, password)) = user.split_once(':')
        {
            made = self.replace(&made, &format!(":{password}@"), 1, "password", password);
        }
        let query = url.split_once('?').map_or("", |(_, query)| query);
        for pair in query.split('#').next().unwrap_or("").split('&') {
            let Some((name, value)) = pair.split_once('=') else { continue };
            let lower = name.to_ascii_lowercase();
            if SECRETS.iter().any(|part| lower.contains(part)) {
                made = self.replace(&made, pair, name.len() + 1, name, value);
            }
        }
        made
    }

    /// Takes `value` out of `part` of a text, behind its first `kept` bytes.
    fn replace(&mut self, text: &str, part: &str, kept: usize, what: &str, value: &str) -> String {
        if value.is_empty() || value.contains("${") {
            return text.to_owned();
        }
        let word: String = what
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
            .collect();
        let name = format!("{}_{word}", self.source);
        let rest = &part[kept + value.len()..];
        let made = text.replacen(part, &format!("{}${{{name}}}{rest}", &part[..kept]), 1);
        self.found.push((name, value.to_owned()));
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_an_address_become_variables() {
        let mut secrets = Secrets { source: "FEED".to_owned(), found: Vec::new() };
        let url = "wss://me:pass@a.example/x?symbol=A&apiKey=k1%2F&empty_token=#frag";
        let made = secrets.taken_out(url);
        assert_eq!(
            made,
            "wss://me:${FEED_PASSWORD}@a.example/x?symbol=A&apiKey=${FEED_APIKEY}&empty_token=#frag"
        );
        let found = [("FEED_PASSWORD", "pass"), ("FEED_APIKEY", "k1%2F")];
        assert_eq!(secrets.found, found.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
