"""The programs of the page about clients run as they stand there. ``make test-clients`` names this file to pytest."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator

import pytest

from clients.browser import bundled, shown
from clients.programs import HERE, NODE, need_browser, need_node, running
from fakes import Callers, pending_code
from humanuser import By, Caller, HumanUserAdded
from humanuser_adapters.api import PhoneService
from humanuser_adapters.application import Application
from humanuser_adapters.auth import permissions_of
from humanuser_adapters.vault import AesGcmVault
from wires import served

PAGE = HERE.parents[1] / "docs" / "how-to" / "use-zitadel-clients.md"
PROGRAMS = dict(re.findall(r"^```\w+ (\S+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL))
OLD, NEW = "+41791234567", "+41791234568"
CALLERS = Callers(
    admin=Caller("admin", "org1", permissions_of(["ORG_OWNER"], "org1")),
    ada=Caller("ada", "org1"),
)


@pytest.fixture
def url(application: Application) -> Iterator[str]:
    by = By("admin", organization="org1")
    application.commands.add_human_user("ada", HumanUserAdded(user_name="ada"), phone=OLD, by=by)
    service = PhoneService(application.commands, application.find_user, application.new_user_id)
    with served(service, CALLERS) as address:
        yield f"http://{address}"


def in_node(program: str) -> list[str]:
    need_node()
    return [NODE, "--input-type=module", "--eval", program]


def in_a_shell(program: str) -> list[str]:
    need_node()
    return ["sh", "-euc", program]


def in_python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


COMMANDS: dict[str, tuple[Callable[[str], list[str]], str]] = {
    "zitadel-client.mjs": (in_node, "admin"),
    "zitadel-node.mjs": (in_node, "ada"),
    "zitadel_client.py": (in_python, "admin"),
    "buf-curl.sh": (in_a_shell, "admin"),
    "reflection.py": (in_python, "admin"),
}
"""How each is run, and who has the token."""
IN_A_BROWSER = "zitadel-client-in-a-browser.mjs"


def variables(url: str, token: str) -> dict[str, str]:
    """All that a program is told that was written for another server."""
    return {"ZITADEL_URL": url, "ZITADEL_TOKEN": token, "USER_ID": "ada"}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_program_changes_and_verifies_a_phone(
    name: str, url: str, application: Application, vault: AesGcmVault
) -> None:
    command, caller = COMMANDS[name]
    assert "humanuser" not in PROGRAMS[name]

    with running(command(PROGRAMS[name]), **variables(url, caller)) as process:
        typed = None
        if caller == "ada":  # who gets an SMS, and is asked for the code
            assert process.stdout
            assert process.stdout.read(len("Code: ")) == "Code: "
            typed = f"{pending_code(application, vault)}\n"
        written, _ = process.communicate(typed)

    assert process.returncode == 0
    assert "verified" in written.lower()
    assert phone_of(application) == (NEW, True)


def test_a_page_in_a_browser_changes_a_phone(url: str, application: Application) -> None:
    need_browser()

    page = shown(bundled(PROGRAMS[IN_A_BROWSER], variables(url, "admin")))

    assert f"verified: {NEW}" in page
    assert phone_of(application) == (NEW, True)


def test_every_program_of_the_page_is_run() -> None:
    assert set(PROGRAMS) == {*COMMANDS, IN_A_BROWSER}


def phone_of(application: Application) -> tuple[str, bool] | None:
    """Ada's number, and whether it is verified."""
    found = application.find_user("ada")
    if found is None or found[1].phone is None:
        return None
    return found[1].phone.e164, found[1].verified
