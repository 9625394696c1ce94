"""What is no transaction that events can be stored in is refused before anything is stored."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from fakes import FakeClock
from hosts import on_a_connection_of_sqlalchemy, on_a_connection_that_its_pool_lent, on_a_session_of_sqlalchemy
from humanuser import By, HumanUserAdded, StoreUnavailable
from humanuser.testing import AT
from humanuser_adapters.application import Application
from humanuser_adapters.host_transaction import TransactionUnusable
from humanuser_adapters.vault import AesGcmVault

ADMIN = By("admin", organization="org1")
ADDED = HumanUserAdded(user_name="ada")


class Table(DeclarativeBase):
    """What SQLAlchemy wants beneath its classes."""


class Order(Table):
    __tablename__ = "orders"
    item: Mapped[str] = mapped_column(primary_key=True)


@pytest.fixture
def server(postgresql_url: str, vault: AesGcmVault, clock: FakeClock) -> Iterator[Application]:
    with Application(postgresql_url, vault, clock=clock) as application:
        yield application


def refused(application: Application, connection: object, why: str) -> None:
    """Nothing is stored through *connection*, and the reason is *why*."""
    with pytest.raises(TransactionUnusable, match=why) as refusal:
        application.within(connection).commands.add_human_user("user1", ADDED, by=ADMIN)
    assert "\n" not in str(refusal.value)
    assert application.history("user1") == []


class TestOnSQLite:
    @pytest.fixture
    def path(self, application: Application, tmp_path: Path) -> Path:
        assert application.head() == 0
        return tmp_path / "test.sqlite"

    def test_a_connection_that_commits_by_itself(self, application: Application, path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            refused(application, connection, "no transaction is open")

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="it is newer")
    def test_a_connection_with_autocommit(self, application: Application, path: Path) -> None:
        connect: Callable[..., sqlite3.Connection] = sqlite3.connect
        with closing(connect(path, autocommit=True)) as connection:
            refused(application, connection, "no transaction is open")

    def test_a_transaction_that_has_ended_meanwhile(self, application: Application, path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            users = application.within(connection)
            connection.execute("COMMIT")

            with pytest.raises(TransactionUnusable, match="no transaction is open"):
                users.commands.add_human_user("user1", ADDED, by=ADMIN)

        assert application.history("user1") == []

    def test_a_connection_of_another_thread(self, application: Application, path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection, ThreadPoolExecutor(1) as elsewhere:
            elsewhere.submit(refused, application, connection, "thread").result()

    def test_another_file_even_if_ours_is_attached_to_it(self, application: Application, path: Path) -> None:
        with closing(sqlite3.connect(path.with_name("other.sqlite"))) as connection:
            connection.execute("ATTACH ? AS ours", (str(path),))

            refused(application, connection, "not to .*test.sqlite")

    def test_a_database_in_memory(self, application: Application) -> None:
        with closing(sqlite3.connect(":memory:")) as connection:
            refused(application, connection, "not to .*test.sqlite")

    def test_the_same_file_by_another_name_is_not_refused(self, application: Application, path: Path) -> None:
        link = path.with_name("link.sqlite")
        link.symlink_to(path)
        with closing(sqlite3.connect(link)) as connection:
            application.within(connection).commands.add_human_user("user1", ADDED, by=ADMIN)
            connection.commit()

        assert len(application.history("user1")) == 1

    def test_a_closed_connection(self, application: Application, path: Path) -> None:
        connection = sqlite3.connect(path)
        connection.close()

        refused(application, connection, "closed")

    @pytest.mark.parametrize("how", [on_a_connection_of_sqlalchemy, on_a_connection_that_its_pool_lent])
    def test_a_closed_connection_of_sqlalchemy(self, application: Application, path: Path, how: Any) -> None:
        with how(str(path)) as host:
            host.connection.close()

            refused(application, host.connection, "closed")

    def test_a_connection_that_may_only_read(self, application: Application, path: Path) -> None:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            refused(application, connection, "readonly")

    def test_a_connection_to_something_else(self, application: Application) -> None:
        refused(application, object(), "builtins.object is not from sqlite3")

    def test_rows_and_texts_of_another_kind_do_not_matter_and_stay(self, application: Application, path: Path) -> None:
        def as_dict(_: object, row: tuple[object, ...]) -> dict[int, object]:
            return dict(enumerate(row))

        with closing(sqlite3.connect(path)) as connection:
            connection.row_factory, connection.text_factory = as_dict, bytes
            users = application.within(connection)
            users.commands.add_human_user("user1", ADDED, by=ADMIN)
            found = users.find_user("user1")
            kept = (connection.row_factory, connection.text_factory)

        assert found is not None
        assert kept == (as_dict, bytes)


class TestOnPostgreSQL:
    def test_a_connection_that_commits_by_itself(self, server: Application, postgresql_url: str) -> None:
        with psycopg.connect(postgresql_url, autocommit=True) as connection:
            refused(server, connection, "no transaction is open")

    def test_a_block_of_a_connection_that_commits_by_itself_is_not_refused(
        self, server: Application, postgresql_url: str
    ) -> None:
        with psycopg.connect(postgresql_url, autocommit=True) as connection, connection.transaction():
            server.within(connection).commands.add_human_user("user1", ADDED, by=ADMIN)

        assert len(server.history("user1")) == 1

    def test_an_aborted_transaction(self, server: Application, postgresql_url: str) -> None:
        with psycopg.connect(postgresql_url) as connection:
            with pytest.raises(psycopg.Error):
                connection.execute("SELECT 1 / 0")

            refused(server, connection, "aborted")

    def test_a_session_whose_flush_failed(self, server: Application, postgresql_url: str) -> None:
        with on_a_session_of_sqlalchemy(postgresql_url) as host:
            host.execute("CREATE TABLE orders (item TEXT PRIMARY KEY)")
            host.connection.add_all([Order(item="book"), Order(item="book")])
            with pytest.raises(IntegrityError):
                host.connection.flush()

            refused(server, host.connection, "broken off")

    def test_a_connection_in_the_middle_of_a_statement(self, server: Application, postgresql_url: str) -> None:
        copying = "COPY (SELECT 1) TO STDOUT"
        with psycopg.connect(postgresql_url) as connection, connection.cursor().copy(copying) as copy:
            refused(server, connection, "another statement")
            assert list(copy)

    def test_a_transaction_that_may_only_read(self, server: Application, postgresql_url: str) -> None:
        with psycopg.connect(postgresql_url) as connection:
            connection.execute("SET TRANSACTION READ ONLY")

            refused(server, connection, "read only sql transaction")

    def test_a_role_that_may_not_write(self, server: Application, postgresql_url: str) -> None:
        with psycopg.connect(postgresql_url) as connection:
            connection.execute("CREATE ROLE stranger")
            connection.execute(
                "DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO stranger', current_schema); END $$"
            )
            connection.execute("SET ROLE stranger")

            refused(server, connection, "insufficient privilege")

            connection.rollback()

    def test_another_database_with_the_same_tables(
        self, server: Application, postgresql_server: str, vault: AesGcmVault
    ) -> None:
        with psycopg.connect(postgresql_server, autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS another")
            connection.execute("CREATE DATABASE another")
        other = postgresql_server.replace("/postgres?", "/another?")
        with Application(other, vault), psycopg.connect(other) as connection:
            refused(server, connection, "another database")

    def test_another_schema(self, server: Application, postgresql_url: str) -> None:
        with psycopg.connect(postgresql_url) as connection:
            connection.execute("SET search_path TO public")

            refused(server, connection, "search_path")

    def test_a_closed_connection(self, server: Application, postgresql_url: str) -> None:
        connection = psycopg.connect(postgresql_url)
        connection.close()

        refused(server, connection, "closed")

    def test_a_connection_that_was_lost(self, server: Application, postgresql_url: str) -> None:
        with closing(psycopg.connect(postgresql_url)) as connection:
            users = server.within(connection)
            with psycopg.connect(postgresql_url) as another:
                another.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))

            with pytest.raises(StoreUnavailable):
                users.commands.add_human_user("user1", ADDED, by=ADMIN)

            refused(server, connection, "closed")

    def test_a_connection_to_something_else(self, server: Application) -> None:
        with closing(sqlite3.connect(":memory:")) as connection:
            refused(server, connection, "sqlite3.Connection is no psycopg.Connection")

    def test_sqlalchemy_that_commits_by_itself(self, server: Application, postgresql_url: str) -> None:
        engine = create_engine(
            "postgresql+psycopg://",
            creator=lambda: psycopg.connect(postgresql_url),
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
        )
        with Session(engine) as session:
            refused(server, session, "no transaction is open")

    def test_what_the_host_makes_of_rows_does_not_matter(self, server: Application, postgresql_url: str) -> None:
        with psycopg.connect(postgresql_url, row_factory=psycopg.rows.dict_row) as connection:
            connection.execute("SET TimeZone = 'Asia/Kolkata'")
            users = server.within(connection)
            users.commands.add_human_user("user1", ADDED, by=ADMIN)

            assert [one.created_at for one in users.history("user1")] == [AT]
            assert users.find_user("user1") is not None
