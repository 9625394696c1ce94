"""Failed attempts to prove a number, counted for each number of a user."""

from __future__ import annotations

from dataclasses import dataclass

from humanuser.phone_number import PhoneNumber

REMEMBERED_NUMBERS = 10
"""How many numbers a user's failures are counted for one by one."""


@dataclass(frozen=True, slots=True)
class Failures:
    """How often codes failed in a row, by number.

    The Space-Saving algorithm keeps it bounded: when there are too many numbers, the one with the fewest failures is
    dropped, and its count becomes the floor that every other number starts from. So a count may be too high, but never
    too low, and somebody who guesses at many numbers reaches the limit for all of them.
    """

    counts: tuple[tuple[PhoneNumber, int], ...] = ()
    floor: int = 0
    """What numbers without a count of their own are taken to have."""

    def of(self, phone: PhoneNumber | None) -> int:
        """The failures of *phone*; no number has none."""
        if phone is None:
            return 0
        return dict(self.counts).get(phone, self.floor) if self.counts else self.floor

    def after_failure(self, phone: PhoneNumber | None) -> Failures:
        """One more for *phone*."""
        return self if phone is None else self._with(phone, self.of(phone) + 1)

    def after_proof(self, phone: PhoneNumber | None) -> Failures:
        """None any more for *phone*, which is proven."""
        return self if phone is None or not self.of(phone) else self._with(phone, 0)

    def _with(self, phone: PhoneNumber, count: int) -> Failures:
        counts = {**dict(self.counts), phone: count}
        floor = self.floor
        if len(counts) > REMEMBERED_NUMBERS:
            fewest = min(counts, key=counts.__getitem__)
            floor = max(floor, counts.pop(fewest))
        return Failures(tuple(one for one in counts.items() if one[1] != floor), floor)


NO_FAILURES = Failures()
