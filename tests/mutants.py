"""Mutation testing: small changes to the rules, each of which a test of the rules must notice.

``mutants.py`` tries all of ``domain/humanuser``, ``mutants.py caller.py policy.py`` only these two modules.
Copies of the tree are changed, never the tree. It ends with 1 if a change goes unnoticed that ``mutants.toml`` does not
explain, or if the list explains one that is noticed, or is no more.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import math
import os
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from cosmic_ray.ast import ast_nodes, get_ast  # type: ignore[import-untyped]  # it comes without types
from cosmic_ray.mutating import mutate_code  # type: ignore[import-untyped]  # as above
from cosmic_ray.plugins import get_operator, operator_names  # type: ignore[import-untyped]  # as above
from rich.console import Console
from rich.progress import track

ROOT = Path(__file__).parents[1]
RULES = Path("domain/humanuser")
TESTS = ["tests/domain", "-x", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
TESTS += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of plugins that the parent has imported
WORKERS = 2
SLOW_IMPORTS = ("cryptography", "eventsourcing.persistence", "hypothesis.stateful", "phonenumbers", "pydantic")


@dataclass(frozen=True)
class Mutant:
    """A module with one small change."""

    module: Path
    """Below the root."""
    original: str
    source: str

    @property
    def diff(self) -> Sequence[str]:
        """The change, as in a patch."""
        lines = difflib.unified_diff(self.original.splitlines(), self.source.splitlines(), n=0, lineterm="")
        return list(lines)[2:]  # without the names of files

    @property
    def before(self) -> str:
        """The lines that are changed."""
        return self._lines("-")

    @property
    def change(self) -> str:
        """The changed lines as they were, an arrow, and as they are; an explanation names a part of this."""
        return f"{self.before} -> {self._lines('+')}"

    def _lines(self, sign: str) -> str:
        return " ".join(" ".join(line[1:].split()) for line in self.diff if line.startswith(sign))


@dataclass(frozen=True)
class Place:
    """A copy of the tree to make changes in."""

    root: Path
    timeout_seconds: int = 600

    def start(self, mutant: Mutant | None = None) -> int:
        """Begin the tests of the rules in a child, with the copy changed like *mutant*; the child's process id.

        It exits with 0 if they pass. A child has what takes longest, the imports, from its parent.
        """
        if mutant is not None:
            (self.root / mutant.module).write_text(mutant.source)
        if child := os.fork():
            return child
        signal.alarm(self.timeout_seconds)
        sys.dont_write_bytecode = mutant is not None
        os.chdir(self.root)
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        try:
            os._exit(pytest.main(TESTS))
        finally:
            os._exit(1)


def mutants_of(root: Path, module: Path) -> Iterator[Mutant]:
    """Every change that cosmic-ray knows of *module*, but for those that are no Python or join types otherwise."""
    original = (root / module).read_text()
    nodes = list(ast_nodes(get_ast(original)))
    seen = {original}
    for name in operator_names():
        operator = get_operator(name)
        if operator.arguments():
            continue  # it renames variables, and would have to be told which
        if "_BitOr_" in name:
            continue  # it joins types here, and nothing else
        for occurrence in range(sum(len(list(operator().mutation_positions(node))) for node in nodes)):
            source = mutate_code(original, operator(), occurrence)
            if source not in seen and _is_python(source):
                seen.add(source)
                yield Mutant(module, original, source)


def copy_of_the_tree(place: Path) -> Place:
    """A copy at *place*, in which the tests pass; what they take there says when a change keeps them from ending."""
    shutil.copytree(ROOT, place, ignore=shutil.ignore_patterns(".*", "__pycache__", "dist", "build"))
    start = time.monotonic()
    _, status = os.waitpid(Place(place).start(), 0)
    if status:
        raise SystemExit("the tests fail without any change")
    return Place(place, timeout_seconds=10 + 5 * math.ceil(time.monotonic() - start))


def survivors(mutants: Sequence[Mutant], places: Sequence[Place]) -> list[Mutant]:
    """The *mutants* that no test notices."""
    alive: list[Mutant] = []
    free = list(places)
    running: dict[int, tuple[Place, Mutant]] = {}

    def wait() -> None:
        child, status = os.wait()
        place, mutant = running.pop(child)
        (place.root / mutant.module).write_text(mutant.original)
        free.append(place)
        if status == 0:
            alive.append(mutant)

    # without a thread that refreshes what is shown: children are forked here
    for mutant in track(mutants, "changes", console=Console(stderr=True), auto_refresh=False):
        if not free:
            wait()
        place = free.pop()
        running[place.start(mutant)] = place, mutant
    while running:
        wait()
    return alive


def main(names: Sequence[str]) -> int:
    """Try the modules of these *names*, or all; print what survives and nobody explains."""
    explained = [
        change
        for survivor in tomllib.loads((ROOT / "tests" / "mutants.toml").read_text())["survivor"]
        for change in survivor["changes"]
    ]
    os.environ["HYPOTHESIS_PROFILE"] = "mutants"
    for slow in SLOW_IMPORTS:
        importlib.import_module(slow)
    used: set[str] = set()
    unexplained = 0
    with tempfile.TemporaryDirectory() as folder:
        places = [copy_of_the_tree(Path(folder, str(number))) for number in range(WORKERS)]
        root = places[0].root
        modules = [RULES / name for name in names] or sorted(
            path.relative_to(root) for path in (root / RULES).glob("*.py")
        )
        for module in modules:
            mutants = list(mutants_of(root, module))
            alive = survivors(mutants, places)
            reasons = [{text for text in explained if text in one.change and text not in one.before} for one in alive]
            unknown = [mutant for mutant, known in zip(alive, reasons, strict=True) if not known]
            used.update(*reasons)
            unexplained += len(unknown)
            for mutant in unknown:
                print("\n".join(mutant.diff), mutant.change, "", sep="\n")
            print(
                f"{module.name}: {len(mutants)} changes, {len(mutants) - len(alive)} noticed, "
                f"{len(alive) - len(unknown)} explained, {len(unknown)} neither",
                flush=True,
            )
    idle = [] if names else [text for text in explained if text not in used]
    for text in idle:
        print(f"explained for nothing: {text}")
    return 1 if unexplained or idle else 0


def _is_python(source: str) -> bool:
    with suppress(SyntaxError):
        ast.parse(source)
        return True
    return False


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
