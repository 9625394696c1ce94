"""Puts every claim of reliability to the test, and prints what was seen: ``make reliability``."""

from __future__ import annotations

import argparse
import logging
import os
import platform
import secrets
import sys
import time
import traceback
from collections.abc import Sequence
from importlib import import_module

from rich.console import Console
from rich.table import Table

from reliability.proof import Effort, Figure, Proof

PROOFS = {
    "R1": "kills",
    "R2": "kills",
    "R3": "simulation",
    "R4": "power_loss",
    "R5": "failover",
    "R6": "lost_answers",
    "R7": "completeness",
    "R8": "outages",
    "R9": "poison",
    "R10": "races",
    "R11": "guesses",
    "R14": "secrets_hidden",
    "R15": "appends",
    "R16": "starts",
    "R17": "imports",
    "R18": "served",
}
"""The module of each."""
AN_HOUR_ALONE = {"R17"}
"""Whole, these take as long as all others, and run where they are named."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the proofs that *arguments* name, and print a table; the exit code, 1 if a claim does not hold."""
    parser = argparse.ArgumentParser(prog="reliability", description=__doc__)
    parser.add_argument("proofs", nargs="*", metavar="PROOF", help=_help())
    parser.add_argument("--quick", action="store_true", help="a part of each, in about five minutes")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="chance starts here (random)")
    options = parser.parse_args(arguments)
    if unknown := set(options.proofs) - set(PROOFS):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    logging.basicConfig(handlers=[logging.NullHandler()])  # faults are what this is about
    effort = Effort(options.quick, options.seed)
    console = Console(soft_wrap=True)
    table = Table("", "what", "measured", "wanted", title=_title(effort))
    failed = []
    for name in options.proofs or _by_default(effort):
        proof = _proof(name)
        console.print(f"{name}: {proof.claim}", highlight=False)
        start = time.monotonic()
        figures = _figures(proof, effort)
        seconds = time.monotonic() - start
        table.add_section()
        table.add_row(name, f"[bold]{proof.claim}[/]", f"{seconds:.0f} s", "")
        for figure in figures:
            mark = "" if figure.holds else " [bold red]NO[/]"
            table.add_row("", figure.what, f"{figure.measured:,.10g}{mark}", figure.wanted)
        if not all(figure.holds for figure in figures):
            failed.append(name)
    console.print(table)
    if failed:
        console.print(f"[bold red]{', '.join(failed)} did not hold with --seed {effort.seed}[/]")
    return 1 if failed else 0


def _help() -> str:
    return f"of {', '.join(PROOFS)}; by default all, of which {', '.join(AN_HOUR_ALONE)} only if --quick"


def _by_default(effort: Effort) -> Sequence[str]:
    return [name for name in PROOFS if effort.quick or name not in AN_HOUR_ALONE]


def _proof(name: str) -> Proof:
    module = import_module(f"reliability.{PROOFS[name]}")
    return next(proof for proof in vars(module).values() if isinstance(proof, Proof) and proof.name == name)


def _figures(proof: Proof, effort: Effort) -> list[Figure]:
    figures = []
    try:
        for figure in proof.run(effort):
            figures.append(figure)
            mark = "" if figure.holds else "   <-- NO"
            print(f"  {figure.what}: {figure.measured:,.10g}  {figure.wanted}{mark}", flush=True)  # noqa: T201
    except Exception as error:  # noqa: BLE001 - the other proofs go on
        traceback.print_exc()
        figures.append(Figure(f"it broke: {type(error).__name__}", 1, "0", holds=False))
    return figures


def _title(effort: Effort) -> str:
    extent = "a part of each" if effort.quick else "whole"
    machine = f"Python {platform.python_version()}, {os.cpu_count()} CPUs"
    return f"Reliability, {extent}, seed {effort.seed}, {machine}"


if __name__ == "__main__":
    sys.exit(main())
