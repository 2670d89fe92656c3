//! Which addresses may be called.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use crate::error::{Outcome, Problem};

/// What is allowed beside HTTPS to public addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Private addresses and plain HTTP too.
    pub allow_private: bool,
}

impl Policy {
    pub(crate) fn allows(self, ip: IpAddr) -> bool {
        self.allow_private || is_public(ip)
    }
}

/// Checks what can be seen in the URL itself; names are looked up when they are called.
pub(crate) fn check_url(text: &str, policy: Policy) -> Outcome<()> {
    let wrong = |why: &str| Err(Problem::field("webhook.url", format!("the webhook's URL {why}")));
    if text.len() > 2_000 {
        return wrong("is longer than 2000 characters");
    }
    let Ok(url) = Url::parse(text) else { return wrong("is not a URL") };
    if url.scheme() != "https" && !(policy.allow_private && url.scheme() == "http") {
        return wrong("must begin with https://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("must not hold a user name or password");
    }
    let ip = match url.host() {
        Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
        Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
        Some(Host::Domain(name)) if !policy.allow_private && is_local(name) => {
            return wrong("names this machine itself");
        }
        Some(Host::Domain(_)) => None,
        None => return wrong("names no host"),
    };
    if ip.is_some_and(|ip| !policy.allows(ip)) {
        return wrong("names an address that is not public");
    }
    Ok(())
}

/// Names that are never anybody else's (RFC 6761).
fn is_local(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

/// Whether an address is reachable from anywhere, and so nothing of this server's own network.
pub(crate) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = ip.is_unspecified()
        || ip.is_loopback()
        || ip.is_private()
        // 169.254.0.0/16, with the clouds' metadata servers in it
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation()
        || a == 0
        // shared by providers' customers
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        // 6to4 relays
        || (a == 192 && b == 88 && c == 99)
        // benchmarks
        || (a == 198 && (b == 18 || b == 19))
        || a >= 240;
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    let last_v4 = || Ipv4Addr::from((u32::from(s[6]) << 16) | u32::from(s[7]));
    if ip.to_ipv4_mapped().is_some() || s[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        // v4-mapped and NAT64: what is behind counts
        return is_public_v4(last_v4());
    }
    if s[0] == 0x2002 {
        return is_public_v4(Ipv4Addr::from((u32::from(s[1]) << 16) | u32::from(s[2])));
    }
    // Global unicast is 2000::/3; in it, 2001::/23 (Teredo and other protocols) and documentation.
    let global = s[0] & 0xe000 == 0x2000;
    let protocols = s[0] == 0x2001 && s[1] < 0x200;
    let documentation = (s[0] == 0x2001 && s[1] == 0xdb8) || (s[0] == 0x3fff && s[1] < 0x1000);
    global && !protocols && !documentation
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for text in [
            "1.1.1.1",
            "93.184.216.34",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2002:101:101::",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.8.8.8",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::7f00:1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a00:1::",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "100::1",
            "5f00::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn urls_are_https_and_public() {
        let (strict, open) = (Policy { allow_private: false }, Policy { allow_private: true });
        assert!(check_url("https://example.org/hook?x=1", strict).is_ok());
        let long = format!("https://example.org/{}", "x".repeat(2_000));
        for text in [
            "",
            "example.org",
            "http://example.org/",
            "ftp://example.org",
            "https://",
            "file:///etc/passwd",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://017700000001/",
            "https://localhost/",
            "https://LOCALHOST.:8443/",
            "https://a.localhost/",
            "https://u:p@example.org/",
            &long,
        ] {
            assert!(check_url(text, strict).is_err(), "{text}");
        }
        assert!(check_url("https://localhost.example.org/", strict).is_ok());
        assert!(check_url("http://127.0.0.1:8080/", open).is_ok());
        assert!(check_url("http://localhost:8080/", open).is_ok());
        assert!(check_url("ftp://127.0.0.1/", open).is_err());
    }
}
