//! The topologies in `examples/`, each copied to a place of its own, beside certificates that were made for it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use regex::{Captures, Regex};
use serde_json::Value;
use tempfile::TempDir;

use super::chancery;
use super::port::Port;
use super::tls::self_signed;

/// A file or a directory of `examples/`.
#[derive(Debug)]
pub(crate) struct Example {
    /// Without its extension.
    pub(crate) name: String,
    dir: TempDir,
    /// Under `dir`, as it is called under `examples/`.
    entry: String,
    /// What was put beside it, by the path that it is named by.
    certificates: BTreeMap<String, String>,
    ports: BTreeMap<String, Port>,
}

/// An example, or what one node group gets of it.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) name: String,
    pub(crate) group: Option<String>,
    /// Of `chancery render` in the example's directory.
    pub(crate) arguments: Vec<String>,
}

/// Every example, in the order of their names.
pub(crate) fn examples() -> Vec<Example> {
    let entries = entries();
    assert!(entries.len() >= 30, "only {} examples were found", entries.len());
    entries.into_iter().map(Example::copy).collect()
}

/// What `examples/` holds, but for programs and for what its user made beside them.
pub(crate) fn entries() -> Vec<String> {
    let entries = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    let topologies = entries.filter(|path| path.extension().is_some_and(|found| found == "yaml") || is_multi(path));
    let mut names: Vec<_> = topologies.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

fn is_multi(path: &Path) -> bool {
    path.is_dir() && !yaml_files(path).is_empty()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// A file by itself, or the files of a directory.
fn yaml_files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|found| found == "yaml")).collect()
}

impl Example {
    fn copy(entry: String) -> Self {
        let name = entry.trim_end_matches(".yaml").to_owned();
        let dir = tempfile::tempdir().unwrap();
        if name == entry {
            fs::create_dir(dir.path().join(&entry)).unwrap();
        }
        let mut example = Self { name, dir, entry, certificates: BTreeMap::new(), ports: BTreeMap::new() };
        for from in yaml_files(&root().join(&example.entry)) {
            let to = example.dir.path().join(from.strip_prefix(root()).unwrap());
            let text = fs::read_to_string(&from).unwrap();
            fs::write(&to, &text).unwrap();
            example.make_certificates(to.parent().unwrap(), &text);
        }
        example
    }

    /// The certificates and keys that a text names. Each certificate is its own authority.
    fn make_certificates(&mut self, beside: &Path, text: &str) {
        let files = Regex::new(r"\bcerts/([a-z]+)\.(crt|key)\b").unwrap();
        let mut pairs = BTreeMap::new();
        for found in files.captures_iter(text) {
            let (path, [name, extension]) = found.extract();
            let pair = pairs.entry(name).or_insert_with(|| self_signed(&format!("{name}.example.com")));
            let pem = if extension == "crt" { &pair.certificate } else { &pair.key };
            fs::create_dir_all(beside.join("certs")).unwrap();
            fs::write(beside.join(path), pem).unwrap();
            self.certificates.insert(path.to_owned(), pem.clone());
        }
    }

    /// The directory of the copy.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What `examples/` calls it; in the copy's directory as well.
    pub(crate) fn entry(&self) -> &str {
        &self.entry
    }

    /// The directory that holds the copy's files and nothing else that would be read.
    pub(crate) fn topology(&self) -> PathBuf {
        let path = self.path();
        if path.is_dir() { path } else { self.dir().to_owned() }
    }

    /// The files of the copy, sorted.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut files = yaml_files(&self.path());
        files.sort();
        files
    }

    /// The copy: a file or a directory.
    fn path(&self) -> PathBuf {
        self.dir.path().join(&self.entry)
    }

    /// The paths of the certificates and keys that were made, as the example has them.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = &str> {
        self.certificates.keys().map(String::as_str)
    }

    /// Whether it holds private keys, which most commands redact.
    pub(crate) fn has_keys(&self) -> bool {
        self.certificates.values().any(|pem| pem.contains("PRIVATE KEY"))
    }

    /// The example as a whole, or one view for each of its node groups.
    pub(crate) async fn views(&self) -> Vec<View> {
        let rendered = self.render(std::slice::from_ref(&self.entry)).await;
        let first: Value = serde_json::Deserializer::from_str(&rendered).into_iter().next().unwrap().unwrap();
        let Some(groups) = first["node_groups"].as_array() else {
            return vec![View { name: self.name.clone(), group: None, arguments: vec![self.entry.clone()] }];
        };
        let views = groups.iter().map(|group| group["name"].as_str().unwrap()).map(|group| View {
            name: format!("{}.{group}", self.name),
            group: Some(group.to_owned()),
            arguments: vec![self.entry.clone(), "--node-group".to_owned(), group.to_owned()],
        });
        views.collect()
    }

    /// What `chancery render -o json` says, with the names of certificates in the place of their text.
    pub(crate) async fn render(&self, arguments: &[String]) -> String {
        let mut text = self.run(&["render", "-o", "json"], arguments).await;
        for (path, pem) in &self.certificates {
            let quoted = Value::from(pem.as_str()).to_string();
            text = text.replace(&quoted, &Value::from(format!("[{path}]")).to_string());
        }
        assert!(!text.contains("-----BEGIN"), "{}: {text}", self.name);
        text
    }

    /// What a successful command prints.
    pub(crate) async fn run(&self, command: &[&str], arguments: &[String]) -> String {
        let all: Vec<_> = command.iter().copied().chain(arguments.iter().map(String::as_str)).collect();
        let run = chancery::run_in(self.dir(), &all, "").await;
        assert_eq!(run.code, 0, "{}: {run:?}", self.name);
        run.stdout
    }

    /// Puts every IPv4 address of the copy on loopback, on a port of its own.
    pub(crate) fn put_on_loopback(&mut self) {
        let short = Regex::new(r"\b\d+\.\d+\.\d+\.\d+:\d+\b").unwrap();
        let native = Regex::new(r"\baddress: (\d+\.\d+\.\d+\.\d+), port_value: (\d+)\b").unwrap();
        for file in self.files() {
            let text = fs::read_to_string(&file).unwrap();
            let text = short.replace_all(&text, |found: &Captures<'_>| self.local(&found[0]));
            let text = native.replace_all(&text, |found: &Captures<'_>| {
                let port = self.port(&format!("{}:{}", &found[1], &found[2]));
                format!("address: 127.0.0.1, port_value: {port}")
            });
            fs::write(&file, text.as_bytes()).unwrap();
        }
    }

    /// The port that stands for an address of the example.
    pub(crate) fn port(&mut self, address: &str) -> u16 {
        self.ports.entry(address.to_owned()).or_insert_with(Port::reserve).number()
    }

    fn local(&mut self, address: &str) -> String {
        format!("127.0.0.1:{}", self.port(address))
    }
}
