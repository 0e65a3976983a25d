//! The one path from documents to a snapshot, which serving and every command share.
//!
//! Enters: [`Document`]s, the [`World`] beside them and the previous snapshot. Leaves: a [`Report`] and an [`Outcome`]. Pure:
//! no disk, no network, no clock of its own. Invariant: one error anywhere and nothing leaves but the report.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::check::{self, Checked};
use crate::diagnostic::{Files, Findings, Report};
use crate::envoy::{Kind, Memo, Schema, canonical, field};
use crate::expand::{self, Beside};
use crate::snapshot::{Changes, Origin, Resource, Selectors, Snapshot, Traits};
use crate::source::{Attachments, Document};
use crate::topology::{self, NodeGroup, StaticResources};

/// What counts beside the documents, handed in so that the same input has the same outcome.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// The files that documents name.
    pub attachments: &'a dyn Attachments,
    /// Seconds since 1970: certificates expire.
    pub now: i64,
}

/// What became of a set of documents.
#[derive(Debug)]
pub struct Build {
    /// All findings.
    pub report: Report,
    /// Whether there is something to publish.
    pub outcome: Outcome,
}

/// Whether there is something to publish.
#[derive(Debug)]
pub enum Outcome {
    /// There are errors: keep what is served.
    Rejected,
    /// Nothing differs from the previous snapshot.
    Unchanged,
    /// A new snapshot. The changes are empty where only lines moved.
    Changed {
        /// What to publish.
        snapshot: Arc<Snapshot>,
        /// How it differs from the previous one.
        changes: Changes,
    },
}

/// The resources of a set of documents, before they are compared with a snapshot.
#[derive(Debug)]
pub struct Compiled {
    /// All findings.
    pub report: Report,
    /// The encoded resources of each group, those in common shared; empty if there are errors.
    pub groups: BTreeMap<Arc<str>, Vec<Arc<Resource>>>,
    /// Which nodes belong to which group.
    pub selectors: Selectors,
    /// Names that the topology says exist in the proxies' bootstrap.
    pub static_resources: StaticResources,
}

impl Compiled {
    /// How many resources there are; one that several groups share counts once.
    pub fn resources(&self) -> usize {
        let all = self.groups.values().flatten().map(Arc::as_ptr);
        all.collect::<BTreeSet<_>>().len()
    }
}

/// What earlier builds made of files that did not change. What a build leads to does not depend on it.
///
/// It is kept from build to build, rejected ones included, so that an edit costs little more than the file that it changes.
#[derive(Debug, Default)]
pub struct Memory {
    topology: topology::Memory,
    expand: expand::Memory,
    check: check::Memory,
    encoded: Memo<Resource>,
}

/// Documents to encoded resources.
pub fn compile(schema: &Schema, documents: &[Document], world: &World<'_>) -> Compiled {
    Memory::default().compile(schema, documents, world)
}

/// Documents to the snapshot that follows `previous`.
pub fn build(
    schema: &Schema,
    documents: &[Document],
    world: &World<'_>,
    previous: Option<&Snapshot>,
    memory: &mut Memory,
) -> Build {
    let Compiled { report, groups, selectors, static_resources: _ } = memory.compile(schema, documents, world);
    let outcome = if report.has_errors() {
        Outcome::Rejected
    } else {
        match Snapshot::next(previous, groups, selectors) {
            None => Outcome::Unchanged,
            Some((snapshot, changes)) => Outcome::Changed { snapshot: Arc::new(snapshot), changes },
        }
    };
    Build { report, outcome }
}

impl Memory {
    fn compile(&mut self, schema: &Schema, documents: &[Document], world: &World<'_>) -> Compiled {
        let mut files = Files::new();
        let mut findings = Findings::new();
        let topology = self.topology.parse(documents, &mut files, &mut findings);
        let static_resources = topology.static_resources.clone();
        let node_groups = Arc::clone(&topology.node_groups);
        let beside = Beside { files: &files, attachments: world.attachments };
        let natives = self.expand.expand(schema, topology, beside, &mut findings);
        let checked = self.check.check(schema, natives, &node_groups, world.now, &mut findings);
        let groups =
            if findings.has_errors() { BTreeMap::new() } else { self.encode(schema, &checked, &node_groups, &files) };
        let selectors = node_groups.iter().map(|group| (Arc::clone(&group.name), group.selector.clone())).collect();
        Compiled { report: Report::new(findings, Arc::new(files)), groups, selectors, static_resources }
    }

    /// Encodes each resource once and gives it to every group that it is for. A group without resources is a group too.
    pub fn encode(
        &mut self,
        schema: &Schema,
        checked: &[Checked],
        node_groups: &[NodeGroup],
        files: &Files,
    ) -> BTreeMap<Arc<str>, Vec<Arc<Resource>>> {
        self.encoded.turn();
        let mut groups: Vec<Vec<Arc<Resource>>> = vec![Vec::new(); node_groups.len()];
        for resource in checked {
            let native = &resource.native;
            let on_demand = is_on_demand(resource);
            let known = self.encoded.get(&native.node, |known| known.traits.on_demand == on_demand);
            let encoded = known.unwrap_or_else(|| {
                let encoded = Arc::new(encode(schema, resource, on_demand, files));
                // What nobody else holds cannot come back.
                if Arc::strong_count(&native.node) > 1 {
                    self.encoded.put(&native.node, Arc::clone(&encoded));
                }
                encoded
            });
            for group in native.groups.iter() {
                groups[group].push(Arc::clone(&encoded));
            }
        }
        node_groups.iter().map(|group| Arc::clone(&group.name)).zip(groups).collect()
    }
}

/// Whether clients have to ask for it by its name.
fn is_on_demand(Checked { native, message, .. }: &Checked) -> bool {
    native.on_demand || (native.kind == Kind::Listener && field::message(message, "api_listener").is_some())
}

fn encode(schema: &Schema, resource: &Checked, on_demand: bool, files: &Files) -> Resource {
    let (native, message) = (&resource.native, &resource.message);
    let span = native.node.span;
    let origin = Origin {
        file: files.name(span.file).map_or_else(|| Arc::from("<input>"), Arc::clone),
        line: span.line,
        column: span.column,
    };
    let traits = Traits {
        on_demand,
        private: resource.holds_private_key(),
        eds_service: if native.kind == Kind::Cluster { check::eds_service(message).map(Arc::from) } else { None },
        clusters: resource.clusters().into_iter().map(Arc::from).collect(),
    };
    Resource::new(native.kind, native.name.as_str(), &canonical::encode(schema, message), origin, traits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the three files of a topology may say. Every content of one file goes with every content of the others, and most
    /// of what one says has to do with what another says.
    const CONTENTS: [&[&str]; 3] = [
        &[
            "version: 1\nlisteners:\n- {name: web, address: '0.0.0.0:80', rds: table}\n",
            "# moved\n\nversion: 1\nlisteners:\n- {name: web, address: '0.0.0.0:80', rds: table}\n",
            "version: 1\nlisteners:\n- {name: web, address: '0.0.0.0:80', http_filters: [{name: later, config_discovery: {}}], \
             routes: [{route: {cluster: app}}]}\n",
            "version: 1\nlisteners:\n- {name: web, address: '0.0.0.0:80', tls: {certificate_chain: crt, private_key: key}, \
             routes: [{route: {cluster: app}}]}\n",
            "version: 1\nlisteners:\n- {name: web, adress: x}\n",
            "version: 1\nstatic_resources: {clusters: [app]}\n",
            "version: 1\nclusters:\n- &a {name: '', type: EDS, endpoints: ['1.2.3.4:1']}\n- *a\n",
            "\u{feff}version: 1\nlisteners: []\nnode_groups: [{name: one, match: {id: a}}, {name: two}]\n",
        ],
        &[
            "version: 1\nroute_configs:\n- {name: table, routes: [{route: {cluster: app}}]}\nclusters:\n- {name: app, endpoints: ['1.2.3.4:1']}\n",
            "version: 1\nroute_configs:\n- {name: table, routes: [{non_forwarding_action: {}}]}\n",
            "version: 1\nclusters:\n- {name: app, endpoints: ['1.2.3.4:1', '1.2.3.4:2']}\n- {name: app, endpoints: []}\n",
            "version: 1\nclusters: [\n",
            "",
        ],
        &[
            "version: 1\npatches:\n- {'@type': envoy.config.cluster.v3.Cluster, name: app, merge: {connect_timeout: 9s}}\n",
            "version: 1\npatches:\n- {'@type': envoy.config.cluster.v3.Cluster, name: app, merge: {connect_timeout: nine}}\n",
            "version: 1\npatches:\n- {'@type': envoy.config.cluster.v3.Cluster, name: app, merge: {}}\n",
            "version: 1\nextension_configs:\n- {name: later, cors: {}}\n",
            "version: 1\nextension_configs:\n- {name: later, buffer: {max_request_bytes: 7}}\n",
            "version: 1\nnode_group: two\nclusters:\n- {name: app, endpoints: ['5.6.7.8:1']}\n",
            "version: 1\nstatic_resources: {clusters: [app]}\n",
        ],
    ];

    #[test]
    fn what_is_remembered_never_changes_what_comes_out() {
        let schema = Schema::embedded();
        let mut state = 7_u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below
        };
        let mut memory = Memory::default();
        let mut chosen = [0, 0, 0];
        let (mut good, mut shared) = (0, 0);
        let mut before: BTreeMap<Arc<str>, Vec<Arc<Resource>>> = BTreeMap::new();
        for round in 0..600 {
            let changed = random(CONTENTS.len());
            chosen[changed] = random(CONTENTS[changed].len());
            let mut documents: Vec<Document> = CONTENTS
                .iter()
                .zip(chosen)
                .enumerate()
                .map(|(file, (contents, chosen))| Document {
                    name: format!("{file}.yaml").into(),
                    bytes: contents[chosen].as_bytes().into(),
                })
                .collect();
            // Files come and go, and so does the order of those that stay.
            documents.rotate_left(random(3));
            documents.truncate(1 + random(6).min(2));
            let (certificate, key) = (format!("crt {}", round / 50), format!("key {}", round / 70));
            let attachments = BTreeMap::from([("crt", certificate.as_bytes()), ("key", key.as_bytes())]);
            let world = World { attachments: &attachments, now: 0 };
            let fresh = compile(&schema, &documents, &world);
            let remembering = memory.compile(&schema, &documents, &world);
            let shown = |compiled: &Compiled| compiled.report.render_all(crate::diagnostic::Level::Info);
            assert_eq!(shown(&remembering), shown(&fresh), "round {round}");
            assert_eq!(remembering.groups, fresh.groups, "round {round}");
            assert_eq!(remembering.selectors, fresh.selectors);
            good += usize::from(!fresh.groups.is_empty());
            let old = before.values().flatten().map(Arc::as_ptr).collect::<BTreeSet<_>>();
            shared += remembering.groups.values().flatten().filter(|new| old.contains(&Arc::as_ptr(new))).count();
            before = remembering.groups;
        }
        assert!(good > 30 && shared > 10, "{good} of the rounds were good, with {shared} resources kept");
    }

    #[test]
    fn an_attached_file_counts_although_no_topology_changes() {
        let schema = Schema::embedded();
        let text = "version: 1\nsecrets: [{name: s, validation_context: {trusted_ca: ca}}]\n";
        let documents = [("a.yaml", text), ("b.yaml", "version: 1\nlisteners: []\n")]
            .map(|(name, text)| Document { name: name.into(), bytes: text.as_bytes().into() });
        let mut memory = Memory::default();
        let authority = || rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap().cert.pem();
        let mut served = |authority: &str| {
            let attachments = BTreeMap::from([("ca", authority.as_bytes())]);
            let world = World { attachments: &attachments, now: 0 };
            let compiled = memory.compile(&schema, &documents, &world);
            assert_eq!(compiled.groups, compile(&schema, &documents, &world).groups);
            let [resource] = compiled.groups.values().flatten().cloned().collect::<Vec<_>>().try_into().unwrap();
            resource
        };
        let (one, other) = (authority(), authority());
        let (first, second, third) = (served(&one), served(&one), served(&other));
        assert!(Arc::ptr_eq(&first, &second));
        assert_ne!(first.version, third.version);
    }

    #[test]
    fn a_certificate_expires_although_no_file_changes() {
        let schema = Schema::embedded();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2026, 1, 1), rcgen::date_time_ymd(2027, 1, 1));
        let (from, until) = (params.not_before.unix_timestamp(), params.not_after.unix_timestamp());
        let (certificate, key) = (params.self_signed(&key).unwrap().pem(), key.serialize_pem());
        let attachments = BTreeMap::from([("crt", certificate.as_bytes()), ("key", key.as_bytes())]);
        let text = "version: 1\nsecrets: [{name: s, tls_certificate: {certificate_chain: crt, private_key: key}}]\n";
        let documents = [("a.yaml", text), ("b.yaml", "version: 1\nlisteners: []\n")]
            .map(|(name, text)| Document { name: name.into(), bytes: text.as_bytes().into() });
        let mut memory = Memory::default();
        let mut told = Vec::new();
        for now in [from - 1, from, until, until + 1, until, from - 1] {
            let world = World { attachments: &attachments, now };
            let remembering = memory.compile(&schema, &documents, &world);
            let codes = |compiled: &Compiled| -> Vec<&str> {
                let findings = compiled.report.findings().iter();
                findings.filter(|finding| finding.level < crate::diagnostic::Level::Info).map(|it| it.code).collect()
            };
            assert_eq!(codes(&remembering), codes(&compile(&schema, &documents, &world)));
            told.push(codes(&remembering).concat());
        }
        let (early, late) = ("certificate-not-yet-valid", "certificate-expired");
        assert_eq!(told, [early, "", "", late, "", early]);
    }
}
