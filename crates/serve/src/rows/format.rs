//! Which form an answer has: by the ending of the path, or by `Accept`.

use axum::http::{HeaderMap, header};

use crate::problem::{Code, Problem};

/// A form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    JsonLines,
    Csv,
    Arrow,
}

impl Format {
    /// All, the preferred one first.
    const ALL: [Self; 4] = [Self::Json, Self::JsonLines, Self::Csv, Self::Arrow];

    fn ending(self) -> &'static str {
        match self {
            Self::Json => ".json",
            Self::JsonLines => ".jsonl",
            Self::Csv => ".csv",
            Self::Arrow => ".arrow",
        }
    }

    fn media_type(self) -> &'static str {
        self.content_type().split(';').next().unwrap_or_default()
    }

    /// The header `Content-Type`.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::JsonLines => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    /// Splits `trades.csv` into `trades` and its form.
    pub(crate) fn of_ending(name: &str) -> Option<(&str, Self)> {
        let split = |form: Self| name.strip_suffix(form.ending()).map(|name| (name, form));
        Self::ALL.into_iter().find_map(split)
    }

    /// What the client prefers: the highest quality, then our order.
    pub(crate) fn of_accept(headers: &HeaderMap) -> Result<Self, Problem> {
        let lines: Vec<&str> = headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .collect();
        if lines.is_empty() {
            return Ok(Self::Json);
        }
        let quality = |form: Self| quality(&lines, form.media_type());
        let mut best = None;
        for form in Self::ALL {
            let quality = quality(form);
            if quality > best.map_or(0, |(_, quality)| quality) {
                best = Some((form, quality));
            }
        }
        best.map(|(form, _)| form).ok_or_else(|| {
            let forms: Vec<_> = Self::ALL.iter().map(|form| form.media_type()).collect();
            Problem::new(Code::NotAcceptable, "no form of the answer is acceptable")
                .with_hint(format!("`Accept` can be one of {}.", forms.join(", ")))
        })
    }
}

/// How much a client likes a media type, in thousandths: the most exact range decides (RFC 9110
/// §12.5.1).
fn quality(ranges: &[&str], media_type: &str) -> u16 {
    let kind = media_type.split('/').next().unwrap_or_default();
    let mut best = (0, 0);
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let exactness = match name.split_once('/') {
            _ if name == media_type => 3,
            Some((of, "*")) if of == kind => 2,
            Some(("*", "*")) => 1,
            _ => continue,
        };
        let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(1000, thousandths);
        if exactness > best.0 {
            best = (exactness, quality);
        }
    }
    best.1
}

fn thousandths(quality: &str) -> u16 {
    let quality: f32 = quality.parse().unwrap_or(0.0);
    // Saturates, and takes what is not a number for 0.
    (quality.clamp(0.0, 1.0) * 1000.0) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_chooses_the_form() {
        check("", Some(Format::Json));
        check("*/*", Some(Format::Json));
        check("text/csv", Some(Format::Csv));
        check("TEXT/CSV; charset=utf-8", Some(Format::Csv));
        check("text/*", Some(Format::Csv));
        check("application/x-ndjson", Some(Format::JsonLines));
        check("application/vnd.apache.arrow.stream", Some(Format::Arrow));
        check("text/html, application/json;q=0.9, */*;q=0.8", Some(Format::Json));
        check("text/csv;q=0.5, application/*;q=0.4", Some(Format::Csv));
        check("application/json;q=0, */*;q=0.1", Some(Format::JsonLines));
        check("text/html", None);
        check("*/*;q=0", None);
        check("*/*;q=NaN", None);
    }

    #[track_caller]
    fn check(accept: &str, expected: Option<Format>) {
        let mut headers = HeaderMap::new();
        if !accept.is_empty() {
            headers.insert(header::ACCEPT, accept.parse().unwrap());
        }
        assert_eq!(Format::of_accept(&headers).ok(), expected, "{accept}");
    }

    #[test]
    fn an_ending_is_split_off() {
        assert_eq!(Format::of_ending("trades.csv"), Some(("trades", Format::Csv)));
        assert_eq!(Format::of_ending("trades.raw.jsonl"), Some(("trades.raw", Format::JsonLines)));
        assert_eq!(Format::of_ending("trades.raw"), None);
    }
}
