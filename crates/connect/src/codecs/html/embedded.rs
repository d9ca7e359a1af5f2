//! The JSON that a script element of a page holds, as `script#__NEXT_DATA__` does: cut out, and
//! decoded as a frame of JSON is.
//!
//! A page without the element, or with two of it, is quarantined with a notice that it has changed.

use arrow::datatypes::SchemaRef;
use bytes::BytesMut;
use scraper::{Html, Selector};
use thalweg_core::decode::{Decoded, Decoder, Reject};
use thalweg_core::frame::{FrameSpan, Frames};
use thalweg_core::{Error, Result};

use super::super::json::{JsonConfig, JsonDecoder};
use super::super::rows::too_long;
use super::{encoding, nesting, select};

/// Decodes the JSON within pages.
pub struct EmbeddedDecoder {
    element: Selector,
    shown: String,
    json: JsonDecoder,
}

impl EmbeddedDecoder {
    /// Reads the element that `selector` fits.
    ///
    /// # Errors
    ///
    /// `Invalid` when it is no selector, or the configuration of the JSON is wrong.
    pub fn new(selector: &str, config: &JsonConfig) -> Result<Self> {
        let element = select::selector(selector)?;
        Ok(Self { element, shown: selector.to_owned(), json: JsonDecoder::new(config)? })
    }

    /// The JSON of a page; an empty text where the page is blank.
    fn cut(&self, bytes: &[u8]) -> Result<String, String> {
        if let Some(reason) = too_long(bytes) {
            return Err(reason);
        }
        let text = encoding::text(bytes, None)?;
        if text.trim().is_empty() {
            return Ok(String::new());
        }
        if !nesting::is_parseable(&text) {
            return Err("its elements are nested too deeply".to_owned());
        }
        let page = Html::parse_document(&text);
        let found = select::only(page.root_element(), &self.element)?;
        let element = found.ok_or_else(|| format!("no element `{}`", self.shown))?;
        Ok(element.text().collect())
    }
}

impl Decoder for EmbeddedDecoder {
    fn schema(&self) -> &SchemaRef {
        self.json.schema()
    }

    fn decode(&mut self, frames: &Frames) -> Result<Decoded> {
        let mut data = BytesMut::new();
        let mut spans = Vec::with_capacity(frames.len());
        // Which of the frames each text was cut from.
        let mut from = Vec::with_capacity(frames.len());
        let (mut refused, mut notices) = (Vec::new(), Vec::new());
        for (index, span) in frames.spans.iter().enumerate() {
            match self.cut(frames.bytes(index)) {
                Ok(text) => {
                    let position = |at: usize| {
                        u32::try_from(at).map_err(|_| Error::internal("4 GiB of JSON at once"))
                    };
                    let (start, len) = (position(data.len())?, position(text.len())?);
                    spans.push(FrameSpan { start, len, ..*span });
                    data.extend_from_slice(text.as_bytes());
                    from.push(index);
                }
                Err(reason) => {
                    notices.push(format!("the page has changed: {reason}"));
                    let (frame, offset) = (index, span.offset);
                    refused.push(Reject { frame, offset, row: None, reason, excerpt: None });
                }
            }
        }
        let cut = Frames { partition: frames.partition, data: data.freeze(), spans, rows: None };
        let mut decoded = self.json.decode(&cut)?;
        decoded.frames.quarantined += refused.len() as u64;
        for reject in &mut decoded.rejects {
            reject.frame = from[reject.frame];
        }
        decoded.rejects.extend(refused);
        decoded.rejects.sort_by_key(|reject| reject.frame);
        decoded.notices.extend(notices);
        Ok(decoded)
    }
}
