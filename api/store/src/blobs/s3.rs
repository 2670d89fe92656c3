use std::fmt;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedHttpClient,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use bytes::Bytes;
use zeroize::Zeroizing;

use super::{BlobError, BlobInfo, BlobKey, Blobs};

/// Bytes of one part of a large upload; S3 wants at least 5 MiB.
const PART: usize = 8 << 20;
/// From here on an upload is made in parts.
const LARGE: usize = 2 * PART;
const LONGEST_ADDRESS: Duration = Duration::from_secs(15 * 60);

/// Where S3 is looked for where nothing says it: servers that are not Amazon's mostly take any region.
const USUAL_REGION: &str = "us-east-1";

/// Where the bucket is and who may use it.
#[derive(Clone)]
pub struct S3Options {
    /// E.g. `https://s3.example.org`; Amazon's own if left out.
    pub endpoint: Option<String>,
    /// That of the `AWS_*` variables or the profile if left out.
    pub region: Option<String>,
    pub bucket: String,
    /// In front of every key, without a slash at its end; may be empty.
    pub prefix: String,
    pub access: S3Access,
}

/// Whose rights are used.
#[derive(Clone)]
pub enum S3Access {
    Key {
        id: String,
        secret: Zeroizing<String>,
    },
    /// What Amazon's own tools would take, in their order: `AWS_*` variables, the profile in `~/.aws`, a web
    /// identity as Kubernetes gives it, the role of a container or machine. Renewed before it runs out.
    Standard,
}

impl fmt::Debug for S3Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, region, bucket, prefix, .. } = self;
        write!(f, "S3Options({endpoint:?}, {region:?}, {bucket}/{prefix})")
    }
}

/// A bucket.
///
/// Checksums are added only where the protocol demands them and the bucket is a part of the path: several
/// stores that speak S3 know nothing else. Nothing relies on conditional writes.
#[derive(Clone)]
pub struct S3Blobs {
    client: Client,
    bucket: String,
    prefix: String,
}

impl fmt::Debug for S3Blobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3Blobs({}/{})", self.bucket, self.prefix)
    }
}

impl S3Blobs {
    /// Nothing is sent to the bucket yet; [`Blobs::check`] does.
    ///
    /// # Errors
    /// The prefix is no key.
    pub async fn open(options: S3Options) -> Result<Self, BlobError> {
        let S3Options { endpoint, region, bucket, prefix, access } = options;
        let prefix = prefix.trim_matches('/').to_owned();
        if !prefix.is_empty() {
            prefix.parse::<BlobKey>()?;
        }
        let mut config = match access {
            S3Access::Key { id, secret } => aws_sdk_s3::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new(region.unwrap_or_else(|| USUAL_REGION.into())))
                .credentials_provider(Credentials::new(id, secret.as_str(), None, None, "imagine"))
                .http_client(http_client()),
            S3Access::Standard => aws_sdk_s3::config::Builder::from(&standard(region).await),
        };
        // Without one, whatever the variables or the profile name.
        if endpoint.is_some() {
            config.set_endpoint_url(endpoint);
        }
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(Duration::from_secs(30))
            .build();
        let config = config
            .force_path_style(true)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenSupported)
            .timeout_config(timeouts)
            .build();
        Ok(Self { client: Client::from_conf(config), bucket, prefix })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The key's name in the bucket.
    pub(super) fn name(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.into() } else { format!("{}/{key}", self.prefix) }
    }

    async fn put_in_parts(&self, key: &BlobKey, bytes: Bytes, content_type: &str) -> Result<(), BlobError> {
        let name = self.name(key.as_str());
        let begin = self.client.create_multipart_upload().bucket(&self.bucket).key(&name);
        let begun = begin.content_type(content_type).send().await.map_err(|e| failed(key, e))?;
        let nothing =
            || BlobError::Failed { key: key.to_string(), problem: "the server gave no upload id".into() };
        let upload = begun.upload_id().ok_or_else(nothing)?;
        match self.put_parts(key, &name, upload, bytes).await {
            Ok(()) => Ok(()),
            Err(e) => {
                // The parts would be kept, and paid for, for ever.
                let abort = self.client.abort_multipart_upload().bucket(&self.bucket).key(&name);
                if let Err(e) = abort.upload_id(upload).send().await {
                    tracing::warn!(%key, error = told(&e), "an unfinished upload could not be taken back");
                }
                Err(e)
            }
        }
    }

    async fn put_parts(
        &self,
        key: &BlobKey,
        name: &str,
        upload: &str,
        bytes: Bytes,
    ) -> Result<(), BlobError> {
        let mut parts = Vec::new();
        for (number, start) in (1..).zip((0..bytes.len()).step_by(PART)) {
            let part = bytes.slice(start..bytes.len().min(start + PART));
            let put = self.client.upload_part().bucket(&self.bucket).key(name).upload_id(upload);
            let put = put.part_number(number).body(ByteStream::from(part)).send().await;
            let tag = put.map_err(|e| failed(key, e))?.e_tag;
            parts.push(CompletedPart::builder().part_number(number).set_e_tag(tag).build());
        }
        let all = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let finish = self.client.complete_multipart_upload().bucket(&self.bucket).key(name).upload_id(upload);
        finish.multipart_upload(all).send().await.map(drop).map_err(|e| failed(key, e))
    }

    async fn read(&self, key: &BlobKey, range: Option<String>) -> Result<Bytes, BlobError> {
        let get = self.client.get_object().bucket(&self.bucket).key(self.name(key.as_str()));
        let got = get.set_range(range).send().await.map_err(|e| failed(key, e))?;
        let body = got.body.collect().await;
        body.map(|all| all.into_bytes())
            .map_err(|e| BlobError::Failed { key: key.to_string(), problem: e.to_string() })
    }
}

fn http_client() -> SharedHttpClient {
    Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}

/// The standard chain. Of regions, those that need no request: a machine's own metadata are asked for rights only.
async fn standard(region: Option<String>) -> SdkConfig {
    let regions = RegionProviderChain::first_try(region.map(Region::new))
        .or_else(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new())
        .or_else(Region::from_static(USUAL_REGION));
    let loader = aws_config::defaults(BehaviorVersion::latest());
    loader.http_client(http_client()).region(regions).load().await
}

fn failed<E>(key: &BlobKey, error: SdkError<E>) -> BlobError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    if matches!(code, Some("NoSuchKey" | "NotFound")) || (status == Some(404) && code.is_none()) {
        return BlobError::NotFound(key.to_string());
    }
    BlobError::Failed { key: key.to_string(), problem: told(&error) }
}

/// What went wrong, for people: the server's own words, or how it could not be asked. The kit's own text has the whole
/// answer in it, headers and all.
pub(super) fn told<E>(error: &SdkError<E>) -> String
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    let Some(answer) = error.raw_response().filter(|_| error.as_service_error().is_some()) else {
        return causes(error);
    };
    let status = answer.status().as_u16();
    match (error.message(), error.code()) {
        (Some(message), Some(code)) => format!("{message} ({code}, HTTP {status})"),
        (Some(one), None) | (None, Some(one)) => format!("{one} (HTTP {status})"),
        // It was understood as another request, as servers do that know only some.
        (None, None) if status < 300 => format!("the server does not know this request (HTTP {status})"),
        (None, None) => format!("the server answered with HTTP {status}"),
    }
}

/// An error and what it came from, each said once.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}

#[async_trait]
impl Blobs for S3Blobs {
    async fn put(&self, key: &BlobKey, bytes: Bytes, content_type: &str) -> Result<(), BlobError> {
        if bytes.len() >= LARGE {
            return self.put_in_parts(key, bytes, content_type).await;
        }
        let put = self.client.put_object().bucket(&self.bucket).key(self.name(key.as_str()));
        let sent = put.content_type(content_type).body(ByteStream::from(bytes)).send().await;
        sent.map(drop).map_err(|e| failed(key, e))
    }

    async fn get(&self, key: &BlobKey) -> Result<Bytes, BlobError> {
        self.read(key, None).await
    }

    async fn range(&self, key: &BlobKey, range: Range<u64>) -> Result<Bytes, BlobError> {
        // S3 refuses a range that is empty or begins behind the end.
        let bytes = self.head(key).await?.ok_or_else(|| BlobError::NotFound(key.to_string()))?.bytes;
        let end = range.end.min(bytes);
        if range.start >= end {
            return Ok(Bytes::new());
        }
        self.read(key, Some(format!("bytes={}-{}", range.start, end - 1))).await
    }

    async fn head(&self, key: &BlobKey) -> Result<Option<BlobInfo>, BlobError> {
        let head = self.client.head_object().bucket(&self.bucket).key(self.name(key.as_str()));
        match head.send().await.map_err(|e| failed(key, e)) {
            Ok(found) => {
                let bytes = u64::try_from(found.content_length.unwrap_or_default()).unwrap_or_default();
                Ok(Some(BlobInfo { bytes }))
            }
            Err(BlobError::NotFound(_)) => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn delete(&self, key: &BlobKey) -> Result<(), BlobError> {
        let delete = self.client.delete_object().bucket(&self.bucket).key(self.name(key.as_str()));
        match delete.send().await.map_err(|e| failed(key, e)) {
            Ok(_) | Err(BlobError::NotFound(_)) => Ok(()),
            Err(e) => Err(e),
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<BlobKey>, BlobError> {
        let mut keys: Vec<BlobKey> = Vec::new();
        let mut after = after.map(|after| self.name(after));
        let own = if self.prefix.is_empty() { String::new() } else { format!("{}/", self.prefix) };
        while keys.len() < limit {
            let most = i32::try_from(limit - keys.len()).unwrap_or(1000).min(1000);
            let list = self.client.list_objects_v2().bucket(&self.bucket).prefix(self.name(prefix));
            let listed = list.set_start_after(after.clone()).max_keys(most).send().await;
            let listed = listed.map_err(|e| BlobError::Failed { key: prefix.into(), problem: told(&e) })?;
            let names = || listed.contents().iter().filter_map(|object| object.key());
            // What others put there under names of their own is left alone.
            keys.extend(names().filter_map(|name| name.strip_prefix(&own)?.parse().ok()));
            after = names().next_back().map(str::to_owned);
            if listed.is_truncated != Some(true) || after.is_none() {
                break;
            }
        }
        Ok(keys)
    }

    async fn presigned(&self, key: &BlobKey, time: Duration) -> Result<Option<String>, BlobError> {
        let wrong = |e: String| BlobError::Failed { key: key.to_string(), problem: e };
        let config =
            PresigningConfig::expires_in(time.min(LONGEST_ADDRESS)).map_err(|e| wrong(e.to_string()))?;
        let get = self.client.get_object().bucket(&self.bucket).key(self.name(key.as_str()));
        let signed = get.presigned(config).await.map_err(|e| failed(key, e))?;
        Ok(Some(signed.uri().to_owned()))
    }

    async fn check(&self) -> Result<(), BlobError> {
        let key: BlobKey = format!("check/{}", uuid::Uuid::now_v7().simple()).parse()?;
        self.put(&key, Bytes::from_static(b"ok"), "text/plain").await?;
        self.delete(&key).await
    }
}
