//! What `serve`, `check` and `render` read: the topology, and the messages it may hold.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;

use crate::envoy::Schema;
use crate::pipeline::{self, Compiled, World};
use crate::source::{Document, Recorder, Sources};

/// What to read.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Input {
    /// Files and directories that make up the topology; `-` is standard input
    #[arg(value_name = "PATH", default_value = "config/topology.yaml")]
    paths: Vec<PathBuf>,

    /// Compiled descriptors of contrib or custom extensions (`protoc --include_imports --descriptor_set_out`)
    #[arg(long, env = "CHANCERY_DESCRIPTOR_SET", value_name = "FILE", value_delimiter = ',')]
    descriptor_set: Vec<PathBuf>,
}

impl Input {
    /// What another command's arguments say.
    pub(super) fn new(paths: Vec<PathBuf>, descriptor_set: Vec<PathBuf>) -> Self {
        Self { paths, descriptor_set }
    }

    /// The paths, to be read now or followed.
    pub(super) fn sources(&self) -> Sources {
        Sources::new(&self.paths)
    }

    /// The embedded schema, with the descriptor sets that were asked for.
    pub(super) fn schema(&self) -> anyhow::Result<Arc<Schema>> {
        if self.descriptor_set.is_empty() {
            return Ok(Schema::embedded());
        }
        let read = |path: &PathBuf| {
            std::fs::read(path).with_context(|| format!("cannot read the descriptor set {}", path.display()))
        };
        let sets = self.descriptor_set.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        Ok(Schema::with_descriptor_sets(&sets)?)
    }

    /// Reads everything once.
    pub(super) fn load(&self) -> anyhow::Result<(Arc<Schema>, Vec<Document>)> {
        let documents = self.sources().read().map_err(|error| anyhow::anyhow!(error.with_help()))?;
        Ok((self.schema()?, documents))
    }

    /// Reads and compiles everything once; also returns how many files there are.
    pub(super) fn compile(&self) -> anyhow::Result<(Arc<Schema>, Compiled, usize)> {
        let (schema, documents) = self.load()?;
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let world = World { attachments: &Recorder::new(), now: i64::try_from(since.as_secs())? };
        let compiled = pipeline::compile(&schema, &documents, &world);
        Ok((schema, compiled, documents.len()))
    }
}
