"""The core runs unchanged on other engines of the ``eventsourcing`` library."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from eventsourcing.dcb.popo import InMemoryDCBRecorder

from dcb_store import DcbEventStore
from fakes import FakeClock
from humanuser import By, Commands, HumanUser, HumanUserAdded, StoreUnavailable
from humanuser.testing import EventStoreContract, TransparentVault, event_store
from humanuser_adapters.vault import draw_code
from umadb_server import NoUmaDB, umadb_server


@pytest.fixture
def umadb_url() -> Iterator[str]:
    """The URL of a real UmaDB with nothing in it; without one, skip loudly, and fail in CI."""
    try:
        pytest.importorskip("eventsourcing_umadb", reason="NO UMADB: it is not installed", exc_type=ImportError)
        with umadb_server() as url:
            yield url
    except NoUmaDB as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI must test UmaDB: {error}")
        pytest.skip(f"NO UMADB: {error}")


def store_on_umadb(url: str) -> DcbEventStore:
    import umadb  # noqa: PLC0415 - it may not be there
    from eventsourcing_umadb.recorders import UmaDBDCBRecorder  # noqa: PLC0415 - as above

    return DcbEventStore(UmaDBDCBRecorder(umadb.Client(url)), outages=(umadb.TransportError,))


class TestInMemoryEngine(EventStoreContract):
    @pytest.fixture(autouse=True)
    def _fewer_commands(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(event_store, "MANY_COMMANDS", 200)  # it searches all its events at every query

    def create_store(self) -> DcbEventStore:
        return DcbEventStore(InMemoryDCBRecorder())


class TestUmaDB(EventStoreContract):
    @pytest.fixture(autouse=True)
    def _server(self, umadb_url: str) -> None:
        self.url = umadb_url

    def create_store(self) -> DcbEventStore:
        return store_on_umadb(self.url)


def test_commands_run_on_umadb_as_on_any_store(umadb_url: str) -> None:
    store = store_on_umadb(umadb_url)
    commands = Commands(store, TransparentVault(), FakeClock(), draw_code)
    commands.add_human_user("user1", HumanUserAdded(user_name="ada"), by=By("admin", organization="acme"))
    changing = By("admin", organization="acme", command_id="change-1")

    first = commands.change_phone("user1", "+41791234567", by=changing)
    again = commands.change_phone("user1", "+41791234567", by=changing)

    assert first == again
    user = HumanUser.replay(store_on_umadb(umadb_url).load("default", "user1"))
    assert user.phone is not None
    assert (user.phone.e164, user.sequence) == ("+41791234567", 3)


def test_an_umadb_that_cannot_be_reached_is_an_unavailable_store() -> None:
    with umadb_server() as url:
        store = store_on_umadb(url)

    with pytest.raises(StoreUnavailable):
        store.load("default", "user1")
