//! What tells one content of the files from another.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::Document;

/// A SHA-256, shown as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of one file's bytes: what `sha256sum` prints.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of a set of named files: of each file's name, a NUL, and the digest of its bytes.
    ///
    /// The files' own digests stand in for their bytes, so that no content can imitate a boundary between two files.
    pub fn of_all<'a>(files: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        let mut hash = Sha256::new();
        for (name, Self(digest)) in files {
            hash.update(name.as_bytes());
            hash.update([0]);
            hash.update(digest);
        }
        Self(hash.finalize().into())
    }

    /// The digest of a set of documents.
    pub fn of_documents(documents: &[Document]) -> Self {
        Self::of_all(documents.iter().map(|document| (&*document.name, Self::of(&document.bytes))))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_digest_that_sha256sum_prints() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").to_string(), expected);
    }

    #[test]
    fn a_set_is_told_from_one_with_other_names_contents_or_boundaries() {
        let document = |name: &str, bytes: &[u8]| Document { name: name.into(), bytes: bytes.into() };
        let sets = [
            vec![],
            vec![document("a", b"")],
            vec![document("a", b"x")],
            vec![document("b", b"x")],
            vec![document("a", b"x"), document("b", b"y")],
            vec![document("a", b"xb\0y")],
        ];
        let digests: std::collections::BTreeSet<_> = sets.iter().map(|set| Digest::of_documents(set)).collect();
        assert_eq!(digests.len(), sets.len());
    }
}
