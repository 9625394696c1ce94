"""Every public name says what it is, is typed, and stands on the page of the Python API."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

from reference import reference_pages

PAGES = reference_pages()
MODULES = [importlib.import_module(name) for names in PAGES.PUBLIC.values() for name in names]
PAGE = (Path(__file__).parents[1] / "docs" / "reference" / "python-api.md").read_text()


@pytest.fixture(params=MODULES, ids=lambda module: module.__name__)
def module(request: pytest.FixtureRequest) -> ModuleType:
    public: ModuleType = request.param
    return public


def test_every_public_name_has_a_docstring(module: ModuleType) -> None:
    assert [name for name in module.__all__ if not PAGES.first_line(getattr(module, name), module, name)] == []


def test_every_public_name_is_on_the_page(module: ModuleType) -> None:
    _, _, section = PAGE.partition(f"### `{module.__name__}`\n")
    entries = section.partition("\n#")[0].splitlines()

    listed = [entry.split("`")[1].partition("(")[0] for entry in entries if entry.startswith("- ")]

    assert listed == list(module.__all__)


def test_every_public_name_is_there_once_and_sorted(module: ModuleType) -> None:
    def constants_classes_functions(name: str) -> tuple[int, str]:
        return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)

    assert list(module.__all__) == sorted(set(module.__all__), key=constants_classes_functions)


def test_every_public_function_and_method_is_typed(module: ModuleType) -> None:
    untyped = [
        f"{function.__qualname__}: {parameter}"
        for function in public_functions(module)
        for parameter, annotation in annotated(function)
        if annotation is inspect.Parameter.empty
    ]

    assert untyped == []


def public_functions(module: ModuleType) -> Iterator[FunctionType]:
    for thing in (inspect.unwrap(getattr(module, name)) for name in module.__all__):
        if isinstance(thing, FunctionType):
            yield thing
        elif isinstance(thing, type):
            methods = (one.__func__ if isinstance(one, classmethod) else one for one in vars(thing).values())
            yield from (
                one
                for one in methods
                if isinstance(one, FunctionType)
                and not one.__name__.startswith("_")
                and one.__module__ == thing.__module__
            )


def annotated(function: FunctionType) -> Iterator[tuple[str, object]]:
    signature = inspect.signature(function)
    for parameter in signature.parameters.values():
        if parameter.name not in {"self", "cls"}:
            yield parameter.name, parameter.annotation
    yield "return", signature.return_annotation
