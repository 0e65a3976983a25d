//! `chancery render`: what the topology means in Envoy's own terms.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use clap::builder::FalseyValueParser;
use serde_json::{Value, json};

use super::input::Input;
use super::static_bootstrap::{self, Native, Setting, Static};
use super::yaml;
use crate::admin::native_json;
use crate::diagnostic::Level;
use crate::envoy::Schema;
use crate::envoy::json::Redact;
use crate::pipeline::Compiled;
use crate::snapshot::{Resource, Selectors};

/// Print the Envoy resources that a topology stands for.
///
/// The output has `resources` in sending order, each with its `"@type"`; it is itself a topology that means the same. Where
/// there are node groups, a document that defines them comes first, then one for each group. Private keys are redacted. With `--bootstrap` it is a complete static Envoy configuration
/// for `envoy --mode validate -c`, private keys included.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Render {
    #[command(flatten)]
    input: Input,
    /// Format.
    #[arg(short, long, env = "CHANCERY_OUTPUT", value_enum, default_value = "yaml")]
    output: Format,
    /// Only this node group, as a topology that serves it to every node.
    #[arg(long, env = "CHANCERY_NODE_GROUP", value_name = "NAME")]
    node_group: Option<String>,
    /// A static Envoy configuration, with everything inlined that Envoy would ask the control plane for.
    #[arg(long, env = "CHANCERY_BOOTSTRAP", value_parser = FalseyValueParser::new())]
    bootstrap: bool,
    // Without a variable of its own: CHANCERY_ADMIN is the address of Chancery's admin port.
    /// With --bootstrap: the address of Envoy's admin interface [default: none].
    #[arg(long, value_name = "IP:PORT", requires = "bootstrap")]
    admin: Option<SocketAddr>,
}

/// How to write the resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Yaml,
    Json,
}

impl Render {
    /// Prints the resources on standard output and the findings on standard error.
    ///
    /// # Errors
    /// If the files cannot be read, the node group does not exist, or standard output is closed.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let (schema, compiled, _) = self.input.compile()?;
        let mut findings = std::io::stderr().lock();
        findings.write_all(compiled.report.render_all(Level::Warning).as_bytes())?;
        if compiled.report.has_errors() {
            return Ok(ExitCode::from(1));
        }
        let Rendered { text, notes } = self.render(&schema, &compiled)?;
        for note in notes {
            writeln!(findings, "note: left out: {note}")?;
        }
        std::io::stdout().lock().write_all(text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }

    fn render(&self, schema: &Schema, compiled: &Compiled) -> anyhow::Result<Rendered> {
        let groups = self.select(&compiled.groups)?;
        if self.bootstrap {
            let [(group, resources)] = groups[..] else {
                let names: Vec<&str> = groups.iter().map(|(name, _)| *name).collect();
                bail!(
                    "a static configuration is of one node group; choose one with --node-group: {}",
                    names.join(", ")
                );
            };
            let setting =
                Setting { clusters: &compiled.static_resources.clusters, node_cluster: group, admin: self.admin };
            let natives = natives(schema, resources, Redact::No);
            return Ok(self.output.bootstrap(static_bootstrap::build(schema, natives, &setting)));
        }
        let is_whole = self.node_group.is_none() && compiled.selectors != Selectors::default();
        let mut documents = Vec::new();
        if is_whole {
            let definitions = json!({"version": 1, "node_groups": compiled.selectors.to_json()});
            documents.push(self.output.document(&definitions));
        }
        documents.extend(groups.iter().map(|(group, resources)| {
            let natives = natives(schema, resources, Redact::Yes);
            self.output.resources(is_whole.then_some(*group), &natives)
        }));
        let separator = if self.output == Format::Yaml { "---\n" } else { "" };
        Ok(Rendered { text: documents.join(separator), notes: Vec::new() })
    }

    fn select<'a>(&self, groups: &'a BTreeMap<Arc<str>, Vec<Arc<Resource>>>) -> anyhow::Result<Vec<Group<'a>>> {
        let all = groups.iter().map(|(name, resources)| (&**name, resources.as_slice()));
        let Some(wanted) = &self.node_group else { return Ok(all.collect()) };
        let chosen: Vec<_> = all.filter(|(name, _)| name == wanted).collect();
        if chosen.is_empty() {
            let names: Vec<&str> = groups.keys().map(|name| &**name).collect();
            bail!("there is no node group `{wanted}`; node groups: {}", names.join(", "));
        }
        Ok(chosen)
    }
}

/// A node group's name and resources.
type Group<'a> = (&'a str, &'a [Arc<Resource>]);

/// What goes to standard output, and what a format without comments has to say elsewhere.
struct Rendered {
    text: String,
    notes: Vec<String>,
}

/// The resources in sending order, then by name.
pub(super) fn natives(schema: &Schema, resources: &[Arc<Resource>], redact: Redact) -> Vec<Native> {
    let mut sorted: Vec<&Resource> = resources.iter().map(AsRef::as_ref).collect();
    sorted.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    let native = |resource: &Resource| Native {
        kind: resource.kind,
        name: resource.name.to_string(),
        origin: resource.origin.to_string(),
        json: native_json(schema, resource, redact),
    };
    sorted.into_iter().map(native).collect()
}

impl Format {
    /// Native resources as a document, for all groups or for one.
    fn resources(self, group: Option<&str>, natives: &[Native]) -> String {
        let mut document = json!({"version": 1});
        if let Some(group) = group {
            document["node_group"] = group.into();
        }
        if self == Self::Json || natives.is_empty() {
            document["resources"] = natives.iter().map(|native| native.json.clone()).collect();
            return self.document(&document);
        }
        let mut out = self.document(&document) + "resources:\n";
        for Native { kind: _, name: _, origin, json } in natives {
            out.push_str(&yaml::comment(origin));
            out.push_str(&yaml::to_string(&Value::Array(vec![json.clone()])));
        }
        out
    }

    fn bootstrap(self, bootstrap: Static) -> Rendered {
        let Static { config, left_out } = bootstrap;
        if self == Self::Json {
            return Rendered { text: self.document(&config), notes: left_out };
        }
        let mut text = String::new();
        if config["static_resources"].get("secrets").is_some() {
            text.push_str(&yaml::comment("This file holds secrets."));
        }
        for note in left_out {
            text.push_str(&yaml::comment(&format!("Left out: {note}")));
        }
        _ = write!(text, "{}", self.document(&config));
        Rendered { text, notes: Vec::new() }
    }

    fn document(self, value: &Value) -> String {
        match self {
            Self::Yaml => yaml::to_string(value),
            Self::Json => format!("{value:#}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use envoy_types::pb::envoy::config::cluster::v3::Cluster;
    use envoy_types::pb::envoy::config::core::v3::{DataSource, data_source::Specifier};
    use envoy_types::pb::envoy::config::listener::v3::{ApiListener, Listener};
    use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{Secret, TlsCertificate, secret};

    use super::*;
    use crate::envoy::Kind;
    use crate::snapshot::{DEFAULT_GROUP, Origin, Selector, Traits};

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        render: Render,
    }

    fn rendered(args: &[&str], compiled: &Compiled) -> anyhow::Result<Rendered> {
        let args = ["render"].iter().chain(args);
        let command = Command::try_parse_from(args).unwrap_or_else(|error| panic!("{error}"));
        command.render.render(&Schema::embedded(), compiled)
    }

    fn resource(kind: Kind, name: &str, message: &impl prost::Message) -> Resource {
        let origin = Origin { file: "topology.yaml".into(), line: 2, column: 3 };
        Resource::new(kind, name, &message.encode_to_vec(), origin, Traits::default())
    }

    fn resources() -> Vec<Resource> {
        let private_key =
            DataSource { specifier: Some(Specifier::InlineString("the key".into())), ..Default::default() };
        let certificate = TlsCertificate { private_key: Some(private_key), ..Default::default() };
        let secret = Secret { name: "010".into(), r#type: Some(secret::Type::TlsCertificate(certificate)) };
        let api = Listener { name: "api".into(), api_listener: Some(ApiListener::default()), ..Default::default() };
        let cluster = Cluster { name: "c".into(), alt_stat_name: "yes".into(), ..Default::default() };
        vec![
            resource(Kind::Listener, "api", &api),
            resource(Kind::Secret, "010", &secret),
            resource(Kind::Cluster, "c", &cluster),
        ]
    }

    fn compiled(groups: Vec<(&str, Vec<Resource>)>) -> Compiled {
        let names = groups.iter().map(|(name, _)| *name).filter(|name| *name != DEFAULT_GROUP);
        let defined: Vec<_> = names.map(|name| (name.into(), Selector::of_id(name))).collect();
        let selectors = if defined.is_empty() { Selectors::default() } else { defined.into_iter().collect() };
        let shared = |resources: Vec<Resource>| resources.into_iter().map(Arc::new).collect();
        let groups = groups.into_iter().map(|(name, resources)| (name.into(), shared(resources))).collect();
        let static_resources = crate::topology::StaticResources { clusters: vec!["x".into()], ..Default::default() };
        Compiled { report: crate::diagnostic::Report::default(), groups, selectors, static_resources }
    }

    const RESOURCES: &str = "\
resources:
# topology.yaml:2:3
- \"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: c
  alt_stat_name: \"yes\"
# topology.yaml:2:3
- \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret
  name: \"010\"
  tls_certificate:
    private_key:
      inline_string: \"[redacted]\"
# topology.yaml:2:3
- \"@type\": type.googleapis.com/envoy.config.listener.v3.Listener
  name: api
  api_listener: {}
";

    #[test]
    fn a_group_is_a_topology_of_native_resources_without_keys() {
        let compiled = compiled(vec![("default", resources())]);
        let yaml = rendered(&[], &compiled).unwrap().text;
        assert_eq!(yaml, format!("version: 1\n{RESOURCES}"));
        let json = rendered(&["-o", "json"], &compiled).unwrap().text;
        let from_yaml: Value = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(from_yaml, serde_json::from_str::<Value>(&json).unwrap());
    }

    #[test]
    fn each_group_is_a_document_of_its_own() {
        let compiled = compiled(vec![("batch", Vec::new()), ("edge", resources())]);
        let all = rendered(&[], &compiled).unwrap().text;
        let definitions =
            "version: 1\nnode_groups:\n- name: batch\n  match:\n    id: batch\n- name: edge\n  match:\n    id: edge\n";
        let batch = "version: 1\nnode_group: batch\nresources: []\n";
        let edge = format!("version: 1\nnode_group: edge\n{RESOURCES}");
        assert_eq!(all, format!("{definitions}---\n{batch}---\n{edge}"));
        let alone = rendered(&["--node-group", "edge"], &compiled).unwrap().text;
        assert_eq!(alone, format!("version: 1\n{RESOURCES}"));
        let error = rendered(&["--node-group", "x"], &compiled).err().unwrap();
        assert_eq!(error.to_string(), "there is no node group `x`; node groups: batch, edge");
        let error = rendered(&["--bootstrap"], &compiled).err().unwrap();
        assert!(error.to_string().ends_with("choose one with --node-group: batch, edge"), "{error}");
    }

    #[test]
    fn a_bootstrap_says_what_it_leaves_out() {
        let compiled = compiled(vec![("default", resources())]);
        let yaml = rendered(&["--bootstrap"], &compiled).unwrap();
        let note = "api_listener `api` (topology.yaml:2:3): Envoy takes none statically";
        assert!(yaml.text.starts_with(&format!("# This file holds secrets.\n# Left out: {note}\nnode:\n")));
        assert!(yaml.notes.is_empty());
        let json = rendered(&["--bootstrap", "-o", "json"], &compiled).unwrap();
        assert_eq!(json.notes, [note]);
        let value: Value = serde_json::from_str(&json.text).unwrap();
        assert_eq!(value, serde_saphyr::from_str::<Value>(&yaml.text).unwrap());
        assert_eq!(
            value["static_resources"]["secrets"][0]["tls_certificate"]["private_key"]["inline_string"],
            "the key"
        );
        assert_eq!(value["static_resources"]["clusters"][1]["name"], "x");
        assert!(value.get("admin").is_none());
    }

    #[test]
    fn an_admin_address_is_for_a_bootstrap_only() {
        assert!(Command::try_parse_from(["render", "--admin", "127.0.0.1:1"]).is_err());
        let compiled = compiled(vec![("default", Vec::new())]);
        let text = rendered(&["--bootstrap", "--admin", "127.0.0.1:1"], &compiled).unwrap().text;
        assert!(text.contains("admin:\n"), "{text}");
    }
}
