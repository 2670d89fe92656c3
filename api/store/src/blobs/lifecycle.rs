//! What a bucket takes away by itself: a net below this program's own retention, which alone knows of favourites.

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration,
    LifecycleRule, LifecycleRuleFilter,
};

use super::s3::told;
use super::{BlobError, S3Blobs};

/// After how many days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifecycle {
    /// What was handed in for one job; none: never.
    pub handed_in: Option<u32>,
    /// Pictures, favourites too: a bucket cannot tell them apart. None: never.
    pub pictures: Option<u32>,
}

/// One rule as the bucket has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BucketRule {
    pub id: String,
    /// Of the names that it is about.
    pub prefix: String,
    /// Days after which they are taken away.
    pub expire: Option<u32>,
    /// Days after which an upload that was begun and never finished is.
    pub abort: Option<u32>,
}

impl S3Blobs {
    /// Sets the rules for what lies under the prefix, in the place of those that this program set before; rules
    /// of others stay. Gives what the bucket says afterwards.
    ///
    /// # Errors
    /// The server refuses, knows no lifecycles, or did not take a rule.
    pub async fn set_lifecycle(&self, lifecycle: Lifecycle) -> Result<Vec<BucketRule>, BlobError> {
        let mine = self.mark();
        let mut rules = self.rules().await?;
        rules.retain(|rule| !rule.id().is_some_and(|id| id.starts_with(&mine)));
        let wanted = self.wanted(lifecycle);
        for rule in &wanted {
            rules.push(rule.to_s3().map_err(|e| self.failed(e.to_string()))?);
        }
        let all = BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build();
        let all = all.map_err(|e| self.failed(e.to_string()))?;
        let put = self.client().put_bucket_lifecycle_configuration().bucket(self.bucket());
        let sent = put.lifecycle_configuration(all).send().await;
        sent.map_err(|e| self.failed(told(&e)))?;
        let kept = self.lifecycle().await?;
        match wanted.iter().find(|rule| !kept.contains(rule)) {
            Some(rule) => Err(self.failed(format!("the server did not keep the rule {}", rule.id))),
            None => Ok(kept),
        }
    }

    /// All rules of the bucket.
    ///
    /// # Errors
    /// The server refuses, or knows no lifecycles.
    pub async fn lifecycle(&self) -> Result<Vec<BucketRule>, BlobError> {
        let mut rules: Vec<BucketRule> = self.rules().await?.iter().map(BucketRule::of_s3).collect();
        rules.sort();
        Ok(rules)
    }

    async fn rules(&self) -> Result<Vec<LifecycleRule>, BlobError> {
        let get = self.client().get_bucket_lifecycle_configuration().bucket(self.bucket());
        match get.send().await {
            Ok(found) => Ok(found.rules.unwrap_or_default()),
            Err(e) if e.code() == Some("NoSuchLifecycleConfiguration") => Ok(Vec::new()),
            Err(e) => Err(self.failed(told(&e))),
        }
    }

    /// What this program's rules for this prefix begin with.
    fn mark(&self) -> String {
        format!("imagine:{}:", self.name(""))
    }

    fn wanted(&self, lifecycle: Lifecycle) -> Vec<BucketRule> {
        let rule = |name: &str, below: &str, expire: Option<u32>, abort: Option<u32>| BucketRule {
            id: format!("{}{name}", self.mark()),
            prefix: self.name(below),
            expire,
            abort,
        };
        let mut rules = vec![
            // Parts of a process that died are seen by nobody, and paid for.
            rule("unfinished", "", None, Some(1)),
            rule("checks", "check/", Some(1), None),
        ];
        let handed_in = lifecycle.handed_in.map(|days| rule("uploads", "uploads/", Some(days.max(1)), None));
        let pictures = lifecycle.pictures.map(|days| rule("images", "images/", Some(days.max(1)), None));
        rules.extend(handed_in.into_iter().chain(pictures));
        rules
    }

    fn failed(&self, problem: String) -> BlobError {
        BlobError::Failed { key: format!("lifecycle of {}", self.bucket()), problem }
    }
}

impl BucketRule {
    fn to_s3(&self) -> Result<LifecycleRule, aws_sdk_s3::error::BuildError> {
        let days = |days: u32| i32::try_from(days).unwrap_or(i32::MAX);
        let expire = self.expire.map(|after| LifecycleExpiration::builder().days(days(after)).build());
        let abort = self.abort.map(|after| {
            AbortIncompleteMultipartUpload::builder().days_after_initiation(days(after)).build()
        });
        LifecycleRule::builder()
            .id(&self.id)
            .status(ExpirationStatus::Enabled)
            .filter(LifecycleRuleFilter::builder().prefix(&self.prefix).build())
            .set_expiration(expire)
            .set_abort_incomplete_multipart_upload(abort)
            .build()
    }

    fn of_s3(rule: &LifecycleRule) -> Self {
        let days = |days: Option<i32>| days.and_then(|days| u32::try_from(days).ok());
        Self {
            id: rule.id().unwrap_or_default().to_owned(),
            prefix: rule.filter().and_then(|filter| filter.prefix()).unwrap_or_default().to_owned(),
            expire: days(rule.expiration().and_then(|expiration| expiration.days())),
            abort: days(
                rule.abort_incomplete_multipart_upload().and_then(|abort| abort.days_after_initiation()),
            ),
        }
    }
}
