//! HTTPS with the certificates and proxies that this machine is set up with, byte ranges, and patience with
//! connections that break.

use std::fs;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use ureq::http::{Response, StatusCode, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::{Agent, Body, Proxy, ResponseExt};

use crate::digest::copy;
use crate::error::{At, Error, Result};
use crate::pip::Settings;

/// Largest index page that is read, bytes.
const PAGE_LIMIT: u64 = 64 << 20;

/// How often a request is repeated.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Failures in a row, none of which brought a byte, before giving up.
    pub attempts: u32,
    /// Pause after the first failure; doubled after each further one.
    pub pause: Duration,
    /// Longest silence of a server.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { attempts: 4, pause: Duration::from_millis(500), silence: Duration::from_secs(30) }
    }
}

/// A client that keeps its connections open.
pub struct Http {
    agent: Agent,
    patience: Patience,
}

/// A page of text.
pub struct Page {
    /// Where it came from in the end, redirects followed.
    pub url: String,
    pub content_type: String,
    pub body: String,
}

/// How a server answers a request for a range.
pub enum Served {
    /// With the range.
    Range,
    /// With the whole file: it does not do ranges.
    Whole(Box<dyn Read>),
}

impl Http {
    /// A client that honours pip's certificate and proxy, or the usual variables (`SSL_CERT_FILE`,
    /// `HTTPS_PROXY`, `NO_PROXY`, …).
    ///
    /// # Errors
    /// When the certificate file or the proxy's address cannot be used.
    pub fn new(settings: &Settings, patience: Patience) -> Result<Self> {
        let roots = roots(settings.cert.as_deref())?;
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!("imagine-xtask/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(patience.silence))
            .timeout_recv_response(Some(patience.silence))
            .timeout_per_read(Some(patience.silence))
            .tls_config(TlsConfig::builder().root_certs(roots).build());
        if let Some(proxy) = &settings.proxy {
            let unusable = |e: ureq::Error| Error::Answer { url: proxy.clone(), reason: reason(&e) };
            config = config.proxy(Some(Proxy::new(proxy).map_err(unusable)?));
        }
        Ok(Self { agent: config.build().new_agent(), patience })
    }

    /// Fetches a page of text.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Status`] or [`Error::Answer`].
    pub fn text(&self, url: &str, accept: &str) -> Result<Page> {
        self.patiently(|| {
            let mut response = self.get(url, &[(header::ACCEPT, accept)])?;
            let content_type = response.headers().get(header::CONTENT_TYPE);
            let content_type = content_type.and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
            let final_url = response.get_uri().to_string();
            let body = response.body_mut().with_config().limit(PAGE_LIMIT).read_to_string();
            let body = body.map_err(|e| Error::Unreachable { url: url.to_owned(), reason: reason(&e) })?;
            Ok(Page { url: final_url, content_type, body })
        })
    }

    /// Fetches bytes `range` of the `total` bytes at `url` and hands them to `sink` in order. After a broken
    /// connection it asks again, for what is missing only.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Status`], [`Error::Answer`], and what `sink` fails with.
    pub fn range(
        &self,
        url: &str,
        range: Range<u64>,
        total: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Served> {
        let mut failures = 0;
        let mut at = range.start;
        loop {
            let before = at;
            let result = self.range_once(url, at..range.end, total, &mut |chunk| {
                at += chunk.len() as u64;
                sink(chunk)
            });
            match result {
                Ok(Served::Whole(_)) if before > range.start => {
                    let reason = "the server stopped honouring byte ranges".to_owned();
                    return Err(Error::Answer { url: url.to_owned(), reason });
                }
                Err(error) if is_passing(&error) => {
                    failures = if at > before { 1 } else { failures + 1 };
                    self.pause(failures, error)?;
                }
                other => return other,
            }
        }
    }

    /// The whole of `url` as a stream. Does not try twice.
    ///
    /// # Errors
    /// [`Error::Unreachable`] or [`Error::Status`].
    pub fn open(&self, url: &str) -> Result<Box<dyn Read>> {
        Ok(Box::new(self.get(url, &[])?.into_body().into_reader()))
    }

    /// How often to try, for those who use [`Http::open`].
    pub fn patience(&self) -> Patience {
        self.patience
    }

    fn range_once(
        &self,
        url: &str,
        range: Range<u64>,
        total: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Served> {
        let last = range.end - 1;
        let response = self.get(url, &[(header::RANGE, &format!("bytes={}-{last}", range.start))])?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Ok(Served::Whole(Box::new(response.into_body().into_reader())));
        }
        let expected = format!("bytes {}-{last}/{total}", range.start);
        let got = response.headers().get(header::CONTENT_RANGE);
        let got = got.and_then(|v| v.to_str().ok()).unwrap_or_default();
        if got != expected {
            let reason =
                format!("asked for `{expected}`, answered with `{got}`: not the file that was expected");
            return Err(Error::Answer { url: url.to_owned(), reason });
        }
        let unreachable = |reason| Error::Unreachable { url: url.to_owned(), reason };
        let mut refused = None;
        let mut body = response.into_body().into_reader().take(range.end - range.start);
        let read = copy(&mut body, |chunk| {
            sink(chunk).map_err(|e| {
                refused = Some(e);
                std::io::ErrorKind::Other.into()
            })
        });
        match (refused, read) {
            (Some(error), _) => Err(error),
            (None, Err(e)) => Err(unreachable(e.to_string())),
            (None, Ok(n)) if n < range.end - range.start => {
                Err(unreachable("the connection was cut".to_owned()))
            }
            (None, Ok(_)) => Ok(Served::Range),
        }
    }

    fn get(&self, url: &str, headers: &[(header::HeaderName, &str)]) -> Result<Response<Body>> {
        let mut request = self.agent.get(url);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let response =
            request.call().map_err(|e| Error::Unreachable { url: url.to_owned(), reason: reason(&e) })?;
        match response.status() {
            status if status.is_success() => Ok(response),
            status => Err(Error::Status { url: url.to_owned(), status: status.as_u16() }),
        }
    }

    /// Repeats `attempt` while it fails for reasons that may pass.
    fn patiently<T>(&self, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
        let mut failures = 0;
        loop {
            match attempt() {
                Ok(value) => return Ok(value),
                Err(error) if is_passing(&error) => {
                    failures += 1;
                    self.pause(failures, error)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits before the next attempt, or gives `error` back if there have been enough.
    fn pause(&self, failures: u32, error: Error) -> Result<()> {
        if failures >= self.patience.attempts {
            return Err(error);
        }
        sleep(self.patience.pause * 2_u32.saturating_pow(failures - 1));
        Ok(())
    }
}

/// Whether the same request may succeed a moment later.
pub fn is_passing(error: &Error) -> bool {
    match error {
        Error::Unreachable { .. } => true,
        Error::Status { status, .. } => *status == 429 || *status >= 500,
        _ => false,
    }
}

/// What went wrong, without the library's own terms.
fn reason(error: &ureq::Error) -> String {
    match error {
        // the standard library has no kind of its own for this
        ureq::Error::Io(e) if e.to_string().contains("lookup address") => {
            "its name cannot be resolved".to_owned()
        }
        ureq::Error::Io(e) => e.to_string(),
        ureq::Error::HostNotFound => "its name cannot be resolved".to_owned(),
        ureq::Error::Timeout(_) => "it does not answer".to_owned(),
        other => other.to_string(),
    }
}

/// Certificate authorities: those of pip's `cert` file, else the machine's, else Mozilla's list.
fn roots(file: Option<&Path>) -> Result<RootCerts> {
    let certificates: Vec<Certificate<'static>> = match file {
        Some(path) => {
            let pem = fs::read(path).at(path)?;
            let items = ureq::tls::parse_pem(&pem).filter_map(std::result::Result::ok);
            items
                .filter_map(|item| match item {
                    PemItem::Certificate(certificate) => Some(certificate),
                    _ => None,
                })
                .collect()
        }
        None => {
            let native = rustls_native_certs::load_native_certs().certs;
            native.iter().map(|der| Certificate::from_der(der).to_owned()).collect()
        }
    };
    if certificates.is_empty() {
        return Ok(RootCerts::WebPki);
    }
    Ok(RootCerts::Specific(Arc::new(certificates)))
}
