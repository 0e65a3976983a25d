//! What the commands that read a topology once read: files, directories or standard input.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;

use crate::envoy::Schema;
use crate::source::{Document, Sources};

/// What to read.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Input {
    /// Files and directories that make up the topology; `-` is standard input.
    #[arg(value_name = "PATH", default_value = "config/topology.yaml")]
    paths: Vec<PathBuf>,
    /// `FileDescriptorSet` with contrib or custom extensions; may be repeated.
    #[arg(long, env = "CHANCERY_DESCRIPTOR_SET", value_name = "FILE", value_delimiter = ',')]
    descriptor_set: Vec<PathBuf>,
}

impl Input {
    /// Reads everything once.
    pub(super) fn load(&self) -> anyhow::Result<(Arc<Schema>, Vec<Document>)> {
        let Self { paths, descriptor_set } = self;
        let documents = Sources::new(paths).read().map_err(|error| anyhow::anyhow!(error.with_help()))?;
        Ok((schema(descriptor_set)?, documents))
    }
}

/// Envoy's API with the user's additions.
fn schema(files: &[impl AsRef<Path>]) -> anyhow::Result<Arc<Schema>> {
    if files.is_empty() {
        return Ok(Schema::embedded());
    }
    let read = |file: &Path| std::fs::read(file).with_context(|| format!("cannot read {}", file.display()));
    let sets = files.iter().map(|file| read(file.as_ref())).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Schema::with_descriptor_sets(&sets)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(paths: &[&Path]) -> Input {
        Input { paths: paths.iter().map(PathBuf::from).collect(), descriptor_set: Vec::new() }
    }

    #[test]
    fn a_directory_is_the_union_of_its_files() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("b.yaml"), "b").unwrap();
        std::fs::write(dir.path().join("a.yaml"), "a").unwrap();
        let (_, documents) = input(&[dir.path()]).load().unwrap();
        let bytes: Vec<&[u8]> = documents.iter().map(|document| &*document.bytes).collect();
        assert_eq!(bytes, [b"a", b"b"]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("gone.binpb");
        let error = input(&[&file]).load().unwrap_err().to_string();
        assert!(error.contains("gone.binpb") && error.contains("create it"), "{error}");
        let error = schema(&[&file]).unwrap_err().to_string();
        assert!(error.contains("gone.binpb"), "{error}");
        std::fs::write(&file, b"not a descriptor set").unwrap();
        assert!(schema(&[&file]).is_err());
    }
}
