//! Requests are decoded as the generated messages; responses are written around the bytes that the snapshot holds, so
//! that a resource is encoded once, however many clients it goes to.

use std::sync::Arc;

use bytes::BufMut;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use prost::Message as _;
use prost::encoding::{encode_varint, encoded_len_varint};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use super::order::Response;
use super::{Protocol, Request};
use crate::snapshot::Resource;

/// A response and what turns it into one message.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) protocol: Protocol,
    pub(super) response: Response,
    /// `control_plane.identifier`; may be empty.
    pub(super) identifier: Arc<str>,
}

/// Field numbers of `DiscoveryResponse`, `DeltaDiscoveryResponse` and what is in them; all but a status code are length-delimited.
mod field {
    pub(super) const VERSION: u32 = 1;
    pub(super) const RESOURCES: u32 = 2;
    pub(super) const TYPE_URL: u32 = 4;
    pub(super) const NONCE: u32 = 5;
    pub(super) const SOTW_CONTROL_PLANE: u32 = 6;
    pub(super) const SOTW_RESOURCE_ERRORS: u32 = 7;
    pub(super) const DELTA_REMOVED: u32 = 6;
    pub(super) const DELTA_CONTROL_PLANE: u32 = 7;

    pub(super) const RESOURCE_VERSION: u32 = 1;
    pub(super) const RESOURCE_RESOURCE: u32 = 2;
    pub(super) const RESOURCE_NAME: u32 = 3;

    pub(super) const CONTROL_PLANE_IDENTIFIER: u32 = 1;

    pub(super) const ERROR_NAME: u32 = 1;
    pub(super) const ERROR_DETAIL: u32 = 2;
    pub(super) const NAME_NAME: u32 = 1;
    pub(super) const STATUS_CODE: u32 = 1;
    pub(super) const STATUS_MESSAGE: u32 = 2;
}

/// What is said of a name that does not exist.
const MISSING: &str = "the control plane has no resource of this name";
const NOT_FOUND: u64 = tonic::Code::NotFound as u64;

/// Length of the status that goes with a name: its code in one byte, its message.
fn missing_status_len() -> usize {
    2 + field_len(MISSING.len())
}

fn missing_name_len(name: &str) -> usize {
    if name.is_empty() { 0 } else { field_len(name.len()) }
}

fn missing_len(name: &str) -> usize {
    field_len(missing_name_len(name)) + field_len(missing_status_len())
}

fn put_missing(out: &mut impl BufMut, name: &str) {
    put_header(out, field::SOTW_RESOURCE_ERRORS, missing_len(name));
    put_header(out, field::ERROR_NAME, missing_name_len(name));
    if !name.is_empty() {
        put(out, field::NAME_NAME, name.as_bytes());
    }
    put_header(out, field::ERROR_DETAIL, missing_status_len());
    encode_varint(u64::from(field::STATUS_CODE << 3), out);
    encode_varint(NOT_FOUND, out);
    put(out, field::STATUS_MESSAGE, MISSING.as_bytes());
}

/// Length of a length-delimited field. All field numbers here are below 16: one byte of key.
fn field_len(len: usize) -> usize {
    1 + encoded_len_varint(len as u64) + len
}

fn put(out: &mut impl BufMut, number: u32, content: &[u8]) {
    put_header(out, number, content.len());
    out.put_slice(content);
}

fn put_header(out: &mut impl BufMut, number: u32, len: usize) {
    encode_varint(u64::from(number << 3 | 2), out);
    encode_varint(len as u64, out);
}

fn delta_resource_len(resource: &Resource, version: &str) -> usize {
    let name = if resource.name.is_empty() { 0 } else { field_len(resource.name.len()) };
    field_len(version.len()) + field_len(resource.any.len()) + name
}

impl Outgoing {
    /// The length of the encoded message in bytes.
    pub(super) fn encoded_len(&self) -> usize {
        let Response { kind, version, nonce, resources, removed, impatient: _ } = &self.response;
        let version = version.to_string();
        let resources: usize = match self.protocol {
            Protocol::Sotw => resources.iter().map(|resource| field_len(resource.any.len())).sum(),
            // A resource's version is as long as the set's.
            Protocol::Delta => resources.iter().map(|resource| field_len(delta_resource_len(resource, &version))).sum(),
        };
        let removed: usize = match self.protocol {
            Protocol::Sotw => removed.iter().map(|name| field_len(missing_len(name))).sum(),
            Protocol::Delta => removed.iter().map(|name| field_len(name.len())).sum(),
        };
        let control_plane = if self.identifier.is_empty() { 0 } else { field_len(field_len(self.identifier.len())) };
        field_len(version.len())
            + resources
            + field_len(kind.type_url().len())
            + field_len(nonce.to_string().len())
            + removed
            + control_plane
    }

    /// Writes the message, field by field in the order of their numbers.
    pub(super) fn encode(&self, out: &mut impl BufMut) {
        let Response { kind, version, nonce, resources, removed, impatient: _ } = &self.response;
        put(out, field::VERSION, version.to_string().as_bytes());
        for resource in resources {
            match self.protocol {
                Protocol::Sotw => put(out, field::RESOURCES, &resource.any),
                Protocol::Delta => {
                    let version = resource.version.to_string();
                    put_header(out, field::RESOURCES, delta_resource_len(resource, &version));
                    put(out, field::RESOURCE_VERSION, version.as_bytes());
                    put(out, field::RESOURCE_RESOURCE, &resource.any);
                    if !resource.name.is_empty() {
                        put(out, field::RESOURCE_NAME, resource.name.as_bytes());
                    }
                }
            }
        }
        put(out, field::TYPE_URL, kind.type_url().as_bytes());
        put(out, field::NONCE, nonce.to_string().as_bytes());
        let control_plane = match self.protocol {
            Protocol::Sotw => field::SOTW_CONTROL_PLANE,
            Protocol::Delta => {
                for name in removed {
                    put(out, field::DELTA_REMOVED, name.as_bytes());
                }
                field::DELTA_CONTROL_PLANE
            }
        };
        if !self.identifier.is_empty() {
            put_header(out, control_plane, field_len(self.identifier.len()));
            put(out, field::CONTROL_PLANE_IDENTIFIER, self.identifier.as_bytes());
        }
        if self.protocol == Protocol::Sotw {
            for name in removed {
                put_missing(out, name);
            }
        }
    }
}

/// Speaks one of the protocols.
#[derive(Clone, Copy, Debug)]
pub(super) struct DiscoveryCodec(pub(super) Protocol);

impl Codec for DiscoveryCodec {
    type Encode = Outgoing;
    type Decode = Request;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for DiscoveryCodec {
    type Item = Outgoing;
    type Error = Status;

    fn encode(&mut self, item: Outgoing, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.reserve(item.encoded_len());
        item.encode(out);
        Ok(())
    }
}

impl Decoder for DiscoveryCodec {
    type Item = Request;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Request>, Status> {
        let request = match self.0 {
            Protocol::Sotw => DiscoveryRequest::decode(bytes).map(|request| Request::Sotw(Box::new(request))),
            Protocol::Delta => DeltaDiscoveryRequest::decode(bytes).map(|request| Request::Delta(Box::new(request))),
        };
        request.map(Some).map_err(|error| Status::invalid_argument(format!("cannot read the request: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::core::v3::ControlPlane;
    use envoy_types::pb::envoy::service::discovery::v3::{
        DeltaDiscoveryResponse, DiscoveryResponse, Resource as Wire, ResourceError, ResourceName,
    };
    use envoy_types::pb::google::protobuf::Any;
    use envoy_types::pb::google::rpc;

    use super::*;
    use crate::envoy::Kind;
    use crate::snapshot::{Origin, Traits, Version};

    fn resource(name: &str, body: &[u8]) -> Arc<Resource> {
        let origin = Origin { file: "t.yaml".into(), line: 1, column: 1 };
        Arc::new(Resource::new(Kind::Cluster, name, body, origin, Traits::default()))
    }

    fn any(resource: &Resource) -> Any {
        Any { type_url: Kind::Cluster.type_url().to_owned(), value: resource.message().to_vec() }
    }

    /// Resources, removed names and the identifier.
    type Case = (Vec<Arc<Resource>>, Vec<Arc<str>>, &'static str);

    /// Empty, short, and long enough for lengths of two and three bytes.
    fn cases() -> Vec<Case> {
        let long = "n".repeat(300);
        vec![
            (vec![], vec![], ""),
            (vec![resource("a", b"x")], vec!["gone".into()], "chancery/1"),
            (vec![resource(&long, &[7; 20_000]), resource("", b"")], vec![long.into(), "".into()], "chancery/1"),
        ]
    }

    fn outgoing(
        protocol: Protocol,
        resources: &[Arc<Resource>],
        removed: &[Arc<str>],
        identifier: &str,
    ) -> (Vec<u8>, usize) {
        let response = Response {
            kind: Kind::Cluster,
            version: Version::of(b"set"),
            nonce: 4711,
            resources: resources.to_vec(),
            removed: removed.to_vec(),
            impatient: false,
        };
        let outgoing = Outgoing { protocol, response, identifier: identifier.into() };
        let mut bytes = Vec::new();
        outgoing.encode(&mut bytes);
        (bytes, outgoing.encoded_len())
    }

    fn control_plane(identifier: &str) -> Option<ControlPlane> {
        (!identifier.is_empty()).then(|| ControlPlane { identifier: identifier.to_owned() })
    }

    fn error(name: &str) -> ResourceError {
        let status = rpc::Status { code: tonic::Code::NotFound.into(), message: MISSING.to_owned(), details: vec![] };
        let name = ResourceName { name: name.to_owned(), ..Default::default() };
        ResourceError { resource_name: Some(name), error_detail: Some(status) }
    }

    #[test]
    fn a_sotw_response_is_byte_for_byte_what_prost_writes() {
        for (resources, missing, identifier) in cases() {
            let expected = DiscoveryResponse {
                version_info: Version::of(b"set").to_string(),
                resources: resources.iter().map(|resource| any(resource)).collect(),
                type_url: Kind::Cluster.type_url().to_owned(),
                nonce: "4711".to_owned(),
                control_plane: control_plane(identifier),
                resource_errors: missing.iter().map(|name| error(name)).collect(),
                ..Default::default()
            };
            let (bytes, len) = outgoing(Protocol::Sotw, &resources, &missing, identifier);
            assert_eq!(bytes, expected.encode_to_vec());
            assert_eq!(len, bytes.len());
        }
    }

    #[test]
    fn a_delta_response_is_byte_for_byte_what_prost_writes() {
        for (resources, removed, identifier) in cases() {
            let wire = |resource: &Arc<Resource>| Wire {
                name: resource.name.to_string(),
                version: resource.version.to_string(),
                resource: Some(any(resource)),
                ..Default::default()
            };
            let expected = DeltaDiscoveryResponse {
                system_version_info: Version::of(b"set").to_string(),
                resources: resources.iter().map(wire).collect(),
                removed_resources: removed.iter().map(ToString::to_string).collect(),
                type_url: Kind::Cluster.type_url().to_owned(),
                nonce: "4711".to_owned(),
                control_plane: control_plane(identifier),
                ..Default::default()
            };
            let (bytes, len) = outgoing(Protocol::Delta, &resources, &removed, identifier);
            assert_eq!(bytes, expected.encode_to_vec());
            assert_eq!(len, bytes.len());
        }
    }
}
