//! Rules of a bucket. `s3s-fs` keeps none, so this bucket holds nothing but its rules; protocol, signatures and
//! XML are those of `s3s`.

use std::sync::Mutex;

use imagine_store::{BlobError, BucketRule, Lifecycle, S3Blobs};
use s3s::dto::{
    ExpirationStatus, GetBucketLifecycleConfigurationInput, GetBucketLifecycleConfigurationOutput,
    LifecycleExpiration, LifecycleRule, LifecycleRuleFilter, PutBucketLifecycleConfigurationInput,
    PutBucketLifecycleConfigurationOutput,
};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use crate::support::s3;

/// `keeps` false: takes rules and forgets them, as some servers do.
struct Bucket {
    rules: Mutex<Option<Vec<LifecycleRule>>>,
    keeps: bool,
}

#[async_trait::async_trait]
impl S3 for Bucket {
    async fn get_bucket_lifecycle_configuration(
        &self,
        _: S3Request<GetBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
        let none = || S3Error::new(S3ErrorCode::NoSuchLifecycleConfiguration);
        let rules = Some(self.rules.lock().unwrap().clone().ok_or_else(none)?);
        Ok(S3Response::new(GetBucketLifecycleConfigurationOutput { rules, ..Default::default() }))
    }

    async fn put_bucket_lifecycle_configuration(
        &self,
        request: S3Request<PutBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
        if self.keeps {
            let rules = request.input.lifecycle_configuration.map(|all| all.rules);
            *self.rules.lock().unwrap() = rules;
        }
        Ok(S3Response::new(PutBucketLifecycleConfigurationOutput::default()))
    }
}

async fn bucket(rules: Option<Vec<LifecycleRule>>, keeps: bool) -> S3Blobs {
    S3Blobs::open(s3::serve_with(Bucket { rules: Mutex::new(rules), keeps }).await).await.unwrap()
}

fn rule(id: &str, prefix: &str, expire: Option<u32>, abort: Option<u32>) -> BucketRule {
    BucketRule { id: id.into(), prefix: prefix.into(), expire, abort }
}

#[tokio::test]
async fn rules_are_set_beside_those_of_others() {
    let others = LifecycleRule {
        id: Some("backups".into()),
        status: ExpirationStatus::from_static(ExpirationStatus::ENABLED),
        filter: Some(LifecycleRuleFilter { prefix: Some("backups/".into()), ..Default::default() }),
        expiration: Some(LifecycleExpiration { days: Some(90), ..Default::default() }),
        abort_incomplete_multipart_upload: None,
        noncurrent_version_expiration: None,
        noncurrent_version_transitions: None,
        prefix: None,
        transitions: None,
    };
    let bucket = bucket(Some(vec![others]), true).await;
    let backups = rule("backups", "backups/", Some(90), None);
    assert_eq!(bucket.lifecycle().await.unwrap(), std::slice::from_ref(&backups));

    let all = bucket.set_lifecycle(Lifecycle { handed_in: Some(2), pictures: Some(30) }).await.unwrap();
    let checks = rule("imagine:imagine/:checks", "imagine/check/", Some(1), None);
    let images = rule("imagine:imagine/:images", "imagine/images/", Some(30), None);
    let unfinished = rule("imagine:imagine/:unfinished", "imagine/", None, Some(1));
    let uploads = |days| rule("imagine:imagine/:uploads", "imagine/uploads/", Some(days), None);
    assert_eq!(all, [backups.clone(), checks.clone(), images, unfinished.clone(), uploads(2)]);

    // Set again they take the place of the earlier ones.
    let all = bucket.set_lifecycle(Lifecycle { handed_in: Some(3), pictures: None }).await.unwrap();
    assert_eq!(all, [backups, checks, unfinished, uploads(3)]);
}

#[tokio::test]
async fn a_bucket_without_rules_has_none_and_one_that_forgets_them_is_found_out() {
    assert_eq!(bucket(None, true).await.lifecycle().await.unwrap(), []);
    let forgetful = bucket(None, false).await.set_lifecycle(Lifecycle::default()).await;
    assert!(matches!(&forgetful, Err(BlobError::Failed { problem, .. }) if problem.contains("unfinished")));
    let folder = tempfile::tempdir().unwrap();
    let ignorant = S3Blobs::open(s3::serve(folder.path()).await).await.unwrap();
    assert!(matches!(ignorant.lifecycle().await, Err(BlobError::Failed { .. })));
}
