//! Envoy's own resources, pasted: every field of theirs comes out as it went in.
//!
//! `tests/corpus` holds topologies in Envoy's own words, in the style of its sandboxes. The first line of each says what it
//! shows, and which warnings it gets: `# A title. Warns: code, code`.

mod compare;
mod coverage;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use chancery::diagnostic::Level;
use chancery::envoy::{Kind, Schema};
use chancery::pipeline::{self, Compiled, World};
use chancery::source::{Document, Recorder};
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::Value;

use crate::support::tls::Authority;
use crate::support::tools::Release;
use crate::support::{chancery as program, envoy};
use compare::Comparison;

/// A day on which no certificate matters.
const NOW: i64 = 1_790_000_000;

/// The sections of a topology with the kind of resource that they list; `resources` lists any.
const SECTIONS: [(&str, Option<Kind>); 8] = [
    ("listeners", Some(Kind::Listener)),
    ("route_configs", Some(Kind::Route)),
    ("clusters", Some(Kind::Cluster)),
    ("load_assignments", Some(Kind::Endpoint)),
    ("secrets", Some(Kind::Secret)),
    ("runtimes", Some(Kind::Runtime)),
    ("extension_configs", Some(Kind::ExtensionConfig)),
    ("resources", None),
];

/// What a real Envoy does not load here, and why.
const NOT_LOADED: [(&str, &str); 8] = [
    ("access-log-limits", "the token bucket comes from the control plane, which a static configuration lacks"),
    ("dynamic-modules", "there is no such shared library"),
    ("geography", "there is no database of addresses"),
    ("registered-only", "this build of Envoy registers it and has no use for it"),
    ("reverse-tunnels", "they need an extension in the bootstrap"),
    ("tap-admin", "Envoy crashes when it validates a tap that the admin port controls"),
    ("tls-certificates-on-demand", "the certificates come from the control plane, which a static configuration lacks"),
    ("wasm", "there is no such module"),
];

/// A file of the corpus, read without any help of ours.
struct File {
    name: String,
    text: String,
    topology: Value,
}

impl File {
    /// The codes of the warnings that its first line announces.
    fn warnings(&self) -> BTreeSet<&str> {
        let first = self.text.lines().next().unwrap_or_default();
        let title = first.strip_prefix("# ").unwrap_or_else(|| panic!("{}: the first line is its title", self.name));
        title
            .split_once(" Warns: ")
            .map_or_else(BTreeSet::new, |(_, codes)| codes.trim_end_matches('.').split(", ").collect())
    }

    /// The resources that were pasted, each with its kind.
    fn pasted(&self) -> Vec<(Kind, Value)> {
        let mut all = Vec::new();
        for (section, kind) in SECTIONS {
            let items = self.topology.get(section).and_then(Value::as_array);
            for item in items.into_iter().flatten() {
                let mut resource = item.clone();
                let url = resource.as_object_mut().unwrap().remove("@type");
                let own = url.as_ref().map(|url| Kind::from_type_url(url.as_str().unwrap()).expect("a resource type"));
                all.push((
                    own.or(kind).unwrap_or_else(|| panic!("{}: a resource without a type", self.name)),
                    resource,
                ));
            }
        }
        all
    }

    fn compiled(&self) -> Compiled {
        let document = Document { name: Arc::from(self.name.as_str()), bytes: self.text.as_bytes().into() };
        let attachments = Recorder::new();
        pipeline::compile(&Schema::embedded(), &[document], &World { attachments: &attachments, now: NOW })
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn corpus() -> Vec<File> {
    let mut names: Vec<PathBuf> = fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    names.sort();
    let file = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let topology = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        File { name, text, topology }
    };
    names.into_iter().map(file).collect()
}

/// The descriptors, decoded by themselves.
fn pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| DescriptorPool::decode(&include_bytes!("../../assets/descriptors.binpb")[..]).unwrap())
}

/// What the library's own reader makes of a resource.
fn read(kind: Kind, resource: &Value) -> Result<DynamicMessage, String> {
    let descriptor = pool().get_message_by_name(kind.message()).unwrap();
    DynamicMessage::deserialize(descriptor, resource).map_err(|error| error.to_string())
}

/// What was published of a resource.
fn published(any: &[u8]) -> DynamicMessage {
    let any = DynamicMessage::decode(pool().get_message_by_name("google.protobuf.Any").unwrap(), any).unwrap();
    compare::payload(&any).expect("a message that the descriptors have")
}

#[test]
fn what_is_pasted_comes_out_with_every_field() {
    let corpus = corpus();
    assert!(corpus.len() >= 70, "only {} files", corpus.len());
    let mut comparison = Comparison::default();
    let mut wrong = Vec::new();
    for file in &corpus {
        let compiled = file.compiled();
        let findings = compiled.report.findings();
        let errors: Vec<_> = findings.iter().filter(|finding| finding.level == Level::Error).collect();
        if !errors.is_empty() {
            wrong.push(format!("{}: {errors:?}", file.name));
            continue;
        }
        let warnings = findings.iter().filter(|finding| finding.level == Level::Warning).map(|finding| finding.code);
        let warnings: BTreeSet<_> = warnings.collect();
        if warnings != file.warnings() {
            wrong.push(format!("{}: it warns of {warnings:?}", file.name));
        }
        let pasted = file.pasted();
        let out = &compiled.groups["default"];
        if out.len() != pasted.len() {
            wrong.push(format!("{}: {} were pasted and {} came out", file.name, pasted.len(), out.len()));
        }
        for (kind, resource) in &pasted {
            let name = resource[kind.name_field()].as_str().or_else(|| resource["clusterName"].as_str()).unwrap();
            let Some(found) = out.iter().find(|found| found.kind == *kind && &*found.name == name) else {
                wrong.push(format!("{}: {kind} `{name}` did not come out", file.name));
                continue;
            };
            match read(*kind, resource) {
                Ok(message) => {
                    let at = format!("{}: {kind} `{name}`", file.name);
                    comparison.message(&at, &message, &published(&found.any));
                }
                Err(error) => wrong.push(format!("{}: {kind} `{name}`: {error}", file.name)),
            }
        }
    }
    wrong.append(&mut comparison.lost);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    comparison.assert_defaults_are_those_we_document();
    let missing = coverage::missing(&comparison.seen);
    assert!(missing.is_empty(), "the corpus lacks\n{}", missing.join("\n"));
}

#[tokio::test]
async fn envoy_loads_what_was_pasted() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let mut wrong = Vec::new();
    let corpus = corpus();
    for (name, _) in NOT_LOADED {
        assert!(corpus.iter().any(|file| file.name == name), "there is no {name}");
    }
    for file in corpus {
        let path = directory().join(format!("{}.yaml", file.name));
        let rendered = program::run(&["render", "--bootstrap", path.to_str().unwrap()]).await;
        assert_eq!(rendered.code, 0, "{}: {rendered:?}", file.name);
        let verdict = envoy::validate_in(Release::Described, dir.path(), &rendered.stdout).await;
        let exempt = NOT_LOADED.iter().find(|(name, _)| *name == file.name);
        match (verdict, exempt) {
            (Ok(()), None) | (Err(_), Some(_)) => {}
            (Ok(()), Some((_, why))) => wrong.push(format!("{}: Envoy loads it, although {why}", file.name)),
            (Err(error), None) => wrong.push(format!("{}: {error}", file.name)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The files that the corpus names on the proxy's host, relative to its directory.
fn certificates(dir: &Path) {
    let dir = dir.join("certs");
    fs::create_dir(&dir).unwrap();
    let authority = Authority::new();
    fs::write(dir.join("ca.crt"), authority.pem()).unwrap();
    for name in ["server", "client"] {
        let pair = authority.issue(&format!("{name}.example.com"));
        fs::write(dir.join(format!("{name}.crt")), &pair.certificate).unwrap();
        fs::write(dir.join(format!("{name}.key")), &pair.key).unwrap();
    }
}
