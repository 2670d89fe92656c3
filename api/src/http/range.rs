//! Conditional and partial requests for bytes that have a strong tag.

use std::ops::Range;

use axum::http::{HeaderMap, header};

use crate::error::{Outcome, Problem};

/// What a request for bytes is to be answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The client has them.
    Nothing,
    Whole,
    /// Never empty, never beyond the end.
    Part(Range<u64>),
}

/// # Errors
/// [`Problem::no_such_range`].
pub(crate) fn wanted(headers: &HeaderMap, size: u64, tag: &str) -> Outcome<Wanted> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(known) = text(header::IF_NONE_MATCH) {
        let same = |t: &str| t == "*" || t.strip_prefix("W/").unwrap_or(t) == tag;
        if known.split(',').any(|t| same(t.trim())) {
            return Ok(Wanted::Nothing);
        }
    }
    // A date in If-Range never fits: there is no Last-Modified.
    let fits = text(header::IF_RANGE).is_none_or(|known| known == tag);
    let Some(range) = text(header::RANGE).filter(|_| fits) else { return Ok(Wanted::Whole) };
    // Other units and several ranges may be ignored, and are.
    let Some(range) = range.strip_prefix("bytes=").filter(|r| !r.contains(',')) else {
        return Ok(Wanted::Whole);
    };
    let Some((from, to)) = range.trim().split_once('-') else { return Ok(Wanted::Whole) };
    let number = |text: &str| text.parse::<u64>().ok();
    let part = match (from, to) {
        ("", last) => match number(last) {
            Some(last) => size.saturating_sub(last)..size,
            None => return Ok(Wanted::Whole),
        },
        (from, "") => match number(from) {
            Some(from) => from..size,
            None => return Ok(Wanted::Whole),
        },
        (from, to) => match (number(from), number(to)) {
            (Some(from), Some(to)) if from <= to => from..to.saturating_add(1).min(size),
            _ => return Ok(Wanted::Whole),
        },
    };
    if part.start >= part.end {
        return Err(Problem::no_such_range(size));
    }
    Ok(Wanted::Part(part))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::error::Code;

    fn of(pairs: &[(&'static str, &'static str)]) -> Outcome<Wanted> {
        let headers =
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        wanted(&headers, 100, "\"t\"")
    }

    #[test]
    fn ranges_are_cut_to_what_there_is() {
        assert_eq!(of(&[]), Ok(Wanted::Whole));
        assert_eq!(of(&[("range", "bytes=0-9")]), Ok(Wanted::Part(0..10)));
        assert_eq!(of(&[("range", "bytes=90-")]), Ok(Wanted::Part(90..100)));
        assert_eq!(of(&[("range", "bytes=90-500")]), Ok(Wanted::Part(90..100)));
        assert_eq!(of(&[("range", "bytes=-5")]), Ok(Wanted::Part(95..100)));
        assert_eq!(of(&[("range", "bytes=-500")]), Ok(Wanted::Part(0..100)));
        for whole in ["bytes=5-4", "bytes=a-b", "bytes=1-2,4-5", "lines=1-2", "bytes=-"] {
            assert_eq!(of(&[("range", whole)]), Ok(Wanted::Whole), "{whole}");
        }
        for none in ["bytes=100-", "bytes=100-200", "bytes=-0"] {
            assert_eq!(of(&[("range", none)]).unwrap_err().code, Code::RangeNotSatisfiable, "{none}");
        }
    }

    #[test]
    fn tags_are_compared() {
        assert_eq!(of(&[("if-none-match", "\"x\", \"t\"")]), Ok(Wanted::Nothing));
        assert_eq!(of(&[("if-none-match", "\"x\"")]), Ok(Wanted::Whole));
        assert_eq!(of(&[("range", "bytes=0-9"), ("if-range", "\"t\"")]), Ok(Wanted::Part(0..10)));
        assert_eq!(of(&[("range", "bytes=0-9"), ("if-range", "\"x\"")]), Ok(Wanted::Whole));
    }
}
