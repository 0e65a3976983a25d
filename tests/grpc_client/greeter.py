"""A gRPC service without generated code, and a client of it: messages are plain bytes.

serve NAME [ADDRESS]      answers /helloworld.Greeter/SayHello with NAME; prints the port; ends with its standard input
serve-xds NAME ADDRESS    the same, configured over xDS
call TARGET               for each line on standard input makes one call, and prints the answer or the error
"""

import sys
from concurrent import futures

import grpc

METHOD = "/helloworld.Greeter/SayHello"


class Greeter(grpc.GenericRpcHandler):
    def __init__(self, name):
        self.name = name.encode()

    def service(self, details):
        if details.method != METHOD:
            return None
        return grpc.unary_unary_rpc_method_handler(lambda request, context: b"hello %s from %s" % (request, self.name))


def serve(name, address="127.0.0.1:0", xds=False):
    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[Greeter(name)], xds=xds)
    print(server.add_insecure_port(address), flush=True)
    server.start()
    sys.stdin.read()
    server.stop(0)


def serve_xds(name, address):
    serve(name, address, xds=True)


def call(target):
    with grpc.insecure_channel(target) as channel:
        method = channel.unary_unary(METHOD)
        for line in sys.stdin:
            try:
                answer = method(line.strip().encode(), timeout=10).decode()
            except grpc.RpcError as error:
                answer = f"{error.code().name}: {error.details()}".replace("\n", " ")
            print(answer, flush=True)


if __name__ == "__main__":
    {"serve": serve, "serve-xds": serve_xds, "call": call}[sys.argv[1]](*sys.argv[2:])
