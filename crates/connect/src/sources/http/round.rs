//! One poll: its requests in order, and the pages of each.

use thalweg_core::error::{Error, Result};
use url::Url;

use super::paging::{Follow, Paging};
use super::{HttpConfig, Request, fnv1a};

/// Where a poll stands: before its first page, by default.
#[derive(Clone, Debug, Default)]
pub(super) struct Round {
    request: usize,
    page: usize,
    // The address of the page, where the one before named it.
    url: Option<Url>,
}

/// One page to ask for.
#[derive(Clone, Debug)]
pub(super) struct Page {
    /// Which request of the poll it belongs to, from 0.
    pub(super) request: usize,
    /// Its number within the request, from 0.
    pub(super) number: usize,
    /// What tells the request from others.
    pub(super) identity: u64,
    pub(super) url: Url,
    /// When everything asked for is final at the venue, in its milliseconds.
    pub(super) closes_ms: Option<i64>,
    /// Whether it only asks for the venue's limits.
    pub(super) is_for_limit: bool,
}

impl Round {
    /// The next page, as of the venue's time `now_ms`; none when the poll is over.
    ///
    /// # Errors
    ///
    /// `Invalid` when an address is no URL.
    pub(super) fn next(
        &mut self,
        config: &HttpConfig,
        limit_url: Option<&str>,
        now_ms: i64,
        cursor: impl Fn(u64) -> Option<i64>,
    ) -> Result<Option<Page>> {
        while let Some(request) = config.requests.get(self.request) {
            let mut page = Page {
                request: self.request,
                number: self.page,
                identity: identity(request),
                url: parse(&request.url)?,
                closes_ms: None,
                is_for_limit: false,
            };
            if let Some(url) = limit_url {
                return Ok(Some(Page { url: parse(url)?, is_for_limit: true, ..page }));
            }
            match (&self.url, &config.paging) {
                (Some(url), _) => page.url = url.clone(),
                (None, Paging::Number { param, first, .. }) => {
                    set(&mut page.url, param, &(first + self.page as u64).to_string());
                }
                (None, Paging::Cursor(rule)) => {
                    let Some(window) = rule.window(now_ms, cursor(page.identity)) else {
                        self.skip();
                        continue;
                    };
                    set(&mut page.url, &rule.start_param, &window.start.to_string());
                    set(&mut page.url, &rule.end_param, &window.end.to_string());
                    page.closes_ms = Some(window.closes_ms);
                }
                (None, Paging::None | Paging::Link { .. } | Paging::Next { .. }) => {}
            }
            return Ok(Some(page));
        }
        Ok(None)
    }

    /// The page was answered.
    pub(super) fn went(&mut self, follow: &Follow) {
        if follow.has_more {
            self.page += 1;
            self.url.clone_from(&follow.url);
        } else {
            self.skip();
        }
    }

    /// Whether all its requests have been answered.
    pub(super) fn is_over(&self, requests: usize) -> bool {
        self.request >= requests
    }

    fn skip(&mut self) {
        *self = Self { request: self.request + 1, page: 0, url: None };
    }
}

/// Sets a parameter of the query, in the place of one of that name.
pub(super) fn set(url: &mut Url, param: &str, value: &str) {
    let others: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| name != param)
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    url.query_pairs_mut().clear().extend_pairs(others).append_pair(param, value);
}

/// What tells a request from others, so that what was remembered of it is not taken for another's: its
/// path and query, whichever host they are asked of.
pub(super) fn identity(request: &Request) -> u64 {
    let rest = request.url.split_once("://").map_or(request.url.as_str(), |(_, rest)| rest);
    fnv1a(rest.split_once('/').map_or("", |(_, path)| path).as_bytes())
}

fn parse(url: &str) -> Result<Url> {
    // The error beneath may repeat the address with its secrets.
    Url::parse(url).map_err(|_| Error::invalid("an address to poll is no URL"))
}
