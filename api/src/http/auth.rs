//! Who asks.

use axum::extract::{FromRequestParts, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;

use imagine_store::Priority;

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
}

impl Caller {
    /// The only user of a server without keys: whoever sits at it.
    fn local() -> Self {
        Self { tenant: "local".into(), owner: "local".into(), highest: Priority::High }
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
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
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
        return Ok(Caller { tenant: key.tenant, owner: key.id.to_string(), highest: key.highest });
    }
    if !wants_keys {
        origin::check(&request.headers, &app.config.server)?;
        return Ok(Caller::local());
    }
    if let Some(tenant) = of_link(app, request) {
        return Ok(Caller { owner: tenant.clone(), tenant, highest: Priority::default() });
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
