//! The place where everything is kept, as the configuration names it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use imagine_api::Config;
use imagine_api::config::StorageSettings;
use imagine_store::{Archive, Blobs, LocalBlobs, Policy, S3Access, S3Blobs, S3Options, Store, Vault};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::model_lookup::data_folder;

/// Opens database, pictures and master key; what is not there is made.
///
/// # Errors
/// One of them cannot be opened; the text says which, and never a secret.
pub async fn open(config: &Config) -> Result<Archive, Failure> {
    let storage = &config.storage;
    let folder = folder(storage)?;
    let policy = Policy {
        lease: Duration::from_secs(config.worker.lease_seconds.max(3)),
        attempts: config.worker.attempts.max(1),
        queued_per_owner: config.limits.queued_jobs_per_key.into(),
        queued: config.limits.queued_jobs.into(),
        ..Policy::default()
    };
    let store = match &storage.database_url {
        Some(url) => Store::connect(url.expose(), policy).await,
        None => Store::open_file(&folder.join("imagine.db"), policy).await,
    };
    let store = store.map_err(Failure::failed)?;
    let blobs: Arc<dyn Blobs> = match &storage.blobs {
        Some(address) => Arc::new(bucket(storage, address).await?),
        None => Arc::new(LocalBlobs::open(folder.join("blobs")).map_err(Failure::failed)?),
    };
    let vault = match &storage.master_key_file {
        Some(file) => Vault::from_file(file),
        None => Vault::open_or_create(&folder.join("master.key")),
    };
    let vault = vault.map_err(Failure::failed)?;
    Archive::open(store, blobs, vault).await.map_err(Failure::failed)
}

/// The data folder, made for its owner alone where it is not there.
fn folder(storage: &StorageSettings) -> Result<PathBuf, Failure> {
    let folder = storage.data_dir.clone().or_else(data_folder).ok_or_else(|| {
        Failure::input("there is no home folder to keep things in").hint("name a folder with --data-dir")
    })?;
    make(&folder).map_err(|e| Failure::failed(format!("{}: {e}", folder.display())))?;
    Ok(folder)
}

fn make(folder: &Path) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// The bucket that an address names.
///
/// # Errors
/// The address is none, or only half of an access key is given.
pub async fn bucket(storage: &StorageSettings, address: &str) -> Result<S3Blobs, Failure> {
    S3Blobs::open(s3(storage, address)?).await.map_err(Failure::input)
}

/// `s3://BUCKET/PREFIX`, and whoever may use it.
fn s3(storage: &StorageSettings, address: &str) -> Result<S3Options, Failure> {
    let Some(path) = address.strip_prefix("s3://").filter(|path| !path.is_empty()) else {
        return Err(Failure::input(format!("\"{address}\" is no place for pictures: s3://BUCKET/PREFIX is")));
    };
    let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
    let access = match (&storage.s3_access_key_id, &storage.s3_secret_access_key) {
        (Some(id), Some(secret)) => {
            let secret = Zeroizing::new(secret.expose().to_owned());
            S3Access::Key { id: id.expose().to_owned(), secret }
        }
        (None, None) => S3Access::Standard,
        (Some(_), None) => return Err(half("s3_secret_access_key", "s3_access_key_id")),
        (None, Some(_)) => return Err(half("s3_access_key_id", "s3_secret_access_key")),
    };
    Ok(S3Options {
        endpoint: storage.s3_endpoint.clone(),
        region: storage.s3_region.clone(),
        bucket: bucket.to_owned(),
        prefix: prefix.trim_end_matches('/').to_owned(),
        access,
    })
}

fn half(missing: &str, given: &str) -> Failure {
    Failure::input(format!("{given} is set and {missing} is not"))
        .hint(format!("IMAGINE_{}", missing.to_uppercase()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use imagine_api::config::Layers;

    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Config {
        let variables = pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        Layers::default().environment(variables).finish().unwrap()
    }

    #[test]
    fn a_bucket_and_its_prefix() {
        let set = config(&[("IMAGINE_S3_ACCESS_KEY_ID", "id"), ("IMAGINE_S3_SECRET_ACCESS_KEY", "hush")]);
        let options = |address| s3(&set.storage, address).map_err(|e| e.to_string());
        let both = options("s3://pictures/of/me/").unwrap();
        assert_eq!((both.bucket.as_str(), both.prefix.as_str()), ("pictures", "of/me"));
        assert_eq!(options("s3://pictures").unwrap().prefix, "");
        assert!(options("file:///tmp").unwrap_err().contains("s3://BUCKET"));
        assert!(matches!(both.access, S3Access::Key { .. }));
        let nobody = s3(&config(&[]).storage, "s3://pictures").unwrap();
        assert!(matches!(nobody.access, S3Access::Standard));
        let half = s3(&config(&[("IMAGINE_S3_ACCESS_KEY_ID", "id")]).storage, "s3://pictures");
        assert!(half.map(drop).unwrap_err().to_string().contains("s3_secret_access_key"));
    }

    #[test]
    fn a_folder_is_made_and_holds_everything() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("data");
        let config = config(&[("IMAGINE_DATA_DIR", folder.to_str().unwrap())]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for _ in 0..2 {
            runtime.block_on(open(&config)).map(drop).unwrap();
        }
        for name in ["imagine.db", "blobs", "master.key"] {
            assert!(folder.join(name).exists(), "{name}");
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }
}
