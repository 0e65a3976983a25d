//! Input that is no topology, by mistake or on purpose: each gets a clear answer in bounded time and memory.
//!
//! The seeds are those of `fuzz/`, whose target asserts the same of whatever a fuzzer comes up with.

mod mutations;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chancery::diagnostic::{Level, Report};
use chancery::envoy::{Kind, Schema};
use chancery::pipeline::{self, Build, Memory, Outcome, World};
use chancery::source::Document;
use tokio::process::Command;

use mutations::Mutations;

/// How long one input may take, with room for a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_mins(1);

/// How many mutations are tried.
const MUTATIONS: usize = 1_500;

/// Folders with seeds, relative to the root of the repository.
const SEEDS: [&str; 6] =
    ["fuzz/corpus/topology", "examples", "tests/corpus", "tests/rejected", "tests/rejected/warned", "tests/import"];

fn build(bytes: &[u8]) -> Build {
    let document = Document { name: Arc::from("t.yaml"), bytes: bytes.into() };
    let no_files: BTreeMap<&str, &[u8]> = BTreeMap::new();
    let world = World { attachments: &no_files, now: 1_790_000_000 };
    pipeline::build(&Schema::embedded(), &[document], &world, None, &mut Memory::default())
}

/// Builds, and asserts what holds of any input: an answer in time, and a place where it is refused.
fn answer(what: &str, bytes: &[u8]) -> Report {
    let start = Instant::now();
    let Build { report, outcome } = build(bytes);
    let text = report.render_all(Level::Info);
    let took = start.elapsed();
    assert!(took < PATIENCE, "{what}: it took {took:?}");
    if matches!(outcome, Outcome::Rejected) {
        let placed = |span: chancery::diagnostic::Span| span.line > 0 && span.column > 0;
        let findings = report.findings().iter().filter(|finding| finding.level == Level::Error);
        assert!(findings.clone().count() > 0, "{what}: refused without a reason");
        assert!(findings.clone().any(|finding| finding.span.is_some_and(placed)), "{what}: no place in {text}");
        assert!(text.starts_with("t.yaml:"), "{what}: {text}");
    } else {
        assert!(!report.has_errors(), "{what}: it would be served, although {text}");
    }
    report
}

/// The first error of an input, as `line:column code: message`.
fn first(text: impl AsRef<[u8]>) -> String {
    let text = text.as_ref();
    let report = answer(&String::from_utf8_lossy(&text[..text.len().min(100)]), text);
    let errors = report.findings().iter().filter(|finding| finding.level == Level::Error);
    let mut shown = errors.map(|finding| {
        let span = finding.span.unwrap();
        format!("{}:{} {}: {}", span.line, span.column, finding.code, finding.message)
    });
    shown.next().unwrap_or_else(|| "ok".to_owned())
}

#[test]
fn any_bytes_are_served_or_refused_with_a_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seeds = Vec::new();
    for folder in SEEDS {
        let mut paths: Vec<_> = fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
        paths.sort();
        assert!(paths.len() > 5, "{folder}: {paths:?}");
        seeds.extend(paths.into_iter().map(|path| (path.display().to_string(), fs::read(path).unwrap())));
    }
    for (name, bytes) in &seeds {
        answer(name, bytes);
    }
    let mut mutations = Mutations::of(seeds.into_iter().map(|(_, bytes)| bytes).collect());
    for number in 0..MUTATIONS {
        let bytes = mutations.next();
        answer(&format!("mutation {number}:\n{}", String::from_utf8_lossy(&bytes)), &bytes);
    }
}

#[test]
fn alias_bombs_are_refused() {
    let mut laughs = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for level in 1..10 {
        let below = [format!("*a{}", level - 1).as_str(); 10].join(", ");
        writeln!(laughs, "a{level}: &a{level} [{below}]").unwrap();
    }
    assert!(first(&laughs).contains(" yaml-budget: "), "{}", first(&laughs));
    // One level only, but wide.
    let wide =
        format!("version: 1\nx-a: &a [{}]\nx-b: [{}]\nlisteners: []\n", "x, ".repeat(2_000), "*a, ".repeat(2_000));
    assert_eq!(first(wide), "2:13 yaml-budget: the aliases of this file stand for too much text");
    let merges = format!("version: 1\nx-a: &a {{k: 1}}\nx-b:\n{}listeners: []\n", "- {<<: *a}\n".repeat(10_001));
    assert!(first(&merges).contains(" yaml-budget: too many `<<` merges"), "{}", first(&merges));
    let text =
        format!("version: 1\nx-a: &a \"{}\"\nx-b: [{}]\nlisteners: []\n", "a".repeat(1 << 20), "*a, ".repeat(500));
    assert!(first(&text).contains("yaml-budget: more than 256 MiB of text"), "{}", first(&text));
}

#[test]
fn nesting_ten_thousand_deep_is_refused() {
    let deep = "yaml-budget: lists and mappings are nested more than 64 deep";
    let block: String = (0..10_000).flat_map(|depth| [" ".repeat(depth), "a:\n".to_owned()]).collect();
    for (what, text) in [
        ("block mappings", block),
        ("block lists", "- ".repeat(10_000)),
        ("flow lists", "[".repeat(10_000)),
        ("closed flow lists", format!("{}{}", "[".repeat(10_000), "]".repeat(10_000))),
        ("flow mappings", "{a: ".repeat(10_000)),
        ("JSON", "{\"a\":".repeat(10_000)),
        ("explicit keys", "? ".repeat(10_000)),
        ("both", "[{a: ".repeat(10_000)),
    ] {
        let message = first(format!("version: 1\nx-a:\n {text}"));
        assert!(message.ends_with(deep), "{what}: {message}");
    }
    // As deep as YAML may be: then Envoy's messages are too deep, also on the small stack of this thread.
    let layer = format!("{}1{}", "{a: ".repeat(60), "}".repeat(60));
    let message = first(format!("version: 1\nruntimes:\n- name: a\n  layer: {layer}\n"));
    assert!(message.contains(" too-deep: nested too deeply: more than 64 messages in each other"), "{message}");
    let wrapper = "{\"@type\": type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig, name: a, typed_config: ";
    let config = format!("{}{{}}{}", wrapper.repeat(50), "}".repeat(50));
    let message = first(format!("version: 1\nextension_configs:\n- name: a\n  typed_config: {config}\n"));
    assert!(message.contains(" too-deep: "), "{message}");
}

#[test]
fn duplicate_keys_are_each_found() {
    let text = "version: 1\nclusters:\n- {name: a, endpoints: [1.2.3.4:80], name: b}\nclusters: []\n";
    let report = answer("duplicates", text.as_bytes());
    let found: Vec<_> = report.findings().iter().filter(|finding| finding.code == "duplicate-key").collect();
    let places: Vec<_> = found.iter().map(|finding| finding.span.map(|span| (span.line, span.column))).collect();
    assert_eq!(places, [Some((3, 38)), Some((4, 1))]);
    // Thousands of them take no longer than it takes to tell.
    let many = format!("version: 1\n{}", "listeners: []\n".repeat(5_000));
    assert_eq!(answer("many duplicates", many.as_bytes()).count(Level::Error), 4_999);
}

#[test]
fn what_is_not_utf_8_is_told_with_its_byte() {
    assert_eq!(
        first(b"version: 1\n# caf\xe9\nlisteners: []\n"),
        "2:6 not-utf8: this file is not UTF-8: the byte 0xe9 stands for no character"
    );
    let utf_16: Vec<u8> = "version: 1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(
        first([b"\xff\xfe".as_slice(), &utf_16].concat()),
        "1:1 not-utf8: this file is not UTF-8: the byte 0xff stands for no character"
    );
    let utf_16: Vec<u8> = "version: 1\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
    assert_eq!(
        first([b"\xfe\xff".as_slice(), &utf_16].concat()),
        "1:1 not-utf8: this file is not UTF-8: the byte 0xfe stands for no character"
    );
    // Without a mark it is UTF-8, with a NUL after every letter.
    assert!(first(utf_16).contains("yaml-syntax: a control character is not allowed here"));
    assert_eq!(
        first(b"version: 1\nlisteners: [\xe2\x82"),
        "2:13 not-utf8: this file is not UTF-8: the byte 0xe2 stands for no character"
    );
    assert_eq!(first(b"\xef\xbb\xbfversion: 1\nlisteners: []\n"), "ok");
}

#[test]
fn control_characters_and_tabs_are_refused_where_they_stand() {
    assert_eq!(first("version: 1\nlisteners: [\0]\n"), "2:13 yaml-syntax: a control character is not allowed here");
    assert_eq!(
        first("version: 1\nx-a: \u{1b}[31m\nlisteners: []\n"),
        "2:6 yaml-syntax: a control character is not allowed here"
    );
    assert_eq!(first("version: 1\nclusters:\n\t- name: a\n"), "3:2 yaml-syntax: a tab cannot indent");
}

/// Only `true` and `false` are booleans; the words of YAML 1.1 are text, so that `no` is Norway and not a lie.
#[test]
fn booleans_of_yaml_1_1_are_text() {
    for word in ["yes", "no", "on", "off", "Yes", "NO", "y", "n"] {
        let cluster = |name: &str, warm: &str| {
            format!(
                "version: 1\nclusters:\n- {{name: {name}, endpoints: [1.2.3.4:80], wait_for_warm_on_init: {warm}}}\n"
            )
        };
        assert_eq!(
            first(cluster("a", word)),
            format!("3:61 type: expected true or false, got the string `{word}`"),
            "{word}"
        );
        assert_eq!(first(cluster(word, "true")), "ok", "{word}");
    }
}

/// Numbers are what YAML 1.2 says, and nothing is an octal by its leading zero.
#[test]
fn octals_and_base_60_are_no_guesses() {
    let limit = |number: &str| {
        let cluster = format!("name: a, endpoints: [1.2.3.4:80], per_connection_buffer_limit_bytes: {number}");
        format!("version: 1\nclusters:\n- {{{cluster}}}\n")
    };
    assert_eq!(first(limit("755")), "ok");
    for (number, message) in [
        ("0755", "number: `0755`: a leading zero means octal to some readers and nothing to others"),
        ("1_000", "number: `1_000`: underscores are no part of a number"),
        ("1:30", "type: expected an integer, got the string `1:30`"),
        ("1e400", "type: expected an integer, got the number `1e400`"),
        (".inf", "type: expected an integer, got the number `.inf`"),
        ("-1", "range: -1 does not fit: allowed are 0 to 4294967295"),
        ("4294967296", "range: 4294967296 does not fit: allowed are 0 to 4294967295"),
    ] {
        assert_eq!(first(limit(number)), format!("3:73 {message}"), "{number}");
    }
    // These two are numbers in YAML 1.2.
    assert_eq!(served(&limit("0o755")), served(&limit("493")));
    assert_eq!(served(&limit("0x1F")), served(&limit("31")));
    // Where a text is wanted, it stays what was written, or has to be quoted.
    let named = |name: &str| format!("version: 1\nclusters:\n- {{name: {name}, endpoints: [1.2.3.4:80]}}\n");
    for name in ["1:30", "1.2.3", "190:20:30", "2024-01-01"] {
        assert!(served(&named(name)).iter().all(|(found, _)| found == name), "{name}");
    }
    for name in ["0755", "0o755", "12", "1e3"] {
        let message = format!("3:10 type: expected a string, got the number `{name}`");
        assert_eq!(first(named(name)), message, "{name}");
    }
}

/// The names and versions of the resources of a topology without mistakes.
fn served(text: &str) -> Vec<(String, String)> {
    let Build { outcome: Outcome::Changed { snapshot, .. }, .. } = build(text.as_bytes()) else {
        panic!("{}", first(text))
    };
    let group = snapshot.group("default").unwrap();
    let resources = Kind::ALL.into_iter().flat_map(|kind| group.resources(kind).iter());
    resources.map(|resource| (resource.name.to_string(), format!("{:?}", resource.version))).collect()
}

#[test]
fn merge_keys_take_mappings_only() {
    let text = |merged: &str| {
        format!("version: 1\nx-a: &a {{endpoints: [1.2.3.4:80]}}\nclusters:\n- {{name: a, <<: {merged}}}\n")
    };
    assert_eq!(first(text("*a")), "ok");
    assert_eq!(first(text("[*a, {lb_policy: RANDOM}]")), "ok");
    assert_eq!(first(text("3")), "4:17 yaml-syntax: `<<` takes a mapping or a list of mappings");
    assert_eq!(first(text("[3]")), "4:18 yaml-syntax: `<<` takes a mapping or a list of mappings");
    assert_eq!(first(text("*b")), "4:17 yaml-syntax: no `&anchor` of this name comes before this alias");
}

#[test]
fn long_keys_and_texts_are_told_shortly() {
    let long = "a".repeat(1 << 20);
    let message = first(format!("version: 1\nclusters:\n- {long}: 1\n"));
    assert!(message.starts_with("3:") && message.contains(" yaml-syntax: "), "{message:.200}");
    for text in [
        format!("version: 1\nclusters:\n- name: a\n  ? {long}\n  : 1\n"),
        format!("version: 1\n? {long}\n: 1\n"),
        format!("version: 1\nclusters: [{{name: a, type: {long}}}]\n"),
        format!("version: 1\nclusters: [{{name: a, connect_timeout: {long}}}]\n"),
        format!("version: 1\nclusters: [{{name: a, endpoints: [\"{long}:\"]}}]\n"),
        format!("version: 1\nclusters: [{{name: a, per_connection_buffer_limit_bytes: {}}}]\n", "9".repeat(1 << 20)),
    ] {
        let report = answer("a long text", text.as_bytes());
        let shown = report.render_all(Level::Error);
        assert!(report.has_errors() && shown.len() < 20_000, "{} bytes: {shown:.200}", shown.len());
    }
}

#[test]
fn many_documents_are_too_many_at_some_point() {
    let documents = |count: usize| "---\nversion: 1\nlisteners: []\n".repeat(count);
    assert_eq!(first(documents(1_000)), "ok");
    assert_eq!(first(documents(1_001)), "3001:1 yaml-budget: more than 1000 documents in one file");
}

/// All of them are told, however many: in the time that it takes to write them.
#[test]
fn many_mistakes_are_all_found() {
    let clusters = || (0..3_000).map(|n| format!("{{name: c{n}, bad: 1}}"));
    let block = clusters().collect::<Vec<_>>().join("\n- ");
    let report = answer("many lines", format!("version: 1\nclusters:\n- {block}\n").as_bytes());
    assert_eq!(report.count(Level::Error), 3_000);
    let flow = clusters().collect::<Vec<_>>().join(", ");
    let report = answer("one line", format!("version: 1\nclusters: [{flow}]\n").as_bytes());
    assert_eq!(report.count(Level::Error), 3_000);
}

/// How much memory it may ask for, in kilobytes: the text, a copy, and what the program needs anyway.
const MEMORY: u32 = 700_000;

/// The memory is limited from outside, of the program as users run it.
#[tokio::test]
async fn texts_of_hundreds_of_megabytes_are_refused_in_bounded_memory() {
    let dir = tempfile::tempdir().unwrap();
    for (megabytes, code, message) in [
        (300, 2, "big.yaml: cannot be read: it is larger than 256 MiB"),
        (200, 1, "big.yaml:2:6: error[yaml-budget]: this text is longer than 16 MiB"),
    ] {
        let mut file = fs::File::create(dir.path().join("big.yaml")).unwrap();
        file.write_all(b"version: 1\nx-a: \"").unwrap();
        let part = vec![b'a'; 1 << 20];
        for _ in 0..megabytes {
            file.write_all(&part).unwrap();
        }
        file.write_all(b"\"\nlisteners: []\n").unwrap();
        drop(file);
        let start = Instant::now();
        let limited = format!("ulimit -v {MEMORY} && exec \"$0\" check big.yaml");
        let program = env!("CARGO_BIN_EXE_chancery");
        let run = Command::new("sh").args(["-c", &limited, program]).current_dir(dir.path()).output().await.unwrap();
        let said = String::from_utf8(run.stderr).unwrap();
        assert_eq!(run.status.code(), Some(code), "{said:.1000}");
        assert!(said.contains(message) && said.len() < 1_000, "{said:.1000}");
        assert!(start.elapsed() < PATIENCE, "{megabytes} MiB took {:?}", start.elapsed());
    }
}
