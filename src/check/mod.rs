//! What Envoy would refuse, and what it would accept although it cannot work.
//!
//! Enters: native resources as located JSON. Leaves: their messages, and findings. Knows: Envoy's field rules and the names
//! of the whole topology. Pure. Invariant: a set without errors is one that a proxy takes as a whole, as far as a control
//! plane can tell.

mod cluster;
mod group;
mod references;
mod tls;
mod tls_material;
mod weights;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;

pub(crate) use references::eds_service;
pub(crate) use tls::holds_private_key;

use std::collections::BTreeSet;

use crate::diagnostic::{Finding, Findings, Level, Span};
use crate::envoy::{self, DynamicMessage, Kind, Path, Schema};
use crate::expand::Native;
use crate::topology::NodeGroup;

/// A native resource with its message. It may hold private keys: `Debug` does not show its content.
pub struct Checked {
    /// The resource as it was expanded.
    pub native: Native,
    /// The message that its JSON stands for; incomplete where there are errors.
    pub message: DynamicMessage,
    /// Whether there are errors in the item that it was made from.
    broken: bool,
}

impl std::fmt::Debug for Checked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { native, message: _, broken } = self;
        f.debug_struct("Checked").field("native", native).field("broken", broken).finish_non_exhaustive()
    }
}

impl Checked {
    /// The place of a field inside the resource, or of the text that caused it.
    fn span(&self, path: &Path) -> Span {
        self.native.node.locate(path)
    }

    /// The full path of a field inside the resource, as findings show it.
    fn path(&self, inner: &Path) -> String {
        match inner.to_string() {
            inner if inner.is_empty() => self.native.path.clone(),
            inner if inner.starts_with('[') => format!("{}{inner}", self.native.path),
            inner => format!("{}.{inner}", self.native.path),
        }
    }

    fn error(&self, code: &'static str, inner: &Path, message: impl Into<String>) -> Finding {
        Finding::error(code, self.span(inner), self.path(inner), message)
    }

    /// An error in the friendly form; only a warning where the author wrote Envoy's own message.
    fn error_unless_verbatim(&self, code: &'static str, inner: &Path, message: impl Into<String>) -> Finding {
        let finding = self.error(code, inner, message);
        if self.native.verbatim { Finding { level: Level::Warning, ..finding } } else { finding }
    }
}

/// Reads every resource strictly, applies Envoy's field rules, then looks at the resources of each node group as a whole.
/// `now` is in seconds since 1970: certificates expire.
pub fn check(
    schema: &Schema,
    natives: Vec<Native>,
    groups: &[NodeGroup],
    now: i64,
    findings: &mut Findings,
) -> Vec<Checked> {
    let mut checked: Vec<_> = natives.into_iter().map(|native| read(schema, native, findings)).collect();
    mark_broken(&mut checked);
    for resource in &checked {
        match resource.native.kind {
            Kind::Cluster => cluster::check(resource, findings),
            Kind::Endpoint => cluster::check_served(resource, findings),
            // A listener may hold a whole route table.
            Kind::Route | Kind::VirtualHost | Kind::ScopedRoute | Kind::Listener => {
                weights::check(schema, resource, findings);
            }
            _ => {}
        }
    }
    tls::check(schema, &checked, groups, now, findings);
    let members: Vec<_> = checked.iter().map(|resource| (resource, &resource.native.groups)).collect();
    group::each(&members, groups, findings, |members, group, findings| {
        references::check(schema, members, &group.static_resources, findings);
    });
    checked
}

/// Notes which resources have errors already: what is absent there may be what could not be read.
fn mark_broken(checked: &mut [Checked]) {
    let broken: BTreeSet<usize> =
        checked.iter().filter(|resource| resource.broken).map(|resource| resource.native.item).collect();
    for resource in checked {
        resource.broken = broken.contains(&resource.native.item);
    }
}

fn read(schema: &Schema, native: Native, findings: &mut Findings) -> Checked {
    let descriptor = schema.message(native.kind.message()).expect("the descriptor set has every kind, see its test");
    let mut path = Path::new();
    path.field(&native.path);
    let before = findings.len();
    let message = envoy::compile(schema, &descriptor, &native.node, &mut path, findings);
    let failed = findings.as_slice()[before..].iter().any(|finding| finding.level == Level::Error);
    let broken = native.broken || failed;
    Checked { native, message, broken }
}
