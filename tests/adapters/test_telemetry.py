"""What is measured, and that OpenTelemetry and Prometheus tell the same of it."""

from __future__ import annotations

import inspect
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from opentelemetry.metrics import Meter, get_meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from prometheus_client.parser import text_string_to_metric_families

from fakes import FakeClock, eventually, new_events
from humanuser import (
    Accepted,
    By,
    Commands,
    HumanUserAdded,
    Misconfigured,
    Permanent,
    PhoneInvalid,
    PhoneNotChanged,
    PhoneNumber,
    Retryable,
    SequenceConflict,
    Sms,
    SmsOutcome,
    StoreUnavailable,
    Unknown,
)
from humanuser_adapters.application import Application
from humanuser_adapters.event_store import MemoryEventRecorder, UserEventStore
from humanuser_adapters.outbox import State
from humanuser_adapters.sms import Failover, Paused
from humanuser_adapters.telemetry import MeasuredCommands, MeasuredSms, MeasuredStore, Telemetry, exits_installed
from humanuser_adapters.telemetry.measurements import APPEND, BUCKETS, GAUGES, TIMED
from humanuser_adapters.telemetry.opentelemetry import OpenTelemetry
from humanuser_adapters.telemetry.prometheus import Prometheus
from humanuser_adapters.vault import AesGcmVault

PHONE, OTHER = "+41791234567", "+41791234568"
ADMIN = By("admin", organization="org1")
ADDED = HumanUserAdded(user_name="ada")


@dataclass
class Measured:
    """Both exits, and what left through them."""

    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)
    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    prometheus: Prometheus = field(default_factory=Prometheus)

    def __post_init__(self) -> None:
        self.meters, self.tracers = MeterProvider([self.reader]), TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.telemetry = Telemetry(OpenTelemetry(self.meters, self.tracers), self.prometheus)

    def points(self, name: str) -> dict[tuple[str, ...], Any]:  # Any: of a histogram or of a gauge
        """The data points of a metric, by the values of their attributes."""
        return {
            tuple(sorted(str(value) for value in (point.attributes or {}).values())): point
            for metric in self.metrics()
            if metric.name == name
            for point in metric.data.data_points
        }

    def metrics(self) -> list[Any]:  # as above
        data = self.reader.get_metrics_data()
        scopes = [scope for resource in (data.resource_metrics if data else ()) for scope in resource.scope_metrics]
        return [metric for scope in scopes for metric in scope.metrics]

    def counts(self, name: str) -> dict[tuple[str, ...], int]:
        """How often what is timed happened."""
        return {labels: point.count for labels, point in self.points(name).items()}

    def values(self, name: str) -> dict[tuple[str, ...], float]:
        return {labels: point.value for labels, point in self.points(name).items()}

    def spans(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self.exporter.get_finished_spans()}

    def scraped(self) -> str:
        with self.prometheus.served("127.0.0.1", 0) as port, urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            return str(answer.read().decode())


class Provider:
    """It answers as it is told."""

    def __init__(self, outcome: SmsOutcome) -> None:
        self.outcome = outcome

    def send(self, _: Sms) -> SmsOutcome:
        return self.outcome

    def look_up(self, _: Sms) -> Accepted:
        return Accepted("found")


@pytest.fixture
def measured() -> Iterator[Measured]:
    measured = Measured()
    yield measured
    measured.meters.shutdown()
    measured.tracers.shutdown()


@pytest.fixture
def application(tmp_path: Path, vault: AesGcmVault, clock: FakeClock, measured: Measured) -> Application:
    """One that sends SMS once it is started, and is measured."""
    sender = MeasuredSms(Provider(Accepted()), "mine", measured.telemetry)
    return Application(tmp_path / "test.sqlite", vault, sender=sender, clock=clock, telemetry=measured.telemetry)


def an_sms() -> Sms:
    return Sms(message_id="message1", to=PhoneNumber(PHONE), text="271828 is your code", expires_at=None)


def test_commands_are_counted_by_name_and_outcome_and_refusals_by_kind(
    application: Application, measured: Measured
) -> None:
    application.commands.add_human_user("ada", ADDED, phone=PHONE, by=ADMIN)
    with pytest.raises(PhoneNotChanged):
        application.commands.change_phone("ada", PHONE, by=ADMIN)
    with pytest.raises(PhoneInvalid):
        application.commands.change_phone(user_id="ada", phone="+4912", by=ADMIN)

    assert measured.counts("humanuser.command.duration") == {
        ("add_human_user", "done"): 1,
        ("PhoneNotChanged", "change_phone", "refused"): 1,
        ("PhoneNotPossible", "change_phone", "refused"): 1,
    }
    assert measured.counts("humanuser.append.duration") == {("done",): 1}


def test_a_command_that_fails_is_not_refused(application: Application, measured: Measured) -> None:
    application.close()
    with pytest.raises(StoreUnavailable):
        application.commands.remove_phone("ada", by=ADMIN)

    assert measured.counts("humanuser.command.duration") == {("StoreUnavailable", "failed", "remove_phone"): 1}
    span = measured.spans()["humanuser.remove_phone"]
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "StoreUnavailable")
    assert list(span.events) == []  # a stack of calls may hold what nobody else is to know


def test_a_span_of_a_command_has_its_user_and_holds_its_append(application: Application, measured: Measured) -> None:
    application.commands.add_human_user("ada", ADDED, by=ADMIN)

    command, append = (measured.spans()[f"humanuser.{name}"] for name in ("add_human_user", "append"))
    assert dict(command.attributes or {}) == {
        "user.id": "ada",
        "humanuser.command.name": "add_human_user",
        "humanuser.outcome": "done",
    }
    assert command.status.status_code is StatusCode.UNSET
    assert append.parent == command.context


def test_a_refusal_is_no_error_of_a_span(application: Application, measured: Measured) -> None:
    with pytest.raises(PhoneInvalid):
        application.commands.change_phone("ada", "+4912", by=ADMIN)

    span = measured.spans()["humanuser.change_phone"]
    assert span.status.status_code is StatusCode.UNSET
    assert (span.attributes or {})["error.type"] == "PhoneNotPossible"


def test_work_that_is_interrupted_is_not_done(measured: Measured) -> None:
    with pytest.raises(KeyboardInterrupt), measured.telemetry.measure(APPEND, "append", {}):
        raise KeyboardInterrupt

    assert measured.counts("humanuser.append.duration") == {("KeyboardInterrupt", "failed"): 1}


def test_an_append_that_others_were_faster_than_is_refused(measured: Measured) -> None:
    store = MeasuredStore(UserEventStore(MemoryEventRecorder()), measured.telemetry)

    with pytest.raises(SequenceConflict):
        store.append(new_events("ada", [ADDED], after=1))

    assert measured.counts("humanuser.append.duration") == {("SequenceConflict", "refused"): 1}


def test_every_command_is_measured() -> None:
    commands = {name for name, _ in inspect.getmembers(Commands, inspect.isfunction) if not name.startswith("_")}

    assert commands <= vars(MeasuredCommands).keys()
    assert all(vars(MeasuredCommands)[name].__doc__ == getattr(Commands, name).__doc__ for name in commands)


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (Accepted(), "accepted"),
        (Retryable("no"), "retryable"),
        (Paused("no", timedelta(1)), "retryable"),
        (Permanent("no"), "permanent"),
        (Misconfigured("no"), "misconfigured"),
        (Unknown("no"), "unknown"),
    ],
)
def test_sms_are_counted_by_provider_and_kind_of_outcome(measured: Measured, outcome: SmsOutcome, kind: str) -> None:
    sender = MeasuredSms(Provider(outcome), "mine", measured.telemetry)

    assert sender.send(an_sms()) == outcome
    assert sender.look_up(an_sms()) == Accepted("found")
    assert measured.counts("humanuser.sms.duration") == {tuple(sorted(("mine", kind))): 1}
    assert list(measured.spans()) == ["humanuser.send_sms mine"]


def test_each_of_two_providers_is_told_apart(measured: Measured) -> None:
    first, second = (
        MeasuredSms(Provider(outcome), name, measured.telemetry)
        for name, outcome in (("one", Permanent("no")), ("two", Accepted()))
    )

    Failover([first, second]).send(an_sms())

    assert measured.counts("humanuser.sms.duration") == {("one", "permanent"): 1, ("accepted", "two"): 1}


def test_lag_and_waiting_sms_are_shown_in_events_and_seconds(
    application: Application, measured: Measured, clock: FakeClock
) -> None:
    application.commands.add_human_user("ada", ADDED, by=ADMIN)
    clock.advance(seconds=10)
    application.commands.change_phone("ada", PHONE, by=ADMIN)
    clock.advance(seconds=5)
    application.subscriptions()["notifications"].catch_up()
    clock.advance(seconds=1)

    assert measured.values("humanuser.subscription.lag") == {("default", "users"): 3, ("default", "notifications"): 0}
    assert measured.values("humanuser.subscription.delay") == {
        ("default", "users"): 16,
        ("default", "notifications"): 0,
    }
    assert measured.values("humanuser.outbox.age") == {("default",): 6}
    assert measured.values("humanuser.outbox.size") == {
        ("default", "due"): 1,
        ("claimed", "default"): 0,
        ("default", "failed"): 0,
        ("default", "unknown"): 0,
    }


def test_an_sms_that_was_tried_in_vain_is_as_old_as_it_is(
    tmp_path: Path, vault: AesGcmVault, clock: FakeClock, measured: Measured
) -> None:
    sender = Provider(Retryable("no", timedelta(hours=1)))
    with Application(
        tmp_path / "test.sqlite", vault, sender=sender, clock=clock, telemetry=measured.telemetry
    ) as application:
        application.commands.add_human_user("ada", ADDED, phone=PHONE, by=ADMIN)
        clock.advance(seconds=30)
        application.start()
        wait_until_tried(application)
        clock.advance(seconds=30)

        assert measured.values("humanuser.outbox.age") == {("default",): 60}


def wait_until_tried(application: Application) -> None:
    assert eventually(lambda: [one.attempts for one in application.deliveries()] == [1])
    assert eventually(lambda: [one.state for one in application.deliveries()] == [State.DUE])


def test_events_that_could_not_be_taken_in_are_shown(application: Application, measured: Measured) -> None:
    application.commands.add_human_user("ada", ADDED, by=ADMIN)
    users = application.subscriptions()["users"]
    assert users.skip(1)
    users.catch_up()

    assert measured.values("humanuser.subscription.parked") == {
        ("default", "users"): 1,
        ("default", "notifications"): 0,
    }


def test_without_a_sender_nobody_is_told_how_far_sending_is_behind(
    tmp_path: Path, vault: AesGcmVault, measured: Measured
) -> None:
    with Application(tmp_path / "test.sqlite", vault, telemetry=measured.telemetry):
        assert measured.values("humanuser.subscription.lag") == {("default", "users"): 0}


def test_tenants_of_one_process_are_told_apart(tmp_path: Path, vault: AesGcmVault, measured: Measured) -> None:
    one, other = (
        Application(tmp_path / "test.sqlite", vault, instance_id=name, telemetry=measured.telemetry)
        for name in ("one", "other")
    )
    with one, other:
        assert measured.values("humanuser.outbox.age") == {("one",): 0, ("other",): 0}
    assert measured.points("humanuser.outbox.age") == {}


def test_a_database_that_cannot_be_had_shows_nothing_and_the_rest_goes_on(
    application: Application, measured: Measured, tmp_path: Path
) -> None:
    application.commands.add_human_user("ada", ADDED, by=ADMIN)
    with closing(sqlite3.connect(tmp_path / "test.sqlite")) as connection:
        connection.execute("DROP TABLE humanuser_subscriptions")

    assert measured.points("humanuser.subscription.lag") == {}
    assert "humanuser_subscription_lag{" not in measured.scraped()
    assert 'humanuser_command_name="add_human_user"' in measured.scraped()


def test_both_exits_tell_the_same(application: Application, measured: Measured) -> None:
    application.commands.add_human_user("ada", ADDED, phone=PHONE, by=ADMIN)
    with pytest.raises(PhoneNotChanged):
        application.commands.change_phone("ada", PHONE, by=ADMIN)
    MeasuredSms(Provider(Accepted()), "mine", measured.telemetry).send(an_sms())

    scraped = {family.name: family for family in text_string_to_metric_families(measured.scraped())}
    metrics = {metric.name: metric for metric in measured.metrics()}

    assert metrics.keys() == {one.name for one in (*TIMED, *GAUGES)}
    for name, metric in metrics.items():
        family = scraped[name.replace(".", "_") + ("_seconds" if metric.unit == "s" else "")]
        told = {
            frozenset((label, value) for label, value in sample.labels.items() if value): sample.value
            for sample in family.samples
            if sample.name in (family.name, f"{family.name}_count")
        }
        assert told == {
            frozenset((label.replace(".", "_"), value) for label, value in point.attributes.items()): (
                point.count if isinstance(point, HistogramDataPoint) else point.value
            )
            for point in metric.data.data_points
        }
        assert family.documentation == metric.description


def test_no_label_of_a_metric_names_a_person(application: Application, measured: Measured) -> None:
    application.commands.add_human_user("user-ada", ADDED, phone=PHONE, by=ADMIN)

    scraped = measured.scraped()
    declared = {one.name: set(one.labels) for one in (*TIMED, *GAUGES)}
    assert all(
        point.attributes.keys() <= declared[metric.name]
        for metric in measured.metrics()
        for point in metric.data.data_points
    )
    assert "user-ada" not in scraped
    assert PHONE[1:] not in scraped


def test_seconds_are_sorted_into_buckets_of_seconds(application: Application, measured: Measured) -> None:
    application.commands.add_human_user("ada", ADDED, by=ADMIN)

    (point,) = measured.points("humanuser.command.duration").values()
    assert point.explicit_bounds == BUCKETS
    assert 0 < point.sum < 10


def test_an_api_that_is_too_old_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(exits_installed()) == 1

    def create_histogram(_: Meter, name: str, unit: str = "", description: str = "") -> None: ...

    monkeypatch.setattr(type(get_meter("humanuser")), "create_histogram", create_histogram)

    assert exits_installed() == ()


WITHOUT_PACKAGES = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("opentelemetry", "prometheus_client"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
from humanuser import By, HumanUserAdded
from humanuser.testing import AT
from humanuser_adapters.application import Application
from humanuser_adapters.event_store import MemoryEventRecorder, UserEventStore
from humanuser_adapters.telemetry import telemetry_installed
from humanuser_adapters.vault import AesGcmVault, Keys

with Application(sys.argv[1], AesGcmVault(Keys("1", {"1": bytes(32)}))) as application:
    application.commands.add_human_user("ada", HumanUserAdded(user_name="ada"), by=By("admin", organization="org1"))
assert telemetry_installed()._exits == ()
print(sorted({name.partition(".")[0] for name in sys.modules} & {"opentelemetry", "prometheus_client"}))
"""


def test_without_the_packages_all_works_and_nothing_is_measured(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PACKAGES, str(tmp_path / "test.sqlite")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_the_rules_alone_bring_no_telemetry() -> None:
    program = "import sys, humanuser; print('opentelemetry' in sys.modules, 'humanuser_adapters' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "False False\n"


def test_dropped_sms_are_counted_by_reason(
    tmp_path: Path, vault: AesGcmVault, clock: FakeClock, measured: Measured
) -> None:
    with Application(
        tmp_path / "test.sqlite", vault, sender=Provider(Accepted()), clock=clock, telemetry=measured.telemetry
    ) as application:
        for user_id in ("ada", "bob"):
            application.commands.add_human_user(user_id, ADDED, phone=PHONE, by=ADMIN)
        clock.advance(minutes=10)
        application.commands.add_human_user("cyd", ADDED, phone=PHONE, by=ADMIN)
        (*_, by_hand) = application.deliveries()
        assert application.drop_sms(by_hand.notification.message_id)
        application.start()

        assert eventually(lambda: application.delivery_counts() == {State.DROPPED: 3})

    name = "humanuser.sms.dropped"
    assert eventually(lambda: measured.values(name) == {("default", "expired"): 2, ("by_hand", "default"): 1}), (
        measured.values(name)
    )
    line = 'humanuser_sms_dropped_total{humanuser_instance_id="default",humanuser_sms_drop_reason="expired"} 2.0'
    assert line in measured.scraped()


def test_a_provider_that_returns_no_outcome_is_counted_as_unknown(measured: Measured) -> None:
    MeasuredSms(Provider(None), "mine", measured.telemetry).send(an_sms())  # type: ignore[arg-type]  # the mistake

    assert measured.counts("humanuser.sms.duration") == {("mine", "unknown"): 1}
