//! Following files: what is published, and what is not even looked at twice. The ways in which files change are in `watching`.
//!
//! Where nothing may happen, a later edit is the fence: it must be the very next content that is judged.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chancery::diagnostic::{Files, Finding, Findings, Report, Span};
use chancery::envoy::Kind;
use chancery::pipeline::{Build, Outcome, World};
use chancery::reload::{Builder, Metrics, Mode, Options, Reload, Status, StatusCell, Trigger, Verdict, WatchMode};
use chancery::snapshot::{DEFAULT_GROUP, Origin, Resource, Selectors, Snapshot, Store, Traits};
use chancery::source::{Digest, Document, Sources};
use prometheus_client::registry::Registry;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Events only, and little patience with quiet files.
pub(crate) const EVENTS: Options =
    Options { settle: Duration::from_millis(40), watch: WatchMode::Auto, poll_interval: Duration::ZERO };

/// No events.
pub(crate) const POLL: Options =
    Options { settle: Duration::from_millis(40), watch: WatchMode::Poll, poll_interval: Duration::from_millis(30) };

const PATIENCE: Duration = Duration::from_secs(20);

/// What a test does between reading and the verdict; it is told what was read.
pub(crate) type Meddler = Arc<dyn Fn(&str) + Send + Sync>;

/// The documents' text without comments, with the content of the file behind each `attach FILE;`, is the content of the only
/// resource; what is empty or says `bad` is refused, and so is what names a file that cannot be read.
fn builder(judged: Arc<Mutex<Vec<String>>>, meddle: Meddler) -> Builder {
    Arc::new(move |documents: &[Document], world: &World<'_>, previous: Option<&Snapshot>| {
        let texts: Vec<_> = documents.iter().map(|document| String::from_utf8_lossy(&document.bytes)).collect();
        let text = texts.concat();
        judged.lock().unwrap().push(text.clone());
        meddle(&text);
        assert!(!text.contains("panic"), "asked to");
        let content: String = text.lines().filter(|line| !line.starts_with('#')).collect();
        let attach = |part: &str| match part.strip_prefix("attach ").and_then(|part| part.strip_suffix(';')) {
            Some(path) => {
                let file = world.attachments.read(&documents[0].name, path);
                let content = file.map_or("bad".into(), |file| String::from_utf8_lossy(&file.bytes).into_owned());
                format!("{part}{content}")
            }
            None => part.to_owned(),
        };
        let content: String = content.split_inclusive(';').map(attach).collect();
        if content.is_empty() || content.contains("bad") {
            let mut findings = Findings::new();
            findings.push(Finding::error("refused", Span::default(), "", "refused"));
            return Build { report: Report::new(findings, Arc::new(Files::new())), outcome: Outcome::Rejected };
        }
        let origin = Origin { file: "topology.yaml".into(), line: 1, column: 1 };
        let resource = Resource::new(Kind::Cluster, "content", content.as_bytes(), origin, Traits::default());
        let groups = BTreeMap::from([(DEFAULT_GROUP.into(), vec![resource])]);
        let outcome = match Snapshot::next(previous, groups, Selectors::default()) {
            Some((snapshot, changes)) => Outcome::Changed { snapshot: Arc::new(snapshot), changes },
            None => Outcome::Unchanged,
        };
        Build { report: Report::default(), outcome }
    })
}

/// A running reload task.
pub(crate) struct Running {
    pub(crate) store: Arc<Store>,
    pub(crate) status: Arc<StatusCell>,
    judged: Arc<Mutex<Vec<String>>>,
    registry: Registry,
    pub(crate) trigger: Trigger,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

impl Running {
    pub(crate) fn follow(paths: &[&Path], options: Options) -> Self {
        Self::meddling(paths, options, Arc::new(|_| {}))
    }

    /// Follows paths, and lets the test do something between reading and the verdict.
    pub(crate) fn meddling(paths: &[&Path], options: Options, meddle: Meddler) -> Self {
        let judged = Arc::default();
        let build = builder(Arc::clone(&judged), meddle);
        Self { judged, ..Self::building(paths, options, build) }
    }

    /// Follows paths, and makes of them what this function makes; what it judges is not written down.
    pub(crate) fn building(paths: &[&Path], options: Options, build: Builder) -> Self {
        let sources = Sources::new(paths);
        let (store, judged) = (Arc::new(Store::new()), Arc::default());
        let status = Arc::new(StatusCell::new(sources.names()));
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let reload = Reload::new(sources, options, build, Arc::clone(&store), Arc::clone(&status), metrics);
        let (trigger, shutdown) = (reload.handle(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(reload.run(shutdown.clone()));
        Self { store, status, judged, registry, trigger, shutdown, tasks }
    }

    /// Follows one path whose content is there already.
    pub(crate) async fn serving(path: &Path, content: &str) -> Self {
        let running = Self::follow(&[path], EVENTS);
        running.serves(content).await;
        running
    }

    pub(crate) fn served(&self) -> Option<String> {
        let snapshot = self.store.load()?;
        let resource = snapshot.group(DEFAULT_GROUP)?.get(Kind::Cluster, "content")?;
        Some(String::from_utf8(resource.message().to_vec()).unwrap())
    }

    /// Waits until this content is served.
    pub(crate) async fn serves(&self, content: &str) {
        let mut publications = self.store.subscribe();
        let arrived = async {
            while self.served().as_deref() != Some(content) {
                publications.changed().await.unwrap();
            }
        };
        let waited = timeout(PATIENCE, arrived).await;
        assert!(waited.is_ok(), "{content:?} is not served; judged: {:?}, {:?}", self.judged(), self.status.load());
    }

    /// Waits until a status holds.
    pub(crate) async fn says(&self, holds: impl Fn(&Status) -> bool) -> Arc<Status> {
        let mut news = self.status.subscribe();
        let arrived = async {
            while !holds(&self.status.load()) {
                news.changed().await.unwrap();
            }
        };
        assert!(timeout(PATIENCE, arrived).await.is_ok(), "not said; instead: {:?}", self.status.load());
        self.status.load()
    }

    /// Waits until a hazard is told, or no longer told.
    pub(crate) async fn says_hazard(&self, code: &str, told: bool) {
        self.says(|_| self.status.watch().hazards.iter().any(|hazard| hazard.code == code) == told).await;
    }

    pub(crate) async fn says_verdict(&self, verdict: Verdict) -> Arc<Status> {
        self.says(|status| status.verdict == verdict).await
    }

    /// Waits until the verdict on this content of a single file is told, which comes after its publication.
    pub(crate) async fn says_of(&self, content: &str) -> Arc<Status> {
        let sha256 = Digest::of(content.as_bytes()).to_string();
        self.says(|status| status.sources.iter().any(|file| file.sha256 == sha256)).await
    }

    /// Everything that was judged so far.
    pub(crate) fn judged(&self) -> Vec<String> {
        self.judged.lock().unwrap().clone()
    }

    pub(crate) fn metric(&self, name: &str) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
        value.parse().unwrap()
    }

    pub(crate) async fn end(mut self) {
        self.shutdown.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

/// A directory, and the file in it that most tests follow.
pub(crate) fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("topology.yaml");
    (dir, file)
}

/// Writes another file and renames it over this one.
pub(crate) fn replace(path: &Path, content: &str) {
    let temporary = path.with_file_name("replacement");
    fs::write(&temporary, content).unwrap();
    fs::rename(temporary, path).unwrap();
}

/// Points a symbolic link elsewhere in one step.
pub(crate) fn relink(link: &Path, target: &str) {
    let temporary = link.with_file_name("..link_tmp");
    symlink(target, &temporary).unwrap();
    fs::rename(temporary, link).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_in_one_step_does_not_wait_for_quiet() {
    let (dir, file) = place();
    let mut volume = Volume { dir: dir.path(), generation: 0 };
    volume.swap(&[("topology.yaml", "one")]);
    let patient = Options { settle: Duration::from_secs(2), ..EVENTS };
    for path in [dir.path(), &file] {
        let running = Running::follow(&[path], patient);
        running.serves(&fs::read_to_string(&file).unwrap()).await;
        let started = Instant::now();
        volume.swap(&[("topology.yaml", if path == dir.path() { "two" } else { "three" })]);
        running.serves(&fs::read_to_string(&file).unwrap()).await;
        assert!(started.elapsed() < patient.settle, "waited for {:?}", started.elapsed());
        running.end().await;
    }
    fs::remove_file(&file).unwrap();
    fs::write(&file, "four").unwrap();
    let running = Running::follow(&[&file], patient);
    running.serves("four").await;
    let started = Instant::now();
    replace(&file, "five");
    running.serves("five").await;
    assert!(started.elapsed() < patient.settle, "waited for {:?}", started.elapsed());
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_the_files_is_no_reason_to_read_them() {
    let (_dir, file) = place();
    fs::write(&file, "one").unwrap();
    let running = Running::serving(&file, "one").await;
    for _ in 0..10 {
        fs::read(&file).unwrap();
        sleep(EVENTS.settle * 3).await;
    }
    fs::write(&file, "two").unwrap();
    running.serves("two").await;
    let reads = running.metric("chancery_source_reads_total");
    assert!(reads <= 4, "{reads} reads for two contents");
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_is_judged_and_publishes_nothing() {
    let (_dir, file) = place();
    fs::write(&file, "one").unwrap();
    let running = Running::serving(&file, "one").await;
    let publications = running.store.subscribe();
    fs::write(&file, "# why\none").unwrap();
    let status = running.says_verdict(Verdict::Unchanged).await;
    assert_eq!(status.served_digest, status.source_digest);
    assert!(!publications.has_changed().unwrap());
    running.end().await;
}

/// A volume as the kubelet fills it.
pub(crate) struct Volume<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) generation: usize,
}

impl Volume<'_> {
    pub(crate) fn swap(&mut self, files: &[(&str, &str)]) {
        let old = self.dir.join(format!("..{}", self.generation));
        self.generation += 1;
        let new = format!("..{}", self.generation);
        fs::create_dir(self.dir.join(&new)).unwrap();
        for (name, content) in files {
            fs::write(self.dir.join(&new).join(name), content).unwrap();
        }
        symlink(&new, self.dir.join("..data_tmp")).unwrap();
        fs::rename(self.dir.join("..data_tmp"), self.dir.join("..data")).unwrap();
        for (name, _) in files {
            let link = self.dir.join(name);
            if !link.is_symlink() {
                symlink(Path::new("..data").join(name), link).unwrap();
            }
        }
        if old.exists() {
            fs::remove_dir_all(old).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_a_file_elsewhere_is_followed_at_both_ends() {
    let (dir, file) = place();
    fs::create_dir(dir.path().join("elsewhere")).unwrap();
    let target = dir.path().join("elsewhere/real.yaml");
    fs::write(&target, "one").unwrap();
    symlink("elsewhere/real.yaml", &file).unwrap();
    let running = Running::serving(&file, "one").await;
    fs::write(&target, "two").unwrap();
    running.serves("two").await;
    replace(&target, "three");
    running.serves("three").await;
    fs::write(dir.path().join("other.yaml"), "four").unwrap();
    relink(&file, "other.yaml");
    running.serves("four").await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_through_another_name_of_the_file_is_noticed() {
    let (dir, file) = place();
    fs::create_dir(dir.path().join("elsewhere")).unwrap();
    let other = dir.path().join("elsewhere/same");
    fs::write(&other, "one").unwrap();
    fs::hard_link(&other, &file).unwrap();
    let running = Running::serving(&file, "one").await;
    fs::write(&other, "two").unwrap();
    running.serves("two").await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_takes_the_files_place_leaves_what_is_served() {
    let (dir, file) = place();
    fs::write(&file, "0").unwrap();
    let running = Running::serving(&file, "0").await;
    let fifo: fn(&Path) = |path| {
        let mode = rustix::fs::Mode::RWXU;
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    };
    let directory: fn(&Path) = |path| fs::create_dir(path).unwrap();
    let circle: fn(&Path) = |path| symlink("topology.yaml", path).unwrap();
    let dangling: fn(&Path) = |path| symlink("nowhere", path).unwrap();
    let obstacles = [
        (fifo, Verdict::Unreadable, "named pipe"),
        (directory, Verdict::Missing, "the directory holds no"),
        (circle, Verdict::Unreadable, "symbolic links"),
        (dangling, Verdict::Missing, "`nowhere`"),
    ];
    for (round, (put, verdict, message)) in obstacles.into_iter().enumerate() {
        fs::remove_file(&file).unwrap();
        put(&file);
        let status = running
            .says(|status| {
                status.verdict == verdict && status.error.as_ref().is_some_and(|error| error.contains(message))
            })
            .await;
        assert_eq!(running.served(), Some(round.to_string()), "{status:?}");
        if file.is_dir() {
            fs::remove_dir(&file).unwrap();
        } else {
            fs::remove_file(&file).unwrap();
        }
        let content = (round + 1).to_string();
        fs::write(dir.path().join("new"), &content).unwrap();
        fs::rename(dir.path().join("new"), &file).unwrap();
        running.serves(&content).await;
    }
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_leaves_what_is_served_and_is_judged_once() {
    let (_dir, file) = place();
    fs::write(&file, "bad from the start").unwrap();
    let running = Running::follow(&[&file], EVENTS);
    running.says_verdict(Verdict::Rejected).await;
    assert!(running.store.load().is_none());
    fs::write(&file, "one").unwrap();
    running.serves("one").await;
    fs::write(&file, "").unwrap();
    let status = running.says_of("").await;
    assert_eq!(status.verdict, Verdict::Rejected);
    assert!(status.report.has_errors());
    assert_ne!(status.served_digest, status.source_digest);
    assert_eq!(running.metric("chancery_config_in_sync"), 0);
    assert_eq!(running.metric("chancery_config_last_reload_successful"), 0);
    // The same bytes are not judged again, even on demand.
    let again = running.trigger.reload().await.unwrap();
    assert_eq!((again.verdict, again.attempted), (Verdict::Rejected, status.attempted));
    assert_eq!(running.served().as_deref(), Some("one"));
    fs::write(&file, "one").unwrap();
    running.says_verdict(Verdict::Unchanged).await;
    assert_eq!(running.judged(), ["bad from the start", "one", "", "one"]);
    assert_eq!(running.metric("chancery_config_last_reload_successful"), 1);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_while_judging_is_a_refusal_and_the_next_edit_is_taken() {
    let (_dir, file) = place();
    fs::write(&file, "one").unwrap();
    let running = Running::serving(&file, "one").await;
    fs::write(&file, "panic").unwrap();
    let status = running.says_verdict(Verdict::Rejected).await;
    let finding = &status.report.findings()[0];
    assert_eq!(finding.code, "internal-error");
    assert!(finding.message.contains("asked to"), "{finding:?}");
    fs::write(&file, "two").unwrap();
    running.serves("two").await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_directory_are_judged_together() {
    let (dir, _) = place();
    fs::write(dir.path().join("a.yaml"), "a").unwrap();
    let running = Running::serving(dir.path(), "a").await;
    // A directory that appears with files in it, and one that appears first.
    fs::create_dir(dir.path().join("staged.tmp")).unwrap();
    fs::write(dir.path().join("staged.tmp/b.yaml"), "b").unwrap();
    fs::rename(dir.path().join("staged.tmp"), dir.path().join("staged")).unwrap();
    running.serves("ab").await;
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::write(dir.path().join("sub/c.yaml"), "c").unwrap();
    running.serves("abc").await;
    // Deep changes are heard, and noise is not.
    fs::write(dir.path().join("sub/c.yaml~"), "noise").unwrap();
    replace(&dir.path().join("sub/c.yaml"), "C");
    running.serves("abC").await;
    fs::remove_file(dir.path().join("a.yaml")).unwrap();
    running.serves("bC").await;
    fs::remove_dir_all(dir.path().join("sub")).unwrap();
    running.serves("b").await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_paths_are_one_topology_and_all_of_it_must_be_there() {
    let (dir, file) = place();
    let more = dir.path().join("more");
    fs::create_dir(&more).unwrap();
    fs::write(&file, "a").unwrap();
    let running = Running::follow(&[&file, &more], EVENTS);
    running.says_verdict(Verdict::Missing).await;
    fs::write(more.join("x.yaml"), "x").unwrap();
    running.serves("xa").await;
    replace(&file, "b");
    running.serves("xb").await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_events_the_files_are_looked_at() {
    let (dir, file) = place();
    let running = Running::follow(&[&file], POLL);
    running.says_verdict(Verdict::Missing).await;
    fs::write(&file, "1").unwrap();
    running.serves("1").await;
    // Edits of the same size within one second, and every way to make them.
    fs::write(&file, "2").unwrap();
    running.serves("2").await;
    replace(&file, "3");
    running.serves("3").await;
    fs::remove_file(&file).unwrap();
    running.says_verdict(Verdict::Missing).await;
    assert_eq!(running.served().as_deref(), Some("3"));
    let mut volume = Volume { dir: dir.path(), generation: 0 };
    for content in ["4", "5"] {
        volume.swap(&[("topology.yaml", content)]);
        running.serves(content).await;
    }
    let watch = running.status.watch();
    assert_eq!((watch.mode, watch.poll_interval, watch.missed_changes), (Mode::Poll, Some(POLL.poll_interval), 0));
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_does_not_read_what_did_not_change() {
    let (_dir, file) = place();
    fs::write(&file, "one").unwrap();
    let running = Running::follow(&[&file], POLL);
    running.serves("one").await;
    sleep(POLL.poll_interval * 20).await;
    fs::write(&file, "two").unwrap();
    running.serves("two").await;
    let reads = running.metric("chancery_source_reads_total");
    assert!(reads <= 4, "{reads} reads for two contents");
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_watching_off_only_a_request_reads_the_files() {
    let (_dir, file) = place();
    fs::write(&file, "one").unwrap();
    let running = Running::follow(&[&file], Options { watch: WatchMode::Off, ..POLL });
    running.serves("one").await;
    fs::write(&file, "two").unwrap();
    let status = running.trigger.reload().await.unwrap();
    assert_eq!(status.verdict, Verdict::Applied);
    assert_eq!(running.served().as_deref(), Some("two"));
    fs::write(&file, "three").unwrap();
    running.trigger.ring();
    running.serves("three").await;
    assert_eq!((running.status.watch().mode, running.metric("chancery_watch_mode{mode=\"off\"}")), (Mode::Off, 1));
    assert_eq!(running.metric("chancery_watch_polls_total"), 0);
    let trigger = running.trigger.clone();
    running.end().await;
    assert!(trigger.reload().await.is_none());
}
