//! Certificates, keys and authorities in files beside the topology: their content becomes secrets, which proxies are told
//! of when they change.
//!
//! Only inside three messages is a text the path of such a file; anywhere else a `DataSource` is Envoy's own form, and
//! `{filename: …}` is a path on the proxy's host everywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path as FilePath;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::diagnostic::Span;
use crate::envoy::{Entry, FieldDescriptor, Kind, MessageDescriptor, Node, Value};
use crate::source::ReadError;

use super::object::{Object, find, is_verbatim};
use super::walk::{Scope, Walk};

const DATA_SOURCE: &str = "envoy.config.core.v3.DataSource";
const CERTIFICATE: &str = "envoy.extensions.transport_sockets.tls.v3.TlsCertificate";
const VALIDATION: &str = "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext";
const TICKETS: &str = "envoy.extensions.transport_sockets.tls.v3.TlsSessionTicketKeys";

/// Longer than any path that a file system takes.
const MAX_PATH: usize = 4096;

/// What a path is relative to, and whose host it is on.
const HELP: &str =
    "the path is relative to the file that it stands in; for a file on the proxy's host write `{filename: …}`";

/// A message in which texts are paths.
pub(super) fn holder(walk: &mut Walk<'_>, message: &MessageDescriptor, object: Object) -> Object {
    let object = object.filter_map(|Entry { key, key_span, value }| {
        let Some(field) = data_source(message, &key) else { return Some(Entry { key, key_span, value }) };
        walk.path.field(&field);
        let value = match value.value {
            Value::String(_) => content(walk, value),
            Value::List(items) => {
                let items = items.into_iter().filter_map(|item| content(walk, item)).collect();
                Some(Node::list(value.span, items))
            }
            _ => Some(value),
        };
        walk.path.pop();
        Some(Entry { key, key_span, value: value? })
    });
    walk.fields(message, object)
}

/// The field of this name, if it takes a `DataSource` or several.
fn data_source(message: &MessageDescriptor, key: &str) -> Option<FieldDescriptor> {
    let field = message.get_field_by_name(key).or_else(|| message.get_field_by_json_name(key))?;
    is_data_source(&field).then_some(field)
}

fn is_data_source(field: &FieldDescriptor) -> bool {
    field.kind().as_message().is_some_and(|kind| kind.full_name() == DATA_SOURCE)
}

/// Whether a text in this field of a message is a path, as `holder` reads it.
pub(super) fn takes_paths(message: &MessageDescriptor, field: &FieldDescriptor) -> bool {
    [CERTIFICATE, VALIDATION, TICKETS].contains(&message.full_name()) && is_data_source(field)
}

/// The content of the file that a text names; what is no text stays.
fn content(walk: &mut Walk<'_>, node: Node) -> Option<Node> {
    let Value::String(path) = &node.value else { return Some(node) };
    let span = node.span;
    // Not a word of it may be repeated: it may be a key.
    if path.contains(['\n', '\0']) || path.starts_with("-----BEGIN") || path.len() > MAX_PATH {
        let message = "a text is the path of a file here, and this is none";
        walk.report("not-a-path", span, message, "write the content itself as `{inline_string: …}`");
        return None;
    }
    let document = walk.beside.files.name(span.file).map_or("", AsRef::as_ref);
    let bytes = match walk.beside.attachments.read(document, path) {
        Ok(attachment) => attachment.bytes,
        Err(error) => {
            let (code, help) = match &error {
                ReadError::Missing { .. } => ("missing-file", HELP),
                ReadError::Unreadable { .. } => ("unreadable-file", error.help().unwrap_or_default()),
            };
            walk.report(code, span, error.to_string(), help);
            return None;
        }
    };
    if bytes.is_empty() {
        let help = "it may be in the middle of being written; it is read again when it changes";
        walk.report("empty-file", span, format!("the file `{path}` is empty"), help);
        return None;
    }
    let inline = match std::str::from_utf8(&bytes) {
        Ok(text) => ("inline_string", Node::string(span, text)),
        Err(_) => ("inline_bytes", Node::string(span, BASE64_STANDARD.encode(&bytes))),
    };
    Some(Node::map(span, [inline]))
}

/// Certificates and authorities in files become secrets of their own, which the context refers to: a new certificate is then
/// a new secret, and the listener or cluster stays as it is.
pub(super) fn common_tls_context(walk: &mut Walk<'_>, message: &MessageDescriptor, mut object: Object) -> Object {
    certificates(walk, &mut object);
    let others = ["combined_validation_context", "validation_context_sds_secret_config"];
    // Two of a kind are complained about when they are read strictly.
    if !others.iter().any(|other| object.get(other).is_some()) {
        secret(walk, &mut object, "validation_context", VALIDATION);
    }
    walk.fields(message, object)
}

/// The keys of a listener's session tickets, which stand beside its `CommonTlsContext`.
pub(super) fn session_tickets(walk: &mut Walk<'_>, object: &mut Object) {
    if object.get("session_ticket_keys_sds_secret_config").is_none() {
        secret(walk, object, "session_ticket_keys", TICKETS);
    }
}

/// Each transport socket that a cluster chooses from has secrets of its own.
pub(super) fn transport_socket_match(walk: &mut Walk<'_>, message: &MessageDescriptor, object: Object) -> Object {
    let outer = walk.scope.clone();
    if let (Scope::Named { name, .. }, Some(own)) = (&mut walk.scope, object.get("name").and_then(Node::as_str)) {
        *name = format!("{name}/{own}");
    }
    let object = walk.fields(message, object);
    walk.scope = outer;
    object
}

/// A message with files in it becomes a secret, which `{field}_sds_secret_config` refers to.
fn secret(walk: &mut Walk<'_>, object: &mut Object, field: &str, message: &str) {
    if !object.get(field).is_some_and(|node| names_file(walk, message, node)) {
        return;
    }
    let Some(entry) = object.entry(field).cloned() else { return };
    let Some(scope) = walk.derived_name(entry.key_span, "the secret") else { return };
    object.take(field);
    let reference = derive(walk, format!("{scope}/{field}"), field, entry.key_span, entry.value);
    object.set(&format!("{field}_sds_secret_config"), entry.key_span, reference);
}

/// If any certificate is in files, all of them become secrets: with one in the context itself, Envoy would ask for no other.
fn certificates(walk: &mut Walk<'_>, object: &mut Object) {
    let Some(Node { value: Value::List(items), .. }) = object.get("tls_certificates") else { return };
    if !items.iter().any(|item| names_file(walk, CERTIFICATE, item)) {
        return;
    }
    let Some(entry) = object.entry("tls_certificates").cloned() else { return };
    let Some(scope) = walk.derived_name(entry.key_span, "the secret") else { return };
    let Value::List(items) = entry.value.value else { return };
    object.take("tls_certificates");
    let Some(names) = names(walk, &items) else { return };
    let references = names.into_iter().zip(items).map(|(own, item)| {
        let name =
            own.map_or_else(|| format!("{scope}/tls_certificate"), |own| format!("{scope}/tls_certificate/{own}"));
        let span = item.span;
        derive(walk, name, "tls_certificate", span, item)
    });
    let references: Vec<_> = references.collect();
    match object.get_mut("tls_certificate_sds_secret_configs") {
        Some(Node { value: Value::List(configs), .. }) => configs.extend(references),
        // What is no list is complained about when it is read strictly.
        Some(_) => {}
        None => {
            object.take("tls_certificate_sds_secret_configs");
            let references = Node::list(entry.value.span, references);
            object.set("tls_certificate_sds_secret_configs", entry.key_span, references);
        }
    }
}

/// What tells several certificates from each other, in their names and so in Envoy's statistics: their files, never their
/// position. The only one needs nothing.
fn names(walk: &mut Walk<'_>, items: &[Node]) -> Option<Vec<Option<String>>> {
    if items.len() < 2 {
        return Some(vec![None; items.len()]);
    }
    let paths: Vec<Option<&FilePath>> = items.iter().map(|item| file(item).map(FilePath::new)).collect();
    let stem = |path: &FilePath| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let mut names: Vec<Option<String>> = paths.iter().map(|path| path.and_then(stem)).collect();
    if names.iter().collect::<BTreeSet<_>>().len() < names.len() {
        let whole =
            |path: &FilePath| path.with_extension("").to_string_lossy().trim_start_matches(['.', '/']).to_owned();
        names = paths.into_iter().map(|path| path.map(whole)).collect();
    }
    let mut first = BTreeMap::new();
    for (name, item) in names.iter().zip(items) {
        let Some(name) = name else {
            let message = "one of several certificates needs a name, and this one has no file to be named after";
            let help = "make it an item of `secrets`, and name it in `tls_certificate_sds_secret_configs`";
            walk.report("unnamed-certificate", item.span, message, help);
            return None;
        };
        if let Some(before) = first.insert(name, item.span) {
            walk.report_beside(
                "duplicate-certificate",
                item.span,
                format!("the certificate `{name}` is given twice"),
                before,
            );
            return None;
        }
    }
    Some(names)
}

/// The file that a certificate is in, here or on the proxy's host.
fn file(certificate: &Node) -> Option<&str> {
    ["certificate_chain", "pkcs12", "private_key"].iter().find_map(|field| {
        let source = find(certificate, field)?;
        source.as_str().or_else(|| find(source, "filename")?.as_str()).filter(|path| !path.is_empty())
    })
}

/// Whether any text in a message of this type is a path.
fn names_file(walk: &Walk<'_>, message: &str, node: &Node) -> bool {
    let (Some(message), Some(entries)) = (walk.schema.message(message), node.entries()) else { return false };
    let is_text = |node: &Node| node.as_str().is_some();
    let is_path = |entry: &Entry| {
        let texts = is_text(&entry.value) || entry.value.items().is_some_and(|items| items.iter().any(is_text));
        texts && data_source(&message, &entry.key).is_some()
    };
    !is_verbatim(node) && entries.iter().any(is_path)
}

/// Makes the secret and returns what refers to it.
fn derive(walk: &mut Walk<'_>, name: String, field: &str, span: Span, content: Node) -> Node {
    let mut secret = Object::new(span);
    secret.set("name", span, Node::string(span, &name));
    secret.set(field, span, content);
    walk.derive(Kind::Secret, &name, span, secret.close());
    Node::string(span, name)
}
