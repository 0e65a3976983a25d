//! The ways in which people and programs change a file.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// How a file gets its new content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    /// Truncated and written.
    InPlace,
    /// A new file renamed over it, as most editors and `mv` do.
    Rename,
    /// A Kubernetes `ConfigMap`: a link to a link to a directory, of which the middle one is replaced.
    ConfigMap,
    /// Deleted, then created.
    Recreate,
}

/// A `topology.yaml` in a directory of its own.
#[derive(Debug)]
pub(crate) struct File {
    dir: TempDir,
    how: Edit,
    generation: u32,
}

impl File {
    /// A file that is edited in one of the ways.
    pub(crate) fn new(how: Edit, text: &str) -> Self {
        let mut file = Self { dir: tempfile::tempdir().unwrap(), how, generation: 0 };
        if how == Edit::ConfigMap {
            file.swap(text);
            symlink("..data/topology.yaml", file.path()).unwrap();
        } else {
            fs::write(file.path(), text).unwrap();
        }
        file
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("topology.yaml")
    }

    /// Gives it new content.
    pub(crate) fn write(&mut self, text: &str) {
        match self.how {
            Edit::InPlace => fs::write(self.path(), text).unwrap(),
            Edit::Rename => {
                let new = self.dir.path().join(".topology.yaml.new");
                fs::write(&new, text).unwrap();
                fs::rename(new, self.path()).unwrap();
            }
            Edit::ConfigMap => self.swap(text),
            Edit::Recreate => {
                fs::remove_file(self.path()).unwrap();
                fs::write(self.path(), text).unwrap();
            }
        }
    }

    /// What the kubelet does: a new directory, a link renamed over the old one, the old directory removed.
    fn swap(&mut self, text: &str) {
        let root = self.dir.path();
        let directory = |generation: u32| root.join(format!("..generation_{generation}"));
        let old = directory(self.generation);
        self.generation += 1;
        let new = directory(self.generation);
        fs::create_dir(&new).unwrap();
        fs::write(new.join("topology.yaml"), text).unwrap();
        symlink(Path::new(new.file_name().unwrap()), root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        if old.exists() {
            fs::remove_dir_all(old).unwrap();
        }
    }
}

#[test]
fn every_way_of_editing_leaves_the_new_text_at_the_same_path() {
    for how in [Edit::InPlace, Edit::Rename, Edit::ConfigMap, Edit::Recreate] {
        let mut file = File::new(how, "a");
        for text in ["b", "c"] {
            file.write(text);
            assert_eq!(fs::read_to_string(file.path()).unwrap(), text, "{how:?}");
        }
    }
}
