//! Shorthands of messages and of lists.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{Folder, Object, is, only};

impl Folder<'_> {
    /// What stands for a message, if it has no more to say than that.
    pub(super) fn short(&mut self, message: &str, json: Object) -> Value {
        let short = match message {
            "envoy.config.core.v3.Address" => address(&json),
            "envoy.config.core.v3.CidrRange" => cidr_range(&json),
            "envoy.config.core.v3.GrpcService" => only(&json, "envoy_grpc")
                .and_then(Value::as_object)
                .and_then(|grpc| only(grpc, "cluster_name"))
                .cloned(),
            "envoy.config.core.v3.RuntimeFractionalPercent" => {
                only(&json, "default_value").filter(|value| value.is_number()).cloned()
            }
            "envoy.type.v3.FractionalPercent" => fraction(&json),
            "envoy.type.v3.Percent" => percent(&json),
            "envoy.type.matcher.v3.StringMatcher" | "xds.type.matcher.v3.StringMatcher" => text(&json, "exact"),
            "envoy.type.matcher.v3.RegexMatcher" | "xds.type.matcher.v3.RegexMatcher" => text(&json, "regex"),
            "envoy.config.route.v3.RouteAction" | "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy" => {
                text(&json, "cluster")
            }
            "envoy.config.route.v3.RouteAction.UpgradeConfig"
            | "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.UpgradeConfig" => {
                text(&json, "upgrade_type")
            }
            "envoy.config.route.v3.WeightedCluster"
            | "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster" => {
                only(&json, "clusters").cloned()
            }
            "envoy.extensions.filters.network.http_connection_manager.v3.Rds" => {
                return self.without_source(message, json, "config_source", Some("route_config_name"));
            }
            "envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig" => {
                return self.without_source(message, json, "sds_config", Some("name"));
            }
            "envoy.config.cluster.v3.Cluster.EdsClusterConfig" => {
                return self.without_source(message, json, "eds_config", None);
            }
            "envoy.config.core.v3.ExtensionConfigSource" => {
                return self.without_source(message, json, "config_source", None);
            }
            "envoy.config.endpoint.v3.LbEndpoint" => only(&json, "address").filter(|it| it.is_string()).cloned(),
            _ => None,
        };
        match short {
            Some(short) if self.on(message) => short,
            _ => Value::Object(json),
        }
    }

    /// Without the source that everything has by default; then, perhaps, only a name is left.
    fn without_source(&mut self, message: &str, mut json: Object, source: &str, name: Option<&str>) -> Value {
        let ads = json!({"ads": {}, "resource_api_version": "V3"});
        if json.get(source) == Some(&ads) && self.on(message) {
            json.shift_remove(source);
            if let Some(name) = name.and_then(|name| text(&json, name)) {
                return name;
            }
        }
        Value::Object(json)
    }

    /// What stands for a list, if it is clearer as a mapping.
    pub(super) fn list(&mut self, message: &str, items: Vec<Value>) -> Value {
        let entry = match message {
            "envoy.config.core.v3.HeaderValueOption" => header_value,
            "envoy.config.route.v3.HeaderMatcher" => header_matcher,
            "envoy.config.route.v3.QueryParameterMatcher" => query_matcher,
            _ => return Value::Array(items),
        };
        let mut map = Object::new();
        for item in &items {
            let Some((key, value)) = item.as_object().and_then(entry) else { return Value::Array(items) };
            if map.insert(key, value).is_some() {
                return Value::Array(items);
            }
        }
        if map.is_empty() || !self.on(message) {
            return Value::Array(items);
        }
        Value::Object(map)
    }
}

fn text(json: &Object, key: &str) -> Option<Value> {
    only(json, key).filter(|value| value.is_string()).cloned()
}

fn address(json: &Object) -> Option<Value> {
    if let Some(pipe) = only(json, "pipe").and_then(Value::as_object) {
        let path = only(pipe, "path")?.as_str().filter(|path| path.starts_with('/'))?;
        return Some(format!("unix://{path}").into());
    }
    let socket = only(json, "socket_address")?.as_object()?;
    let host = socket.get("address")?.as_str()?;
    let port = socket.get("port_value")?.as_u64()?;
    let scheme = match socket.get("protocol").and_then(Value::as_str) {
        None => "",
        Some("UDP") => "udp://",
        Some(_) => return None,
    };
    let known = 2 + usize::from(!scheme.is_empty());
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    (socket.len() == known && !host.contains('/')).then(|| format!("{scheme}{host}:{port}").into())
}

fn cidr_range(json: &Object) -> Option<Value> {
    let prefix: IpAddr = json.get("address_prefix")?.as_str()?.parse().ok()?;
    let length = json.get("prefix_len")?.as_u64()?;
    (json.len() == 2).then(|| format!("{prefix}/{length}").into())
}

/// Only what the expansion would write with the same denominator.
fn fraction(json: &Object) -> Option<Value> {
    let numerator = json.get("numerator").map_or(Some(0), Value::as_u64)?;
    if json.keys().any(|key| key != "numerator" && key != "denominator") {
        return None;
    }
    match json.get("denominator").map(Value::as_str) {
        None => (numerator <= 100).then(|| numerator.into()),
        Some(Some("TEN_THOUSAND")) if !numerator.is_multiple_of(100) => decimal(numerator, 100),
        Some(Some("MILLION")) if !numerator.is_multiple_of(100) => decimal(numerator, 10_000),
        Some(_) => None,
    }
}

fn decimal(numerator: u64, scale: u64) -> Option<Value> {
    let digits = if scale == 100 { 2 } else { 4 };
    let text = format!("{}.{:0digits$}", numerator / scale, numerator % scale);
    serde_json::from_str(&text).ok()
}

fn percent(json: &Object) -> Option<Value> {
    let value = only(json, "value")?;
    let number = value.as_f64()?;
    let decimals = value.to_string().split_once('.').map_or(0, |(_, decimals)| decimals.len());
    ((0.0..=100.0).contains(&number) && decimals <= 4).then(|| value.clone())
}

fn header_value(json: &Object) -> Option<(String, Value)> {
    let header = only(json, "header")?.as_object()?;
    let (key, value) = (header.get("key")?.as_str()?, header.get("value")?);
    (header.len() == 2 && value.is_string()).then(|| (key.to_owned(), value.clone()))
}

fn header_matcher(json: &Object) -> Option<(String, Value)> {
    let name = json.get("name")?.as_str()?;
    let inverted = json.get("invert_match") == Some(&Value::Bool(true));
    let value = match (json.get("string_match"), json.get("present_match"), inverted, json.len()) {
        (Some(text), None, false, 2) => text.clone(),
        (None, Some(Value::Bool(true)), false, 2) => true.into(),
        (None, Some(Value::Bool(true)), true, 3) => false.into(),
        _ => return None,
    };
    Some((name.to_owned(), value))
}

fn query_matcher(json: &Object) -> Option<(String, Value)> {
    let name = json.get("name")?.as_str()?;
    let value = match (json.get("string_match"), json.get("present_match"), json.len()) {
        (Some(text), None, 2) => text.clone(),
        (None, Some(Value::Bool(true)), 2) => true.into(),
        _ => return None,
    };
    Some((name.to_owned(), value))
}

/// Whether an expanded or folded address is a name that has to be resolved.
pub(super) fn needs_dns(address: &Value) -> bool {
    let Some(text) = address.as_str() else { return false };
    let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
    !text.contains("://") && !host.starts_with('[') && host.parse::<IpAddr>().is_err()
}

/// Whether an extension's wrapper says that it is this one, with this message.
pub(super) fn is_extension(json: &Object, name: &str) -> bool {
    is(json, "name", name) && json.contains_key("typed_config") && json.len() == 2
}
