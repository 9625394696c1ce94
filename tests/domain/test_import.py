"""The core is light: what a host imports with it, and how long that takes."""

from __future__ import annotations

import sys

from fresh_imports import CORE, FLOOR, freshly_imported

ROUNDS = 3


def test_the_core_imports_pydantic_and_phonenumbers_and_nothing_else() -> None:
    modules = freshly_imported(CORE).modules

    packages = {module.partition(".")[0] for module in modules}
    beneath_pydantic = {"annotated_types", "pydantic_core", "typing_extensions", "typing_inspection"}
    others = {package for package in packages - sys.stdlib_module_names if not package.startswith("_")}
    assert others - beneath_pydantic == {"humanuser", "phonenumbers", "pydantic"}


def test_the_core_imports_no_driver_no_event_loop_and_no_log() -> None:
    brought = freshly_imported(CORE).modules - freshly_imported(FLOOR).modules

    assert {"asyncio", "concurrent", "http", "logging", "multiprocessing", "sqlite3", "ssl"} & brought == set()


def test_the_core_takes_little_longer_to_import_than_what_it_needs() -> None:
    core, floor = (min(freshly_imported(what).seconds for _ in range(ROUNDS)) for what in (CORE, FLOOR))

    told = f"import humanuser: {core * 1000:.0f} ms; pydantic and phonenumbers alone: {floor * 1000:.0f} ms"
    print(told)  # noqa: T201 - pytest -s shows it
    assert core < 5 * floor
