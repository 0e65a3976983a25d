//! The Host header, against DNS rebinding.
//!
//! A page in a browser may point a name of its own at 127.0.0.1 and then read from this port as if it were its own
//! server. The browser still sends that name as the host, so on a loopback port only loopback names are answered.

use std::net::{IpAddr, Ipv6Addr};

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Refuses requests that were meant for another host.
pub(super) async fn require_loopback(request: Request, next: Next) -> Response {
    if is_loopback_request(request.uri(), request.headers()) {
        return next.run(request).await;
    }
    let message = "this port answers to loopback names only: ask for localhost, 127.0.0.1 or [::1]\n";
    (StatusCode::FORBIDDEN, message).into_response()
}

/// A request without any host (HTTP/1.0 probes) does not come from a browser and is let through.
fn is_loopback_request(uri: &Uri, headers: &HeaderMap) -> bool {
    let in_headers = headers.get_all(header::HOST).iter().all(|host| host.to_str().is_ok_and(is_loopback_host));
    in_headers && uri.authority().is_none_or(|authority| is_loopback_host(authority.as_str()))
}

/// Whether `host[:port]` is a name that no DNS server can point elsewhere.
fn is_loopback_host(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    if let Some(ip) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return ip.parse::<Ipv6Addr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    }
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_pass() {
        let table = [
            ("localhost", true),
            ("localhost:18001", true),
            ("LocalHost:1", true),
            ("127.0.0.1", true),
            ("127.0.0.1:18001", true),
            ("127.255.3.4:80", true),
            ("[::1]", true),
            ("[::1]:18001", true),
            ("[::ffff:127.0.0.1]:18001", true),
            ("", false),
            ("0.0.0.0:18001", false),
            ("10.0.0.1:18001", false),
            ("[::]:18001", false),
            ("[2001:db8::1]:18001", false),
            ("evil.example:18001", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("localhost@evil.example", false),
            ("evil.example@localhost", false),
            ("evil.example localhost", false),
            ("2130706433", false),
        ];
        for (host, expected) in table {
            assert_eq!(is_loopback_host(host), expected, "{host:?}");
        }
    }

    #[test]
    fn every_host_of_a_request_counts() {
        let headers = |hosts: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, axum::http::HeaderValue::from_static(host));
            }
            headers
        };
        let here = Uri::from_static("/status");
        assert!(is_loopback_request(&here, &headers(&[])));
        assert!(is_loopback_request(&here, &headers(&["localhost:1"])));
        assert!(!is_loopback_request(&here, &headers(&["localhost:1", "evil.example"])));
        assert!(!is_loopback_request(&Uri::from_static("http://evil.example/"), &headers(&["localhost"])));
    }
}
