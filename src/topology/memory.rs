//! What files said the last time, so that only those that changed are read again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::diagnostic::{FileId, Files, Finding, Findings};
use crate::source::Document;

use super::reader::{self, Outline};
use super::{Topology, empty, start_of, text, yaml};

/// The files of the last topology, by name. What [`Memory::parse`] returns does not depend on it.
///
/// A file keeps its id for as long as it is there, and the trees in it are the same `Arc`s until it changes. A topology of
/// one file is not kept: with the file, everything changes.
#[derive(Debug, Default)]
pub struct Memory {
    files: BTreeMap<Arc<str>, File>,
}

#[derive(Clone)]
struct File {
    id: FileId,
    bytes: Arc<[u8]>,
    /// As snippets show it.
    text: Arc<str>,
    outline: Arc<Outline>,
}

/// It may hold private keys: its content is not shown.
impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, bytes, .. } = self;
        write!(f, "File({id:?}, {} bytes)", bytes.len())
    }
}

impl File {
    fn read(id: FileId, document: &Document) -> Self {
        let (text, flaw) = text::read(document, id);
        let outline = match flaw {
            None => Outline::of(id, &text),
            Some(flaw) => {
                let mut outline = Outline::default();
                outline.findings.push(flaw);
                outline
            }
        };
        Self { id, bytes: Arc::clone(&document.bytes), text, outline: Arc::new(outline) }
    }
}

impl Memory {
    /// [`parse`](super::parse), for which files that did not change are not read again.
    pub fn parse(&mut self, documents: &[Document], files: &mut Files, findings: &mut Findings) -> Topology {
        let before = findings.len();
        let mut known = std::mem::take(&mut self.files);
        let names: BTreeSet<_> = documents.iter().map(|document| &document.name).collect();
        known.retain(|name, _| names.contains(name));
        let taken: BTreeSet<FileId> = known.values().map(|file| file.id).collect();
        let mut free = (0..).map(FileId).filter(|id| !taken.contains(id));
        let (mut outlines, mut first, mut total) = (Vec::with_capacity(documents.len()), None, 0_usize);
        for document in documents {
            total = total.saturating_add(document.bytes.len());
            let old = known.remove(&document.name);
            let id = old.as_ref().map_or_else(|| free.next().expect("fewer than 2^32 files"), |file| file.id);
            if total > yaml::MAX_BYTES {
                files.add_as(id, Arc::clone(&document.name), text::read(document, id).0);
                let message = format!("more than {} MiB of text in all files", yaml::MAX_BYTES >> 20);
                findings.push(Finding::error("yaml-budget", start_of(id), "", message));
                break;
            }
            let same = old.filter(|file| file.bytes == document.bytes);
            let file = same.unwrap_or_else(|| File::read(id, document));
            files.add_as(id, Arc::clone(&document.name), Arc::clone(&file.text));
            first.get_or_insert(file.id);
            findings.append(file.outline.findings.clone());
            outlines.push(Arc::clone(&file.outline));
            if documents.len() > 1 {
                self.files.insert(Arc::clone(&document.name), file);
            }
        }
        // A mistake may be what hides the sections.
        if outlines.iter().all(|outline| outline.sections == 0) && findings.len() == before {
            findings.push(empty("no section says what there is to serve", first.map(start_of)));
        }
        reader::join(&outlines, findings)
    }
}
