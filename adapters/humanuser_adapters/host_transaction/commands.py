"""The commands inside of a transaction that may still be rolled back."""

from __future__ import annotations

from typing import NoReturn

from humanuser import Commands
from humanuser_adapters.host_transaction.errors import TransactionUnusable


class CommandsWithin(Commands):
    """All commands but those that prove a number.

    A failed attempt counts even though it is refused. Here the refusal would have the host roll back, and the attempt
    be forgotten: codes could be guessed without end.
    """

    def verify_phone(self, *_: object, **__: object) -> NoReturn:
        raise _proof_refused()

    def verify_user_phone(self, *_: object, **__: object) -> NoReturn:
        raise _proof_refused()


def _proof_refused() -> TransactionUnusable:
    return TransactionUnusable(
        "a number is proven in a transaction of its own, because a failed attempt counts even if the host rolls back"
    )
