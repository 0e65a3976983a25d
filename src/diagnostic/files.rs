//! The source files that spans point into.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use super::FileId;

/// One source file as it was read.
#[derive(Clone, Debug)]
struct File {
    name: Arc<str>,
    text: Arc<str>,
    /// How many files were added before it.
    rank: usize,
    /// Byte offset of each line; made when the first snippet is shown, as most files never need one.
    lines: OnceLock<Vec<usize>>,
}

/// The source files that spans point into.
#[derive(Clone, Debug, Default)]
pub struct Files(BTreeMap<FileId, File>);

impl Files {
    /// No files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file and returns its id, which is the next one.
    pub fn add(&mut self, name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> FileId {
        let id = self.next_id();
        self.add_as(id, name, text);
        id
    }

    /// The id that the next file gets.
    pub fn next_id(&self) -> FileId {
        self.0.last_key_value().map_or_else(FileId::default, |(last, _)| FileId(last.0 + 1))
    }

    /// Adds a file under an id that none has yet.
    pub fn add_as(&mut self, id: FileId, name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) {
        let rank = self.0.len();
        self.0.insert(id, File { name: name.into(), text: text.into(), rank, lines: OnceLock::new() });
    }

    /// The file of a name.
    pub fn id(&self, name: &str) -> Option<FileId> {
        self.0.iter().find(|(_, file)| &*file.name == name).map(|(id, _)| *id)
    }

    /// The file's name, as it was given on the command line or found in a directory.
    pub fn name(&self, id: FileId) -> Option<&Arc<str>> {
        self.0.get(&id).map(|file| &file.name)
    }

    /// How many files were added before this one.
    pub(super) fn rank(&self, id: FileId) -> Option<usize> {
        self.0.get(&id).map(|file| file.rank)
    }

    /// The text of a 1-based line, without its line ending.
    pub fn line(&self, id: FileId, line: u32) -> Option<&str> {
        let File { name: _, text, rank: _, lines } = self.0.get(&id)?;
        let starts = lines.get_or_init(|| {
            let after = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
            std::iter::once(0).chain(after).collect()
        });
        let index = (line as usize).checked_sub(1)?;
        let end = starts.get(index + 1).map_or(text.len(), |next| next - 1);
        let line = &text[*starts.get(index)?..end];
        Some(line.strip_suffix('\r').unwrap_or(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_no_line_ending() {
        let mut files = Files::new();
        let file = files.add("t", "a\r\n\nb\n");
        let lines: Vec<_> = (0..6).map(|line| files.line(file, line)).collect();
        assert_eq!(lines, [None, Some("a"), Some(""), Some("b"), Some(""), None]);
        assert_eq!(files.line(FileId(1), 1), None);
    }
}
