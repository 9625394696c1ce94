"""The whole, wired: the core, its store, its read models and its notifications on one SQLite file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from humanuser import Clock, CodeVault, Commands, Policy, Recorded, SmsSender, StoreError
from humanuser_adapters.event_store import SQLiteEventRecorder, UserEventStore
from humanuser_adapters.outbox import LEASE, Delivery, Outbox, OutboxWorker
from humanuser_adapters.read_models import User, UserReadModels
from humanuser_adapters.sqlite import Database
from humanuser_adapters.subscription import Progress, Subscription
from humanuser_adapters.user_ids import new_user_id
from humanuser_adapters.vault import draw_code
from humanuser_adapters.workers import Worker
from humanuser_projections import PhoneNotifier


def utc_now() -> datetime:
    """The time of the machine."""
    return datetime.now(UTC)


class Application:
    """Commands, read models and notifications for one instance.

    Commands and reads work at once; ``start`` begins to send SMS and to keep the read models warm. Raises
    ``StoreUnavailable`` if the file cannot be opened.
    """

    def __init__(
        self,
        path: Path | str,
        vault: CodeVault,
        *,
        sender: SmsSender | None = None,
        policy: Policy | None = None,
        instance_id: str = "default",
        clock: Clock = utc_now,
        sms_workers: int = 2,
        sms_lease: timedelta = LEASE,
    ) -> None:
        """Without a *sender* nothing is sent, and codes wait for a process that has one until they expire."""
        self.instance_id = instance_id
        self._clock = clock
        self._database = Database(path)
        self._store = UserEventStore(SQLiteEventRecorder(self._database))
        self._read_models = UserReadModels(self._database)
        self._outbox = Outbox(self._database, clock, lease=sms_lease)
        self._users = Subscription("users", self._database, self._store, self._read_models)
        self._notifications = Subscription("notifications", self._database, self._store, self._outbox, from_now_on=True)
        self.commands = Commands(self._store, vault, clock, draw_code, policy=policy, instance_id=instance_id)
        self._workers = [Worker(self._users.name, self._database, self._users.follow)]
        if sender is not None:
            notifier = PhoneNotifier(self._store, vault, sender, self.commands, clock)
            worker = OutboxWorker(self._outbox, notifier, clock, instance_id=instance_id)
            self._workers += [
                Worker(self._notifications.name, self._database, self._notifications.follow),
                *(Worker(f"sms-{number}", self._database, worker.send_due) for number in range(1, sms_workers + 1)),
            ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Begin to work in the background."""
        for worker in self._workers:
            worker.start()

    def stop(self) -> None:
        """Let the work at hand finish, and end the background work."""
        for worker in self._workers:
            worker.stop()

    def close(self) -> None:
        """End the background work, and close the file."""
        self.stop()
        self._database.close()

    def find_user(self, user_id: str) -> User | None:
        """The user's details and phone, as of every event that was stored before this call; None: there is none.

        Raises ``UnreadableEvent``, ``StoreUnavailable``.
        """
        self._users.catch_up()
        return self._read_models.find(self.instance_id, user_id)

    def history(self, user_id: str) -> Sequence[Recorded]:
        """All that happened to the user. Raises ``UnreadableEvent``, ``StoreUnavailable``."""
        return self._store.load(self.instance_id, user_id)

    def rebuild(self, progress: Progress = lambda _: None) -> int:
        """Make the read models anew from the first event; how many events that took."""
        return self._users.rebuild(self._read_models, progress)

    def head(self) -> int:
        """The position of the last event there is; 0 if there is none."""
        return self._store.head()

    def deliveries(self) -> Sequence[Delivery]:
        """Every SMS there was to send, and what became of it."""
        self._notifications.catch_up()
        return self._outbox.list(self.instance_id)

    def new_user_id(self) -> str:
        """An id for a new user."""
        return new_user_id(self._clock)

    def problems(self) -> dict[str, str]:
        """What keeps the background work from being done, by part; empty: all is well."""
        problems = {worker.name: worker.fault or "not running" for worker in self._workers if not worker.healthy}
        try:
            self._users.position()
        except StoreError as error:
            problems["database"] = str(error)
        return problems
