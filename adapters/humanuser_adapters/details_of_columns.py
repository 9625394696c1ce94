"""Users' details, made by the database out of the columns of their events: no payload is read.

Types, sequences, times and owners tell all that ``user_details`` needs. What a subscription has parked is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from humanuser import Fact, UserRemoved
from humanuser_adapters.database import Connection, Database
from humanuser_adapters.event_store import REGISTRY
from humanuser_adapters.event_store.user_event_store import AGGREGATE_TYPE
from humanuser_adapters.read_model import Difference
from humanuser_adapters.read_models import TABLES, differences_between
from humanuser_projections.user_details import BEGIN_OR_END, OF_CODES

EVENTS_AT_ONCE = 100_000
"""Of how many a statement makes details: it ends soon, and what is locked or kept for it is let go."""


def _types(of: Collection[type[Fact]]) -> str:
    return ", ".join(f"'{name}'" for name, fact in REGISTRY.items() if fact in of)


_TAKEN_IN = """
    CASE WHEN position <= (SELECT position FROM humanuser_subscriptions WHERE name = ?)
    THEN position NOT IN (SELECT position FROM humanuser_parked WHERE subscription = ?) ELSE false END
"""
"""In CASE, so that no planner leaves the primary key, in whose order all is read, for the index of positions."""
_NEXT_INSTANCE = """
    SELECT min(instance_id) FROM (
        SELECT min(instance_id) AS instance_id FROM humanuser_events WHERE instance_id > ?
        UNION ALL SELECT min(instance_id) FROM humanuser_user_details WHERE instance_id > ?
    ) AS next_ones
"""
_OF_INSTANCE = (
    f"FROM humanuser_events WHERE instance_id = ? AND aggregate_type = '{AGGREGATE_TYPE}' AND aggregate_id > ?"
)
_END_OF_PAGE = f"SELECT aggregate_id {_OF_INSTANCE} AND {_TAKEN_IN} ORDER BY aggregate_id, sequence LIMIT 1 OFFSET ?"
_PAGE = f"""
    WITH stored_details AS (
        SELECT * FROM humanuser_user_details WHERE instance_id = ? AND user_id > ? {{stored_up_to}}
    ), made_details AS (
        SELECT instance_id, aggregate_id AS user_id, last.sequence, first.created_at AS creation_date,
            last.created_at AS change_date, first.owner AS resource_owner, taken_in
        FROM (
            SELECT instance_id, aggregate_type, aggregate_id, max(sequence) AS taken_in,
                max(CASE WHEN event_type IN ({_types(BEGIN_OR_END)}) THEN sequence END) AS begun,
                max(CASE WHEN event_type NOT IN ({_types(OF_CODES)}) THEN sequence END) AS changed
            {_OF_INSTANCE} {{up_to}} AND {_TAKEN_IN}
            GROUP BY instance_id, aggregate_type, aggregate_id
        ) AS marks
        JOIN humanuser_events AS first USING (instance_id, aggregate_type, aggregate_id)
        JOIN humanuser_events AS last USING (instance_id, aggregate_type, aggregate_id)
        WHERE first.sequence = begun AND first.event_type NOT IN ({_types({UserRemoved})}) AND last.sequence = changed
    )
"""
"""Details as they are, and as they should be."""


def differences_of_details(
    database: Database, subscription: str, progress: Callable[[int], None] = lambda _: None
) -> Iterator[Difference]:
    """Where the stored details are not what the columns make them, in the order of users.

    Whatever happens meanwhile, each user's events and details are of the same moment.
    """
    for instance_id in _instances(database):
        after: str | None = ""
        while after is not None:
            with database.read(at_length=True) as connection:
                end = _end_of_page(connection, subscription, instance_id, after)
                found = list(_differences(connection, subscription, instance_id, after, end))
            yield from found
            progress(EVENTS_AT_ONCE)
            after = end


def _instances(database: Database) -> Iterator[str]:
    """Those that there are events or details of, in order."""
    after = ""
    while True:
        with database.read() as connection:
            (instance_id,) = connection.execute(_NEXT_INSTANCE, (after, after)).fetchone()
        if instance_id is None:
            return
        yield instance_id
        after = instance_id


def _end_of_page(connection: Connection, subscription: str, instance_id: str, after: str) -> str | None:
    """The user up to whom a page goes that begins behind *after*; None: to the last one."""
    values = (instance_id, after, subscription, subscription, EVENTS_AT_ONCE)
    row = connection.execute(_END_OF_PAGE, values).fetchone()
    return row[0] if row else None


def _differences(
    connection: Connection, subscription: str, instance_id: str, after: str, end: str | None
) -> Iterator[Difference]:
    bounds = (instance_id, after) if end is None else (instance_id, after, end)
    stored_up_to, up_to = ("", "") if end is None else ("AND user_id <= ?", "AND aggregate_id <= ?")
    page = _PAGE.format(stored_up_to=stored_up_to, up_to=up_to)
    values = (*bounds, *bounds, subscription, subscription)
    columns = TABLES["humanuser_user_details"]
    return differences_between(
        connection, "details", columns, "stored_details", "made_details", given=page, values=values
    )
