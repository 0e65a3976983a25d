//! Any bytes as a topology: they are served, or refused with the place of what is wrong. Never a panic, never a hang.

#![no_main]

use std::collections::BTreeMap;

use chancery::diagnostic::Level;
use chancery::envoy::Schema;
use chancery::pipeline::{self, Memory, Outcome, World};
use chancery::source::Document;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // Several files, as what is remembered of one must not show in the next build.
    let files = bytes.split(|byte| *byte == 0).enumerate();
    let documents: Vec<Document> =
        files.map(|(file, bytes)| Document { name: format!("{file}.yaml").into(), bytes: bytes.into() }).collect();
    let no_files: BTreeMap<&str, &[u8]> = BTreeMap::new();
    let world = World { attachments: &no_files, now: 1_790_000_000 };
    let mut memory = Memory::default();
    let mut build = || pipeline::build(&Schema::embedded(), &documents, &world, None, &mut memory);
    let (first, second) = (build(), build());
    assert_eq!(first.report.render_all(Level::Info), second.report.render_all(Level::Info));
    let mut errors = first.report.findings().iter().filter(|finding| finding.level == Level::Error);
    let placed = errors.any(|finding| finding.span.is_some_and(|span| span.column > 0));
    assert_eq!(placed, matches!(first.outcome, Outcome::Rejected), "refused without a place, or served with errors");
});
