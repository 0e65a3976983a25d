//! What is on disk, and what was.

use std::collections::{BTreeMap, BTreeSet};

use chancery::reload::Status;
use chancery::source::Digest;

use crate::state::Random;

/// The names of the clusters of a snapshot, `FILE-GENERATION` and `FILE-GENERATION-end`.
pub(super) type Clusters = BTreeSet<String>;

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) text: String,
    /// What it leads to, if it is good.
    clusters: Option<Clusters>,
}

impl Content {
    pub(super) fn good(key: &str, generation: u64) -> Self {
        let names = [format!("{key}-{generation}"), format!("{key}-{generation}-end")];
        let lines = names.each_ref().map(|name| format!("- {{name: {name}, endpoints: [127.0.0.1:80]}}\n")).concat();
        Self { text: format!("version: 1\nclusters:\n{lines}"), clusters: Some(names.into()) }
    }

    /// Most are good; some are not YAML, no topology, or nothing.
    pub(super) fn any(random: &mut Random, key: &str, generation: u64) -> Self {
        let bad = |text: String| Self { text, clusters: None };
        let good = Self::good(key, generation);
        match random.below(12) {
            0 => bad(format!("version: 1\nclusters: [ # {generation}\n")),
            1 => bad(String::new()),
            2 => bad(format!("# {generation}\n")),
            3 => bad(good.text.replace("-end", "")),
            4 => bad(good.text.replace("endpoints", "end_points")),
            _ => good,
        }
    }

    /// The same with other bytes.
    pub(super) fn with_comment(&self, generation: u64) -> Self {
        Self { text: format!("{}# {generation}\n", self.text), clusters: self.clusters.clone() }
    }

    /// A beginning of it, which may be good by itself.
    pub(super) fn begun(&self, random: &mut Random) -> Self {
        let first = self.text.find("}\n").map(|end| end + 2);
        if let (Some(end), Some(clusters), 0) = (first, &self.clusters, random.below(2)) {
            return Self {
                text: self.text[..end].to_owned(),
                clusters: Some(clusters.iter().take(1).cloned().collect()),
            };
        }
        let half = self.text.len().saturating_sub(15);
        Self { text: self.text[..half].to_owned(), clusters: None }
    }
}

/// The files that the followed path leads to.
#[derive(Debug, Default)]
pub(super) struct Disk {
    files: BTreeMap<&'static str, Content>,
    /// Those where something is that cannot be read.
    blocked: BTreeSet<&'static str>,
    /// All texts that there were together, ever.
    ever: BTreeSet<Vec<String>>,
    is_new: bool,
    /// What was good since the last pause.
    good: BTreeSet<Clusters>,
    /// The file that someone is writing, and what is in it so far.
    begun: Option<(&'static str, Content)>,
    /// What would be good if halves were.
    halves: BTreeSet<Clusters>,
    generation: u64,
}

impl Disk {
    /// A number that was not used before.
    pub(super) fn generation(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }

    pub(super) fn file(&self, key: &str) -> Option<&Content> {
        self.files.get(key)
    }

    /// One file gets another content, or goes.
    pub(super) fn put(&mut self, key: &'static str, content: Option<Content>) {
        self.blocked.remove(key);
        match content {
            Some(content) => _ = self.files.insert(key, content),
            None => _ = self.files.remove(key),
        }
        self.note();
    }

    /// Something that cannot be read takes a file's place.
    pub(super) fn block(&mut self, key: &'static str) {
        self.files.remove(key);
        self.blocked.insert(key);
        self.note();
    }

    /// All files are replaced in one step.
    pub(super) fn replace(&mut self, files: BTreeMap<&'static str, Content>) {
        self.blocked.clear();
        self.files = files;
        self.note();
    }

    /// Someone begins to write a file; until it is ended, nothing that is there may be taken for the whole.
    pub(super) fn begin(&mut self, key: &'static str, begun: Content) {
        self.blocked.remove(key);
        self.files.remove(key);
        self.begun = Some((key, begun));
        self.note();
    }

    /// It is ended. The halves count if it took so long that nobody had to wait for it.
    pub(super) fn end(&mut self, content: Content, took_too_long: bool) {
        let (key, _) = self.begun.take().expect("it was begun");
        let halves = std::mem::take(&mut self.halves);
        if took_too_long {
            self.good.extend(halves);
        }
        self.put(key, Some(content));
    }

    fn note(&mut self) {
        if let Some((key, begun)) = &self.begun {
            let mut files = self.files.clone();
            files.insert(*key, begun.clone());
            self.halves.extend(clusters(&files).filter(|_| self.blocked.is_empty()));
            self.is_new = false;
            return;
        }
        self.good.extend(self.clusters());
        let texts = self.files.values().map(|content| content.text.clone()).collect();
        self.is_new = self.ever.insert(texts) && self.is_there();
    }

    /// Whether this is the first time that these files are on disk, and they can be read.
    pub(super) fn is_new(&self) -> bool {
        self.is_new && self.is_there()
    }

    /// Whether there is something to read.
    pub(super) fn is_there(&self) -> bool {
        self.begun.is_none() && self.blocked.is_empty() && !self.files.is_empty()
    }

    /// What the files lead to, if they are good.
    pub(super) fn clusters(&self) -> Option<Clusters> {
        clusters(&self.files).filter(|_| self.is_there())
    }

    /// All that was good since the pause before, and then.
    pub(super) fn good(&self) -> &BTreeSet<Clusters> {
        &self.good
    }

    /// From here on, only what is on disk now and later counts.
    pub(super) fn pause(&mut self) {
        self.good = self.clusters().into_iter().collect();
    }

    /// Whether a status is about what is on disk.
    pub(super) fn is_told_by(&self, status: &Status) -> bool {
        let digests = self.files.values().map(|content| Digest::of(content.text.as_bytes()).to_string());
        if self.is_there() {
            status.error.is_none() && status.sources.iter().map(|file| file.sha256.clone()).eq(digests)
        } else {
            status.error.is_some()
        }
    }
}

fn clusters(files: &BTreeMap<&'static str, Content>) -> Option<Clusters> {
    let all: Option<Vec<_>> = files.values().map(|content| content.clusters.clone()).collect();
    all.map(|all| all.into_iter().flatten().collect())
}
