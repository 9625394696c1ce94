"""The API: service functions, and the wires that carry them. gRPC's is in ``humanuser_adapters.api.grpc_server``."""

from humanuser_adapters.api.asgi import read_body
from humanuser_adapters.api.call import Call
from humanuser_adapters.api.http_app import HttpApp, http_app
from humanuser_adapters.api.service import PhoneService
from humanuser_adapters.api.status import CallError, Code

__all__ = ["Call", "CallError", "Code", "HttpApp", "PhoneService", "http_app", "read_body"]
