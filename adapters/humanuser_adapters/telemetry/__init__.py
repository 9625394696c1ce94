"""What operators measure: one set of measurements, and the exits through which they leave."""

from humanuser_adapters.telemetry.measured import MeasuredCommands, MeasuredSms, MeasuredStore
from humanuser_adapters.telemetry.measurements import Gauge, Labels, Observation, Timed
from humanuser_adapters.telemetry.telemetry import Exit, Telemetry, exits_installed, telemetry_installed

__all__ = [
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
