"""How often commands were refused, over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from humanuser_projections.past_commands import Refusal

WIDTHS = (timedelta(hours=1), timedelta(days=1), timedelta(weeks=1), timedelta(weeks=4), timedelta(weeks=52))
"""Of a span of time; each is a multiple of the one before. Wider ones double."""
MOST_SPANS = 48
"""More than these, and the spans are made wider."""

_MONDAY = datetime.min.replace(tzinfo=UTC)
"""Where spans are counted from, so that days begin at midnight in UTC and weeks on Mondays."""


class RefusalTimeline:
    """Counts refusals by the hour or, the longer the time they are spread over, by day, week, four weeks and so on.

    So there are never more than ``MOST_SPANS``, however far a clock was off.
    """

    def __init__(self) -> None:
        self.width = WIDTHS[0]
        self._counts: Counter[tuple[Refusal, int]] = Counter()
        self._spans = range(0)

    def add(self, refusal: Refusal, at: datetime) -> None:
        """Count *refusal*, which would have been at that time."""
        span = (at - _MONDAY) // self.width
        self._counts[refusal, span] += 1
        self._spans = range(min([span, *self._spans[:1]]), max([span, *self._spans[-1:]]) + 1)
        while len(self._spans) > MOST_SPANS:
            self._widen()

    @property
    def begins(self) -> Sequence[datetime]:
        """When each span begins, from the first to the last that has a refusal."""
        return [_MONDAY + span * self.width for span in self._spans]

    def counts(self, refusal: Refusal) -> Sequence[int]:
        """How often it was in each of the spans."""
        return [self._counts[refusal, span] for span in self._spans]

    def _widen(self) -> None:
        wider = next((width for width in WIDTHS if width > self.width), 2 * self.width)
        ratio, self.width = wider // self.width, wider
        narrow, self._counts = self._counts, Counter()
        for (refusal, span), count in narrow.items():
            self._counts[refusal, span // ratio] += count
        self._spans = range(self._spans[0] // ratio, self._spans[-1] // ratio + 1)
