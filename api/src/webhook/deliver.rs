//! One call. Blocking: to be run on a thread that may wait.

use std::time::Duration;

use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use super::address::Policy;

/// From the look-up of the name to the answer's last byte.
const TIME: Duration = Duration::from_secs(10);

/// Seconds after the first, second, … failed call; then it is given up.
const RETRIES: [u64; 7] = [5, 60, 300, 1_800, 7_200, 18_000, 36_000];

/// When to try again after so many calls; none when that was the last.
pub(crate) fn retry_after(attempts: u32) -> Option<Duration> {
    let index = usize::try_from(attempts).ok()?.checked_sub(1)?;
    RETRIES.get(index).map(|seconds| Duration::from_secs(*seconds))
}

/// A call that is to be made.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub url: String,
    pub id: String,
    /// Unix seconds.
    pub timestamp: i64,
    pub signature: String,
    pub body: String,
}

/// Makes calls.
#[derive(Clone)]
pub(crate) struct Caller(Agent);

/// Looks a name up once and gives on only addresses that may be called: the connection goes to one of them, so
/// that a second answer of the name server changes nothing.
#[derive(Debug)]
struct PublicOnly {
    policy: Policy,
    inner: DefaultResolver,
}

impl Resolver for PublicOnly {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.inner.resolve(uri, config, timeout)?;
        // One private address among public ones is a trap as well.
        if found.iter().all(|address| self.policy.allows(address.ip())) {
            return Ok(found);
        }
        Err(ureq::Error::HostNotFound)
    }
}

impl Caller {
    pub(crate) fn new(policy: Policy) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(TIME))
            .https_only(!policy.allow_private)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .max_response_header_size(16 << 10)
            .max_idle_connections(0)
            // A proxy would look the name up by itself.
            .proxy(None)
            .user_agent(concat!("imagine/", env!("CARGO_PKG_VERSION")))
            .build();
        let resolver = PublicOnly { policy, inner: DefaultResolver::default() };
        Self(Agent::with_parts(config, DefaultConnector::default(), resolver))
    }

    /// Calls once.
    ///
    /// # Errors
    /// There was no answer of the kind 2xx; the text is for the log and holds nothing of the answer.
    pub(crate) fn call(&self, delivery: &Delivery) -> Result<(), String> {
        let sent = self
            .0
            .post(&delivery.url)
            .header("content-type", "application/json")
            .header("webhook-id", &delivery.id)
            .header("webhook-timestamp", delivery.timestamp.to_string())
            .header("webhook-signature", &delivery.signature)
            .send(delivery.body.as_str());
        match sent {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(format!("answered {}", answer.status().as_u16())),
            Err(ureq::Error::HostNotFound) => Err("no public address by that name".into()),
            Err(ureq::Error::Timeout(_)) => Err("no answer in time".into()),
            Err(_) => Err("could not be reached".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A server that answers once, and what it was sent.
    fn server(answer: &'static str) -> (String, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut heard = Vec::new();
            let mut part = [0; 4096];
            while !String::from_utf8_lossy(&heard).contains("{}") {
                let n = stream.read(&mut part).unwrap();
                assert!(n > 0, "the call ended early");
                heard.extend_from_slice(&part[..n]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(heard).unwrap()
        });
        (url, thread)
    }

    fn delivery(url: &str) -> Delivery {
        let (id, signature, body) = ("msg_1".into(), "v1,x".into(), "{}".into());
        Delivery { url: url.into(), id, timestamp: 7, signature, body }
    }

    #[test]
    fn a_call_carries_its_headers_and_follows_no_redirect() {
        let caller = Caller::new(Policy { allow_private: true });
        let (url, thread) = server("HTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!(caller.call(&delivery(&url)), Ok(()));
        let heard = thread.join().unwrap().to_lowercase();
        for part in ["post /hook", "webhook-id: msg_1", "webhook-timestamp: 7", "webhook-signature: v1,x"] {
            assert!(heard.contains(part), "{part}\n{heard}");
        }
        // The target of the redirect would hang for ever: nobody answers there.
        let target = TcpListener::bind("127.0.0.1:0").unwrap();
        let redirect = format!(
            "HTTP/1.1 307 T\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n",
            target.local_addr().unwrap()
        );
        let (url, thread) = server(redirect.leak());
        assert_eq!(caller.call(&delivery(&url)), Err("answered 307".into()));
        thread.join().unwrap();
    }

    #[test]
    fn a_name_that_leads_inside_is_not_called() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let strict = Caller::new(Policy { allow_private: false });
        let refused = strict.call(&delivery(&format!("https://localhost:{port}/")));
        assert_eq!(refused, Err("no public address by that name".into()));
        assert!(strict.call(&delivery(&format!("http://127.0.0.1:{port}/"))).is_err());
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "nobody may have connected");
    }

    #[test]
    fn it_is_tried_again_a_few_times() {
        assert_eq!(retry_after(1), Some(Duration::from_secs(5)));
        assert_eq!(retry_after(7), Some(Duration::from_secs(36_000)));
        assert_eq!((retry_after(8), retry_after(0)), (None, None));
    }
}
