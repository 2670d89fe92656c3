//! So many requests a minute for each key. Counted by key, never by an address that a client could invent.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::error::{Code, Outcome, Problem};

pub(crate) struct Rate {
    limiter: Option<DefaultKeyedRateLimiter<String>>,
    clock: DefaultClock,
}

impl Rate {
    /// All of a minute's requests may come at once; 0 sets no limit.
    pub(crate) fn new(per_minute: u32) -> Self {
        let limiter = NonZeroU32::new(per_minute).map(|count| RateLimiter::keyed(Quota::per_minute(count)));
        Self { limiter, clock: DefaultClock::default() }
    }

    /// Counts a request.
    pub(crate) fn check(&self, key: &str) -> Outcome<()> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        limiter.check_key(&key.to_owned()).map_err(|until| {
            let wait = until.wait_time_from(self.clock.now()).max(Duration::from_secs(1));
            let seconds = wait.as_secs_f64().ceil() as u64;
            Problem::new(Code::RateLimited, "this key has made its requests for now").retry_after(seconds)
        })
    }

    /// Forgets keys that have been quiet.
    pub(crate) fn tidy(&self) {
        if let Some(limiter) = &self.limiter {
            limiter.retain_recent();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Hint;

    #[test]
    fn each_key_has_its_own_allowance() {
        let rate = Rate::new(2);
        assert!(rate.check("a").is_ok() && rate.check("a").is_ok());
        let refused = rate.check("a").err();
        assert_eq!(refused.as_ref().map(|p| p.code), Some(Code::RateLimited));
        let hint = refused.and_then(|problem| problem.hint);
        assert!(matches!(hint, Some(Hint::RetryAfter(1..=60))), "{hint:?}");
        assert!(rate.check("b").is_ok());
        assert!((0..1000).all(|_| Rate::new(0).check("a").is_ok()));
    }
}
