"""Measurements as spans and metrics of OpenTelemetry, which go where the host's SDK is told to send them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from opentelemetry import context, metrics, trace
from opentelemetry.trace import StatusCode

from humanuser_adapters.log_fields import fields
from humanuser_adapters.telemetry.measurements import (
    BUCKETS,
    COUNTERS,
    ERROR,
    GAUGES,
    OUTCOME,
    TIMED,
    Counter,
    Gauge,
    Labels,
    Timed,
)
from humanuser_adapters.telemetry.telemetry import End, Read

SCOPE = "humanuser"
_ATTRIBUTES = {
    "user_id": "user.id",
    "caller_id": "humanuser.caller.id",
    "request_id": "humanuser.request.id",
    "message_id": "humanuser.message.id",
}
"""Of spans: what the log's fields are there."""


class OpenTelemetry:
    """An exit through OpenTelemetry's API."""

    def __init__(
        self, meters: metrics.MeterProvider | None = None, tracers: trace.TracerProvider | None = None
    ) -> None:
        """*meters* and *tracers*: the process's, if there are none given."""
        self._tracer = trace.get_tracer(SCOPE, tracer_provider=tracers)
        self._meter = metrics.get_meter(SCOPE, meter_provider=meters)
        self._histograms = {
            timed: self._meter.create_histogram(
                timed.name, "s", timed.description, explicit_bucket_boundaries_advisory=BUCKETS
            )
            for timed in TIMED
        }
        self._counters = {
            counter: self._meter.create_counter(counter.name, counter.unit, counter.description) for counter in COUNTERS
        }

    def begin(self, timed: Timed, name: str) -> End:
        attributes = {_ATTRIBUTES[field]: value for field, value in fields().items() if field in _ATTRIBUTES}
        span = self._tracer.start_span(f"{SCOPE}.{name}", attributes=attributes)
        token = context.attach(trace.set_span_in_context(span))
        histogram = self._histograms[timed]

        def end(seconds: float, labels: Labels) -> None:
            histogram.record(seconds, labels)  # while the span is there, to which an exemplar may lead
            span.set_attributes(labels)
            if labels[OUTCOME] == "failed":
                span.set_status(StatusCode.ERROR, labels[ERROR])
            context.detach(token)
            span.end()

        return end

    def count(self, counter: Counter, labels: Labels, amount: int) -> None:
        self._counters[counter].add(amount, labels)

    def observe(self, read: Read) -> None:
        for gauge in GAUGES:
            self._meter.create_observable_gauge(gauge.name, [_callback(gauge, read)], gauge.unit, gauge.description)


def _callback(gauge: Gauge, read: Read) -> Callable[[metrics.CallbackOptions], Iterable[metrics.Observation]]:
    return lambda _: [metrics.Observation(one.value, one.labels) for one in read(gauge)]


__all__ = ["OpenTelemetry"]
