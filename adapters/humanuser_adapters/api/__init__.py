"""The API: service functions, and the wires that carry them."""

from humanuser_adapters.api.rest import read_body, rest_app
from humanuser_adapters.api.service import Call, PhoneService
from humanuser_adapters.api.status import CallError, Code

__all__ = ["Call", "CallError", "Code", "PhoneService", "read_body", "rest_app"]
