//! Addresses and address ranges in one line.

use std::net::{IpAddr, Ipv6Addr};

use crate::diagnostic::Span;
use crate::envoy::Node;

use super::object::find;
use super::walk::Walk;

/// `host:port`, `[::1]:port`, either with `tcp://` or `udp://`, or `unix:///path`.
pub(super) fn address(walk: &mut Walk<'_>, node: &Node) -> Option<Node> {
    let help = "write `10.0.0.1:80`, `[2001:db8::1]:80`, `host.example:80`, `udp://0.0.0.0:53` or `unix:///run/x.sock`";
    let message = match node.as_str() {
        Some(text) => match native(node.span, text) {
            Ok(address) => return Some(address),
            Err(problem) => format!("`{text}` is not an address: {problem}"),
        },
        None => format!("an address is `host:port`, not {}", node.describe()),
    };
    walk.report("invalid-address", node.span, message, help);
    None
}

fn native(span: Span, text: &str) -> Result<Node, &'static str> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
    if scheme == "unix" {
        if rest.is_empty() {
            return Err("a path is missing after `unix://`");
        }
        return Ok(Node::map(span, [("pipe", Node::map(span, [("path", Node::string(span, rest))]))]));
    }
    if scheme != "tcp" && scheme != "udp" {
        return Err("only `tcp://`, `udp://` and `unix://` are known");
    }
    let (host, port) = rest.rsplit_once(':').ok_or("it has no port")?;
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => host.parse::<Ipv6Addr>().map(|_| host).map_err(|_| "what is in brackets is no IPv6 address")?,
        None if host.contains(':') => return Err("an IPv6 address must be in brackets"),
        None => host,
    };
    if host.is_empty() {
        return Err("it has no host; all addresses are `0.0.0.0` or `[::]`");
    }
    if host.contains(|c: char| c.is_whitespace() || "/@?#[]".contains(c)) {
        return Err("only a host and a port may be given");
    }
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port: u16 =
        Some(port).filter(|_| digits).and_then(|port| port.parse().ok()).ok_or("its port is not in 0-65535")?;
    let mut socket = Vec::new();
    if scheme == "udp" {
        socket.push(("protocol", Node::string(span, "UDP")));
    }
    socket.push(("address", Node::string(span, host)));
    socket.push(("port_value", Node::number(span, port)));
    Ok(Node::map(span, [("socket_address", Node::map(span, socket))]))
}

/// Whether an expanded address names a host that has to be resolved.
pub(super) fn needs_dns(address: &Node) -> bool {
    let host = find(address, "socket_address").and_then(|socket| find(socket, "address")).and_then(Node::as_str);
    host.is_some_and(|host| host.parse::<IpAddr>().is_err())
}

/// `10.0.0.0/8`.
pub(super) fn cidr_range(walk: &mut Walk<'_>, node: &Node) -> Option<Node> {
    let Some(text) = node.as_str() else { return Some(node.clone()) };
    match range(text) {
        Ok((prefix, len)) => Some(Node::map(
            node.span,
            [("address_prefix", Node::string(node.span, prefix)), ("prefix_len", Node::number(node.span, len))],
        )),
        Err(problem) => {
            let message = format!("`{text}` is not an address range: {problem}");
            walk.report("invalid-range", node.span, message, "write `10.0.0.0/8`; a single address is `10.0.0.1/32`");
            None
        }
    }
}

fn range(text: &str) -> Result<(&str, u8), &'static str> {
    let (prefix, len) = text.split_once('/').ok_or("it has no prefix length")?;
    let address: IpAddr = prefix.parse().map_err(|_| "what is before the `/` is no IP address")?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let digits = len.bytes().all(|byte| byte.is_ascii_digit());
    let len = Some(len).filter(|_| digits).and_then(|len| len.parse().ok()).filter(|len| *len <= most);
    Ok((prefix, len.ok_or("its prefix length is too long or no number")?))
}
