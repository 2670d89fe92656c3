//! A circuit breaker: after several failures in a row a server is left alone for a while.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures in a row that open it.
const FAILURES: u32 = 3;
/// How long it stays open.
const REST: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    open_until: Option<Instant>,
}

/// Closed as long as a server answers.
#[derive(Debug, Default)]
pub struct Breaker(Mutex<State>);

impl Breaker {
    /// Whether the server may be asked at this time.
    ///
    /// # Errors
    /// How long it is still left alone. When that is over, one request is let through to try it.
    pub fn check(&self, now: Instant) -> Result<(), Duration> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state.open_until {
            Some(until) if now < until => Err(until - now),
            Some(_) => {
                // The next request waits for what this one finds.
                state.open_until = Some(now + REST);
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub fn succeeded(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }

    pub fn failed(&self, now: Instant) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures += 1;
        if state.failures >= FAILURES {
            state.open_until = Some(now + REST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_and_lets_one_try_through() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..2 {
            breaker.failed(now);
        }
        assert_eq!(breaker.check(now), Ok(()));
        breaker.failed(now);
        assert_eq!(breaker.check(now), Err(REST));
        let later = now + REST;
        assert_eq!(breaker.check(later), Ok(()), "one may try");
        assert!(breaker.check(later).is_err(), "the next one waits");
        breaker.succeeded();
        assert_eq!(breaker.check(later), Ok(()));
        breaker.failed(later);
        assert_eq!(breaker.check(later), Ok(()), "failures count from none");
    }
}
