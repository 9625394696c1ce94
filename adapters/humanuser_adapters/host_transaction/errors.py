"""What can be wrong with the transaction of a host. Either way the command has stored nothing in it."""

from __future__ import annotations

from humanuser import StoreError


class TransactionUnusable(StoreError):
    """Events cannot be stored in this transaction, however often it is tried; the message says why."""


class TransactionOvertaken(StoreError):
    """Another transaction was faster, and this one cannot see what it stored: roll back, and do all of it again."""
