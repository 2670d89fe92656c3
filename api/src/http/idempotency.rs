//! `Idempotency-Key`: a request that is sent twice happens once.

use axum::http::HeaderMap;
use imagine_store::{Idempotency, Reservation};

use super::auth::Caller;
use crate::app::App;
use crate::error::{Outcome, Problem};

/// The header, checked.
pub(crate) fn idempotency(headers: &HeaderMap, body_sha256: [u8; 32]) -> Outcome<Option<Idempotency>> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=255).contains(&key.len()));
    let wrong = || Problem::field("Idempotency-Key", "an Idempotency-Key is 1 to 255 plain characters");
    Ok(Some(Idempotency { key: key.ok_or_else(wrong)?.to_owned(), body_sha256 }))
}

/// Reserves the key, if there is one, before work that is not to be done twice; gives the id of what came of the
/// request when it was made before. [`give_back`] is for work that then fails.
pub(crate) async fn reserve(
    app: &App,
    caller: &Caller,
    key: Option<&Idempotency>,
) -> Outcome<Option<String>> {
    let Some(key) = key else { return Ok(None) };
    match app.store().reserve(&caller.tenant, key).await? {
        Reservation::New => Ok(None),
        Reservation::Done(id) => Ok(Some(id)),
    }
}

/// Frees a reserved key that nothing came of, so that the request may be corrected and sent again.
pub(crate) async fn give_back(app: &App, caller: &Caller, key: Option<&Idempotency>) {
    let Some(key) = key else { return };
    if let Err(error) = app.store().unreserve(&caller.tenant, &key.key).await {
        tracing::warn!(%error, "an idempotency key could not be freed; it will be in five minutes");
    }
}
