"""The wheel, installed beside a host's own package ``domain``, and beneath the examples, each a host's project."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOST_PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "host"
version = "1"
[tool.hatch.build.targets.wheel]
packages = ["domain"]
"""
EMBEDDING = """
import sys
import domain, humanuser
assert domain.OURS
assert sys.prefix in humanuser.__file__, humanuser.__file__
from humanuser_adapters.application import Application
from humanuser_adapters.vault import AesGcmVault, Keys
with Application(sys.argv[1], AesGcmVault(Keys("key", {"key": bytes(32)}))) as application:
    by = humanuser.By("host", organization="org1")
    ada = humanuser.HumanUserAdded(user_name="ada")
    application.commands.add_human_user("user1", ada, phone="+41791234567", by=by)
    assert application.find_user("user1")[1].phone == humanuser.PhoneNumber("+41791234567")
"""

EXAMPLES = sorted(file.parent.name for file in ROOT.glob("examples/*/pyproject.toml"))
WATCHING = """
import humanuser
from hypothesis import Phase, settings

once = settings(derandomize=True, database=None, phases=[Phase.generate])  # to make small what is found takes minutes
settings.register_profile("once", once)
settings.register_profile("few", once, max_examples=20)


def pytest_report_header():
    return f"humanuser is {humanuser.__file__}"
"""
FAULTS = {
    "it forgets to look for a conflict": ("if len(self.load(*user)) != new.after:", "if False:"),
    "it does a repeated command again": ("if new.command_id is not None and", "if False and"),
}
FOUND_BY = {
    "it forgets to look for a conflict": ["TestOurEventStore", "TestOurLife"],
    "it does a repeated command again": ["TestOurEventStore"],  # commands look again themselves: a life may stand it
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ours, as it is shipped."""
    return build(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def host(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a host that installed the wheel."""
    return new_environment(tmp_path_factory.mktemp("host"), wheel)


def test_the_wheel_leaves_a_hosts_own_domain_alone(wheel: Path, tmp_path: Path) -> None:
    project = tmp_path / "host"
    (project / "domain").mkdir(parents=True)
    (project / "domain" / "__init__.py").write_text("OURS = True\n")
    (project / "pyproject.toml").write_text(HOST_PROJECT)

    python = new_environment(tmp_path / "env", build(project, tmp_path / "wheels"), wheel)

    run(python, "-c", EMBEDDING, tmp_path / "embedded.sqlite")
    pip(python, "uninstall", "--yes", "humanuser")
    run(python, "-c", "import domain; assert domain.OURS")


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_does_its_main_job_with_the_wheel_alone(host: Path, tmp_path: Path, name: str) -> None:
    example = installed_example(name, host, tmp_path)

    said = run(host, "-m", "pytest", "-W", "error", "--hypothesis-profile", "few", cwd=example)

    assert f"humanuser is {host.parents[1]}" in said
    assert " passed" in said


@pytest.mark.parametrize("fault", FAULTS)
def test_a_host_learns_what_is_wrong_with_its_store(host: Path, tmp_path: Path, fault: str) -> None:
    example = installed_example("prove-your-store", host, tmp_path)
    right, wrong = FAULTS[fault]
    store = (example / "our_store.py").read_text()
    assert store.count(right) == 1
    (example / "our_store.py").write_text(store.replace(right, wrong))

    judges = [f"test_our_store.py::{judge}" for judge in FOUND_BY[fault]]
    options = ("-rf", "--hypothesis-profile", "once")
    said = run(host, "-m", "pytest", *options, *judges, cwd=example, expected=pytest.ExitCode.TESTS_FAILED)

    assert all(f"FAILED {judge}::" in said for judge in judges)


def installed_example(name: str, python: Path, place: Path) -> Path:
    """A copy of the host's project, far from our sources, installed with what it says that it needs."""
    project = shutil.copytree(ROOT / "examples" / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    said = pip(python, "install", "--no-index", "--no-build-isolation", f"{project}[test]")
    assert "does not provide the extra" not in said
    (project / "conftest.py").write_text(WATCHING)
    return project


def build(project: Path, into: Path) -> Path:
    """The wheel of *project*."""
    options = ("--no-build-isolation", "--no-deps", "--wheel-dir", into)
    run(sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", *options, project)
    (wheel,) = into.glob("*.whl")
    return wheel


def new_environment(place: Path, *wheels: Path) -> Path:
    """The Python of a new environment with *wheels*; what they need is borrowed from ours."""
    venv.create(place, symlinks=True)
    python = place / "bin" / "python"
    (site,) = place.glob("lib/*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    pip(python, "install", "--no-deps", "--ignore-installed", *wheels)
    return python


def pip(python: Path, *arguments: str | Path) -> str:
    return run(sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python, *arguments)


def run(*arguments: str | Path, cwd: Path | None = None, expected: int = 0) -> str:
    """What the command said; it must end with *expected*."""
    command = [str(one) for one in arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout + done.stderr
