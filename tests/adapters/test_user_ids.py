"""Ids for new users."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fakes import FakeClock
from humanuser_adapters.user_ids import new_user_id


@pytest.mark.parametrize("year", [2020, 2026, 2060, 2088])
def test_an_id_is_a_63_bit_number_in_decimal(clock: FakeClock, year: int) -> None:
    clock.now = datetime(year, 12, 31, tzinfo=UTC)

    user_id = new_user_id(clock)

    assert user_id == str(int(user_id))
    assert 0 <= int(user_id) < 2**63


def test_ids_of_today_are_as_long_as_zitadels(clock: FakeClock) -> None:
    assert len(new_user_id(clock)) == 18


def test_ids_grow_with_time(clock: FakeClock) -> None:
    ids = []

    for _ in range(1_000):
        ids.append(int(new_user_id(clock)))
        clock.now += timedelta(milliseconds=1)

    assert ids == sorted(set(ids))


def test_ids_of_one_millisecond_are_nearly_all_distinct(clock: FakeClock) -> None:
    ids = {new_user_id(clock) for _ in range(10_000)}

    assert len(ids) > 9_950  # 12 pairs are to be expected


@pytest.mark.parametrize("year", [1, 1969, 1970, 2019])
def test_a_clock_before_2020_gives_no_negative_id(clock: FakeClock, year: int) -> None:
    clock.now = datetime(year, 1, 1, tzinfo=UTC)

    ids = {int(new_user_id(clock)) for _ in range(100)}

    assert min(ids) >= 0
    assert len(ids) > 95
