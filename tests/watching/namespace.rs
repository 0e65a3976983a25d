//! A shell that may mount, and the program in the same place.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::support::chancery::{Chancery, Options};

/// A user and mount namespace: a shell in it, and a directory in which it works. What it mounts is gone with it.
pub(super) struct Namespace {
    shell: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    dir: TempDir,
}

impl Namespace {
    /// # Panics
    /// If the kernel does not allow user namespaces: what needs them must not pass unseen.
    pub(super) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut shell = Command::new("unshare")
            .args(["-Urm", "sh"])
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(dir.path().join("stderr")).unwrap())
            .kill_on_drop(true)
            .spawn()
            .expect("`unshare` of util-linux is there");
        let commands = shell.stdin.take().expect("it is piped");
        let answers = BufReader::new(shell.stdout.take().expect("it is piped")).lines();
        let mut namespace = Self { shell, commands, answers, dir };
        namespace.run("mkdir mounted && mount -t tmpfs none mounted && umount mounted").await;
        namespace
    }

    /// Runs shell commands in it.
    pub(super) async fn run(&mut self, script: &str) {
        let script = format!("if (set -e\n{script}\n) >&2; then echo done; else echo failed; fi\n");
        let answer = async {
            self.commands.write_all(script.as_bytes()).await.ok()?;
            self.answers.next_line().await.ok()?
        };
        let answer = timeout(Duration::from_mins(1), answer).await.expect("an answer within a minute");
        let said = fs::read_to_string(self.path("stderr")).unwrap();
        let help = "this test needs unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone, \
                    kernel.apparmor_restrict_unprivileged_userns; in a container, a seccomp profile that allows them)";
        assert_eq!(answer.as_deref(), Some("done"), "{script}{said}\n{help}");
    }

    /// A path in its directory.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file that is seen inside and outside, in place.
    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Starts `chancery serve` in it.
    pub(super) async fn serve(&self, name: &str, flags: Vec<&'static str>) -> Chancery {
        let shell = self.shell.id().expect("it runs").to_string();
        let within = ["nsenter", "--preserve-credentials", "--user", "--mount", "--target", &shell].map(str::to_owned);
        let options = Options { flags, within: within.to_vec(), ..Options::default() };
        Chancery::serve_with(Path::new(&self.path(name)), options).await
    }
}
