//! Resources that nothing in the topology refers to: worth knowing, and no mistake, because proxies may have more
//! configuration than this server gives them.

use super::index::Index;
use crate::diagnostic::Findings;
use crate::envoy::{Kind, Path};

pub(super) fn check(index: &Index<'_, '_>, findings: &mut Findings) {
    let mut used = vec![false; index.set.len()];
    for reference in index.set.iter().flat_map(|noted| &noted.facts.references) {
        if let Some(position) = index.position(reference.kind, &reference.name) {
            used[position] = true;
        }
    }
    for noted in index.set {
        let native = &noted.resource.native;
        let what = match native.kind {
            Kind::Cluster => "cluster",
            Kind::Route => "route configuration",
            Kind::Secret => "secret",
            Kind::Endpoint => "load assignment",
            _ => continue,
        };
        let used = index.position(native.kind, &native.name).is_some_and(|position| used[position]);
        if !used && !noted.resource.broken {
            let text = format!("nothing in this topology refers to the {what} `{}`", native.name);
            findings.push(noted.resource.info("unreferenced", &Path::new(), text));
        }
    }
}
