"""Events in a transaction of the host: stored with the host's rows, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from fakes import FakeClock, Sender, eventually
from hosts import ON_POSTGRESQL, ON_SQLITE, Host, Opened
from humanuser import (
    By,
    CommandIdReused,
    Commands,
    HumanUserAdded,
    PhoneInvalid,
    PhoneNotChanged,
    PhoneNumber,
    PhoneSet,
    StoreUnavailable,
)
from humanuser_adapters.application import Application
from humanuser_adapters.database import Database
from humanuser_adapters.host_transaction import TransactionUnusable
from humanuser_adapters.users import Users
from humanuser_adapters.vault import AesGcmVault

ADMIN = By("admin", organization="org1")
ADDED = HumanUserAdded(user_name="ada")
PHONE, OTHER_PHONE = "+41791234567", "+41791234568"


@dataclass(frozen=True)
class Place:
    """Our application, and a host on the same database."""

    application: Application
    host: Host
    sender: Sender

    @property
    def users(self) -> Users:
        return self.application.within(self.host.connection)


def kinds(database: str, hosts: list[Opened]) -> list[Any]:
    return [pytest.param((database, one), id=f"{database}-{one.__name__}") for one in hosts]


@pytest.fixture(params=kinds("sqlite", ON_SQLITE) + kinds("postgresql", ON_POSTGRESQL))
def place(request: pytest.FixtureRequest, vault: AesGcmVault, clock: FakeClock) -> Iterator[Place]:
    kind, opened = request.param
    database = (
        request.getfixturevalue("postgresql_url")
        if kind == "postgresql"
        else str(request.getfixturevalue("tmp_path") / "test.sqlite")
    )
    sender = Sender()
    with Application(database, vault, clock=clock, sender=sender) as application, opened(database) as host:
        host.execute("CREATE TABLE orders (item TEXT)")
        host.commit()
        yield Place(application, host, sender)
        host.rollback()


def test_the_hosts_row_and_our_events_are_stored_together_and_not_before_the_commit(place: Place) -> None:
    place.host.order("book")
    place.users.commands.add_human_user("user1", ADDED, phone=PHONE, by=ADMIN)
    before = place.application.find_user("user1")
    place.host.commit()

    assert before is None
    assert place.application.find_user("user1") is not None
    assert place.host.orders() == {"book"}


def test_it_does_not_matter_who_stores_first(place: Place) -> None:
    place.users.commands.add_human_user("user1", ADDED, by=ADMIN)
    place.host.order("book")
    place.host.commit()

    assert place.application.find_user("user1") is not None
    assert place.host.orders() == {"book"}


def test_after_a_rollback_there_is_neither_row_nor_event(place: Place) -> None:
    place.host.order("book")
    place.users.commands.add_human_user("user1", ADDED, phone=PHONE, by=ADMIN)
    place.host.rollback()

    assert place.application.history("user1") == []
    assert place.application.head() == 0
    assert place.host.orders() == set()


def test_commands_and_reads_in_the_transaction_see_what_it_stored(place: Place) -> None:
    users = place.users
    users.commands.add_human_user("user1", ADDED, phone=PHONE, verified=True, by=ADMIN)
    details = users.commands.change_phone("user1", OTHER_PHONE, verified=True, by=ADMIN)
    found = users.find_user("user1")

    assert found is not None
    assert (found[0], found[1].phone) == (details, found[1].last_verified_phone)
    assert [one.sequence for one in users.history("user1")] == [1, 2, 3, 4]
    assert place.application.history("user1") == []


def test_what_was_in_the_read_models_before_is_seen_with_what_was_added(place: Place) -> None:
    place.application.commands.add_human_user("user1", ADDED, phone=PHONE, verified=True, by=ADMIN)
    place.application.rebuild()
    place.users.commands.remove_phone("user1", by=ADMIN)
    here, elsewhere = place.users.find_user("user1"), place.application.find_user("user1")

    assert here is not None
    assert elsewhere is not None
    assert (here[1].phone, elsewhere[1].phone) == (None, PhoneNumber(PHONE))


def test_what_was_handed_out_for_one_transaction_works_in_the_next_one(place: Place) -> None:
    users = place.users
    users.commands.add_human_user("user1", ADDED, by=ADMIN)
    place.host.commit()
    users.commands.add_human_user("user2", ADDED, by=ADMIN)
    place.host.rollback()
    users.commands.add_human_user("user3", ADDED, by=ADMIN)
    place.host.commit()

    stored = [bool(place.application.history(user_id)) for user_id in ("user1", "user2", "user3")]

    assert stored == [True, False, True]


@pytest.mark.parametrize(("phone", "refusal"), [("none", PhoneInvalid), (PHONE, PhoneNotChanged)])
def test_a_refusal_leaves_the_transaction_as_it_was(place: Place, phone: str, refusal: type[Exception]) -> None:
    place.host.order("book")
    place.users.commands.add_human_user("user1", ADDED, phone=PHONE, by=ADMIN)
    with pytest.raises(refusal):
        place.users.commands.change_phone("user1", phone, by=ADMIN)
    place.users.commands.remove_phone("user1", by=ADMIN)
    place.host.commit()

    assert [one.event.type for one in place.application.history("user1")][-1] == "user.human.phone.removed"
    assert place.host.orders() == {"book"}


def test_a_part_that_fails_is_undone_and_what_the_host_did_before_stays(place: Place) -> None:
    def break_off(database: Database) -> None:
        with database.write() as connection:
            connection.execute("INSERT INTO orders VALUES ('half')")
            raise ZeroDivisionError

    database, _ = place.application._within(place.host.connection)  # noqa: SLF001 - it fails only if a disk does
    place.host.order("book")
    with pytest.raises(ZeroDivisionError):
        break_off(database)
    place.host.commit()

    assert place.host.orders() == {"book"}


def test_a_command_id_given_again_is_answered_with_the_first_result(place: Place) -> None:
    by = By("admin", organization="org1", command_id="once")
    first = place.users.commands.add_human_user("user1", ADDED, by=by)
    in_the_same = place.users.commands.add_human_user("user1", ADDED, by=by)
    place.host.commit()
    in_the_next = place.users.commands.add_human_user("user1", ADDED, by=by)
    with pytest.raises(CommandIdReused):
        place.users.commands.add_human_user("user2", ADDED, by=by)
    place.host.rollback()

    assert first == in_the_same == in_the_next
    assert len(place.application.history("user1")) == 1


def test_a_command_id_that_was_rolled_back_is_free_again(place: Place) -> None:
    by = By("admin", organization="org1", command_id="once")
    place.users.commands.add_human_user("user1", ADDED, by=by)
    place.host.rollback()
    place.users.commands.add_human_user("user2", ADDED, by=by)
    place.host.commit()

    assert [bool(place.application.history(user_id)) for user_id in ("user1", "user2")] == [False, True]


def test_an_sms_leaves_after_the_commit_and_none_after_a_rollback(place: Place) -> None:
    place.application.start()

    place.users.commands.add_human_user("rolled-back", ADDED, phone=PHONE, by=ADMIN)
    place.host.rollback()
    place.users.commands.add_human_user("committed", ADDED, phone=OTHER_PHONE, by=ADMIN)
    waiting = list(place.sender.sent)
    place.host.commit()

    assert eventually(lambda: len(place.application.history("committed")) == 3)  # added, a code, sent
    place.application.stop()
    assert waiting == []
    assert [sms.to.e164 for sms in place.sender.sent] == [OTHER_PHONE]
    assert [one.notification.user_id for one in place.application.deliveries()] == ["committed"]


@pytest.mark.parametrize("command", ["verify_phone", "verify_user_phone"])
def test_a_number_is_not_proven_where_a_failed_attempt_could_be_rolled_back(place: Place, command: str) -> None:
    place.application.commands.add_human_user("user1", ADDED, phone=PHONE, by=ADMIN)
    stored = place.application.history("user1")

    with pytest.raises(TransactionUnusable, match="a transaction of its own"):
        getattr(place.users.commands, command)("user1", "123456", by=ADMIN)

    assert place.application.history("user1") == stored


@pytest.mark.parametrize(
    "place", kinds("sqlite", ON_SQLITE[:1]) + kinds("postgresql", ON_POSTGRESQL[:1]), indirect=True
)
def test_a_command_of_an_open_transaction_is_repeated_outside_as_unavailable_until_it_is_stored(place: Place) -> None:
    by = By("admin", command_id="once")
    place.application.commands.add_human_user("user1", ADDED, phone=PHONE, by=ADMIN)

    def set_phone(commands: Commands) -> PhoneSet:
        return commands.set_phone("user1", OTHER_PHONE, return_code=True, by=by, permit=lambda _: None)

    first = set_phone(place.users.commands)
    with pytest.raises(StoreUnavailable):
        set_phone(place.application.commands)
    place.host.commit()

    assert first.code is not None
    assert set_phone(place.application.commands) == first
    assert set_phone(place.users.commands) == first


def test_a_command_id_is_bound_to_its_request_in_a_transaction_too(place: Place) -> None:
    by = By("admin", command_id="once")
    place.application.commands.add_human_user("user1", ADDED, phone=PHONE, by=ADMIN)
    place.application.commands.set_phone("user1", OTHER_PHONE, return_code=True, by=by, permit=lambda _: None)

    def not_permitted(_: str) -> None:
        raise PermissionError

    with pytest.raises(CommandIdReused):
        place.users.commands.set_phone("user1", OTHER_PHONE, by=by, permit=lambda _: None)
    with pytest.raises(PermissionError):
        place.users.commands.set_phone("user1", OTHER_PHONE, return_code=True, by=by, permit=not_permitted)
