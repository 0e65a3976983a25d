//! Reflection: which services there are and what their messages are made of, for tools that were built without them.
//!
//! All of Envoy's messages are told of, since responses carry resources inside `Any`.

use tonic::service::Routes;
use tonic_reflection::pb;
use tonic_reflection::server::Builder;

use crate::envoy::Schema;

/// The newer version of the protocol.
pub(super) fn v1(services: impl Iterator<Item = &'static str>) -> Routes {
    let service = builder(services).build_v1().expect("each set is checked by the tests");
    Routes::new(service).prepare()
}

/// The version that older tools speak.
pub(super) fn v1alpha(services: impl Iterator<Item = &'static str>) -> Routes {
    let service = builder(services).build_v1alpha().expect("each set is checked by the tests");
    Routes::new(service).prepare()
}

fn builder(services: impl Iterator<Item = &'static str>) -> Builder<'static> {
    let sets = [
        Schema::embedded_descriptor_set(),
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        pb::v1::FILE_DESCRIPTOR_SET,
        pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    let builder = Builder::configure().include_reflection_service(false);
    let builder = sets.into_iter().fold(builder, Builder::register_encoded_file_descriptor_set);
    services.fold(builder, Builder::with_service_name)
}
