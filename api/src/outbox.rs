//! Tells those who asked for it that their jobs have ended.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use imagine_store::{Archive, Notice, Webhook};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::app::{App, Parts, now};
use crate::config::{Config, Secret};
use crate::http::auth::Caller;
use crate::routes::jobs::tell;
use crate::webhook::{Caller as Client, Delivery, Signer, retry_after};

/// Calls at the same time, so that one slow receiver does not hold up the others.
const CALLS: u32 = 8;
/// Longer than any call takes.
const HOLD: Duration = Duration::from_secs(60);
/// How often it is looked by itself.
const LOOK: Duration = Duration::from_secs(5);

/// What the derived secret is derived for.
const WEBHOOKS: &str = "webhooks";

/// None where the secret of the configuration is malformed.
pub(crate) fn signer(config: &Config, parts: &Parts) -> Option<Signer> {
    Signer::of_text(webhook_secret(config, &parts.archive).expose())
}

/// The secret that receivers check webhooks with: the configured one, else the one that is derived from the master
/// key.
pub fn webhook_secret(config: &Config, archive: &Archive) -> Secret {
    let derived = || {
        let bytes = archive.vault.derive(WEBHOOKS);
        Secret::new(format!("whsec_{}", STANDARD.encode(bytes.as_slice())))
    };
    config.webhooks.webhook_secret.clone().unwrap_or_else(derived)
}

/// Delivers until it is stopped.
pub(crate) async fn run(app: App, signer: Signer) {
    let client = Client::new(app.webhooks);
    let mut notices = app.store().notices();
    loop {
        match app.store().due_webhooks(CALLS, HOLD).await {
            Ok(due) if !due.is_empty() => {
                let mut calls = JoinSet::new();
                for webhook in due {
                    calls.spawn(deliver(app.clone(), client.clone(), signer.clone(), webhook));
                }
                calls.join_all().await;
                continue;
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "webhooks that are due could not be read"),
        }
        // An ended job announces itself; retries come due silently.
        let _ = timeout(LOOK, async {
            while !matches!(notices.recv().await, Ok(Notice::Job { .. }) | Err(_)) {}
        })
        .await;
    }
}

async fn deliver(app: App, client: Client, signer: Signer, webhook: Webhook) {
    let done = match delivery(&app, &signer, &webhook).await {
        Ok(Some(delivery)) => {
            let called = tokio::task::spawn_blocking(move || client.call(&delivery)).await;
            called.unwrap_or_else(|_| Err("the call was broken off".into()))
        }
        // The job is gone: there is nothing to tell.
        Ok(None) => Ok(()),
        Err(reason) => Err(reason),
    };
    app.metrics.webhook(done.is_ok());
    let next = match &done {
        Ok(()) => None,
        Err(_) => retry_after(webhook.attempt),
    };
    if let Err(reason) = &done {
        tracing::info!(job = %webhook.job, attempt = webhook.attempt, reason, given_up = next.is_none(), "webhook failed");
    }
    let noted = match next {
        Some(wait) => app.store().webhook_retry(webhook.id, wait).await,
        None => app.store().webhook_done(webhook.id).await,
    };
    if let Err(error) = noted {
        tracing::warn!(%error, "a webhook's outcome could not be noted");
    }
}

async fn delivery(app: &App, signer: &Signer, webhook: &Webhook) -> Result<Option<Delivery>, String> {
    let job = app.store().job(&webhook.tenant, webhook.job).await.map_err(|error| error.to_string())?;
    let Some(job) = job else { return Ok(None) };
    let (tenant, owner) = (webhook.tenant.clone(), job.owner.clone());
    let caller = Caller { tenant, owner, highest: job.priority, key: None };
    let told = tell(app, &caller, &job).await.map_err(|problem| problem.detail)?;
    let timestamp = i64::try_from(now()).unwrap_or(i64::MAX);
    let kind = format!("job.{}", job.status.name());
    let body = json!({"type": kind, "timestamp": timestamp, "data": told}).to_string();
    let id = webhook.id.to_string();
    let signature = signer.signature(&id, timestamp, &body);
    Ok(Some(Delivery { url: webhook.url.clone(), id, timestamp, signature, body }))
}
