//! Any bytes as a topology: they are served, or refused with the place of what is wrong. Never a panic, never a hang.

#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;

use chancery::envoy::Schema;
use chancery::pipeline::{self, Memory, Outcome, World};
use chancery::source::Document;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let document = Document { name: Arc::from("fuzz.yaml"), bytes: bytes.into() };
    let no_files: BTreeMap<&str, &[u8]> = BTreeMap::new();
    let world = World { attachments: &no_files, now: 1_790_000_000 };
    let build = pipeline::build(&Schema::embedded(), &[document], &world, None, &mut Memory::default());
    let placed = build.report.findings().iter().any(|finding| finding.span.is_some_and(|span| span.column > 0));
    assert!(placed || !matches!(build.outcome, Outcome::Rejected), "refused without a place");
});
