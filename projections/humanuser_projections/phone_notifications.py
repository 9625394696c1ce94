"""The reaction to a new code: an SMS to the number that the code was made for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID, uuid5

from humanuser import (
    Accepted,
    By,
    Clock,
    CodeOwner,
    CodeToSend,
    CodeUnreadable,
    CodeVault,
    Commands,
    DomainError,
    EventStore,
    HumanUser,
    Misconfigured,
    NotWanted,
    PendingCode,
    PhoneChanged,
    PhoneRemoved,
    PhoneVerificationCodeAdded,
    PhoneVerificationCodeSent,
    PhoneVerified,
    Recorded,
    Sms,
    SmsOutcome,
    SmsSender,
    StoreUnavailable,
    UserRemoved,
)
from humanuser_projections.checked_sms import CheckedSms
from humanuser_projections.message_texts import MessageTexts, preferred_language

CREATOR = "NOTIFICATION"
"""Who causes the events that follow from sending, as in ZITADEL."""

_MESSAGE_IDS = UUID("9a3d2f6c-5c1b-4a53-9b62-3c1d5e7f8a90")


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneNotification:
    """That the code of one event is to be sent."""

    message_id: str
    """Follows from the event, so it stays the same over retries and restarts."""
    instance_id: str
    user_id: str
    code_sequence: int


def phone_notification(recorded: Recorded) -> PhoneNotification | None:
    """The SMS that *recorded* calls for; None if it calls for none."""
    if recorded.imported:
        return None
    match recorded.event:
        case PhoneVerificationCodeAdded(code_returned=False, code=sealed) if sealed is not None:
            event_id = "\0".join((recorded.instance_id, recorded.user_id, str(recorded.sequence)))
            return PhoneNotification(
                message_id=str(uuid5(_MESSAGE_IDS, event_id)),
                instance_id=recorded.instance_id,
                user_id=recorded.user_id,
                code_sequence=recorded.sequence,
            )
        case _:
            return None


def code_expires_at(recorded: Recorded) -> datetime | None:
    """When the code that *recorded* added expires; None: never, or it added none."""
    match recorded.event:
        case PhoneVerificationCodeAdded() as added:
            return PendingCode(recorded.sequence, recorded.created_at, None, added).expires_at
        case _:
            return None


def replaces_codes(recorded: Recorded) -> bool:
    """Whether an SMS with an earlier code of the user is not wanted any more after *recorded*."""
    match recorded.event:
        case PhoneVerificationCodeAdded() | PhoneChanged() | PhoneVerified() | PhoneRemoved() | UserRemoved():
            return not recorded.imported
        case _:
            return False


class PhoneNotifier:
    """Sends the SMS with a code, and has the history say so."""

    def __init__(
        self,
        store: EventStore,
        vault: CodeVault,
        sender: SmsSender,
        commands: Commands,
        clock: Clock,
        *,
        texts: MessageTexts | None = None,
    ) -> None:
        self._store = store
        self._vault = vault
        self._sender = CheckedSms(sender)
        self._commands = commands
        self._clock = clock
        self._texts = texts or MessageTexts()

    def deliver(
        self,
        notification: PhoneNotification,
        *,
        interrupted: bool = False,
        still_ours: Callable[[], bool] = lambda: True,
    ) -> SmsOutcome | NotWanted | None:
        """Send the SMS if its code is still wanted, and say what came of it.

        *interrupted* says that an earlier delivery broke off at an unknown point; then the provider is asked first.
        *still_ours* is asked right before anything leaves; None: it was not, and nothing was sent.
        Raises ``StoreUnavailable`` and ``UnreadableEvent``; if *still_ours* was asked, something may have left.
        """
        sms = self._wanted_sms(notification)
        outcome: SmsOutcome | None = None
        if interrupted and isinstance(sms, Sms):
            outcome = self._sender.look_up(sms)
            if outcome is None:
                sms = self._wanted_sms(notification)  # the user may have gone on while the provider was asked
        if outcome is None:
            if not isinstance(sms, Sms):
                return sms
            if not still_ours():
                return None
            outcome = self._sender.send(sms)
        if isinstance(outcome, Accepted):
            record_sent(self._commands, notification)
        return outcome

    def _wanted_sms(self, notification: PhoneNotification) -> Sms | NotWanted | Misconfigured:
        """The SMS as things are now, or why there is none."""
        history = self._store.load(notification.instance_id, notification.user_id)
        now = self._clock()
        wanted = HumanUser.replay(history).code_to_send(notification.code_sequence, now=now)
        if isinstance(wanted, NotWanted):
            return wanted
        try:
            sms = self._sms(notification, wanted, preferred_language(history))
        except CodeUnreadable as error:
            return Misconfigured(str(error))
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - the vault or the texts are the host's; what they raise may hold a code
            return Misconfigured(f"the SMS cannot be composed: {type(error).__name__}")
        return replace(sms, expires_in=None if sms.expires_at is None else sms.expires_at - now)

    def _sms(self, notification: PhoneNotification, wanted: CodeToSend, language: str) -> Sms:
        code = self._vault.open(wanted.code, CodeOwner(notification.instance_id, notification.user_id))
        text = self._texts.text(code, language)
        if not isinstance(text, str):
            raise TypeError("the texts gave no text")
        return Sms(
            message_id=notification.message_id,
            to=wanted.phone,
            text=text,
            expires_at=wanted.expires_at,
            code=code,
        )


def record_sent(commands: Commands, notification: PhoneNotification) -> None:
    """Have the history say that the SMS left. Raises ``StoreUnavailable`` and ``UnreadableEvent``."""
    with contextlib.suppress(DomainError):  # the user went on meanwhile; the SMS is out all the same
        commands.record_code_sent(
            notification.user_id,
            PhoneVerificationCodeSent(),
            code_sequence=notification.code_sequence,
            by=By(CREATOR, command_id=notification.message_id),
        )
