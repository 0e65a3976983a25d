//! Files that the topology names are followed as the topology is.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use chancery::reload::Verdict;
use tokio::time::sleep;

use crate::reload::{EVENTS, POLL, Running, place, relink, replace};

/// A volume as Kubernetes fills it: `certs/NAME` leads through `..data` to the newest generation.
fn generation(certs: &Path, number: u32, files: &[(&str, &str)]) {
    let name = format!("..{number}");
    fs::create_dir_all(certs.join(&name)).unwrap();
    for (file, content) in files {
        fs::write(certs.join(&name).join(file), content).unwrap();
        if number == 1 {
            symlink(Path::new("..data").join(file), certs.join(file)).unwrap();
        }
    }
    relink(&certs.join("..data"), &name);
    if number > 1 {
        fs::remove_dir_all(certs.join(format!("..{}", number - 1))).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn however_an_attached_file_is_replaced_it_is_read_again() {
    for options in [EVENTS, POLL] {
        let (dir, file) = place();
        let key = dir.path().join("key");
        fs::write(&key, "1").unwrap();
        fs::write(&file, "attach key;").unwrap();
        let running = Running::follow(&[&file], options);
        running.serves("attach key;1").await;
        for content in ["2", "3"] {
            replace(&key, content);
            running.serves(&format!("attach key;{content}")).await;
        }
        for content in ["4", "5"] {
            fs::write(&key, content).unwrap();
            running.serves(&format!("attach key;{content}")).await;
        }
        fs::remove_file(&key).unwrap();
        running.says_verdict(Verdict::Rejected).await;
        running.serves("attach key;5").await;
        fs::write(&key, "6").unwrap();
        running.serves("attach key;6").await;
        running.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_followed_through_every_swap_and_two_files_are_of_one_generation() {
    for options in [EVENTS, POLL] {
        let (dir, file) = place();
        let certs = dir.path().join("certs");
        generation(&certs, 1, &[("crt", "1"), ("key", "1")]);
        fs::write(&file, "attach certs/crt;attach certs/key;").unwrap();
        let running = Running::follow(&[&file], options);
        running.serves("attach certs/crt;1attach certs/key;1").await;
        for number in 2..6 {
            let content = number.to_string();
            generation(&certs, number, &[("crt", &content), ("key", &content)]);
            running.serves(&format!("attach certs/crt;{number}attach certs/key;{number}")).await;
        }
        assert_eq!(running.judged().len(), 5, "{:?}", running.judged());
        running.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_written_file_keeps_what_is_served_and_the_rest_is_noticed() {
    let (dir, file) = place();
    let key = dir.path().join("key");
    fs::write(&key, "one").unwrap();
    fs::write(&file, "attach key;").unwrap();
    let running = Running::follow(&[&file], EVENTS);
    running.serves("attach key;one").await;
    let before = running.says_verdict(Verdict::Applied).await;
    assert_eq!(before.sources.len(), 2);
    // A writer that closes the file before it is done.
    fs::write(&key, "bad").unwrap();
    let status = running.says_verdict(Verdict::Rejected).await;
    assert_ne!(status.source_digest, status.served_digest);
    assert_eq!(status.served_digest, before.served_digest);
    running.serves("attach key;one").await;
    fs::write(&key, "two").unwrap();
    running.serves("attach key;two").await;
    // One that does not is waited for.
    let mut writer = File::create(&key).unwrap();
    writer.write_all(b"bad").unwrap();
    sleep(EVENTS.settle * 3).await;
    writer.write_all(b" no longer").unwrap();
    drop(writer);
    running.says_verdict(Verdict::Rejected).await;
    replace(&key, "three");
    running.serves("attach key;three").await;
    let judged = running.judged().len();
    assert_eq!(judged, 5, "the first half of the slow writer was not judged: {:?}", running.judged());
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_again_and_files_beside_are_not_judged() {
    let (dir, file) = place();
    let key = dir.path().join("key");
    fs::write(&key, "1").unwrap();
    fs::write(&file, "attach key;").unwrap();
    let running = Running::follow(&[&file], EVENTS);
    running.serves("attach key;1").await;
    replace(&key, "1");
    fs::write(dir.path().join("other"), "x").unwrap();
    sleep(EVENTS.settle * 3).await;
    // The fence.
    replace(&key, "2");
    running.serves("attach key;2").await;
    assert_eq!(running.judged().len(), 2, "{:?}", running.judged());
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_followed_from_the_edit_that_names_them_to_the_one_that_does_not() {
    let (dir, file) = place();
    fs::write(&file, "none").unwrap();
    let running = Running::serving(&file, "none").await;
    // Named before it is there, nor its directory.
    fs::write(&file, "attach certs/key;").unwrap();
    running.says_verdict(Verdict::Rejected).await;
    fs::create_dir(dir.path().join("certs")).unwrap();
    fs::write(dir.path().join("certs/key"), "1").unwrap();
    running.serves("attach certs/key;1").await;
    fs::write(&file, "none again").unwrap();
    running.serves("none again").await;
    let status = running.says_of("none again").await;
    assert_eq!(status.sources.len(), 1);
    let judged = running.judged().len();
    fs::write(dir.path().join("certs/key"), "2").unwrap();
    fs::write(&file, "fence").unwrap();
    running.serves("fence").await;
    assert_eq!(running.judged().len(), judged + 1, "{:?}", running.judged());
    running.end().await;
}
