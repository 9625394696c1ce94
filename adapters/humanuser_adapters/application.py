"""The whole, wired: the core, its store, its read models and its notifications on one database."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Self

from humanuser import (
    Accepted,
    Clock,
    CodeVault,
    Commands,
    NotWanted,
    Permanent,
    Policy,
    Recorded,
    SmsSender,
    StoreUnavailable,
    require_str,
)
from humanuser_adapters.backlog import Backlog
from humanuser_adapters.database import Connection, Database
from humanuser_adapters.database_clock import DatabaseClock
from humanuser_adapters.database_name import is_url
from humanuser_adapters.details_of_columns import differences_of_details
from humanuser_adapters.event_log import LogEnd
from humanuser_adapters.event_row import EventRow, EventSource, Malformed
from humanuser_adapters.event_store import EventRows, SqlEventRecorder, SQLiteEventRecorder, UserEventStore, event_of
from humanuser_adapters.forks import NotPicklable
from humanuser_adapters.host_transaction import CommandsWithin, SQLiteHostTransaction
from humanuser_adapters.log_fields import about, log_of
from humanuser_adapters.outbox import LEASE, RETENTION, Delivery, Outbox, OutboxWorker, State
from humanuser_adapters.read_model import MOST_DIFFERENCES, Difference, KnownPhone
from humanuser_adapters.read_models import User, UserReadModels
from humanuser_adapters.rebuild import Progress, Rebuild
from humanuser_adapters.replay import Importer, ImportSummary, Told
from humanuser_adapters.send_budget import BudgetedSms, SmsBudget
from humanuser_adapters.shared_check import SharedCheck
from humanuser_adapters.sqlite import SQLiteDatabase
from humanuser_adapters.sqlite_backup import PageProgress, back_up
from humanuser_adapters.standstill import LIMIT, Standstill
from humanuser_adapters.subscription import Subscription
from humanuser_adapters.telemetry import MeasuredCommands, Telemetry, telemetry_installed
from humanuser_adapters.telemetry.measurements import INSTANCE, REASON, SMS_DROPPED
from humanuser_adapters.user_ids import new_user_id
from humanuser_adapters.users import Users
from humanuser_adapters.vault import draw_code
from humanuser_adapters.workers import Worker
from humanuser_adapters.write_probe import WriteProbe
from humanuser_projections import CheckedSms, PhoneNotifier, checked_report, record_sent

log = log_of(__name__)

Within = Callable[[object], tuple[Database, SqlEventRecorder]]
"""From a host's connection to the database inside of its transaction, and a recorder on that."""
SECONDS_BETWEEN_CHECKS = 1.0
"""Of the counter of positions, which a failover to a copy without sequences may set back."""
SHORTEST_HANG = timedelta(seconds=10)
"""An SMS worker that takes longer than its lease, and than this, for one SMS hangs: its sender does not return."""
PAGE = 500
"""How many ids of users are read at once."""


def utc_now() -> datetime:
    """The time of the machine."""
    return datetime.now(UTC)


class Application(NotPicklable):
    """Commands, read models and notifications for one instance.

    Commands and reads work at once; ``start`` begins to send SMS and to keep the read models warm. Raises
    ``StoreUnavailable`` if the database cannot be had. A forked child uses and closes its own copy, in which nothing
    runs before ``start``; a spawned process makes one of its own.
    """

    def __init__(
        self,
        database: Path | str,
        vault: CodeVault,
        *,
        sender: SmsSender | None = None,
        policy: Policy | None = None,
        instance_id: str = "default",
        clock: Clock | None = None,
        sms_workers: int = 2,
        sms_lease: timedelta = LEASE,
        sms_budget: SmsBudget | None = SmsBudget(),  # noqa: B008 - it is frozen
        outbox_retention: timedelta | None = RETENTION,
        standstill: timedelta = LIMIT,
        telemetry: Telemetry | None = None,
    ) -> None:
        """*database* is a SQLite file, or the ``postgresql://`` URL of a database.

        Without a *sender* nothing is sent, and codes wait for a process that has one until they expire. Without a
        *clock* everything follows the database's: PostgreSQL's own, and the machine's for a SQLite file. *sms_budget*
        limits SMS per number, range and country; None switches it off. Settled SMS are deleted after
        *outbox_retention*; None keeps them for ever. *standstill* is how long events may wait for an open transaction,
        or for a subscription that does not move, before ``problems`` reports it. Without *telemetry* it is measured
        for OpenTelemetry if that is installed.
        Raises ``TypeError`` for a *sender* that cannot be called as an ``SmsSender``.
        """
        checked = None if sender is None else CheckedSms(sender)  # before anything is opened
        self.instance_id = instance_id
        self._database, recorder, self._within = _opened(database)
        self._store = UserEventStore(recorder)
        self._rows = EventRows(self._database, recorder)
        self._read_models = UserReadModels(self._database)
        shared_clock = None if clock is None else _ignoring_the_connection(clock)
        self._outbox = Outbox(self._database, shared_clock, lease=sms_lease, retention=outbox_retention)
        self.clock = clock = clock or _clock_of(self._database)
        self._user_subscription = Subscription("users", self._database, self._store, self._read_models)
        self._rebuild = Rebuild(self._user_subscription, self._database, self._store, self._read_models)
        self._notifications = Subscription("notifications", self._database, self._store, self._outbox, from_now_on=True)
        self._recorder = recorder
        self._positions_checked = 0.0
        self.repair_positions()
        self._telemetry = telemetry = telemetry or telemetry_installed()
        self.commands: Commands = MeasuredCommands(
            telemetry, self._store, vault, clock, draw_code, policy=policy, instance_id=instance_id
        )
        followed = [self._user_subscription] if sender is None else [self._user_subscription, self._notifications]
        self._standstill = Standstill(self._store, followed, limit=standstill)
        self._backlog = Backlog(
            instance_id, followed, self._outbox, self._store, clock, self._standstill, self.clock_skew
        )
        self._write_probe = WriteProbe(self._database, recorder)
        self._health = SharedCheck(self._check)
        telemetry.watch(self._backlog.read)
        self._commands_within = partial(
            CommandsWithin, vault=vault, clock=clock, generate_code=draw_code, policy=policy, instance_id=instance_id
        )
        self._users = Users(self.commands, self._store, self._read_models, instance_id)
        self._workers = [Worker(self._user_subscription.name, self._database, self._follow_users)]
        if checked is not None:
            limited = (
                checked if sms_budget is None else BudgetedSms(checked, self._database, sms_budget, now=shared_clock)
            )
            notifier = PhoneNotifier(self._store, vault, limited, self.commands, clock)
            worker = OutboxWorker(self._outbox, notifier, instance_id=instance_id, dropped=self._count_dropped)
            self._workers += [
                Worker(self._notifications.name, self._database, self._notifications.follow),
                *(
                    Worker(
                        f"sms-{number}", self._database, worker.send_next, longest_work=max(sms_lease, SHORTEST_HANG)
                    )
                    for number in range(1, sms_workers + 1)
                ),
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
        """End the background work, and close the database."""
        self.stop()
        self._telemetry.unwatch(self._backlog.read)
        self._health.close()
        self._database.close()

    def within(self, connection: object) -> Users:
        """Commands and reads inside of the transaction that a host has open on *connection*, to the same database.

        What they store is the host's to commit or to roll back, and nobody else sees it before. *connection* is a
        ``psycopg.Connection``, a ``sqlite3.Connection``, or a ``Session`` or ``Connection`` of SQLAlchemy on one of
        these. All raise ``TransactionUnusable`` if it is none that events can be stored through, and
        ``TransactionOvertaken`` if the host must roll back and do everything again.
        """
        database, recorder = self._within(connection)
        store = UserEventStore(recorder)
        return Users(self._commands_within(store), store, UserReadModels(database), self.instance_id)

    def find_user(self, user_id: str) -> User | None:
        """The user's details and phone, as of every event that was stored before this call; None: there is none.

        Raises ``UnreadableEvent``, ``StoreUnavailable``.
        """
        return self._users.find_user(user_id)

    def history(self, user_id: str) -> Sequence[Recorded]:
        """All that happened to the user. Raises ``UnreadableEvent``, ``StoreUnavailable``."""
        return self._users.history(user_id)

    def user_ids(self) -> Iterator[str]:
        """The ids of all users with a history, in order, read page by page. Raises ``StoreUnavailable``."""
        after = ""
        while page := self._store.user_ids(self.instance_id, after=after, limit=PAGE):
            yield from page
            after = page[-1]

    def rebuild(self, progress: Progress = lambda _: None) -> int:
        """Make the read models anew from the first event; how many events that took."""
        return self._rebuild.run(progress)

    def differences(self, progress: Progress = lambda _: None) -> Sequence[Difference]:
        """Where the read models are not what the events make them; empty: nowhere."""
        return self._rebuild.differences(progress)

    def differences_of_details(self, progress: Progress = lambda _: None) -> Sequence[Difference]:
        """Where the details are not what the columns of the events make them; empty: nowhere.

        Much faster than ``differences``, because payloads are not read; so it tells nothing of phones.
        """
        self._user_subscription.catch_up()
        found = differences_of_details(self._database, self._user_subscription.name, progress)
        return list(islice(found, MOST_DIFFERENCES))

    def differences_from(self, phones: Iterable[KnownPhone]) -> Sequence[Difference]:
        """Where the read models say something else of a user's phone than somebody else, who knows *phones*."""
        self._user_subscription.catch_up()
        return self._read_models.differences_from(phones)

    def import_events(
        self,
        source: EventSource,
        *,
        put_aside: Callable[[EventRow | Malformed], None] | None = None,
        told: Told = lambda _, __: None,
    ) -> ImportSummary:
        """Bring in histories from elsewhere, each whole or not at all. Nobody is sent anything for them.

        *put_aside* is given the rows of histories that are not in order; without it one such refuses all. Raises
        ``ImportRefused``, ``ChangedMeanwhile``, ``StoreUnavailable``, ``OSError``.
        """
        return Importer(self._database, self._rows, event_of).run(source, put_aside=put_aside, told=told)

    def take_in(self) -> int:
        """Have the read models take in what they have not yet; how many events that was."""
        return self._user_subscription.catch_up()

    def export_events(self) -> Iterator[EventRow]:
        """All events there are now, of all instances, in position order."""
        return self._rows.read()

    def head(self) -> int:
        """The position of the last event there is; 0 if there is none."""
        return self._store.head()

    def deliveries(self, states: Collection[State] = tuple(State)) -> Sequence[Delivery]:
        """The SMS in *states*, and what became of them. Settled ones are deleted after the retention."""
        self._notifications.catch_up()
        return self._outbox.list(self.instance_id, states)

    def delivery_counts(self) -> Mapping[State, int]:
        """How many SMS are in each state. Much faster than to count ``deliveries``."""
        self._notifications.catch_up()
        return self._outbox.counts(self.instance_id)

    def send_again(self, message_id: str) -> bool:
        """Have an SMS that waits, or that was given up, sent now; False: there is no such one."""
        require_str("message_id", message_id)
        return self._outbox.retry(self.instance_id, message_id)

    def drop_sms(self, message_id: str) -> bool:
        """Have an SMS never sent that waits or was given up; False: there is no such one."""
        require_str("message_id", message_id)
        dropped = self._outbox.drop(self.instance_id, message_id)
        if dropped:
            self._telemetry.count(SMS_DROPPED, {INSTANCE: self.instance_id, REASON: "by_hand"})
        return dropped

    def recheck_sms(self) -> int:
        """Have providers asked before any SMS is sent that waits now; return how many. Call it after a restore.

        What waits in a backup, in any instance, may have been sent since.
        """
        self._notifications.catch_up()
        return self._outbox.recheck()

    def backup(self, path: Path | str, progress: PageProgress = lambda _, __: None, *, overwrite: bool = False) -> int:
        """Back up the SQLite file to *path* while it is in use; return the size of the backup in bytes.

        The backup is checked, on disk, and for its owner alone. *progress* is called with the pages copied and their
        total. Raises ``FileExistsError`` unless *overwrite*, ``StoreUnavailable``, and ``ValueError`` on PostgreSQL,
        which is backed up with pg_dump.
        """
        if not isinstance(self._database, SQLiteDatabase):
            raise ValueError("this is for a SQLite file; on PostgreSQL use pg_dump")  # noqa: TRY004 - no argument is wrong
        return back_up(self._database.path, Path(path), progress, overwrite=overwrite)

    def sms_reported(self, message_id: str, outcome: Accepted | Permanent) -> bool:
        """Take in what a provider tells of an SMS later; False: there is no such SMS.

        May come several times and in any order. Raises ``TypeError`` for any other *outcome*, ``StoreUnavailable``,
        ``UnreadableEvent``.
        """
        require_str("message_id", message_id)
        outcome = checked_report(outcome)
        notification = self._outbox.find(self.instance_id, message_id)
        if notification is None:
            return False
        with about(user_id=notification.user_id, message_id=message_id):
            if isinstance(outcome, Accepted):
                record_sent(self.commands, notification)
            self._outbox.report(self.instance_id, message_id, outcome)
        return True

    def subscriptions(self) -> Mapping[str, Subscription]:
        """What follows the events, by name: how far it is behind, and which events it could not take in."""
        return {one.name: one for one in (self._user_subscription, self._notifications)}

    def repair_positions(self) -> int:
        """Raise the counter of positions to those in use; returns by how much, 0 if nothing had to be repaired.

        This runs at the start and about once a second: after a partial restore, or a copy without sequences, events
        would reach no subscription. Raises ``StoreUnavailable`` if the role must not repair it.
        """
        behind = self._recorder.positions_behind()
        if not behind:
            return 0
        try:
            raised = self._recorder.repair_positions()
        except StoreUnavailable as error:
            raise StoreUnavailable(f"{_positions_problem(behind)} ({error})") from None
        log.warning("positions were behind those in use by %s: repaired", raised)
        return raised

    def new_user_id(self) -> str:
        """An id for a new user."""
        return new_user_id(self.clock)

    def clock_skew(self) -> timedelta:
        """How far this machine's clock is ahead of the database's; negative if it is behind.

        Zero if the application does not follow the database's clock, and for a SQLite file.
        """
        return self.clock.skew() if isinstance(self.clock, DatabaseClock) else timedelta(0)

    def problems(self) -> dict[str, str]:
        """What keeps commands or the background work from being done, by part; empty: all is well.

        Proves a durable write, at most once a second for all callers together. Answers within about two seconds.
        """
        workers = {worker.name: worker.fault or "not running" for worker in self._workers if not worker.healthy}
        return {**self._health.problems(), **workers}

    def log_end(self) -> LogEnd:
        """The last position given to a writer, and the oldest transaction that readers wait for."""
        return self._store.end()

    def _check(self) -> dict[str, str]:
        self._write_probe.run()
        problems = self._standstill.problems()
        if behind := self._recorder.positions_behind():
            problems["positions"] = _positions_problem(behind)
        return problems

    def _follow_users(self) -> None:
        """Keep the read models up to date, after a look at the counter of positions."""
        now = time.monotonic()
        if now - self._positions_checked >= SECONDS_BETWEEN_CHECKS:
            self._positions_checked = now
            self.repair_positions()
        self._user_subscription.follow()

    def _count_dropped(self, reason: NotWanted, count: int) -> None:
        self._telemetry.count(SMS_DROPPED, {INSTANCE: self.instance_id, REASON: reason.name.lower()}, count)


def _positions_problem(behind: int) -> str:
    return (
        f"new events would get positions that are already passed, by {behind}: run `humanuser repair-positions` as the "
        "owner of the tables"
    )


def has_events(database: Path | str) -> bool:
    """Whether *database* holds events; its tables are made if missing. Raises ``StoreUnavailable``."""
    opened, recorder, _ = _opened(database)
    try:
        return recorder.head() > 0
    finally:
        opened.close()


def _opened(database: Path | str) -> tuple[Database, SqlEventRecorder, Within]:
    if is_url(database):
        return _opened_postgresql(str(database))
    file = SQLiteDatabase(database)

    def within(host: object) -> tuple[Database, SqlEventRecorder]:
        transaction = SQLiteHostTransaction(file, host)
        return transaction, SQLiteEventRecorder(transaction)

    return file, SQLiteEventRecorder(file), within


def _opened_postgresql(url: str) -> tuple[Database, SqlEventRecorder, Within]:
    from humanuser_adapters.event_store import postgresql as recorders  # noqa: PLC0415 - an extra
    from humanuser_adapters.host_transaction.postgresql import PostgreSQLHostTransaction  # noqa: PLC0415 - as above
    from humanuser_adapters.postgresql import PostgreSQLDatabase  # noqa: PLC0415 - as above

    server = PostgreSQLDatabase(url)

    def within(host: object) -> tuple[Database, SqlEventRecorder]:
        transaction = PostgreSQLHostTransaction(server, host)
        return transaction, recorders.PostgreSQLTransactionRecorder(transaction)

    return server, recorders.PostgreSQLEventRecorder(server), within


def _clock_of(database: Database) -> Clock:
    """The clock that all processes on *database* share; those on one file share a machine."""
    return utc_now if isinstance(database, SQLiteDatabase) else DatabaseClock(database, utc_now)


def _ignoring_the_connection(clock: Clock) -> Callable[[Connection], datetime]:
    return lambda _: clock()


__all__ = ["Application"]
