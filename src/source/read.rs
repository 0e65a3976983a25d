//! Reading all files of one generation.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;

use rustix::fs::OFlags;

use super::list::{ATTEMPTS, Failure, Listed, MAX_ENTRIES, MAX_SIZE, Stamp};
use super::paths::STDIN;
use super::{Digest, Document, Listing, Obstacle, ReadError, Sources};

/// The files as they were read.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    /// By name.
    pub(crate) documents: Vec<Document>,
    /// Each document's digest.
    pub(crate) digests: Vec<Digest>,
    /// The digest of all of them.
    pub(crate) digest: Digest,
    /// What was on disk, to compare with later.
    pub(crate) listing: Listing,
}

impl Sources {
    /// Reads all files, by name, each once. May block as long as the file systems do, and on standard input.
    pub fn read(&self) -> Result<Vec<Document>, ReadError> {
        self.take().map(|reading| reading.documents)
    }

    /// Reads all files and says what was on disk.
    pub(crate) fn take(&self) -> Result<Reading, ReadError> {
        let stdin = if self.reads_stdin() { Some(read_stdin()?) } else { None };
        for _ in 0..ATTEMPTS {
            let attempt = self.look(MAX_ENTRIES).and_then(|listing| {
                let documents = stdin.clone().map(Ok).into_iter().chain(listing.files.iter().map(read));
                let documents: Vec<_> = documents.collect::<Result<_, Failure>>()?;
                Ok((listing, documents))
            });
            match attempt {
                // Nothing moved between the two listings, so the documents are of one generation and none is torn.
                Ok((listing, documents)) if self.look(MAX_ENTRIES).is_ok_and(|now| now == listing) => {
                    let digests: Vec<_> = documents.iter().map(|document| Digest::of(&document.bytes)).collect();
                    let names = documents.iter().map(|document| &*document.name);
                    let digest = Digest::of_all(names.zip(digests.iter().copied()));
                    return Ok(Reading { documents, digests, digest, listing });
                }
                Ok(_) | Err(Failure::Changed) => {}
                Err(Failure::Error(error)) => return Err(error),
            }
        }
        Err(self.changing())
    }
}

fn read(file: &Listed) -> Result<Document, Failure> {
    let Listed { name, real, stamp } = file;
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Failure::Changed,
        _ => Failure::Error(ReadError::of(name, real, &error)),
    };
    // Listed as a regular file, it may be a named pipe by now: opening one must not wait for a writer.
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let open = OpenOptions::new().read(true).custom_flags(nonblocking).open(real).map_err(failed)?;
    if Stamp::of(name, &open.metadata().map_err(failed)?, MAX_SIZE).map_err(Failure::Error)? != *stamp {
        return Err(Failure::Changed);
    }
    Ok(Document { name: Arc::clone(name), bytes: read_capped(open, stamp.size(), name).map_err(Failure::Error)? })
}

fn read_stdin() -> Result<Document, ReadError> {
    let name = Arc::from(STDIN);
    Ok(Document { bytes: read_capped(io::stdin().lock(), 0, &name)?, name })
}

/// All bytes of an input that probably has `size` of them.
fn read_capped(input: impl io::Read, size: usize, name: &Arc<str>) -> Result<Arc<[u8]>, ReadError> {
    let unreadable = |cause| ReadError::Unreadable { path: Arc::clone(name), cause };
    let mut bytes = Vec::with_capacity(size);
    let read = input.take(MAX_SIZE + 1).read_to_end(&mut bytes);
    read.map_err(|error| unreadable(Obstacle::Io(error.to_string())))?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(unreadable(Obstacle::TooLarge(MAX_SIZE)));
    }
    Ok(bytes.into())
}
