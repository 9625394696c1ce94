"""R18: what `humanuser serve` answers over HTTP is what is stored, whatever is repeated, frozen or killed.

The client is ``http.client`` and the judge is SQL: neither shares code with the project. A client sends each command
several times at once under one Idempotency-Key, gives up early now and then, and goes on until it has an answer.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from cluster import Server, own_server
from reliability.outages import DURABLE, frozen, stopped
from reliability.proof import Effort, Figure, Proof, at_least, none

CLIENTS = 8
REPEATS = 2
"""How often each command is sent at the same time."""
COMMANDS_OF_A_LIFE = 6
GIVE_UP_SECONDS, TIMEOUT_SECONDS = 0.3, 10.0
IMPATIENT = 0.2
"""The share of requests whose client gives up early."""
SLOW_COMMIT_SECONDS, SLOW_COMMITS = 1.1, 0.01
BACK_OFF_SECONDS = 0.05
PATIENCE_SECONDS = 60
"""How long a command may go without an answer."""
POLICY: dict[str, object] = {"pause_between_codes": None, "code_limits": []}
NUMBERS = ("+41791234567", "+41791234568", "+41791234569")
ABORTED, ALREADY_EXISTS = 10, 6

_EVENT = "user.human."
EVENTS = {
    "add": (_EVENT + "added",),
    "set": (_EVENT + "phone.changed", _EVENT + "phone.code.added"),
    "guess": (_EVENT + "phone.verification.failed",),
    "prove": (_EVENT + "phone.verified",),
    "vouch": (_EVENT + "phone.changed", _EVENT + "phone.verified"),
    "remove": (_EVENT + "phone.removed",),
}
"""What each kind of command stores."""

_SLOW_COMMITS = f"""
    CREATE FUNCTION commit_slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF random() < {SLOW_COMMITS} THEN PERFORM pg_sleep({SLOW_COMMIT_SECONDS}); END IF;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER commits_slowly AFTER INSERT ON humanuser_events DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.in_tx_order = 1) EXECUTE FUNCTION commit_slowly();
"""
_ROWS = "SELECT aggregate_id, sequence, event_type, created_at, owner, payload, command_id FROM humanuser_events"


@dataclass(frozen=True)
class Answer:
    """A definite answer: neither a time-out nor "try again"."""

    status: int
    body: Any  # JSON

    @property
    def details(self) -> Mapping[str, Any]:  # Any: JSON
        details: Mapping[str, Any] = self.body.get("details", {}) if isinstance(self.body, dict) else {}
        return details


@dataclass
class Command:
    """What was asked under one key, and every answer to it."""

    key: str
    kind: str
    user_id: str = ""
    phone: str = ""
    answers: list[Answer] = field(default_factory=list)

    @property
    def acknowledged(self) -> Answer | None:
        """The answer that its client goes by."""
        return next((one for one in self.answers if one.status == http.client.OK), None)


@dataclass(frozen=True)
class Stored:
    """The rows of one command."""

    user_id: str
    sequence: int
    created_at: datetime
    owner: str
    events: tuple[str, ...]
    phone: str


@dataclass
class Seen:
    """What the clients recorded."""

    commands: list[Command] = field(default_factory=list)
    requests: int = 0
    unanswered: int = 0
    """Requests that were given up, broke off, or were told to try again."""
    stuck: list[str] = field(default_factory=list)
    """Keys that never got an answer."""
    accepted: list[str] = field(default_factory=list)
    """Keys under which something else was accepted later."""
    read_wrongly: list[str] = field(default_factory=list)
    """Users whose phone was read as another one than the last acknowledged."""

    def add(self, other: Seen) -> None:
        for name, mine in vars(self).items():
            setattr(self, name, mine + getattr(other, name))


class Served:
    """``humanuser serve`` on *database*, which is killed and started again."""

    def __init__(self, folder: Path, database: str) -> None:
        self._folder, self._database = folder, database
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            self.port: int = free.getsockname()[1]
        (folder / "policy.json").write_text(json.dumps(POLICY))
        ours = {name: value for name, value in os.environ.items() if not name.startswith("HUMANUSER_")}
        self._environment = {
            **ours,
            "HUMANUSER_DATABASE": database,
            "HUMANUSER_POLICY": str(folder / "policy.json"),
            "HUMANUSER_TOKEN_FILE": str(folder / "tokens.toml"),
            "HUMANUSER_CODE_KEY_FILE": str(folder / "keys"),
            "HUMANUSER_LOG_LEVEL": "error",
        }
        token = self._run("token", "add", "--user", "admin", "--organization", "acme", "--role", "ORG_OWNER", "--json")
        self.token: str = json.loads(token)["token"]
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self._folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command("serve", "--port", str(self.port), "--json"),
                env=self._environment,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        until = time.monotonic() + PATIENCE_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError((self._folder / "server.log").read_text())
            time.sleep(0.05)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It answers nothing and closes nothing."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    @contextmanager
    def killed(self) -> Iterator[None]:
        """It dies, and is started again."""
        self.kill()
        try:
            yield
        finally:
            self.start()

    def rows(self) -> list[Any]:  # Any: rows
        """Every event, by SQL."""
        query = f"{_ROWS} ORDER BY aggregate_id, sequence"
        if "://" in self._database:
            with psycopg.connect(self._database) as connection:
                return connection.execute(query.encode()).fetchall()
        with closing(sqlite3.connect(self._database)) as file:
            return [
                (*row[:3], datetime.fromisoformat(row[3]), row[4], json.loads(row[5] or "{}"), row[6])
                for row in file.execute(query)
            ]

    def _answers(self) -> bool:
        with suppress(OSError), closing(socket.create_connection(("127.0.0.1", self.port), timeout=1)):
            return True
        return False

    def _run(self, *arguments: str) -> str:
        command = self._command(*arguments)
        return subprocess.run(command, env=self._environment, check=True, capture_output=True, text=True).stdout

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "humanuser_adapters.cli", *arguments]


class Client:
    """Sends requests over connections of its own, one a thread."""

    def __init__(self, port: int, token: str) -> None:
        self._port, self._token = port, token
        self._own = threading.local()
        self._opened: list[http.client.HTTPConnection] = []

    def close(self) -> None:
        """Close the connections of all threads, which send nothing any more."""
        for connection in self._opened:
            connection.close()

    def send(self, verb: str, path: str, body: object, key: str | None, timeout: float) -> Answer | None:
        """The answer; None if nobody knows what became of the request, or if it is to be sent again."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = key
        connection: http.client.HTTPConnection | None = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._own.connection = http.client.HTTPConnection("127.0.0.1", self._port)
            self._opened.append(connection)
        connection.timeout = timeout
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        try:
            connection.request(verb, path, json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return None
        answer = Answer(response.status, json.loads(text))
        again = answer.status >= http.client.INTERNAL_SERVER_ERROR or answer.body.get("code") == ABORTED
        return None if again else answer


class Life:
    """One user, whose commands are each sent several times at once under one key."""

    def __init__(
        self, client: Client, pool: ThreadPoolExecutor, name: str, seed: str, key_of: Callable[[str, int], str]
    ) -> None:
        self.seen = Seen()
        self._client, self._pool, self._name = client, pool, name
        self._chance = random.Random(seed)  # noqa: S311 - the same for the same seed
        self._key_of = key_of

    def live(self) -> Seen:
        """Added, changed, guessed at, proven, vouched for, removed."""
        numbers = self._chance.sample(NUMBERS, k=2)
        profile = {"userName": self._name, "profile": {"firstName": "Ada", "lastName": "Lovelace"}}
        added = self._ask("add", "POST", "/management/v1/users/human", profile)
        if added is None:
            return self.seen
        user_id = added.body["userId"]
        v1, v2 = f"/management/v1/users/{user_id}/phone", f"/v2/users/{user_id}/phone"
        set_body = {"phone": numbers[0], "returnCode": {}}
        changed = self._ask("set", "POST", v2, set_body, user_id, numbers[0])
        self._read(v1, numbers[0])
        code = changed.body.get("verificationCode", "") if changed else ""
        wrong = "000000" if code != "000000" else "111111"
        self._ask("guess", "POST", f"{v2}/verify", {"verificationCode": wrong}, user_id)
        proven = self._ask("prove", "POST", f"{v2}/verify", {"verificationCode": code}, user_id)
        if proven:
            self._ask_otherwise("prove", "POST", f"{v2}/verify", {"verificationCode": wrong})
        vouch = {"phone": numbers[1], "isPhoneVerified": True}
        if self._ask("vouch", "PUT", v1, vouch, user_id, numbers[1]):
            self._ask_otherwise("vouch", "PUT", v1, {**vouch, "phone": numbers[0]})
        self._read(v1, numbers[1])
        self._ask("remove", "DELETE", v1, {}, user_id)
        self._read(v1, "")
        return self.seen

    def _ask(self, kind: str, verb: str, path: str, body: object, user_id: str = "", phone: str = "") -> Answer | None:
        """Send it until there is an answer; None: it was refused, or never answered."""
        command = Command(f"{self._name}-{kind}", kind, user_id, phone)
        self.seen.commands.append(command)
        until = time.monotonic() + PATIENCE_SECONDS
        attempt = 0
        while not command.answers and time.monotonic() < until:
            timeouts = [
                GIVE_UP_SECONDS if self._chance.random() < IMPATIENT else TIMEOUT_SECONDS for _ in range(REPEATS)
            ]
            keys = [self._key_of(command.key, attempt + number) for number in range(REPEATS)]
            attempt += REPEATS
            sent = [
                self._pool.submit(self._client.send, verb, path, body, key, timeout)
                for key, timeout in zip(keys, timeouts, strict=True)
            ]
            answers = [one.result() for one in sent]
            self.seen.requests += REPEATS
            self.seen.unanswered += answers.count(None)
            command.answers += [answer for answer in answers if answer is not None]
            if not command.answers:
                time.sleep(BACK_OFF_SECONDS)
        if not command.answers:
            self.seen.stuck.append(command.key)
        return command.acknowledged

    def _ask_otherwise(self, kind: str, verb: str, path: str, body: object) -> None:
        """The key of an acknowledged command, with other content: it must be refused as a reused key."""
        key = f"{self._name}-{kind}"
        answer = self._until_answered(verb, path, body, key)
        if answer is not None and (answer.status != http.client.CONFLICT or answer.body.get("code") != ALREADY_EXISTS):
            self.seen.accepted.append(key)

    def _read(self, path: str, phone: str) -> None:
        answer = self._until_answered("GET", path, {}, None)
        if answer is not None and answer.body.get("phone", {}).get("phone", "") != phone:
            self.seen.read_wrongly.append(self._name)

    def _until_answered(self, verb: str, path: str, body: object, key: str | None) -> Answer | None:
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            self.seen.requests += 1
            answer = self._pool.submit(self._client.send, verb, path, body, key, TIMEOUT_SECONDS).result()
            if answer is not None:
                return answer
            self.seen.unanswered += 1
            time.sleep(BACK_OFF_SECONDS)
        self.seen.stuck.append(f"{self._name} {verb}")
        return None


def run(effort: Effort) -> Iterator[Figure]:
    """Half of the commands on each kind of database."""
    count = effort.of(20_000, quick=1_200) // 2
    with tempfile.TemporaryDirectory() as folder, own_server(DURABLE) as server:
        for name, database, upstream in (
            ("SQLite", f"{folder}/served.sqlite", None),
            ("PostgreSQL", server.url, server),
        ):
            place = Path(folder) / name
            place.mkdir()
            for figure in serve(place, database, upstream, count, effort.seed):
                yield Figure(f"{figure.what}, {name}", figure.measured, figure.wanted, figure.holds)


def serve(
    folder: Path,
    database: str,
    upstream: Server | None,
    count: int,
    seed: int,
    *,
    key_of: Callable[[str, int], str] = lambda key, _: key,
) -> Iterator[Figure]:
    """Give *count* commands to a server that is disturbed; *key_of* gives the key of a command and a try."""
    served = Served(folder, database)
    lives = [f"u{number}" for number in range(max(count // COMMANDS_OF_A_LIFE, 1))]
    try:
        if upstream is not None:
            with psycopg.connect(database, autocommit=True) as connection:
                connection.execute(_SLOW_COMMITS.encode())
        with ThreadPoolExecutor(1) as beside:
            clients = beside.submit(_live, served, lives, seed, key_of)
            disturbances = _disturb(served, database, upstream, seed, clients.done)
        seen, rows = clients.result(), served.rows()
    finally:
        served.kill()
    yield Figure("requests", seen.requests)
    yield Figure("requests without an answer", seen.unanswered)
    for what, times in sorted(disturbances.items()):
        yield Figure(what, times)
    yield from judge(seen, rows)


def _live(served: Served, names: Sequence[str], seed: int, key_of: Callable[[str, int], str]) -> Seen:
    """Live the lives of *names*, several at a time."""
    seen = Seen()
    with (
        closing(Client(served.port, served.token)) as client,
        ThreadPoolExecutor(CLIENTS) as living,
        ThreadPoolExecutor(CLIENTS * REPEATS) as pool,
    ):
        lives = [Life(client, pool, name, f"{seed}-{name}", key_of) for name in names]
        for one in living.map(lambda life: life.live(), lives):
            seen.add(one)
    return seen


def _disturb(
    served: Served, database: str, upstream: Server | None, seed: int, done: Callable[[], bool]
) -> Mapping[str, int]:
    """Freeze and kill the server, and keep its database busy, until the clients are *done*; how often each."""
    chance = random.Random(f"{seed}-disturb")  # noqa: S311 - the same for the same seed
    kinds: dict[str, Callable[[], Any]] = {"times frozen": served.frozen, "times killed": served.killed}  # Any: a block
    if upstream is None:
        kinds["times another process held the database"] = lambda: _written(database)
    else:
        kinds["times the database froze"] = lambda: frozen(upstream)
        kinds["times the database crashed"] = lambda: stopped(upstream)
    times: Counter[str] = Counter()
    while not done():
        time.sleep(chance.uniform(0.2, 2))
        name = chance.choice(sorted(kinds))
        with kinds[name]():
            time.sleep(chance.uniform(0.1, 1.5))
        times[name] += 1
    return times


@contextmanager
def _written(database: str) -> Iterator[None]:
    with closing(sqlite3.connect(database, isolation_level=None, timeout=30)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def judge(seen: Seen, rows: Sequence[Any]) -> Iterator[Figure]:
    """Compare every answer with the rows."""
    stored = stored_commands(rows)
    acknowledged = [one for one in seen.commands if one.acknowledged]
    found = {one.key: _found(one, stored) for one in acknowledged}
    lost = [one for one in acknowledged if found[one.key] is None]
    differing = [one for one in seen.commands if any(answer != one.answers[0] for answer in one.answers)]
    untrue = [one for one in acknowledged if (rows_of := found[one.key]) and not _is_true(one, rows_of)]
    refused = [one for one in seen.commands if one.kind != "guess" and one.answers and not one.acknowledged]
    guesses = [one for one in seen.commands if one.kind == "guess" and one.answers]
    untrue += [one for one in guesses if any(answer.status != http.client.BAD_REQUEST for answer in one.answers)]
    answered = len(acknowledged) - len(lost) + sum(not one.acknowledged for one in guesses)
    yield at_least(1, "commands acknowledged", len(acknowledged) + len(guesses))
    yield none("commands that were never answered", len(seen.stuck))
    yield none("acknowledged commands lost", len(lost))
    yield none("repeated commands with two different answers", len(differing))
    yield none("answers other than what is stored", len(untrue))
    yield none("commands refused for what they had done themselves", len(refused))
    yield none("other requests accepted under a used key", len(seen.accepted))
    yield none("reads of another phone than the acknowledged one", len(seen.read_wrongly))
    yield none("commands that took effect twice", max(len(stored) - answered, 0))
    yield none("gaps and doubles in histories", gaps(rows))


def stored_commands(rows: Sequence[Any]) -> dict[tuple[str, int], Stored]:
    """What each command stored, by its user and its last sequence."""
    by_command: dict[str, list[Any]] = defaultdict(list)  # Any: rows
    for row in rows:
        by_command[row[6]].append(row)
    stored = {}
    for own in by_command.values():
        user_id, sequence, _, created_at, owner, *_ = own[-1]
        phone = next((row[5]["phone"] for row in own if row[2].endswith("phone.changed")), "")
        stored[user_id, sequence] = Stored(user_id, sequence, created_at, owner, tuple(row[2] for row in own), phone)
    return stored


def gaps(rows: Sequence[Any]) -> int:
    """How many rows do not follow the one before in their user's history."""
    last: Counter[str] = Counter()
    wrong = 0
    for user_id, sequence, *_ in rows:
        last[user_id] += 1
        wrong += sequence != last[user_id]
    return wrong


def _found(command: Command, stored: Mapping[tuple[str, int], Stored]) -> Stored | None:
    assert command.acknowledged
    body = command.acknowledged.body
    return stored.get((command.user_id or body.get("userId", ""), int(command.acknowledged.details["sequence"])))


def _is_true(command: Command, stored: Stored) -> bool:
    assert command.acknowledged
    details = command.acknowledged.details
    return (
        stored.events == EVENTS[command.kind]
        and stored.phone == command.phone
        and stored.owner == details["resourceOwner"]
        and stored.created_at == datetime.fromisoformat(details["changeDate"])
    )


SERVED = Proof("R18", "what the server answers is what is stored, whatever is repeated, frozen or killed", run)
