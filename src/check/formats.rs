//! What stands between percent signs in access logs and in the values of headers.

use super::site::{Site, Step, steps};
use crate::diagnostic::{Findings, did_you_mean};
use crate::envoy::field;

/// The commands of Envoy's own formatters, of the version that the descriptor set is from.
const COMMANDS: &str = "\
    ACCESS_LOG_TYPE BYTES_RECEIVED BYTES_RETRANSMITTED BYTES_SENT CEL CLUSTER_METADATA COMMON_DURATION CONNECTION_ID \
    CONNECTION_TERMINATION_DETAILS CUSTOM_FLAGS DOWNSTREAM_CX_RTT DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED \
    DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT DOWNSTREAM_DETECTED_CLOSE_TYPE DOWNSTREAM_DIRECT_LOCAL_ADDRESS \
    DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT \
    DOWNSTREAM_DIRECT_LOCAL_PORT DOWNSTREAM_DIRECT_REMOTE_ADDRESS DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT \
    DOWNSTREAM_DIRECT_REMOTE_PORT DOWNSTREAM_HANDSHAKE_DURATION DOWNSTREAM_HEADER_BYTES_RECEIVED \
    DOWNSTREAM_HEADER_BYTES_SENT DOWNSTREAM_LOCAL_ADDRESS DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID \
    DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT DOWNSTREAM_LOCAL_CLOSE_REASON DOWNSTREAM_LOCAL_DNS_SAN \
    DOWNSTREAM_LOCAL_EMAIL_SAN DOWNSTREAM_LOCAL_IP_SAN DOWNSTREAM_LOCAL_OTHERNAME_SAN DOWNSTREAM_LOCAL_PORT \
    DOWNSTREAM_LOCAL_SUBJECT DOWNSTREAM_LOCAL_URI_SAN DOWNSTREAM_PEER_CERT DOWNSTREAM_PEER_CERT_V_END \
    DOWNSTREAM_PEER_CERT_V_START DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1 DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256 \
    DOWNSTREAM_PEER_CHAIN_SERIALS DOWNSTREAM_PEER_DNS_SAN DOWNSTREAM_PEER_EMAIL_SAN DOWNSTREAM_PEER_FINGERPRINT_1 \
    DOWNSTREAM_PEER_FINGERPRINT_256 DOWNSTREAM_PEER_IP_SAN DOWNSTREAM_PEER_ISSUER \
    DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256 DOWNSTREAM_PEER_ISSUER_SERIAL DOWNSTREAM_PEER_OTHERNAME_SAN \
    DOWNSTREAM_PEER_SERIAL DOWNSTREAM_PEER_SUBJECT DOWNSTREAM_PEER_URI_SAN DOWNSTREAM_REMOTE_ADDRESS \
    DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT DOWNSTREAM_REMOTE_PORT DOWNSTREAM_TLS_CIPHER DOWNSTREAM_TLS_GROUP \
    DOWNSTREAM_TLS_SESSION_ID DOWNSTREAM_TLS_VERSION DOWNSTREAM_TRANSPORT_FAILURE_REASON \
    DOWNSTREAM_WIRE_BYTES_RECEIVED DOWNSTREAM_WIRE_BYTES_SENT DURATION DYNAMIC_METADATA EMIT_TIME EMIT_TIME_LOCAL \
    ENVIRONMENT FILTER_CHAIN_NAME FILTER_STATE GRPC_STATUS GRPC_STATUS_NUMBER HOSTNAME LISTENER_NAME \
    LOCAL_REPLY_BODY METADATA PATH PER_REQUEST_STATE PROTOCOL QUERY_PARAM QUERY_PARAMS REQ REQUESTED_SERVER_NAME \
    REQUEST_DURATION REQUEST_HEADER REQUEST_HEADERS_BYTES REQUEST_TX_DURATION RESP RESPONSE_CODE \
    RESPONSE_CODE_DETAILS RESPONSE_DURATION RESPONSE_FLAGS RESPONSE_FLAGS_LONG RESPONSE_HEADER \
    RESPONSE_HEADERS_BYTES RESPONSE_TRAILER RESPONSE_TRAILERS_BYTES RESPONSE_TX_DURATION ROUNDTRIP_DURATION \
    ROUTE_NAME ROUTE_RESOLUTION_COUNT ROUTE_RESOLUTION_TIME_US SPAN_ID START_TIME START_TIME_LOCAL STREAM_ID \
    STREAM_INFO_REQ TLS_JA3_FINGERPRINT TLS_JA4_FINGERPRINT TRACE_ID TRAILER UNIQUE_ID UPSTREAM_CLUSTER \
    UPSTREAM_CLUSTER_RAW UPSTREAM_CONNECTION_ID UPSTREAM_CONNECTION_IDS_ATTEMPTED \
    UPSTREAM_CONNECTION_POOL_READY_DURATION UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED \
    UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT UPSTREAM_DETECTED_CLOSE_TYPE UPSTREAM_FILTER_STATE \
    UPSTREAM_HEADER_BYTES_RECEIVED UPSTREAM_HEADER_BYTES_SENT UPSTREAM_HOST UPSTREAM_HOSTS_ATTEMPTED \
    UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT UPSTREAM_HOST_NAME UPSTREAM_HOST_NAMES_ATTEMPTED \
    UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT UPSTREAM_HOST_NAME_WITHOUT_PORT UPSTREAM_LOCAL_ADDRESS \
    UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT UPSTREAM_LOCAL_CLOSE_REASON UPSTREAM_LOCAL_DNS_SAN UPSTREAM_LOCAL_IP_SAN \
    UPSTREAM_LOCAL_PORT UPSTREAM_LOCAL_URI_SAN UPSTREAM_METADATA UPSTREAM_PEER_CERT UPSTREAM_PEER_CERT_V_END \
    UPSTREAM_PEER_CERT_V_START UPSTREAM_PEER_DNS_SAN UPSTREAM_PEER_IP_SAN UPSTREAM_PEER_ISSUER UPSTREAM_PEER_SUBJECT \
    UPSTREAM_PEER_URI_SAN UPSTREAM_PROTOCOL UPSTREAM_REMOTE_ADDRESS UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID \
    UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT UPSTREAM_REMOTE_PORT UPSTREAM_REQUEST_ATTEMPT_COUNT UPSTREAM_SERVER_NAME \
    UPSTREAM_TLS_CIPHER UPSTREAM_TLS_GROUP UPSTREAM_TLS_SESSION_ID UPSTREAM_TLS_VERSION \
    UPSTREAM_TRANSPORT_FAILURE_REASON UPSTREAM_WIRE_BYTES_RECEIVED UPSTREAM_WIRE_BYTES_SENT VIRTUAL_CLUSTER_NAME";

/// What is wrong with a format, and the remedy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) text: String,
    pub(super) help: String,
}

/// A format of access logs or bodies; one with formatters of its own may have commands of its own.
pub(super) fn substitution(site: &Site<'_>, findings: &mut Findings) {
    if field::messages(site.message, "formatters").next().is_some() {
        return;
    }
    let mut judge = |text: Option<&str>, steps: &[Step]| {
        if let Some(problem) = text.and_then(problem) {
            findings.push(site.error("header-format", steps, problem.text).help(problem.help));
        }
    };
    judge(field::string(site.message, "text_format"), steps!["text_format"]);
    let source = field::message(site.message, "text_format_source");
    let inline = source.and_then(|source| field::string(source, "inline_string"));
    judge(inline, steps!["text_format_source", "inline_string"]);
}

/// The host that a TCP proxy asks the upstream to connect to.
pub(super) fn tunnel(site: &Site<'_>, findings: &mut Findings) {
    if let Some(problem) = field::string(site.message, "hostname").and_then(problem) {
        findings.push(site.error("header-format", steps!["hostname"], problem.text).help(problem.help));
    }
}

/// The first thing that Envoy would refuse.
pub(super) fn problem(format: &str) -> Option<Problem> {
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            rest = after;
            continue;
        }
        let end =
            rest.find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        let Some(after) = command_end(behind).filter(|_| !name.is_empty()) else {
            return Some(Problem {
                text: "a `%` begins a command, and this one begins none: Envoy refuses it".to_owned(),
                help: "write `%%` for a percent sign, and commands such as `%REQ(x-request-id)%`".to_owned(),
            });
        };
        if !COMMANDS.split(' ').any(|known| known == name) {
            let help = match did_you_mean(name, COMMANDS.split(' ')) {
                Some(near) => format!("did you mean `%{near}%`?"),
                None => "Envoy's documentation lists the commands under access logging".to_owned(),
            };
            return Some(Problem { text: format!("Envoy knows no command `%{name}%` and refuses it"), help });
        }
        rest = after;
    }
    None
}

/// What follows a command's name: arguments in brackets and a length, both optional, and a percent sign.
fn command_end(text: &str) -> Option<&str> {
    let Some(arguments) = text.strip_prefix('(') else { return length_end(text) };
    arguments.match_indices(')').find_map(|(at, _)| length_end(&arguments[at + 1..]))
}

fn length_end(text: &str) -> Option<&str> {
    let text = text.strip_prefix(':').map_or(text, |digits| digits.trim_start_matches(|c: char| c.is_ascii_digit()));
    text.strip_prefix('%')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Envoy 1.40.0 takes and refuses.
    #[test]
    fn formats_are_judged_as_by_envoy() {
        for format in
            ["a", "%%", "%REQ(a)%", "%START_TIME(%Y)%", "%REQ(a):3%", "%HOSTNAME%x%TRACE_ID%", "%CEL(request.path)%"]
        {
            assert_eq!(problem(format), None, "{format}");
        }
        for format in ["100%", "%FOO%", "%REQ(a)", "%req(a)%", "a % b", "%DOWNSTREAM_FOO%"] {
            assert!(problem(format).is_some(), "{format}");
        }
    }

    #[test]
    fn commands_are_sorted() {
        assert!(COMMANDS.split(' ').is_sorted());
    }
}
