"""The users of one instance: what can be done about them, and what can be asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from humanuser import Commands, Recorded, require_str
from humanuser_adapters.event_store import UserEventStore
from humanuser_adapters.read_models import User, UserReadModels


@dataclass(frozen=True, slots=True)
class Users:
    """Commands, and reads that see all that these stored."""

    commands: Commands
    store: UserEventStore
    read_models: UserReadModels
    instance_id: str

    def find_user(self, user_id: str) -> User | None:
        """The user's details and phone, as of every event that was stored before this call; None: there is none.

        Raises ``UnreadableEvent``, ``StoreUnavailable``, ``TypeError`` if *user_id* is not a string.
        """
        if not _can_exist(user_id):
            return None
        found = self.read_models.find(self.instance_id, user_id)
        return found.after(self.store.load_behind(found.sequence, self.instance_id, user_id)).user

    def history(self, user_id: str) -> Sequence[Recorded]:
        """All that happened to the user.

        Raises ``UnreadableEvent``, ``StoreUnavailable``, ``TypeError`` if *user_id* is not a string.
        """
        if not _can_exist(user_id):
            return []
        return self.store.load(self.instance_id, user_id)


def _can_exist(user_id: str) -> bool:
    """Whether every database can store the id: no NUL, no half characters."""
    require_str("user_id", user_id)
    return "\0" not in user_id and user_id.encode(errors="ignore").decode() == user_id


__all__ = ["Users"]
