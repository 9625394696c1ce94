"""Commands and ports that are measured while they work, and are otherwise what they were."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast, get_args

from humanuser import Accepted, Commands, EventStore, NewEvents, Sms, SmsOutcome, SmsSender, StoredCommand, Unknown
from humanuser_adapters.log_fields import about
from humanuser_adapters.telemetry.installed import telemetry_installed
from humanuser_adapters.telemetry.measurements import APPEND, COMMAND, COMMAND_NAME, OUTCOME, PROVIDER, SMS
from humanuser_adapters.telemetry.telemetry import Telemetry
from humanuser_projections import CheckedSms

Command = TypeVar("Command", bound=Callable[..., object])


def _measured(command: Command) -> Command:
    name = command.__name__

    @wraps(command)
    def carry_out(self: MeasuredCommands, user_id: str, *args: Any, **kwargs: Any) -> object:  # Any: as of *command*
        with about(user_id=user_id), self.telemetry.measure(COMMAND, name, {COMMAND_NAME: name}):
            return command(self, user_id, *args, **kwargs)

    return cast(Command, carry_out)  # it takes and gives the same


class MeasuredCommands(Commands):
    """Commands that are measured, and during which the log says whom they are about."""

    def __init__(self, telemetry: Telemetry, store: EventStore, *args: Any, **kwargs: Any) -> None:
        """The rest is as of ``Commands``."""  # and so is Any
        super().__init__(MeasuredStore(store, telemetry), *args, **kwargs)
        self.telemetry = telemetry

    add_human_user = _measured(Commands.add_human_user)
    change_phone = _measured(Commands.change_phone)
    verify_phone = _measured(Commands.verify_phone)
    add_phone_code = _measured(Commands.add_phone_code)
    record_code_sent = _measured(Commands.record_code_sent)
    remove_phone = _measured(Commands.remove_phone)
    set_phone = _measured(Commands.set_phone)
    resend_phone_code = _measured(Commands.resend_phone_code)
    verify_user_phone = _measured(Commands.verify_user_phone)
    remove_user_phone = _measured(Commands.remove_user_phone)


class MeasuredStore:
    """A store whose appends are measured."""

    def __init__(self, store: EventStore, telemetry: Telemetry) -> None:
        self._store = store
        self._telemetry = telemetry
        self.load = store.load
        self.find_command = store.find_command
        self.read_all = store.read_all
        self.head = store.head

    def append(self, new: NewEvents) -> StoredCommand:
        with self._telemetry.measure(APPEND, "append", {}):
            return self._store.append(new)


class MeasuredSms:
    """A provider whose answers are measured.

    Wrap each provider by itself, below what pauses it or stands in for it, so that it is told which one answered.
    """

    def __init__(self, sender: SmsSender, provider: str, telemetry: Telemetry | None = None) -> None:
        """*provider* is its name for operators. *telemetry*: what is installed, if there is none given."""
        self._sender = CheckedSms(sender)
        self._provider = provider
        self._telemetry = telemetry or telemetry_installed()

    def send(self, sms: Sms) -> SmsOutcome:
        with self._telemetry.measure(SMS, f"send_sms {self._provider}", {PROVIDER: self._provider}) as labels:
            outcome = self._sender.send(sms)
            labels[OUTCOME] = _kind(outcome)
        return outcome

    def look_up(self, sms: Sms) -> Accepted | Unknown | None:
        return self._sender.look_up(sms)


def _kind(outcome: SmsOutcome) -> str:
    """Its name; a host's own kind of retryable outcome is retryable."""
    kinds: tuple[type, ...] = get_args(SmsOutcome)
    return next(kind.__name__.lower() for kind in kinds if isinstance(outcome, kind))
