"""A picture of refusals can be told apart by everybody, whatever there is to draw."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest

from humanuser import CodeInvalid, DomainError, PhoneInvalid, PhoneNumber, TooManyCodes
from humanuser.errors import LimitReached
from humanuser.testing import AT
from humanuser_adapters.cli.what_if_picture import COLOUR_OF_THE_REST, COLOURS, draw
from humanuser_projections import CommandKind, JudgedCommand, WhatIfTally

TEXT = "{http://www.w3.org/2000/svg}text"
REFUSALS = [*PhoneInvalid.__subclasses__(), *LimitReached.__subclasses__()]


def refused(refusal: type[DomainError], at: datetime = AT) -> JudgedCommand:
    return JudgedCommand(
        kind=CommandKind.CHANGE_PHONE,
        user_id="ada",
        sequence=2,
        created_at=at,
        phone=PhoneNumber("+41791234567"),
        refusal=refusal,
    )


def picture(path: Path, *commands: JudgedCommand, title: str = "What would have been refused") -> str:
    tally = WhatIfTally()
    tally.add_user(commands)
    draw(tally, path / "picture.svg", title)
    return (path / "picture.svg").read_text()


def texts(svg: str) -> list[str]:
    return ["".join(text.itertext()).strip() for text in ElementTree.fromstring(svg).iter(TEXT)]  # noqa: S314 - it is ours


def colours(svg: str) -> set[str]:
    return {colour for colour in re.findall(r"fill: (#\w{6})", svg) if colour in (*COLOURS, COLOUR_OF_THE_REST)}


def test_each_refusal_has_a_colour_of_its_own(tmp_path: Path) -> None:
    drawn = picture(tmp_path, *map(refused, REFUSALS[:7]))

    assert colours(drawn) == set(COLOURS)
    assert "Other refusals" not in drawn


def test_of_many_refusals_the_rare_ones_are_drawn_together(tmp_path: Path) -> None:
    often = [refused(refusal) for refusal in REFUSALS[2:9] for _ in range(2)]

    drawn = picture(tmp_path, *map(refused, REFUSALS[:2]), *often)

    assert colours(drawn) == {*COLOURS, COLOUR_OF_THE_REST}
    assert "Other refusals (2)" in drawn
    assert all(f"{refusal.message} (2)" in drawn for refusal in REFUSALS[2:9])


def test_a_right_code_that_came_too_late_is_told_from_a_wrong_one(tmp_path: Path) -> None:
    assert "Code is invalid: it came too late (1)" in texts(picture(tmp_path, refused(CodeInvalid)))


@pytest.mark.parametrize(
    ("lasted", "first_day", "first_hour", "in_a_span"),
    [
        (timedelta(0), "2026-05-10", ["12:00"], "refused in an hour"),
        (timedelta(hours=40), "2026-05-10", ["12:00"], "refused in an hour"),
        (timedelta(days=40), "2026-05-10", [], "refused in a day"),
        (timedelta(weeks=40), "2026-05-04", [], "refused in a week"),
        (timedelta(weeks=400), "2026-02-02", [], "refused in 52 weeks"),
    ],
)
def test_the_axis_of_time_is_legible(
    tmp_path: Path, lasted: timedelta, first_day: str, first_hour: list[str], in_a_span: str
) -> None:
    drawn = picture(tmp_path, refused(TooManyCodes), refused(TooManyCodes, AT + lasted))

    shown = texts(drawn)
    days = [text for text in shown if re.fullmatch(r"\d{4}-\d\d-\d\d", text)]
    hours = [text for text in shown if re.fullmatch(r"\d\d:00", text)]
    assert (days[0], hours[:1]) == (first_day, first_hour)
    assert len(days) <= 9
    assert in_a_span in shown


@pytest.mark.parametrize("moment", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_a_clock_that_was_far_off_does_not_spoil_the_picture(tmp_path: Path, moment: datetime) -> None:
    assert "Too many codes" in picture(tmp_path, refused(TooManyCodes), refused(TooManyCodes, moment))


@pytest.mark.parametrize("title", ["$x$ & <b>", "$", "a_b^c\\d{e}"])
def test_a_title_is_shown_as_it_is(tmp_path: Path, title: str) -> None:
    drawn = picture(tmp_path, title=title)

    assert title in texts(drawn)
