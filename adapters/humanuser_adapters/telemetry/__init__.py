"""What operators measure: one set of measurements, and the exits through which they leave."""

from humanuser_adapters.telemetry.installed import exits_installed, telemetry_installed
from humanuser_adapters.telemetry.measured import MeasuredCommands, MeasuredSms, MeasuredStore
from humanuser_adapters.telemetry.measurements import Counter, Gauge, Labels, Observation, Timed
from humanuser_adapters.telemetry.telemetry import Exit, Telemetry

__all__ = [
    "Counter",
    "Exit",
    "Gauge",
    "Labels",
    "MeasuredCommands",
    "MeasuredSms",
    "MeasuredStore",
    "Observation",
    "Telemetry",
    "Timed",
    "exits_installed",
    "telemetry_installed",
]
