"""Where Prometheus finds what a server measures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from humanuser_adapters.cli.session import Exit, fail
from humanuser_adapters.settings import Settings

if TYPE_CHECKING:
    from humanuser_adapters.telemetry.prometheus import Prometheus


def prometheus_of(settings: Settings) -> Prometheus | None:
    """None: the settings want no metrics there."""
    if settings.metrics_port is None:
        return None
    try:
        from humanuser_adapters.telemetry.prometheus import Prometheus  # noqa: PLC0415 - an extra
    except ImportError:
        fail(Exit.USAGE, "metrics_port needs prometheus-client: pip install 'humanuser[metrics]'")
    return Prometheus()


@contextmanager
def metrics_served(prometheus: Prometheus | None, settings: Settings) -> Iterator[int | None]:
    """The port on which *prometheus* is served while the block runs; None: there is none."""
    if prometheus is None:
        yield None
        return
    host, port = settings.host, settings.metrics_port or 0
    with ExitStack() as stack:
        served = prometheus.served(host, port, chain=settings.tls_certificate, key=settings.tls_key)
        try:
            port = stack.enter_context(served)
        except OSError as error:
            fail(Exit.UNAVAILABLE, f"cannot listen on {host}:{port}: {error.strerror}")
        yield port
