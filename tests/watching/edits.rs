//! The rows that need nothing but a directory.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use chancery::reload::{Options, Verdict};
use chancery::source::Digest;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::reload::{EVENTS, Meddler, POLL, Running, Volume, place, relink, replace};
use crate::support::{eventually, holds};

/// Events, and frequent looks as well.
const EVENTS_AND_POLL: Options = Options { poll_interval: POLL.poll_interval, ..EVENTS };

#[tokio::test(flavor = "multi_thread")]
async fn in_place_truncate_and_write() {
    let (_dir, file) = place();
    fs::write(&file, "one").unwrap();
    let running = Running::serving(&file, "one").await;
    let mut writer = File::create(&file).unwrap();
    sleep(EVENTS.settle * 4).await;
    writer.write_all(b"two ").unwrap();
    sleep(EVENTS.settle * 4).await;
    writer.write_all(b"halves").unwrap();
    drop(writer);
    running.serves("two halves").await;
    // A new file may be open for a while before the first byte is written.
    fs::remove_file(&file).unwrap();
    let mut writer = File::create(&file).unwrap();
    sleep(EVENTS.settle * 4).await;
    writer.write_all(b"three").unwrap();
    drop(writer);
    running.serves("three").await;
    assert_eq!(running.judged(), ["one", "two halves", "three"]);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rename_over_twice_then_in_place() {
    let (_dir, file) = place();
    fs::write(&file, "one").unwrap();
    let running = Running::serving(&file, "one").await;
    replace(&file, "two");
    running.serves("two").await;
    replace(&file, "three");
    running.serves("three").await;
    fs::write(&file, "four").unwrap();
    running.serves("four").await;
    replace(&file, "five");
    running.serves("five").await;
    assert_eq!(running.judged(), ["one", "two", "three", "four", "five"]);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vim_sed_and_vs_code_saves() {
    let (dir, file) = place();
    fs::write(&file, "0").unwrap();
    let running = Running::serving(&file, "0").await;
    for save in 1..=3 {
        let backup = dir.path().join("topology.yaml~");
        File::create(dir.path().join("4913")).unwrap();
        fs::remove_file(dir.path().join("4913")).unwrap();
        fs::rename(&file, &backup).unwrap();
        fs::write(&file, save.to_string()).unwrap();
        fs::remove_file(&backup).unwrap();
        running.serves(&save.to_string()).await;
        let by_sed = format!("{save} by sed");
        let temporary = dir.path().join("sedA1b2C3");
        fs::write(&temporary, &by_sed).unwrap();
        fs::rename(&temporary, &file).unwrap();
        running.serves(&by_sed).await;
        let in_place = format!("{save} in place");
        fs::write(&file, &in_place).unwrap();
        running.serves(&in_place).await;
    }
    assert_eq!(running.judged().len(), 10, "{:?}", running.judged());
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn touch_identical_rewrite_chmod_and_read() {
    let (_dir, file) = place();
    fs::write(&file, "one").unwrap();
    let running = Running::serving(&file, "one").await;
    let before = running.says_of("one").await;
    let touch = || OpenOptions::new().append(true).open(&file).unwrap().set_modified(SystemTime::now()).unwrap();
    let pause = || sleep(EVENTS.settle * 3);
    touch();
    pause().await;
    fs::write(&file, "one").unwrap();
    pause().await;
    replace(&file, "one");
    pause().await;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    pause().await;
    for _ in 0..100 {
        fs::read(&file).unwrap();
    }
    assert_eq!(running.status.load().attempted, before.attempted);
    fs::write(&file, "two").unwrap();
    running.says_of("two").await;
    assert_eq!(running.served().as_deref(), Some("two"));
    assert_eq!(running.judged(), ["one", "two"]);
    assert_eq!(running.metric("chancery_reloads_total{result=\"applied\"}"), 2);
    let reads = running.metric("chancery_source_reads_total");
    assert!(reads <= 8, "{reads} reads for 4 changes and 2 contents");
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn config_map_swap_twice() {
    for by_directory in [false, true] {
        let (dir, file) = place();
        let mut volume = Volume { dir: dir.path(), generation: 0 };
        volume.swap(&[("topology.yaml", "0")]);
        let path = if by_directory { dir.path() } else { &file };
        let running = Running::serving(path, "0").await;
        for content in ["1", "2", "3"] {
            volume.swap(&[("topology.yaml", content)]);
            running.serves(content).await;
        }
        // The same again is another generation, and nothing new.
        volume.swap(&[("topology.yaml", "3")]);
        volume.swap(&[("topology.yaml", "4")]);
        running.serves("4").await;
        assert_eq!(running.judged(), ["0", "1", "2", "3", "4"]);
        running.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn config_map_key_added_and_removed() {
    let (dir, _) = place();
    let mut volume = Volume { dir: dir.path(), generation: 0 };
    volume.swap(&[("a.yaml", "a")]);
    let running = Running::serving(dir.path(), "a").await;
    volume.swap(&[("a.yaml", "a"), ("b.yaml", "b")]);
    running.serves("ab").await;
    volume.swap(&[("a.yaml", "c")]);
    fs::remove_file(dir.path().join("b.yaml")).unwrap();
    running.serves("c").await;
    running.end().await;
}

/// The link of a new key comes after the swap, and that of an old one goes after it: what is there meanwhile is no content.
#[tokio::test(flavor = "multi_thread")]
async fn config_map_links_that_follow_the_swap() {
    let (dir, _) = place();
    let dir = dir.path();
    let patient = Options { settle: Duration::from_secs(1), ..EVENTS };
    let mut volume = Volume { dir, generation: 0 };
    volume.swap(&[("a.yaml", "1a ")]);
    let running = Running::follow(&[dir], patient);
    running.serves("1a ").await;
    let swap = |generation: usize, names: &[&str]| {
        let name = format!("..{generation}");
        fs::create_dir(dir.join(&name)).unwrap();
        for file in names {
            fs::write(dir.join(&name).join(file).with_extension("yaml"), format!("{generation}{file} ")).unwrap();
        }
        relink(&dir.join("..data"), &name);
    };
    swap(2, &["a", "b"]);
    sleep(patient.settle / 5).await;
    symlink("..data/b.yaml", dir.join("b.yaml")).unwrap();
    running.serves("2a 2b ").await;
    swap(3, &["b"]);
    sleep(patient.settle / 5).await;
    fs::remove_file(dir.join("a.yaml")).unwrap();
    running.serves("3b ").await;
    assert_eq!(running.judged(), ["1a ", "2a 2b ", "3b "]);
    assert_eq!(running.metric("chancery_reloads_total{result=\"missing\"}"), 0);
    running.end().await;
}

/// Files of a followed directory may be links to another place, where one is replaced after the other.
#[tokio::test(flavor = "multi_thread")]
async fn links_of_a_directory_to_files_elsewhere() {
    let (dir, _) = place();
    let [conf, real] = ["conf", "real"].map(|name| dir.path().join(name));
    for path in [&conf, &real] {
        fs::create_dir(path).unwrap();
    }
    for name in ["a.yaml", "b.yaml"] {
        fs::write(real.join(name), "1").unwrap();
        symlink(real.join(name), conf.join(name)).unwrap();
    }
    let patient = Options { settle: Duration::from_secs(1), ..EVENTS };
    let running = Running::follow(&[&conf], patient);
    running.serves("11").await;
    replace(&real.join("a.yaml"), "2");
    sleep(patient.settle / 5).await;
    replace(&real.join("b.yaml"), "2");
    running.serves("22").await;
    assert_eq!(running.judged(), ["11", "22"]);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn link_to_a_directory_that_is_not_there_yet() {
    let (dir, _) = place();
    let conf = dir.path().join("conf");
    fs::create_dir(&conf).unwrap();
    fs::write(conf.join("a.yaml"), "a").unwrap();
    symlink("../later/more", conf.join("more")).unwrap();
    let running = Running::serving(&conf, "a").await;
    fs::create_dir(dir.path().join("staged")).unwrap();
    fs::create_dir(dir.path().join("staged/more")).unwrap();
    fs::write(dir.path().join("staged/more/b.yaml"), "b").unwrap();
    fs::rename(dir.path().join("staged"), dir.path().join("later")).unwrap();
    running.serves("ab").await;
    fs::remove_dir_all(dir.path().join("later")).unwrap();
    running.serves("a").await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn git_sync_swap_twice() {
    for by_directory in [false, true] {
        let (dir, _) = place();
        let dir = dir.path();
        let worktree = |name: &str, content: &str| {
            fs::create_dir_all(dir.join(".worktrees").join(name)).unwrap();
            fs::write(dir.join(".worktrees").join(name).join("topology.yaml"), content).unwrap();
        };
        worktree("a", "one");
        symlink(".worktrees/a", dir.join("current")).unwrap();
        let path = if by_directory { dir.join("current") } else { dir.join("current/topology.yaml") };
        let running = Running::serving(&path, "one").await;
        for (name, content) in [("b", "two"), ("c", "three")] {
            worktree(name, content);
            relink(&dir.join("current"), &format!(".worktrees/{name}"));
            running.serves(content).await;
        }
        // What the link no longer leads to does not matter any more.
        fs::write(dir.join(".worktrees/a/topology.yaml"), "stale").unwrap();
        fs::write(dir.join(".worktrees/c/topology.yaml"), "four").unwrap();
        running.serves("four").await;
        assert_eq!(running.judged(), ["one", "two", "three", "four"]);
        running.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn git_checkout_and_reset() {
    let (_dir, file) = place();
    let content = |round: usize| format!("shared {round} to the end");
    fs::write(&file, content(0)).unwrap();
    let running = Running::serving(&file, &content(0)).await;
    for round in 1..=5 {
        fs::remove_file(&file).unwrap();
        fs::write(&file, content(round)).unwrap();
        running.serves(&content(round)).await;
    }
    for round in 6..=200 {
        fs::remove_file(&file).unwrap();
        fs::write(&file, content(round)).unwrap();
    }
    running.serves(&content(200)).await;
    // Whatever was found in the midst of it, nothing but whole contents could be published.
    let torn = |judged: &String| !(judged.starts_with("shared ") && judged.ends_with(" to the end"));
    let torn: Vec<_> = running.judged().into_iter().filter(torn).collect();
    assert!(torn.iter().all(String::is_empty), "{torn:?}");
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion() {
    let (_dir, file) = place();
    fs::write(&file, "one").unwrap();
    let running = Running::follow(&[&file], EVENTS_AND_POLL);
    running.serves("one").await;
    fs::remove_file(&file).unwrap();
    let status = running.says_verdict(Verdict::Missing).await;
    assert!(status.error.as_ref().unwrap().contains("no such file"), "{status:?}");
    assert_eq!(running.served().as_deref(), Some("one"));
    assert_eq!(running.metric("chancery_config_in_sync"), 0);
    // Looking does not tell it again and again.
    let polls = running.metric("chancery_watch_polls_total");
    eventually("more polls", async || {
        let more = running.metric("chancery_watch_polls_total");
        holds(more > polls + 3, more)
    })
    .await;
    assert_eq!(running.metric("chancery_reloads_total{result=\"missing\"}"), 1);
    // As it was: nothing to judge, nothing to publish.
    fs::write(&file, "one").unwrap();
    let status = running.says_verdict(Verdict::Unchanged).await;
    assert_eq!(status.error, None);
    assert_eq!(running.metric("chancery_config_in_sync"), 1);
    fs::remove_file(&file).unwrap();
    running.says_verdict(Verdict::Missing).await;
    fs::write(&file, "two").unwrap();
    running.serves("two").await;
    assert_eq!(running.judged(), ["one", "two"]);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn later_re_creation_also_of_the_directory() {
    let (dir, _) = place();
    let file = dir.path().join("x/y/z/topology.yaml");
    let running = Running::follow(&[&file], EVENTS);
    running.says_verdict(Verdict::Missing).await;
    assert!(running.store.load().is_none());
    for step in ["x", "x/y", "x/y/z"] {
        fs::create_dir(dir.path().join(step)).unwrap();
        // Wait until this step was noticed.
        sleep(EVENTS.settle * 2).await;
    }
    fs::write(&file, "one").unwrap();
    running.serves("one").await;
    // And all at once.
    fs::remove_dir_all(dir.path().join("x")).unwrap();
    running.says_verdict(Verdict::Missing).await;
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "two").unwrap();
    running.serves("two").await;
    running.end().await;
}

/// File systems give the number of a removed directory to the next one, so numbers alone cannot tell that it is another.
#[tokio::test(flavor = "multi_thread")]
async fn parent_directory_removed_and_made_again() {
    let (dir, _) = place();
    let conf = dir.path().join("conf");
    let file = conf.join("topology.yaml");
    fs::create_dir(&conf).unwrap();
    fs::write(&file, "0").unwrap();
    let running = Running::serving(&file, "0").await;
    for round in 1..=5 {
        fs::remove_dir_all(&conf).unwrap();
        fs::create_dir(&conf).unwrap();
        fs::write(&file, format!("{round} made")).unwrap();
        running.serves(&format!("{round} made")).await;
        fs::write(&file, format!("{round} edited")).unwrap();
        running.serves(&format!("{round} edited")).await;
    }
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parent_directory_swapped_and_exchanged() {
    let (dir, _) = place();
    let conf = |name: &str| dir.path().join(name).join("topology.yaml");
    for (name, content) in [("conf", "one"), ("next", "two"), ("after", "three")] {
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::write(conf(name), content).unwrap();
    }
    let running = Running::serving(&conf("conf"), "one").await;
    fs::rename(dir.path().join("conf"), dir.path().join("old")).unwrap();
    fs::rename(dir.path().join("next"), dir.path().join("conf")).unwrap();
    running.serves("two").await;
    fs::write(conf("old"), "stale").unwrap();
    fs::write(conf("conf"), "two and a half").unwrap();
    running.serves("two and a half").await;
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        let (after, conf) = (dir.path().join("after"), dir.path().join("conf"));
        renameat_with(CWD, &after, CWD, &conf, RenameFlags::EXCHANGE).unwrap();
        running.serves("three").await;
    }
    assert!(!running.judged().contains(&"stale".to_owned()));
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_in_the_same_directory() {
    let (dir, file) = place();
    fs::write(&file, "one").unwrap();
    let running = Running::serving(&file, "one").await;
    for number in 0..3000 {
        let noise = dir.path().join(format!("noise-{number}.yaml"));
        fs::write(&noise, "noise").unwrap();
        fs::remove_file(&noise).unwrap();
        if number == 1500 {
            fs::write(&file, "two").unwrap();
        }
    }
    running.serves("two").await;
    fs::write(&file, "three").unwrap();
    running.serves("three").await;
    assert_eq!(running.judged(), ["one", "two", "three"]);
    let reads = running.metric("chancery_source_reads_total");
    assert!(reads <= 10, "{reads} reads for three contents");
    running.end().await;
}

/// The kubelet puts up the links that users see before the generation that they lead to.
#[tokio::test(flavor = "multi_thread")]
async fn config_map_link_before_its_content() {
    let (dir, file) = place();
    symlink("..data/topology.yaml", &file).unwrap();
    let running = Running::follow(&[&file], EVENTS);
    running.says_verdict(Verdict::Missing).await;
    let mut volume = Volume { dir: dir.path(), generation: 0 };
    for content in ["one", "two"] {
        volume.swap(&[("topology.yaml", content)]);
        running.serves(content).await;
    }
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn continuous_writer() {
    let (_dir, file) = place();
    fs::write(&file, "0").unwrap();
    let running = Running::serving(&file, "0").await;
    let (writes, pause) = (60, EVENTS.settle / 2);
    let started = Instant::now();
    for write in 1..=writes {
        fs::write(&file, write.to_string()).unwrap();
        sleep(pause).await;
    }
    let took = started.elapsed();
    running.serves(&writes.to_string()).await;
    // One at each end of a period of at most two seconds without rest, and the last one.
    let most = u128::from(took.as_secs() / 2) + 3;
    let judged = running.judged();
    // A machine that stops this test for a while gives the writer a rest.
    let rests = took.saturating_sub(pause * writes).as_millis() / EVENTS.settle.as_millis();
    assert!(judged.len() as u128 <= most + rests, "{judged:?} in {took:?}");
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partial_file() {
    let (_dir, file) = place();
    fs::write(&file, "one").unwrap();
    let running = Running::serving(&file, "one").await;
    let mut writer = File::create(&file).unwrap();
    writer.write_all(b"bad beginning").unwrap();
    // Nobody is waited for longer than two seconds.
    running.says_of("bad beginning").await;
    assert_eq!(running.served().as_deref(), Some("one"));
    running.says_hazard("open-writer", true).await;
    writer.write_all(b" and end").unwrap();
    drop(writer);
    running.says_of("bad beginning and end").await;
    running.says_hazard("open-writer", false).await;
    // One that dies leaves what it wrote; the next one is waited for.
    fs::write(&file, "two").unwrap();
    running.serves("two").await;
    assert_eq!(running.judged(), ["one", "bad beginning", "bad beginning and end", "two"]);
    running.end().await;
}

/// Whoever asks for a reload while someone writes is told of the whole file.
#[tokio::test(flavor = "multi_thread")]
async fn request_while_a_writer_is_at_work() {
    let (_dir, file) = place();
    fs::write(&file, "one").unwrap();
    let running = Running::serving(&file, "one").await;
    let mut writer = File::create(&file).unwrap();
    writer.write_all(b"two ").unwrap();
    let trigger = running.trigger.clone();
    let mut asked = JoinSet::new();
    asked.spawn(async move { trigger.reload().await });
    running.trigger.ring();
    sleep(EVENTS.settle * 4).await;
    assert!(asked.try_join_next().is_none(), "answered although the file is half written: {:?}", running.judged());
    writer.write_all(b"halves").unwrap();
    drop(writer);
    let answer = asked.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(answer.sources[0].sha256, Digest::of(b"two halves").to_string());
    assert_eq!(running.judged(), ["one", "two halves"]);
    running.end().await;
}

/// One that is not waited for any longer is warned of until it closes the file, whatever else leads to a reading.
#[tokio::test(flavor = "multi_thread")]
async fn request_while_a_writer_stalls() {
    let (_dir, file) = place();
    fs::write(&file, "one").unwrap();
    let running = Running::serving(&file, "one").await;
    let mut writer = File::create(&file).unwrap();
    writer.write_all(b"bad").unwrap();
    running.says_of("bad").await;
    running.says_hazard("open-writer", true).await;
    let is_told = || running.status.watch().hazards.iter().any(|hazard| hazard.code == "open-writer");
    for _ in 0..2 {
        running.trigger.reload().await.unwrap();
        assert!(is_told(), "{:?}", running.status.watch());
    }
    let reads = running.metric("chancery_source_reads_total");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    eventually("a reading", async || {
        let more = running.metric("chancery_source_reads_total");
        holds(more > reads, more)
    })
    .await;
    running.trigger.reload().await.unwrap();
    assert!(is_told(), "{:?}", running.status.watch());
    drop(writer);
    running.says_hazard("open-writer", false).await;
    assert_eq!(running.judged(), ["one", "bad"]);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edit_between_arming_and_reading() {
    let (dir, _) = place();
    let conf = dir.path().join("conf");
    let file = conf.join("topology.yaml");
    for (name, content) in [("conf", "attach key;"), ("next", "attach key;")] {
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::write(dir.path().join(name).join("topology.yaml"), content).unwrap();
        fs::write(dir.path().join(name).join("key"), name).unwrap();
    }
    let root = dir.path().to_owned();
    let meddle: Meddler = Arc::new(move |read: &str| {
        if read == "attach key;" && root.join("next").exists() {
            // The directory that is watched is no longer the one that the path leads to, and the key was never watched.
            fs::rename(root.join("conf"), root.join("old")).unwrap();
            fs::rename(root.join("next"), root.join("conf")).unwrap();
        } else if read == "plain" {
            replace(&root.join("conf/topology.yaml"), "edited while the last content was judged");
        }
    });
    let running = Running::meddling(&[&file], EVENTS, meddle);
    running.serves("attach key;next").await;
    replace(&conf.join("key"), "later");
    running.serves("attach key;later").await;
    fs::write(&file, "plain").unwrap();
    running.serves("edited while the last content was judged").await;
    running.end().await;
}

/// While nothing changes, the task wakes to look and does nothing else: it reads nothing, and hears nothing of its own looking.
#[tokio::test(flavor = "multi_thread")]
async fn idle_costs_one_look_per_interval() {
    let (dir, file) = place();
    fs::write(&file, "one").unwrap();
    for path in [&*file, dir.path()] {
        let running = Running::follow(&[path], EVENTS_AND_POLL);
        running.serves("one").await;
        running.says_of("one").await;
        let counts = || {
            let of = |name: &str| running.metric(name);
            (of("chancery_source_reads_total"), of("chancery_watch_events_total"), of("chancery_watch_polls_total"))
        };
        let (started, (reads, events, polls)) = (Instant::now(), counts());
        eventually("twenty polls", async || {
            fs::read(&file).unwrap();
            holds(counts().2 >= polls + 20, counts())
        })
        .await;
        let (elapsed, after) = (started.elapsed(), counts());
        assert_eq!((after.0, after.1), (reads, events), "reads and events before and after");
        let most = elapsed.as_millis() / EVENTS_AND_POLL.poll_interval.as_millis() + 1;
        assert!(u128::from(after.2 - polls) <= most, "{} looks in {elapsed:?}", after.2 - polls);
        running.end().await;
    }
    // Without polling, nothing at all.
    let running = Running::serving(&file, "one").await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(running.metric("chancery_watch_polls_total"), 0);
    fs::write(&file, "two").unwrap();
    running.serves("two").await;
    running.end().await;
}
