"""The documentation is true: pages follow from the code, links lead somewhere, the README's answer is the server's."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from humanuser_adapters.cli.app import app
from reference import reference_pages
from reliability.__main__ import PROOFS

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/README.md")])


@pytest.mark.parametrize(
    "name", ["events.md", "refusals.md", "settings.md", "command-line.md", "api.md", "metrics.md", "python-api.md"]
)
def test_a_page_of_reference_says_what_the_code_says(name: str) -> None:
    pages = reference_pages()

    assert (ROOT / "docs" / "reference" / name).read_text() == pages.PAGES[name](), "run: make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_leads_to_a_page(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())

    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)

    assert blocks
    for block in blocks:
        exec(block, {})  # noqa: S102 - it is ours


def test_every_decision_is_listed() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text()

    for page in ROOT.glob("docs/decisions/0*.md"):
        assert f"]({page.name})" in index
        text = page.read_text()
        assert all(f"**{part}**" in text for part in ("Context.", "Decision.", "What would change our mind."))


def test_the_guarantees_name_every_proof_and_no_other() -> None:
    page = (ROOT / "docs" / "explanation" / "guarantees.md").read_text()

    promises = [line.split("|") for line in page.splitlines() if line.startswith("| ") and "promise" not in line]

    assert set(re.findall(r"\*\*(R\d+)\*\*", page)) == set(PROOFS)
    assert [promise for _, promise, _, backing, _ in promises if "**R" not in backing and "](" not in backing] == []


def test_every_test_that_a_page_names_exists() -> None:
    named = {name for page in PAGES for name in re.findall(r"`(test_\w+)`", page.read_text())}
    tests = "".join(file.read_text() for file in ROOT.glob("tests/**/test_*.py"))

    assert named
    assert {name for name in named if f"def {name}(" not in tests} == set()


def test_every_alarm_of_the_run_book_names_the_test_that_provokes_it() -> None:
    page = (ROOT / "docs" / "how-to" / "run-book.md").read_text()

    alarms = [line.split("|") for line in page.splitlines() if line.startswith("| ") and "| meaning |" not in line]

    assert len(alarms) > 20
    assert [alarm for _, alarm, _, _, shown_by, _ in alarms if not re.search(r"`test_\w+`", shown_by)] == []


def test_the_run_book_knows_every_metric_that_is_worth_an_alert() -> None:
    alerts = (ROOT / "docs" / "how-to" / "observe.md").read_text()
    page = (ROOT / "docs" / "how-to" / "run-book.md").read_text()

    alerts = alerts.partition("Worth an alert:")[2].partition("## ")[0]
    metrics = {line.split("`")[1] for line in alerts.splitlines() if line.startswith("| `")}
    names = {name for metric in metrics for name in re.findall(r"humanuser_\w+(?=[{)\[])(?!\) \()", metric)}

    assert len(names) > 5
    assert {name for name in names if name not in page} == set()


def test_the_commands_that_the_readme_names_exist() -> None:
    names = set(re.findall(r"make (\w+)", (ROOT / "README.md").read_text()))

    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert {"demo", "test"} <= names <= targets


def test_every_command_line_in_the_pages_is_understood() -> None:
    lines = [
        line.partition("#")[0].split()[1:]
        for page in PAGES
        for line in page.read_text().splitlines()
        if re.match(r"humanuser \w", line)
    ]

    assert lines
    for words in lines:
        options = [word for word in words if word.startswith("--")]
        command = words[: 2 if words[0] in ("user", "phone", "token", "key", "outbox", "parked") else 1]
        shown = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
        assert shown.exit_code == 0, words
        assert all(option in shown.output for option in options), words


def test_the_answer_in_the_readme_is_what_the_demo_gets() -> None:
    readme = (ROOT / "README.md").read_text()
    done = subprocess.run(
        [sys.executable, "-m", "humanuser_adapters.cli", "demo"], capture_output=True, text=True, check=True
    )

    answer = json.loads(re.search(r"^(\{\"details\".*\})$", readme, re.MULTILINE)[1])  # type: ignore[index]  # or fail
    real = json.loads(re.search(r"PUT [^\n]*\n *(\{\"details\".*\})\n", done.stdout)[1])  # type: ignore[index]  # or fail

    assert answer["details"].keys() == real["details"].keys()
    assert answer["details"]["sequence"] == real["details"]["sequence"]
    assert answer["details"]["resourceOwner"] == real["details"]["resourceOwner"]
