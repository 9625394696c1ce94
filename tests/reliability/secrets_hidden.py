"""No code, token, key or password shows in what servers write, store or answer, whatever goes wrong on the way."""

from __future__ import annotations

import base64
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psycopg

from cluster import cluster
from humanuser_adapters.auth import add_to_token_file, new_token
from humanuser_adapters.vault import KEY_BYTES
from reliability.proof import Effort, Figure, Proof, exactly, none
from web import Request, answers, keeps_silent, resets_after, served

PATIENCE_SECONDS = 30
POLICY: dict[str, Any] = {
    "pause_between_codes": None,
    "code_limits": [],
    "failures_in_a_row": None,
    "code": {"length": 20},
}
"""Codes so long that no other number is one by chance."""
ORGANIZATION = "org1"


def run(effort: Effort) -> Iterator[Figure]:
    """Plant secrets, let servers live through faults, and look for the secrets in all that is left."""
    with tempfile.TemporaryDirectory() as folder, cluster() as url, ExitStack() as stack:
        password = new_token()
        for name, database in (("SQLite", f"{folder}/life.sqlite"), ("PostgreSQL", _new_database(url, password))):
            home = Path(folder) / name
            home.mkdir()
            life = Life(home, database, random.Random(effort.seed))  # noqa: S311 - the same for the same seed
            life.secrets["database password"] = password
            stack.enter_context(life.provider())
            for _ in range(effort.of(40, quick=2)):
                life.a_user_with_bad_luck()
            yield exactly(2 * life.users, f"codes that were planted, {name}", len(life.codes()))
            yield Figure(f"bytes that were looked at, {name}", sum(map(len, life.left_behind().values())))
            hits = life.hits()
            for where, what in hits:
                print(f"  {what} in {where}")  # noqa: T201
            yield none(f"secrets found, {name}", len(hits))


class Life:
    """Servers on one database, killed now and then, and everything that they show."""

    def __init__(self, folder: Path, database: str, chance: random.Random) -> None:
        self.chance = chance
        self.users = 0
        self.admin = new_token()
        key, webhook_key = secrets.token_bytes(KEY_BYTES), secrets.token_bytes(KEY_BYTES)
        self.secrets = {
            "admin token": self.admin,
            "code key": base64.b64encode(key).decode(),
            "code key in hex": key.hex(),
            "webhook key": base64.b64encode(webhook_key).decode(),
        }
        self.told: list[str] = []
        """What the API answered."""
        self._folder, self._database = folder, database
        self._url = self._metrics = ""
        self._user_ids: list[str] = []
        (folder / "policy.json").write_text(json.dumps(POLICY))
        add_to_token_file(
            folder / "tokens.toml", self.admin, user="admin", organization=ORGANIZATION, roles=["ORG_OWNER"]
        )
        self._settings = {
            "DATABASE": database,
            "POLICY": str(folder / "policy.json"),
            "TOKEN_FILE": str(folder / "tokens.toml"),
            "CODE_KEYS": f"key1:{self.secrets['code key']}",
            "SMS": "webhook",
            "WEBHOOK_KEYS": f"whsec_{self.secrets['webhook key']}",
            "SMS_ALLOW_HTTP": "true",
            "SMS_ALLOW_PRIVATE": "true",
            "SMS_TIMEOUT_SECONDS": "0.3",
            "SMS_LEASE_SECONDS": "1",
            "PORT": "0",
            "METRICS_PORT": "0",
            "LOG_LEVEL": "debug",
        }

    @contextmanager
    def provider(self) -> Iterator[None]:
        """A receiver of SMS that fails at first, in every way."""
        faults = [answers(500, b"no"), answers(302, b"", location="/"), keeps_silent, resets_after(b"HTTP/1.1 2")]

        def behave(request: Request, connection: socket.socket) -> None:
            code = request.json["text"].split()[0]
            self.secrets[f"code {code}"] = code
            behaviour = answers(204) if self.chance.random() < 0.5 else self.chance.choice(faults)
            behaviour(request, connection)

        with served(behave) as receiver:
            self._settings["WEBHOOK_URL"] = f"{receiver.url}/sms"
            yield

    def a_user_with_bad_luck(self) -> None:
        """Codes asked for, sent in vain, guessed and used, and the server killed in between."""
        self.users += 1
        before = self.codes()
        with self._server() as server:
            name = f"ada{self.users}"
            path = "/management/v1/users"
            profile = {"userName": name, "profile": {"firstName": "Ada", "lastName": "L"}}
            user_id = json.loads(self._call("POST", f"{path}/human", self.admin, profile))["userId"]
            ada = self.secrets[f"token {self.users}"] = new_token()
            add_to_token_file(self._folder / "tokens.toml", ada, user=user_id, organization=ORGANIZATION, roles=[])
            self._call("PUT", f"{path}/{user_id}/phone", self.admin, {"phone": f"+4179{1000000 + self.users}"})
            self._wait_for(lambda: len(self.codes()) > len(before))
            (first,) = self.codes() - before
            self._call("POST", "/auth/v1/users/me/phone/_verify", ada, {"code": first[::-1]})
            self._call("POST", "/auth/v1/users/me/phone/_verify", ada, {"code": [first]})
            self._call("POST", "/auth/v1/users/me/phone/_verify", ada, f'{{"code": "{first}"')
            self._call("POST", "/auth/v1/users/me/phone/_verify", new_token(), {"code": first})
            self._call("POST", "/auth/v1/users/me/phone/_resend_verification", ada, {})
            if self.chance.random() < 0.5:
                server.send_signal(signal.SIGKILL)
        with self._server():
            self._wait_for(lambda: len(self.codes()) > len(before) + 1)
            (second,) = self.codes() - before - {first}
            self._call("POST", "/auth/v1/users/me/phone/_verify", ada, {"code": first})
            self._call("POST", "/auth/v1/users/me/phone/_verify", ada, {"code": second})
            for place in ("/readyz", "/openapi.json", "/docs"):
                self._call("GET", place, ada)
            self.told.append(httpx2.get(self._metrics, timeout=PATIENCE_SECONDS, trust_env=False).text)
        self._user_ids.append(user_id)

    def an_operator_looks_around(self) -> None:
        """The command line is asked for all that it shows."""
        for command in ("status", "outbox list", f"history {self._user_ids[-1]}", "parked list", "outbox drop none"):
            self._run(command)

    def left_behind(self) -> dict[str, bytes]:
        """All that an outsider may come to see, by place."""
        files = {path.name: path.read_bytes() for path in self._folder.iterdir() if path.name != "policy.json"}
        if self._database.startswith("postgresql"):
            files["tables"] = _dump(self._database)
        else:
            files["database"] = Path(self._database).read_bytes()
        return {**files, "answers": "\n".join(self.told).encode()}

    def hits(self) -> list[tuple[str, str]]:
        """Where which secret was found."""
        places = self.left_behind()
        return [
            (place, name)
            for name, secret in self.secrets.items()
            for place in places
            if secret.encode() in places[place]
        ]

    def codes(self) -> set[str]:
        """Those that were sent."""
        return {secret for name, secret in list(self.secrets.items()) if name == f"code {secret}"}

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **{f"HUMANUSER_{name}": value for name, value in self._settings.items()}}

    @contextmanager
    def _server(self) -> Iterator[subprocess.Popen[str]]:
        self._settings["LOG_FORMAT"] = self.chance.choice(["text", "json"])
        with (self._folder / "server.log").open("a") as log:
            server = subprocess.Popen(
                [sys.executable, "-m", "humanuser_adapters.cli", "serve", "--json"],
                env=self._environment(),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            self.told.append(line)
            places = json.loads(line)
            self._url, self._metrics = places["url"], places["metrics"]
            yield server
        finally:
            server.terminate()
            with server:
                server.wait(PATIENCE_SECONDS)

    def _run(self, command: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "humanuser_adapters.cli", *command.split()],
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        self.told += [done.stdout, done.stderr]

    def _call(self, verb: str, path: str, token: str, body: Any = None) -> str:  # Any: it goes into JSON
        headers = {"Authorization": f"Bearer {token}", "x-zitadel-orgid": ORGANIZATION}
        content = body if isinstance(body, str) else json.dumps(body) if body is not None else None
        answer = httpx2.request(
            verb, self._url + path, content=content, headers=headers, timeout=PATIENCE_SECONDS, trust_env=False
        )
        self.told.append(f"{answer.headers} {answer.text}")
        return answer.text

    @staticmethod
    def _wait_for(seen: Callable[[], bool]) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while not seen():
            assert time.monotonic() < until, "a code was not sent"
            time.sleep(0.01)


def _new_database(url: str, password: str) -> str:
    """The URL of a database of its own, with a password in it."""
    name = f"secrets_{secrets.token_hex(4)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return url.replace(":unused@/postgres", f":{password}@/{name}")


def _dump(url: str) -> bytes:
    """Every row of every table, as text."""
    rows: list[str] = []
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            rows += [str(row[0]) for row in connection.execute(f"SELECT t::text FROM {table} t")]  # noqa: S608 - of the catalogue
    return "\n".join(rows).encode()


SECRETS_HIDDEN = Proof("R14", "no code, token, key or password shows in logs, metrics, answers or tables", run)
