"""The wheel, installed beside a host's own package ``domain``."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

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
heavy = {"cryptography", "eventsourcing", "sqlite3", "starlette", "typer", "uvicorn"} & set(sys.modules)
assert not heavy, heavy
from humanuser_adapters.application import Application
from humanuser_adapters.vault import AesGcmVault, Keys
with Application(sys.argv[1], AesGcmVault(Keys("key", {"key": bytes(32)}))) as application:
    by = humanuser.By("host", organization="org1")
    ada = humanuser.HumanUserAdded(user_name="ada")
    application.commands.add_human_user("user1", ada, phone="+41791234567", by=by)
    assert application.find_user("user1")[1].phone == humanuser.PhoneNumber("+41791234567")
"""


def run(*arguments: str | Path) -> None:
    done = subprocess.run([str(one) for one in arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def pip(python: Path, *arguments: str | Path) -> None:
    run(sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python, *arguments)


def test_the_wheel_leaves_a_hosts_own_domain_alone(tmp_path: Path) -> None:
    host = tmp_path / "host"
    (host / "domain").mkdir(parents=True)
    (host / "domain" / "__init__.py").write_text("OURS = True\n")
    (host / "pyproject.toml").write_text(HOST_PROJECT)
    wheels = tmp_path / "wheels"
    for project in (host, ROOT):
        options = ("--no-build-isolation", "--no-deps", "--wheel-dir", wheels)
        run(sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", *options, project)
    venv.create(tmp_path / "env", symlinks=True)
    python = tmp_path / "env" / "bin" / "python"
    (site,) = (tmp_path / "env").glob("lib/*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))

    for wheel in sorted(wheels.glob("host*")) + sorted(wheels.glob("humanuser*")):
        pip(python, "install", "--no-deps", "--ignore-installed", wheel)

    run(python, "-c", EMBEDDING, tmp_path / "embedded.sqlite")
    pip(python, "uninstall", "--yes", "humanuser")
    run(python, "-c", "import domain; assert domain.OURS")
