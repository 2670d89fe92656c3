//! Work on many pictures by all cores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::TrainingError;

/// The results of `work` on every item, in order. As many threads as the machine has cores take the next item each,
/// with tools of their own; the first error ends it.
pub fn map<T: Sync, S, R: Send>(
    items: &[T],
    tools: impl Fn() -> Result<S, TrainingError> + Sync,
    work: impl Fn(&S, &T) -> Result<R, TrainingError> + Sync,
) -> Result<Vec<R>, TrainingError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(items.len().max(1));
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<R, TrainingError>)>> = Mutex::new(Vec::with_capacity(items.len()));
    let push = |at, result: Result<R, TrainingError>| {
        let failed = result.is_err();
        done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((at, result));
        failed
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                // The cores look at different items, not threads at one.
                tch::set_num_threads(1);
                let tools = tools();
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { break };
                    let result = match &tools {
                        Ok(tools) => work(tools, item),
                        Err(error) => Err(TrainingError::Tools(error.to_string())),
                    };
                    if push(at, result) {
                        next.store(items.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn results_come_in_order_and_an_error_ends_it() {
        let numbers: Vec<usize> = (0..1000).collect();
        assert_eq!(
            map(&numbers, || Ok(2), |two, n| Ok(two * n)).unwrap(),
            numbers.iter().map(|n| 2 * n).collect::<Vec<_>>()
        );
        let seen = AtomicUsize::new(0);
        let failed = map(
            &numbers,
            || Ok(()),
            |(), n| {
                seen.fetch_add(1, Ordering::Relaxed);
                if *n == 3 {
                    Err(TrainingError::TooFew { path: "x".into(), found: 0, needed: 1 })
                } else {
                    Ok(())
                }
            },
        );
        assert!(failed.is_err() && seen.load(Ordering::Relaxed) < 1000);
        assert!(map(&[] as &[u8], || Ok(()), |(), _| Ok(())).unwrap().is_empty());
    }
}
