//! What about the place of the files keeps changes from being noticed, and the remedy.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use super::paths::Given;
use super::{Attached, Listing, Sources};
use crate::diagnostic::Level;

/// Something that keeps changes from being noticed, or at once. Equal ones are equal values, so that each is reported once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hazard {
    /// How much it matters: what concerns few of those whom it could is for information.
    pub level: Level,
    /// A stable word for scripts.
    pub code: &'static str,
    /// What was seen.
    pub message: String,
    /// What to do about it.
    pub help: &'static str,
}

/// The file systems that tell of no change which another machine, or the host of a container or virtual machine, makes.
const EVENTLESS: [(u32, &str); 13] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xfe53_4d42, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "FUSE or virtiofs"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x0bd0_0bd0, "Lustre"),
    (0x786f_4256, "VirtualBox shared folder"),
    (0xbacb_acbc, "VMware shared folder"),
    (0x7c7c_6673, "Parallels shared folder"),
];

/// The file system of a container's image. Edits made inside the container are heard.
const OVERLAY: u32 = 0x794c_7630;

impl Hazard {
    /// What is there only because nobody looked can be found by looking more often.
    const NO_EVENTS: &str = "no-events";

    /// A change was found that no event told of.
    pub(crate) fn missed() -> Self {
        Self {
            level: Level::Warning,
            code: "missed-change",
            message: "the files changed and no event told of it: only polling found it".to_owned(),
            help: "edit the files where this process sees them, or lower --poll-interval to notice such changes sooner",
        }
    }

    /// The files had to be read while someone was still writing one.
    pub(crate) fn open_writer(path: &Path) -> Self {
        Self {
            level: Level::Warning,
            code: "open-writer",
            message: format!("`{}` was read while a writer still had it open: it may be incomplete", path.display()),
            help: "it is read again when the writer closes it; write to another file and rename it over this one instead",
        }
    }

    /// Whether looking at the files more often helps.
    pub(crate) fn is_eventless(&self) -> bool {
        self.code == Self::NO_EVENTS
    }

    fn mounted_file(shown: &str) -> Self {
        Self {
            level: Level::Warning,
            code: "mounted-file",
            message: format!("`{shown}` is a mount point itself"),
            help: "mount the directory instead: a file that is mounted alone is never replaced by a rename over it, and a \
                   Kubernetes `subPath` is never updated",
        }
    }

    fn pinned_file(shown: &str) -> Self {
        Self {
            level: Level::Warning,
            code: "pinned-file",
            message: format!("`{shown}` was replaced or deleted where it is mounted from; this is the old one"),
            help: "mount the directory instead of the file, and restart",
        }
    }

    fn file_system(name: &str, shown: &str) -> Self {
        Self {
            level: Level::Warning,
            code: Self::NO_EVENTS,
            message: format!("`{shown}` is on a file system ({name}) that does not tell of changes made elsewhere"),
            help: "they are found by polling, within a second or a shorter --poll-interval, and with --poll-interval 0 never; \
                   a writer elsewhere is not seen, so move complete files into place",
        }
    }

    fn overlay(shown: &str) -> Self {
        Self {
            level: Level::Info,
            message: format!("`{shown}` is on an overlay, which does not tell of changes to its lower layers"),
            ..Self::file_system("overlay", shown)
        }
    }
}

impl fmt::Display for Hazard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Sources {
    /// The hazards of the places where the files are, by path; one of a file system for each file system.
    pub(crate) fn hazards(&self, listing: Option<&Listing>, attached: &Attached) -> Vec<Hazard> {
        let mut hazards = Vec::new();
        let mut file_systems = BTreeSet::new();
        for (real, shown) in self.places(listing, attached) {
            look(&real, &shown, &mut file_systems, &mut hazards);
        }
        hazards.sort();
        hazards
    }

    /// Where the files are, each once, and how each is shown: as it was given or found, since the links on the way may lead
    /// through another directory tomorrow.
    fn places(&self, listing: Option<&Listing>, attached: &Attached) -> Vec<(PathBuf, String)> {
        let listed = listing.into_iter().flat_map(|listing| &listing.files);
        let listed = listed.map(|file| (file.real.clone(), file.name.to_string()));
        let given = self.given().iter().chain(attached.given()).filter_map(existing);
        let mut seen = BTreeSet::new();
        given.chain(listed).filter(|(real, _)| seen.insert(real.clone())).collect()
    }
}

/// A path without links, and as it was given. Where nothing is yet, what is there later will be on the file system of the
/// directory above.
fn existing(Given { name, path }: &Given) -> Option<(PathBuf, String)> {
    path.ancestors().find_map(|above| {
        let shown = if above == path { name.to_string() } else { above.display().to_string() };
        Some((above.canonicalize().ok()?, shown))
    })
}

#[cfg(target_os = "linux")]
fn look(path: &Path, shown: &str, file_systems: &mut BTreeSet<(u32, u32)>, hazards: &mut Vec<Hazard>) {
    use rustix::fs::{AtFlags, CWD, FileType, StatxAttributes, StatxFlags, statfs, statx};
    let Ok(stat) = statx(CWD, path, AtFlags::empty(), StatxFlags::TYPE | StatxFlags::NLINK) else { return };
    if FileType::from_raw_mode(stat.stx_mode.into()) == FileType::RegularFile {
        if stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            hazards.push(Hazard::mounted_file(shown));
        }
        if stat.stx_nlink == 0 {
            hazards.push(Hazard::pinned_file(shown));
        }
    }
    if file_systems.insert((stat.stx_dev_major, stat.stx_dev_minor)) {
        let magic = statfs(path).map_or(0, |stat| i128::from(stat.f_type) & i128::from(u32::MAX));
        hazards.extend(u32::try_from(magic).ok().and_then(|magic| eventless(magic, shown)));
    }
}

#[cfg(not(target_os = "linux"))]
fn look(_: &Path, _: &str, _: &mut BTreeSet<(u32, u32)>, _: &mut Vec<Hazard>) {}

/// The hazard of a file system with this magic number.
fn eventless(magic: u32, shown: &str) -> Option<Hazard> {
    if magic == OVERLAY {
        return Some(Hazard::overlay(shown));
    }
    let (_, name) = EVENTLESS.iter().find(|(eventless, _)| *eventless == magic)?;
    Some(Hazard::file_system(name, shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_without_events_is_named() {
        let shown = "/conf/topology.yaml";
        for (magic, name, level) in [
            (0x6969, "NFS", Level::Warning),
            (0xfe53_4d42, "SMB", Level::Warning),
            (0xff53_4d42, "CIFS", Level::Warning),
            (0x0102_1997, "9p", Level::Warning),
            (0x6573_5546, "FUSE", Level::Warning),
            (0x794c_7630, "overlay", Level::Info),
        ] {
            let hazard = eventless(magic, shown).unwrap();
            assert!(hazard.message.contains(name) && hazard.message.contains(shown), "{hazard:?}");
            assert!(hazard.is_eventless() && hazard.level == level && hazard.help.contains("--poll-interval"));
        }
        for magic in [0xef53, 0x0102_1994, 0] {
            assert_eq!(eventless(magic, shown), None);
        }
    }

    #[test]
    fn a_plain_file_has_no_hazard_of_its_own_and_an_absent_one_is_no_reason_to_fail() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("topology.yaml");
        std::fs::write(&file, "").unwrap();
        for path in [file, temp.path().join("x/y.yaml")] {
            let sources = Sources::new([path]);
            let hazards = sources.hazards(sources.list().ok().as_ref(), &Attached::default());
            assert!(hazards.iter().all(Hazard::is_eventless), "{hazards:?}");
        }
    }

    #[test]
    fn a_place_is_shown_as_it_was_given_through_whatever_links() {
        use std::os::unix::fs::symlink;
        let temp = tempfile::tempdir().unwrap();
        let (dir, file) = (temp.path().join("volume"), temp.path().join("volume/topology.yaml"));
        std::fs::create_dir(&dir).unwrap();
        symlink("..data/topology.yaml", &file).unwrap();
        let sources = Sources::new([&dir, &file]);
        let mut shown = Vec::new();
        for generation in ["..b", "..a"] {
            std::fs::create_dir(dir.join(generation)).unwrap();
            std::fs::write(dir.join(generation).join("topology.yaml"), "").unwrap();
            _ = std::fs::remove_file(dir.join("..data"));
            symlink(generation, dir.join("..data")).unwrap();
            let places = sources.places(sources.list().ok().as_ref(), &Attached::default());
            assert!(places[1].0.ends_with(Path::new(generation).join("topology.yaml")), "{places:?}");
            shown.push(places.into_iter().map(|(_, shown)| shown).collect::<Vec<_>>());
        }
        let given = [&dir, &file].map(|path| path.display().to_string());
        assert_eq!(shown, [given.clone(), given]);
    }
}
