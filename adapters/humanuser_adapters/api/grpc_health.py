"""gRPC's health service, which answers what ``/readyz`` does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from humanuser_adapters.log_fields import log_of

log = log_of(__name__)

WATCH_SECONDS = 1.0
"""How often readiness is checked for a client that watches it."""

Context = grpc.aio.ServicerContext[HealthCheckRequest, HealthCheckResponse]


class GrpcHealth(health_pb2_grpc.HealthServicer):
    """All *services* serve while *readiness* reports no problems, and until the server stops."""

    def __init__(self, services: Collection[str], readiness: Callable[[], dict[str, str]]) -> None:
        """*readiness* may wait for a database; it is called in a thread."""
        self._services = {"", *services}
        self._readiness = readiness
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Serve no more."""
        self._stopping.set()

    async def Check(self, request: HealthCheckRequest, context: Context) -> HealthCheckResponse:  # noqa: N802 - gRPC's
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return HealthCheckResponse(status=await self._status())

    async def Watch(self, request: HealthCheckRequest, context: Context) -> AsyncIterator[HealthCheckResponse]:  # noqa: ARG002, N802
        known = request.service in self._services
        last: int | None = None
        while True:
            status = await self._status() if known else HealthCheckResponse.SERVICE_UNKNOWN
            if status != last:
                yield HealthCheckResponse(status=status)
                last = status
            if self._stopping.is_set():
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), WATCH_SECONDS)

    async def _status(self) -> int:
        if self._stopping.is_set():
            return HealthCheckResponse.NOT_SERVING
        problems = await asyncio.to_thread(self._readiness)
        if problems:
            log.warning("not ready: %s", problems)
        return HealthCheckResponse.NOT_SERVING if problems else HealthCheckResponse.SERVING


__all__ = ["GrpcHealth"]
