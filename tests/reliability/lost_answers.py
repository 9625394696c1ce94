"""A command whose answer was lost on the way is given again, and has taken effect once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field

import psycopg

from cluster import Server, own_server
from humanuser import By, Commands, DomainError, HumanUserAdded, Policy, StoreUnavailable
from humanuser.testing import TransparentVault
from humanuser_adapters.application import Application
from reliability.proof import Effort, Figure, Proof, none
from reliability.proxy import Proxy

CLIENTS = 8
TURNS = 25
"""Commands on one user: a history of thousands of events takes longer to load than what is looked at here."""
LOST_ANSWERS, LOST_REQUESTS = 0.15, 0.03
MOST_TRIES = 50
POLICY = Policy.recommended().model_copy(update={"code_limits": (), "pause_between_codes": None})
NUMBERS = ("+41791234567", "+41791234568")


@dataclass
class Told:
    """What one client was answered."""

    acknowledged: dict[str, int] = field(default_factory=dict)
    """The sequence that each command id brought its user to."""
    tries: int = 0
    refusals: list[str] = field(default_factory=list)


def run(effort: Effort) -> Iterator[Figure]:
    """Give commands through a proxy that swallows answers."""
    with own_server() as server:
        yield from lose_answers(server, effort.of(20_000, quick=1_000), effort.seed)


def lose_answers(
    server: Server,
    count: int,
    seed: int,
    *,
    name: Callable[[str, int, int], str] = lambda user, turn, _: f"{user}-{turn}",
) -> Iterator[Figure]:
    """Give *count* commands; *name* gives the id for a user, a turn and a try."""
    proxy = Proxy(
        server.home / ".s.PGSQL.5432",
        b"humanuser_append",
        lost_requests=LOST_REQUESTS,
        lost_answers=LOST_ANSWERS,
        seed=seed,
    )
    users = [f"user{number}" for number in range(count // TURNS)]
    with Application(server.url, TransparentVault()) as direct:
        for user_id in users:
            direct.commands.add_human_user(user_id, HumanUserAdded(user_name="a"), by=By("admin", "org1"))
    with (
        closing(proxy),
        Application(proxy.url, TransparentVault(), policy=POLICY) as application,
        ThreadPoolExecutor(CLIENTS) as pool,
    ):
        told = list(pool.map(lambda user: _change(application.commands, user, name), users))
    acknowledged = {command: sequence for one in told for command, sequence in one.acknowledged.items()}
    stored, doubled = stored_commands(server.url)
    yield Figure("commands", len(acknowledged))
    yield Figure("requests lost on the way to the database", proxy.requests_lost)
    yield Figure("answers lost on the way back", proxy.answers_lost)
    yield Figure("times a client gave a command again", sum(one.tries for one in told) - len(acknowledged))
    yield none("commands lost", sum(stored.get(command) != sequence for command, sequence in acknowledged.items()))
    yield none("commands that took effect twice", doubled + len(stored) - len(acknowledged))
    yield none("commands refused for what they had done themselves", sum(len(one.refusals) for one in told))


def _change(commands: Commands, user_id: str, name: Callable[[str, int, int], str]) -> Told:
    told = Told()
    for turn in range(TURNS):
        for attempt in range(MOST_TRIES):
            told.tries += 1
            command_id = name(user_id, turn, attempt)
            by = By("admin", "org1", command_id=command_id)
            try:
                told.acknowledged[command_id] = commands.change_phone(user_id, NUMBERS[turn % 2], by=by).sequence
                break
            except StoreUnavailable:
                continue
            except DomainError as error:
                told.refusals.append(repr(error))
                break
    return told


def stored_commands(url: str) -> tuple[dict[str, int], int]:
    """How far each command brought its user, and how often something stands there a second time."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT command_id, sequence, event_type FROM humanuser_events WHERE sequence > 1 ORDER BY position"
        ).fetchall()
    kinds = Counter((command_id, event_type) for command_id, _, event_type in rows)
    return {command_id: sequence for command_id, sequence, _ in rows}, sum(count - 1 for count in kinds.values())


LOST_ANSWERS_PROVEN = Proof(
    "R6", "a command whose answer was lost takes effect once, and is answered when it comes again", run
)
