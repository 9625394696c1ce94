"""``manage.py send_sms_codes``."""

import signal
from threading import Event

from django.core.management.base import BaseCommand

from accounts.identity import identity


class Command(BaseCommand):
    """Runs beside the web server, once or several times."""

    help = "Sends the SMS with codes until it gets SIGTERM or SIGINT; what it is at then is finished first."

    def handle(self, **_: object) -> None:
        told_to_stop = Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: told_to_stop.set())
        with identity() as application:
            application.start()
            self.stdout.write("sending")
            told_to_stop.wait()
        self.stdout.write("stopped")
