"""The whole: commands, reads that see them, and SMS in the background."""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fakes import FakeClock, Sender, eventually
from humanuser import (
    Accepted,
    By,
    Details,
    HumanUserAdded,
    PhoneNumber,
    Sms,
    StoreUnavailable,
    Unknown,
    UnreadableEvent,
)
from humanuser.testing import AT
from humanuser_adapters import application as application_module
from humanuser_adapters.application import Application
from humanuser_adapters.outbox import MOST_INTERRUPTIONS, State
from humanuser_adapters.vault import AesGcmVault
from humanuser_projections import UserPhone

ADMIN = By("admin", organization="org1")
ADDED = HumanUserAdded(user_name="ada")


@pytest.fixture
def sender() -> Sender:
    return Sender()


@pytest.fixture
def sending(tmp_path: Path, vault: AesGcmVault, clock: FakeClock, sender: Sender) -> Iterator[Application]:
    with Application(tmp_path / "test.sqlite", vault, sender=sender, clock=clock) as application:
        application.start()
        yield application
        application.stop()


def tamper(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()


def test_a_read_sees_every_write_before_it(application: Application) -> None:
    application.commands.add_human_user("user1", ADDED, phone="+41791234567", by=ADMIN)
    added = application.find_user("user1")
    application.commands.change_phone("user1", "+41791234568", verified=True, by=ADMIN)
    changed = application.find_user("user1")

    number = PhoneNumber("+41791234568")
    assert added == (
        Details(sequence=1, creation_date=AT, change_date=AT, resource_owner="org1"),
        UserPhone(PhoneNumber("+41791234567")),
    )
    assert changed == (
        Details(sequence=4, creation_date=AT, change_date=AT, resource_owner="org1"),
        UserPhone(number, True, number),
    )


def test_a_read_sees_the_writes_of_other_processes(
    application: Application, tmp_path: Path, vault: AesGcmVault, clock: FakeClock
) -> None:
    with Application(tmp_path / "test.sqlite", vault, clock=clock) as other:
        other.commands.add_human_user("user1", ADDED, by=ADMIN)

        assert application.find_user("user1") == other.find_user("user1")


def test_nobody_is_found_under_an_id_that_nobody_has(application: Application) -> None:
    assert application.find_user("user1") is None
    assert application.history("user1") == []


def test_an_sms_goes_out_in_the_background(sending: Application, sender: Sender) -> None:
    sending.commands.add_human_user("user1", ADDED, phone="+41791234567", by=ADMIN)

    assert eventually(lambda: [one.state for one in sending.deliveries()] == [State.SENT])
    assert [sms.to for sms in sender.sent] == [PhoneNumber("+41791234567")]
    assert sending.problems() == {}


def test_a_number_that_somebody_vouches_for_gets_no_sms(sending: Application, sender: Sender) -> None:
    sending.commands.add_human_user("user1", ADDED, phone="+41791234567", verified=True, by=ADMIN)

    assert sending.deliveries() == []
    assert sender.sent == []


def test_without_a_sender_nothing_is_sent_and_the_change_succeeds(
    application: Application, tmp_path: Path, vault: AesGcmVault, clock: FakeClock, sender: Sender
) -> None:
    application.start()
    application.commands.add_human_user("user1", ADDED, phone="+41791234567", by=ADMIN)
    assert [one.state for one in application.deliveries()] == [State.DUE]
    application.stop()

    clock.advance(minutes=10)
    with Application(tmp_path / "test.sqlite", vault, sender=sender, clock=clock) as later:
        later.start()
        assert eventually(lambda: [one.state for one in later.deliveries()] == [State.DROPPED])
        later.stop()

    assert sender.sent == []


def test_a_rebuild_gives_the_same_rows_and_sends_nothing(sending: Application, sender: Sender, tmp_path: Path) -> None:
    for number in range(20):
        sending.commands.add_human_user(f"user{number}", ADDED, phone=f"+4179123456{number % 10}", by=ADMIN)
    assert eventually(lambda: {one.state for one in sending.deliveries()} == {State.SENT})
    before = [sending.find_user(f"user{number}") for number in range(20)]
    tamper(tmp_path / "test.sqlite", "UPDATE humanuser_user_phone SET phone = '+1'")
    head = sending.head()

    count = sending.rebuild()

    assert count == head == sending.head()
    assert [sending.find_user(f"user{number}") for number in range(20)] == before
    assert len(sender.sent) == 20


def test_an_event_that_cannot_be_read_is_parked_and_everybody_else_goes_on(
    application: Application, tmp_path: Path
) -> None:
    for user in ("user1", "user2", "user3"):
        application.commands.add_human_user(user, ADDED, by=ADMIN)
    tamper(tmp_path / "test.sqlite", "UPDATE humanuser_events SET payload = '{' WHERE position = 2")
    application.start()
    users = application.subscriptions()["users"]

    assert eventually(lambda: users.position() == 3)
    assert application.problems() == {}
    assert [(one.position, one.user_id) for one in users.parked()] == [(2, "user2")]
    with pytest.raises(UnreadableEvent):
        application.find_user("user2")
    assert application.find_user("user3") is not None
    application.stop()


def test_before_it_is_started_it_says_that_it_does_not_run(application: Application) -> None:
    assert application.problems() == {"users": "not running"}


def test_a_database_that_breaks_is_a_problem(sending: Application, tmp_path: Path) -> None:
    tamper(tmp_path / "test.sqlite", "DROP TABLE humanuser_subscriptions")

    assert "no such table" in sending.problems()["database"]


def test_closing_ends_the_background_work(tmp_path: Path, vault: AesGcmVault, sender: Sender) -> None:
    with Application(tmp_path / "test.sqlite", vault, sender=sender) as application:
        application.start()

    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("humanuser")] == []
    with pytest.raises(StoreUnavailable):
        application.commands.add_human_user("user1", ADDED, by=ADMIN)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where to find a database with nothing in it, of each kind."""
    return str(tmp_path / "test.sqlite") if request.param == "sqlite" else request.getfixturevalue("postgresql_url")


class Returns:
    """A sender that counts, and then does what it is told."""

    def __init__(self, answer: Callable[[], object]) -> None:
        self.count = 0
        self._answer = answer

    def send(self, _: Sms) -> Any:  # Any: whatever a host may return
        self.count += 1
        return self._answer()

    def look_up(self, _: Sms) -> None:
        return None


def exits() -> None:
    sys.exit("271828")


@pytest.mark.parametrize("answer", [lambda: None, dict, lambda: Accepted, lambda: 1 / 0])
def test_a_sender_that_misbehaves_sends_no_more_than_three_sms(
    database_url: str, vault: AesGcmVault, monkeypatch: pytest.MonkeyPatch, answer: Callable[[], object]
) -> None:
    monkeypatch.setattr("humanuser_adapters.outbox.FIRST_PAUSE", timedelta(milliseconds=10))
    sender = Returns(answer)
    with Application(database_url, vault, sender=sender) as application:
        application.start()
        application.commands.add_human_user("user1", ADDED, phone="+41791234567", by=ADMIN)

        assert eventually(lambda: [one.state for one in application.deliveries()] == [State.UNKNOWN], seconds=30)
        assert application.problems() == {}
    assert sender.count == MOST_INTERRUPTIONS


def test_a_sender_that_exits_ends_no_worker_and_its_text_is_not_logged(
    database_url: str, vault: AesGcmVault, caplog: pytest.LogCaptureFixture
) -> None:
    sender = Returns(exits)
    lease = timedelta(seconds=0.2)
    with Application(database_url, vault, sender=sender, sms_lease=lease) as application:
        application.start()
        application.commands.add_human_user("user1", ADDED, phone="+41791234567", by=ADMIN)

        assert eventually(lambda: [one.state for one in application.deliveries()] == [State.UNKNOWN], seconds=30)
        assert eventually(lambda: application.problems() == {})
    assert sender.count <= MOST_INTERRUPTIONS
    assert "SystemExit" in caplog.text
    assert "271828" not in caplog.text


def test_a_sender_that_cannot_be_called_is_refused_before_anything_is_opened(
    tmp_path: Path, vault: AesGcmVault
) -> None:
    with pytest.raises(TypeError, match="not the class Sender"):
        Application(tmp_path / "test.sqlite", vault, sender=Sender)  # type: ignore[arg-type]  # the mistake

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("more", "count"), [({}, 20), ({"sms_budget": None}, 21)])
def test_an_embedded_application_has_a_budget_unless_it_is_switched_off(
    tmp_path: Path, vault: AesGcmVault, sender: Sender, clock: FakeClock, more: dict[str, Any], count: int
) -> None:
    with Application(tmp_path / "test.sqlite", vault, sender=sender, clock=clock, **more) as application:
        for number in range(21):
            application.commands.add_human_user(f"user{number}", ADDED, phone="+41791234567", by=ADMIN)
        application.start()

        assert eventually(lambda: sum(one.attempts for one in application.deliveries()) == 21, seconds=30)
        assert eventually(lambda: State.CLAIMED not in application.delivery_counts())
    assert len(sender.sent) == count


def test_a_sender_that_does_not_return_is_a_problem(
    tmp_path: Path, vault: AesGcmVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hanging(Sender):
        returns = threading.Event()

        def send(self, sms: Sms) -> Accepted:
            self.returns.wait(30)
            return super().send(sms)

    monkeypatch.setattr(application_module, "SHORTEST_HANG", timedelta(seconds=0.1))
    lease = timedelta(seconds=0.1)
    with Application(tmp_path / "test.sqlite", vault, sender=Hanging(), sms_workers=1, sms_lease=lease) as application:
        application.start()
        application.commands.add_human_user("user1", ADDED, phone="+41791234567", by=ADMIN)

        assert eventually(lambda: application.problems().get("sms-1", "").startswith("hangs in one task"))

        Hanging.returns.set()
        assert eventually(lambda: application.problems() == {})


def test_a_report_that_is_none_is_refused_and_changes_nothing(application: Application) -> None:
    application.commands.add_human_user("user1", ADDED, phone="+41791234567", by=ADMIN)
    (delivery,) = application.deliveries()

    with pytest.raises(TypeError, match="a report must be"):
        application.sms_reported(delivery.notification.message_id, Unknown("?"))  # type: ignore[arg-type]  # the mistake

    assert application.deliveries() == [delivery]


def test_sms_are_counted_by_state_without_reading_each(sending: Application) -> None:
    for number in range(3):
        sending.commands.add_human_user(f"user{number}", ADDED, phone="+41791234567", by=ADMIN)

    assert eventually(lambda: sending.delivery_counts() == {State.SENT: 3})
    assert len(sending.deliveries([State.SENT])) == 3
    assert sending.deliveries([State.FAILED]) == []
