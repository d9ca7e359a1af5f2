//! Stores of objects elsewhere: how a bucket of S3 and a cluster of HDFS are reached.
//!
//! The one way in: files that are read, and tables that are written, are opened here. Nothing is
//! connected before the first call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hdfs_native_object_store::HdfsObjectStoreBuilder;
use object_store::aws::AmazonS3Builder;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use thalweg_core::error::{Error, Result};
use url::Url;

/// Longest wait for a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(60);

/// Objects of an S3 bucket.
#[derive(Clone, Default)]
pub struct S3Config {
    /// `s3://bucket/key`; of files to read with wildcards, or all below a name that ends with `/`.
    pub url: String,
    /// Whether to send no credentials. Default false.
    pub anonymous: bool,
    /// Default `AWS_REGION`, else `us-east-1`.
    pub region: Option<String>,
    /// Address of a server other than Amazon's; path style. Default `AWS_ENDPOINT_URL`.
    pub endpoint: Option<String>,
    /// Key id, secret, session token. Default what the environment has for AWS programs.
    pub keys: Option<(String, String, Option<String>)>,
}

/// A store, and what of it is meant.
pub struct Store {
    /// The bucket or cluster.
    pub objects: Arc<dyn ObjectStore>,
    /// What stands in front of every key, such as `s3://bucket/`.
    pub root: String,
    /// The key, as it is written.
    pub key: String,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({}{})", self.root, self.key)
    }
}

/// The bucket of `config.url`. A request that takes longer than `patience` fails; without it, whoever
/// asks sees to an end.
///
/// # Errors
///
/// `Invalid` when the URL names no object, or the settings cannot be right.
pub fn s3(config: &S3Config, patience: Option<Duration>) -> Result<Store> {
    let wrong = || Error::invalid(format!("`{}` names no object of a bucket", config.url));
    let rest = config.url.strip_prefix("s3://").ok_or_else(wrong)?;
    let (bucket, key) = rest.split_once('/').ok_or_else(wrong)?;
    let options = ClientOptions::new().with_connect_timeout(CONNECT_PATIENCE).with_allow_http(true);
    let (options, retry) = match patience {
        Some(patience) => (options.with_timeout(patience), RetryConfig::default()),
        None => {
            // Whoever reads tries again; a place that stands in must not wait for minutes.
            let retry_timeout = CONNECT_PATIENCE;
            let retry = RetryConfig { max_retries: 3, retry_timeout, ..RetryConfig::default() };
            (options.with_timeout_disabled(), retry)
        }
    };
    // What the environment has for AWS programs comes first, what is set here over it.
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_client_options(options)
        .with_retry(retry)
        .with_skip_signature(config.anonymous);
    if let Some(region) = &config.region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = &config.endpoint {
        builder = builder.with_endpoint(endpoint).with_virtual_hosted_style_request(false);
    }
    if let Some((id, secret, token)) = &config.keys {
        builder = builder.with_access_key_id(id).with_secret_access_key(secret);
        if let Some(token) = token {
            builder = builder.with_token(token);
        }
    }
    let objects = builder.build().map_err(|error| {
        Error::invalid(format!("the bucket of {} cannot be reached", config.url)).with_source(error)
    })?;
    let root = format!("s3://{bucket}/");
    Ok(Store { objects: Arc::new(objects), root, key: key.to_owned() })
}

/// The cluster of `hdfs://namenode:port/path`.
///
/// # Errors
///
/// `Invalid` when the URL names no file of a cluster.
pub fn hdfs(url: &str) -> Result<Store> {
    let wrong = || Error::invalid(format!("`{url}` names no file of HDFS"));
    let parsed = Url::parse(url).map_err(|error| wrong().with_source(error))?;
    let host = parsed.host_str().ok_or_else(wrong)?;
    let port = parsed.port().map(|port| format!(":{port}")).unwrap_or_default();
    let cluster = format!("hdfs://{host}{port}");
    let key = url.get(cluster.len() + 1..).ok_or_else(wrong)?;
    let objects = HdfsObjectStoreBuilder::new().with_url(&cluster).build().map_err(|error| {
        Error::invalid(format!("{cluster} cannot be reached")).with_source(error)
    })?;
    let root = format!("{cluster}/");
    Ok(Store { objects: Arc::new(objects), root, key: key.to_owned() })
}
