//! `chancery bootstrap`: what an Envoy or a gRPC client needs to join.

use std::fmt;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::str::FromStr;

use clap::builder::FalseyValueParser;
use serde_json::{Value, json};

use super::yaml;

/// Print the bootstrap with which an Envoy or a gRPC client joins this control plane.
///
/// Envoy's is YAML for `envoy -c`; that of a gRPC client (`--grpc`) is JSON for the file that `GRPC_XDS_BOOTSTRAP` names.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Bootstrap {
    /// Node id, unique among the clients.
    #[arg(long, env = "CHANCERY_ID", value_parser = parse_name)]
    id: String,
    /// Node cluster: the service that the client belongs to.
    #[arg(long, env = "CHANCERY_CLUSTER", value_parser = parse_name)]
    cluster: String,
    /// Where the client finds Chancery: HOST:PORT or unix:PATH.
    #[arg(long, env = "CHANCERY_XDS", value_name = "HOST:PORT")]
    xds: Target,
    // Without a variable of its own: CHANCERY_ADMIN is the address of Chancery's admin port.
    /// Address of Envoy's admin interface.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:19000", conflicts_with = "grpc")]
    admin: SocketAddr,
    /// State of the world instead of the delta protocol.
    #[arg(long, env = "CHANCERY_SOTW", value_parser = FalseyValueParser::new(), conflicts_with = "grpc")]
    sotw: bool,
    /// Have Envoy report its requests, cluster by cluster: `/status` and `/metrics` then show them.
    #[arg(long, env = "CHANCERY_LOAD_STATS", value_parser = FalseyValueParser::new(), conflicts_with = "grpc")]
    load_stats: bool,
    /// For a gRPC client instead of an Envoy.
    #[arg(long, env = "CHANCERY_GRPC", value_parser = FalseyValueParser::new())]
    grpc: bool,
}

/// Where a client connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    /// A name that DNS resolves.
    Name(String, u16),
    Ip(SocketAddr),
    Unix(String),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path {
                "" => Err("`unix:` needs the path of a socket, such as unix:/run/chancery/xds.sock".to_owned()),
                path => parse_name(path).map(Self::Unix),
            };
        }
        if text.contains("://") {
            return Err("expected HOST:PORT without a scheme, such as chancery:18000".to_owned());
        }
        if let Ok(addr) = text.parse::<SocketAddr>() {
            return Ok(Self::Ip(addr));
        }
        let (host, port) =
            text.rsplit_once(':').ok_or("expected HOST:PORT, such as chancery:18000; the port is missing")?;
        let port = port.parse().map_err(|_| format!("`{port}` is not a port: expected a number up to 65535"))?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if host.contains(':') {
            return Err(format!("an IPv6 address needs brackets: [{host}]:{port}"));
        }
        if host.is_empty() || !host.chars().all(allowed) {
            return Err(format!("`{host}` is not a host name or an IP address"));
        }
        Ok(Self::Name(host.to_owned(), port))
    }
}

/// As gRPC writes targets.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(host, port) => write!(f, "{host}:{port}"),
            Self::Ip(addr) => write!(f, "{addr}"),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

fn parse_name(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("it must not be empty".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("it must not contain control characters".to_owned());
    }
    Ok(text.to_owned())
}

impl Bootstrap {
    /// Prints the bootstrap on standard output.
    ///
    /// # Errors
    /// If standard output is closed.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let text = if self.grpc { self.for_grpc() } else { self.for_envoy() };
        std::io::stdout().lock().write_all(text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }

    fn for_grpc(&self) -> String {
        let Self { id, cluster, xds, .. } = self;
        let bootstrap = json!({
            "xds_servers": [{
                "server_uri": xds.to_string(),
                "channel_creds": [{"type": "insecure"}],
                "server_features": ["xds_v3"],
            }],
            "node": {"id": id, "cluster": cluster},
            "server_listener_resource_name_template": "grpc/server?xds.resource.listening_address=%s",
        });
        format!("{bootstrap:#}\n")
    }

    fn for_envoy(&self) -> String {
        let Self { id, cluster, admin, sotw, load_stats, .. } = self;
        let grpc_services = json!([{"envoy_grpc": {"cluster_name": "xds_cluster"}}]);
        let mut sections = vec![
            ("", json!({"node": {"id": id, "cluster": cluster}})),
            (
                "One stream for everything (ADS) lets Chancery order a change: clusters and endpoints before the routes that\n\
                 use them. The node is sent once per stream instead of with every acknowledgement (about 60 kB each time).\n\
                 An initial_fetch_timeout of 0s keeps Envoy from reporting itself ready, and from being sent traffic, before\n\
                 it has been given its configuration; the default of 15s would let it start empty.",
                json!({"dynamic_resources": {
                    "ads_config": {
                        "api_type": if *sotw { "GRPC" } else { "DELTA_GRPC" },
                        "transport_api_version": "V3",
                        "set_node_on_first_message_only": true,
                        "grpc_services": grpc_services,
                    },
                    "cds_config": {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"},
                    "lds_config": {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"},
                }}),
            ),
            (
                "The keepalive finds connections that died silently; without it they would look healthy and bring no more edits.",
                json!({"static_resources": {"clusters": [self.xds_cluster()]}}),
            ),
        ];
        if *load_stats {
            sections.push((
                "How many requests went to each cluster, reported every 10 seconds on a stream of its own (LRS).",
                json!({"cluster_manager": {"load_stats_config": {
                    "api_type": "GRPC",
                    "transport_api_version": "V3",
                    "grpc_services": grpc_services,
                }}}),
            ));
        }
        sections.push(("", json!({"admin": {"address": socket_address(&admin.ip().to_string(), admin.port())}})));
        let mut out = String::new();
        for (comment, section) in sections {
            if !out.is_empty() {
                out.push('\n');
            }
            if !comment.is_empty() {
                out.push_str(&yaml::comment(comment));
            }
            out.push_str(&yaml::to_string(&section));
        }
        out
    }

    fn xds_cluster(&self) -> Value {
        let mut cluster = json!({"name": "xds_cluster"});
        let address = match &self.xds {
            Target::Name(host, port) => {
                cluster["type"] = "STRICT_DNS".into();
                // Names that resolve to both families often have a server on one of them only.
                cluster["dns_lookup_family"] = "V4_PREFERRED".into();
                socket_address(host, *port)
            }
            Target::Ip(addr) => {
                cluster["type"] = "STATIC".into();
                socket_address(&IpAddr::to_string(&addr.ip()), addr.port())
            }
            Target::Unix(path) => {
                cluster["type"] = "STATIC".into();
                json!({"pipe": {"path": path}})
            }
        };
        cluster["connect_timeout"] = "5s".into();
        cluster["typed_extension_protocol_options"] = json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {
                    "http2_protocol_options": {"connection_keepalive": {"interval": "30s", "timeout": "5s"}},
                },
            },
        });
        cluster["load_assignment"] = json!({
            "cluster_name": "xds_cluster",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        });
        cluster
    }
}

pub(super) fn socket_address(address: &str, port: u16) -> Value {
    json!({"socket_address": {"address": address, "port_value": port}})
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        bootstrap: Bootstrap,
    }

    fn bootstrap(args: &[&str]) -> Bootstrap {
        let args = ["bootstrap", "--id", "node-1", "--cluster", "edge"].iter().chain(args);
        Command::try_parse_from(args).unwrap_or_else(|error| panic!("{error}")).bootstrap
    }

    #[test]
    fn targets() {
        let parse = |text: &str| text.parse::<Target>();
        assert_eq!(parse("chancery:18000"), Ok(Target::Name("chancery".into(), 18000)));
        assert_eq!(parse("127.0.0.1:1"), Ok(Target::Ip("127.0.0.1:1".parse().unwrap())));
        assert_eq!(parse("[::1]:1"), Ok(Target::Ip("[::1]:1".parse().unwrap())));
        assert_eq!(parse("unix:/run/xds.sock"), Ok(Target::Unix("/run/xds.sock".into())));
        assert_eq!(parse("unix:///run/xds.sock"), Ok(Target::Unix("/run/xds.sock".into())));
        assert_eq!(parse("unix:xds.sock"), Ok(Target::Unix("xds.sock".into())));
        for wrong in [
            "",
            "chancery",
            "chancery:",
            "chancery:x",
            "chancery:65536",
            ":1",
            "::1:1",
            "http://c:1",
            "a b:1",
            "unix:",
            "unix:a\nb",
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn for_envoy() {
        let expected = r#"node:
  id: node-1
  cluster: edge

# One stream for everything (ADS) lets Chancery order a change: clusters and endpoints before the routes that
# use them. The node is sent once per stream instead of with every acknowledgement (about 60 kB each time).
# An initial_fetch_timeout of 0s keeps Envoy from reporting itself ready, and from being sent traffic, before
# it has been given its configuration; the default of 15s would let it start empty.
dynamic_resources:
  ads_config:
    api_type: DELTA_GRPC
    transport_api_version: V3
    set_node_on_first_message_only: true
    grpc_services:
    - envoy_grpc:
        cluster_name: xds_cluster
  cds_config:
    ads: {}
    resource_api_version: V3
    initial_fetch_timeout: 0s
  lds_config:
    ads: {}
    resource_api_version: V3
    initial_fetch_timeout: 0s

# The keepalive finds connections that died silently; without it they would look healthy and bring no more edits.
static_resources:
  clusters:
  - name: xds_cluster
    type: STRICT_DNS
    dns_lookup_family: V4_PREFERRED
    connect_timeout: 5s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config:
          http2_protocol_options:
            connection_keepalive:
              interval: 30s
              timeout: 5s
    load_assignment:
      cluster_name: xds_cluster
      endpoints:
      - lb_endpoints:
        - endpoint:
            address:
              socket_address:
                address: chancery
                port_value: 18000

admin:
  address:
    socket_address:
      address: 127.0.0.1
      port_value: 19000
"#;
        assert_eq!(bootstrap(&["--xds", "chancery:18000"]).for_envoy(), expected);
    }

    #[test]
    fn variants() {
        let text = bootstrap(&["--xds", "[::1]:18000", "--sotw", "--admin", "127.0.0.1:0"]).for_envoy();
        let value: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(value["dynamic_resources"]["ads_config"]["api_type"], "GRPC");
        let cluster = &value["static_resources"]["clusters"][0];
        assert_eq!(cluster["type"], "STATIC");
        let endpoint = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
        assert_eq!(endpoint["address"], socket_address("::1", 18000));
        assert_eq!(value["admin"]["address"], socket_address("127.0.0.1", 0));

        assert!(value.get("cluster_manager").is_none());

        let text = bootstrap(&["--xds", "unix:/run/xds.sock", "--load-stats"]).for_envoy();
        let value: Value = serde_saphyr::from_str(&text).unwrap();
        let cluster = &value["static_resources"]["clusters"][0];
        assert_eq!(cluster["type"], "STATIC");
        let endpoint = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
        assert_eq!(endpoint["address"]["pipe"]["path"], "/run/xds.sock");
        let service = &value["cluster_manager"]["load_stats_config"]["grpc_services"][0]["envoy_grpc"];
        assert_eq!(service["cluster_name"], "xds_cluster");
    }

    #[test]
    fn for_grpc() {
        let expected = r#"{
  "xds_servers": [
    {
      "server_uri": "unix:/run/xds.sock",
      "channel_creds": [
        {
          "type": "insecure"
        }
      ],
      "server_features": [
        "xds_v3"
      ]
    }
  ],
  "node": {
    "id": "node-1",
    "cluster": "edge"
  },
  "server_listener_resource_name_template": "grpc/server?xds.resource.listening_address=%s"
}
"#;
        assert_eq!(bootstrap(&["--grpc", "--xds", "unix:/run/xds.sock"]).for_grpc(), expected);
    }

    #[test]
    fn flags_of_the_other_client_are_refused() {
        for flag in [&["--sotw"][..], &["--load-stats"], &["--admin", "127.0.0.1:1"]] {
            let args = ["b", "--id", "a", "--cluster", "b", "--xds", "c:1", "--grpc"].iter().chain(flag);
            assert!(Command::try_parse_from(args).is_err(), "{flag:?}");
        }
    }
}
