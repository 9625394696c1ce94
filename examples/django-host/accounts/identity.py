"""humanuser in this process, on the database that Django is on."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from django.conf import settings
from django.db import connection, transaction
from django.utils.module_loading import import_string

from humanuser import By, Policy
from humanuser_adapters.application import Application
from humanuser_adapters.users import Users
from humanuser_adapters.vault import AesGcmVault, Keys

BY = By("our-site", organization="our-company")
POLICY = Policy.recommended()


@cache
def identity() -> Application:
    """The one of this process; made when it is needed first, so that servers may fork before."""
    sender, *arguments = settings.HUMANUSER_SENDER
    vault = AesGcmVault(Keys.of_file(settings.HUMANUSER_KEYS))
    return Application(connection.settings_dict["NAME"], vault, sender=import_string(sender)(*arguments), policy=POLICY)


@contextmanager
def identity_transaction() -> Iterator[Users]:
    """A transaction of Django's, and humanuser's commands and reads inside of it."""
    application = identity()  # before the transaction begins: to open the database takes one of its own
    with transaction.atomic():
        yield application.within(connection.connection)
