//! Messages of Avro, as the decoder takes their schemas.

use thalweg_connect::codecs::avro::{AvroDecoder, AvroSchemas};
use thalweg_core::Result;
use thalweg_core::decode::Decoder;
use thalweg_project::{AvroMessages, Source};

/// What makes rows of a source's messages.
pub(super) fn decoder(source: &Source, messages: &AvroMessages) -> Result<Box<dyn Decoder>> {
    let schemas = match messages {
        AvroMessages::Fingerprints(schemas) => {
            AvroSchemas::Fingerprints(schemas.iter().map(|schema| schema.text.clone()).collect())
        }
        AvroMessages::Ids(schemas) => {
            let by_id = schemas.iter().map(|(id, schema)| (*id, schema.text.clone()));
            AvroSchemas::Ids(by_id.collect())
        }
    };
    Ok(Box::new(AvroDecoder::new(source.columns.clone(), &schemas)?))
}
