//! Web pages: how the project's words for them become a decoder.

use thalweg_connect::codecs::html::embedded::EmbeddedDecoder;
use thalweg_connect::codecs::html::{
    Clean, DecimalMark, HtmlColumn, HtmlConfig, HtmlDecoder, PageRows,
};
use thalweg_connect::codecs::json::JsonConfig;
use thalweg_core::Result;
use thalweg_core::decode::Decoder;
use thalweg_project::{Cleaning, HtmlFormat, HtmlRows, Locale, Source};

/// The decoder of a source's pages.
pub(super) fn decoder(source: &Source, format: &HtmlFormat) -> Result<Box<dyn Decoder>> {
    let rows = match &format.rows {
        HtmlRows::Json { element, rows } => {
            let config = JsonConfig {
                columns: source.columns.clone(),
                rows: rows.as_ref().map(|path| path.as_str().parse()).transpose()?,
                ..JsonConfig::default()
            };
            return Ok(Box::new(EmbeddedDecoder::new(element.as_str(), &config)?));
        }
        HtmlRows::Table { headers, selector } => {
            PageRows::Table { headers: headers.clone(), selector: Some(selector.value.clone()) }
        }
        HtmlRows::Elements(selector) => PageRows::Elements(selector.value.clone()),
    };
    let columns = source.columns.iter().zip(&source.cleaning);
    let columns = columns.map(|(column, cleaning)| HtmlColumn {
        column: column.clone(),
        clean: cleaning.clean.map(clean),
        mark: mark(cleaning),
    });
    let mut config = HtmlConfig::new(columns.collect(), rows);
    config.rows_min = format.rows_min;
    config.rows_max = format.rows_max;
    config.encoding = format.encoding.as_ref().map(|label| label.value.clone());
    config.null.clone_from(&format.null);
    Ok(Box::new(HtmlDecoder::new(config)?))
}

fn clean(clean: thalweg_project::Clean) -> Clean {
    match clean {
        thalweg_project::Clean::Money => Clean::Money,
        thalweg_project::Clean::Percent => Clean::Percent,
        thalweg_project::Clean::Number => Clean::Number,
        thalweg_project::Clean::Text => Clean::Text,
    }
}

fn mark(cleaning: &Cleaning) -> Option<DecimalMark> {
    cleaning.locale.map(|locale| match locale {
        Locale::Point => DecimalMark::Point,
        Locale::Comma => DecimalMark::Comma,
    })
}
