"""What becomes of an ``Application`` in forks: ``python forking.py SCENARIO DATABASE`` exits with 0 if all is well.

Each scenario has a process of its own, because a fork of the test runner would fork its threads and its reports.
"""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from humanuser import By, HumanUserAdded, Sms, SmsOutcome, StoreUnavailable
from humanuser.ports import Accepted
from humanuser_adapters import postgresql
from humanuser_adapters.application import Application
from humanuser_adapters.async_application import AsyncApplication
from humanuser_adapters.database import Database
from humanuser_adapters.database_name import is_url
from humanuser_adapters.forks import ForkSafeLock
from humanuser_adapters.postgresql import PostgreSQLDatabase
from humanuser_adapters.sqlite import SQLiteDatabase
from humanuser_adapters.vault import KEY_BYTES, AesGcmVault, Keys

USERS = range(10, 16)
BY = By("admin", organization="acme")
LONG = timedelta(seconds=30)

Scenario = Callable[[str], None]

# From Python 3.12 on, a fork beside threads is warned of: a lock that a thread holds stays locked in the child.
warnings.filterwarnings("ignore", message=".*multi-threaded", category=DeprecationWarning)


class FileSms:
    """Writes the ids of users who were texted, and by which process, into a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, sms: Sms) -> SmsOutcome:
        with self._path.open("a") as file:
            file.write(f"{sms.to.e164} {os.getpid()}\n")
        return Accepted()

    def look_up(self, _: Sms) -> None:
        return None


def made(database: str, sms: Path | None = None) -> Application:
    """An application that was used already."""
    application = opened(database, sms)
    for number in USERS:
        add(application, f"user{number}")
    application.take_in()
    read_all(application, 1)
    return application


def opened(database: str, sms: Path | None = None) -> Application:
    """An application that waits longer than a busy machine of tests takes."""
    be_patient()
    vault = AesGcmVault(Keys("key1", {"key1": bytes(KEY_BYTES)}))
    return Application(database, vault, sender=FileSms(sms) if sms else None)


def be_patient() -> None:
    """Of this process alone."""
    postgresql.CONNECT_SECONDS = 20
    defaults = PostgreSQLDatabase.__init__.__kwdefaults__
    assert defaults is not None
    defaults["patience"] = LONG


def add(application: Application, user_id: str) -> None:
    """Add a user whose phone ends like the id."""
    added = HumanUserAdded(user_name=user_id)
    application.commands.add_human_user(user_id, added, phone=f"+417912345{user_id[-2:]}", by=BY)


def read_all(application: Application, times: int) -> None:
    """Read all users again and again; each must be given their own phone."""
    for _ in range(times):
        for number in USERS:
            require_own_phone(application, number)


def require_own_phone(application: Application, number: int) -> None:
    found = application.find_user(f"user{number}")
    assert found is not None
    assert found[1].phone is not None
    assert found[1].phone.e164 == f"+417912345{number}"


def database_of(url: str) -> Database:
    be_patient()
    return PostgreSQLDatabase(url) if is_url(url) else SQLiteDatabase(url)


def child(work: Callable[[], object], *, exits: Callable[[int], object] = os._exit) -> int:
    """Fork, and do *work* in the child; its process id."""
    if pid := os.fork():
        return pid
    try:
        signal.alarm(60)
        work()
    except BaseException:  # noqa: BLE001 - the tests above must not run on in a child
        traceback.print_exc()
        os._exit(1)
    exits(0)
    raise AssertionError


def require_well(*pids: int) -> None:
    """Wait for children, each of which must have ended well."""
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    assert not any(codes), codes


@contextmanager
def in_thread(work: Callable[[threading.Event], object]) -> Iterator[None]:
    """Do *work* in a thread until the event it is given is set, at the end of the block."""
    done = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(work, done)
        try:
            yield
        finally:
            done.set()
        result.result()


def children_and_their_parent_read_at_once(database: str) -> None:
    with made(database) as application:
        pids = [child(lambda: read_all(application, 20)) for _ in range(4)]
        read_all(application, 20)
        require_well(*pids)
        read_all(application, 1)


def children_write_close_and_exit_while_their_parent_works(database: str) -> None:
    def work(number: int) -> None:
        with application:
            for _ in range(5):
                add(application, f"{application.new_user_id()}-{os.getpid()}-{number}")
        application.close()

    with made(database) as application:
        application.start()
        pids = [child(lambda number=number: work(number), exits=sys.exit) for number in USERS]  # type: ignore[misc]  # of a lambda
        require_well(*pids)
        for number in USERS:
            add(application, f"parent-{number}")
        assert application.problems() == {}
        users = list(application.user_ids())
        assert len(users) == len(set(users)) == len(USERS) * 7, users


def a_grandchild_reads(database: str) -> None:
    def work() -> None:
        require_well(child(lambda: read_all(application, 2)))
        read_all(application, 2)

    with made(database) as application:
        require_well(child(work))
        require_well(child(lambda: require_well(child(lambda: read_all(application, 2)))))


def a_child_outlives_its_parents_database(database: str) -> None:
    def work() -> None:
        add(application, "first-20")
        os.write(first, b"!")
        os.read(closed, 1)
        add(application, "second-20")

    (told, first), (closed, close) = os.pipe(), os.pipe()
    application = made(database)
    pid = child(work)
    os.read(told, 1)
    application.close()
    os.write(close, b"!")
    require_well(pid)
    with opened(database) as again:
        assert {"first-20", "second-20"} <= set(again.user_ids())


def background_work_starts_in_a_child(database: str) -> None:
    sms = Path(sys.argv[3])

    def work() -> None:
        assert set(application.problems()) == {"users", "notifications", "sms-1", "sms-2"}
        application.start()
        add(application, "child-30")
        assert eventually(lambda: f"+41791234530 {os.getpid()}" in sms.read_text())
        assert application.problems() == {}
        application.close()

    with made(database, sms) as application:
        application.start()
        assert eventually(lambda: sms.exists() and len(sms.read_text().splitlines()) == len(USERS))
        application.stop()  # or the parent may be faster
        require_well(child(work))
        application.start()
        add(application, "parent-31")
        assert eventually(lambda: f"+41791234531 {os.getpid()}" in sms.read_text())


def background_work_of_the_parent_goes_on(database: str) -> None:
    with made(database) as application:
        application.start()
        for number in USERS:
            require_well(child(lambda: read_all(application, 1)))
            add(application, f"later-{number}")
            assert eventually(lambda: application.subscriptions()["users"].lag().positions == 0)
        assert application.problems() == {}


def eventually(true: Callable[[], object]) -> bool:
    until = time.monotonic() + 30
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def a_child_hears_its_parent(database: str) -> None:
    postgresql.POLL_SECONDS = 3600  # nothing but a notification wakes; so it is not closed either, which waits for it
    shared = database_of(database)
    written = threading.Event()
    shared.listen(written)
    shared.migrate("things", (("CREATE TABLE things (name TEXT)",),))
    assert written.wait(30)
    told, ready = os.pipe()

    def work() -> None:
        woken = threading.Event()
        shared.listen(woken)
        assert woken.wait(30)  # the watch has begun
        time.sleep(0.5)  # and what was notified before has been heard
        woken.clear()
        os.write(ready, b"!")
        assert woken.wait(30)

    pid = child(work)
    os.read(told, 1)
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:  # one notification may be lost
        with shared.write() as connection:
            connection.execute("INSERT INTO things VALUES ('a')")
        time.sleep(0.1)
    require_well(pid)


def sessions_of_the_parent_stay(database: str) -> None:
    be_patient()
    shared = PostgreSQLDatabase(database)
    with shared.read() as connection, shared.read() as other:
        before = {one.execute("SELECT pg_backend_pid()").fetchone()[0] for one in (connection, other)}

    def work() -> None:
        with shared.read() as connection:
            (mine,) = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert mine not in before
        sockets = [os.readlink(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")[:-1]]
        assert sum(name.startswith("socket:") for name in sockets) == 1, sockets
        shared.close()

    require_well(child(work, exits=sys.exit), child(lambda: None, exits=sys.exit))
    with shared.read() as connection, shared.read() as other:
        after = {one.execute("SELECT pg_backend_pid()").fetchone()[0] for one in (connection, other)}
    assert before == after
    shared.close()


def a_transaction_of_another_thread_stays_the_parents(database: str) -> None:
    shared = database_of(database)
    shared.migrate("things", (("CREATE TABLE things (name TEXT)",),))
    begun = threading.Event()

    def write(done: threading.Event) -> None:
        with shared.write() as connection:
            connection.execute("INSERT INTO things VALUES ('parent')")
            begun.set()
            done.wait()

    def work() -> None:
        try:
            with shared.write() as connection:
                connection.execute("INSERT INTO things VALUES ('child')")
            stored = True
        except StoreUnavailable as error:
            assert "forked in the middle of a transaction" in str(error), error  # noqa: PT017 - no pytest here
            stored = False
        assert stored == is_url(database)
        if not stored:
            try:
                database_of(database)
            except StoreUnavailable:
                return
            raise AssertionError("another one on the same file shares what the first one inherited")

    if isinstance(shared, SQLiteDatabase):
        shared = SQLiteDatabase(database, patience=timedelta(seconds=0.2))
    with in_thread(write):
        begun.wait()
        require_well(child(work, exits=sys.exit))
    with shared.read() as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM things").fetchall()}
    assert names == ({"parent", "child"} if is_url(database) else {"parent"})
    shared.close()


def a_fork_waits_for_a_short_transaction(database: str) -> None:
    with made(database) as application:

        def write(done: threading.Event) -> None:
            number = 0
            while not done.is_set():
                add(application, f"busy-{(number := number + 1):04}")
                require_own_phone(application, 12)

        with in_thread(write):
            for _ in range(10):
                require_well(child(lambda: read_all(application, 1)))


def threads_fork_at_once(database: str) -> None:
    with made(database) as application, ThreadPoolExecutor(4) as pool:

        def fork(number: int) -> None:
            require_well(child(lambda: require_own_phone(application, number)))
            require_own_phone(application, number)

        list(pool.map(fork, [*USERS] * 3))
        add(application, "after-20")


def a_fork_inside_of_a_transaction_leaves_it_to_the_parent(database: str) -> None:
    shared = database_of(database)
    if isinstance(shared, SQLiteDatabase):
        shared = SQLiteDatabase(database, patience=timedelta(seconds=0.1))
    shared.migrate("things", (("CREATE TABLE things (name TEXT)",),))
    pid = -1
    try:
        with shared.write() as connection:
            connection.execute("INSERT INTO things VALUES ('parent')")
            pid = os.fork()
    except StoreUnavailable:
        assert pid == 0  # the COMMIT is refused in the child alone
        sys.exit(0)
    if pid == 0:
        os._exit(1)
    require_well(pid)
    with shared.read() as connection:
        assert connection.execute("SELECT name FROM things").fetchall() == [("parent",)]
    shared.close()


def a_fork_that_python_does_not_know_of_is_refused(database: str) -> None:
    with made(database) as application:
        calls: list[Callable[[], object]] = [lambda: read_all(application, 1), lambda: add(application, "child-40")]
        pid: int = ctypes.CDLL(None).fork()  # as uWSGI does
        if pid == 0:
            for call in calls:
                try:
                    call()
                except StoreUnavailable as error:
                    assert "lazy-apps" in str(error)  # noqa: PT017 - as above
                else:
                    os._exit(1)
            os._exit(0)
        require_well(pid)
        read_all(application, 1)


def coroutines_are_awaited_in_a_child(database: str) -> None:
    async def work(times: int) -> None:
        for _ in range(times):
            for number in USERS:
                found = await identity.find_user(f"user{number}")
                assert found is not None
                assert found[1].phone is not None
                assert found[1].phone.e164.endswith(str(number))

    identity = AsyncApplication(made(database))
    asyncio.run(work(1))
    require_well(child(lambda: asyncio.run(work(2))), child(lambda: asyncio.run(identity.close())))
    asyncio.run(work(1))
    asyncio.run(identity.close())


def locks_are_free_in_a_child(_: str) -> None:
    lock = ForkSafeLock()
    held = threading.Event()

    def hold(done: threading.Event) -> None:
        with lock:
            held.set()
            done.wait()

    def take() -> None:
        with lock:
            pass

    with in_thread(hold):
        held.wait()
        require_well(child(take))


def multiprocessing_forks(database: str) -> None:
    with made(database) as application:
        context = multiprocessing.get_context("fork")
        processes = [context.Process(target=read_all, args=[application, 5]) for _ in range(3)]
        for process in processes:
            process.start()
        read_all(application, 5)
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0, 0, 0]


def multiprocessing_spawns(database: str) -> None:
    with made(database) as application:
        context = multiprocessing.get_context("spawn")
        try:
            context.Process(target=read_all, args=[application, 1]).start()
        except TypeError as error:
            assert "Make one in each process" in str(error)  # noqa: PT017 - as above
        else:
            raise AssertionError("it belongs to this process")
        process = context.Process(target=read_in_another_process, args=[database])
        process.start()
        process.join()
        assert process.exitcode == 0
        read_all(application, 1)


def read_in_another_process(database: str) -> None:
    with opened(database) as application:
        read_all(application, 1)


if __name__ == "__main__":
    signal.alarm(120)
    globals()[sys.argv[1]](sys.argv[2])
    sys.exit(0)
