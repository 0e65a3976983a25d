//! What `check`, `render` and the like read: files, directories or standard input.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;

use crate::envoy::Schema;
use crate::source::Document;

/// What to read.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Input {
    /// Files and directories that make up the topology; `-` is standard input.
    #[arg(value_name = "PATH", default_value = "config/topology.yaml")]
    paths: Vec<PathBuf>,
    /// `FileDescriptorSet`s with contrib or custom extensions.
    #[arg(long, env = "CHANCERY_DESCRIPTOR_SET", value_name = "FILE", value_delimiter = ',')]
    descriptor_set: Vec<PathBuf>,
}

impl Input {
    /// Reads everything once.
    pub(super) fn load(&self) -> anyhow::Result<(Arc<Schema>, Vec<Document>)> {
        let sets = self.descriptor_set.iter().map(|path| read(path)).collect::<anyhow::Result<Vec<_>>>()?;
        let schema = if sets.is_empty() { Schema::embedded() } else { Schema::with_descriptor_sets(&sets)? };
        let documents = self.paths.iter().map(|path| document(path)).collect::<anyhow::Result<_>>()?;
        Ok((schema, documents))
    }
}

fn document(path: &Path) -> anyhow::Result<Document> {
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).context("cannot read standard input")?;
        bytes
    } else {
        read(path)?
    };
    Ok(Document { name: path.to_string_lossy().into(), bytes: bytes.into() })
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
