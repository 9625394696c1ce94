"""Measurements for Prometheus to fetch, on a port of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, Histogram, start_http_server
from prometheus_client import Counter as PrometheusCounter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from humanuser_adapters.telemetry.measurements import (
    BUCKETS,
    COUNTERS,
    GAUGES,
    TIMED,
    Counter,
    Labels,
    Timed,
)
from humanuser_adapters.telemetry.telemetry import End, Read


class Prometheus:
    """An exit that keeps measurements until somebody fetches them."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._histograms = {
            timed: Histogram(
                _name(timed.name, "s"),
                timed.description,
                [_name(label) for label in timed.labels],
                registry=self._registry,
                buckets=BUCKETS,
            )
            for timed in TIMED
        }
        self._counters = {
            counter: PrometheusCounter(
                _name(counter.name),
                counter.description,
                [_name(label) for label in counter.labels],
                registry=self._registry,
            )
            for counter in COUNTERS
        }

    def begin(self, timed: Timed, name: str) -> End:  # noqa: ARG002 - of a span, which is not here
        def end(seconds: float, labels: Labels) -> None:
            self._histograms[timed].labels(*_values(timed.labels, labels)).observe(seconds)

        return end

    def count(self, counter: Counter, labels: Labels, amount: int) -> None:
        self._counters[counter].labels(*_values(counter.labels, labels)).inc(amount)

    def observe(self, read: Read) -> None:
        self._registry.register(_Gauges(read))

    @contextmanager
    def served(self, host: str, port: int, *, chain: Path | None = None, key: Path | None = None) -> Iterator[int]:
        """Answer ``/metrics`` on *port* while the block runs, or on a free one if that is 0; which one it is.

        With the PEM files of a certificate's *chain* and its *key* by TLS only. Raises ``OSError``.
        """
        certificate = (None, None) if chain is None else (str(chain), str(key))
        server, thread = start_http_server(port, host, self._registry, *certificate)
        try:
            yield server.server_port
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Gauges(Collector):
    """Reads all gauges when somebody asks."""

    def __init__(self, read: Read) -> None:
        self._read = read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for gauge in GAUGES:
            labels = [_name(label) for label in gauge.labels]
            family = GaugeMetricFamily(_name(gauge.name, gauge.unit), gauge.description, labels=labels)
            for one in self._read(gauge):
                family.add_metric(_values(gauge.labels, one.labels), one.value)
            yield family


def _name(name: str, unit: str = "") -> str:
    """*name* as OpenTelemetry's own exporters write it for Prometheus."""
    return name.replace(".", "_") + ("_seconds" if unit == "s" else "")


def _values(names: Sequence[str], labels: Labels) -> list[str]:
    return [labels.get(name, "") for name in names]


__all__ = ["Prometheus"]
