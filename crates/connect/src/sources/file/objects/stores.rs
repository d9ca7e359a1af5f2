//! S3 and HDFS, by way of `object_store`.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _};
use glob::Pattern;
use hdfs_native_object_store::HdfsObjectStoreBuilder;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path as ObjectPath;
use object_store::{
    ClientOptions, GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt as _, RetryConfig,
};
use thalweg_core::error::{Error, Result};
use url::Url;

use super::{LISTED_MAX, Look, Objects, Opened, PATIENCE, unavailable};
use crate::sources::file::S3Config;
use crate::sources::file::files::{Listed, ReadError};
use crate::sources::file::pattern::OPTIONS;

/// Objects of one bucket or cluster that match.
pub(in crate::sources::file) struct StoredObjects {
    store: Arc<dyn ObjectStore>,
    // What stands in front of every key, such as `s3://bucket/`.
    root: String,
    keys: Keys,
}

/// Which objects.
#[derive(Debug)]
enum Keys {
    One(ObjectPath),
    Matching { folder: ObjectPath, pattern: Pattern },
}

impl Keys {
    /// # Errors
    ///
    /// `Invalid` when a wildcard is malformed.
    fn parse(key: &str) -> Result<Self> {
        let wild = key.split('/').position(|name| name.contains(['*', '?', '[']));
        if wild.is_none() && !key.is_empty() && !key.ends_with('/') {
            return Ok(Self::One(path(key)?));
        }
        let folder: Vec<&str> = key.split('/').take(wild.unwrap_or(usize::MAX)).collect();
        let text = if wild.is_some() { key.to_owned() } else { format!("{key}**") };
        let pattern = Pattern::new(&text).map_err(|error| {
            Error::invalid(format!("`{key}` is no pattern for names of files")).with_source(error)
        })?;
        Ok(Self::Matching { folder: path(folder.join("/").trim_end_matches('/'))?, pattern })
    }
}

fn path(key: &str) -> Result<ObjectPath> {
    ObjectPath::parse(key)
        .map_err(|error| Error::invalid(format!("`{key}` names no object")).with_source(error))
}

impl StoredObjects {
    /// Objects of an S3 bucket.
    pub(in crate::sources::file) fn s3(config: &S3Config) -> Result<Self> {
        let wrong = || Error::invalid(format!("`{}` names no object of a bucket", config.url));
        let rest = config.url.strip_prefix("s3://").ok_or_else(wrong)?;
        let (bucket, key) = rest.split_once('/').ok_or_else(wrong)?;
        let options = ClientOptions::new()
            .with_connect_timeout(PATIENCE)
            .with_timeout_disabled()
            .with_allow_http(true);
        // What the environment has for AWS programs comes first, what is set here over it.
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_client_options(options)
            // Whoever reads tries again; a place that stands in must not wait for minutes.
            .with_retry(RetryConfig {
                max_retries: 3,
                retry_timeout: PATIENCE,
                ..Default::default()
            })
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
        let store = builder.build().map_err(|error| {
            Error::invalid(format!("the bucket of {} cannot be reached", config.url))
                .with_source(error)
        })?;
        let root = format!("s3://{bucket}/");
        Ok(Self { store: Arc::new(store), root, keys: Keys::parse(key)? })
    }

    /// Files of an HDFS cluster.
    pub(in crate::sources::file) fn hdfs(url: &str) -> Result<Self> {
        let wrong = || Error::invalid(format!("`{url}` names no file of HDFS"));
        let parsed = Url::parse(url).map_err(|error| wrong().with_source(error))?;
        let host = parsed.host_str().ok_or_else(wrong)?;
        let port = parsed.port().map(|port| format!(":{port}")).unwrap_or_default();
        let cluster = format!("hdfs://{host}{port}");
        let key = url.get(cluster.len() + 1..).ok_or_else(wrong)?;
        let store = HdfsObjectStoreBuilder::new().with_url(&cluster).build().map_err(|error| {
            Error::invalid(format!("{cluster} cannot be reached")).with_source(error)
        })?;
        Ok(Self { store: Arc::new(store), root: format!("{cluster}/"), keys: Keys::parse(key)? })
    }

    fn listed(&self, meta: &ObjectMeta) -> Listed {
        let Look { size, tag } = look(meta);
        Listed { path: format!("{}{}", self.root, meta.location), size, tag }
    }

    fn key(&self, path: &str) -> Result<ObjectPath, ReadError> {
        let key = path.strip_prefix(&self.root).and_then(|key| ObjectPath::parse(key).ok());
        key.ok_or(ReadError::Gone)
    }

    fn cannot_list(&self, error: object_store::Error) -> Error {
        let refused = matches!(
            error,
            object_store::Error::PermissionDenied { .. }
                | object_store::Error::Unauthenticated { .. }
        );
        let cannot = Error::unavailable(format!("cannot list {}", self.root)).with_source(error);
        match refused {
            true => cannot.with_hint("Set keys that may read it, or `anonymous = true`."),
            false => cannot,
        }
    }
}

fn look(meta: &ObjectMeta) -> Look {
    let changed = || format!("{}-{}", meta.last_modified.timestamp_micros(), meta.size);
    Look { size: meta.size, tag: Some(meta.e_tag.clone().unwrap_or_else(changed)) }
}

fn cannot_read(path: &str, error: object_store::Error) -> ReadError {
    match error {
        object_store::Error::NotFound { .. } => ReadError::Gone,
        error => unavailable(path, error),
    }
}

#[async_trait]
impl Objects for StoredObjects {
    async fn list(&self) -> Result<Vec<Listed>> {
        let (folder, pattern) = match &self.keys {
            Keys::One(key) => {
                return match self.store.head(key).await {
                    Ok(meta) => Ok(vec![self.listed(&meta)]),
                    Err(object_store::Error::NotFound { .. }) => Ok(Vec::new()),
                    Err(error) => Err(self.cannot_list(error)),
                };
            }
            Keys::Matching { folder, pattern } => (folder, pattern),
        };
        let folder = (!folder.as_ref().is_empty()).then_some(folder);
        let mut objects = self.store.list(folder);
        let mut listed = Vec::new();
        while let Some(meta) = objects.try_next().await.map_err(|error| self.cannot_list(error))? {
            if !pattern.matches_with(meta.location.as_ref(), OPTIONS) {
                continue;
            }
            if listed.len() == LISTED_MAX {
                let message = format!("more than {LISTED_MAX} files match in {}", self.root);
                return Err(Error::invalid(message));
            }
            listed.push(self.listed(&meta));
        }
        Ok(listed)
    }

    async fn look(&self, path: &str) -> Result<Look, ReadError> {
        let meta = self.store.head(&self.key(path)?).await;
        Ok(look(&meta.map_err(|error| cannot_read(path, error))?))
    }

    async fn open(&self, path: &str, range: Range<u64>) -> Result<Opened, ReadError> {
        let options = GetOptions::new().with_range(Some(range));
        let got = self.store.get_opts(&self.key(path)?, options).await;
        let got = got.map_err(|error| cannot_read(path, error))?;
        let look = look(&got.meta);
        Ok(Opened { look, bytes: got.into_stream().map_err(io::Error::other).boxed() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_one_or_many() {
        let matches = |text: &str, key: &str| match Keys::parse(text).expect("keys") {
            Keys::One(one) => one.as_ref() == key,
            Keys::Matching { folder, pattern } => {
                assert!(key.starts_with(folder.as_ref()), "{folder} of {key}");
                pattern.matches_with(key, OPTIONS)
            }
        };
        assert!(matches("a/b.csv", "a/b.csv") && matches("a/*.csv", "a/b.csv"));
        assert!(!matches("a/*.csv", "a/x/b.csv") && matches("a/**/*.csv", "a/x/b.csv"));
        assert!(matches("a/", "a/x/b.csv") && matches("", "a/b.csv"));
        assert!(matches("a/2024-*/x?.csv", "a/2024-01/x1.csv"));
        assert!(Keys::parse("a/[b").is_err());
    }
}
