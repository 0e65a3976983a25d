//! `assets/descriptors.binpb`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use prost_reflect::DescriptorPool;

use crate::merge::{self, Set};
use crate::{elf, root, wire};

/// Folders of the files that make up Envoy's API. The binary has more: what its own libraries store and send.
const API: &[&str] = &["envoy/", "udpa/", "xds/"];

/// Fields that the envoy-types package has and the set has not: Envoy has another name for them, or an older library.
const GONE: &[&str] = &[
    "envoy.data.ai.v3.RequestInfo.input_api_protocol",
    "envoy.data.ai.v3.TokenUsage.api_protocol",
    "envoy.extensions.filters.http.ai_protocol_manager.v3.RequestPerRoute.api_protocol",
    "envoy.extensions.filters.http.ai_protocol_manager.v3.ResponsePerRoute.api_protocol",
    "envoy.extensions.filters.http.ai_protocol_manager.v3.TokenUsageExtraction.default_api_protocol",
    "google.api.expr.v1alpha1.Decl.FunctionDecl.doc",
    "google.protobuf.FeatureSet.enforce_proto_limits",
    "opentelemetry.proto.common.v1.AnyValue.string_value_strindex",
    "opentelemetry.proto.common.v1.KeyValue.key_strindex",
];

/// Makes the set and writes it, or compares it with the one that is there; returns what differs.
pub(crate) fn run(envoy: &Path, check: bool) -> anyhow::Result<Vec<String>> {
    let package = package_files()?;
    let binary = merge::set(elf::descriptors(envoy)?)?;
    let is_api = |name: &str| package.contains_key(name) || API.iter().any(|folder| name.starts_with(folder));
    let api = merge::closure(&binary, is_api);
    let fields = merge::fields(&package);
    let counts = (package.len(), api.len(), binary.len());
    let (merged, dropped) = merge::overlay(package, api);
    let encoded = merge::encode(&merged)?;
    let pool = DescriptorPool::decode(encoded.as_slice()).context("the merged set does not hold together")?;
    println!(
        "{} files: {} from the envoy-types package, {} of the {} in Envoy; {} messages, {} bytes",
        merged.len(),
        counts.0,
        counts.1,
        counts.2,
        pool.all_messages().len(),
        encoded.len(),
    );
    println!("left out, as their symbols are defined elsewhere: {}", dropped.clashing.join(", "));
    println!("left out, as an import is missing: {}", dropped.open.join(", "));

    let mut drift = lost_fields(&fields, &merge::fields(&merged));
    let path = root().join("assets/descriptors.binpb");
    if check {
        let current = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if current != encoded {
            drift.push("assets/descriptors.binpb differs from what these sources give:".to_owned());
            drift.extend(file_drift(&files(&current)?, &merged));
        }
    } else {
        fs::write(&path, encoded).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(drift)
}

/// The descriptors inside the envoy-types package that this repository is locked to.
fn package_files() -> anyhow::Result<Set> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .context("cannot run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let package = packages.iter().find(|package| package["name"] == "envoy-types").context("no package envoy-types")?;
    let manifest = PathBuf::from(package["manifest_path"].as_str().context("a package without a manifest")?);
    let path = manifest.with_file_name("src").join("generated/types.bin");
    files(&fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?)
}

/// The files of an encoded `FileDescriptorSet`.
fn files(set: &[u8]) -> anyhow::Result<Set> {
    merge::set(wire::fields(set).filter(|field| field.number == 1).map(|field| field.content.to_vec()))
}

/// Fields of the package that are missing in the set, or that have another number or type there.
fn lost_fields(package: &BTreeMap<String, String>, merged: &BTreeMap<String, String>) -> Vec<String> {
    let mut lost = Vec::new();
    for (field, shape) in package {
        match merged.get(field) {
            None if GONE.contains(&field.as_str()) => {}
            None => lost.push(format!("field {field} ({shape}) of the envoy-types package is not in the set")),
            Some(other) if other != shape => {
                lost.push(format!("field {field} is {shape} in the envoy-types package and {other} in the set"));
            }
            Some(_) => {}
        }
    }
    for field in GONE {
        if !package.contains_key(*field) || merged.contains_key(*field) {
            lost.push(format!("field {field} is listed as gone and is not"));
        }
    }
    lost
}

fn file_drift(current: &Set, fresh: &Set) -> Vec<String> {
    let mut drift = Vec::new();
    for name in fresh.keys().filter(|name| !current.contains_key(*name)) {
        drift.push(format!("  + {name}"));
    }
    for name in current.keys().filter(|name| !fresh.contains_key(*name)) {
        drift.push(format!("  - {name}"));
    }
    for (name, file) in fresh {
        if current.get(name).is_some_and(|old| old.proto != file.proto) {
            drift.push(format!("  ~ {name}"));
        }
    }
    if drift.is_empty() {
        drift.push("  (only the order of files, or their encoding)".to_owned());
    }
    drift
}
