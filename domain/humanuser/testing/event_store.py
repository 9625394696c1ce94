"""What every event store must do."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from humanuser.errors import SequenceConflict
from humanuser.events import (
    Event,
    HumanUserAdded,
    PhoneChanged,
    PhoneVerificationCodeAdded,
    PhoneVerificationCodeSent,
    PhoneVerified,
    Recorded,
    UnknownEvent,
)
from humanuser.phone_number import PhoneNumber
from humanuser.ports import EventStore, NewEvents, StoredCommand
from humanuser.testing.histories import AT
from humanuser.verification_code import SealedCode

ADDED = HumanUserAdded(user_name="ada", first_name="Ada", phone=PhoneNumber("+41791234567"))
CHANGED = PhoneChanged(phone=PhoneNumber("+41791234568"))
CODE = PhoneVerificationCodeAdded(
    code=SealedCode(crypto_type=0, algorithm="aes", key_id="key", crypted="Y29kZQ=="), expiry=600_000_000_000
)

MANY_COMMANDS = 1000


class EventStoreContract:
    """Subclass it, give it your store, and pytest runs it."""

    def create_store(self) -> EventStore:
        """A store with nothing in it."""
        raise NotImplementedError("the contract needs create_store")

    @pytest.fixture
    def store(self) -> EventStore:
        """The store under test."""
        return self.create_store()

    def test_a_user_to_whom_nothing_happened_has_no_history(self, store: EventStore) -> None:
        assert list(store.load("default", "user1")) == []
        assert store.head() == 0

    def test_what_is_appended_is_loaded_as_it_was(self, store: EventStore) -> None:
        events: list[Event] = [ADDED, CHANGED, CODE, PhoneVerificationCodeSent(), PhoneVerified()]

        appended = _append(store, *events)

        assert list(store.load("default", "user1")) == list(appended)
        assert [recorded.event for recorded in appended] == events
        assert [recorded.sequence for recorded in appended] == [1, 2, 3, 4, 5]
        first = appended[0]
        assert (first.created_at, first.creator, first.resource_owner, first.revision) == (AT, "admin", "org1", 2)

    def test_an_event_without_a_word_for_it_comes_back_as_it_was_stored(self, store: EventStore) -> None:
        unknown = UnknownEvent("user.human.email.changed", b'{"b": 1,  "a": "\\u00e4"}')

        _append(store, unknown)

        assert [recorded.event for recorded in store.load("default", "user1")] == [unknown]

    def test_all_events_of_a_command_have_one_time(self, store: EventStore) -> None:
        appended = _append(store, ADDED, CODE)

        assert {recorded.created_at for recorded in appended} == {AT}

    def test_users_and_instances_are_kept_apart(self, store: EventStore) -> None:
        _append(store, ADDED, user_id="user1")
        _append(store, ADDED, user_id="user2")
        _append(store, ADDED, user_id="user1", instance_id="other")

        assert [len(store.load(*key)) for key in (("default", "user1"), ("default", "user2"), ("other", "user1"))] == [
            1,
            1,
            1,
        ]
        assert list(store.load("other", "user2")) == []

    @pytest.mark.parametrize("after", [0, 1, 3])
    def test_a_decision_on_another_history_is_a_conflict_and_stores_nothing(
        self, store: EventStore, after: int
    ) -> None:
        before = _append(store, ADDED, CHANGED)

        with pytest.raises(SequenceConflict):
            _append(store, CODE, CODE, after=after)

        assert list(store.load("default", "user1")) == list(before)
        assert store.head() == before[-1].position

    def test_positions_grow_in_the_order_of_storing(self, store: EventStore) -> None:
        first = _append(store, ADDED, CODE, user_id="user1")
        second = _append(store, ADDED, user_id="user2")

        positions = [recorded.position for recorded in (*first, *second)]

        assert positions == sorted(set(positions))
        assert store.head() == positions[-1]

    def test_the_log_is_read_in_pages_behind_a_position(self, store: EventStore) -> None:
        appended = [*_append(store, ADDED, CODE, user_id="user1"), *_append(store, ADDED, user_id="user2")]

        pages: list[Sequence[Recorded]] = []
        after = 0
        while page := store.read_all(after=after, limit=2):
            assert page[0].position > after
            pages.append(page)
            after = page[-1].position

        assert [len(page) for page in pages] == [2, 1]
        assert [recorded for page in pages for recorded in page] == appended

    def test_a_repeated_command_stores_nothing_and_returns_what_is_stored(self, store: EventStore) -> None:
        first = store.append(_new(ADDED, CODE, command_id="command1", fingerprint="key:1"))

        again = store.append(_new(ADDED, CHANGED, command_id="command1", fingerprint="key:2"))

        assert (list(again.recorded), again.fingerprint) == (list(first.recorded), "key:1")
        assert list(store.load("default", "user1")) == list(first.recorded)

    def test_a_command_id_stored_for_another_user_returns_what_is_stored(self, store: EventStore) -> None:
        first = store.append(_new(ADDED, CODE, command_id="command1", fingerprint="key:1"))

        again = store.append(_new(ADDED, CHANGED, user_id="user2", command_id="command1", fingerprint="key:1"))

        assert list(again.recorded) == list(first.recorded)
        assert [recorded.user_id for recorded in again.recorded] == ["user1", "user1"]
        assert list(store.load("default", "user2")) == []

    def test_a_command_is_found_by_its_id(self, store: EventStore) -> None:
        first = store.append(_new(ADDED, CODE, command_id="command1", fingerprint="key:1"))
        store.append(_new(CHANGED, after=2))

        found = store.find_command("default", "command1")

        assert found is not None
        assert (list(found.recorded), found.fingerprint) == (list(first.recorded), "key:1")

    def test_a_command_stored_without_a_fingerprint_has_none(self, store: EventStore) -> None:
        stored = store.append(_new(ADDED, command_id="command1"))

        found = store.find_command("default", "command1")

        assert found is not None
        assert (stored.fingerprint, found.fingerprint) == (None, None)

    def test_an_unknown_command_is_not_found(self, store: EventStore) -> None:
        store.append(_new(ADDED))

        assert store.find_command("default", "command1") is None

    def test_instances_do_not_share_command_ids(self, store: EventStore) -> None:
        store.append(_new(ADDED, command_id="command1", fingerprint="key:1"))

        assert store.find_command("other", "command1") is None
        elsewhere = store.append(_new(ADDED, instance_id="other", command_id="command1", fingerprint="key:2"))

        found = store.find_command("other", "command1")
        assert [recorded.instance_id for recorded in elsewhere.recorded] == ["other"]
        assert found is not None
        assert (list(found.recorded), found.fingerprint) == (list(elsewhere.recorded), "key:2")

    @pytest.mark.parametrize("users", [1, 8])
    def test_a_command_repeated_concurrently_returns_what_is_stored_to_all(self, store: EventStore, users: int) -> None:
        """Each repetition decides other events, as commands do: another code, and another id for a new user."""
        start = threading.Barrier(8)

        def write(number: int) -> StoredCommand:
            code = CODE.model_copy(update={"expiry": number})
            new = _new(ADDED, code, user_id=f"user{number % users}", command_id="command1", fingerprint="key:1")
            start.wait()
            return store.append(new)

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(write, range(8)))

        stored = [recorded for number in range(users) for recorded in store.load("default", f"user{number}")]
        assert [recorded.sequence for recorded in stored] == [1, 2]
        assert [(list(answer.recorded), answer.fingerprint) for answer in answers] == [(stored, "key:1")] * 8

    def test_the_time_is_kept_to_the_microsecond(self, store: EventStore) -> None:
        moment = AT + timedelta(microseconds=123456)

        store.append(replace(_new(ADDED), created_at=moment))

        assert store.load("default", "user1")[0].created_at == moment

    def test_of_many_events_none_is_lost_doubled_or_out_of_place(self, store: EventStore) -> None:
        """So many that a store is caught that fails once in a thousand times."""
        some: list[Event] = [CHANGED, CODE, PhoneVerificationCodeSent(), PhoneVerified()]
        histories: dict[str, list[Recorded]] = {f"user{number}": [] for number in range(7)}
        commands: dict[str, Sequence[Recorded]] = {}
        log: list[Recorded] = []

        for turn in range(MANY_COMMANDS):
            user_id = f"user{turn % 7}"
            history = histories[user_id]
            events = some[: 1 + turn % 4]
            if history and turn % 3 == 0:
                with pytest.raises(SequenceConflict):
                    _append(store, *events, user_id=user_id, after=len(history) - 1)
            command_id = f"command{turn}" if turn % 2 else None
            appended = _append(store, *events, user_id=user_id, after=len(history), command_id=command_id)
            assert [recorded.sequence for recorded in appended] == [len(history) + n for n in range(1, 1 + len(events))]
            history += appended
            log += appended
            if command_id:
                commands[command_id] = appended
                assert list(_append(store, *events, user_id=user_id, after=0, command_id=command_id)) == list(appended)

        positions = [recorded.position for recorded in log]
        assert positions == sorted(set(positions))
        assert store.head() == positions[-1]
        for user_id, history in histories.items():
            assert list(store.load("default", user_id)) == history
        for command_id, stored in commands.items():
            found = store.find_command("default", command_id)
            assert found is not None
            assert list(found.recorded) == list(stored)
        read: list[Recorded] = []
        while page := store.read_all(after=read[-1].position if read else 0, limit=100):
            assert not read or page[0].position > read[-1].position
            read += page
        assert read == log

    def test_of_writers_at_once_one_wins_each_sequence(self, store: EventStore) -> None:
        _append(store, ADDED)
        start = threading.Barrier(8)

        def write(_: int) -> bool:
            start.wait()
            try:
                _append(store, CHANGED, CODE, after=1)
            except SequenceConflict:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(write, range(8)))

        assert sum(won) == 1
        assert [recorded.sequence for recorded in store.load("default", "user1")] == [1, 2, 3]

    def test_a_reader_beside_writers_misses_nothing(self, store: EventStore) -> None:
        writers = 4
        each = 25
        seen: list[Recorded] = []

        def write(writer: int) -> None:
            for sequence in range(each):
                _append(store, CHANGED, user_id=f"user{writer}", after=sequence)

        with ThreadPoolExecutor(writers) as pool:
            done = [pool.submit(write, writer) for writer in range(writers)]
            while len(seen) < writers * each:
                seen += store.read_all(after=seen[-1].position if seen else 0, limit=7)
                if all(one.done() for one in done):
                    [one.result() for one in done]

        positions = [recorded.position for recorded in seen]
        assert positions == sorted(set(positions))
        for writer in range(writers):
            mine = [recorded.sequence for recorded in seen if recorded.user_id == f"user{writer}"]
            assert mine == list(range(1, each + 1))


def _append(
    store: EventStore,
    *events: Event,
    user_id: str = "user1",
    instance_id: str = "default",
    after: int = 0,
    command_id: str | None = None,
) -> Sequence[Recorded]:
    new = _new(*events, user_id=user_id, instance_id=instance_id, after=after, command_id=command_id)
    return store.append(new).recorded


def _new(
    *events: Event,
    user_id: str = "user1",
    instance_id: str = "default",
    after: int = 0,
    command_id: str | None = None,
    fingerprint: str | None = None,
) -> NewEvents:
    return NewEvents(
        instance_id=instance_id,
        user_id=user_id,
        events=events,
        after=after,
        created_at=AT,
        creator="admin",
        resource_owner="org1",
        command_id=command_id,
        fingerprint=fingerprint,
    )
