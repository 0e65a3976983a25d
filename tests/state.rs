//! The last good snapshot outlives the process: restarts, damage, and being killed at any moment.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chancery::envoy::Kind;
use chancery::snapshot::{DEFAULT_GROUP, Saved};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::sleep;

use crate::asked::clusters;
use crate::reload::replace;
use crate::support::chancery::{Chancery, Options};
use crate::support::tls::Authority;

const BAD: &str = "version: 1\nclusters: [{name: a, conect_timeout: 1s}]\n";

/// A topology, and a server that is started again and again.
struct Place {
    dir: TempDir,
    flags: Vec<&'static str>,
}

impl Place {
    fn new(text: &str) -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap(), flags: Options::default().flags };
        fs::write(place.file(), text).unwrap();
        place
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("topology.yaml")
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn snapshot(&self) -> PathBuf {
        self.state().join("snapshot")
    }

    async fn start(&self) -> Chancery {
        let options = Options { flags: self.flags.clone(), state: Some(self.state()), ..Options::default() };
        Chancery::serve_with(&self.file(), options).await
    }

    /// Starts, and waits for what comes of the first reading.
    async fn started(&self) -> (Chancery, Value) {
        let chancery = self.start().await;
        let status = chancery.until("a verdict", |status| status["verdict"] != "pending").await;
        (chancery, status)
    }
}

/// Until what is served is on disk as well.
async fn until_saved(chancery: &Chancery) -> Value {
    chancery.until("a saved state", |status| status["state"]["saved"].is_string()).await
}

#[tokio::test]
async fn a_restart_with_a_broken_or_missing_topology_serves_what_it_last_served() {
    let place = Place::new("");
    let pair = Authority::new().issue("a.example");
    fs::write(place.dir.path().join("a.crt"), &pair.certificate).unwrap();
    fs::write(place.dir.path().join("a.key"), &pair.key).unwrap();
    let good = "version: 1\nlisteners:\n- {name: web, address: '127.0.0.1:1', tls_context: {tls_certificates: [{certificate_chain: a.crt, \
                private_key: a.key}]}, routes: [{route: app}]}\nclusters: [{name: app, endpoints: ['127.0.0.1:1']}]\n\
                node_groups: [{name: edge, match: {id: {safe_regex: 'e.*'}}}, {name: rest, match: {}}]\n";
    fs::write(place.file(), good).unwrap();
    let (chancery, first) = place.started().await;
    assert_eq!((&first["verdict"], &first["restored"]), (&json!("applied"), &Value::Null), "{first}");
    until_saved(&chancery).await;
    let dump = chancery.config_dump().await;
    assert_eq!(dump.as_object().unwrap().len(), 2);
    chancery.kill().await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&place.snapshot()), mode(&place.state())), (0o600, 0o700));

    for verdict in ["rejected", "missing"] {
        if verdict == "missing" {
            fs::remove_file(place.file()).unwrap();
        } else {
            fs::write(place.file(), BAD).unwrap();
        }
        let (chancery, status) = place.started().await;
        assert_eq!(
            (&status["verdict"], &status["ready"], &status["revision"]),
            (&json!(verdict), &json!(true), &json!(1))
        );
        assert_eq!(status["served_digest"], first["served_digest"]);
        assert!(status["restored"]["saved"].is_string() && status["restored"]["age_seconds"].is_u64(), "{status}");
        assert_eq!(status["groups"], first["groups"], "versions are those of before");
        assert_eq!(chancery.config_dump().await, dump);
        assert_eq!(chancery.admin("/readyz").await.status, 200);
        assert!(chancery.is_set("chancery_config_restored").await);
        assert!(!chancery.is_set("chancery_config_in_sync").await);
        let log = chancery.stderr();
        assert_eq!(log.matches("serving the last good snapshot of an earlier run").count(), 1, "{log}");
        assert!(!log.contains(pair.key.lines().nth(1).unwrap()));
        chancery.kill().await;
    }
    // What it was: nothing is new to any client.
    fs::write(place.file(), good).unwrap();
    let (chancery, status) = place.started().await;
    assert_eq!(
        (&status["verdict"], &status["revision"], &status["restored"]),
        (&json!("applied"), &json!(1), &Value::Null)
    );
    assert!(!chancery.is_set("chancery_config_restored").await);
    assert!(!chancery.is_set("chancery_state_writes_total").await, "it is on disk already");
    chancery.stop().await;
}

#[tokio::test]
async fn a_restored_snapshot_gives_way_to_the_next_good_topology() {
    let place = Place::new(&clusters(&["a"]));
    let (chancery, _) = place.started().await;
    until_saved(&chancery).await;
    chancery.kill().await;

    // At the start, a good topology wins, and the old one is not served for a moment.
    fs::write(place.file(), clusters(&["b"])).unwrap();
    let (chancery, status) = place.started().await;
    assert_eq!(
        (&status["verdict"], &status["revision"], &status["restored"]),
        (&json!("applied"), &json!(2), &Value::Null)
    );
    assert!(chancery.stderr().contains("+1 CDS, -1 CDS"), "{}", chancery.stderr());
    assert!(!chancery.stderr().contains("earlier run"), "{}", chancery.stderr());
    chancery
        .until("the new state", |status| status["state"]["saved"].is_string() && status["state"]["error"].is_null())
        .await;
    until_on_disk(&place, "b").await;
    chancery.kill().await;

    // And later.
    fs::write(place.file(), BAD).unwrap();
    let (chancery, status) = place.started().await;
    assert_eq!((&status["revision"], status["restored"].is_object()), (&json!(2), true), "{status}");
    replace(&place.file(), &clusters(&["c"]));
    let status = chancery.until_revision(3).await;
    assert_eq!((&status["verdict"], &status["restored"]), (&json!("applied"), &Value::Null), "{status}");
    chancery.stop().await;
}

/// Waits until the state on disk has this cluster alone.
async fn until_on_disk(place: &Place, name: &str) {
    crate::support::eventually("the state on disk", async || {
        let saved = Saved::decode(&fs::read(place.snapshot()).unwrap()).unwrap();
        let group = saved.snapshot.group(DEFAULT_GROUP).unwrap();
        let names: Vec<_> = group.resources(Kind::Cluster).iter().map(|resource| resource.name.to_string()).collect();
        crate::support::holds(names == [name], names)
    })
    .await;
}

#[tokio::test]
async fn a_state_that_is_damaged_or_foreign_is_said_and_ignored() {
    let place = Place::new(&clusters(&["a"]));
    let (chancery, _) = place.started().await;
    until_saved(&chancery).await;
    chancery.kill().await;
    let good = fs::read(place.snapshot()).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 4;
    let newer = String::from_utf8_lossy(b"chancery state 9\n").into_owned().into_bytes();
    let table: [(&[u8], &str); 5] = [
        (&good[..good.len() / 2], "checksum"),
        (b"", "ends early"),
        (&flipped, "checksum"),
        (&newer, "format 9"),
        (b"\x7fELF", "not a state file"),
    ];
    for (bytes, why) in table {
        fs::write(place.file(), BAD).unwrap();
        fs::write(place.snapshot(), bytes).unwrap();
        let (chancery, status) = place.started().await;
        assert_eq!((&status["ready"], &status["verdict"]), (&json!(false), &json!("rejected")), "{status}");
        let error = status["state"]["error"].as_str().unwrap();
        assert!(error.contains("is ignored") && error.contains(why), "{error}");
        assert!(chancery.stderr().contains("the state of an earlier run is ignored"), "{}", chancery.stderr());
        replace(&place.file(), &clusters(&["b"]));
        let status = chancery.until("a state", |status| status["state"]["error"].is_null()).await;
        assert_eq!(status["revision"], 1);
        until_on_disk(&place, "b").await;
        chancery.kill().await;
    }
}

#[tokio::test]
async fn what_is_missing_after_a_restart_is_held_as_well() {
    let mut place = Place::new(&clusters(&["a", "b", "c"]));
    place.flags.extend(["--max-removed-percent", "50"]);
    let (chancery, _) = place.started().await;
    until_saved(&chancery).await;
    chancery.kill().await;
    fs::write(place.file(), clusters(&["a"])).unwrap();
    let (chancery, status) = place.started().await;
    assert_eq!((&status["verdict"], status["restored"].is_object()), (&json!("rejected"), true), "{status}");
    assert_eq!(status["findings"][0]["code"], "too-many-removed");
    let path = format!("/reload?confirm={}", status["source_digest"].as_str().unwrap());
    assert_eq!(chancery.post(&path).await.0, 200);
    chancery.kill().await;
    // What was confirmed is the state now, since the answer comes after it was saved.
    let (chancery, status) = place.started().await;
    assert_eq!((&status["verdict"], &status["revision"]), (&json!("applied"), &json!(2)), "{status}");
    chancery.stop().await;
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_used_ends_the_start() {
    let place = Place::new(&clusters(&["a"]));
    let (state, file) = (place.file().display().to_string(), place.file().display().to_string());
    let ports = ["--listen", "127.0.0.1:0", "--admin", "off", "--state-dir"];
    let run = crate::support::chancery::run(&[&["serve"], &ports[..], &[&state, &file]].concat()).await;
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("cannot keep state in the directory"), "{run:?}");
}

/// How many servers are killed, in as many rows at the same time as there are cores to spare.
const KILLS: usize = 200;
const ROWS: usize = 4;

/// A cluster whose connect timeout is the number of the generation, and as much beside it as makes writing take time.
fn generation(number: u64) -> String {
    let padding = "x".repeat(200_000);
    format!(
        "version: 1\nclusters: [{{name: a, connect_timeout: {number}s, endpoints: ['127.0.0.1:1'], \
         metadata: {{filter_metadata: {{padding: {{text: {padding}}}}}}}}}]\n"
    )
}

/// The generation of a saved or served cluster.
fn number(cluster: &Value) -> u64 {
    let timeout = cluster["connect_timeout"].as_str().unwrap();
    timeout.strip_suffix('s').unwrap().parse().unwrap()
}

/// The generation on disk, which is whole whenever there is one.
fn saved(place: &Place) -> Option<u64> {
    let bytes = fs::read(place.snapshot()).ok()?;
    let saved = Saved::decode(&bytes).expect("the state is never half a file");
    let group = saved.snapshot.group(DEFAULT_GROUP).unwrap();
    let cluster = group.get(Kind::Cluster, "a").unwrap();
    let native =
        chancery::admin::native_json(&chancery::envoy::Schema::embedded(), cluster, chancery::envoy::json::Redact::Yes);
    Some(number(&native))
}

/// Numbers that look random and are the same in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    async fn pause(&mut self, most: u64) {
        sleep(Duration::from_micros(self.below(most * 1000))).await;
    }
}

/// Waits until a state is being written, for as long as that may take from an edit on; there need not be one to write.
async fn until_it_writes(place: &Place) {
    let writes = || fs::read_dir(place.state()).unwrap().any(|entry| entry.unwrap().path() != place.snapshot());
    let started = Instant::now();
    while !writes() && started.elapsed() < Duration::from_millis(200) {
        sleep(Duration::from_micros(200)).await;
    }
}

/// What came of a row of kills.
#[derive(Debug, Default)]
struct Tally {
    kills: usize,
    /// Ones that left a half-written temporary file behind.
    in_writing: usize,
    /// Ones between an edit and its state.
    before_writing: usize,
    restored: usize,
}

async fn row(seed: u64) -> Tally {
    let mut random = Random(seed);
    let mut place = Place::new(&generation(1));
    place.flags.extend(["--settle", "1ms"]);
    let (mut newest, mut tally) = (1, Tally::default());
    // Whether the file on disk is a good one, and of which generation.
    let mut on_disk = Some(1);
    while tally.kills < KILLS / ROWS {
        let mut possible: BTreeSet<Option<u64>> = BTreeSet::from([saved(&place), on_disk]);
        let chancery = place.start().await;
        if random.below(4) > 0 {
            chancery.until("a verdict", |status| status["verdict"] != "pending").await;
        }
        for _ in 0..random.below(4) {
            random.pause(40).await;
            if random.below(3) > 0 {
                newest += 1;
                on_disk = Some(newest);
                possible.insert(on_disk);
                let text = generation(newest);
                if random.below(2) == 0 {
                    replace(&place.file(), &text);
                } else {
                    fs::write(place.file(), text).unwrap();
                }
            } else {
                on_disk = None;
                if random.below(2) == 0 { _ = fs::remove_file(place.file()) } else { replace(&place.file(), BAD) }
            }
        }
        if random.below(3) == 0 {
            until_it_writes(&place).await;
        } else {
            random.pause(40).await;
        }
        chancery.kill().await;
        tally.kills += 1;
        let state = saved(&place);
        assert!(possible.contains(&state), "{state:?} is none of {possible:?}");
        tally.before_writing += usize::from(on_disk.is_some() && state != on_disk);
        let left = fs::read_dir(place.state()).unwrap().count();
        tally.in_writing += usize::from(left > usize::from(state.is_some()));

        // The restart is looked at, and is not itself counted when it is killed.
        let (chancery, status) = place.started().await;
        let dump = chancery.config_dump().await;
        let clusters = &dump["default"]["type.googleapis.com/envoy.config.cluster.v3.Cluster"];
        let served = clusters.as_array().map(|clusters| number(&clusters[0]["resource"]));
        assert_eq!(served, on_disk.or(state), "{status}");
        assert_eq!(status["restored"].is_object(), on_disk.is_none() && state.is_some(), "{status}");
        tally.restored += usize::from(status["restored"].is_object());
        chancery.kill().await;
    }
    tally
}

#[tokio::test]
async fn killed_at_any_moment_two_hundred_times_it_comes_back_with_the_newest_or_the_last_good() {
    let set = LocalSet::new();
    let tallies = set.run_until(async {
        let mut rows = JoinSet::new();
        for seed in 1..=ROWS {
            rows.spawn_local(row(seed as u64));
        }
        rows.join_all().await
    });
    let tallies = tallies.await;
    let sum = |of: fn(&Tally) -> usize| tallies.iter().map(of).sum::<usize>();
    assert_eq!(sum(|tally| tally.kills), KILLS);
    println!("{tallies:?}");
    assert!(sum(|tally| tally.restored) > 10 && sum(|tally| tally.before_writing) > 0, "{tallies:?}");
    assert!(sum(|tally| tally.in_writing) > 5, "hardly any was killed while it wrote: {tallies:?}");
}
