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
use crate::pipeline::{self, Compiled};
use crate::snapshot::{DEFAULT_GROUP, Resource};

/// Print the Envoy resources that a topology stands for.
///
/// The output is one document per node group, with `resources` in sending order, each with its `"@type"`; it is itself a
/// topology that means the same. Private keys are redacted. With `--bootstrap` it is a complete static Envoy configuration
/// for `envoy --mode validate -c`, private keys included.
#[derive(Clone, Debug, clap::Args)]
pub struct Render {
    #[command(flatten)]
    input: Input,
    /// Format.
    #[arg(short, long, env = "CHANCERY_OUTPUT", value_enum, default_value = "yaml")]
    output: Format,
    /// Only this node group.
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
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let (schema, documents) = self.input.load()?;
        let compiled = pipeline::compile(&schema, &documents);
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
        let documents: Vec<String> = groups
            .iter()
            .map(|(group, resources)| self.output.resources(group, &natives(schema, resources, Redact::Yes)))
            .collect();
        let separator = if self.output == Format::Yaml { "---\n" } else { "" };
        Ok(Rendered { text: documents.join(separator), notes: Vec::new() })
    }

    fn select<'a>(
        &self,
        groups: &'a BTreeMap<Arc<str>, Vec<Resource>>,
    ) -> anyhow::Result<Vec<(&'a str, &'a [Resource])>> {
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

/// What goes to standard output, and what a format without comments has to say elsewhere.
struct Rendered {
    text: String,
    notes: Vec<String>,
}

/// The resources in sending order, then by name.
fn natives(schema: &Schema, resources: &[Resource], redact: Redact) -> Vec<Native> {
    let mut sorted: Vec<&Resource> = resources.iter().collect();
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
    /// One group as a topology of native resources.
    fn resources(self, group: &str, natives: &[Native]) -> String {
        let mut document = json!({"version": 1});
        if group != DEFAULT_GROUP {
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
