"""``manage.py send_sms_codes``."""

import signal

from django.core.management.base import BaseCommand

from accounts.identity import identity

TO_STOP = {signal.SIGTERM, signal.SIGINT}


class Command(BaseCommand):
    """Runs beside the web server, once or several times."""

    help = "Sends the SMS with codes until it gets SIGTERM or SIGINT; what it is at then is finished first."

    def handle(self, **_: object) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, TO_STOP)  # kept until they are asked for, in threads, too
        with identity() as application:
            application.start()
            self.stdout.write("sending")
            signal.sigwait(TO_STOP)
        self.stdout.write("stopped")
