//! What the system knows of this process: when it started, and the most memory it has held.

use std::fs;
use std::time::Duration;

/// Time since this process was started, dynamic linking and all, to a hundredth of a second; none where
/// the system has no `/proc`.
pub fn age() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    since(&stat, &uptime)
}

/// Clock ticks a second in `/proc`: fixed in Linux's interface to programs.
const TICKS: f64 = 100.0;

fn since(stat: &str, uptime: &str) -> Option<Duration> {
    // The second field is the program's name in brackets and may hold spaces; the 22nd is the start.
    let fields = &stat[stat.rfind(')')? + 1..];
    let start: f64 = fields.split_whitespace().nth(19)?.parse().ok()?;
    let now: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64((now - start / TICKS).max(0.0)).ok()
}

/// The most bytes of memory that this process has held at once (resident set); none where the system
/// does not tell.
pub fn peak_memory() -> Option<u64> {
    peak_of(&fs::read_to_string("/proc/self/status").ok()?)
}

fn peak_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_the_22nd_field_whatever_the_name() {
        let fields: Vec<String> =
            (3..=52).map(|n| if n == 22 { "5000".into() } else { n.to_string() }).collect();
        let stat = format!("77 (a ) name) {}", fields.join(" "));
        assert_eq!(since(&stat, "51.25 99.0"), Some(Duration::from_millis(1250)));
        assert_eq!(since("nonsense", "51.25"), None);
    }

    #[test]
    fn the_peak_is_read_in_bytes() {
        assert_eq!(peak_of("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 7 kB\n"), Some(2 << 20));
        assert_eq!(peak_of("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_has_an_age_and_a_peak() {
        assert!(age().is_some_and(|age| age < Duration::from_secs(86_400)));
        assert!(peak_memory().is_some_and(|bytes| bytes > 1 << 20));
    }
}
