"""A command whose answer was lost is repeated, also while it is under way, and every answer is what is stored."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

import psycopg

from cluster import Server, own_server
from humanuser import (
    By,
    CommandIdReused,
    Commands,
    DomainError,
    HumanUserAdded,
    PhoneVerificationCodeAdded,
    Policy,
    StoreUnavailable,
)
from humanuser.testing import TransparentVault
from humanuser_adapters.application import Application
from reliability.proof import Effort, Figure, Proof, none
from reliability.proxy import Proxy

CLIENTS = 8
AT_ONCE = 2
"""How often each client sends a command at the same time."""
TURNS = 25
"""Commands on one user: a history of thousands of events takes longer to load than what is looked at here."""
LOST_ANSWERS, LOST_REQUESTS = 0.15, 0.03
SLOW_COMMITS = 0.005
COMMIT_SECONDS = 1.1
MOST_TRIES = 50
POLICY = Policy.recommended().model_copy(update={"code_limits": (), "pause_between_codes": None})
NUMBERS = ("+41791234567", "+41791234568")
SLEEP_AT_COMMIT = """
    CREATE FUNCTION sleep_at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF random() < {share} THEN
            PERFORM pg_sleep({seconds});
        END IF;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER sleep_at_commit AFTER INSERT ON humanuser_events DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.in_tx_order = 1) EXECUTE FUNCTION sleep_at_commit();
"""

Name = Callable[[str, int, int], str]
"""The command id for a user, a turn and a try."""


@dataclass(frozen=True)
class Answer:
    """What a client was answered, or what is stored and should have been."""

    user_id: str
    sequence: int
    code: str | None = None
    """The one that was returned."""


@dataclass
class Told:
    """What one client was answered."""

    answers: list[tuple[str, Answer]] = field(default_factory=list)
    """By command id."""
    tries: int = 0
    refusals: list[str] = field(default_factory=list)


def run(effort: Effort) -> Iterator[Figure]:
    """Give commands through a proxy that swallows answers, to a server some of whose commits are slow."""
    with own_server() as server:
        yield from lose_answers(server, effort.of(20_000, quick=1_000), effort.seed)


def lose_answers(
    server: Server,
    count: int,
    seed: int,
    *,
    name: Name = lambda user, turn, _: f"{user}-{turn}",
    slow_commits: float = SLOW_COMMITS,
) -> Iterator[Figure]:
    """Give *count* commands."""
    Application(server.url, TransparentVault()).close()
    with psycopg.connect(server.url) as connection:
        connection.execute(SLEEP_AT_COMMIT.format(share=slow_commits, seconds=COMMIT_SECONDS))
    proxy = Proxy(
        server.home / ".s.PGSQL.5432",
        b"humanuser_append",
        lost_requests=LOST_REQUESTS,
        lost_answers=LOST_ANSWERS,
        seed=seed,
    )
    with (
        closing(proxy),
        Application(proxy.url, TransparentVault(), policy=POLICY) as application,
        ThreadPoolExecutor(CLIENTS) as pool,
        ThreadPoolExecutor(CLIENTS * AT_ONCE) as tries,
    ):
        users = [f"user{number}" for number in range(count // TURNS)]
        told = list(pool.map(lambda user: _Client(application, tries, user, name).run(), users))
    answers = [answer for one in told for answer in one.answers]
    acknowledged = {command_id for command_id, _ in answers}
    stored, doubled = stored_answers(server.url)
    yield Figure("commands", len(acknowledged))
    yield Figure("requests lost on the way to the database", proxy.requests_lost)
    yield Figure("answers lost on the way back", proxy.answers_lost)
    yield Figure("times a client gave a command again", sum(one.tries for one in told) - len(acknowledged))
    yield none("commands lost", len(acknowledged - stored.keys()))
    yield none(
        "answers that say something else than what is stored",
        sum(command_id in stored and stored[command_id] != answer for command_id, answer in answers),
    )
    yield none("commands that took effect twice", doubled + len(stored.keys() - acknowledged))
    yield none("commands refused for what they had done themselves", sum(len(one.refusals) for one in told))


class _Client:
    """Adds a user and changes its number, and sends every command several times at once."""

    def __init__(self, application: Application, tries: ThreadPoolExecutor, user: str, name: Name) -> None:
        self._application = application
        self._tries = tries
        self._user = user
        self._name = name
        self._told = Told()

    def run(self) -> Told:
        added = self._at_once(0, self._add)
        for turn in range(1, TURNS):
            self._at_once(turn, partial(self._set_phone, added[0].user_id, NUMBERS[turn % 2]))
        return self._told

    def _at_once(self, turn: int, give: Callable[[By], Answer]) -> list[Answer]:
        sent = [self._tries.submit(self._until_answered, turn, first, give) for first in range(AT_ONCE)]
        return [answer for one in sent if (answer := one.result())]

    def _until_answered(self, turn: int, first: int, give: Callable[[By], Answer]) -> Answer | None:
        for attempt in range(first, MOST_TRIES * AT_ONCE, AT_ONCE):
            self._told.tries += 1
            command_id = self._name(self._user, turn, attempt)
            try:
                answer = give(By("admin", "org1", command_id=command_id))
            except StoreUnavailable:
                continue
            except DomainError as error:
                self._told.refusals.append(repr(error))
                return None
            self._told.answers.append((command_id, answer))
            return answer
        return None

    def _add(self, by: By) -> Answer:
        """As the API does: each try has a new id for the user."""
        add, user_id = self._application.commands.add_human_user, self._application.new_user_id()
        profile = HumanUserAdded(user_name=self._user)
        try:
            details = add(user_id, profile, phone=NUMBERS[0], by=by)
        except CommandIdReused as repeated:
            user_id = repeated.user_id
            details = add(user_id, profile, phone=NUMBERS[0], by=by)
        return Answer(user_id, details.sequence)

    def _set_phone(self, user_id: str, number: str, by: By) -> Answer:
        commands: Commands = self._application.commands
        done = commands.set_phone(user_id, number, return_code=True, by=by, permit=lambda _: None)
        return Answer(user_id, done.details.sequence, done.code.characters if done.code else None)


def stored_commands(url: str) -> tuple[dict[str, int], int]:
    """How far each command on a user there was brought the user, and how often something stands there twice."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT command_id, sequence, event_type FROM humanuser_events WHERE sequence > 1 ORDER BY position"
        ).fetchall()
    kinds = Counter((command_id, event_type) for command_id, _, event_type in rows)
    return {command_id: sequence for command_id, sequence, _ in rows}, sum(count - 1 for count in kinds.values())


def stored_answers(url: str) -> tuple[dict[str, Answer], int]:
    """What each command should be answered with, by its id, and how often something stands there twice."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT command_id, aggregate_id, sequence, event_type, payload FROM humanuser_events ORDER BY position"
        ).fetchall()
    kinds = Counter((command_id, event_type) for command_id, _, _, event_type, _ in rows)
    stored = {
        command_id: Answer(user_id, sequence, _returned_code(event_type, payload))
        for command_id, user_id, sequence, event_type, payload in rows
    }
    return stored, sum(count - 1 for count in kinds.values())


def _returned_code(event_type: str, payload: object) -> str | None:
    """As ``TransparentVault`` hides it: not at all."""
    if event_type != PhoneVerificationCodeAdded.type:
        return None
    added = json.loads(payload) if isinstance(payload, str) else payload
    assert isinstance(added, dict)
    if not added.get("code_returned"):
        return None
    return base64.b64decode(added["code"]["Crypted"]).decode().rpartition("\0")[2]


LOST_ANSWERS_PROVEN = Proof(
    "R6",
    "a command whose answer was lost takes effect once, and is answered with what is stored when it comes again, "
    "also while it is under way",
    run,
)
