use std::sync::Arc;

use super::*;
use crate::diagnostic::{Level, Report};

fn document(name: &str, bytes: impl AsRef<[u8]>) -> Document {
    Document { name: name.into(), bytes: bytes.as_ref().into() }
}

/// The paths of all items and the findings as text, one line each.
fn outcome(documents: &[Document]) -> (Vec<String>, Vec<String>) {
    let (mut files, mut findings) = (Files::new(), Findings::new());
    let topology = parse(documents, &mut files, &mut findings);
    let report = Report::new(findings, Arc::new(files));
    let line = |finding: &Finding| report.render(finding).lines().next().unwrap().to_owned();
    assert!(report.count(Level::Error) == report.findings().len());
    (topology.items.into_iter().map(|item| item.path).collect(), report.findings().iter().map(line).collect())
}

fn findings(text: &str) -> Vec<String> {
    outcome(&[document("t.yaml", text)]).1
}

#[test]
fn all_documents_of_all_files_are_one_union() {
    let one = "version: 1\nclusters: [{name: a}]\nx-anything: {no: matter}\n---\nversion: 1\nclusters: [{name: b}, {name: c}]\n";
    let two = "version: 1\nlisteners: [{name: l}]\nresources:\n- {\"@type\": t}\n---\n";
    let (items, findings) = outcome(&[document("1.yaml", one), document("2.yaml", two)]);
    assert_eq!(items, ["clusters[0]", "clusters[0]", "clusters[1]", "listeners[0]", "resources[0]"]);
    assert_eq!(findings, [""; 0]);
}

#[test]
fn every_section_has_its_kind() {
    let text = "version: 1\nlisteners: [{}]\nroute_configs: [{}]\nclusters: [{}]\nload_assignments: [{}]\nsecrets: [{}]\n\
                runtimes: [{}]\nextension_configs: [{}]\nresources: [{}]\n";
    let topology = parse(&[document("t.yaml", text)], &mut Files::new(), &mut Findings::new());
    let kinds: Vec<_> = topology.items.iter().map(|item| item.kind).collect();
    let kind = |kind| Some(kind);
    assert_eq!(
        kinds,
        [
            kind(Kind::Listener),
            kind(Kind::Route),
            kind(Kind::Cluster),
            kind(Kind::Endpoint),
            kind(Kind::Secret),
            kind(Kind::Runtime),
            kind(Kind::ExtensionConfig),
            None
        ]
    );
    assert_eq!(section_of(Kind::Cluster), "clusters");
    assert_eq!(section_of(Kind::ScopedRoute), "resources");
}

#[test]
fn nothing_is_never_taken_for_remove_everything() {
    for text in ["", "# a comment\n", "null\n", "---\n"] {
        assert_eq!(findings(text), ["t.yaml:1:1: error[empty-topology]: this file is empty"], "{text:?}");
    }
    let no_section = ["t.yaml:1:1: error[empty-topology]: no section says what there is to serve"];
    for text in ["version: 1\n", "version: 1\nclusters:\n", "version: 1\nx-a: 1\nstatic_resources: {clusters: [a]}\n"] {
        assert_eq!(findings(text), no_section, "{text:?}");
    }
    assert_eq!(outcome(&[]).1, ["error[empty-topology]: no section says what there is to serve"]);
    assert_eq!(findings("version: 1\nlisteners: []\n"), [""; 0]);
    let full = "version: 1\nclusters: []\n";
    let (_, beside) = outcome(&[document("a.yaml", full), document("b.yaml", "")]);
    assert_eq!(beside, ["b.yaml:1:1: error[empty-topology]: this file is empty"]);
}

#[test]
fn each_document_states_its_version() {
    let table = [
        (
            "clusters: []\n",
            "t.yaml:1:1: error[missing-version]: this document does not say which version of the language it is written in",
        ),
        (
            "version:\nclusters: []\n",
            "t.yaml:1:1: error[missing-version]: this document does not say which version of the language it is written in",
        ),
        (
            "version: 2\nclusters: []\n",
            "t.yaml:1:10: error[unsupported-version]: version 2 of the language is not known",
        ),
        (
            "version: 1.0\nclusters: []\n",
            "t.yaml:1:10: error[unsupported-version]: version 1.0 of the language is not known",
        ),
        (
            "version: \"1\"\nclusters: []\n",
            "t.yaml:1:10: error[unsupported-version]: `version` must be the number 1, not a string",
        ),
        (
            "version: 1\nclusters: []\n---\nclusters: []\n",
            "t.yaml:4:1: error[missing-version]: this document does not say which version of the language it is written in",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(findings(text), [expected], "{text:?}");
    }
}

#[test]
fn mistakes_in_the_outline_have_a_place_and_a_hint() {
    let table = [
        ("version: 1\nlistener: []\n", "t.yaml:2:1: error[unknown-key]: there is no section `listener`"),
        (
            "version: 1\nclusters: {name: a}\n",
            "t.yaml:2:11: error[wrong-type]: `clusters` must be a list of mappings, not a mapping",
        ),
        (
            "version: 1\nclusters: [a]\n",
            "t.yaml:2:12: error[wrong-type]: an item of `clusters` must be a mapping, not a string",
        ),
        (
            "version: 1\nclusters: []\nstatic_resources: [a]\n",
            "t.yaml:3:19: error[wrong-type]: `static_resources` must be a mapping of lists of names, not a list",
        ),
        (
            "version: 1\nclusters: []\nstatic_resources: {routes: [a]}\n",
            "t.yaml:3:20: error[unknown-key]: `routes` cannot be named here",
        ),
        (
            "version: 1\nclusters: []\nstatic_resources: {clusters: [{name: a}]}\n",
            "t.yaml:3:31: error[wrong-type]: a name is expected here, not a mapping",
        ),
        (
            "version: 1\nclusters: []\nstatic_resources: {clusters: a}\n",
            "t.yaml:3:30: error[wrong-type]: `static_resources.clusters` must be a list of names, not a string",
        ),
        (
            "- version: 1\n",
            "t.yaml:1:1: error[wrong-type]: a topology is a mapping with `version: 1` and sections, not a list",
        ),
        (
            "version: 1\nclusters: []\nclusters: []\n",
            "t.yaml:3:1: error[duplicate-key]: the key `clusters` is given twice in one mapping",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(findings(text), [expected], "{text:?}");
    }
    let mut found = Findings::new();
    parse(&[document("t.yaml", "version: 1\nlistener: []\n")], &mut Files::new(), &mut found);
    assert_eq!(found.as_slice()[0].help.as_deref(), Some("did you mean `listeners`?"));
}

#[test]
fn bytes_that_are_not_utf8_are_pointed_at() {
    let (_, findings) = outcome(&[document("t.yaml", b"version: 1\nclusters: [{name: \xc3\xa9\xff}]\n")]);
    assert_eq!(
        findings,
        ["t.yaml:2:20: error[not-utf8]: this file is not UTF-8: the byte 0xff stands for no character"]
    );
    let (_, findings) = outcome(&[document("t.yaml", b"\xff\xfev\0")]);
    assert_eq!(
        findings,
        ["t.yaml:1:1: error[not-utf8]: this file is not UTF-8: the byte 0xff stands for no character"]
    );
}

#[test]
fn a_byte_order_mark_moves_no_column() {
    let (_, findings) = outcome(&[document("t.yaml", "\u{feff}vresion: 1\nversion: 1\nclusters: []\n")]);
    assert_eq!(findings, ["t.yaml:1:1: error[unknown-key]: there is no section `vresion`"]);
}

#[test]
fn names_of_static_resources_are_joined() {
    let text = "version: 1\nclusters: []\nstatic_resources: {clusters: [a], secrets: [s]}\n---\nversion: 1\nstatic_resources: {clusters: [b]}\n";
    let topology = parse(&[document("t.yaml", text)], &mut Files::new(), &mut Findings::new());
    assert_eq!(topology.static_resources.clusters, ["a", "b"]);
    assert_eq!(topology.static_resources.secrets, ["s"]);
}

/// The text of two groups, with something to be said of them.
fn groups(definitions: &str) -> String {
    format!("version: 1\nclusters: []\nnode_groups:\n{definitions}\n")
}

#[test]
fn a_document_is_for_the_groups_it_names() {
    let text = "version: 1\nnode_group: [two, one]\nclusters: [{name: b}]\nstatic_resources: {clusters: [s]}\n---\n\
                version: 1\nclusters: [{name: a}]\nstatic_resources: {clusters: [t]}\n---\n\
                version: 1\nnode_group: three\npatches: [{}]\n";
    let definitions = "version: 1\nnode_groups: [{name: one, match: {id: 1x}}, {name: two, match: {id: 2x}}, {name: three, match: {}}]\n";
    let (mut files, mut findings) = (Files::new(), Findings::new());
    let documents = [document("a.yaml", text), document("b.yaml", definitions)];
    let topology = parse(&documents, &mut files, &mut findings);
    assert!(findings.is_empty(), "{findings:?}");
    let of = |groups: &Membership| groups.iter().map(|group| &*topology.node_groups[group].name).collect::<Vec<_>>();
    let items: Vec<_> = topology.items.iter().map(|item| of(&item.groups)).collect();
    assert_eq!(items, [vec!["one", "two"], vec!["one", "two", "three"]]);
    assert_eq!(of(&topology.patches[0].groups), ["three"]);
    let statics: Vec<_> = topology.node_groups.iter().map(|group| group.static_resources.clusters.join(",")).collect();
    assert_eq!(statics, ["s,t", "s,t", "t"]);
    assert_eq!(topology.static_resources.clusters, ["s", "t"]);
}

#[test]
fn without_definitions_there_is_one_group() {
    let text = "version: 1\nnode_group: default\nclusters: [{name: a}]\n";
    assert_eq!(findings(text), [""; 0]);
    let other = "version: 1\nnode_group: defualt\nclusters: []\n";
    assert_eq!(findings(other), ["t.yaml:2:13: error[unknown-node-group]: there is no node group `defualt`"]);
}

fn selectors(text: &str) -> Selectors {
    let (mut files, mut findings) = (Files::new(), Findings::new());
    let topology = parse(&[document("t.yaml", text)], &mut files, &mut findings);
    assert!(!findings.has_errors(), "{text}: {findings:?}");
    topology.node_groups.iter().map(|group| (Arc::clone(&group.name), group.selector.clone())).collect()
}

#[test]
fn the_first_group_that_matches_takes_a_node() {
    let all = selectors(&groups(
        "- {name: eu, match: {locality: {region: {prefix: eu-}, zone: b}}}\n\
         - {name: shard, match: {metadata: {shard: 1, labels: {tier: [a, true]}}}}\n\
         - name: either\n  match: [{id: {safe_regex: 'x[0-9]+'}}, {user_agent_name: {exact: GRPC, ignore_case: true}}]\n\
         - {name: both, match: {id: {suffix: '-1'}, cluster: {contains: mid}}}",
    ));
    let node = |change: &dyn Fn(&mut NodeFields)| {
        let mut node = NodeFields::default();
        change(&mut node);
        all.choose(&node).map(ToString::to_string).unwrap_or_default()
    };
    let json = |text: &str| serde_json::from_str(text).unwrap();
    assert_eq!(node(&|_| ()), "");
    assert_eq!(node(&|node| (node.region, node.zone) = ("eu-1".into(), "b".into())), "eu");
    assert_eq!(node(&|node| node.region = "eu-1".into()), "");
    let full = r#"{"shard": 1.0, "more": {}, "labels": {"tier": ["a", true], "x": 0.5}}"#;
    assert_eq!(node(&|node| node.metadata = json(full)), "shard");
    assert_eq!(node(&|node| node.metadata = json(r#"{"shard": "1", "labels": {"tier": ["a", true]}}"#)), "");
    assert_eq!(node(&|node| node.metadata = json(r#"{"shard": 1.0, "labels": {"tier": ["a"]}}"#)), "");
    assert_eq!(node(&|node| node.metadata = json(r#"{"shard": 1.0, "labels": "tier"}"#)), "");
    assert_eq!(node(&|node| node.id = "x12".into()), "either");
    assert_eq!(node(&|node| node.id = "x12y".into()), "");
    assert_eq!(node(&|node| node.user_agent_name = "grpc".into()), "either");
    assert_eq!(node(&|node| (node.id, node.cluster) = ("x-1".into(), "a-mid-b".into())), "both");
    assert_eq!(node(&|node| (node.id, node.cluster) = ("x1".into(), "a-mid-b".into())), "either");
}

#[test]
fn definitions_can_be_written_down_again() {
    let text = groups(
        "- {name: a, match: [{id: {prefix: x, ignore_case: true}, locality: {sub_zone: s}}, {cluster: {safe_regex: {regex: 'a+'}}}]}\n\
         - {name: b, match: {metadata: {a: {b: [1, {c: false}]}}, user_agent_name: ''}}\n- {name: c, match: {}}",
    );
    let all = selectors(&text);
    let again = format!("version: 1\nclusters: []\nnode_groups: {}\n", all.to_json());
    assert_eq!(selectors(&again), all, "{again}");
    assert_eq!(Selectors::parse(&all.to_json().to_string()), Some(all.clone()));
    assert_eq!(Selectors::parse("[{\"name\": \"c\"}]\nclusters: x"), None);
    assert_ne!(selectors(&groups("- {name: c, match: {}}")), all);
}

#[test]
fn groups_without_nodes_are_mistakes() {
    let table = [
        ("{cluster: a}", "{cluster: a}", true),
        ("{cluster: a}", "{cluster: a, id: b}", true),
        ("{cluster: a, id: b}", "{cluster: a}", false),
        ("{}", "{cluster: a}", true),
        ("{id: {prefix: e}}", "[{id: edge}, {id: {prefix: ed}, cluster: x}]", true),
        ("{id: {prefix: e}}", "[{id: edge}, {id: {suffix: e}}]", false),
        ("[{id: a}, {id: b}]", "[{id: b}, {id: a}]", true),
        ("{metadata: {a: {b: 1}}}", "{metadata: {a: {b: 1, c: 2}}}", true),
        ("{metadata: {a: {b: 1}}}", "{metadata: {a: {b: 2}}}", false),
        ("{id: {safe_regex: 'e.*'}}", "{id: edge}", true),
        ("{id: {safe_regex: 'e.*'}}", "{id: {prefix: e}}", false),
    ];
    for (first, second, unreachable) in table {
        let text = groups(&format!(
            "- {{name: one, match: {first}}}\n- {{name: two, match: {second}}}\n- {{name: x, match: {{}}}}"
        ));
        let (mut files, mut found) = (Files::new(), Findings::new());
        parse(&[document("t.yaml", &text)], &mut files, &mut found);
        let of_two = found.as_slice().iter().filter(|finding| finding.span.unwrap().line == 5);
        let codes: Vec<_> = of_two.map(|finding| finding.code).collect();
        assert_eq!(codes == ["unreachable-node-group"], unreachable, "{text}: {found:?}");
    }
}

#[test]
fn a_list_without_a_catch_all_is_warned_of() {
    let warned = |text: &str| {
        let (mut files, mut found) = (Files::new(), Findings::new());
        parse(&[document("t.yaml", text)], &mut files, &mut found);
        found.as_slice().iter().map(|finding| (finding.level, finding.code)).collect::<Vec<_>>()
    };
    assert_eq!(warned(&groups("- {name: a, match: {id: a}}")), [(Level::Warning, "no-catch-all")]);
    assert_eq!(warned(&groups("- {name: a, match: [{id: a}, {}]}")), []);
}

#[test]
fn mistakes_in_node_groups_have_a_place() {
    let table = [
        (
            "- {name: a, match: {}}\n- {name: a, match: {id: x}}",
            "t.yaml:5:10: error[duplicate-node-group]: the node group `a` is defined twice",
        ),
        ("- {match: {}}", "t.yaml:4:3: error[missing-name]: this node group has no `name`"),
        ("- {name: a}", "t.yaml:4:3: error[missing-match]: this node group does not say which nodes it matches"),
        ("- {name: 1, match: {}}", "t.yaml:4:10: error[wrong-type]: a name is expected here, not a number"),
        ("- a", "t.yaml:4:3: error[wrong-type]: a node group is a mapping, not a string"),
        ("- {name: a, match: {}, mtach: {}}", "t.yaml:4:24: error[unknown-key]: a node group has no `mtach`"),
        ("- {name: a, match: []}", "t.yaml:4:20: error[wrong-type]: an empty list of matches takes no node"),
        (
            "- {name: a, match: edge}",
            "t.yaml:4:20: error[wrong-type]: a match is a mapping of fields of a node, not a string",
        ),
        ("- {name: a, match: {region: x}}", "t.yaml:4:21: error[unknown-key]: a match has no `region`"),
        (
            "- {name: a, match: {locality: {}}}",
            "t.yaml:4:31: error[wrong-type]: a mapping with `region`, `zone` and `sub_zone` is expected here",
        ),
        (
            "- {name: a, match: {id: 1}}",
            "t.yaml:4:25: error[wrong-type]: a string or a mapping such as `{prefix: edge-}` is expected here, not a number",
        ),
        (
            "- {name: a, match: {id: {}}}",
            "t.yaml:4:25: error[wrong-type]: one of `exact`, `prefix`, `suffix`, `contains` and `safe_regex` is expected here",
        ),
        ("- {name: a, match: {id: {prefix: ''}}}", "t.yaml:4:34: error[wrong-type]: an empty `prefix` says nothing"),
        (
            "- {name: a, match: {id: {prefix: a, suffix: b}}}",
            "t.yaml:4:37: error[wrong-type]: `suffix` is given besides another form",
        ),
        (
            "- {name: a, match: {id: {safe_regex: '(a'}}}",
            "t.yaml:4:38: error[bad-regex]: `(a` is not a regular expression of RE2's: unclosed group",
        ),
        (
            "- {name: a, match: {id: {safe_regex: a, ignore_case: true}}}",
            "t.yaml:4:41: error[wrong-type]: `ignore_case` has no effect on a regular expression",
        ),
        ("- {name: a, match: {id: {prefxi: a}}}", "t.yaml:4:26: error[unknown-key]: a string matcher has no `prefxi`"),
        (
            "- {name: a, match: {metadata: {}}}",
            "t.yaml:4:31: error[wrong-type]: a mapping of metadata to look for is expected here, not an empty one",
        ),
        (
            "- {name: a, match: {metadata: {a: null}}}",
            "t.yaml:4:35: error[wrong-type]: metadata cannot be matched with null",
        ),
    ];
    for (definitions, expected) in table {
        assert_eq!(findings(&groups(definitions)), [expected], "{definitions}");
    }
    assert_eq!(
        findings("version: 1\nclusters: []\nnode_groups: []\n"),
        ["t.yaml:3:14: error[wrong-type]: `node_groups` must be a list of groups, not an empty one"]
    );
    let some = "- {name: a, match: {}}";
    let twice = groups(some) + "---\n" + &groups("- {name: b, match: {id: x}}");
    let expected = "t.yaml:8:1: error[node-groups-twice]: node groups are defined in more than one document";
    assert_eq!(findings(&twice), [expected]);
    let table = [
        (
            "node_group:",
            "t.yaml:7:11: error[wrong-type]: `node_group` must be the name of a node group or a list of names, not null",
        ),
        (
            "node_group: []",
            "t.yaml:7:13: error[wrong-type]: `node_group` must be the name of a node group or a list of names, not an empty list",
        ),
        ("node_group: [b]", "t.yaml:7:14: error[unknown-node-group]: there is no node group `b`"),
        ("node_group: [1]", "t.yaml:7:14: error[wrong-type]: the name of a node group is expected here, not a number"),
    ];
    for (key, expected) in table {
        assert_eq!(findings(&format!("{}---\nversion: 1\n{key}\n", groups(some))), [expected], "{key}");
    }
}

#[test]
fn what_is_no_text_is_told_in_its_own_file() {
    let (mut files, mut found) = (Files::new(), Findings::new());
    assert!(trees(&document("good.yaml", "a: 1\n"), &mut files, &mut found).is_some());
    let latin1 = Document { name: "latin1.yaml".into(), bytes: Arc::from(&b"a: \xe9\n"[..]) };
    assert!(trees(&latin1, &mut files, &mut found).is_none());
    let report = Report::new(found, Arc::new(files));
    let [finding] = report.findings() else { panic!("{report:?}") };
    assert!(report.render(finding).starts_with("latin1.yaml:1:4: error[not-utf8]"), "{}", report.render(finding));
}
