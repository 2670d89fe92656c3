//! What stands behind the `?`, read so that a mistake is named.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::error::{Outcome, Problem};

/// The query as a `T`.
pub(crate) struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Outcome<Self> {
        of_text(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

fn of_text<T: DeserializeOwned>(text: &str) -> Outcome<T> {
    let reader = serde_urlencoded::Deserializer::new(url::form_urlencoded::parse(text.as_bytes()));
    serde_path_to_error::deserialize(reader).map_err(|error| {
        let (name, why): (String, _) = (error.path().to_string(), error.inner());
        Problem::field(&name, format!("\"{name}\": {why}"))
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::error::Code;
    use crate::http::list::Page;

    #[test]
    fn a_mistake_is_named() {
        let page: Page = of_text("limit=3&after=a%20b").unwrap();
        assert_eq!((page.limit, page.after.as_deref()), (Some(3), Some("a b")));
        let problem = of_text::<Page>("after=x&limit=many").unwrap_err();
        assert_eq!((problem.code, problem.param.as_deref()), (Code::InvalidRequest, Some("limit")));
        assert!(problem.detail.starts_with("\"limit\": invalid digit"), "{}", problem.detail);
    }
}
