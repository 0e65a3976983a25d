//! Definitions of messages, each made when it is first referred to.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::field;
use crate::envoy::extensions::Category;
use crate::envoy::{FieldDescriptor, MessageDescriptor, Schema};
use crate::expand::{self, Shorthand};

const PREFIX: &str = "#/definitions/";

const MANAGER: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
const LB_ENDPOINT: &str = "envoy.config.endpoint.v3.LbEndpoint";

/// Messages whose fields may be written in another one. Which keys those are, the expansion says.
const DONORS: [&str; 7] = [
    MANAGER,
    HTTP_OPTIONS,
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig",
    "envoy.config.endpoint.v3.Endpoint",
    "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext",
    "envoy.config.route.v3.VirtualHost",
    "envoy.config.route.v3.RouteConfiguration",
];

/// Wrappers of extensions whose short names are offered; the others take any.
const WRAPPERS: [(&str, Category); 6] = [
    ("envoy.config.accesslog.v3.AccessLog", Category::ACCESS_LOGGER),
    ("envoy.config.listener.v3.Filter", Category::NETWORK_FILTER),
    ("envoy.config.listener.v3.ListenerFilter", Category::LISTENER_FILTER),
    ("envoy.config.trace.v3.Tracing.Http", Category::TRACER),
    ("envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter", Category::HTTP_FILTER),
    ("envoy.config.cluster.v3.Cluster.CustomClusterType", Category::CLUSTER),
];

/// All definitions that were referred to.
pub(super) struct Definitions<'a> {
    schema: &'a Schema,
    done: BTreeMap<String, Value>,
    waiting: BTreeSet<String>,
}

impl<'a> Definitions<'a> {
    pub(super) fn new(schema: &'a Schema) -> Self {
        Self { schema, done: BTreeMap::new(), waiting: BTreeSet::new() }
    }

    /// A reference to a message's definition.
    pub(super) fn reference(&mut self, message: &MessageDescriptor) -> Value {
        self.to(message.full_name())
    }

    fn to(&mut self, name: &str) -> Value {
        if !self.done.contains_key(name) {
            self.waiting.insert(name.to_owned());
        }
        json!({"$ref": format!("{PREFIX}{name}")})
    }

    /// Every definition, by full name.
    pub(super) fn finish(mut self) -> Value {
        while let Some(name) = self.waiting.pop_first() {
            // Known before it is made, for messages contain themselves.
            self.done.insert(name.clone(), Value::Null);
            let definition = match (self.schema.message(&name), name.strip_prefix("google.protobuf.")) {
                (_, Some(well_known)) => field::well_known(well_known),
                (Some(message), None) => self.message(&message),
                (None, None) => json!(true),
            };
            self.done.insert(name, definition);
        }
        json!(self.done)
    }

    /// A mapping of the message's fields, or what stands for it.
    fn message(&mut self, message: &MessageDescriptor) -> Value {
        let mut forms = vec![self.mapping(message)];
        match expand::shorthand(message.full_name()) {
            Shorthand::None => {}
            Shorthand::Text => forms.push(json!({"type": "string"})),
            Shorthand::Scalar => forms.push(json!({"type": ["string", "number"]})),
            Shorthand::Field(name) => {
                let owner = if name == "address" && message.full_name() == LB_ENDPOINT {
                    self.schema.message("envoy.config.core.v3.Address").map(|address| self.reference(&address))
                } else {
                    message.get_field_by_name(name).map(|field| self.field(&field))
                };
                forms.extend(owner);
            }
            Shorthand::Extension => forms.push(match category(message) {
                Some(category) => json!({"enum": self.short_names(category).keys().collect::<Vec<_>>()}),
                None => json!({"type": "string"}),
            }),
        }
        forms.push(json!({"type": "null"}));
        json!({"anyOf": forms})
    }

    fn mapping(&mut self, message: &MessageDescriptor) -> Value {
        let mut properties = Map::new();
        for field in message.fields() {
            let value = self.special(message, &field);
            properties.insert(field.name().to_owned(), value);
        }
        for key in expand::hoisted(message.full_name()) {
            let value = self.hoisted(message, key);
            properties.entry(*key).or_insert(value);
        }
        properties.insert("@type".to_owned(), json!({"type": "string"}));
        let mut open = false;
        if expand::shorthand(message.full_name()) == Shorthand::Extension {
            match category(message) {
                Some(category) => {
                    for (short, config) in self.short_names(category) {
                        let config = self.to(&config);
                        properties.entry(short).or_insert(config);
                    }
                }
                None => open = true,
            }
        }
        json!({"type": "object", "properties": properties, "additionalProperties": open})
    }

    /// Short names with the messages of their configuration.
    fn short_names(&self, category: Category) -> BTreeMap<String, String> {
        let extensions = self.schema.extensions();
        let short = |short: &str| {
            let message = extensions.find(category, short)?.message.clone()?;
            Some((short.to_owned(), message))
        };
        extensions.of(category).into_iter().filter_map(|extension| short(extension.short_name())).collect()
    }

    /// A field, with what a hook takes for it beside its own form.
    fn special(&mut self, message: &MessageDescriptor, field: &FieldDescriptor) -> Value {
        let own = self.field(field);
        let beside = match (message.full_name(), field.name()) {
            (_, "retry_on") => json!({"type": "array", "items": {"type": ["string", "integer"]}}),
            ("envoy.config.listener.v3.Listener", "api_listener") => self.to(MANAGER),
            ("envoy.config.endpoint.v3.ClusterLoadAssignment", "endpoints") => self.endpoints(),
            (_, "typed_per_filter_config") => self.per_filter(),
            _ if expand::takes_paths(message, field) => {
                let path = json!({"type": "string"});
                if field.is_list() {
                    json!({"type": "array", "items": {"anyOf": [path, self.single(field)]}})
                } else {
                    path
                }
            }
            _ => return own,
        };
        json!({"anyOf": [beside, own]})
    }

    fn endpoints(&mut self) -> Value {
        let item = [self.to(LB_ENDPOINT), self.to("envoy.config.endpoint.v3.LocalityLbEndpoints")];
        json!({"type": ["array", "null"], "items": {"anyOf": item}})
    }

    /// What routes override of filters, by short names.
    fn per_filter(&mut self) -> Value {
        let mut properties = Map::new();
        for short in self.short_names(Category::HTTP_FILTER).into_keys() {
            let found = self.schema.extensions().find(Category::HTTP_FILTER, &short);
            if let Some(message) = found.and_then(|found| found.per_route.clone().or_else(|| found.message.clone())) {
                let config = self.to(&message);
                properties.insert(short, config);
            }
        }
        let any = self.to("google.protobuf.Any");
        json!({"type": "object", "properties": properties, "additionalProperties": any})
    }

    /// A key that a message takes beside its fields.
    fn hoisted(&mut self, message: &MessageDescriptor, key: &str) -> Value {
        let side =
            if message.full_name().contains(".cluster.") { "UpstreamTlsContext" } else { "DownstreamTlsContext" };
        match key {
            "http_connection_manager" => return self.to(MANAGER),
            "tcp_proxy" => return self.to("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"),
            "udp_proxy" => return self.to("envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig"),
            "tls_context" => return self.to(&format!("envoy.extensions.transport_sockets.tls.v3.{side}")),
            "endpoints" => return self.endpoints(),
            _ => {}
        }
        let mut donors = DONORS.into_iter().filter_map(|name| self.schema.message(name));
        match donors.find_map(|donor| donor.get_field_by_name(key)) {
            Some(field) => self.field(&field),
            None => json!(true),
        }
    }

    fn field(&mut self, field: &FieldDescriptor) -> Value {
        let kind = field.kind();
        if field.is_map()
            && let Some(pair) = kind.as_message()
        {
            let values = self.single(&pair.map_entry_value_field());
            return json!({"type": ["object", "null"], "additionalProperties": values});
        }
        let single = self.single(field);
        if !field.is_list() {
            return single;
        }
        let list = json!({"type": ["array", "null"], "items": single});
        let by_name = kind.as_message().is_some_and(|message| expand::is_list_by_name(message.full_name()));
        if by_name { json!({"anyOf": [{"type": "object"}, list]}) } else { list }
    }

    fn single(&mut self, field: &FieldDescriptor) -> Value {
        let kind = field.kind();
        if let Some(message) = kind.as_message() {
            return self.reference(message);
        }
        match kind.as_enum() {
            Some(values) if values.full_name() == "google.protobuf.NullValue" => json!(true),
            Some(values) => {
                let name = values.full_name();
                self.done.entry(name.to_owned()).or_insert_with(|| field::names(values));
                json!({"$ref": format!("{PREFIX}{name}")})
            }
            None => field::scalar(&kind),
        }
    }
}

fn category(message: &MessageDescriptor) -> Option<Category> {
    WRAPPERS.iter().find(|(name, _)| *name == message.full_name()).map(|(_, category)| *category)
}
