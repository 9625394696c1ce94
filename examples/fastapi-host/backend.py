"""Our backend: FastAPI, a table of our own, and humanuser beside it in the same database."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from http import HTTPStatus
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from domain import EmailTaken, OurUsers
from domain.users import TABLE
from humanuser import By, DomainError, HumanUserAdded, LimitReached
from humanuser_adapters.api import PhoneService, http_app
from humanuser_adapters.application import Application
from humanuser_adapters.vault import AesGcmVault, Keys
from our_ports import ORGANIZATION, OurSessions, OurTexts, SendText

BY = By("our-backend", organization=ORGANIZATION)


class Registration(BaseModel):
    """What a new user tells us."""

    email: str
    phone: str


class Registered(BaseModel):
    """What a new user is told."""

    id: str
    token: str


def backend(folder: Path, send_text: SendText) -> FastAPI:
    """The whole, with its database and its keys in *folder*."""
    database = folder / "backend.sqlite"
    vault = AesGcmVault(Keys.of_file(folder / "backend.keys"))
    application = Application(database, vault, sender=OurTexts(send_text))

    @contextmanager
    def transaction() -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(database)) as connection, connection:
            yield connection

    with transaction() as connection:
        connection.execute(TABLE)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        application.start()
        try:
            yield
        finally:
            await run_in_threadpool(application.close)

    app = FastAPI(lifespan=lifespan, exception_handlers={DomainError: _refused, EmailTaken: _refused})

    @app.post("/users", status_code=HTTPStatus.CREATED)
    def register(new: Registration) -> Registered:
        """Our row and humanuser's events are stored together, or neither."""
        user_id = application.new_user_id()
        with transaction() as connection:
            commands = application.within(connection).commands
            commands.add_human_user(user_id, HumanUserAdded(user_name=new.email), phone=new.phone, by=BY)
            token = OurUsers(connection).add(user_id, new.email)
        return Registered(id=user_id, token=token)

    service = PhoneService(application.commands, application.find_user, application.new_user_id)
    app.mount("/identity", http_app(service, OurSessions(transaction), readiness=application.problems))
    return app


def on_the_console() -> FastAPI:
    """To try it: texts are printed instead of sent."""
    return backend(Path(), print)


async def _refused(_: Request, refusal: Exception) -> JSONResponse:
    match refusal:
        case EmailTaken():
            status = HTTPStatus.CONFLICT
        case LimitReached():
            status = HTTPStatus.TOO_MANY_REQUESTS
        case _:
            status = HTTPStatus.BAD_REQUEST
    return JSONResponse({"refused": str(refusal)}, status)
