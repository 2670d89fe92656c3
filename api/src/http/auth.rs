//! Who asks.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::StreamExt;
use imagine_store::{KeyId, Priority};

use super::origin;
use super::signed_url::Signature;
use crate::app::{App, now};
use crate::error::{Code, Outcome, Problem};

/// Whose request it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Owner of everything that is made and seen.
    pub tenant: String,
    /// Whose turn in the queue it uses: the key's id, or the tenant.
    pub owner: String,
    /// No higher class may be asked for.
    pub highest: Priority,
    /// The key that came with the request.
    pub key: Option<KeyId>,
}

/// How often a stream that stays open looks whether its key still counts.
const LOOK: Duration = Duration::from_secs(3);

impl Caller {
    /// The only user of a server without keys: whoever sits at it.
    fn local() -> Self {
        Self { tenant: "local".into(), owner: "local".into(), highest: Priority::High, key: None }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Outcome<Self> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Problem::internal("a route without a caller"))
    }
}

/// Finds out who asks, and counts the request.
pub(crate) async fn authenticate(State(app): State<App>, request: Request, next: Next) -> Outcome<Response> {
    let light = is_light(&request);
    let (parts, body) = request.into_parts();
    let caller = find(&app, &parts).await?;
    let mut request = Request::from_parts(parts, body);
    if !light {
        app.rate.check(&caller.owner)?;
    }
    let key = caller.key;
    request.extensions_mut().insert(caller);
    let response = next.run(request).await;
    Ok(match key.filter(|_| is_stream(&response)) {
        Some(key) => while_valid(app, key, response),
        None => response,
    })
}

fn is_stream(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// A stream that ends soon after its key was revoked; the next request is refused anyway.
fn while_valid(app: App, key: KeyId, response: Response) -> Response {
    let revoked = async move {
        loop {
            tokio::time::sleep(LOOK).await;
            match app.store().key_counts(key).await {
                Ok(true) => {}
                Ok(false) => return,
                // A database that is gone for a moment is no reason.
                Err(error) => tracing::warn!(%error, "a stream's key could not be looked at"),
            }
        }
    };
    response.map(|body| Body::from_stream(body.into_data_stream().take_until(Box::pin(revoked))))
}

/// Pictures and events are many and cheap: a page of a gallery alone asks for dozens.
fn is_light(request: &Request) -> bool {
    let path = request.uri().path();
    request.method() == Method::GET && (path.starts_with("/v1/images/") || path.ends_with("/events"))
}

async fn find(app: &App, request: &Parts) -> Outcome<Caller> {
    let bearer = bearer(&request.headers);
    let wants_keys = app.wants_keys();
    // OpenAI's clients always send a key, and people write anything there for a server that needs none.
    if let Some(secret) = bearer.filter(|secret| wants_keys || secret.starts_with("imk_")) {
        let unknown = || Problem::new(Code::InvalidKey, "this API key is not known, or was revoked");
        let key = app.store().find_key(secret).await?.ok_or_else(unknown)?;
        let (owner, id) = (key.id.to_string(), Some(key.id));
        return Ok(Caller { tenant: key.tenant, owner, highest: key.highest, key: id });
    }
    if !wants_keys {
        origin::check(&request.headers, &app.config.server)?;
        return Ok(Caller::local());
    }
    if let Some(tenant) = of_link(app, request) {
        return Ok(Caller { owner: tenant.clone(), tenant, highest: Priority::default(), key: None });
    }
    let detail = "send an API key: Authorization: Bearer imk_…; `imagine keys add` makes one";
    Err(Problem::new(Code::MissingKey, detail))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, secret) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

fn of_link(app: &App, request: &Parts) -> Option<String> {
    let reads = request.method == Method::GET || request.method == Method::HEAD;
    let Query(signature) = Query::<Signature>::try_from_uri(&request.uri).ok()?;
    app.signer.check(request.uri.path(), &signature, now()).filter(|_| reads)
}
