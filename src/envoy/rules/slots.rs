//! Fields that take an extension of a certain category.

use prost_reflect::FieldDescriptor;

use crate::envoy::extensions::Category;
use crate::envoy::{Schema, any};

/// The categories whose extensions a field takes.
pub(super) type Slot = Category;

/// Fields of type `Any` that hold an extension's configuration. Descriptors do not say which category a field takes; where
/// one message (`TypedExtensionConfig`) serves many, nothing is said here.
const SLOTS: &[(&str, Slot)] = &[
    ("envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter.typed_config", Category::HTTP_FILTER),
    ("envoy.config.listener.v3.Filter.typed_config", Category::NETWORK_FILTER),
    ("envoy.config.cluster.v3.Filter.typed_config", Category::UPSTREAM_NETWORK_FILTER),
    ("envoy.config.listener.v3.ListenerFilter.typed_config", Category::LISTENER_FILTER),
    (
        "envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig.SessionFilter.typed_config",
        Category::UDP_SESSION_FILTER,
    ),
    ("envoy.config.accesslog.v3.AccessLog.typed_config", Category::ACCESS_LOGGER),
    ("envoy.config.accesslog.v3.ExtensionFilter.typed_config", Category::ACCESS_LOG_FILTER),
    ("envoy.config.trace.v3.Tracing.Http.typed_config", Category::TRACER),
    ("envoy.config.core.v3.TransportSocket.typed_config", Category::TRANSPORT_SOCKET),
    ("envoy.config.cluster.v3.Cluster.CustomClusterType.typed_config", Category::CLUSTER),
    ("envoy.config.core.v3.HealthCheck.CustomHealthCheck.typed_config", Category::HEALTH_CHECKER),
    ("envoy.config.route.v3.RetryPolicy.RetryPriority.typed_config", Category::RETRY_PRIORITY),
    ("envoy.config.route.v3.RetryPolicy.RetryHostPredicate.typed_config", Category::RETRY_HOST_PREDICATE),
];

/// The slot that a field is.
pub(super) fn of(field: &FieldDescriptor) -> Option<Slot> {
    SLOTS.iter().find(|(name, _)| *name == field.full_name()).map(|(_, slot)| *slot)
}

/// Why an extension does not belong into a slot; `None` also for those that only a custom build may know.
pub(super) fn problem(schema: &Schema, slot: Slot, type_url: &str) -> Option<String> {
    let name = any::message_name(type_url)?;
    // These stand for whatever they wrap, or are found by the extension's name.
    if any::is_typed_struct(name)
        || name.starts_with("google.protobuf.")
        || name == "envoy.config.route.v3.FilterConfig"
    {
        return None;
    }
    let extensions = schema.extensions();
    if extensions.takes(slot, name) || (!extensions.knows(name) && Schema::embedded().message(name).is_none()) {
        return None;
    }
    let version = extensions.envoy_version();
    Some(match extensions.category_of(name) {
        Some(other) => format!("{name} belongs to {other}: Envoy {version} does not know it as {slot}"),
        None => format!("Envoy {version} does not know {name} as {slot}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_a_field_and_has_extensions() {
        let schema = Schema::embedded();
        for (name, slot) in SLOTS {
            let (message, field) = name.rsplit_once('.').unwrap();
            let message = schema.message(message).unwrap_or_else(|| panic!("{name}"));
            let field = message.get_field_by_name(field).unwrap_or_else(|| panic!("{name}"));
            assert!(of(&field).is_some());
            assert!(!schema.extensions().of(*slot).is_empty(), "{name}");
        }
    }
}
