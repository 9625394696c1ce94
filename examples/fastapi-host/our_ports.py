"""What humanuser needs of us: who calls, and how a text leaves."""

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager

from domain import OurUsers
from humanuser import Accepted, Caller, Retryable, Sms, SmsOutcome, Unknown

ORGANIZATION = "our-company"
Transaction = Callable[[], AbstractContextManager[sqlite3.Connection]]
"""A transaction on our database, for as long as the block runs."""
SendText = Callable[[str, str], object]
"""Our own function: sends to a number of the form +41791234567 a text, or raises ``OSError``."""


class OurSessions:
    """Tells who calls by the sessions of our own table. Everybody may see and change their own phone."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def authenticate(self, token: str) -> Caller | None:
        with self._transaction() as connection:
            user_id = OurUsers(connection).signed_in_with(token)
        return Caller(user_id, ORGANIZATION, {ORGANIZATION: frozenset()}) if user_id else None


class OurTexts:
    """Sends through our own function, and says what came of it."""

    def __init__(self, send_text: SendText) -> None:
        self._send_text = send_text

    def send(self, sms: Sms) -> SmsOutcome:
        try:
            self._send_text(sms.to.e164, sms.text)
        except ConnectionRefusedError:
            return Retryable("the provider takes no connections")
        except OSError as error:  # it may have left already; a second text might follow the first
            return Unknown(type(error).__name__)
        return Accepted()

    def look_up(self, sms: Sms) -> None:
        """Our provider cannot be asked, so a text whose sending was interrupted is sent again."""
