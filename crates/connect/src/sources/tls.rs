//! TLS of every source: one configuration, one provider.
//!
//! Two providers are in the tree; `ring` is named here, so that it makes no difference which one a
//! process has chosen.

use std::sync::Arc;

use thalweg_core::error::{Error, Result};

/// TLS against the certificate authorities that browsers trust.
pub(crate) fn tls_config() -> Result<Arc<rustls::ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect::<rustls::RootCertStore>();
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal("TLS has no usable version").with_source(error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
