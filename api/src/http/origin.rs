//! Who may use a server that asks for no key: programs on this machine and its own page, but not the pages of
//! other sites, which a browser on this machine would let talk to it (request forgery, DNS rebinding).

use axum::http::{HeaderMap, header};

use crate::config::ServerSettings;
use crate::error::{Code, Outcome, Problem};

/// # Errors
/// [`Code::ForeignOrigin`].
pub(crate) fn check(headers: &HeaderMap, settings: &ServerSettings) -> Outcome<()> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let refuse = |why: &str| {
        let hint = "; a host name of your own is allowed with --allowed-hosts, other sites with API keys";
        Err(Problem::new(Code::ForeignOrigin, format!("{why}{hint}")))
    };
    let host = text(header::HOST.as_str());
    if host.is_some_and(|host| !is_ours(host, settings)) {
        return refuse("without API keys this server answers to local names only");
    }
    if let Some(origin) = text(header::ORIGIN.as_str()) {
        let authority = origin.split_once("://").map(|(_, rest)| rest);
        if authority.is_none() || authority != host {
            return refuse("a page of another origin asked");
        }
    }
    match text("sec-fetch-site") {
        None | Some("same-origin" | "none") => Ok(()),
        Some(_) => refuse("a page of another site asked"),
    }
}

fn is_ours(host: &str, settings: &ServerSettings) -> bool {
    let name = without_port(host).to_ascii_lowercase();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    let loopback = address.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let public = settings.public_url.as_deref().and_then(|url| url::Url::parse(url).ok());
    let public = public.as_ref().and_then(url::Url::host_str);
    loopback
        || name == "localhost"
        || name.ends_with(".localhost")
        || public.is_some_and(|known| known.eq_ignore_ascii_case(&name))
        || settings.allowed_hosts.iter().any(|known| known.eq_ignore_ascii_case(&name))
}

fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(at) if !host[at..].contains(']') => &host[..at],
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::config::Layers;

    fn allowed(pairs: &[(&'static str, &'static str)]) -> bool {
        let flags = [("allowed_hosts", "studio.lan".to_owned())];
        let settings = Layers::default().flags(flags).unwrap().finish().unwrap().server;
        let headers =
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        check(&headers, &settings).is_ok()
    }

    #[test]
    fn programs_and_the_own_page_are_let_in() {
        assert!(allowed(&[]));
        for host in
            ["127.0.0.1:8790", "localhost:1", "LOCALHOST", "[::1]:8790", "a.localhost", "studio.lan:80"]
        {
            assert!(allowed(&[("host", host)]), "{host}");
        }
        let page =
            [("host", "localhost:1"), ("origin", "http://localhost:1"), ("sec-fetch-site", "same-origin")];
        assert!(allowed(&page));
    }

    #[test]
    fn other_sites_are_not() {
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "10.0.0.1", ""] {
            assert!(!allowed(&[("host", host)]), "{host}");
        }
        for origin in ["http://localhost:2", "https://evil.example", "null"] {
            assert!(!allowed(&[("host", "localhost:1"), ("origin", origin)]), "{origin}");
        }
        assert!(!allowed(&[("host", "localhost:1"), ("sec-fetch-site", "cross-site")]));
        assert!(!allowed(&[("host", "localhost:1"), ("sec-fetch-site", "same-site")]));
    }
}
