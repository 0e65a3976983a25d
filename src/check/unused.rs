//! Resources that nothing in the topology refers to: worth knowing, and no mistake, because proxies may have more
//! configuration than this server gives them.

use std::collections::BTreeSet;

use super::Noted;
use crate::diagnostic::Findings;
use crate::envoy::{Kind, Path};

pub(super) fn check(set: &[&Noted<'_>], findings: &mut Findings) {
    let references = set.iter().flat_map(|noted| &noted.facts.references);
    let used: BTreeSet<(Kind, &str)> = references.map(|reference| (reference.kind, reference.name.as_str())).collect();
    for noted in set.iter().filter(|noted| !noted.resource.broken) {
        let native = &noted.resource.native;
        let what = match native.kind {
            Kind::Cluster => "cluster",
            Kind::Route => "route configuration",
            Kind::Secret => "secret",
            Kind::Endpoint => "load assignment",
            _ => continue,
        };
        if !used.contains(&(native.kind, native.name.as_str())) {
            let text = format!("nothing in this topology refers to the {what} `{}`", native.name);
            findings.push(noted.resource.info("unreferenced", &Path::new(), text));
        }
    }
}
