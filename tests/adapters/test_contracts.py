"""Our ways to send SMS and to tell who calls keep the contracts that hosts hold theirs to."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest

from humanuser import Caller, SmsSender
from humanuser.testing import AuthenticatorContract, EventStoreContract, Known, Received, SmsSenderContract
from humanuser_adapters.auth import DevelopmentToken, TokenFile, add_to_token_file, new_token, permissions_of
from humanuser_adapters.sms import ConsoleSms, FileSms


class TestFileSms(SmsSenderContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.path = tmp_path / "sms.jsonl"

    def create_sender(self) -> SmsSender:
        return FileSms(self.path)

    def received(self, sender: SmsSender) -> list[Received]:  # noqa: ARG002 - the counterpart is the file
        lines = map(json.loads, self.path.read_text(encoding="utf-8").splitlines())
        return [(line["message_id"], line["to"], line["text"]) for line in lines]

    def create_broken_sender(self) -> SmsSender:
        return FileSms(self.path / "in no folder")


class TestConsoleSms(SmsSenderContract):
    def create_sender(self) -> SmsSender:
        self.console = io.StringIO()
        return ConsoleSms(self.console)

    def received(self, sender: SmsSender) -> list[Received]:  # noqa: ARG002 - the counterpart is the stream
        shown = re.split(r"SMS to (\+\d+): ", self.console.getvalue())
        return [(None, to, text.strip("\n")) for to, text in zip(shown[1::2], shown[2::2], strict=True)]

    def create_broken_sender(self) -> SmsSender:
        closed = io.StringIO()
        closed.close()
        return ConsoleSms(closed)


class TestTokenFile(AuthenticatorContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.path = tmp_path / "tokens.toml"

    def create_known(self) -> Known:
        token = new_token()
        add_to_token_file(self.path, new_token(), user="bob", organization="org1")
        add_to_token_file(self.path, token, user="ada", organization="org1", roles=["ORG_OWNER"])
        return Known(TokenFile(self.path), token, Caller("ada", "org1", permissions_of(["ORG_OWNER"], "org1")))


class TestDevelopmentToken(AuthenticatorContract):
    def create_known(self) -> Known:
        authenticator = DevelopmentToken()
        caller = Caller("admin", "default", permissions_of(["IAM_OWNER"], "default"))
        return Known(authenticator, authenticator.token, caller)


@pytest.mark.parametrize(
    ("contract", "needed", "arguments"),
    [
        (SmsSenderContract, "create_sender", ()),
        (SmsSenderContract, "received", (ConsoleSms(),)),
        (EventStoreContract, "create_store", ()),
        (AuthenticatorContract, "create_known", ()),
    ],
)
def test_a_contract_without_what_it_needs_fails_and_says_what(
    contract: type[object], needed: str, arguments: tuple[object, ...]
) -> None:
    misspelt = type("Misspelt", (contract,), {f"{needed}s": lambda *_: None})()

    with pytest.raises(NotImplementedError, match=f"the contract needs {needed}$"):
        getattr(misspelt, needed)(*arguments)
