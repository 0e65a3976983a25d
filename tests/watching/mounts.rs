//! The rows that need mounts and limits, each in a namespace of its own.

use super::namespace::Namespace;
use super::{has_warning, topology};
use crate::reload::{Volume, replace};
use crate::support::chancery::Chancery;

/// Events, and looks between them.
const BOTH: [&str; 2] = ["--poll-interval", "200ms"];

const EVENTS: [&str; 2] = ["--poll-interval", "0"];

/// How often a warning is in the log.
fn logged(chancery: &Chancery, code: &str) -> usize {
    chancery.stderr().lines().filter(|line| line.contains(code)).count()
}

#[tokio::test]
async fn umount_remount_and_over_mount() {
    let mut namespace = Namespace::new().await;
    for name in ["1", "2", "3", "4", "5", "6"] {
        namespace.write(&format!("{name}.yaml"), &topology(name));
    }
    namespace.run("mkdir t; mount -t tmpfs none t; cp 1.yaml t/topology.yaml").await;
    let chancery = namespace.serve("t/topology.yaml", BOTH.to_vec()).await;
    chancery.until_revision(1).await;
    namespace.run("cp 2.yaml t/topology.yaml").await;
    let status = chancery.until_revision(2).await;
    assert_eq!(status["watch"]["missed_changes"], 0, "{status}");

    namespace.run("umount t").await;
    let status = chancery.until("nothing there", |status| status["verdict"] == "missing").await;
    assert_eq!((&status["revision"], &status["ready"]), (&2.into(), &true.into()));
    let status = chancery.until("a miss", |status| status["watch"]["missed_changes"] == 1).await;
    assert!(has_warning(&status, "missed-change"), "{status}");

    // A fresh file system may have the numbers of the last one.
    namespace.run("mount -t tmpfs none t; cp 3.yaml t/topology.yaml").await;
    chancery.until_revision(3).await;
    let events = chancery.metric("chancery_watch_events_total").await;
    namespace.run("cp 4.yaml t/topology.yaml").await;
    chancery.until_revision(4).await;
    assert!(chancery.metric("chancery_watch_events_total").await > events, "the new watches hear");
    chancery.until("no warning after an event", |status| !has_warning(status, "missed-change")).await;

    namespace.run("mount -t tmpfs none t; cp 5.yaml t/topology.yaml").await;
    chancery.until_revision(5).await;
    namespace.run("umount -l t; grep -q at-4 t/topology.yaml").await;
    chancery.until_revision(6).await;
    namespace.run("cp 6.yaml t/topology.yaml").await;
    chancery.until_revision(7).await;
    let status = chancery.status().await;
    assert_eq!(status["watch"]["mode"], "events", "{status}");
    chancery.stop().await;
}

#[tokio::test]
async fn bind_mounted_single_file() {
    let mut namespace = Namespace::new().await;
    namespace.run("mkdir host container; touch container/topology.yaml").await;
    namespace.write("host/topology.yaml", &topology("1"));
    namespace.run("mount --bind host/topology.yaml container/topology.yaml").await;
    let chancery = namespace.serve("container/topology.yaml", EVENTS.to_vec()).await;
    chancery.until_revision(1).await;
    let status = chancery.until("a warning", |status| has_warning(status, "mounted-file")).await;
    assert!(status["watch"].to_string().contains("mount the directory instead"), "{status}");

    for revision in [2, 3] {
        namespace.write("host/topology.yaml", &topology(&revision.to_string()));
        chancery.until_revision(revision).await;
    }
    assert_eq!(logged(&chancery, "mounted-file"), 1, "{}", chancery.stderr());

    // From now on the mount shows a file that nobody else can reach.
    replace(&namespace.path("host/topology.yaml"), &topology("4"));
    let status = chancery.until("a warning", |status| has_warning(status, "pinned-file")).await;
    assert_eq!(status["revision"], 3, "{status}");
    assert_eq!(logged(&chancery, "pinned-file"), 1, "{}", chancery.stderr());
    chancery.stop().await;
}

/// A change to the lower layer of an overlay comes without an event, as one by another machine does on a network file system.
#[tokio::test]
async fn file_system_without_events() {
    let mut namespace = Namespace::new().await;
    for name in ["1", "2", "3"] {
        namespace.write(name, &topology(name));
    }
    namespace.run("mkdir t m; mount -t tmpfs none t; mkdir t/lower t/upper t/work; cp 1 t/lower/topology.yaml").await;
    namespace.run("mount -t overlay none -o lowerdir=t/lower,upperdir=t/upper,workdir=t/work m").await;
    let chancery = namespace.serve("m/topology.yaml", vec!["--poll-interval", "1h"]).await;
    chancery.until_revision(1).await;
    let status = chancery.until("a hint", |status| has_warning(status, "no-events")).await;
    assert!(status["watch"].to_string().contains("overlay"), "{status}");
    assert_eq!(status["watch"]["poll_interval_seconds"], 1.0, "{status}");
    for revision in [2, 3] {
        namespace.run(&format!("cat {revision} > t/lower/topology.yaml")).await;
        chancery.until_revision(revision).await;
        chancery.until("a miss", |status| status["watch"]["missed_changes"] == revision - 1).await;
    }
    assert!(chancery.metric("chancery_watch_missed_changes_total").await > 1.5);
    let status = chancery.status().await;
    assert!(has_warning(&status, "missed-change"), "{status}");
    for code in ["no-events", "missed-change"] {
        assert_eq!(logged(&chancery, code), 1, "{}", chancery.stderr());
    }
    chancery.stop().await;
}

/// It is told once, although each generation lies in a directory of another name.
#[tokio::test]
async fn file_system_without_events_of_a_config_map() {
    let mut namespace = Namespace::new().await;
    for name in ["1", "2", "3"] {
        namespace.write(name, &topology(name));
    }
    namespace.run("mkdir t m; mount -t tmpfs none t; mkdir t/lower t/upper t/work").await;
    namespace.run("mount -t overlay none -o lowerdir=t/lower,upperdir=t/upper,workdir=t/work m").await;
    let swap = |name: &str| {
        format!("mkdir m/..{name}; cp {name} m/..{name}/topology.yaml; ln -s ..{name} m/..tmp; mv -T m/..tmp m/..data")
    };
    namespace.run(&format!("{}; ln -s ..data/topology.yaml m/topology.yaml", swap("1"))).await;
    let chancery = namespace.serve("m/topology.yaml", EVENTS.to_vec()).await;
    chancery.until_revision(1).await;
    for revision in [2, 3] {
        namespace.run(&format!("{}; rm -r m/..{}", swap(&revision.to_string()), revision - 1)).await;
        chancery.until_revision(revision).await;
    }
    let status = chancery.until("a hint", |status| has_warning(status, "no-events")).await;
    let given = namespace.path("m/topology.yaml").display().to_string();
    assert!(status["watch"].to_string().contains(&format!("`{given}` is on an overlay")), "{status}");
    assert_eq!(logged(&chancery, "no-events"), 1, "{}", chancery.stderr());
    chancery.stop().await;
}

/// There may be room for one set of watches and not for two.
#[tokio::test]
async fn room_for_a_single_set_of_watches() {
    for limit in ["max_inotify_instances", "max_inotify_watches"] {
        let mut namespace = Namespace::new().await;
        std::fs::create_dir(namespace.path("volume")).unwrap();
        let dir = namespace.path("volume");
        let mut volume = Volume { dir: &dir, generation: 0 };
        volume.swap(&[("topology.yaml", &topology("1"))]);
        // One for each directory on the way, and one for the file.
        let watches = dir.join("topology.yaml").canonicalize().unwrap().components().count();
        let room = if limit == "max_inotify_watches" { watches } else { 1 };
        namespace.run(&format!("echo {room} > /proc/sys/user/{limit}")).await;
        let chancery = namespace.serve("volume/topology.yaml", EVENTS.to_vec()).await;
        chancery.until_revision(1).await;
        for revision in 2..6 {
            volume.swap(&[("topology.yaml", &topology(&revision.to_string()))]);
            chancery.until_revision(revision).await;
        }
        let status = chancery.status().await;
        assert_eq!((&status["watch"]["mode"], &status["watch"]["missed_changes"]), (&"events".into(), &0.into()));
        assert_eq!(logged(&chancery, "not-watched"), 0, "{limit}: {}", chancery.stderr());
        chancery.stop().await;
    }
}

#[tokio::test]
async fn watch_limit() {
    limit("max_inotify_watches", "fs.inotify.max_user_watches").await;
}

#[tokio::test]
async fn instance_limit() {
    limit("max_inotify_instances", "fs.inotify.max_user_instances").await;
}

async fn limit(of_namespace: &str, remedy: &str) {
    let mut namespace = Namespace::new().await;
    namespace.write("topology.yaml", &topology("1"));
    namespace.run(&format!("cp /proc/sys/user/{of_namespace} before; echo 0 > /proc/sys/user/{of_namespace}")).await;
    let chancery = namespace.serve("topology.yaml", BOTH.to_vec()).await;
    chancery.until_revision(1).await;
    let status = chancery.until("polling", |status| status["watch"]["mode"] == "poll").await;
    assert!(has_warning(&status, "not-watched") && status["watch"].to_string().contains(remedy), "{status}");
    for revision in [2, 3] {
        namespace.write("topology.yaml", &topology(&revision.to_string()));
        chancery.until_revision(revision).await;
    }
    let status = chancery.status().await;
    assert_eq!(status["watch"]["missed_changes"], 0, "nobody listened: {status}");
    assert_eq!(logged(&chancery, "not-watched"), 1, "{}", chancery.stderr());

    namespace.run(&format!("cat before > /proc/sys/user/{of_namespace}")).await;
    let status = chancery.until("watching", |status| status["watch"]["mode"] == "events").await;
    assert!(!has_warning(&status, "not-watched"), "{status}");
    let events = chancery.metric("chancery_watch_events_total").await;
    namespace.write("topology.yaml", &topology("4"));
    chancery.until_revision(4).await;
    assert!(chancery.metric("chancery_watch_events_total").await > events);
    chancery.stop().await;
}
