"""Random calls about users with random histories: every wire tells the same."""

from __future__ import annotations

import itertools
import json
import operator
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from fakes import Callers, FakeClock, new_events
from humanuser import (
    Caller,
    CodeOwner,
    Event,
    HumanUserAdded,
    InitialisationCodeAdded,
    PhoneChanged,
    PhoneNumber,
    PhoneRemoved,
    PhoneVerificationCodeAdded,
    PhoneVerificationFailed,
    PhoneVerified,
    Policy,
    UserRemoved,
    VerificationCode,
)
from humanuser.testing import TransparentVault, phone_texts, possible_phones
from humanuser_adapters.api import PhoneService
from humanuser_adapters.api.methods import METHODS, Method
from humanuser_adapters.api.rules import Field, Kind, text_rule
from humanuser_adapters.application import Application
from humanuser_adapters.auth import permissions_of
from humanuser_adapters.event_store import SQLiteEventRecorder, UserEventStore
from humanuser_adapters.sqlite import SQLiteDatabase
from wires import BY_NAME, Outcome, Wire, every_wire, served

OLD = "+41791234567"
CODE = "123456"
USER = "{user}"
"""Stands in calls and outcomes for the id of the user that they are about: each wire has one of its own."""
LONGEST_IN_A_PATH = 1000
LONGEST_HEADER = 3000
EXAMPLES = max(min(settings().max_examples, 100), settings().max_examples // 5)

CODE_ADDED = PhoneVerificationCodeAdded(expiry=600_000_000_000)
"""Becomes a code that is ``CODE``."""
TURNS: list[list[Event]] = [
    [CODE_ADDED],
    [CODE_ADDED] * 5,
    [PhoneChanged(phone=PhoneNumber("+41791234568")), CODE_ADDED],
    [PhoneVerified()],
    [PhoneVerificationFailed()] * 4,
    [PhoneRemoved()],
    [InitialisationCodeAdded()],
    [UserRemoved()],
]
ROLES = {"admin": ["ORG_OWNER"], "viewer": ["ORG_OWNER_VIEWER"], "instance": ["IAM_OWNER"], "nobody": []}
TOKENS = {
    "zitadel.management.v1.ManagementService": ["admin", "instance", "viewer"],
    "zitadel.auth.v1.AuthService": [USER],
    "zitadel.user.v2.UserService": ["admin", USER],
}
ADA = {"user_name": "ada", "profile": {"first_name": "Ada", "last_name": "Byron", "gender": -(2**31)}}
"""With the smallest number that a gender can have, and none has."""


@dataclass(frozen=True)
class Call:
    """A call to make."""

    method: Method
    fields: Mapping[str, Any]
    headers: Mapping[str, str]

    def by(self, wire: Wire, user_id: str) -> Outcome:
        """What comes of it about the user."""
        fields = json_format.ParseDict(_replaced(self.fields, USER, user_id), self.method.request())
        return wire.call(self.method, fields, _replaced(self.headers, USER, user_id))

    @property
    def fits_a_path(self) -> bool:
        """Whether REST can carry it: a segment of a path is neither empty nor dots, has no "/" and some end."""
        user_id = self.fields.get("user_id", USER)
        return 0 < len(user_id) <= LONGEST_IN_A_PATH and "/" not in user_id and user_id not in {".", ".."}


class World:
    """A server, and users to whom this and that has happened."""

    def __init__(self, wires: dict[str, Wire], store: UserEventStore, callers: Callers, clock: FakeClock) -> None:
        self.wires = wires
        self.clock = clock
        self._store = store
        self._callers = callers
        self._vault = TransparentVault()
        self._numbers = itertools.count()

    def new_user(self, history: Sequence[Event], organization: str) -> str:
        """The id of a user, as long as all others, who is known by it as a token too."""
        user_id = f"user{next(self._numbers):06}"
        code = self._vault.seal(VerificationCode(CODE), CodeOwner("default", user_id))
        events = [one.model_copy(update={"code": code}) if one is CODE_ADDED else one for one in history]
        self._callers[user_id] = Caller(user_id, organization)
        if events:
            self._store.append(new_events(user_id, events, created_at=self.clock(), resource_owner=organization))
        return user_id


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    path = tmp_path_factory.mktemp("world") / "test.sqlite"
    clock = FakeClock()
    callers = Callers({name: Caller(name, "org1", permissions_of(roles, "org1")) for name, roles in ROLES.items()})
    with (
        Application(path, TransparentVault(), clock=clock, policy=Policy.recommended()) as application,
        closing(SQLiteDatabase(path)) as database,
        served(PhoneService(application.commands, application.find_user, application.new_user_id), callers) as address,
        every_wire(address) as wires,
    ):
        yield World(wires, UserEventStore(SQLiteEventRecorder(database)), callers, clock)


def histories() -> SearchStrategy[list[Event]]:
    """Of a user with a phone; empty: there is none."""
    added: Event = HumanUserAdded(user_name="ada", phone=PhoneNumber(OLD))
    turns = st.lists(st.sampled_from(TURNS), max_size=3)
    return mostly(turns.map(lambda turns: [added, *itertools.chain(*turns)]), st.just([]))


@st.composite
def mostly(draw: DrawFn, good: SearchStrategy[Any], bad: SearchStrategy[Any]) -> Any:
    """What is *good* nine times in ten."""
    return draw(bad if draw(st.integers(0, 9)) == 5 else good)


def texts(longest: int) -> SearchStrategy[str]:
    """Anything that a field can hold that should not be longer; protobuf's texts know no half characters."""
    characters = st.characters(exclude_categories=["Cs"])
    lengths = st.sampled_from([1, longest, longest + 1, 100_000])
    return st.text(characters, max_size=longest + 1) | st.builds(operator.mul, characters, lengths)


@cache
def messages(kind: Kind) -> SearchStrategy[dict[str, Any]]:
    """Messages by the names of their fields, of a oneof with at most one."""
    others = {field.name: values(field) for field in kind.fields if not field.containing_oneof}
    parts: list[SearchStrategy[dict[str, Any]]] = [st.fixed_dictionaries(others)]
    for oneof in kind.oneofs:
        fields = [st.fixed_dictionaries({field.name: values(field)}) for field in oneof.fields]
        parts.append(st.one_of(st.just({}), *fields))
    return st.tuples(*parts).map(
        lambda chosen: {name: value for part in chosen for name, value in part.items() if value is not None}
    )


def values(field: Field) -> SearchStrategy[Any]:
    """What the field can hold, of its JSON; None: nothing."""
    match field.type, field.name:
        case FieldDescriptor.TYPE_BOOL, _:
            return st.booleans()
        case FieldDescriptor.TYPE_ENUM, _:
            return mostly(st.sampled_from([0, 1, 2, 3]), st.sampled_from([-(2**31), -1, 4, 2**31 - 1]))
        case FieldDescriptor.TYPE_MESSAGE, _:
            return mostly(messages(field.message_type), st.none())
        case _, "user_id":
            good: SearchStrategy[str] = st.just(USER)
        case _, "phone":
            good = st.just(OLD) | possible_phones() | phone_texts().map(lambda text: text.replace("\ud800", "?"))
        case _, "code" | "verification_code":
            good = st.just(CODE)
        case _:
            good = st.just("Ada")
    rule = text_rule(field)
    return mostly(good, texts(rule.longest if rule else 200))


def header_values() -> SearchStrategy[str]:
    """What HTTP and gRPC both carry, once the spaces at its ends are gone: printable ASCII."""
    printable = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
    return st.text(printable, max_size=250) | st.just("k" * LONGEST_HEADER)


@st.composite
def calls(draw: DrawFn) -> Call:
    """Calls of any method."""
    method = draw(st.sampled_from(METHODS))
    tokens = st.sampled_from(TOKENS[method.service]).map("Bearer {}".format)
    bad = st.sampled_from(["", "Bearer", "bearer admin", "Basic YWRtaW4=", "Bearer  admin", "Bearer nobody"])
    strange = header_values()
    given: dict[str, SearchStrategy[str | None]] = {
        "authorization": mostly(tokens, st.none() | bad | strange | strange.map("Bearer {}".format)),
        "x-zitadel-orgid": mostly(st.sampled_from([None, "org1"]), st.sampled_from(["org2", "", "*"]) | strange),
        # the user's id is in it, because a key that did something to one user does nothing to another
        "idempotency-key": mostly(
            st.sampled_from([None, f"key of {USER}"]), st.just("") | strange.map(lambda text: text + USER)
        ),
    }
    headers = draw(st.fixed_dictionaries(given))
    return Call(
        method,
        draw(messages(method.request.DESCRIPTOR)),
        {name: value.strip() for name, value in headers.items() if value is not None},
    )


# too slow is the first phone number, for which the metadata of all countries is read
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
@given(
    history=histories(),
    organization=mostly(st.just("org1"), st.just("org2")),
    wait=st.sampled_from([timedelta(0), timedelta(minutes=1), timedelta(minutes=10)]),
    calls=st.lists(calls(), min_size=1, max_size=3),
)
@example([], "org1", timedelta(0), [Call(BY_NAME["AddHumanUser"], ADA, {"authorization": "Bearer admin"})])
def test_every_wire_tells_the_same(
    world: World, history: list[Event], organization: str, wait: timedelta, calls: list[Call]
) -> None:
    users = {name: world.new_user(history, organization) for name in world.wires}
    world.clock.now += wait

    for call in calls:
        by = {name: wire for name, wire in world.wires.items() if name != "REST" or call.fits_a_path}
        told = {name: _told(call.by(wire, users[name]), users[name]) for name, wire in by.items()}

        assert told == dict.fromkeys(told, told["gRPC"])
        event(f"{call.method.name}: {told['gRPC'][:2]}")


def _replaced(value: Any, old: str, new: str) -> Any:
    """The same JSON with other texts in it."""
    return json.loads(json.dumps(value).replace(old, new))


def _told(outcome: Outcome, user_id: str) -> Any:  # Any: JSON
    """The outcome without what differs from user to user: ids, and codes that were drawn."""
    answer = None if outcome.answer is None else json_format.MessageToDict(outcome.answer)
    for drawn in ("userId", "verificationCode"):
        if answer and drawn in answer:
            answer[drawn] = len(answer[drawn])
    return _replaced([outcome.code, outcome.message, outcome.details, answer], user_id, USER)
