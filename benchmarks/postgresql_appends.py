"""Appends of two events on PostgreSQL, beside the ``eventsourcing`` library's own way on the same server.

The library locks its table, notifies, inserts row by row and commits: here once with a round trip for each statement,
and once with all of them sent together, which is less than the library needs. Ours is one statement. All are driven by
``pgbench``, so that no Python is measured, in turns; commits wait for the disk.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import psycopg

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from cluster import candidates, cluster
from humanuser_adapters.event_store.postgresql import PostgreSQLEventRecorder
from humanuser_adapters.postgresql import PostgreSQLDatabase

ROUNDS = 3
SECONDS = 4
CONNECTIONS = (1, 8, 32)
DURABLE = ("max_connections=100", "shared_buffers=256MB")
PAYLOADS = ("""{"phone":"+41791234567"}""", """{"code":{"Crypted":"%s"},"expiry":600000000000}""" % ("a" * 180))
LIBRARY_TABLE = """
    CREATE TABLE stored_events (
        originator_id text NOT NULL, originator_version bigint NOT NULL, topic text, state bytea,
        notification_id bigserial, PRIMARY KEY (originator_id, originator_version)
    );
    CREATE UNIQUE INDEX ON stored_events (notification_id)
"""
LIBRARY = f"""
\\set id random(1, 9000000000000000)
\\startpipeline
BEGIN;
SET LOCAL lock_timeout = '5s';
LOCK TABLE stored_events IN EXCLUSIVE MODE;
NOTIFY stored_events;
INSERT INTO stored_events VALUES ('u' || :id, 1, 'user.human.phone.changed', '{PAYLOADS[0]}') RETURNING notification_id;
INSERT INTO stored_events VALUES ('u' || :id, 2, 'user.human.phone.code.added', '{PAYLOADS[1]}')
RETURNING notification_id;
COMMIT;
\\endpipeline
"""
OURS = f"""
\\set id random(1, 9000000000000000)
SELECT humanuser_append_command(
    'default', 'user', md5(random()::text), NULL, now(), 'admin', 'org1', 2, 0, ARRAY['u' || :id, 'u' || :id],
    ARRAY[1, 2]::bigint[], ARRAY['user.human.phone.changed', 'user.human.phone.code.added'],
    ARRAY['{PAYLOADS[0]}', '{PAYLOADS[1]}']
);
"""
SCRIPTS = {
    "library": LIBRARY.replace("\\startpipeline", "").replace("\\endpipeline", ""),
    "together": LIBRARY,
    "ours": OURS,
}

Rates = dict[str, list[float]]
"""By name of the script, one for each round."""


def main() -> None:
    """Print appends a second and the ratio."""
    print(f"appends of two events a second, median of {ROUNDS} rounds of {SECONDS} s:")
    print(f"{'connections':>12} {'library':>10} {'together':>10} {'ours':>10}   ours to each")
    for count, rates in measured(CONNECTIONS, ROUNDS, SECONDS):
        figures = " ".join(f"{statistics.median(rates[name]):>10.0f}" for name in SCRIPTS)
        to_each = " ".join(f"{times_as_many(rates, name):>6.1f}" for name in ("library", "together"))
        print(f"{count:>12} {figures}   {to_each}", flush=True)


def measured(connections: Iterable[int], rounds: int, seconds: int) -> Iterator[tuple[int, Rates]]:
    """Appends a second on a server of our own that waits for its disk, for each number of *connections*."""
    folder = next(one for one in candidates() if (one / "pgbench").is_file())
    with cluster(DURABLE) as url, tempfile.TemporaryDirectory() as place:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(LIBRARY_TABLE)
        database = PostgreSQLDatabase(url)
        PostgreSQLEventRecorder(database)
        database.close()
        for name, script in SCRIPTS.items():
            Path(place, name).write_text(script)
        for count in connections:
            rates: Rates = {name: [] for name in SCRIPTS}
            for _ in range(rounds):
                for name in SCRIPTS:
                    rates[name].append(_rate(folder / "pgbench", url, Path(place, name), count, seconds))
            yield count, rates


def times_as_many(rates: Rates, name: str) -> float:
    """Ours to those of *name*, the median of the rounds."""
    return statistics.median(ours / theirs for ours, theirs in zip(rates["ours"], rates[name], strict=True))


def _rate(pgbench: Path, url: str, script: Path, connections: int, seconds: int) -> float:
    options = ["-n", "-M", "prepared", "-c", str(connections), "-j", "2", "-T", str(seconds), "-f", str(script)]
    done = subprocess.run([pgbench, *options, url], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    found = re.search(r"tps = ([0-9.]+)", done.stdout)
    return float(found[1]) if found else float("nan")


if __name__ == "__main__":
    main()
