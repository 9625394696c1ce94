"""From what a host has at hand to the connection of the database's own driver."""

from __future__ import annotations

from typing import Any

from humanuser_adapters.host_transaction.errors import TransactionUnusable


def driver_connection(host: Any) -> object:  # Any: SQLAlchemy's classes are known by what they can, not by their names
    """The driver's connection behind SQLAlchemy's ``Session`` or ``Connection``, or one that its pool lent.

    Any other *host* is a driver's connection itself. Raises ``TransactionUnusable`` if it is closed.
    """
    if hasattr(host, "get_bind"):  # a session
        if not host.is_active:
            raise TransactionUnusable("the session's transaction was broken off, roll it back")
        host = host.connection()
    if hasattr(host, "exec_driver_sql"):  # a connection of SQLAlchemy
        if host.closed:
            raise _closed()
        if not host.in_transaction():
            host.begin()  # as it would at its first statement; it does not see ours, and would not commit them
        host = host.connection
    host = getattr(host, "driver_connection", host)
    if host is None or getattr(host, "closed", False):
        raise _closed()
    return host


def _closed() -> TransactionUnusable:
    return TransactionUnusable("the connection is closed")
