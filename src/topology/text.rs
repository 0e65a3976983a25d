//! Bytes become text.

use std::sync::Arc;

use crate::diagnostic::{FileId, Finding, Span};
use crate::source::Document;

/// The text of a document as the file's snippets show it, without a byte order mark, and a finding if it is not the
/// whole truth.
pub(super) fn read(document: &Document, file: FileId) -> (Arc<str>, Option<Finding>) {
    match std::str::from_utf8(&document.bytes) {
        Ok(text) => (text.strip_prefix('\u{feff}').unwrap_or(text).into(), None),
        Err(error) => {
            let (good, bad) = document.bytes.split_at(error.valid_up_to());
            let good = String::from_utf8_lossy(good);
            let good = good.strip_prefix('\u{feff}').unwrap_or(&good);
            let text = String::from_utf8_lossy(&document.bytes);
            let text: Arc<str> = text.strip_prefix('\u{feff}').unwrap_or(&text).into();
            let last = good.rsplit('\n').next().unwrap_or_default();
            let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            let line = count(good.matches('\n').count()).saturating_add(1);
            let span = Span { file, line, column: count(last.chars().count()).saturating_add(1), len: 1 };
            let byte = bad.first().copied().unwrap_or_default();
            let message = format!("this file is not UTF-8: the byte 0x{byte:02x} stands for no character");
            (text, Some(Finding::error("not-utf8", span, "", message).help("save the file as UTF-8")))
        }
    }
}
