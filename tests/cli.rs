//! The program as scripts see it: exit codes, what goes to which output, and how it ends.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use serde_json::Value;

use crate::support::chancery::{Chancery, run, run_in};
use crate::support::edit::{Edit, File};

const GOOD: &str = "version: 1\nclusters:\n- {name: app, endpoints: [127.0.0.1:80]}\n";
const BAD: &str = "version: 1\nclusters:\n- {name: app, conect_timeout: 1s, endpoints: [127.0.0.1:80]}\n";

#[tokio::test]
async fn check_says_yes_no_or_cannot() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("good.yaml"), GOOD).unwrap();
    fs::write(dir.path().join("bad.yaml"), BAD).unwrap();

    let good = run_in(dir.path(), &["check", "good.yaml"], "").await;
    assert_eq!(good.code, 0, "{good:?}");

    let bad = run_in(dir.path(), &["check", "bad.yaml"], "").await;
    assert_eq!(bad.code, 1, "{bad:?}");
    assert!(bad.stderr.starts_with("bad.yaml:3:15: error[unknown-field]: "), "{bad:?}");
    assert!(bad.stderr.contains("did you mean `connect_timeout`?"), "the remedy is missing: {bad:?}");

    let missing = run_in(dir.path(), &["check", "missing.yaml"], "").await;
    assert_eq!(missing.code, 2, "{missing:?}");
    assert!(missing.stderr.contains("missing.yaml"), "{missing:?}");

    // Without a path it is the demo's: config/topology.yaml.
    fs::create_dir(dir.path().join("config")).unwrap();
    fs::write(dir.path().join("config/topology.yaml"), BAD).unwrap();
    let default = run_in(dir.path(), &["check"], "").await;
    assert_eq!(default.code, 1, "{default:?}");
    assert!(default.stderr.starts_with("config/topology.yaml:3:15: "), "{default:?}");
}

#[tokio::test]
async fn check_reads_standard_input() {
    let root = Path::new(".");
    assert_eq!(run_in(root, &["check", "-"], GOOD).await.code, 0);
    let bad = run_in(root, &["check", "-"], BAD).await;
    assert_eq!(bad.code, 1, "{bad:?}");
    assert!(bad.stderr.contains(":3:15: error[unknown-field]: "), "{bad:?}");
}

#[tokio::test]
async fn json_goes_to_standard_output_alone() {
    let bad = run_in(Path::new("."), &["check", "-", "-o", "json"], BAD).await;
    assert_eq!(bad.code, 1, "{bad:?}");
    assert_eq!(bad.stderr, "");
    let output: Value = serde_json::from_str(&bad.stdout).unwrap();
    let findings = output.as_array().or_else(|| output["findings"].as_array()).expect("a list of findings");
    let [finding] = &findings[..] else { panic!("one mistake, one finding: {output}") };
    assert_eq!(finding["code"], "unknown-field");
    assert_eq!((finding["line"].as_u64(), finding["column"].as_u64()), (Some(3), Some(15)));
}

#[tokio::test]
async fn render_prints_what_it_would_serve() {
    let yaml = run_in(Path::new("."), &["render", "-"], GOOD).await;
    assert_eq!(yaml.code, 0, "{yaml:?}");
    // What is printed is itself a topology, which means the same.
    let again = run_in(Path::new("."), &["render", "-", "-o", "json"], &yaml.stdout).await;
    let json = run_in(Path::new("."), &["render", "-", "-o", "json"], GOOD).await;
    assert_eq!(again.stdout, json.stdout, "{yaml:?}");
    let bad = run_in(Path::new("."), &["render", "-"], BAD).await;
    assert_eq!((bad.code, bad.stdout.as_str()), (1, ""), "{bad:?}");
}

#[tokio::test]
async fn a_wrong_flag_is_said_at_once() {
    for arguments in [&["serve", "--lisent", "127.0.0.1:0"][..], &["serve", "--listen", "nowhere"], &["sreve"]] {
        let wrong = run(arguments).await;
        assert_eq!(wrong.code, 2, "{wrong:?}");
        assert!(!wrong.stderr.is_empty(), "{wrong:?}");
    }
    let deaf = run(&["serve", "--watch", "poll", "--poll-interval", "0"]).await;
    assert_eq!(deaf.code, 2, "it would never notice a change: {deaf:?}");
    assert!(deaf.stderr.contains("--watch off"), "{deaf:?}");
    let standard_input = run(&["serve", "-"]).await;
    assert_eq!(standard_input.code, 2, "a stream cannot be followed: {standard_input:?}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_at_once() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    let file = File::new(Edit::InPlace, GOOD);
    let path = file.path().display().to_string();
    for arguments in [
        ["serve", "--listen", &taken, "--admin", "127.0.0.1:0", &path],
        ["serve", "--admin", &taken, "--listen", "127.0.0.1:0", &path],
    ] {
        let refused = run(&arguments).await;
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains(&taken) && refused.stderr.contains("in use"), "{refused:?}");
    }
    drop(other);
}

#[tokio::test]
async fn serve_says_what_it_does_and_ends_when_asked() {
    let file = File::new(Edit::InPlace, GOOD);
    let chancery = Chancery::serve(&file.path()).await;
    chancery.until_revision(1).await;
    assert!(chancery.stdout().contains(&format!("watching {}", file.path().display())), "{}", chancery.stdout());
    assert!(chancery.xds().ip().is_loopback() && chancery.xds().port() != 0);
    assert_eq!(chancery.admin("/livez").await.status, 200);
    chancery.stop().await;
}

#[tokio::test]
async fn a_config_map_that_changes_is_nothing_to_warn_of() {
    let mut file = File::new(Edit::ConfigMap, GOOD);
    let chancery = Chancery::serve(file.path().parent().unwrap()).await;
    for revision in 1..4 {
        chancery.until_revision(revision).await;
        file.write(&GOOD.replace(":80", &format!(":8{revision}")));
    }
    chancery.until_revision(4).await;
    let log = chancery.stderr();
    assert!(log.contains("published the topology") && !log.contains("WARN"), "{log}");
    chancery.stop().await;
}

#[tokio::test]
async fn healthcheck_tells_ready_from_not_ready_and_from_gone() {
    let mut file = File::new(Edit::InPlace, BAD);
    let chancery = Chancery::serve(&file.path()).await;
    let server = chancery.admin_url().to_owned();
    chancery.until("a verdict", |status| status["verdict"] == "rejected").await;
    assert_eq!(chancery.admin("/readyz").await.status, 503);
    let waiting = run(&["healthcheck", "--server", &server]).await;
    assert_eq!(waiting.code, 1, "{waiting:?}");

    file.write(GOOD);
    chancery.until_revision(1).await;
    let ready = run(&["healthcheck", "--server", &server]).await;
    assert_eq!(ready.code, 0, "{ready:?}");

    chancery.stop().await;
    let gone = run(&["healthcheck", "--server", &server]).await;
    assert_eq!(gone.code, 2, "{gone:?}");
}
