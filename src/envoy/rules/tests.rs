use super::unsupported;
use crate::envoy::Schema;
use crate::envoy::testing::compiled;

const CLUSTER: &str = "envoy.config.cluster.v3.Cluster";

#[test]
fn every_rule_of_the_embedded_set_is_supported() {
    assert_eq!(unsupported(&Schema::embedded()), Vec::<String>::new());
}

#[test]
fn a_bad_cluster_is_told_everything_at_once() {
    let text = r#"{
        nmae: x, conect_timeout: 5s, connect_timeout: 250ms, lb_policy: round_robin,
        transport_socket: {name: t, typed_config: {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContex"}},
        health_checks: [{timeout: 1s, interval: 1s, tcp_health_check: {}, healthy_threshold: 1}],
        load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: a, port_value: 70000}}}}]}]}
    }"#;
    let (_, told) = compiled(CLUSTER, text);
    let expected = [
        "unknown-field @nmae nmae: unknown field `nmae` in envoy.config.cluster.v3.Cluster",
        "unknown-field @conect_timeout conect_timeout: unknown field `conect_timeout` in envoy.config.cluster.v3.Cluster",
        "duration @250ms connect_timeout: `250ms`: not a duration",
        "enum-case @round_robin lb_policy: `round_robin` should be written `ROUND_ROBIN`",
        "any-type @\"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContex\" \
         transport_socket.typed_config.@type: \
         unknown message type `envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContex`",
        "required @{timeout: 1s, interval: 1s, tcp_health_check: {}, healthy_threshold: 1} \
         health_checks[0].unhealthy_threshold: `unhealthy_threshold` is required",
        "invalid-value @70000 \
         load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.port_value: \
         must be at most 65535, not 70000",
    ];
    assert_eq!(told, expected);
}
