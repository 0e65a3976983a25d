//! Versions are hashes of content.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// The first 64 bits of a SHA-256, shown as 16 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// The version of one resource's canonical bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_digest(&Sha256::digest(bytes))
    }

    /// The version of a set of named resources, which must come in the order of their names.
    pub fn of_all<'a>(resources: impl Iterator<Item = (&'a str, Self)>) -> Self {
        let mut hash = Sha256::new();
        for (name, version) in resources {
            hash.update((name.len() as u64).to_be_bytes());
            hash.update(name.as_bytes());
            hash.update(version.0.to_be_bytes());
        }
        Self::from_digest(&hash.finalize())
    }

    fn from_digest(digest: &[u8]) -> Self {
        let first = digest.first_chunk().expect("a SHA-256 has 32 bytes");
        Self(u64::from_be_bytes(*first))
    }

    /// Reads back what a client reports; `None` if it is not a version of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let ours = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if ours { u64::from_str_radix(text, 16).ok().map(Self) } else { None }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_read_back_as_they_are_shown() {
        let version = Version::of(b"content");
        assert_eq!(Version::parse(&version.to_string()), Some(version));
        assert_eq!(Version::parse("1"), None);
        assert_eq!(Version::parse("+00000000000000a"), None);
    }

    #[test]
    fn the_version_of_a_set_covers_names_and_content() {
        let (one, two) = (Version::of(b"1"), Version::of(b"2"));
        let sets = [vec![], vec![("a", one)], vec![("b", one)], vec![("a", two)], vec![("a", one), ("b", one)]];
        let versions: std::collections::BTreeSet<_> =
            sets.iter().map(|set| Version::of_all(set.iter().copied())).collect();
        assert_eq!(versions.len(), sets.len());
    }
}
