"""Asks a server by gRPC's own clients of health and reflection, and for the status of its clients with nothing but what
reflection tells of the messages; prints all of it as JSON.

ask.py HOST:PORT
"""

import json
import sys

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

ADS = "envoy.service.discovery.v3.AggregatedDiscoveryService"
CSDS = "envoy.service.status.v3.ClientStatusDiscoveryService"
# In seconds; every call is answered at once.
TIMEOUT = 30


def health(channel, service):
    request = health_pb2.HealthCheckRequest(service=service)
    status = health_pb2_grpc.HealthStub(channel).Check(request, timeout=TIMEOUT).status
    return health_pb2.HealthCheckResponse.ServingStatus.Name(status)


def call(channel, method):
    answer = message_factory.GetMessageClass(method.output_type)
    request = message_factory.GetMessageClass(method.input_type)()
    path = f"/{method.containing_service.full_name}/{method.name}"
    return channel.unary_unary(path, lambda message: message.SerializeToString(), answer.FromString)(
        request, timeout=TIMEOUT
    )


def ask(channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    pool = descriptor_pool.DescriptorPool(database)
    fetch = pool.FindServiceByName(CSDS).FindMethodByName("FetchClientStatus")
    return {
        "health": {service: health(channel, service) for service in ("", ADS)},
        "services": sorted(database.get_services()),
        "methods": [method.name for method in pool.FindServiceByName(ADS).methods],
        "status": json_format.MessageToDict(call(channel, fetch), descriptor_pool=pool),
    }


if __name__ == "__main__":
    with grpc.insecure_channel(sys.argv[1]) as target:
        print(json.dumps(ask(target)))
