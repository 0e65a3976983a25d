use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;

fn names(documents: &[Document]) -> Vec<&str> {
    documents.iter().map(|document| &*document.name).collect()
}

fn in_dir(dir: &Path, path: &str) -> String {
    format!("{}/{path}", dir.display())
}

#[test]
fn a_directory_is_read_recursively_without_what_editors_and_kubernetes_leave_in_it() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    for sub in ["a", ".git", "..2026", "tmp.yaml"] {
        fs::create_dir(dir.join(sub)).unwrap();
    }
    let wanted = ["10-a.yaml", "20-b.yml", "a/x.yaml", "tmp.yaml/y.yaml"];
    let unwanted =
        [".hidden.yaml", "10-a.yaml~", ".10-a.yaml.swp", "10-a.yaml.tmp", "4913", ".git/x.yaml", "..2026/x.yaml", "z"];
    for name in wanted.iter().chain(&unwanted) {
        fs::write(dir.join(name), name).unwrap();
    }
    let documents = Sources::new([dir]).read().unwrap();
    assert_eq!(names(&documents), wanted.map(|name| in_dir(dir, name)));
    assert_eq!(*documents[0].bytes, *b"10-a.yaml");
}

#[test]
fn names_are_those_that_the_user_would_write() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    fs::create_dir(dir.join("real")).unwrap();
    fs::write(dir.join("real/a.yaml"), "").unwrap();
    symlink("real", dir.join("link")).unwrap();
    let slash = format!("{}/", dir.join("link").display());
    assert_eq!(names(&Sources::new([slash]).read().unwrap()), [in_dir(dir, "link/a.yaml")]);
}

#[test]
fn the_order_of_the_paths_does_not_matter_and_a_file_reached_twice_is_read_once() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    fs::create_dir(dir.join("sub")).unwrap();
    fs::write(dir.join("sub/a.yaml"), "a").unwrap();
    fs::write(dir.join("b.yaml"), "b").unwrap();
    symlink("b.yaml", dir.join("c.yaml")).unwrap();
    symlink(".", dir.join("again")).unwrap();
    let paths = [dir.to_owned(), dir.join("sub"), dir.join("sub/a.yaml")];
    let forward = Sources::new(&paths).read().unwrap();
    let backward = Sources::new(paths.iter().rev()).read().unwrap();
    assert_eq!(forward, backward);
    assert_eq!(names(&forward), [in_dir(dir, "b.yaml"), in_dir(dir, "sub/a.yaml")]);
}

#[test]
fn all_files_of_a_mounted_config_map_are_read_through_its_links() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    fs::create_dir(dir.join("..1")).unwrap();
    symlink("..1", dir.join("..data")).unwrap();
    for name in ["a.yaml", "b.yaml"] {
        fs::write(dir.join("..1").join(name), name).unwrap();
        symlink(Path::new("..data").join(name), dir.join(name)).unwrap();
    }
    let documents = Sources::new([dir]).read().unwrap();
    assert_eq!(names(&documents), [in_dir(dir, "a.yaml"), in_dir(dir, "b.yaml")]);
}

#[test]
fn whatever_lies_on_the_path_is_a_typed_error_with_a_remedy() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    fs::create_dir(dir.join("empty")).unwrap();
    fs::write(dir.join("file"), "").unwrap();
    symlink("loop.yaml", dir.join("loop.yaml")).unwrap();
    symlink("nowhere", dir.join("dangling.yaml")).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, dir.join("fifo.yaml"), fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    let large = fs::File::create(dir.join("large.yaml")).unwrap();
    large.set_len(list::MAX_SIZE + 1).unwrap();

    let missing = |cause| (true, cause, String::new());
    let cases = [
        ("empty", missing("the directory holds no `*.yaml` or `*.yml` file")),
        ("absent.yaml", missing("no such file or directory")),
        ("dangling.yaml", missing("it is a symbolic link to `nowhere`, which does not exist")),
        ("x/y.yaml", (true, "no such file; the directory", format!("`{}`", dir.join("x").display()))),
        ("fifo.yaml", (false, "it is a named pipe, not a regular file", String::new())),
        ("loop.yaml", (false, "too many symbolic links", String::new())),
        ("large.yaml", (false, "it is larger than 256 MiB", String::new())),
        ("file/x.yaml", (false, "Not a directory", String::new())),
    ];
    for (path, (missing, message, more)) in cases {
        let name = in_dir(dir, path);
        let error = Sources::new([&name]).read().unwrap_err();
        assert_eq!(matches!(error, ReadError::Missing { .. }), missing, "{error}");
        assert_eq!(**error.path(), *name);
        let text = error.to_string();
        assert!(text.starts_with(&name) && text.contains(message) && text.contains(&more), "{text}");
        assert!(error.help().is_some() || path == "file/x.yaml", "{text}");
        // The same error must be the same value, so that it is reported once.
        assert_eq!(Sources::new([&name]).read().unwrap_err(), error);
    }
}

#[test]
fn a_directory_with_one_unreadable_file_is_not_read_without_it() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("a.yaml"), "a").unwrap();
    symlink("nowhere", temp.path().join("b.yaml")).unwrap();
    let error = Sources::new([temp.path()]).read().unwrap_err();
    assert!(error.path().ends_with("/b.yaml"), "{error}");
}

#[test]
fn files_that_are_too_large_together_are_not_read() {
    let temp = tempfile::tempdir().unwrap();
    for name in ["a.yaml", "b.yaml", "c.yaml"] {
        fs::File::create(temp.path().join(name)).unwrap().set_len(list::MAX_SIZE / 2).unwrap();
    }
    let error = Sources::new([temp.path()]).read().unwrap_err();
    assert!(matches!(error, ReadError::Unreadable { cause: Obstacle::TooMuch(_), .. }), "{error}");
    assert!(error.path().ends_with("/c.yaml"), "{error}");
}

#[test]
fn directories_with_too_many_entries_are_not_listed_to_the_end() {
    let temp = tempfile::tempdir().unwrap();
    for name in ["a.yaml", "b", "c"] {
        fs::write(temp.path().join(name), "").unwrap();
    }
    fs::create_dir(temp.path().join("sub")).unwrap();
    fs::write(temp.path().join("sub/d.yaml"), "").unwrap();
    let sources = Sources::new([temp.path()]);
    assert!(sources.look(5).is_ok());
    let Err(list::Failure::Error(error)) = sources.look(4) else { panic!("there is no room for the last one") };
    assert_eq!(**error.path(), *in_dir(temp.path(), "sub"));
    assert!(error.to_string().contains("the directories have more than 4 entries together"), "{error}");
    assert!(error.help().is_some());
}

#[test]
fn a_file_that_may_not_be_read_says_so() {
    use std::os::unix::fs::PermissionsExt as _;
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("topology.yaml");
    fs::write(&file, "a").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    match Sources::new([&file]).read() {
        Err(error) => {
            assert!(matches!(error, ReadError::Unreadable { cause: Obstacle::Permission, .. }), "{error}");
        }
        // Root may read anything.
        Ok(_) => assert!(rustix::process::geteuid().is_root()),
    }
}

#[test]
fn two_files_are_never_of_two_generations() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().to_owned();
    let generation = |number: usize| {
        let name = format!("..{number}");
        fs::create_dir(dir.join(&name)).unwrap();
        for file in ["a.yaml", "b.yaml"] {
            fs::write(dir.join(&name).join(file), number.to_string()).unwrap();
        }
        symlink(&name, dir.join("..data_tmp")).unwrap();
        fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
    };
    generation(0);
    for file in ["a.yaml", "b.yaml"] {
        symlink(Path::new("..data").join(file), dir.join(file)).unwrap();
    }
    // By links to the files, by the names of the files, and by a link to the directory, as git-sync has it.
    let ways = [vec![dir.clone()], vec![dir.join("a.yaml"), dir.join("b.yaml")], vec![dir.join("..data")]];
    let mut last = 0;
    for sources in ways.map(Sources::new) {
        let first = last + 1;
        last += 200;
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for number in first..=last {
                    generation(number);
                    fs::remove_dir_all(dir.join(format!("..{}", number - 1))).unwrap();
                }
            });
            while !writer.is_finished() {
                // While it is swapped without a pause, failing to get hold of a generation is allowed.
                if let Ok(documents) = sources.read() {
                    assert_eq!(documents[0].bytes, documents[1].bytes);
                }
            }
            assert_eq!(*sources.read().unwrap()[1].bytes, *last.to_string().as_bytes());
        });
    }
}

/// A file that is removed between finding its name and looking at it was not missing: the directory changed.
#[test]
fn an_entry_that_vanishes_while_the_directory_is_listed_is_no_verdict() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    fs::write(dir.join("a.yaml"), "a").unwrap();
    let sources = Sources::new([dir]);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 0..3_000 {
                let (file, sub) = (dir.join(format!("{number}.yaml")), dir.join(format!("sub-{number}")));
                fs::write(&file, "").unwrap();
                fs::create_dir(&sub).unwrap();
                fs::remove_file(file).unwrap();
                fs::remove_dir(sub).unwrap();
            }
        });
        while !writer.is_finished() {
            for error in [sources.read().err(), sources.list().err()].into_iter().flatten() {
                assert!(matches!(error, ReadError::Unreadable { cause: Obstacle::Changing, .. }), "{error}");
            }
        }
    });
    assert_eq!(names(&sources.read().unwrap()), [in_dir(dir, "a.yaml")]);
}
