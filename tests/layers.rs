//! Imports go left only: the rule of ARCHITECTURE.md, read off the sources.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The stages in the order of the pipeline; each may use those to its left, and `diagnostic`.
const STAGES: [&str; 11] =
    ["envoy", "source", "topology", "expand", "check", "snapshot", "pipeline", "reload", "xds", "admin", "cli"];

/// Stages that may use less than what is to their left.
const NARROW: [(&str, &[&str]); 1] = [("xds", &["envoy", "snapshot"])];

/// Crates that are used in one stage only. `main` counts as `cli`.
const HOMES: [(&str, &str); 13] = [
    ("notify", "source"),
    ("serde_saphyr", "topology"),
    ("prost_reflect", "envoy"),
    ("tonic", "xds"),
    ("tonic_health", "xds"),
    ("tonic_prost", "xds"),
    ("tonic_reflection", "xds"),
    ("tonic_types", "xds"),
    ("axum", "admin"),
    ("clap", "cli"),
    ("anyhow", "cli"),
    ("ring", "check"),
    ("x509_parser", "check"),
];

/// Stages that see no network, disk, process or clock.
const PURE: [&str; 5] = ["topology", "expand", "check", "pipeline", "snapshot"];

/// What a pure stage does not name.
const IMPURE: [&str; 12] = [
    "tokio",
    "std::fs",
    "std::env",
    "std::process",
    "Instant",
    "SystemTime",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "rustix",
    "hyper_util",
];

/// The store alone wakes those who wait for a snapshot.
const STORE: (&str, &str) = ("snapshot/store.rs", "tokio");

#[test]
fn imports_go_left_only() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = BTreeMap::new();
    collect(&src, &src, &mut sources);
    assert!(sources.len() > 20, "only {} sources were found", sources.len());
    for stage in STAGES {
        assert!(sources.keys().any(|path| stage_of(path) == Some(stage)), "there is no stage {stage}");
    }
    let violations: Vec<_> = sources.iter().flat_map(|(path, text)| violations(path, text)).collect();
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

fn collect(root: &Path, dir: &Path, sources: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            sources.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

/// The stage that a file under `src` belongs to; none for `lib.rs`.
fn stage_of(path: &str) -> Option<&str> {
    let first = path.split('/').next()?;
    match first.trim_end_matches(".rs") {
        "lib" => None,
        "main" => Some("cli"),
        stage => Some(stage),
    }
}

/// Every breach of the rules in one file, as `src/FILE:LINE: what`.
fn violations(path: &str, text: &str) -> Vec<String> {
    // Tests may look to the right, for what they compare with.
    let is_test = path.split('/').any(|part| part == "tests.rs" || part == "tests");
    let Some(stage) = stage_of(path).filter(|_| !is_test) else { return Vec::new() };
    let code = without_tests(&blank(text));
    let mut found = Vec::new();
    let mut say = |offset: usize, what: String| {
        let line = code[..offset].matches('\n').count() + 1;
        found.push((line, format!("src/{path}:{line}: {what}")));
    };
    for (offset, module) in crate_modules(path, &code) {
        if !may_use(stage, &module) {
            say(offset, format!("{stage} uses {module}"));
        }
    }
    for (foreign, home) in HOMES {
        for offset in words(&code, foreign).filter(|_| stage != home) {
            if code[offset + foreign.len()..].trim_start().starts_with("::") || is_use(&code, offset) {
                say(offset, format!("{stage} uses the crate {foreign}, whose home is {home}"));
            }
        }
    }
    if PURE.contains(&stage) {
        for impure in IMPURE.iter().filter(|impure| (path, **impure) != STORE) {
            for offset in words(&code, impure).chain(in_std_groups(&code, impure)) {
                say(offset, format!("{stage} is pure and names {impure}"));
            }
        }
    }
    found.sort();
    found.into_iter().map(|(_, text)| text).collect()
}

fn may_use(stage: &str, module: &str) -> bool {
    let place = |name: &str| STAGES.iter().position(|stage| *stage == name);
    if module == stage || module == "diagnostic" {
        return true;
    }
    if let Some((_, allowed)) = NARROW.iter().find(|(narrow, _)| *narrow == stage) {
        return allowed.contains(&module);
    }
    // `diagnostic` has no place and may use nothing; an unknown module is not in the drawing.
    place(module).zip(place(stage)).is_some_and(|(module, stage)| module < stage)
}

/// The modules of this crate that are named, by `crate::` or by enough `super::`, and where.
fn crate_modules(path: &str, code: &str) -> Vec<(usize, String)> {
    let name = path.trim_end_matches(".rs").trim_end_matches("/mod");
    let depth = if name == "main" || name == "lib" { 0 } else { name.split('/').count() };
    let mut roots = vec!["crate::".to_owned()];
    if depth > 0 {
        roots.push("super::".repeat(depth));
    }
    if path == "main.rs" {
        roots.push("chancery::".to_owned());
    }
    let mut found = Vec::new();
    for root in roots {
        for (offset, _) in code.match_indices(&root) {
            let before = code[..offset].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let after = offset + root.len();
            match group(&code[after..]) {
                Some(members) => found.extend(members.into_iter().map(|(at, name)| (after + at, name))),
                None => found.push((offset, identifier(&code[after..]).to_owned())),
            }
        }
    }
    found.retain(|(_, name)| !name.is_empty() && name != "super" && name != "self");
    found
}

/// The first identifiers of the members of `{a::b, c::{d, e}}`.
fn group(text: &str) -> Option<Vec<(usize, String)>> {
    let inner = text.strip_prefix('{')?;
    let (mut depth, mut expected, mut members) = (1, true, Vec::new());
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => expected = true,
            c if expected && (c.is_alphabetic() || c == '_') => {
                members.push((at + 1, identifier(&inner[at..]).to_owned()));
                expected = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    Some(members)
}

/// Where `std::fs` stands as a member of `std::{fs, io}`.
fn in_std_groups<'a>(code: &'a str, path: &str) -> impl Iterator<Item = usize> + 'a {
    let module = path.strip_prefix("std::").unwrap_or_default().to_owned();
    let groups = code.match_indices("std::{").map(|(offset, _)| offset + "std::".len());
    let members = groups.flat_map(|start| {
        group(&code[start..]).unwrap_or_default().into_iter().map(move |(at, name)| (start + at, name))
    });
    members.filter(move |(_, name)| *name == module).map(|(offset, _)| offset)
}

fn identifier(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

/// Where a path such as `std::fs` or a name stands as a whole word.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).map(|(offset, _)| offset).filter(move |offset| {
        let before = code[..*offset].chars().next_back();
        let after = code[offset + word.len()..].chars().next();
        // `x::tokio` is a module of ours and `.notify` a method, but `std::time::Instant` is the type.
        let is_type = word.starts_with(char::is_uppercase);
        !before.is_some_and(|c| part(c) || c == '.' || (c == ':' && !is_type)) && !after.is_some_and(part)
    })
}

/// Whether a word stands right behind `use`.
fn is_use(code: &str, offset: usize) -> bool {
    code[..offset].trim_end().ends_with(" use") || code[..offset].trim_end().ends_with("\nuse")
}

/// Cuts off the module of tests at the end of a file.
fn without_tests(code: &str) -> String {
    let end = code.find("#[cfg(test)]\nmod tests {").unwrap_or(code.len());
    code[..end].to_owned()
}

/// Comments and texts become blanks, so that offsets and lines stay.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let starts = |at: usize, pattern: &str| pattern.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c));
    while at < chars.len() {
        let end = if starts(at, "//") {
            chars[at..].iter().position(|c| *c == '\n').map_or(chars.len(), |length| at + length)
        } else if starts(at, "/*") {
            (at + 2..chars.len()).find(|end| starts(*end, "*/")).map_or(chars.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(&chars[at..]).filter(|_| !preceded_by_word(&chars, at)) {
            let close = format!("\"{}", "#".repeat(hashes));
            let body = at + hashes + 2;
            (body..chars.len()).find(|end| starts(*end, &close)).map_or(chars.len(), |end| end + hashes + 1)
        } else if chars[at] == '"' {
            let mut end = at + 1;
            while end < chars.len() && chars[end] != '"' {
                end += if chars[end] == '\\' { 2 } else { 1 };
            }
            end + 1
        } else if let Some(length) = char_literal(&chars[at..]) {
            at + length
        } else {
            out.push(chars[at]);
            at += 1;
            continue;
        };
        let end = end.min(chars.len());
        out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

fn preceded_by_word(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_') && chars[at - 1] != 'b'
}

/// How many `#` open the raw string that starts here.
fn raw_string(chars: &[char]) -> Option<usize> {
    let rest = chars.strip_prefix(&['r'])?;
    let hashes = rest.iter().take_while(|c| **c == '#').count();
    (rest.get(hashes) == Some(&'"')).then_some(hashes)
}

/// The length of the character literal that starts here; a lifetime is none.
fn char_literal(chars: &[char]) -> Option<usize> {
    match chars {
        ['\'', '\\', _, rest @ ..] => rest.iter().position(|c| *c == '\'').map(|length| length + 4),
        ['\'', _, '\'', ..] => Some(3),
        _ => None,
    }
}

#[test]
fn a_look_to_the_right_is_found_with_its_line() {
    let text = "//! crate::xds is only mentioned.\nuse crate::{\n    diagnostic::Finding,\n    envoy::{Kind, xds},\n    reload,\n};\n\
                fn f() -> crate::admin::X { \"crate::cli\"; '\"'; crate::source::read() }\n";
    assert_eq!(
        violations("expand/mod.rs", text),
        ["src/expand/mod.rs:5: expand uses reload", "src/expand/mod.rs:7: expand uses admin",]
    );
    assert_eq!(violations("cli/serve.rs", text), Vec::<String>::new());
}

#[test]
fn the_servers_of_xds_see_only_snapshots_and_messages() {
    let text = "use crate::diagnostic::Span;\nuse crate::envoy::Kind;\nuse crate::snapshot::Store;\nuse crate::topology::Topology;\n";
    assert_eq!(violations("xds/sotw.rs", text), ["src/xds/sotw.rs:4: xds uses topology"]);
}

#[test]
fn a_way_round_by_super_is_found() {
    assert_eq!(violations("envoy/mod.rs", "use super::cli;\n"), ["src/envoy/mod.rs:1: envoy uses cli"]);
    assert_eq!(
        violations("envoy/json/read.rs", "use super::super::super::{cli, source::X};\n"),
        ["src/envoy/json/read.rs:1: envoy uses cli", "src/envoy/json/read.rs:1: envoy uses source",]
    );
    assert_eq!(violations("envoy/json/read.rs", "use super::super::kind;\n"), Vec::<String>::new());
    assert_eq!(
        violations("diagnostic.rs", "use crate::envoy::Kind;\n"),
        ["src/diagnostic.rs:1: diagnostic uses envoy"]
    );
}

#[test]
fn a_crate_away_from_home_is_found() {
    let text = "use std::sync::Arc;\nuse tonic::Status;\nuse tokio::sync::Notify;\nfn f(x: &notify::Event) { self.notify::<u8>() }\n";
    assert_eq!(
        violations("admin/mod.rs", text),
        [
            "src/admin/mod.rs:2: admin uses the crate tonic, whose home is xds",
            "src/admin/mod.rs:4: admin uses the crate notify, whose home is source",
        ]
    );
    assert_eq!(violations("main.rs", "use anyhow::Result;\nfn main() {}\n"), Vec::<String>::new());
}

#[test]
fn a_pure_stage_sees_no_disk_and_no_clock() {
    let text = "use std::fs;\nfn f() { let now = std::time::Instant::now(); tokio::task::yield_now(); }\n\
                use std::{io, env};\n#[cfg(test)]\nmod tests {\n    use std::env;\n    use crate::cli;\n}\n";
    assert_eq!(
        violations("check/mod.rs", text),
        [
            "src/check/mod.rs:1: check is pure and names std::fs",
            "src/check/mod.rs:2: check is pure and names Instant",
            "src/check/mod.rs:2: check is pure and names tokio",
            "src/check/mod.rs:3: check is pure and names std::env",
        ]
    );
    assert_eq!(violations("snapshot/store.rs", "use tokio::sync::watch;\n"), Vec::<String>::new());
    assert_eq!(violations("reload/mod.rs", "use std::fs;\n"), Vec::<String>::new());
}
