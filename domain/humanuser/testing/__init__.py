"""What proves the rules and the ports, for the tests of hosts and of this project. It needs pytest."""

from humanuser.testing.event_store import EventStoreContract
from humanuser.testing.histories import AT, history

__all__ = ["AT", "EventStoreContract", "history"]
