//! Patches, group by group.

use super::*;

const CLUSTER: &str = "\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster";

/// A cluster and patches of it.
fn patched(patches: &str) -> String {
    format!(
        "version: 1\nclusters:\n- {{name: a, type: STATIC, connect_timeout: 1s, metadata: {{filter_metadata: {{x: {{someKey: 1}}}}}}}}\npatches:\n{patches}\n"
    )
}

#[test]
fn a_patch_is_merged_field_by_field() {
    let text = patched(&format!(
        "- {{{CLUSTER}, name: a, merge: {{connectTimeout: 30s, type: null, metadata: {{filterMetadata: {{x: {{some_key: 2}}, y: {{}}}}}}, \
         common_lb_config: {{healthy_panic_threshold: {{value: 1}}, zone_aware_lb_config: null}}}}}}"
    ));
    assert_eq!(
        resource(&text),
        json!({
            "name": "a",
            "connect_timeout": "30s",
            "metadata": {"filter_metadata": {"x": {"someKey": 1, "some_key": 2}, "y": {}}},
            "common_lb_config": {"healthy_panic_threshold": {"value": 1}},
        })
    );
    let native = &natives(&text)[0];
    let timeout = native.node.entry("connect_timeout").unwrap();
    assert_eq!((native.node.span.line, timeout.key_span.line, timeout.value.span.line), (3, 5, 5));
}

#[test]
fn lists_are_replaced_and_any_is_looked_into() {
    let text = "version: 1\nlisteners:\n- {name: l, address: \"127.0.0.1:1\", routes: [{route: a}]}\npatches:\n\
                - {\"@type\": type.googleapis.com/envoy.config.route.v3.RouteConfiguration, name: l, merge: {virtual_hosts: []}}\n\
                - {\"@type\": type.googleapis.com/envoy.config.listener.v3.Listener, name: l, merge: {api_listener: {apiListener: {\
                \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, statPrefix: x}}}}\n";
    let all = resources(text);
    assert_eq!(all["RDS l"], json!({"name": "l", "virtual_hosts": []}));
    assert_eq!(all["LDS l"]["api_listener"]["apiListener"]["statPrefix"], "x");
}

#[test]
fn each_group_has_its_own_variant() {
    let definitions =
        "node_groups: [{name: one, match: {id: 1x}}, {name: two, match: {id: 2x}}, {name: three, match: {}}]";
    let text = format!(
        "version: 1\n{definitions}\nclusters: [{{name: a}}, {{name: b}}]\n---\nversion: 1\nnode_group: [two, three]\npatches:\n\
         - {{{CLUSTER}, name: a, merge: {{connect_timeout: 2s}}}}\n---\nversion: 1\nnode_group: three\npatches:\n\
         - {{{CLUSTER}, name: a, merge: {{dns_refresh_rate: 3s}}}}\n"
    );
    let made = natives(&text);
    let shown = made.iter().filter(|native| native.kind == Kind::Cluster).map(|native| {
        let get = |key: &str| native.node.get(key).and_then(Node::as_str).unwrap_or("-").to_owned();
        let groups: Vec<usize> = native.groups.iter().collect();
        (native.name.clone(), groups, get("connect_timeout"), get("dns_refresh_rate"))
    });
    let row = |name: &str, groups: &[usize], timeout: &str, rate: &str| {
        (name.to_owned(), groups.to_vec(), timeout.to_owned(), rate.to_owned())
    };
    assert_eq!(
        shown.collect::<Vec<_>>(),
        [
            row("a", &[0], "5s", "-"),
            row("a", &[1], "2s", "-"),
            row("a", &[2], "2s", "3s"),
            row("b", &[0, 1, 2], "5s", "-")
        ]
    );
}

#[test]
fn names_are_unique_within_each_group() {
    let definitions = "node_groups: [{name: one, match: {id: 1x}}, {name: two, match: {}}]";
    let text = |second: &str| {
        format!(
            "version: 1\n{definitions}\n---\nversion: 1\nnode_group: one\nclusters: [{{name: a}}]\n---\nversion: 1\n{second}\n\
             clusters: [{{name: a}}]\n"
        )
    };
    assert_eq!(findings(&text("node_group: two")), [""; 0]);
    for second in ["node_group: [two, one]", "x-all: groups"] {
        let found = findings(&text(second));
        assert!(found.iter().all(|finding| finding.contains("duplicate-resource")) && !found.is_empty(), "{found:?}");
    }
}

#[test]
fn patches_that_cannot_work_are_errors() {
    let patch = |rest: &str| patched(&format!("- {{{CLUSTER}, {rest}}}"));
    let table = [
        (
            patch("name: b, merge: {type: EDS}"),
            "t.yaml:5:72: error[patch-without-target]: there is no Cluster `b` to patch",
        ),
        (
            patch("merge: {type: EDS}"),
            "t.yaml:5:3: error[missing-name]: a patch must name the resource that it changes",
        ),
        (
            patch("name: [a], merge: {type: EDS}"),
            "t.yaml:5:72: error[wrong-type]: the name of a resource is expected here, not a list",
        ),
        (patch("name: a"), "t.yaml:5:3: error[wrong-type]: `merge` must be a mapping with what the patch changes"),
        (
            patch("name: a, merge: []"),
            "t.yaml:5:82: error[wrong-type]: `merge` must be a mapping with what the patch changes, not a list",
        ),
        (
            patch("name: a, merge: {name: b}"),
            "t.yaml:5:83: error[renaming-patch]: a patch cannot change `name`: it is what the resource is known by",
        ),
        (
            patch("name: a, megre: {type: EDS}, merge: {type: EDS}"),
            "t.yaml:5:75: error[unknown-key]: a patch has no `megre`",
        ),
        (
            patched("- {name: a, merge: {type: EDS}}"),
            "t.yaml:5:3: error[missing-type]: a patch must say what type of resource it changes",
        ),
        (
            patched(&format!(
                "- {{{CLUSTER}, name: a, merge: {{type: EDS}}}}\n- {{{CLUSTER}, name: a, merge: {{http_protocol_options: {{}}}}}}"
            )),
            "t.yaml:6:72: error[duplicate-patch]: this document patches the Cluster `a` twice",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(findings(&text), [expected], "{text}");
    }
}

#[test]
fn two_patches_of_one_value_name_both_places() {
    let two = |first: &str, second: &str| {
        let patches = format!(
            "- {{{CLUSTER}, name: a, merge: {first}}}\n---\nversion: 1\npatches:\n- {{{CLUSTER}, name: a, merge: {second}}}"
        );
        findings(&patched(&patches))
    };
    let clash = |value: &str| format!("error[conflicting-patches]: two patches of the Cluster `a` set `{value}`");
    let found = two("{connect_timeout: 2s}", "{lb_policy: RANDOM, connectTimeout: 2s}");
    assert_eq!(found, [format!("t.yaml:9:118: {}", clash("connect_timeout"))]);
    let found = two("{common_lb_config: null}", "{common_lb_config: {close_connections_on_host_set_change: true}}");
    assert!(
        found.len() == 1 && found[0].ends_with(&clash("common_lb_config.close_connections_on_host_set_change")),
        "{found:?}"
    );
    let apart = two(
        "{common_lb_config: {healthy_panic_threshold: {value: 1}}}",
        "{common_lb_config: {close_connections_on_host_set_change: true}}",
    );
    assert_eq!(apart, [""; 0]);
}

#[test]
fn what_a_patch_sets_is_read_strictly() {
    let text = patched(&format!("- {{{CLUSTER}, name: a, merge: {{connect_timeout: 250ms, nonsense: 1}}}}"));
    let found = compiled(&text);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().any(|finding| finding.contains("nonsense")), "{found:?}");
}
