//! Files that lie where they are followed, changed one at a time by people and programs.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use super::disk::{Content, Disk};
use super::{Layout, SLOW};
use crate::reload::{place, replace};
use crate::state::Random;

pub(super) struct Plain {
    root: TempDir,
    keys: &'static [&'static str],
    /// What was moved aside.
    aside: BTreeMap<&'static str, Content>,
    /// A file that is being written.
    unfinished: Option<Unfinished>,
    /// Whether the watches may be on another directory still, from which no writer is heard.
    moved: bool,
}

/// A file of which a part is written.
struct Unfinished {
    key: &'static str,
    writer: File,
    rest: String,
    content: Content,
    since: Instant,
    /// How many other operations come before it is ended.
    left: u64,
}

impl Plain {
    /// One file, followed by its path.
    pub(super) fn file(disk: &mut Disk) -> Self {
        Self::new(&["a"], disk)
    }

    /// Several, of which the directory is followed.
    pub(super) fn directory(disk: &mut Disk) -> Self {
        Self::new(&["a", "b", "c"], disk)
    }

    fn new(keys: &'static [&'static str], disk: &mut Disk) -> Self {
        let plain = Self { root: place().0, keys, aside: BTreeMap::new(), unfinished: None, moved: true };
        let files = plain.fill("conf", disk.generation());
        disk.replace(files);
        plain
    }

    fn at(&self, key: &str) -> PathBuf {
        self.root.path().join("conf").join(key).with_extension("yaml")
    }

    /// Makes a directory of files of one generation.
    fn fill(&self, dir: &str, generation: u64) -> BTreeMap<&'static str, Content> {
        let dir = self.root.path().join(dir);
        fs::create_dir(&dir).unwrap();
        let mut files = BTreeMap::new();
        for key in self.keys {
            let content = Content::good(key, generation);
            fs::write(dir.join(key).with_extension("yaml"), &content.text).unwrap();
            files.insert(*key, content);
        }
        files
    }

    /// Removes what is no regular file.
    fn clear(&self, key: &'static str, disk: &mut Disk) {
        let file = self.at(key);
        match fs::symlink_metadata(&file) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir(file).unwrap(),
            Ok(metadata) if !metadata.is_file() => fs::remove_file(file).unwrap(),
            _ => return,
        }
        disk.put(key, None);
    }

    fn remove(&self, key: &'static str, disk: &mut Disk) {
        if disk.file(key).is_some() {
            fs::remove_file(self.at(key)).unwrap();
            disk.put(key, None);
        }
    }

    /// Gives a file new content in one of the usual ways.
    fn write(&self, key: &'static str, content: Content, random: &mut Random, disk: &mut Disk) {
        let file = self.at(key);
        match random.below(5) {
            0 => fs::write(&file, &content.text).unwrap(),
            1 => {
                let begun = content.begun(random);
                let mut writer = File::create(&file).unwrap();
                writer.write_all(begun.text.as_bytes()).unwrap();
                writer.write_all(&content.text.as_bytes()[begun.text.len()..]).unwrap();
                disk.put(key, Some(begun));
            }
            2 => {
                // As vim saves.
                let backup = file.with_extension("yaml~");
                if disk.file(key).is_some() {
                    fs::rename(&file, &backup).unwrap();
                    disk.put(key, None);
                }
                fs::write(&file, &content.text).unwrap();
                _ = fs::remove_file(backup);
            }
            3 => {
                self.remove(key, disk);
                fs::write(&file, &content.text).unwrap();
            }
            _ => replace(&file, &content.text),
        }
        disk.put(key, Some(content));
    }

    /// Begins to write a file in place, or a new one.
    fn begin(&mut self, key: &'static str, random: &mut Random, disk: &mut Disk) {
        let content = Content::good(key, disk.generation());
        let begun = content.begun(random);
        let rest = content.text[begun.text.len()..].to_owned();
        let mut writer = File::create(self.at(key)).unwrap();
        writer.write_all(begun.text.as_bytes()).unwrap();
        disk.begin(key, begun);
        let (since, left) = (Instant::now(), random.below(5) + 1);
        self.unfinished = Some(Unfinished { key, writer, rest, content, since, left });
    }

    /// Does something else than what would end the writing, or ends it.
    fn go_on(&mut self, mut unfinished: Unfinished, random: &mut Random, disk: &mut Disk) {
        if unfinished.left == 0 {
            let Unfinished { rest, content, mut writer, since, .. } = unfinished;
            writer.write_all(rest.as_bytes()).unwrap();
            drop(writer);
            disk.end(content, since.elapsed() > SLOW);
            return;
        }
        unfinished.left -= 1;
        let key = self.keys[usize::try_from(random.below(self.keys.len() as u64)).unwrap()];
        if key == unfinished.key {
            match random.below(3) {
                0 => self.make_noise(),
                1 => _ = fs::read(self.at(key)).unwrap(),
                _ => fs::set_permissions(self.at(key), fs::Permissions::from_mode(0o644)).unwrap(),
            }
        } else {
            self.clear(key, disk);
            if random.below(3) == 0 {
                self.remove(key, disk);
            } else {
                let content = Content::any(random, key, disk.generation());
                self.write(key, content, random, disk);
            }
        }
        self.unfinished = Some(unfinished);
    }

    fn make_noise(&self) {
        let noise = self.at("noise").with_extension("yaml~");
        fs::write(&noise, "noise").unwrap();
        fs::remove_file(noise).unwrap();
    }

    /// Puts something in the place of a file that is none.
    fn obstruct(&self, key: &'static str, random: &mut Random, disk: &mut Disk) {
        self.remove(key, disk);
        let file = self.at(key);
        match random.below(3) {
            // A directory without topology files adds nothing to the others.
            0 => return fs::create_dir(file).unwrap(),
            1 => mknodat(CWD, &file, FileType::Fifo, Mode::RWXU, 0).unwrap(),
            _ => symlink(file.file_name().unwrap(), &file).unwrap(),
        }
        disk.block(key);
    }

    /// Another directory takes the place of that of the files.
    fn swap_parent(&mut self, random: &mut Random, disk: &mut Disk) {
        let files = self.fill("next", disk.generation());
        let [conf, next, old] = ["conf", "next", "old"].map(|name| self.root.path().join(name));
        if cfg!(target_os = "linux") && random.below(2) == 0 {
            exchange(&conf, &next);
            disk.replace(files);
            fs::rename(next, &old).unwrap();
        } else {
            fs::rename(&conf, &old).unwrap();
            disk.replace(BTreeMap::new());
            fs::rename(next, conf).unwrap();
            disk.replace(files);
        }
        // What is written where the files were does not matter any more.
        let stale = Content::good("stale", disk.generation());
        for key in self.keys {
            let file = old.join(key).with_extension("yaml");
            if file.is_file() {
                fs::write(file, &stale.text).unwrap();
            }
        }
        fs::remove_dir_all(old).unwrap();
        self.aside.clear();
    }

    fn make_parent_again(&mut self, disk: &mut Disk) {
        for key in self.keys {
            self.clear(key, disk);
            self.remove(key, disk);
        }
        fs::remove_dir_all(self.root.path().join("conf")).unwrap();
        self.aside.clear();
        let files = self.fill("conf", disk.generation());
        for (key, content) in files {
            disk.put(key, Some(content));
        }
    }

    fn touch(&self, key: &'static str, random: &mut Random) {
        let file = self.at(key);
        match random.below(3) {
            0 => OpenOptions::new().append(true).open(file).unwrap().set_modified(SystemTime::now()).unwrap(),
            1 => {
                let mode = if random.below(2) == 0 { 0o600 } else { 0o644 };
                fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
            }
            _ => _ = fs::read(file).unwrap(),
        }
    }
}

impl Layout for Plain {
    fn followed(&self) -> PathBuf {
        if self.keys.len() == 1 { self.at(self.keys[0]) } else { self.root.path().join("conf") }
    }

    fn is_atomic(&self) -> bool {
        false
    }

    fn is_at_rest(&self) -> bool {
        self.unfinished.is_none()
    }

    fn paused(&mut self) {
        self.moved = false;
    }

    fn operate(&mut self, random: &mut Random, disk: &mut Disk) {
        if let Some(unfinished) = self.unfinished.take() {
            return self.go_on(unfinished, random, disk);
        }
        let key = self.keys[usize::try_from(random.below(self.keys.len() as u64)).unwrap()];
        self.clear(key, disk);
        let old = disk.file(key).cloned();
        match (random.below(24), old) {
            (0, _) => self.remove(key, disk),
            (1, _) => self.obstruct(key, random, disk),
            (2, _) => {
                self.moved = true;
                self.swap_parent(random, disk);
            }
            (3, _) => {
                self.moved = true;
                self.make_parent_again(disk);
            }
            (4, Some(old)) => {
                fs::rename(self.at(key), self.at(key).with_extension("aside")).unwrap();
                self.aside.insert(key, old);
                disk.put(key, None);
            }
            (5 | 6, _) => {
                if let Some(content) = self.aside.remove(key) {
                    fs::rename(self.at(key).with_extension("aside"), self.at(key)).unwrap();
                    disk.put(key, Some(content));
                }
            }
            (7 | 8, Some(_)) => self.touch(key, random),
            (9, Some(old)) => self.write(key, old, random, disk),
            (10, Some(old)) => self.write(key, old.with_comment(disk.generation()), random, disk),
            (11, Some(old)) => {
                let new = old.with_comment(disk.generation());
                let mut file = OpenOptions::new().append(true).open(self.at(key)).unwrap();
                file.write_all(&new.text.as_bytes()[old.text.len()..]).unwrap();
                disk.put(key, Some(new));
            }
            (12, _) => self.make_noise(),
            (13 | 14, _) if !self.moved => self.begin(key, random, disk),
            _ => {
                let content = Content::any(random, key, disk.generation());
                self.write(key, content, random, disk);
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn exchange(one: &Path, other: &Path) {
    use rustix::fs::{RenameFlags, renameat_with};
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
}

#[cfg(not(target_os = "linux"))]
fn exchange(_: &Path, _: &Path) {
    unreachable!("only Linux has it");
}
