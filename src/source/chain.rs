//! Everything on the way from the root to the files whose change can make a path mean something else.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::list::{MAX_ENTRIES, is_document, is_skipped};
use super::{Attached, Sources};

/// As many symbolic links as Linux follows on one path.
const MAX_LINKS: usize = 40;

/// The directories to watch, and what matters in each. Every component of a path and every hop of its symbolic links is a
/// name in a directory, so whatever is replaced, a watched directory tells of it. Components that do not exist are names in
/// the last directory that does.
///
/// Equal chains lead through the same directories to the same files, as far as numbers can tell: a file system may give the
/// number of a removed directory to the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    dirs: BTreeMap<PathBuf, Dir>,
    /// Files that exist. A file bind-mounted alone tells of changes only itself, never through its directory.
    files: BTreeMap<PathBuf, Id>,
    /// Where each link led.
    links: BTreeMap<PathBuf, PathBuf>,
    /// Whether a single path is followed.
    single: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Dir {
    id: Id,
    /// Entries that are on the way to what was given: whatever takes the place of one, takes that of all behind it.
    given: BTreeSet<OsString>,
    /// Entries that are on the way to the files of a followed directory.
    names: BTreeSet<OsString>,
    /// Entries that are on the way to attached files.
    attached: BTreeSet<OsString>,
    /// Whether every topology file in it matters.
    followed: bool,
}

/// Which file or directory it is, on which mount: device, inode, mount. Zeros if it cannot be said.
type Id = (u64, u64, u64);

/// The link to the newest generation in a volume that Kubernetes fills.
const GENERATION: &str = "..data";

/// What took the place of something when it was moved there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// All that is followed, in one step: a single path is followed, and this is the file itself, or a directory or link on
    /// the way to it. Of attached files only the generation of a volume is complete: a certificate goes with its key.
    All,
    /// All behind the links of a followed directory. It is complete if these links lead to each entry of the generation and
    /// nowhere else: those of other names are put up or taken down later, one by one.
    Generation {
        /// Whether nothing is to follow.
        complete: bool,
    },
    /// Something, and more may follow.
    Some,
}

/// Where a path ends.
enum End {
    Directory(PathBuf),
    File,
    Nowhere,
}

impl Chain {
    /// Walks all paths as they are now.
    pub(super) fn of(sources: &Sources, attached: &Attached) -> Self {
        Self::of_at_most(MAX_ENTRIES, sources, attached)
    }

    /// The same, of directories with at most `room` entries together; [`Sources::list`] refuses more.
    fn of_at_most(mut room: usize, sources: &Sources, attached: &Attached) -> Self {
        let mut chain = Self { single: sources.is_single(), ..Self::default() };
        for given in sources.given() {
            chain.follow(&given.path, &mut room);
        }
        for given in attached.given() {
            chain.walk(PathBuf::from("/"), &given.path, |dir| &mut dir.attached);
        }
        chain
    }

    /// The directories, each free of links.
    pub(super) fn dirs(&self) -> impl Iterator<Item = &Path> {
        self.dirs.keys().map(PathBuf::as_path)
    }

    /// The files, each free of links.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }

    /// Whether an event on this path can matter.
    pub(super) fn concerns(&self, path: &Path) -> bool {
        if self.dirs.contains_key(path) || self.files.contains_key(path) {
            return true;
        }
        let Some((dir, name)) = self.place(path) else { return false };
        // Of the other entries of a followed directory only new directories matter.
        let on_the_way = [&dir.given, &dir.names, &dir.attached].into_iter().any(|names| names.contains(name));
        on_the_way || (dir.followed && (is_document(name) || (!is_skipped(name) && path.is_dir())))
    }

    /// What took the place of something when it was moved to this path.
    pub(super) fn taken_place(&self, path: &Path) -> Place {
        let Some((dir, name)) = self.place(path) else { return Place::Some };
        let generation = name == GENERATION;
        if generation && dir.followed {
            let shown = path.parent().and_then(entries);
            return Place::Generation { complete: self.single && shown.is_some() && shown == entries(path) };
        }
        let all = (self.single && dir.given.contains(name)) || (generation && dir.attached.contains(name));
        if all { Place::All } else { Place::Some }
    }

    fn place<'a>(&self, path: &'a Path) -> Option<(&Dir, &'a OsStr)> {
        Some((self.dirs.get(path.parent()?)?, path.file_name()?))
    }

    /// Adds a path and, if it is a directory, all below it that matters.
    fn follow(&mut self, path: &Path, room: &mut usize) {
        let mut end = self.walk(PathBuf::from("/"), path, |dir| &mut dir.given);
        let mut todo: Vec<(PathBuf, PathBuf)> = Vec::new();
        loop {
            if let End::Directory(real) = end
                && !std::mem::replace(&mut self.dir(&real).followed, true)
            {
                for entry in fs::read_dir(&real).into_iter().flatten().flatten() {
                    let Some(left) = room.checked_sub(1) else { return };
                    *room = left;
                    let name = entry.file_name();
                    // A link that leads nowhere may lead to a directory later.
                    let is_way = || entry.file_type().is_ok_and(|kind| kind.is_dir() || kind.is_symlink());
                    if !is_skipped(&name) && (is_document(&name) || is_way()) {
                        todo.push((real.clone(), name.into()));
                    }
                }
            }
            let Some((from, path)) = todo.pop() else { return };
            end = self.walk(from, &path, |dir| &mut dir.names);
        }
    }

    /// Adds every step of one path to those of its directory's names that `names` chooses; `from` is a directory free of
    /// links.
    fn walk(&mut self, from: PathBuf, path: &Path, names: fn(&mut Dir) -> &mut BTreeSet<OsString>) -> End {
        let mut here = from;
        let mut todo = steps(path);
        let mut links = 0;
        while let Some(step) = todo.pop() {
            let name = match step {
                Step::Root => {
                    here = PathBuf::from("/");
                    continue;
                }
                Step::Up => {
                    here.pop();
                    continue;
                }
                Step::Down(name) => name,
            };
            let next = here.join(&name);
            names(self.dir(&here)).insert(name);
            let Ok(metadata) = fs::symlink_metadata(&next) else { return End::Nowhere };
            if metadata.is_symlink() {
                links += 1;
                let Ok(target) = fs::read_link(&next) else { return End::Nowhere };
                todo.extend(steps(&target));
                self.links.insert(next, target);
                if links > MAX_LINKS {
                    return End::Nowhere;
                }
            } else if metadata.is_dir() {
                here = next;
            } else if todo.is_empty() {
                let id = identify(&next);
                self.files.insert(next, id);
                return End::File;
            } else {
                return End::Nowhere;
            }
        }
        self.dir(&here);
        End::Directory(here)
    }

    fn dir(&mut self, path: &Path) -> &mut Dir {
        self.dirs.entry(path.to_owned()).or_insert_with(|| Dir { id: identify(path), ..Dir::default() })
    }
}

/// The names that users see in a directory.
fn entries(dir: &Path) -> Option<BTreeSet<OsString>> {
    let names = fs::read_dir(dir).ok()?.flatten().map(|entry| entry.file_name());
    Some(names.filter(|name| !is_skipped(name)).collect())
}

/// One step of a path.
enum Step {
    Root,
    Up,
    Down(OsString),
}

/// The steps of a path, the first one last.
fn steps(path: &Path) -> Vec<Step> {
    let steps = path.components().rev().filter_map(|component| match component {
        Component::RootDir => Some(Step::Root),
        Component::ParentDir => Some(Step::Up),
        Component::Normal(name) => Some(Step::Down(name.to_owned())),
        Component::CurDir | Component::Prefix(_) => None,
    });
    steps.collect()
}

#[cfg(target_os = "linux")]
fn identify(path: &Path) -> Id {
    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
    // The kernel's STATX_MNT_ID_UNIQUE: the number of a mount that is never given to another. Older kernels, which do not know
    // it, give the other number in its place.
    let unique = StatxFlags::from_bits_retain(0x4000);
    let mask = StatxFlags::INO | StatxFlags::MNT_ID | unique;
    statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, mask).map_or(Id::default(), |stat| {
        // A fresh tmpfs gives its root the same number as the last one did; only the mount tells them apart.
        (u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor), stat.stx_ino, stat.stx_mnt_id)
    })
}

#[cfg(not(target_os = "linux"))]
fn identify(path: &Path) -> Id {
    use std::os::unix::fs::MetadataExt as _;
    fs::symlink_metadata(path).map_or(Id::default(), |stat| (stat.dev(), stat.ino(), 0))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Dirs {
        _temp: tempfile::TempDir,
        root: PathBuf,
    }

    fn dirs() -> Dirs {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        Dirs { _temp: temp, root }
    }

    fn chain(paths: &[PathBuf]) -> Chain {
        Chain::of(&Sources::new(paths), &Attached::default())
    }

    #[test]
    fn every_directory_above_a_plain_file_is_watched_for_the_next_name() {
        let Dirs { _temp, root } = dirs();
        let file = root.join("conf/topology.yaml");
        fs::create_dir(root.join("conf")).unwrap();
        fs::write(&file, "").unwrap();
        let chain = chain(std::slice::from_ref(&file));
        for path in file.ancestors().filter(|path| path.parent().is_some()) {
            assert!(chain.dirs.contains_key(path.parent().unwrap()), "{}", path.display());
            assert!(chain.concerns(path), "{}", path.display());
        }
        assert!(chain.files.contains_key(&file));
        for noise in ["conf/other", "conf/topology.yaml~", "conf/other/topology.yaml", "other"] {
            assert!(!chain.concerns(&root.join(noise)), "{noise}");
        }
    }

    #[test]
    fn what_does_not_exist_yet_is_awaited_in_the_last_directory_that_does() {
        let Dirs { _temp, root } = dirs();
        let chain = chain(&[root.join("x/y/topology.yaml")]);
        assert!(chain.concerns(&root.join("x")));
        assert!(!chain.dirs.contains_key(&root.join("x")));
    }

    #[test]
    fn every_hop_of_a_mounted_config_map_is_on_the_chain() {
        let Dirs { _temp, root } = dirs();
        fs::create_dir(root.join("..1")).unwrap();
        fs::write(root.join("..1/topology.yaml"), "").unwrap();
        symlink("..1", root.join("..data")).unwrap();
        symlink("..data/topology.yaml", root.join("topology.yaml")).unwrap();
        for path in [root.join("topology.yaml"), root.clone()] {
            let chain = chain(std::slice::from_ref(&path));
            for name in ["topology.yaml", "..data", "..1", "..1/topology.yaml"] {
                assert!(chain.concerns(&root.join(name)), "{name}");
            }
            assert!(!chain.concerns(&root.join("..data_tmp")));
            let swapped = || chain.taken_place(&root.join("..data"));
            if path != root {
                assert_eq!(swapped(), Place::All);
                continue;
            }
            assert_eq!(swapped(), Place::Generation { complete: true });
            // What is added has no link yet, and what is removed has one still.
            fs::write(root.join("..1/more.yaml"), "").unwrap();
            assert_eq!(swapped(), Place::Generation { complete: false });
            symlink("..data/more.yaml", root.join("more.yaml")).unwrap();
            assert_eq!(swapped(), Place::Generation { complete: true });
            fs::remove_file(root.join("..1/topology.yaml")).unwrap();
            assert_eq!(swapped(), Place::Generation { complete: false });
        }
    }

    #[test]
    fn files_elsewhere_that_a_directory_links_are_not_all_of_it() {
        let Dirs { _temp, root } = dirs();
        for dir in ["conf", "real", "later"] {
            fs::create_dir(root.join(dir)).unwrap();
        }
        fs::write(root.join("real/a.yaml"), "").unwrap();
        symlink("../real/a.yaml", root.join("conf/a.yaml")).unwrap();
        symlink("../later/sub", root.join("conf/sub")).unwrap();
        let chain = chain(&[root.join("conf")]);
        for name in ["real", "real/a.yaml", "later/sub", "conf/a.yaml", "conf/sub"] {
            assert!(chain.concerns(&root.join(name)), "{name}");
            assert_eq!(chain.taken_place(&root.join(name)), Place::Some, "{name}");
        }
        assert_eq!(chain.taken_place(&root.join("conf")), Place::All);
    }

    #[test]
    fn no_more_entries_are_walked_than_there_is_room_for() {
        let Dirs { _temp, root } = dirs();
        for number in 0..10 {
            fs::create_dir_all(root.join(format!("{number}/sub"))).unwrap();
        }
        let sources = Sources::new([&root]);
        let above = root.ancestors().count();
        for (room, least, most) in [(0, 0, 0), (15, 10, 15), (100, 20, 20)] {
            let chain = Chain::of_at_most(room, &sources, &Attached::default());
            let below = chain.dirs.len() - above;
            assert!((least..=most).contains(&below), "{below} of {room}");
        }
    }

    #[test]
    fn replacing_a_link_is_replacing_all_only_while_one_path_is_followed() {
        let Dirs { _temp, root } = dirs();
        for tree in ["trees/a", "trees/b"] {
            fs::create_dir_all(root.join(tree)).unwrap();
            fs::write(root.join(tree).join("topology.yaml"), "").unwrap();
        }
        symlink("trees/a", root.join("current")).unwrap();
        let one = root.join("current/topology.yaml");
        let before = chain(std::slice::from_ref(&one));
        assert_eq!(before.taken_place(&root.join("current")), Place::All);
        let two = chain(&[one.clone(), root.join("other.yaml")]);
        assert_eq!(two.taken_place(&root.join("current")), Place::Some);
        fs::remove_file(root.join("current")).unwrap();
        symlink("trees/b", root.join("current")).unwrap();
        assert_ne!(before, chain(std::slice::from_ref(&one)));
    }

    #[test]
    fn in_a_followed_directory_topology_files_and_directories_matter() {
        let Dirs { _temp, root } = dirs();
        fs::create_dir_all(root.join("sub/deep")).unwrap();
        fs::create_dir_all(root.join(".git")).unwrap();
        fs::write(root.join("sub/deep/a.yaml"), "").unwrap();
        fs::create_dir(root.join("new")).unwrap();
        fs::create_dir(root.join("lost+found")).unwrap();
        let chain = chain(std::slice::from_ref(&root));
        for name in ["new.yaml", "new", "sub/new.yml", "sub/deep/a.yaml"] {
            assert!(chain.concerns(&root.join(name)), "{name}");
        }
        for name in ["a.yaml~", ".a.yaml.swp", "4913", ".git", ".git/a.yaml", "a.json", "lost+found"] {
            assert!(!chain.concerns(&root.join(name)), "{name}");
        }
        assert_eq!(chain.taken_place(&root.join("sub/deep/a.yaml")), Place::Some);
    }

    #[test]
    fn attached_files_are_on_the_chain_without_the_other_files_of_their_directory() {
        let Dirs { _temp, root } = dirs();
        fs::create_dir_all(root.join("certs/..1")).unwrap();
        fs::write(root.join("certs/..1/tls.key"), "").unwrap();
        symlink("..1", root.join("certs/..data")).unwrap();
        symlink("..data/tls.key", root.join("certs/tls.key")).unwrap();
        fs::write(root.join("topology.yaml"), "").unwrap();
        let sources = Sources::new([root.join("topology.yaml")]);
        let attached = Attached::of([root.join("certs/tls.key"), root.join("plain.crt"), root.join("absent/ca.crt")]);
        let chain = Chain::of(&sources, &attached);
        for name in
            ["certs", "certs/tls.key", "certs/..data", "certs/..1/tls.key", "plain.crt", "absent", "topology.yaml"]
        {
            assert!(chain.concerns(&root.join(name)), "{name}");
        }
        assert!(!chain.concerns(&root.join("certs/other.yaml")));
        assert_eq!(chain.taken_place(&root.join("certs/..data")), Place::All);
        // The key may follow.
        assert_eq!(chain.taken_place(&root.join("plain.crt")), Place::Some);
        assert_eq!(chain.taken_place(&root.join("topology.yaml")), Place::All);
        assert_ne!(chain, Chain::of(&sources, &Attached::default()));
    }

    #[test]
    fn links_that_lead_in_circles_end() {
        let Dirs { _temp, root } = dirs();
        symlink("loop.yaml", root.join("loop.yaml")).unwrap();
        symlink(".", root.join("again")).unwrap();
        let chain = chain(&[root.join("loop.yaml"), root.clone()]);
        assert!(chain.concerns(&root.join("loop.yaml")));
        assert!(chain.concerns(&root.join("again")));
    }
}
