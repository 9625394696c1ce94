"""Users' details, made by the database out of the columns of their events: no payload is read.

Types, sequences, times and owners tell all that ``user_details`` needs. What a subscription has parked is left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from humanuser import Fact, UserRemoved
from humanuser_adapters.database import Connection
from humanuser_adapters.event_store import REGISTRY
from humanuser_adapters.event_store.user_event_store import AGGREGATE_TYPE
from humanuser_adapters.read_model import Difference
from humanuser_adapters.read_models import TABLES, differences_between
from humanuser_projections.user_details import BEGIN_OR_END, OF_CODES


def _types(of: Collection[type[Fact]]) -> str:
    return ", ".join(f"'{name}'" for name, fact in REGISTRY.items() if fact in of)


DETAILS = f"""
    SELECT instance_id, aggregate_id AS user_id, last.sequence, first.created_at AS creation_date,
        last.created_at AS change_date, first.owner AS resource_owner, taken_in
    FROM (
        SELECT instance_id, aggregate_type, aggregate_id, max(sequence) AS taken_in,
            max(CASE WHEN event_type IN ({_types(BEGIN_OR_END)}) THEN sequence END) AS begun,
            max(CASE WHEN event_type NOT IN ({_types(OF_CODES)}) THEN sequence END) AS changed
        FROM humanuser_events
        WHERE position <= (SELECT position FROM humanuser_subscriptions WHERE name = ?)
            AND position NOT IN (SELECT position FROM humanuser_parked WHERE subscription = ?)
        GROUP BY instance_id, aggregate_type, aggregate_id HAVING max(aggregate_type) = '{AGGREGATE_TYPE}'
    ) AS marks
    JOIN humanuser_events AS first USING (instance_id, aggregate_type, aggregate_id)
    JOIN humanuser_events AS last USING (instance_id, aggregate_type, aggregate_id)
    WHERE first.sequence = begun AND first.event_type NOT IN ({_types({UserRemoved})}) AND last.sequence = changed
"""
"""The rows of ``humanuser_user_details`` as they should be. Wants the name of the subscription, twice.

Without a condition on the kind of aggregate before the groups are made, SQLite takes them from the primary key, sorted.
"""


def differences_of_details(connection: Connection, subscription: str) -> Iterator[Difference]:
    """Where the stored details are not what the columns make them, in the order of users.

    One statement, so whatever happens meanwhile, it sees events and details of the same moment.
    """
    (table, columns), *_ = TABLES.items()
    made = f"WITH humanuser_made_details AS ({DETAILS})"
    yield from differences_between(
        connection, "details", columns, table, "humanuser_made_details", given=made, values=(subscription,) * 2
    )
