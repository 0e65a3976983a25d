//! What a topology costs from text to snapshot, stage by stage, and how that grows.
//!
//! `cargo bench`. One thread. Compare figures of one run only: machines differ, and are noisy.

#![allow(missing_docs, reason = "the macro makes a public function")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;

use chancery::check;
use chancery::diagnostic::{Files, Findings};
use chancery::envoy::Schema;
use chancery::expand::{self, Beside};
use chancery::pipeline::{self, Memory, Outcome, World};
use chancery::snapshot::Snapshot;
use chancery::source::Document;
use chancery::topology;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// What the server uses.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A fleet as one text: every cluster has ten endpoints and one route to it.
fn fleet(clusters: usize) -> String {
    let mut text =
        String::from("version: 1\nlisteners:\n  - name: ingress\n    address: 0.0.0.0:10000\n    virtual_hosts:\n");
    for host in 0..clusters.div_ceil(100) {
        _ = writeln!(text, "      - name: host-{host}\n        domains: [host-{host}.example]\n        routes:");
        for cluster in host * 100..clusters.min((host + 1) * 100) {
            _ = writeln!(
                text,
                "          - match: /service-{cluster}/\n            route: {{cluster: service-{cluster}, timeout: 5s}}"
            );
        }
    }
    text.push_str("clusters:\n");
    text.push_str(&clusters_of(0..clusters));
    text
}

fn clusters_of(range: std::ops::Range<usize>) -> String {
    let mut text = String::new();
    for cluster in range {
        _ = writeln!(text, "  - name: service-{cluster}\n    connect_timeout: 1s\n    endpoints:");
        for endpoint in 0..10 {
            let (high, low) = (cluster / 256 % 256, cluster % 256);
            _ = writeln!(text, "      - 10.{high}.{low}.{endpoint}:8080");
        }
    }
    text
}

fn document(name: &str, text: String) -> Document {
    Document { name: name.into(), bytes: Arc::from(text.into_bytes()) }
}

fn stages(c: &mut Criterion) {
    let schema = Schema::embedded();
    let attachments: BTreeMap<&str, &[u8]> = BTreeMap::new();
    let world = World { attachments: &attachments, now: 0 };
    for clusters in [1_000, 10_000] {
        let documents = [document("fleet.yaml", fleet(clusters))];
        let mut group = c.benchmark_group("stage");
        group.sample_size(10).throughput(Throughput::Elements(clusters as u64));
        let parse = || {
            let (mut files, mut findings) = (Files::new(), Findings::new());
            let topology = topology::parse(&documents, &mut files, &mut findings);
            assert!(!findings.has_errors(), "{:?}", findings.as_slice().first());
            (topology, files, findings)
        };
        group.bench_function(BenchmarkId::new("parse", clusters), |b| b.iter(parse));
        let expand = |(topology, files, mut findings): (topology::Topology, Files, Findings)| {
            let groups = Arc::clone(&topology.node_groups);
            let beside = Beside { files: &files, attachments: &attachments };
            let natives = expand::expand(&schema, topology, beside, &mut findings);
            (natives, groups, files, findings)
        };
        group.bench_function(BenchmarkId::new("expand", clusters), |b| {
            b.iter_batched(parse, expand, BatchSize::PerIteration);
        });
        let check = |(natives, groups, files, mut findings): (Vec<_>, Arc<[topology::NodeGroup]>, Files, Findings)| {
            let checked = check::check(&schema, natives, &groups, 0, &mut findings);
            assert!(!findings.has_errors(), "{:?}", findings.as_slice().first());
            (checked, groups, files)
        };
        group.bench_function(BenchmarkId::new("check", clusters), |b| {
            b.iter_batched(|| expand(parse()), check, BatchSize::PerIteration);
        });
        group.bench_function(BenchmarkId::new("encode", clusters), |b| {
            b.iter_batched(
                || check(expand(parse())),
                |(checked, groups, files)| (Memory::default().encode(&schema, &checked, &groups, &files), checked),
                BatchSize::PerIteration,
            );
        });
        group.bench_function(BenchmarkId::new("whole", clusters), |b| {
            b.iter(|| black_box(pipeline::build(&schema, &documents, &world, None, &mut Memory::default())));
        });
        group.finish();
    }
}

/// A directory of files, one of which is edited: what that costs, beside a build of that file alone and of all of them.
fn one_of_many(c: &mut Criterion) {
    let schema = Schema::embedded();
    let attachments: BTreeMap<&str, &[u8]> = BTreeMap::new();
    let world = World { attachments: &attachments, now: 0 };
    let mut group = c.benchmark_group("edit");
    group.sample_size(10);
    for (files, each) in [(100, 10), (1_000, 1), (1_000, 10)] {
        let file = |file: usize, timeout: usize| {
            let range = file * each..(file + 1) * each;
            let mut text = format!("version: 1\nroute_configs:\n- name: routes-{file}\n  routes:\n");
            for cluster in range.clone() {
                _ = writeln!(
                    text,
                    "  - match: /service-{cluster}/\n    route: {{cluster: service-{cluster}, timeout: {timeout}s}}"
                );
            }
            text.push_str("clusters:\n");
            text.push_str(&clusters_of(range));
            document(&format!("{file:04}.yaml"), text)
        };
        let mut documents: Vec<Document> = (0..files).map(|number| file(number, 1)).collect();
        let id = |what: &str| BenchmarkId::new(what, format!("{files}x{each}"));
        let all = |documents: &[Document], previous: Option<&Snapshot>, memory: &mut Memory| {
            let built = pipeline::build(&schema, documents, &world, previous, memory);
            let Outcome::Changed { snapshot, changes } = built.outcome else { panic!("{:?}", built.report) };
            (snapshot, changes)
        };
        group.bench_function(id("everything"), |b| b.iter(|| all(&documents, None, &mut Memory::default())));
        group.bench_function(id("the file alone"), |b| {
            b.iter(|| all(&documents[..1], None, &mut Memory::default()));
        });
        let mut memory = Memory::default();
        let (mut snapshot, _) = all(&documents, None, &mut memory);
        let mut timeout = 1;
        group.bench_function(id("one file"), |b| {
            b.iter(|| {
                timeout += 1;
                documents[files / 2] = file(files / 2, timeout);
                let changes;
                (snapshot, changes) = all(&documents, Some(&snapshot), &mut memory);
                assert_eq!(changes.to_string(), "~1 RDS");
            });
        });
    }
    group.finish();
}

criterion_group!(benches, stages, one_of_many);
criterion_main!(benches);
