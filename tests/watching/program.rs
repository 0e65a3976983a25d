//! The rows that need the program: its checks, and its event queue.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::{has_warning, topology};
use crate::reload::replace;
use crate::support::chancery::{Chancery, Options};

/// Puts something where the topology is, and sees that it is said and changes nothing.
async fn is_refused(chancery: &Chancery, what: &str, verdict: &str, message: &str) {
    let status =
        chancery.until(what, |status| status["verdict"] == verdict && status.to_string().contains(message)).await;
    assert_eq!((&status["ready"], chancery.admin("/readyz").await.status), (&true.into(), 200), "{what}: {status}");
    assert!(chancery.metric("chancery_config_in_sync").await < 1.0, "{what}");
    assert!(!status["groups"]["default"]["CDS"].is_null(), "{what}: {status}");
}

#[tokio::test]
async fn empty_only_comments_or_null() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("topology.yaml");
    fs::write(&file, topology("0")).unwrap();
    let chancery = Chancery::serve(&file).await;
    chancery.until_revision(1).await;
    for (round, text) in ["", " \n\n", "# nothing\n", "null\n"].into_iter().enumerate() {
        fs::write(&file, text).unwrap();
        is_refused(&chancery, &format!("{text:?}"), "rejected", "empty-topology").await;
        let status = chancery.status().await;
        assert!(status["findings"].to_string().contains("`listeners: []`"), "{text:?}: {status}");
        let revision = u64::try_from(round).unwrap() + 2;
        fs::write(&file, topology(&revision.to_string())).unwrap();
        chancery.until_revision(revision).await;
    }
    chancery.stop().await;
}

#[tokio::test]
async fn directory_fifo_loop_denied_large_non_utf8_or_bom() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("topology.yaml");
    fs::write(&file, topology("0")).unwrap();
    // In a user namespace without a user even root may not read what its mode forbids.
    let within = ["unshare", "-U"].map(str::to_owned).to_vec();
    let chancery = Chancery::serve_with(&file, Options { within, ..Options::default() }).await;
    chancery.until_revision(1).await;
    let put: [(fn(&Path), _, _); 6] = [
        (|path| fs::create_dir(path).unwrap(), "missing", "the directory holds no"),
        (|path| mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap(), "unreadable", "named pipe"),
        (|path| symlink("topology.yaml", path).unwrap(), "unreadable", "lead in a circle"),
        (
            |path| {
                fs::write(path, topology("secret")).unwrap();
                fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
            },
            "unreadable",
            "permission denied",
        ),
        (|path| File::create(path).unwrap().set_len((256 << 20) + 1).unwrap(), "unreadable", "larger than 256 MiB"),
        (|path| fs::write(path, b"version: 1\nclusters: [\xff]\n").unwrap(), "rejected", "not-utf8"),
    ];
    for (round, (put, verdict, message)) in put.into_iter().enumerate() {
        // Put in place in one step, so that the file that was there is not found to be missing first.
        let other = dir.path().join("other");
        put(&other);
        if other.is_dir() {
            fs::remove_file(&file).unwrap();
        }
        fs::rename(&other, &file).unwrap();
        if message == "lead in a circle" {
            assert!(fs::metadata(&file).is_err(), "a link to itself");
        }
        is_refused(&chancery, message, verdict, message).await;
        if file.is_dir() {
            fs::remove_dir(&file).unwrap();
        }
        let revision = u64::try_from(round).unwrap() + 2;
        replace(&file, &topology(&revision.to_string()));
        chancery.until_revision(revision).await;
    }
    // A byte order mark means nothing.
    replace(&file, &format!("\u{feff}{}", topology("marked")));
    chancery.until_revision(8).await;
    chancery.stop().await;
}

/// The root of a volume of its own holds a directory that only root may list.
#[tokio::test]
async fn lost_and_found_and_a_directory_that_may_not_be_listed() {
    let dir = tempfile::tempdir().unwrap();
    let allow = |name: &str, mode| {
        fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    fs::write(dir.path().join("topology.yaml"), topology("0")).unwrap();
    fs::create_dir(dir.path().join("lost+found")).unwrap();
    allow("lost+found", 0o000);
    let within = ["unshare", "-U"].map(str::to_owned).to_vec();
    let chancery = Chancery::serve_with(dir.path(), Options { within, ..Options::default() }).await;
    chancery.until_revision(1).await;
    let more = dir.path().join("staged.tmp");
    fs::create_dir(&more).unwrap();
    allow("staged.tmp", 0o000);
    fs::rename(more, dir.path().join("more")).unwrap();
    is_refused(&chancery, "a closed directory", "unreadable", "/more: cannot be read: permission denied").await;
    let status = chancery.status().await;
    assert!(status["error"].as_str().unwrap().contains("list the directory, or keep it elsewhere"), "{status}");
    allow("more", 0o755);
    chancery.until("it can be listed", |status| status["verdict"] == "unchanged").await;
    chancery.stop().await;
}

#[tokio::test]
async fn queue_overflow() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("topology.yaml");
    fs::write(&file, topology("1")).unwrap();
    fs::write(dir.path().join("other"), "").unwrap();
    let chancery = Chancery::serve(&file).await;
    chancery.until_revision(1).await;
    let room: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    for revision in [2, 3] {
        chancery.pause();
        // The same event twice in a row takes one place.
        for _ in 0..room / 2 + 100 {
            for name in [&*file, &dir.path().join("other")] {
                File::open(name).unwrap();
            }
        }
        // There is no room for the events of this.
        replace(&file, &topology(&revision.to_string()));
        chancery.resume();
        chancery.until_revision(revision).await;
    }
    let status = chancery.status().await;
    assert_eq!(status["watch"]["mode"], "events", "{status}");
    let overflows = status["watch"]["overflows"].as_f64().unwrap();
    assert!(overflows >= 2.0 && (chancery.metric("chancery_watch_overflows_total").await - overflows).abs() < 0.5);
    assert_eq!(chancery.stderr().matches("event queue was full").count(), 1, "{}", chancery.stderr());
    // The new watches hear.
    replace(&file, &topology("4"));
    chancery.until_revision(4).await;
    assert!(!has_warning(&chancery.status().await, "missed-change"));
    chancery.stop().await;
}
