"""The exits of measurements that are there because their package is installed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from humanuser_adapters.telemetry.telemetry import Exit, Telemetry


def exits_installed() -> Sequence[Exit]:
    """The exit to OpenTelemetry, where its API is installed."""
    try:
        from humanuser_adapters.telemetry.opentelemetry import OpenTelemetry  # noqa: PLC0415 - an extra

        return (OpenTelemetry(),)
    except (ImportError, TypeError):  # the second one of an API that is older than the extra allows
        return ()


@cache  # of instruments of one name OpenTelemetry heeds the first alone
def telemetry_installed() -> Telemetry:
    """The measurements of a process that chooses no exits: they leave through those that are installed."""
    return Telemetry(*exits_installed())
