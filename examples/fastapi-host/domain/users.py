"""Our users, as we kept them before there were any phones: an email, and the session they are signed in with."""

import hashlib
import secrets
import sqlite3

TABLE = "CREATE TABLE IF NOT EXISTS users (id TEXT PRIMARY KEY, email TEXT UNIQUE, session TEXT UNIQUE)"


class EmailTaken(Exception):
    """Somebody else has this email."""


class OurUsers:
    """The table in the database of *connection*. Commits nothing: that is for whoever opened the transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, user_id: str, email: str) -> str:
        """Sign the new user in; the answer is the token of the session. Raises ``EmailTaken``."""
        token = secrets.token_urlsafe()
        try:
            self._connection.execute("INSERT INTO users VALUES (?, ?, ?)", (user_id, email, _digest(token)))
        except sqlite3.IntegrityError as error:
            raise EmailTaken("somebody else has this email") from error
        return token

    def signed_in_with(self, token: str) -> str | None:
        """The id of the user whose session it is."""
        row = self._connection.execute("SELECT id FROM users WHERE session = ?", (_digest(token),)).fetchone()
        return row and str(row[0])


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()
