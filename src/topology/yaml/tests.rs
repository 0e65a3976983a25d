use super::*;

/// The documents, or the first finding as `line:column code: message`.
fn outcome(text: &str) -> Result<Vec<Node>, String> {
    let mut findings = Findings::new();
    let documents = parse(FileId(0), text, &mut findings);
    match findings.as_slice() {
        [] => Ok(documents.unwrap()),
        [finding, ..] => {
            let span = finding.span.unwrap();
            Err(format!("{}:{} {}: {}", span.line, span.column, finding.code, finding.message))
        }
    }
}

fn tree(text: &str) -> Node {
    outcome(text).unwrap().into_iter().next().unwrap()
}

/// A node as `kind(text)`, without places.
fn show(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".into(),
        Value::Bool(value) => format!("bool({value})"),
        Value::Number(text) => format!("number({text})"),
        Value::String(text) => format!("string({text})"),
        Value::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => {
            let entry = |entry: &Entry| format!("{}: {}", entry.key, show(&entry.value));
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}

#[test]
fn scalars_are_what_yaml_1_2_says_and_numbers_keep_their_text() {
    let table = [
        ("8080", "number(8080)"),
        ("-1", "number(-1)"),
        ("1.10", "number(1.10)"),
        ("0755", "number(0755)"),
        ("1_000", "number(1_000)"),
        ("0x1F", "number(0x1F)"),
        ("1e3", "number(1e3)"),
        ("1e999", "number(1e999)"),
        (".inf", "number(.inf)"),
        ("12345678901234567890123", "number(12345678901234567890123)"),
        ("1.10   # a comment", "number(1.10)"),
        ("\"123\"", "string(123)"),
        ("'0.5'", "string(0.5)"),
        ("!!str 5", "string(5)"),
        ("!!int \"5\"", "number(5)"),
        ("true", "bool(true)"),
        ("False", "bool(false)"),
        ("yes", "string(yes)"),
        ("no", "string(no)"),
        ("on", "string(on)"),
        ("y", "string(y)"),
        ("~", "null"),
        ("null", "null"),
        ("", "null"),
        ("\"null\"", "string(null)"),
        ("1:30", "string(1:30)"),
        ("10.0.0.1", "string(10.0.0.1)"),
        ("1.2.3.4:80", "string(1.2.3.4:80)"),
        ("2024-01-01", "string(2024-01-01)"),
        ("|\n  a\n  b\n", "string(a\nb\n)"),
        (">-\n  a\n  b\n", "string(a b)"),
        ("\"caf\\u00e9 \\\"x\\\"\"", "string(café \"x\")"),
        ("\"{a}\"", "string({a})"),
    ];
    for (text, expected) in table {
        assert_eq!(show(&tree(&format!("k: {text}"))), format!("{{k: {expected}}}"), "{text}");
    }
}

#[test]
fn keys_are_text_however_they_look() {
    assert_eq!(
        show(&tree("1: a\ntrue: b\n1.0: c\n\"q\": d")),
        "{1: string(a), true: string(b), 1.0: string(c), q: string(d)}"
    );
}

#[test]
fn bom_crlf_and_document_markers_change_nothing() {
    let plain = tree("a: 1\nb: [x, y]\n");
    assert_eq!(tree("a: 1\r\nb: [x, y]\r\n"), plain);
    assert_eq!(show(&tree("---\na: 1\nb: [x, y]\n...\n")), show(&plain));
    assert_eq!(show(&tree("%YAML 1.2\n---\na: 1\nb: [x, y]\n")), show(&plain));
}

#[test]
fn empty_and_null_documents_are_left_out() {
    for (text, count) in
        [("", 0), ("# only a comment\n", 0), ("null", 0), ("~", 0), ("---\n---\n", 0), ("a: 1\n---\n# x\n", 1)]
    {
        assert_eq!(outcome(text).unwrap().len(), count, "{text:?}");
    }
    assert_eq!(outcome("a: 1\n---\nb: 2\n---\nc: 3\n").unwrap().len(), 3);
}

#[test]
fn places_count_characters_from_one() {
    let node = tree("é: {ü: 'x', y: 12}\nlist:\n- a\n- bc: d\n");
    let place = |node: &Node| (node.span.line, node.span.column, node.span.len);
    assert_eq!(place(&node), (1, 1, 1), "a block mapping is shown by its first key");
    let flow = node.get("é").unwrap();
    assert_eq!(place(flow.get("ü").unwrap()), (1, 8, 3));
    assert_eq!(place(flow.get("y").unwrap()), (1, 16, 2));
    assert_eq!(flow.entry("y").unwrap().key_span, Span { file: FileId(0), line: 1, column: 13, len: 1 });
    let list = node.get("list").unwrap().items().unwrap();
    assert_eq!(place(&list[0]), (3, 3, 1));
    assert_eq!(place(&list[1]), (4, 3, 2));
}

#[test]
fn an_alias_stands_where_it_is_used_and_its_contents_where_they_were_written() {
    let text = "x: &x {a: 1, b: [2]}\ny: {<<: *x, b: 3}\nz: *x\nn: &n name\nlist: [*n]\n*n : k\n";
    let node = tree(text);
    let place = |node: &Node| (node.span.line, node.span.column);
    let merged = node.get("y").unwrap();
    assert_eq!(show(merged), "{b: number(3), a: number(1)}");
    assert_eq!(place(merged.get("a").unwrap()), (1, 11));
    assert_eq!(merged.entry("a").unwrap().key_span.line, 1);
    let aliased = node.get("z").unwrap();
    assert_eq!(place(aliased), (3, 4));
    assert_eq!(place(aliased.get("b").unwrap()), (1, 17));
    assert_eq!(place(&node.get("list").unwrap().items().unwrap()[0]), (5, 8));
    assert_eq!(node.entry("name").unwrap().key_span.line, 6);
}

#[test]
fn merges_take_lists_and_the_first_one_wins() {
    let node = tree("a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc: {<<: [*a, *b], z: 3}\n");
    assert_eq!(show(node.get("c").unwrap()), "{z: number(3), x: number(1), y: number(2)}");
}

#[test]
fn mistakes_have_a_place_and_words() {
    let table = [
        ("a: [1, 2\nb: 3\n", "2:2 yaml-syntax: a `:` is not expected here"),
        ("a: \"x\nb: c\n", "1:4 yaml-syntax: this quote is never closed"),
        ("a: 'x\n", "1:4 yaml-syntax: this quote is never closed"),
        ("a: b: c\n", "1:5 yaml-syntax: a `:` is not expected here"),
        ("a\nb: c\n", "2:2 yaml-syntax: a `:` is not expected here"),
        ("a:\n\t- b\n", "2:2 yaml-syntax: a tab cannot indent"),
        ("é: [\n", "1:4 yaml-syntax: this `[` is never closed"),
        ("a: {b: c\n", "1:4 yaml-syntax: this `{` is never closed"),
        ("- a\nb: c\n", "2:1 yaml-syntax: this line stands among list items but does not start with `- `"),
        ("- a\n-b\n", "2:1 yaml-syntax: this line has no `:`"),
        ("a: [b, c] d\n", "1:11 yaml-syntax: a key is expected here"),
        ("a: @x\n", "1:4 yaml-syntax: this character cannot start a plain text"),
        ("a: \u{1b}[31m\n", "1:4 yaml-syntax: a control character is not allowed here"),
        ("a: \"\\q\"\n", "1:4 yaml-syntax: a double-quoted text has an unknown `\\` escape"),
        ("a: *x\n", "1:4 yaml-syntax: no `&anchor` of this name comes before this alias"),
        ("a: &a [*a]\n", "1:8 yaml-syntax: this alias stands inside what it refers to"),
        ("<<: 3\n", "1:5 yaml-syntax: `<<` takes a mapping or a list of mappings"),
        ("a: !secret b\n", "1:12 yaml-tag: the tag `!secret` has no meaning here"),
        ("? [a]\n: b\n", "1:3 yaml-syntax: a key must be a plain text"),
        ("~: 1\n", "1:1 yaml-syntax: a key must be a plain text"),
        ("a: 1\n---\nb: [\n", "3:4 yaml-syntax: this `[` is never closed"),
        ("a: &x 1\n---\nb: *x\n", "3:4 yaml-syntax: no `&anchor` of this name comes before this alias"),
        ("%YAML 9.9\n---\na: b\n", "1:1 yaml-syntax: this version of YAML is not supported"),
    ];
    for (text, expected) in table {
        assert_eq!(outcome(text).unwrap_err(), expected, "{text:?}");
    }
}

#[test]
fn every_duplicate_key_is_found_with_both_places() {
    let mut findings = Findings::new();
    let documents = parse(FileId(0), "a: 1\nb: {c: 1, c: 2}\na: 3\n\"a\": 4\n", &mut findings).unwrap();
    let places: Vec<_> =
        findings.as_slice().iter().map(|f| (f.code, f.span.unwrap().line, f.related[0].0.line)).collect();
    assert_eq!(places, [("duplicate-key", 2, 2), ("duplicate-key", 3, 1), ("duplicate-key", 4, 1)]);
    assert_eq!(show(&documents[0]), "{a: number(1), b: {c: number(1)}}");
}

#[test]
fn deep_nesting_is_an_error_and_the_deepest_allowed_tree_is_read() {
    let deep = "2:1 yaml-budget: lists and mappings are nested more than 64 deep";
    for unit in ["[", "- ", "{a: ", "? "] {
        let message = outcome(&unit.repeat(10_000)).unwrap_err();
        assert!(message.ends_with(deep.split_once(' ').unwrap().1), "{unit:?}: {message}");
    }
    for (open, close) in [("[", "]"), ("{a: ", "}")] {
        assert!(outcome(&format!("{}1{}", open.repeat(64), close.repeat(64))).is_ok());
        assert!(outcome(&format!("{}1{}", open.repeat(65), close.repeat(65))).is_err());
    }
}

#[test]
fn aliases_may_share_but_not_amplify() {
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let below = format!("*a{}", level - 1);
        laughs.push_str(
            &["a", &level.to_string(), ": &a", &level.to_string(), " [", &[below.as_str(); 10].join(", "), "]\n"]
                .concat(),
        );
    }
    assert!(outcome(&laughs).unwrap_err().contains("yaml-budget"), "billion laughs");

    // A tree that only aliases make deep.
    let level = |n: usize, inner: &str| format!("a{n}: &a{n} {}{inner}{}\n", "[".repeat(60), "]".repeat(60));
    let mut deep = level(0, "1");
    for n in 1..9 {
        deep += &level(n, &format!("*a{}", n - 1));
    }
    assert!(outcome(&deep).unwrap_err().contains("yaml-budget"), "nested aliases");

    let shared = format!("e: &e [{}]\n", vec!["10.0.0.1:80"; 20].join(", "));
    let many = (0..2_000).map(|n| format!("c{n}: *e")).collect::<Vec<_>>().join("\n");
    assert_eq!(tree(&(shared + &many)).entries().unwrap().len(), 2_001);
}
