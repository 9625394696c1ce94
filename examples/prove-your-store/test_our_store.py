"""Our store, held to humanuser's contract and to whole lives."""

from hypothesis import settings

from humanuser.testing import EventStoreContract, PhoneLife
from our_store import OurEventStore

TEMPORARY = ""  # to SQLite: a file of its own, gone when it is closed


class TestOurEventStore(EventStoreContract):
    def create_store(self) -> OurEventStore:
        self.ours = OurEventStore(TEMPORARY)
        return self.ours

    def teardown_method(self) -> None:
        self.ours.close()


class OurLife(PhoneLife):
    def create_store(self) -> OurEventStore:
        self.ours = OurEventStore(TEMPORARY)
        return self.ours

    def teardown(self) -> None:
        self.ours.close()


TestOurLife = OurLife.TestCase
TestOurLife.settings = settings(TestOurLife.settings, max_examples=20, stateful_step_count=30)
