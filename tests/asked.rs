//! Reloads that are asked for, starts without a good topology, and edits that remove too much.

use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Duration;

use chancery::envoy::Kind;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::sleep;
use tonic::transport::Endpoint;

use crate::reload::{place, replace};
use crate::support::chancery::{Chancery, Options, run};
use crate::support::xds_client::{ADS, Sotw, Stream};

const BAD: &str = "version: 1\nclusters:\n- {name: a, conect_timeout: 1s, endpoints: ['127.0.0.1:1']}\n";

/// A topology of clusters of these names.
pub(crate) fn clusters(names: &[&str]) -> String {
    let cluster = |name: &&str| format!("{{name: {name}, endpoints: ['127.0.0.1:1']}}");
    format!("version: 1\nlisteners: []\nclusters: [{}]\n", names.iter().map(cluster).collect::<Vec<_>>().join(", "))
}

/// Reads files only when it is asked to.
async fn deaf(path: &Path, flags: &[&'static str]) -> Chancery {
    let flags = [&["--watch", "off"], flags].concat();
    Chancery::serve_with(path, Options { flags, ..Options::default() }).await
}

/// How often each verdict was reached.
async fn counts(chancery: &Chancery) -> [u64; 5] {
    let metrics = chancery.admin("/metrics").await.body;
    ["applied", "unchanged", "rejected", "missing", "unreadable"].map(|verdict| {
        let name = format!("chancery_reloads_total{{result=\"{verdict}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&name)).expect(&name).parse().unwrap()
    })
}

#[tokio::test]
async fn a_reload_answers_with_what_came_of_it() {
    let (_dir, file) = place();
    fs::write(&file, clusters(&["a", "b"])).unwrap();
    let chancery = deaf(&file, &[]).await;
    chancery.until_revision(1).await;

    fs::write(&file, clusters(&["b", "c"])).unwrap();
    let (status, applied) = chancery.post("/reload").await;
    assert_eq!((status, &applied["verdict"], &applied["revision"]), (200, &json!("applied"), &json!(2)), "{applied}");
    let changes =
        json!({"default": {"CDS": {"added": ["c"], "removed": ["a"]}, "EDS": {"added": ["c"], "removed": ["a"]}}});
    assert_eq!(applied["changes"], changes);
    assert_eq!(applied["served_digest"], applied["source_digest"]);
    assert_eq!((&applied["findings"], &applied["error"]), (&json!([]), &Value::Null));
    assert_eq!(chancery.post("/reload").await, (200, applied), "the verdict on the same files is the same");

    fs::write(&file, clusters(&["b", "c"]) + "# why\n").unwrap();
    let (status, unchanged) = chancery.post("/reload").await;
    assert_eq!((status, &unchanged["verdict"], &unchanged["changes"]), (200, &json!("unchanged"), &json!({})));

    fs::write(&file, BAD).unwrap();
    for _ in 0..3 {
        let (status, rejected) = chancery.post("/reload").await;
        assert_eq!((status, &rejected["verdict"], &rejected["revision"]), (422, &json!("rejected"), &json!(2)));
        assert_eq!(
            (&rejected["findings"][0]["code"], &rejected["findings"][0]["line"]),
            (&json!("unknown-field"), &json!(3))
        );
        assert_ne!(rejected["served_digest"], rejected["source_digest"]);
    }
    assert!(!chancery.is_set("chancery_config_in_sync").await);
    assert!(!chancery.is_set("chancery_config_last_reload_successful").await);
    let succeeded = chancery.metric("chancery_config_last_reload_success_timestamp_seconds").await;

    fs::remove_file(&file).unwrap();
    for _ in 0..3 {
        let (status, missing) = chancery.post("/reload").await;
        assert_eq!((status, &missing["verdict"]), (503, &json!("missing")));
        assert!(missing["error"].as_str().unwrap().contains("no such file"), "{missing}");
    }
    fs::create_dir(&file).unwrap();
    fs::create_dir(file.join("a.yaml")).unwrap();
    assert_eq!(chancery.post("/reload").await.0, 503);
    fs::remove_dir_all(&file).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    let (status, unreadable) = chancery.post("/reload").await;
    assert_eq!((status, &unreadable["verdict"], &unreadable["revision"]), (503, &json!("unreadable"), &json!(2)));
    assert_eq!(chancery.admin("/readyz").await.status, 200);

    fs::remove_file(&file).unwrap();
    fs::write(&file, clusters(&["c"])).unwrap();
    assert_eq!(chancery.post("/reload").await.1["revision"], 3);
    // A missing file, then a directory without topology files: two reasons.
    assert_eq!(counts(&chancery).await, [3, 1, 1, 2, 1]);
    assert!(chancery.is_set("chancery_config_in_sync").await);
    assert!(chancery.metric("chancery_config_last_reload_success_timestamp_seconds").await > succeeded);
    let log = chancery.stderr();
    let said = |what: &str| log.matches(what).count();
    assert_eq!((said("the topology has errors"), said("the topology cannot be read")), (1, 3), "{log}");
    chancery.stop().await;
}

/// Half of a file that is being written may be a topology by itself.
#[tokio::test]
async fn a_request_does_not_read_what_is_half_written() {
    let (_dir, file) = place();
    fs::write(&file, clusters(&["a"])).unwrap();
    let chancery = Chancery::serve(&file).await;
    chancery.until_revision(1).await;
    let whole = clusters(&["a", "b"]) + "# the end\n";
    let half = clusters(&[]);
    let mut writer = fs::File::create(&file).unwrap();
    writer.write_all(half.as_bytes()).unwrap();
    chancery.signal(Signal::HUP);
    let finish = async {
        sleep(Duration::from_millis(300)).await;
        // From the beginning, as a program does that writes block by block and comes back to the first one.
        writer.seek(SeekFrom::Start(0)).unwrap();
        writer.write_all(whole.as_bytes()).unwrap();
        drop(writer);
    };
    let ((status, answer), ()) = tokio::join!(chancery.post("/reload"), finish);
    let changes = json!({"default": {"CDS": {"added": ["b"]}, "EDS": {"added": ["b"]}}});
    assert_eq!((status, &answer["revision"], &answer["changes"]), (200, &json!(2), &changes), "{answer}");
    chancery.stop().await;
}

#[tokio::test]
async fn sighup_reads_the_files_and_ends_nothing() {
    let (_dir, file) = place();
    fs::write(&file, clusters(&["a"])).unwrap();
    let chancery = deaf(&file, &[]).await;
    chancery.until_revision(1).await;
    for (revision, names) in (2..).zip([&["b"], &["c"]]) {
        fs::write(&file, clusters(names)).unwrap();
        chancery.signal(Signal::HUP);
        chancery.until_revision(revision).await;
    }
    fs::write(&file, BAD).unwrap();
    chancery.signal(Signal::HUP);
    chancery.until("the refusal", |status| status["verdict"] == "rejected").await;
    chancery.stop().await;
}

#[tokio::test]
async fn a_start_without_a_good_topology_is_waited_out_and_no_stream_is_told_that_there_is_nothing() {
    for first in [None, Some(BAD), Some("")] {
        let (_dir, file) = place();
        if let Some(text) = first {
            fs::write(&file, text).unwrap();
        }
        let chancery = Chancery::serve(&file).await;
        let verdict = if first.is_some() { "rejected" } else { "missing" };
        chancery.until(verdict, |status| status["verdict"] == verdict).await;
        let channel = Endpoint::from_shared(format!("http://{}", chancery.xds())).unwrap().connect().await.unwrap();
        let mut stream: Sotw = Stream::open(channel, &ADS.replace('/', "/Stream")).await;
        stream.want(Kind::Cluster, &[]).await;
        chancery.until("the stream", |status| status["clients"][0]["kinds"]["CDS"].is_object()).await;
        let ready = chancery.admin("/readyz").await;
        assert_eq!(ready.status, 503, "{ready:?}");
        replace(&file, &clusters(&["a"]));
        // The first response of all is that of the good topology.
        assert_eq!(stream.receive().await.resources.len(), 1);
        assert_eq!(chancery.admin("/readyz").await.status, 200);
        chancery.stop().await;
    }
}

#[tokio::test]
async fn require_valid_ends_a_start_without_a_good_topology() {
    let (dir, file) = place();
    let serve = async |path: &Path, more: &[&str]| {
        let ports = ["serve", "--require-valid", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        run(&[&ports, more, &[path.to_str().unwrap()]].concat()).await
    };
    let missing = serve(&file, &[]).await;
    assert_eq!(missing.code, 1, "{missing:?}");
    assert!(missing.stderr.contains("no such file"), "{missing:?}");
    fs::write(&file, BAD).unwrap();
    let bad = serve(&file, &["--log", "off"]).await;
    assert_eq!(bad.code, 1, "{bad:?}");
    assert!(bad.stderr.contains("topology.yaml:3:13: error[unknown-field]"), "{bad:?}");

    fs::write(&file, clusters(&["a"])).unwrap();
    let state = dir.path().join("state");
    let flags = vec!["--require-valid"];
    let chancery =
        Chancery::serve_with(&file, Options { flags: flags.clone(), state: Some(state.clone()), ..Options::default() })
            .await;
    chancery.until_revision(1).await;
    // Later edits are met as ever.
    replace(&file, BAD);
    chancery.until("the refusal", |status| status["verdict"] == "rejected").await;
    chancery.stop().await;
    let kept = serve(&file, &["--state-dir", state.to_str().unwrap()]).await;
    assert_eq!(kept.code, 1, "an earlier run's snapshot is no good topology: {kept:?}");
}

#[tokio::test]
async fn an_edit_that_removes_too_much_waits_for_its_confirmation() {
    let (_dir, file) = place();
    fs::write(&file, clusters(&["a", "b", "c", "d"])).unwrap();
    let chancery = deaf(&file, &["--max-removed-percent", "50"]).await;
    chancery.until_revision(1).await;
    fs::write(&file, clusters(&["a", "b", "e"])).unwrap();
    assert_eq!(chancery.post("/reload").await.0, 200, "two of four is not too much");

    fs::write(&file, clusters(&["a"])).unwrap();
    let (status, held) = chancery.post("/reload").await;
    assert_eq!((status, &held["verdict"], &held["revision"]), (422, &json!("rejected"), &json!(2)), "{held}");
    let [cds, eds] = &held["findings"].as_array().unwrap()[..] else { panic!("{held}") };
    assert_eq!((&cds["code"], &eds["code"]), (&json!("too-many-removed"), &json!("too-many-removed")));
    let digest = held["source_digest"].as_str().unwrap();
    assert!(cds["help"].as_str().unwrap().ends_with(&format!("/reload?confirm={}", &digest[..16])), "{held}");
    assert_eq!(chancery.status().await["source_digest"], held["source_digest"]);

    // Neither another digest nor asking again is a confirmation, and what was confirmed is exactly those bytes.
    let confirm = |digest: &str| format!("/reload?confirm={digest}");
    assert_eq!(chancery.post(&confirm(&"0".repeat(64))).await.0, 422);
    assert_eq!(chancery.post("/reload").await.0, 422);
    fs::write(&file, clusters(&["b"])).unwrap();
    assert_eq!(chancery.post(&confirm(digest)).await.0, 422);
    fs::write(&file, clusters(&["a"])).unwrap();
    let (status, applied) = chancery.post(&confirm(digest)).await;
    assert_eq!((status, &applied["revision"]), (200, &json!(3)), "{applied}");
    assert_eq!(applied["changes"]["default"]["CDS"], json!({"removed": ["b", "e"]}));

    fs::write(&file, clusters(&[])).unwrap();
    let (_, held) = chancery.post("/reload").await;
    let short = &held["source_digest"].as_str().unwrap()[..16];
    assert_eq!(chancery.post(&confirm(short)).await.0, 200);
    chancery.stop().await;
}
