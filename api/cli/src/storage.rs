//! `imagine storage`: the place where a service keeps things.

use clap::{Args, Subcommand};
use imagine_api::Config;
use imagine_store::{BucketRule, Lifecycle, S3Blobs};

use crate::failure::Failure;
use crate::serve::{ConfigArgs, bucket, open_archive, runtime};

const EXAMPLES: &str = "\
Examples:
  imagine storage check
  imagine storage lifecycle --blobs s3://imagine/pictures
  imagine storage lifecycle --set --blobs s3://imagine/pictures

They work on what `imagine serve` would use with the same settings.";

const LIFECYCLE: &str = "\
With --set: uploads that were begun and never finished go after a day, and what was handed in for one job a day after the
service would take it away itself (keep_one_shot_hours). With --expire-pictures also pictures, after keep_jobs_days: a bucket knows no
favourites, so they go too. Rules of others stay; what the bucket says afterwards is read back and shown.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct StorageArgs {
    #[command(subcommand)]
    command: StorageCommand,
}

#[derive(Debug, Subcommand)]
enum StorageCommand {
    /// Tell whether database, pictures and master key can be used, and belong together
    Check {
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Show or set what an S3 bucket takes away by itself
    #[command(after_help = LIFECYCLE)]
    Lifecycle {
        /// Set the rules
        #[arg(long)]
        set: bool,
        /// Also for pictures, favourites too
        #[arg(long, requires = "set")]
        expire_pictures: bool,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

pub fn run(args: &StorageArgs) -> Result<(), Failure> {
    match &args.command {
        StorageCommand::Check { config } => {
            let config = config.config()?;
            runtime()?.block_on(check(&config))
        }
        StorageCommand::Lifecycle { set, expire_pictures, config } => {
            let config = config.config()?;
            let rules = if *set { Some(wanted(&config, *expire_pictures)?) } else { None };
            for rule in runtime()?.block_on(lifecycle(&config, rules))? {
                println!("{}", line(&rule));
            }
            Ok(())
        }
    }
}

async fn check(config: &Config) -> Result<(), Failure> {
    // Opening compares the master key with the database.
    let archive = open_archive(config).await?;
    archive.store.check().await.map_err(Failure::failed)?;
    println!("database: can be written, and was begun with this master key");
    archive.blobs.check().await.map_err(Failure::failed)?;
    println!("pictures: can be put and taken away in {:?}", archive.blobs);
    Ok(())
}

async fn lifecycle(config: &Config, set: Option<Lifecycle>) -> Result<Vec<BucketRule>, Failure> {
    let storage = &config.storage;
    let Some(address) = &storage.blobs else {
        return Err(Failure::input("pictures lie in a folder, which has no lifecycle").hint("--blobs s3://…"));
    };
    let bucket: S3Blobs = bucket(storage, address).await?;
    let rules = match set {
        Some(lifecycle) => bucket.set_lifecycle(lifecycle).await,
        None => bucket.lifecycle().await,
    };
    rules.map_err(Failure::failed)
}

/// A day later than the service's own rules, so that they always come first.
fn wanted(config: &Config, pictures: bool) -> Result<Lifecycle, Failure> {
    let keep = &config.keep;
    let handed_in = (keep.keep_one_shot_hours > 0).then(|| keep.keep_one_shot_hours.div_ceil(24) + 1);
    let days = keep.keep_jobs_days;
    if pictures && days == 0 {
        let refused = Failure::input("pictures are kept for ever: keep_jobs_days is 0");
        return Err(refused.hint("--keep-jobs-days N, as `imagine serve` has it"));
    }
    Ok(Lifecycle { handed_in, pictures: pictures.then_some(days + 1) })
}

/// Columns between tabs.
fn line(rule: &BucketRule) -> String {
    let days = |what: &str, days: Option<u32>| days.map(|days| format!("{what} after {days} days"));
    let does = [days("taken away", rule.expire), days("unfinished uploads ended", rule.abort)];
    let does: Vec<String> = does.into_iter().flatten().collect();
    format!("{}\t{}\t{}", rule.id, rule.prefix, does.join(", "))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use imagine_api::config::Layers;

    use super::*;

    fn rules(days: &str, hours: &str, pictures: bool) -> Result<Lifecycle, Failure> {
        let flags = [("keep_jobs_days", days.to_owned()), ("keep_one_shot_hours", hours.to_owned())];
        wanted(&Layers::default().flags(flags).unwrap().finish().unwrap(), pictures)
    }

    #[test]
    fn the_bucket_is_slower_than_the_service() {
        let both = rules("30", "25", true).unwrap();
        assert_eq!(both, Lifecycle { handed_in: Some(3), pictures: Some(31) });
        assert_eq!(rules("30", "0", false).unwrap(), Lifecycle::default());
        assert!(rules("0", "24", true).unwrap_err().to_string().contains("keep_jobs_days"));
    }
}
