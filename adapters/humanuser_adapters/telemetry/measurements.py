"""What is measured. Names and units are as OpenTelemetry's semantic conventions want them; no label names a person."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

Labels = Mapping[str, str]
"""What a measurement is about, by name."""

COMMAND_NAME = "humanuser.command.name"
PROVIDER = "humanuser.sms.provider"
STATE = "humanuser.sms.state"
SUBSCRIPTION = "humanuser.subscription.name"
INSTANCE = "humanuser.instance.id"
REASON = "humanuser.sms.drop.reason"
OUTCOME = "humanuser.outcome"
ERROR = "error.type"
"""The class of a refusal or an error; left out where all is well."""


@dataclass(frozen=True, slots=True)
class Timed:
    """Work that takes seconds and has an outcome; how often it happens is told along with how long it takes."""

    name: str
    description: str
    labels: tuple[str, ...]
    level: int = logging.INFO
    """Of its lines in the log."""


@dataclass(frozen=True, slots=True)
class Counter:
    """How often something happened since the process started."""

    name: str
    unit: str
    description: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gauge:
    """How things stand at the moment when somebody asks."""

    name: str
    unit: str
    description: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Observation:
    """What a gauge shows."""

    value: float
    labels: Labels


COMMAND = Timed(
    "humanuser.command.duration",
    "How long a command takes; the outcome is done, refused or failed.",
    (COMMAND_NAME, OUTCOME, ERROR),
)
APPEND = Timed(
    "humanuser.append.duration",
    "How long the events of a command take to be stored; refused is what others were faster with.",
    (OUTCOME, ERROR),
    logging.DEBUG,
)
SMS = Timed(
    "humanuser.sms.duration",
    "How long a provider takes to answer; the outcome is accepted, retryable, permanent, misconfigured or unknown.",
    (PROVIDER, OUTCOME, ERROR),
)
TIMED = (COMMAND, APPEND, SMS)

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Seconds, into which what is timed is sorted."""

SMS_DROPPED = Counter(
    "humanuser.sms.dropped",
    "{message}",
    "SMS that were not sent, by reason: expired, superseded, returned, incomplete or by_hand.",
    (INSTANCE, REASON),
)
COUNTERS = (SMS_DROPPED,)

LAG = Gauge(
    "humanuser.subscription.lag",
    "{event}",
    "Positions given to writers that the subscription has not passed, committed or not; 0 if no event is left.",
    (INSTANCE, SUBSCRIPTION),
)
DELAY = Gauge(
    "humanuser.subscription.delay",
    "s",
    "How long ago the next event was stored, even if it waits for an open transaction; 0 if there is none.",
    (INSTANCE, SUBSCRIPTION),
)
PARKED = Gauge(
    "humanuser.subscription.parked",
    "{event}",
    "Events that could not be taken in.",
    (INSTANCE, SUBSCRIPTION),
)
OUTBOX_SIZE = Gauge(
    "humanuser.outbox.size",
    "{message}",
    "SMS that are not done with, by state; those failed and unknown need somebody to look at them.",
    (INSTANCE, STATE),
)
OUTBOX_AGE = Gauge(
    "humanuser.outbox.age",
    "s",
    "How long ago the oldest SMS that waits was asked for; 0 if none waits.",
    (INSTANCE,),
)
OPEN_AGE = Gauge(
    "humanuser.log.open_transaction.age",
    "s",
    "How long ago the oldest transaction began that later events wait for; 0 if there is none.",
    (INSTANCE,),
)
CLOCK_SKEW = Gauge(
    "humanuser.clock.skew",
    "s",
    "How far the clock of this server's machine is ahead of the database's; negative if behind, 0 for a SQLite file.",
    (INSTANCE,),
)
GAUGES = (LAG, DELAY, PARKED, OPEN_AGE, OUTBOX_SIZE, OUTBOX_AGE, CLOCK_SKEW)
