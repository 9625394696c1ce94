"""``humanuser serve`` and ``humanuser demo`` as real processes, which are also killed."""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from certificates import make_certificate
from humanuser import (
    By,
    CodeOwner,
    HumanUser,
    HumanUserAdded,
    PhoneChanged,
    PhoneVerificationCodeAdded,
    PhoneVerificationCodeSent,
    Recorded,
)
from humanuser_adapters.application import Application
from humanuser_adapters.cli.server import listener_of
from humanuser_adapters.settings import Settings
from humanuser_adapters.vault import AesGcmVault, Keys
from humanuser_projections import phone_notification
from wires import BY_NAME, Grpc

PATIENCE_SECONDS = 15
NO_LIMITS = '{"pause_between_codes": null, "code_limits": []}'


@dataclass
class Server:
    """A running ``humanuser serve``."""

    process: subprocess.Popen[str]
    url: str
    token: str
    client: httpx2.Client = field(repr=False)
    metrics: str = ""

    def call(self, verb: str, path: str, body: dict[str, Any] | None = None) -> Any:  # the answer's JSON
        headers = {"Authorization": f"Bearer {self.token}"}
        return self.client.request(verb, f"{self.url}{path}", json=body, headers=headers).raise_for_status().json()

    def add_user(self, name: str = "ada") -> str:
        profile = {"userName": name, "profile": {"firstName": "Ada", "lastName": "Lovelace"}}
        user_id: str = self.call("POST", "/management/v1/users/human", profile)["userId"]
        return user_id

    def set_phone(self, user_id: str, phone: str) -> int:
        """The sequence of the code that is to prove the number."""
        answer = self.call("PUT", f"/management/v1/users/{user_id}/phone", {"phone": phone})
        return int(answer["details"]["sequence"])

    def phone(self, user_id: str) -> str:
        answer = self.call("GET", f"/management/v1/users/{user_id}/phone")
        return str(answer["phone"].get("phone", ""))


@dataclass
class Home:
    """A folder with a database, and what its servers share."""

    folder: Path
    environment: dict[str, str]

    @property
    def database(self) -> Path:
        return self.folder / "humanuser.sqlite"

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "humanuser_adapters.cli", *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @contextmanager
    def serve(self, *arguments: str) -> Iterator[Server]:
        """A server, for as long as the block runs at most."""
        options = ("--json", "--port", "0", "--development", *arguments)
        with (self.folder / "server.log").open("a") as log:
            process = subprocess.Popen(
                self.command("serve", *options),
                cwd=self.folder,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        with process, httpx2.Client(timeout=PATIENCE_SECONDS, trust_env=False) as client:
            try:
                assert process.stdout
                line = process.stdout.readline()
                assert line, (self.folder / "server.log").read_text()
                yield Server(process, **json.loads(line), client=client)
            finally:
                process.kill()

    @contextmanager
    def application(self) -> Iterator[Application]:
        """The same database in this process; it sends nothing."""
        with Application(self.database, self.vault, policy=self.settings.read_policy()) as application:
            yield application

    @property
    def settings(self) -> Settings:
        return Settings(policy=self.environment["HUMANUSER_POLICY"])

    @property
    def vault(self) -> AesGcmVault:
        return AesGcmVault(Keys.of_file(self.folder / "humanuser.sqlite.keys"))

    def sent(self) -> list[dict[str, Any]]:
        """Every SMS that left, in order."""
        path = self.folder / "sms.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def texts(self) -> list[tuple[str, str]]:
        return [(one["to"], one["text"].split()[0]) for one in self.sent()]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("HUMANUSER_")}
    policy = tmp_path / "policy.json"
    policy.write_text(NO_LIMITS)
    more = {"HUMANUSER_POLICY": str(policy), "HUMANUSER_SMS_LEASE_SECONDS": "0.5", "COLUMNS": "200"}
    return Home(tmp_path, {**ours, **more})


def wait_for(seen: Callable[[], object], what: str) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not seen():
        assert time.monotonic() < until, f"there was no {what}"
        time.sleep(0.02)


def code_of(recorded: Recorded, vault: AesGcmVault) -> str:
    assert isinstance(recorded.event, PhoneVerificationCodeAdded)
    assert recorded.event.code
    return vault.open(recorded.event.code, CodeOwner(recorded.instance_id, recorded.user_id)).characters


def test_a_development_server_prints_a_token_that_works_and_no_other_does(home: Home) -> None:
    with home.serve() as server:
        user_id = server.add_user()
        server.set_phone(user_id, "+41791234567")
        phone = server.phone(user_id)
        server.token = server.token[::-1]
        with pytest.raises(httpx2.HTTPStatusError) as refused:
            server.phone(user_id)

    assert phone == "+41791234567"
    assert refused.value.response.status_code == 401


def test_a_server_with_a_certificate_speaks_every_wire_over_tls(home: Home, tmp_path: Path) -> None:
    pem = make_certificate(tmp_path, "127.0.0.1")
    method = BY_NAME["GetMyPhone"]
    with home.serve("--tls-certificate", str(pem), "--tls-key", str(pem)) as server:
        address = server.url.removeprefix("https://")
        trusting = ssl.create_default_context(cafile=pem)
        healthy = httpx2.get(f"{server.url}/healthz", verify=trusting, trust_env=False).text
        by_grpc = Grpc(address, grpc.ssl_channel_credentials(pem.read_bytes()))
        outcome = by_grpc.call(method, method.request(), {"authorization": f"Bearer {server.token}"})
        by_grpc.close()

    assert healthy == "ok"
    assert outcome.message == "User could not be found (QUERY-DAvb3)"


def test_a_certificate_that_is_none_is_told(home: Home) -> None:
    (home.folder / "empty.pem").touch()

    refused = home.run("serve", "--development", "--tls-certificate", "empty.pem", "--tls-key", "empty.pem")

    assert refused.returncode == 2
    assert "TLS" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_code_goes_out_as_an_sms_and_the_history_says_so(home: Home) -> None:
    with home.serve("--sms", "file") as server:
        user_id = server.add_user()
        server.set_phone(user_id, "+41791234567")
        wait_for(home.sent, "SMS")
        with home.application() as application:
            wait_for(lambda: len(application.history(user_id)) == 4, "event that it was sent")
            history = application.history(user_id)

    code = history[2]
    assert home.texts() == [("+41791234567", code_of(code, home.vault))]
    notification = phone_notification(code)
    assert notification
    assert home.sent()[0]["message_id"] == notification.message_id
    assert isinstance(history[3].event, PhoneVerificationCodeSent)


def test_sigterm_lets_the_call_in_flight_finish_and_ends_cleanly(home: Home) -> None:
    with home.serve() as server, closing(sqlite3.connect(home.database, isolation_level=None)) as other:
        user_id = server.add_user()
        other.execute("BEGIN IMMEDIATE")  # so that the call has to wait
        with ThreadPoolExecutor() as pool:
            in_flight = pool.submit(server.set_phone, user_id, "+41791234567")
            time.sleep(1)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            waited = not in_flight.done() and server.process.poll() is None
            other.execute("COMMIT")
            sequence = in_flight.result(timeout=PATIENCE_SECONDS)
        code = server.process.wait(timeout=10)

    assert waited
    assert sequence == 3
    assert code == 0
    assert "Traceback" not in (home.folder / "server.log").read_text()
    with home.application() as application:
        assert len(application.history(user_id)) == 3


def test_an_idle_server_ends_at_once_on_sigterm(home: Home) -> None:
    with home.serve("--sms", "file") as server:
        server.add_user()
        started = time.monotonic()
        server.process.terminate()
        code = server.process.wait(timeout=10)

    assert code == 0
    assert time.monotonic() - started < 5


def test_a_port_in_use_is_told_and_exits_3(home: Home) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]

        done = home.run("serve", "--development", "--port", str(port))

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"error: cannot listen on 127.0.0.1:{port}: Address already in use")


def test_metrics_are_on_a_port_of_their_own_and_nowhere_else(home: Home) -> None:
    with home.serve("--sms", "file", "--metrics-port", "0") as server:
        user_id = server.add_user()
        server.set_phone(user_id, "+41791234567")
        wait_for(home.sent, "SMS")
        wait_for(lambda: 'outcome="accepted"' in server.client.get(server.metrics).text, "SMS in the metrics")
        metrics = server.client.get(server.metrics).text
        beside_the_api = server.client.get(f"{server.url}/metrics").status_code

    assert urlsplit(server.metrics).port != urlsplit(server.url).port
    assert beside_the_api == 404
    samples = {
        (sample.name, frozenset(sample.labels.values()) - {""}): sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
    }
    assert samples["humanuser_command_duration_seconds_count", frozenset({"change_phone", "done"})] == 1
    assert samples["humanuser_sms_duration_seconds_count", frozenset({"file", "accepted"})] == 1
    assert samples["humanuser_outbox_size", frozenset({"default", "failed"})] == 0
    assert user_id not in metrics


def test_without_being_asked_no_metrics_are_served(home: Home) -> None:
    with home.serve() as server:
        listening = _listening(server.process.pid)

    assert server.metrics == ""
    assert listening == {urlsplit(server.url).port}


def _listening(pid: int) -> set[int]:
    """The TCP ports on which a process listens (Linux)."""
    files = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].partition(":")[2], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in files}


def test_metrics_are_spoken_over_tls_where_the_api_is(home: Home, tmp_path: Path) -> None:
    pem = make_certificate(tmp_path, "127.0.0.1")
    with home.serve("--tls-certificate", str(pem), "--tls-key", str(pem), "--metrics-port", "0") as server:
        metrics = httpx2.get(server.metrics, verify=ssl.create_default_context(cafile=pem), trust_env=False).text

    assert server.metrics.startswith("https://")
    assert "humanuser_outbox_age_seconds" in metrics


def test_a_port_for_grpc_that_is_in_use_is_told_and_exits_3(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        refused = home.run("serve", "--development", "--port", "0", "--grpc-port", str(port))

    assert refused.returncode == 3
    assert refused.stderr.endswith(f"error: cannot listen on 127.0.0.1:{port} for gRPC\n")
    assert "Traceback" not in refused.stderr


def test_a_port_for_metrics_that_is_in_use_is_told_and_exits_3(home: Home) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        refused = home.run("serve", "--development", "--port", "0", "--metrics-port", str(port))

    assert refused.returncode == 3
    assert refused.stderr == f"error: cannot listen on 127.0.0.1:{port}: Address already in use\n"


def test_metrics_without_their_package_are_told_and_exit_2(home: Home) -> None:
    (home.folder / "prometheus_client.py").write_text("raise ImportError")
    home.environment["PYTHONPATH"] = os.pathsep.join([str(home.folder), os.environ.get("PYTHONPATH", "")])

    refused = home.run("serve", "--development", "--metrics-port", "0")

    assert refused.returncode == 2
    assert refused.stderr == "error: metrics_port needs prometheus-client: pip install 'humanuser[metrics]'\n"
    assert not home.database.exists()


def test_the_log_is_lines_of_json_if_it_is_to_be(home: Home) -> None:
    home.environment["HUMANUSER_LOG_FORMAT"] = "json"
    with home.serve() as server:
        answer = server.client.get(
            f"{server.url}/auth/v1/users/me/phone",
            headers={"Authorization": f"Bearer {server.token}", "x-request-id": "a-1"},
        )

    lines = [json.loads(line) for line in (home.folder / "server.log").read_text().splitlines()]
    (call,) = [line for line in lines if line.get("request_id") == "a-1"]
    assert answer.headers["x-request-id"] == "a-1"
    assert (call["method"], call["outcome"], call["level"]) == ("GetMyPhone", "NOT_FOUND", "INFO")


def test_the_log_leaves_out_what_is_less_important_than_its_level(home: Home) -> None:
    home.environment["HUMANUSER_LOG_LEVEL"] = "error"
    with home.serve() as server:
        server.add_user()

    assert (home.folder / "server.log").read_text() == ""


def test_two_servers_and_the_command_line_share_one_database(home: Home) -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(home.serve("--sms", "file")) for _ in range(2)]
        users = [servers[0].add_user(f"user{number}") for number in range(6)]

        def change(number: int) -> None:
            """Through one server, and read through the other."""
            for turn in range(4):
                phone = f"+4179{number:03}{turn:04}"
                servers[(number + turn) % 2].set_phone(users[number], phone)
                assert servers[(number + turn + 1) % 2].phone(users[number]) == phone

        with ThreadPoolExecutor(6) as pool:
            changes = [pool.submit(change, number) for number in range(6)]
            beside = home.run("history", users[0], "--json")
            for one in changes:
                one.result()
        with home.application() as application:
            wait_for(lambda: all(newest_is_sent(application.history(user)) for user in users), "last SMS")
            histories = [application.history(user) for user in users]

    assert beside.returncode == 0, beside.stderr
    assert json.loads(beside.stdout)[0]["type"] == "user.human.added"
    for history in histories:
        assert [one.sequence for one in history] == list(range(1, len(history) + 1))
        assert [type(one.event) for one in history].count(PhoneChanged) == 4
    assert_sms_fit(histories, home)


def newest_is_sent(history: Sequence[Recorded]) -> bool:
    pending = HumanUser.replay(history).pending_code
    return pending is None or pending.sent


def assert_sms_fit(histories: list[Sequence[Recorded]], home: Home) -> None:
    """Every SMS that left is a code's, went to the number it was made for, and left once; and every newest code left.

    ``code.sent`` follows its code at once, if it is there: nothing is recorded for a code that was superseded.
    """
    expected: dict[str, tuple[str, str]] = {}
    for history in histories:
        phone, newest, told = "", "", Counter[int]()
        for recorded in history:
            match recorded.event:
                case PhoneChanged(phone=changed):
                    phone, newest = changed.e164, ""
                case PhoneVerificationCodeAdded():
                    notification = phone_notification(recorded)
                    assert notification
                    newest = notification.message_id
                    expected[newest] = (phone, code_of(recorded, home.vault))
                    told[recorded.sequence] = 0
                case PhoneVerificationCodeSent():
                    assert newest, "a code that nobody wants is not recorded as sent"
                    told[max(told)] += 1
                case _:
                    pass
        assert set(told.values()) <= {0, 1}
        assert newest in {one["message_id"] for one in home.sent()}
    sent = {one["message_id"]: text for one, text in zip(home.sent(), home.texts(), strict=True)}
    assert len(sent) == len(home.sent()), "an SMS left twice"
    assert sent == {message_id: expected[message_id] for message_id in sent}


def test_nothing_that_was_acknowledged_is_lost_and_no_sms_leaves_twice_when_servers_are_killed(home: Home) -> None:
    acknowledged: list[tuple[str, int, str]] = []
    unwanted: list[str] = []
    with home.serve() as server:
        users = [server.add_user(f"user{number}") for number in range(4)]

    for round_number in range(4):
        with home.serve("--sms", "file") as server, ThreadPoolExecutor(len(users)) as pool:
            stop = threading.Event()
            streams = [
                pool.submit(stream, server, user, f"{number}{round_number}", acknowledged, stop)
                for number, user in enumerate(users)
            ]
            before = len(acknowledged)
            wait_for(lambda before=before: len(acknowledged) > before, "call")  # type: ignore[misc]  # a lambda's default
            time.sleep(random.uniform(0, 0.5))  # noqa: S311 - when to kill is no secret
            server.process.kill()
            server.process.wait()
            stop.set()
            for one in streams:
                one.result()
        unwanted += supersede(home, users[0], round_number)

    with home.serve("--sms", "file"), home.application() as application:
        wait_for(lambda: all(newest_is_sent(application.history(user)) for user in users), "last SMS")
        wait_for(lambda: not waiting(application), "end of the outbox")
        histories = {user: application.history(user) for user in users}

    for history in histories.values():
        assert [one.sequence for one in history] == list(range(1, len(history) + 1))
        assert sum(isinstance(one.event, PhoneChanged) for one in history) > 4
    for user, sequence, phone in acknowledged:
        changed, code = histories[user][sequence - 2 : sequence]
        assert isinstance(changed.event, PhoneChanged)
        assert changed.event.phone.e164 == phone
        assert isinstance(code.event, PhoneVerificationCodeAdded)
    assert len(unwanted) == 4
    assert not set(unwanted) & {one["message_id"] for one in home.sent()}
    assert_sms_fit(list(histories.values()), home)


def test_an_sms_that_left_right_before_the_kill_is_recorded_and_does_not_leave_again(home: Home) -> None:
    home.environment["HUMANUSER_SMS_LEASE_SECONDS"] = "5"  # longer than it takes to let go of the file
    with ExitStack() as stack:
        first = stack.enter_context(home.serve("--sms", "file"))
        application = stack.enter_context(home.application())
        database = stack.enter_context(closing(sqlite3.connect(home.database, isolation_level=None)))
        with (home.folder / "sms.jsonl").open("a") as file:  # held up before the SMS leaves, ...
            fcntl.flock(file, fcntl.LOCK_EX)
            user_id = first.add_user()
            first.set_phone(user_id, "+41791234567")
            counted = "SELECT count(*) FROM humanuser_sms_budget"  # the last that is written before an SMS leaves
            wait_for(lambda: database.execute(counted).fetchone() > (0,), "count of the budget")
            database.execute("BEGIN IMMEDIATE")  # ... and again before it is recorded
        wait_for(home.sent, "SMS")
        first.process.kill()
        first.process.wait()
        database.execute("ROLLBACK")
        unrecorded = len(application.history(user_id))

        stack.enter_context(home.serve("--sms", "file"))
        wait_for(lambda: not waiting(application), "end of the outbox")
        history = application.history(user_id)

    assert unrecorded == 3
    assert len(home.sent()) == 1
    assert [type(one.event) for one in history[3:]] == [PhoneVerificationCodeSent]


def stream(
    server: Server, user: str, prefix: str, acknowledged: list[tuple[str, int, str]], stop: threading.Event
) -> None:
    """Change the phone until the server is gone, and remember what was answered."""
    for number in range(100_000):
        phone = f"+4179{prefix}{number:05}"
        try:
            sequence = server.set_phone(user, phone)
        except httpx2.TransportError:
            return
        acknowledged.append((user, sequence, phone))
        if stop.is_set():
            return


def supersede(home: Home, user: str, round_number: int) -> list[str]:
    """While no server runs: a code, and another one that makes it worthless. The message that nobody may get."""
    with home.application() as application:
        for number in range(2):
            application.commands.change_phone(user, f"+417699999{round_number}{number}", by=By("test"))
        codes = [one for one in map(phone_notification, application.history(user)) if one]
    return [codes[-2].message_id]


def waiting(application: Application) -> list[str]:
    return [one.state for one in application.deliveries() if one.state in ("due", "claimed")]


def test_codes_that_were_asked_for_while_no_server_ran_are_sent_by_the_next(home: Home) -> None:
    with home.application() as application:
        profile = HumanUserAdded(user_name="ada", first_name="Ada", last_name="Lovelace")
        application.commands.add_human_user("ada", profile, phone="+41791234567", by=By("test", organization="acme"))

    with home.serve("--sms", "file"):
        wait_for(home.sent, "SMS")

    assert [number for number, _ in home.texts()] == ["+41791234567"]


def test_the_demo_shows_the_main_job(home: Home) -> None:
    done = home.run("demo", "--phone", "+41791234589")

    assert done.returncode == 0, done.stderr
    assert "The phone was changed, the SMS sent and the number proven." in done.stdout
    assert '"phone": "+41791234589", "isPhoneVerified": true' in done.stdout
    assert [path.name for path in home.folder.iterdir()] == ["policy.json"]


def test_the_demo_works_with_codes_of_letters(home: Home) -> None:
    home.environment["HUMANUSER_POLICY"] = "zitadel"

    done = home.run("demo")

    assert done.returncode == 0, done.stderr


def test_the_demo_shows_what_the_api_refuses(home: Home) -> None:
    done = home.run("demo", "--phone", "+4912")

    assert done.returncode == 1
    assert "error: the API answered 400: " in done.stderr
    assert "Phone is invalid: no number of its country has this length (PHONE-so0wa)" in done.stderr


def test_answers_do_not_wait_for_more_to_send(tmp_path: Path) -> None:
    with listener_of(Settings(database=str(tmp_path / "test.sqlite"), port=0)) as listener:
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_server_that_nobody_could_call_makes_no_database(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "humanuser_adapters.cli", "serve", "--database", str(tmp_path / "new.sqlite")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "nobody could call" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_twilio_has_a_place_of_its_own_to_tell_what_became_of_an_sms(home: Home) -> None:
    twilio = {"ACCOUNT_SID": "AC1", "AUTH_TOKEN": "t", "FROM": "Acme", "STATUS_URL": "https://example.com/from/twilio"}
    with home.serve() as server:
        assert server.client.post(f"{server.url}/from/twilio").status_code == 404

    home.environment |= {f"HUMANUSER_TWILIO_{name}": value for name, value in twilio.items()}
    home.environment["HUMANUSER_SMS_LEASE_SECONDS"] = "20"
    with home.serve("--sms", "twilio") as server:
        assert server.client.post(f"{server.url}/from/twilio").status_code == 403
