"""What another policy would have refused, drawn over time with matplotlib, which is an extra."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from humanuser_adapters.cli.what_if_findings import saying, span_of, summary
from humanuser_projections import WhatIfTally

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENDINGS = (".png", ".svg")

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442")
"""The seven of Okabe and Ito that everybody can tell apart on white."""
COLOUR_OF_THE_REST = "#8c8c8c"

_INCHES = (10, 5.6)
_MOST_DATES = 9


def require_drawing(path: Path) -> None:
    """Raises ``ValueError`` if nothing can be drawn into such a file, or not without installing something."""
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"the picture must end with {' or '.join(ENDINGS)}")
    if not path.parent.is_dir():
        raise ValueError(f"there is no folder {path.parent} for the picture")
    if find_spec("matplotlib") is None:
        raise ValueError("to draw a picture needs: pip install 'humanuser[pictures]'")


def draw(tally: WhatIfTally, path: Path, title: str) -> None:
    """Draw the refusals in stacked bars into *path*. The same tally gives the same file. Raises ``OSError``."""
    import matplotlib as mpl  # noqa: PLC0415 - an extra, and slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "humanuser"}):
        figure = Figure(figsize=_INCHES, layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(title, loc="left", fontsize=14, fontweight="bold", pad=28, parse_math=False)
        axes.text(0, 1.025, summary(tally), transform=axes.transAxes, fontsize=10, color="#404040")
        highest = _draw_bars(axes, tally)
        _draw_axes(axes, tally, highest)
        if tally.refusals:
            figure.legend(loc="outside lower left", ncols=2, frameon=False, fontsize=9)
        metadata = {"Date": None} if path.suffix.lower() == ".svg" else None
        figure.savefig(path, dpi=150, metadata=metadata)


def _draw_bars(axes: Axes, tally: WhatIfTally) -> int:
    """Draw them, and tell how high the highest is."""
    spans = range(len(tally.timeline.begins))
    bottom = [0 for _ in spans]
    for label, counts, colour in _layers(tally):
        axes.bar(
            spans,
            counts,
            1,
            bottom,
            align="edge",
            color=colour,
            label=label,
            edgecolor="white",
            linewidth=0.6,
            zorder=2,
        )
        bottom = [below + count for below, count in zip(bottom, counts, strict=True)]
    return max(bottom, default=0)


def _layers(tally: WhatIfTally) -> Iterator[tuple[str, Sequence[int], str]]:
    """The label, the counts and the colour of each refusal, the most frequent first, and of the rest together."""
    refusals = [refusal for refusal, _ in tally.refusals.most_common()]
    for refusal, colour in zip(refusals, COLOURS, strict=False):
        yield f"{saying(refusal)} ({tally.refusals[refusal]})", tally.timeline.counts(refusal), colour
    if rest := refusals[len(COLOURS) :]:
        counts = [sum(together) for together in zip(*map(tally.timeline.counts, rest), strict=True)]
        yield f"Other refusals ({sum(counts)})", counts, COLOUR_OF_THE_REST


def _draw_axes(axes: Axes, tally: WhatIfTally, highest: int) -> None:
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - as above

    timeline = tally.timeline
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylabel(f"refused in {span_of(timeline)}")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color="#d9d9d9", linewidth=0.8, zorder=0)
    axes.set_ylim(0, max(highest, 1) * 1.08)
    axes.margins(x=0.01)
    axes.set_xlabel("UTC")
    written = "%Y-%m-%d\n%H:%M" if timeline.width < timedelta(days=1) else "%Y-%m-%d"
    begins = list(enumerate(timeline.begins))[:: -(-len(timeline.begins) // _MOST_DATES) or 1]
    axes.set_xticks([span for span, _ in begins], [begin.strftime(written) for _, begin in begins])
