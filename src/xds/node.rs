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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_chooses_a_group_is_taken_over() {
        let value = |kind| Value { kind: Some(kind) };
        let list = envoy_types::pb::google::protobuf::ListValue {
            values: vec![value(value::Kind::BoolValue(true)), value(value::Kind::NullValue(0)), Value::default()],
        };
        let number = |number| value(value::Kind::NumberValue(number));
        let inner = Struct { fields: [("n".to_owned(), number(1.0)), ("nan".to_owned(), number(f64::NAN))].into() };
        let entries = [
            ("list".to_owned(), value(value::Kind::ListValue(list))),
            ("inner".to_owned(), value(value::Kind::StructValue(inner))),
        ];
        let locality = Locality { region: "r".into(), zone: "z".into(), sub_zone: "s".into() };
        let node = Node {
            id: "i".into(),
            cluster: "c".into(),
            user_agent_name: "u".into(),
            locality: Some(locality),
            metadata: Some(Struct { fields: entries.into() }),
            ..Node::default()
        };
        let fields = fields(node);
        let NodeFields { id, cluster, user_agent_name, region, zone, sub_zone, metadata } = fields;
        assert_eq!([id, cluster, user_agent_name, region, zone, sub_zone], ["i", "c", "u", "r", "z", "s"]);
        let expected = json!({"list": [true, null, null], "inner": {"n": 1.0, "nan": null}});
        assert_eq!(Json::Object(metadata), expected);
    }
}
