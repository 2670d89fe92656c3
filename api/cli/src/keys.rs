//! `imagine keys`: who may use a server that others reach, and how receivers know its webhooks.

use clap::{Args, Subcommand};
use imagine_api::webhook_secret;
use imagine_store::{ApiKey, KeyId, Millis, Priority};

use crate::failure::Failure;
use crate::serve::{ConfigArgs, open_archive, runtime};

const EXAMPLES: &str = "\
Examples:
  imagine keys add laptop
  imagine keys add front-desk --priority high
  imagine keys list
  imagine keys revoke key_0198c0de0198c0de0198c0de0198c0de
  imagine keys webhook-secret

They work on the database that `imagine serve` would use with the same settings; a running server sees them at once.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make a key; it is shown this once
    Add {
        /// What it is for, for people
        name: String,
        /// Whose people, jobs and pictures it opens; those of its own name if left out
        #[arg(long)]
        tenant: Option<String>,
        /// The highest class that its jobs may ask for: high, normal, low
        #[arg(long, value_name = "CLASS", default_value = "normal", value_parser = class)]
        priority: Priority,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// List all keys, without the keys themselves
    List {
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Change the highest class that a key's jobs may ask for
    Priority {
        /// As `list` shows it
        id: String,
        /// high, normal, low
        #[arg(value_parser = class)]
        class: Priority,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Make a key useless
    Revoke {
        /// As `list` shows it
        id: String,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Show the secret with which receivers check that a webhook is this server's
    WebhookSecret {
        #[command(flatten)]
        config: ConfigArgs,
    },
}

pub fn run(args: &KeysArgs) -> Result<(), Failure> {
    let (KeysCommand::Add { config, .. }
    | KeysCommand::List { config }
    | KeysCommand::Priority { config, .. }
    | KeysCommand::Revoke { config, .. }
    | KeysCommand::WebhookSecret { config }) = &args.command;
    let config = config.config()?;
    runtime()?.block_on(async {
        let archive = open_archive(&config).await?;
        let store = &archive.store;
        match &args.command {
            KeysCommand::Add { name, tenant, priority, .. } => {
                let tenant = tenant.as_deref().unwrap_or(name);
                let made = store.add_key(tenant, name).await.map_err(Failure::failed)?;
                if *priority != made.key.highest {
                    store.set_key_priority(made.key.id, *priority).await.map_err(Failure::failed)?;
                }
                println!("{}", made.secret);
                eprintln!("note: {} for {tenant}; it is not shown again", made.key.id);
            }
            KeysCommand::List { .. } => {
                for key in store.keys(None).await.map_err(Failure::failed)? {
                    println!("{}", line(&key));
                }
            }
            KeysCommand::Priority { id, class, .. } => {
                let id: KeyId = id.parse().map_err(Failure::input)?;
                if !store.set_key_priority(id, *class).await.map_err(Failure::failed)? {
                    return Err(Failure::input(format!("there is no key {id}")));
                }
            }
            KeysCommand::Revoke { id, .. } => {
                let id: KeyId = id.parse().map_err(Failure::input)?;
                if !store.revoke_key(id).await.map_err(Failure::failed)? {
                    return Err(Failure::input(format!("there is no key {id} that could be revoked")));
                }
            }
            KeysCommand::WebhookSecret { .. } => println!("{}", webhook_secret(&config, &archive).expose()),
        }
        Ok(())
    })
}

fn class(name: &str) -> Result<Priority, String> {
    Priority::of_name(name).ok_or_else(|| "high, normal or low is needed".into())
}

/// Columns between tabs; times are Unix seconds.
fn line(key: &ApiKey) -> String {
    let state = if key.revoked.is_some() { "revoked" } else { "valid" };
    let used = key.used.map(Millis::seconds).map_or("never".into(), |seconds| seconds.to_string());
    let created = key.created.seconds();
    format!(
        "{}\t{}…\t{}\t{}\t{state}\tcreated {created}\tused {used}\tup to {}",
        key.id,
        key.prefix,
        key.name,
        key.tenant,
        key.highest.name()
    )
}
