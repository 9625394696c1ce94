"""Servers whose clocks disagree: codes live as long as they should, because the database's clock decides."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import httpx2
import psycopg
import pytest

from command_line import Cli
from fakes import FakeClock, eventually, pending_code
from humanuser import (
    Accepted,
    By,
    CodeAskedTooSoon,
    CodeInvalid,
    HumanUserAdded,
    PhoneNumber,
    Retryable,
    Sms,
    SmsSender,
    StoreUnavailable,
)
from humanuser.testing import AT
from humanuser_adapters import application as wiring
from humanuser_adapters.application import Application
from humanuser_adapters.database import Connection, Database
from humanuser_adapters.database_clock import REFRESH_SECONDS, DatabaseClock, monotonic_seconds
from humanuser_adapters.host_transaction import TransactionUnusable
from humanuser_adapters.outbox import State
from humanuser_adapters.sms import TwilioSms
from humanuser_adapters.vault import KEY_BYTES, AesGcmVault
from web import answers, served

ADMIN = By("admin", organization="org1")
ADDED = HumanUserAdded(user_name="ada")
SKEW = timedelta(minutes=20)
PHONE = "+41791234567"
PHONE_NUMBER = PhoneNumber(PHONE)


class DatabaseElsewhere:
    """A database whose clock and whose distance the test sets."""

    def __init__(self) -> None:
        self.time = AT
        self.seconds = 1000.0  # of the monotonic clock
        self.delays = (0.0, 0.0)  # of the question and of the answer
        self.is_away = False
        self.questions = 0

    @contextlib.contextmanager
    def read(self) -> Iterator[None]:
        if self.is_away:
            raise StoreUnavailable("it is away")
        yield

    def now(self, _: Connection) -> datetime:
        self.questions += 1
        there, back = self.delays
        self.pass_time(there)
        now = self.time
        self.pass_time(back)
        return now

    def pass_time(self, seconds: float) -> None:
        self.seconds += seconds
        self.time += timedelta(seconds=seconds)

    def clock(self, machine_clock: Callable[[], datetime] | None = None) -> DatabaseClock:
        machine_clock = machine_clock or (lambda: self.time)
        return DatabaseClock(cast(Database, self), machine_clock, monotonic=lambda: self.seconds)


@pytest.fixture
def elsewhere() -> DatabaseElsewhere:
    return DatabaseElsewhere()


def test_the_time_is_the_databases_and_goes_on_without_asking_again(elsewhere: DatabaseElsewhere) -> None:
    clock = elsewhere.clock()

    elsewhere.pass_time(3)

    assert clock() == elsewhere.time == AT + timedelta(seconds=3)
    assert elsewhere.questions == 1


def test_half_of_the_round_trip_is_the_answers_way_back(elsewhere: DatabaseElsewhere) -> None:
    elsewhere.delays = (0.2, 0.2)

    assert elsewhere.clock()() == elsewhere.time


def test_a_slow_answer_moves_the_time_only_as_far_as_it_proves_it_wrong(elsewhere: DatabaseElsewhere) -> None:
    clock = elsewhere.clock()

    for delays in ((0.5, 0.0), (0.0, 0.5), (0.3, 0.1)):
        elsewhere.delays = delays
        clock.refresh()
        assert clock() == elsewhere.time

    elsewhere.delays = (0.0, 0.25)
    elsewhere.time += timedelta(seconds=1)
    clock.refresh()
    assert elsewhere.time - clock() == timedelta(seconds=0.25)


def test_a_database_that_is_away_is_no_reason_to_forget_the_time(elsewhere: DatabaseElsewhere) -> None:
    clock = elsewhere.clock()
    elsewhere.is_away = True

    elsewhere.pass_time(3600)
    clock.refresh()

    assert clock() == elsewhere.time


def test_without_a_first_answer_there_is_no_time(elsewhere: DatabaseElsewhere) -> None:
    elsewhere.is_away = True

    with pytest.raises(StoreUnavailable):
        elsewhere.clock()


def test_the_offset_is_refreshed_in_the_background_of_calls_and_no_more_often(elsewhere: DatabaseElsewhere) -> None:
    clock = elsewhere.clock()
    elsewhere.time += SKEW  # another server, with another clock, is the primary now

    for _ in range(100):
        clock()
    assert elsewhere.questions == 1
    elsewhere.pass_time(REFRESH_SECONDS)
    for _ in range(100):
        clock()

    assert eventually(lambda: clock() == elsewhere.time)
    assert elsewhere.questions == 2


def test_a_wall_clock_that_jumps_does_not_matter_but_is_reported_once(
    elsewhere: DatabaseElsewhere, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    machine = FakeClock()
    clock = elsewhere.clock(machine)
    assert clock.skew() == timedelta(0)

    machine.advance(minutes=-20)
    for _ in range(3):
        clock.refresh()

    assert clock() == elsewhere.time
    assert clock.skew() == -SKEW
    assert [record.getMessage() for record in caplog.records] == [
        "this machine's clock is 1200.0 s behind the database's; the database's is used"
    ]

    machine.advance(minutes=20)
    clock.refresh()
    machine.advance(seconds=6)
    clock.refresh()
    assert len(caplog.records) == 2


def test_seconds_of_the_monotonic_clock_only_grow() -> None:
    seconds = [monotonic_seconds() for _ in range(1000)]

    assert seconds == sorted(seconds)


@contextlib.contextmanager
def skewed(
    skew: timedelta, url: str, vault: AesGcmVault, monkeypatch: pytest.MonkeyPatch, sender: SmsSender | None = None
) -> Iterator[Application]:
    """An application on a machine whose clock is wrong by *skew*."""
    monkeypatch.setattr(wiring, "utc_now", lambda: datetime.now(UTC) + skew)
    with Application(url, vault, sender=sender) as application:
        yield application


class Phones:
    """Remembers the SMS that it is given."""

    def __init__(self) -> None:
        self.sms: list[Sms] = []

    def send(self, sms: Sms) -> Accepted:
        self.sms.append(sms)
        return Accepted()

    def look_up(self, _: Sms) -> None:
        return None


@pytest.mark.parametrize("skew", [SKEW, -SKEW])
def test_no_code_is_dropped_where_the_clocks_of_two_servers_are_twenty_minutes_apart(
    postgresql_url: str, vault: AesGcmVault, monkeypatch: pytest.MonkeyPatch, skew: timedelta
) -> None:
    phones = Phones()
    with (
        skewed(skew, postgresql_url, vault, monkeypatch) as asks,
        skewed(timedelta(0), postgresql_url, vault, monkeypatch, phones) as sends,
    ):
        sends.start()
        began = datetime.now(UTC)
        for number in range(10):
            phone = f"+4179123456{number}"
            asks.commands.add_human_user(f"user{number}", ADDED, phone=phone, by=ADMIN)

        assert eventually(lambda: len(phones.sms) == 10, seconds=30)
        assert eventually(lambda: {one.state for one in sends.deliveries()} == {State.SENT}, seconds=30)
        for sms in phones.sms:
            assert sms.expires_at is not None
            assert sms.expires_in is not None
            assert timedelta(minutes=9) < sms.expires_in <= timedelta(minutes=10)
            assert abs(sms.expires_at - began - timedelta(minutes=10)) < timedelta(minutes=1)
        for number in range(10):
            verifier = (asks, sends)[number % 2]
            verifier.commands.verify_phone(f"user{number}", pending_code(asks, vault, f"user{number}"), by=ADMIN)


def test_a_code_expires_on_every_server_at_the_same_time(
    postgresql_url: str, vault: AesGcmVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        skewed(-SKEW, postgresql_url, vault, monkeypatch) as behind,
        skewed(SKEW, postgresql_url, vault, monkeypatch) as ahead,
    ):
        behind.commands.add_human_user("ada", ADDED, phone=PHONE, by=ADMIN)
        code = pending_code(behind, vault)
        with closing(psycopg.connect(postgresql_url, autocommit=True)) as connection:
            connection.execute("UPDATE humanuser_events SET created_at = created_at - interval '10 minutes'")

        for application in (behind, ahead):
            with pytest.raises(CodeInvalid):
                application.commands.verify_phone("ada", code, by=ADMIN)


def test_the_pause_between_codes_is_the_same_on_every_server(
    postgresql_url: str, vault: AesGcmVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        skewed(-SKEW, postgresql_url, vault, monkeypatch) as behind,
        skewed(SKEW, postgresql_url, vault, monkeypatch) as ahead,
    ):
        behind.commands.add_human_user("ada", ADDED, phone=PHONE, by=ADMIN)

        with pytest.raises(CodeAskedTooSoon) as refusal:
            ahead.commands.add_phone_code("ada", by=ADMIN)

    assert refusal.value.retry_after is not None
    assert timedelta(seconds=30) < refusal.value.retry_after <= timedelta(seconds=60)


def test_a_transaction_of_the_host_has_the_same_clock(
    postgresql_url: str, vault: AesGcmVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        skewed(SKEW, postgresql_url, vault, monkeypatch) as application,
        closing(psycopg.connect(postgresql_url)) as connection,
    ):
        details = application.within(connection).commands.add_human_user("ada", ADDED, by=ADMIN)
        with pytest.raises(TransactionUnusable):
            application.within(connection).commands.verify_phone("ada", "1", by=ADMIN)
        connection.commit()

    assert abs(details.change_date - datetime.now(UTC)) < timedelta(minutes=1)


def test_the_skew_of_a_machine_is_shown_with_its_sign(
    postgresql_url: str, vault: AesGcmVault, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    with skewed(-SKEW, postgresql_url, vault, monkeypatch) as application:
        assert abs(application.clock_skew() + SKEW) < timedelta(seconds=30)
    monkeypatch.setenv("HUMANUSER_CODE_KEYS", "key1:" + "A" * 43 + "=")

    shown = cli("status", "--database", postgresql_url)
    answer = cli("status", "--database", postgresql_url, "--json")

    assert abs(answer.json["clockSkewSeconds"] + SKEW.total_seconds()) < 30
    assert "s behind the database's" in shown.stdout


def test_on_a_file_the_machines_clock_is_the_databases(tmp_path: Path, vault: AesGcmVault) -> None:
    with Application(tmp_path / "test.sqlite", vault) as application:
        assert application.clock_skew() == timedelta(0)
        assert abs(application.clock() - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize("skew", [SKEW, -SKEW])
def test_a_provider_is_told_how_long_a_code_lives_whatever_the_senders_clock_says(skew: timedelta) -> None:
    with served(answers(500)) as server:
        twilio = TwilioSms("AC1", "token", "+15005550006", lambda: AT + skew, endpoint=server.endpoint())
        expires_at, expires_in = AT + timedelta(minutes=10), timedelta(minutes=9)

        twilio.send(Sms(message_id="1", to=PHONE_NUMBER, text="1", expires_at=expires_at, expires_in=expires_in))

    assert b"ValidityPeriod=540" in server.requests[0].body


@pytest.mark.parametrize("skew", [SKEW, -SKEW])
def test_a_date_to_wait_for_is_compared_with_the_answers_own_date(skew: timedelta) -> None:
    dates = {"Date": "Sun, 10 May 2026 12:00:00 GMT", "Retry_After": "Sun, 10 May 2026 12:00:30 GMT"}
    with served(answers(503, **dates)) as server:
        twilio = TwilioSms("AC1", "token", "+15005550006", lambda: AT + skew, endpoint=server.endpoint())

        outcome = twilio.send(Sms(message_id="1", to=PHONE_NUMBER, text="1", expires_at=None))

    assert isinstance(outcome, Retryable)
    assert outcome.retry_after == timedelta(seconds=30)


@contextlib.contextmanager
def served_at(
    faketime: str, offset: str, folder: Path, *options: str
) -> Iterator[tuple[httpx2.Client, subprocess.Popen[str]]]:
    """A real server on a machine whose clock is wrong by *offset*."""
    command = [sys.executable, "-m", "humanuser_adapters.cli", "serve", "--json", "--port", "0", "--development"]
    with (folder / "server.log").open("a") as log:
        process = subprocess.Popen(
            [faketime, "-f", offset, *command, *options],
            cwd=folder,
            env={**os.environ, "FAKETIME_DONT_FAKE_MONOTONIC": "1"},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    with process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            assert line, (folder / "server.log").read_text()
            told = json.loads(line)
            headers = {"Authorization": f"Bearer {told['token']}"}
            with httpx2.Client(base_url=told["url"], headers=headers, timeout=30, trust_env=False) as client:
                yield client, process
        finally:
            os.killpg(process.pid, signal.SIGTERM)  # the server is a child of faketime


def test_real_servers_forty_minutes_apart_drop_no_code(
    postgresql_url: str, vault: AesGcmVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faketime = shutil.which("faketime")
    if faketime is None:
        pytest.skip("NO FAKETIME: the clocks of real servers were not set apart")
    monkeypatch.setenv("HUMANUSER_DATABASE", postgresql_url)
    monkeypatch.setenv("HUMANUSER_CODE_KEYS", "key1:" + base64.b64encode(bytes(KEY_BYTES)).decode())
    sends = ("--sms", "file", "--sms-file", "sms.jsonl")
    with (
        served_at(faketime, "+20m", tmp_path) as (ahead, _),
        served_at(faketime, "-20m", tmp_path, *sends) as (behind, _),
    ):
        users = []
        for number in range(6):
            client = (ahead, behind)[number % 2]
            body = {"userName": "ada", "profile": {"firstName": "Ada", "lastName": "Lovelace"}}
            body["phone"] = {"phone": f"+4179123456{number}"}
            users.append(client.post("/management/v1/users/human", json=body).raise_for_status().json()["userId"])

        assert eventually(lambda: len(_lines(tmp_path / "sms.jsonl")) == 6, seconds=60)
        with Application(postgresql_url, vault) as application:
            assert eventually(lambda: {one.state for one in application.deliveries()} == {State.SENT}, seconds=30)
            for number, user_id in enumerate(users):
                client = (behind, ahead)[number % 2]
                code = pending_code(application, vault, user_id)
                path = f"/v2/users/{user_id}/phone/verify"
                client.post(path, json={"verificationCode": code}).raise_for_status()

    assert "clock is 1" in (tmp_path / "server.log").read_text()


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []
