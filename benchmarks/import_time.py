"""How long ``import humanuser`` takes in a fresh process, beside its floor. Run it with ``make bench``.

The floor is pydantic's ``BaseModel`` and phonenumbers alone, without which there is no core. Both take turns, so that
each meets the machine in the same mood; what Python itself takes to start is not in it.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from fresh_imports import CORE, FLOOR, freshly_imported

ROUNDS = 15


def main() -> None:
    """Print the medians, the best of each, and how many modules they bring."""
    rounds = [(freshly_imported(CORE), freshly_imported(FLOOR)) for _ in range(ROUNDS)]
    for name, imports in zip(("import humanuser", "floor"), zip(*rounds, strict=True), strict=True):
        seconds = [one.seconds for one in imports]
        times = f"median {statistics.median(seconds) * 1000:>4.0f} ms, best {min(seconds) * 1000:>4.0f} ms"
        print(f"{name:<16} {times}, {len(imports[0].modules)} modules")
    ratio = statistics.median(core.seconds / floor.seconds for core, floor in rounds)
    print(f"median ratio to the floor: {ratio:.2f}")


if __name__ == "__main__":
    main()
