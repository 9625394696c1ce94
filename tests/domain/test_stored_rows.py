"""Rows as the first release stored them, or took over from ZITADEL, are read for ever. Add rows; edit none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from humanuser import (
    Event,
    Failures,
    GeneratorInfo,
    HumanUser,
    HumanUserAdded,
    HumanUserSelfRegistered,
    InitialisationCodeAdded,
    PendingCode,
    PhoneChanged,
    PhoneNumber,
    PhoneRemoved,
    PhoneVerificationCodeAdded,
    PhoneVerificationCodeSent,
    PhoneVerificationFailed,
    PhoneVerified,
    ProfileChanged,
    Recorded,
    SealedCode,
    UnknownEvent,
    UserDeactivated,
    UserInitialised,
    UserLocked,
    UserReactivated,
    UserRemoved,
    UserState,
    UserUnlocked,
)
from humanuser_adapters.event_store import REGISTRY, SQLiteEventRecorder, UserEventStore, payload_of
from humanuser_adapters.sqlite import SQLiteDatabase

ROWS: list[dict[str, Any]] = [  # Any: numbers, texts and null
    json.loads(line) for line in Path(__file__).with_name("stored_rows.jsonl").read_text(encoding="utf-8").splitlines()
]
SWISS = PhoneNumber("+41791234567")
OTHER = PhoneNumber("+41791234568")
AMERICAN = PhoneNumber("+14155552671")
OURS = SealedCode(crypto_type=0, algorithm="AES-256-GCM", key_id="key1", crypted="AAECAwQFBgcICQoLc2VhbGVkIGJ5IHVz")
ZITADELS = SealedCode(crypto_type=0, algorithm="aes", key_id="userKey", crypted="c2VhbGVkIGJ5IFpJVEFERUw=")
TEN_MINUTES = 600_000_000_000
AN_HOUR = 3_600_000_000_000
RETURNED = PhoneVerificationCodeAdded(
    code=OURS,
    expiry=TEN_MINUTES,
    code_returned=True,
    generator_id="generator1",
    trigger_origin="https://id.example.com",
)

EVENTS: list[Event] = [
    HumanUserAdded(
        user_name="ada",
        first_name="Ada",
        last_name="Lovelace",
        nick_name="Countess",
        display_name="Ada Lovelace",
        preferred_language="en",
        gender=1,
        email="ada@example.com",
        phone=SWISS,
    ),
    PhoneVerificationCodeAdded(code=OURS, expiry=TEN_MINUTES),
    PhoneVerificationCodeSent(),
    PhoneVerificationFailed(),
    PhoneVerified(),
    PhoneChanged(phone=OTHER),
    RETURNED,
    PhoneVerificationFailed(),
    UserLocked(),
    UserUnlocked(),
    HumanUserAdded(user_name="grace"),
    InitialisationCodeAdded(),
    UserInitialised(),
    PhoneChanged(phone=AMERICAN),
    PhoneVerificationCodeAdded(code=ZITADELS, expiry=AN_HOUR),
    PhoneVerificationCodeSent(),
    PhoneVerificationFailed(),
    PhoneVerified(),
    PhoneRemoved(),
    UnknownEvent("user.human.avatar.added", b'{"storeKey": "users/grace/avatar", "\\u00e4":  1}'),
    PhoneChanged(phone=AMERICAN),
    PhoneVerificationCodeAdded(),
    PhoneVerificationCodeSent(generator_info=GeneratorInfo(id="twilio", verification_id="VE1")),
    HumanUserSelfRegistered(user_name="edith", first_name="Édith", preferred_language="fr"),
    InitialisationCodeAdded(),
    UserInitialised(),
    PhoneChanged(phone=SWISS),
    PhoneVerificationCodeAdded(code=ZITADELS, expiry=AN_HOUR, trigger_origin="https://id.example.com:8443"),
    PhoneVerificationCodeSent(),
    PhoneRemoved(),
    UserDeactivated(),
    UserReactivated(),
    UserDeactivated(),
    HumanUserSelfRegistered(user_name="alan", phone=OTHER),
    UserRemoved(),
    ProfileChanged(preferred_language="de"),
    ProfileChanged(preferred_language="fr"),
]

USERS = {
    ("default", "ada"): HumanUser(
        state=UserState.ACTIVE,
        sequence=10,
        resource_owner="org1",
        created_at=datetime(2026, 5, 10, 12, tzinfo=UTC),
        phone=OTHER,
        last_verified_phone=SWISS,
        pending_code=PendingCode(7, datetime(2026, 5, 10, 12, 10, tzinfo=UTC), OTHER, RETURNED, failures=1),
        failures=Failures(((OTHER, 1),)),
        codes_asked_at=(datetime(2026, 5, 10, 12, tzinfo=UTC), datetime(2026, 5, 10, 12, 10, tzinfo=UTC)),
    ),
    ("default", "grace"): HumanUser(
        state=UserState.ACTIVE,
        sequence=13,
        resource_owner="org2",
        created_at=datetime(2019, 11, 5, 8, tzinfo=UTC),
        phone=AMERICAN,
        pending_code=PendingCode(
            12, datetime(2026, 1, 2, tzinfo=UTC), AMERICAN, PhoneVerificationCodeAdded(), sent=True
        ),
        codes_asked_at=(datetime(2019, 11, 6, 8, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)),
    ),
    ("default", "edith"): HumanUser(
        state=UserState.INACTIVE,
        sequence=10,
        resource_owner="org1",
        created_at=datetime(2026, 5, 10, 13, tzinfo=UTC),
        codes_asked_at=(datetime(2026, 5, 10, 13, 6, tzinfo=UTC),),
    ),
    ("other", "alan"): HumanUser(
        state=UserState.DELETED,
        sequence=4,
        resource_owner="org1",
        created_at=datetime(2026, 5, 10, 14, tzinfo=UTC),
    ),
}


@pytest.fixture
def store(tmp_path: Path) -> UserEventStore:
    """A store into whose table the rows were written by hand."""
    database = SQLiteDatabase(tmp_path / "test.sqlite")
    recorder = SQLiteEventRecorder(database)
    columns = list(ROWS[0])
    insert = f"INSERT INTO humanuser_events ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608
    with database.write() as connection:
        connection.executemany(insert, [tuple(row.values()) for row in ROWS])
    return UserEventStore(recorder)


@pytest.fixture
def log(store: UserEventStore) -> Sequence[Recorded]:
    return store.read_all(after=0, limit=len(ROWS) + 1)


def test_every_name_that_is_read_is_in_the_file_and_one_that_is_not() -> None:
    names = {row["event_type"] for row in ROWS}

    assert names - set(REGISTRY) == {"user.human.avatar.added"}
    assert set(REGISTRY) <= names


def test_every_row_has_the_columns_of_its_release_and_later_ones_come_behind(
    store: UserEventStore, tmp_path: Path
) -> None:
    with SQLiteDatabase(tmp_path / "test.sqlite").read() as connection:
        columns = [column[1] for column in connection.execute("PRAGMA table_info(humanuser_events)")]

    assert store.head() == len(ROWS)
    assert all(list(row) == columns[: len(row)] for row in ROWS)
    assert columns[len(ROWS[0]) :] == ["source_position", "fingerprint"]


@pytest.mark.parametrize("place", range(len(ROWS)), ids=[f"{row['position']}-{row['event_type']}" for row in ROWS])
def test_a_stored_row_is_read_as_the_event_it_was(log: Sequence[Recorded], place: int) -> None:
    assert type(log[place].event) is type(EVENTS[place])
    assert log[place].event == EVENTS[place]


@pytest.mark.parametrize("row", ROWS, ids=[str(row["position"]) for row in ROWS])
def test_a_stored_row_keeps_its_envelope(log: Sequence[Recorded], row: dict[str, Any]) -> None:
    recorded = log[row["position"] - 1]

    assert recorded == Recorded(
        instance_id=row["instance_id"],
        user_id=row["aggregate_id"],
        sequence=row["sequence"],
        created_at=datetime.strptime(row["created_at"], "%Y-%m-%dT%H:%M:%S.%f%z"),
        creator=row["creator"],
        resource_owner=row["owner"],
        event=recorded.event,
        revision=row["revision"],
        position=row["position"],
    )


@pytest.mark.parametrize("place", range(10), ids=[row["event_type"] for row in ROWS[:10]])
def test_a_row_that_we_wrote_would_be_written_the_same(place: int) -> None:
    written = payload_of(EVENTS[place])

    assert ROWS[place]["aggregate_id"] == "ada"
    assert ROWS[place]["event_type"] == EVENTS[place].type
    assert ROWS[place]["payload"] == (written.decode() or None)


def test_the_file_makes_the_users_that_it_always_made(store: UserEventStore) -> None:
    assert {(row["instance_id"], row["aggregate_id"]) for row in ROWS} == set(USERS)
    for key, user in USERS.items():
        assert HumanUser.replay(store.load(*key)) == user


def test_a_command_of_the_file_is_found_again(store: UserEventStore) -> None:
    found = store.find_command("default", "add ada")

    assert found is not None
    assert [recorded.sequence for recorded in found.recorded] == [1, 2]


def test_no_stored_code_is_printed(log: Sequence[Recorded]) -> None:
    printed = repr(log)

    assert all(sealed.crypted not in printed for sealed in (OURS, ZITADELS))
