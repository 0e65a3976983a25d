//! Directories of files that are replaced in one step.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use tempfile::TempDir;

use super::disk::{Content, Disk};
use super::{HASTY, Layout};
use crate::reload::{Volume, place, relink};
use crate::state::Random;

const KEYS: [&str; 3] = ["a", "b", "c"];

type Files = BTreeMap<&'static str, Content>;

fn file_name(key: &str) -> String {
    format!("{key}.yaml")
}

/// Files of one generation. Mostly all of them, mostly good; sometimes those that there are, or what they mean.
fn next(random: &mut Random, disk: &mut Disk) -> Files {
    let generation = disk.generation();
    let old: Files = KEYS.iter().filter_map(|key| Some((*key, disk.file(key)?.clone()))).collect();
    match random.below(8) {
        0 if !old.is_empty() => return old,
        1 if !old.is_empty() => {
            return old.into_iter().map(|(key, content)| (key, content.with_comment(generation))).collect();
        }
        _ => {}
    }
    let mut files: Files = KEYS.iter().map(|key| (*key, Content::good(key, generation))).collect();
    let any = KEYS[usize::try_from(random.below(3)).unwrap()];
    match random.below(4) {
        0 => _ = files.remove(any),
        1 => _ = files.insert(any, Content::any(random, any, generation)),
        _ => {}
    }
    files
}

/// Changes everything about a file but its content.
fn touch(file: &Path, random: &mut Random) {
    if random.below(2) == 0 {
        OpenOptions::new().append(true).open(file).unwrap().set_modified(SystemTime::now()).unwrap();
    } else {
        fs::set_permissions(file, Permissions::from_mode(0o644)).unwrap();
    }
}

fn make_noise(dir: &Path) {
    for name in ["noise", ".noise.yaml", "..noise"] {
        fs::write(dir.join(name), "noise").unwrap();
        fs::remove_file(dir.join(name)).unwrap();
    }
}

/// A volume that the kubelet fills, followed as a directory.
pub(super) struct ConfigMap {
    root: TempDir,
    generation: usize,
    /// Whether the watches may have been lost, so that a swap is not heard.
    moved: bool,
}

impl ConfigMap {
    pub(super) fn new(disk: &mut Disk) -> Self {
        let mut config_map = Self { root: place().0, generation: 0, moved: true };
        fs::create_dir(config_map.followed()).unwrap();
        let generation = disk.generation();
        config_map.swap(KEYS.iter().map(|key| (*key, Content::good(key, generation))).collect(), disk);
        config_map
    }

    fn swap(&mut self, files: Files, disk: &mut Disk) {
        let dir = self.followed();
        let linked = |key: &str| dir.join(file_name(key)).is_symlink();
        let stale: Vec<_> = KEYS.into_iter().filter(|key| linked(key) && !files.contains_key(key)).collect();
        let mut shown: Files = files.iter().filter(|(key, _)| linked(key)).map(|(k, v)| (*k, v.clone())).collect();
        let texts: Vec<_> = files.iter().map(|(key, content)| (file_name(key), &*content.text)).collect();
        let named: Vec<_> = texts.iter().map(|(name, text)| (&**name, *text)).collect();
        let mut volume = Volume { dir: &dir, generation: self.generation };
        let started = Instant::now();
        volume.swap(&named);
        self.generation = volume.generation;
        for key in &stale {
            fs::remove_file(dir.join(file_name(key))).unwrap();
        }
        // The links of new files come after the swap, one by one. They are waited for, unless they take too long. One that
        // leads nowhere is an error.
        if stale.is_empty() && (self.moved || started.elapsed() > HASTY.settle) {
            for (key, content) in &files {
                disk.replace(shown.clone());
                shown.insert(*key, content.clone());
            }
        }
        disk.replace(files);
    }
}

impl Layout for ConfigMap {
    fn followed(&self) -> PathBuf {
        self.root.path().join("volume")
    }

    fn paused(&mut self) {
        self.moved = false;
    }

    fn is_atomic(&self) -> bool {
        true
    }

    fn operate(&mut self, random: &mut Random, disk: &mut Disk) {
        let dir = self.followed();
        match random.below(12) {
            0 => make_noise(&dir),
            1 | 2 => {
                for key in KEYS.into_iter().filter(|key| disk.is_there() && disk.file(key).is_some()) {
                    touch(&dir.join(file_name(key)), random);
                }
            }
            3 => {
                if fs::remove_file(dir.join("..data")).is_ok() {
                    disk.replace(Files::new());
                }
            }
            4 => {
                self.moved = true;
                let away = dir.with_extension("away");
                fs::rename(&dir, &away).unwrap();
                fs::rename(away, dir).unwrap();
            }
            _ => {
                let files = next(random, disk);
                self.swap(files, disk);
            }
        }
    }
}

/// A link that git-sync replaces, followed as a directory.
pub(super) struct GitSync {
    root: TempDir,
    current: Option<u64>,
    /// What the link can lead to.
    trees: BTreeMap<u64, Files>,
}

impl GitSync {
    pub(super) fn new(disk: &mut Disk) -> Self {
        let mut git_sync = Self { root: place().0, current: None, trees: BTreeMap::new() };
        let generation = disk.generation();
        git_sync.swap(KEYS.iter().map(|key| (*key, Content::good(key, generation))).collect(), disk);
        git_sync
    }

    fn tree(&self, tree: u64) -> PathBuf {
        self.root.path().join(".worktrees").join(tree.to_string())
    }

    fn swap(&mut self, files: Files, disk: &mut Disk) {
        let tree = disk.generation();
        fs::create_dir_all(self.tree(tree)).unwrap();
        for (key, content) in &files {
            fs::write(self.tree(tree).join(file_name(key)), &content.text).unwrap();
        }
        self.trees.insert(tree, files);
        self.lead_to(tree, disk);
    }

    fn lead_to(&mut self, tree: u64, disk: &mut Disk) {
        relink(&self.followed(), &format!(".worktrees/{tree}"));
        disk.replace(self.trees[&tree].clone());
        self.current = Some(tree);
    }

    /// One that the link does not lead to.
    fn other(&self, random: &mut Random) -> Option<u64> {
        let others: Vec<_> = self.trees.keys().copied().filter(|tree| self.current != Some(*tree)).collect();
        others.get(usize::try_from(random.below(others.len().max(1) as u64)).unwrap()).copied()
    }
}

impl Layout for GitSync {
    fn followed(&self) -> PathBuf {
        self.root.path().join("current")
    }

    fn is_atomic(&self) -> bool {
        true
    }

    fn operate(&mut self, random: &mut Random, disk: &mut Disk) {
        match (random.below(16), self.other(random)) {
            (0, _) => make_noise(self.root.path()),
            (1, _) => {
                if let Some(tree) = self.current {
                    for key in self.trees[&tree].keys() {
                        touch(&self.tree(tree).join(file_name(key)), random);
                    }
                }
            }
            (2, _) => {
                _ = fs::remove_file(self.followed());
                self.current = None;
                disk.replace(Files::new());
            }
            (3, _) => {
                relink(&self.followed(), ".worktrees/nowhere");
                self.current = None;
                disk.replace(Files::new());
            }
            (4 | 5, Some(back)) => self.lead_to(back, disk),
            (6..=9, Some(old)) => {
                // Nothing that happens there matters.
                let stale = Content::good("stale", disk.generation());
                for key in KEYS {
                    fs::write(self.tree(old).join(file_name(key)), &stale.text).unwrap();
                }
                fs::remove_dir_all(self.tree(old)).unwrap();
                self.trees.remove(&old);
            }
            _ => {
                let files = next(random, disk);
                self.swap(files, disk);
            }
        }
    }
}
