"""Events in a transaction of the host: stored when the host commits its own rows, gone when it rolls them back."""

from humanuser_adapters.host_transaction.commands import CommandsWithin
from humanuser_adapters.host_transaction.errors import TransactionOvertaken, TransactionUnusable
from humanuser_adapters.host_transaction.host_transaction import HostTransaction
from humanuser_adapters.host_transaction.sqlite import SQLiteHostTransaction

__all__ = [
    "CommandsWithin",
    "HostTransaction",
    "SQLiteHostTransaction",
    "TransactionOvertaken",
    "TransactionUnusable",
]
