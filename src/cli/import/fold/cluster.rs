//! Clusters and their endpoints.

use serde_json::{Value, json};

use super::short::needs_dns;
use super::{Folder, Object, is, only, payload};
use crate::envoy::{Kind, MessageDescriptor};
use crate::expand;

pub(super) const CLUSTER: &str = "envoy.config.cluster.v3.Cluster";
pub(super) const LB_ENDPOINT: &str = "envoy.config.endpoint.v3.LbEndpoint";

const HTTP_PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

impl Folder<'_> {
    pub(super) fn cluster_before(&mut self, json: &mut Object) -> Object {
        let mut out = self.tls_context(CLUSTER, json);
        out.extend(self.protocol_options(json));
        let name = json.get("name").cloned().unwrap_or_default();
        if is(json, "type", "EDS") {
            let eds = json.get("eds_cluster_config").and_then(|eds| eds.get("service_name"));
            let service = eds.unwrap_or(&name).as_str().unwrap_or_default().to_owned();
            let key = (Kind::Endpoint, service);
            if let Some(assignment) = self.inside.get(&key).cloned()
                && assignment.keys().all(|key| key == "cluster_name" || key == "endpoints")
                && self.on("endpoints")
            {
                self.inside.remove(&key);
                let assignment = self.schema.message(key.0.message()).map(|it| self.served(&it, assignment));
                let endpoints = assignment.and_then(|mut it| it.get_mut("endpoints").map(Value::take));
                out.insert("endpoints".to_owned(), endpoints.unwrap_or_else(|| json!([])));
            }
            return out;
        }
        let Some(Value::Object(assignment)) = json.get_mut("load_assignment") else { return out };
        if assignment.get("cluster_name") == Some(&name) && self.on("load_assignment") {
            assignment.shift_remove("cluster_name");
            let stated = json.contains_key("type") || json.contains_key("cluster_type");
            let Some(Value::Object(assignment)) = json.shift_remove("load_assignment") else { return out };
            let Some(message) = self.schema.message(Kind::Endpoint.message()) else { return out };
            let bare = assignment.is_empty();
            let folded = self.assignment(&message, assignment);
            match folded.as_object().and_then(|it| only(it, "endpoints")) {
                // Without a type Envoy takes it for STATIC, and `endpoints` would not be.
                Some(endpoints) if stated && !bare => _ = out.insert("endpoints".to_owned(), endpoints.clone()),
                _ => _ = out.insert("load_assignment".to_owned(), folded),
            }
        }
        out
    }

    /// Without what is the default.
    pub(super) fn cluster_after(&mut self, mut json: Object) -> Value {
        let defaults = [
            (None, "connect_timeout", json!("5s")),
            (Some("EDS"), "eds_cluster_config", json!({})),
            (Some("STRICT_DNS"), "dns_lookup_family", json!("V4_PREFERRED")),
            (Some("LOGICAL_DNS"), "dns_lookup_family", json!("V4_PREFERRED")),
            (Some("ORIGINAL_DST"), "lb_policy", json!("CLUSTER_PROVIDED")),
        ];
        for (discovery, field, default) in defaults {
            if discovery.is_none_or(|discovery| is(&json, "type", discovery))
                && json.get(field) == Some(&default)
                && self.on(&format!("default {field}"))
            {
                json.shift_remove(field);
            }
        }
        let guess = if json.get("endpoints").is_some_and(any_needs_dns) { "STRICT_DNS" } else { "EDS" };
        let native = json.contains_key("load_assignment");
        if is(&json, "type", guess) && !native && self.on("default type") {
            json.shift_remove("type");
        }
        Value::Object(json)
    }

    /// The options of HTTP beside the cluster's own fields.
    fn protocol_options(&mut self, json: &mut Object) -> Object {
        let mut out = Object::new();
        let known = expand::hoisted(CLUSTER);
        let Some(Value::Object(extensions)) = json.get_mut("typed_extension_protocol_options") else { return out };
        let options = extensions.get(HTTP_PROTOCOL_OPTIONS).and_then(payload);
        let Some((HTTP_PROTOCOL_OPTIONS, options)) = options else { return out };
        let beside = ["common_http_protocol_options", "upstream_http_protocol_options"];
        let understood = |key: &String| known.contains(&key.as_str()) || beside.contains(&key.as_str());
        if options.is_empty() || !options.keys().all(understood) || !self.on("protocol-options") {
            return out;
        }
        extensions.shift_remove(HTTP_PROTOCOL_OPTIONS);
        if extensions.is_empty() {
            json.shift_remove("typed_extension_protocol_options");
        }
        if let Value::Object(mut options) = self.named(HTTP_PROTOCOL_OPTIONS, options) {
            if let Some(Value::Object(explicit)) = options.get("explicit_http_config")
                && explicit.len() == 1
                && let Some(Value::Object(explicit)) = options.shift_remove("explicit_http_config")
            {
                out.extend(explicit);
            }
            out.extend(options);
        }
        out
    }

    /// A load assignment that is served over EDS, without what every such one has.
    pub(super) fn served(&mut self, message: &MessageDescriptor, mut json: Object) -> Value {
        if let Some(Value::Array(localities)) = json.get_mut("endpoints")
            && self.on("served")
        {
            for locality in localities.iter_mut().filter_map(Value::as_object_mut) {
                let same = locality.get("locality") == Some(&json!({}))
                    && locality.get("load_balancing_weight") == Some(&json!(1));
                if same && locality.contains_key("lb_endpoints") {
                    locality.shift_remove("locality");
                    locality.shift_remove("load_balancing_weight");
                }
            }
        }
        self.assignment(message, json)
    }

    /// An only locality that says nothing of itself is not written.
    fn assignment(&mut self, message: &MessageDescriptor, json: Object) -> Value {
        let mut folded = self.message(message, json);
        if let Some(Value::Array(localities)) = folded.get_mut("endpoints")
            && let [Value::Object(locality)] = localities.as_slice()
            && let Some(Value::Array(items)) = only(locality, "lb_endpoints").cloned()
            && !items.is_empty()
            && self.on("only-locality")
        {
            *localities = items;
        }
        folded
    }

    /// The fields of an endpoint stand beside those of what wraps it.
    pub(super) fn endpoint_before(&mut self, json: &mut Object) -> Object {
        let known = expand::hoisted(LB_ENDPOINT);
        let Some(Value::Object(endpoint)) = json.get("endpoint") else { return Object::new() };
        if endpoint.is_empty() || !endpoint.keys().all(|key| known.contains(&key.as_str())) || !self.on("endpoint") {
            return Object::new();
        }
        let Some(Value::Object(endpoint)) = json.shift_remove("endpoint") else { return Object::new() };
        match self.named("envoy.config.endpoint.v3.Endpoint", endpoint) {
            Value::Object(folded) => folded,
            _ => Object::new(),
        }
    }
}

fn any_needs_dns(endpoints: &Value) -> bool {
    let Value::Array(items) = endpoints else { return false };
    items.iter().any(|item| match item {
        Value::String(_) => needs_dns(item),
        Value::Object(json) => match json.get("lb_endpoints") {
            Some(items) => any_needs_dns(items),
            None => json.get("address").is_some_and(needs_dns),
        },
        _ => false,
    })
}
