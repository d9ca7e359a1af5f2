//! The envelope of what this crate keeps as bytes: eight bytes of magic, a version (u32, little
//! endian), then JSON. Floats are written so that reading gives the same bits.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thalweg_core::{Error, Result};

/// Most bytes that are read: 50 series of boosted trees would fit ten times.
const BYTES_MAX: usize = 256 << 20;

const HEADER_BYTES: usize = 12;

/// A kind of bytes: its magic, the version written, and its name in errors.
pub(crate) struct Format {
    pub(crate) magic: [u8; 8],
    pub(crate) version: u32,
    pub(crate) name: &'static str,
}

impl Format {
    pub(crate) fn write(&self, body: &impl Serialize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.magic);
        bytes.extend_from_slice(&self.version.to_le_bytes());
        serde_json::to_writer(&mut bytes, body).map_err(|error| {
            Error::internal(format!("{} does not write", self.name)).with_source(error)
        })?;
        Ok(bytes)
    }

    pub(crate) fn read<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T> {
        let name = self.name;
        if bytes.len() > BYTES_MAX {
            return Err(Error::data(format!("{name} is larger than {BYTES_MAX} bytes")));
        }
        let Some((header, body)) = bytes.split_at_checked(HEADER_BYTES) else {
            return Err(Error::data(format!("{name} is cut short")));
        };
        if header[..8] != self.magic {
            return Err(Error::data(format!("these bytes are not {name}")));
        }
        if header[8..] != self.version.to_le_bytes() {
            return Err(Error::data(format!("{name} has a version this build does not know"))
                .with_hint("A newer build wrote it; use that one, or train again."));
        }
        serde_json::from_slice(body)
            .map_err(|error| Error::data(format!("{name} does not parse")).with_source(error))
    }
}
