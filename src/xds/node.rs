//! What of a client's node chooses its group. What an Envoy has compiled in does not, and is most of the node's weight.

use envoy_types::pb::envoy::config::core::v3::{Locality, Node};
use envoy_types::pb::google::protobuf::{Struct, Value, value};
use serde_json::{Map, Number, Value as Json};

use crate::snapshot::NodeFields;

/// Takes the node apart. Its metadata nests no deeper than a message can.
pub(super) fn fields(node: Node) -> NodeFields {
    let Node { id, cluster, user_agent_name, locality, metadata, .. } = node;
    let Locality { region, zone, sub_zone } = locality.unwrap_or_default();
    let metadata = metadata.map(object).unwrap_or_default();
    NodeFields { id, cluster, user_agent_name, region, zone, sub_zone, metadata }
}

fn object(from: Struct) -> Map<String, Json> {
    from.fields.into_iter().map(|(key, value)| (key, json(value))).collect()
}

fn json(from: Value) -> Json {
    match from.kind {
        None | Some(value::Kind::NullValue(_)) => Json::Null,
        Some(value::Kind::BoolValue(value)) => Json::Bool(value),
        Some(value::Kind::StringValue(text)) => Json::String(text),
        Some(value::Kind::NumberValue(number)) => Number::from_f64(number).map_or(Json::Null, Json::Number),
        Some(value::Kind::ListValue(list)) => list.values.into_iter().map(json).collect(),
        Some(value::Kind::StructValue(inner)) => Json::Object(object(inner)),
    }
}
