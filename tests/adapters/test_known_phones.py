"""Phones held against those of somebody else."""

from __future__ import annotations

from collections.abc import Iterator

from humanuser_adapters.database import Database
from humanuser_adapters.known_phones import differences_from
from humanuser_adapters.read_model import Difference, KnownPhone
from humanuser_adapters.read_models import UserReadModels


def test_our_database_can_be_written_while_the_other_side_is_read(any_database: Database) -> None:
    UserReadModels(any_database)

    def phones() -> Iterator[KnownPhone]:
        with any_database.write() as connection:
            connection.execute(
                "INSERT INTO humanuser_user_phone VALUES (?, ?, ?, ?, ?)", ("i", "ada", None, False, None)
            )
        yield KnownPhone("i", "bob", "+41791234567", verified=True)

    found = list(differences_from(any_database, phones()))

    assert found == [
        Difference("i", "ada", "phone elsewhere", (None, False), None),
        Difference("i", "bob", "phone elsewhere", None, ("+41791234567", True)),
    ]
