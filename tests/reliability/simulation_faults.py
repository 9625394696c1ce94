"""Faults for the simulation to find: each is the code under test, or a port, with one thing wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid5

from humanuser import (
    By,
    CodeInvalid,
    CodeToSend,
    Commands,
    DomainError,
    Event,
    HumanUser,
    NewEvents,
    NotWanted,
    Permanent,
    PhoneRemoved,
    PhoneVerificationCodeAdded,
    PhoneVerificationCodeSent,
    PhoneVerificationFailed,
    PhoneVerified,
    Recorded,
    Retryable,
    Sms,
    SmsOutcome,
    StoredCommand,
    StoreUnavailable,
    Unknown,
)
from humanuser.commands import Decision
from humanuser_adapters import outbox, subscription
from humanuser_adapters.database import Connection
from humanuser_adapters.event_log import Entry
from humanuser_adapters.outbox import Claim, OutboxWorker, State
from humanuser_adapters.subscription import Subscription
from humanuser_projections import CheckedSms, PhoneNotification, PhoneNotifier, phone_notifications, record_sent
from reliability.simulated_world import (
    Crashed,
    ObservedOutbox,
    Parts,
    SimulatedDatabase,
    SimulatedSender,
    SimulatedStore,
    World,
)

NOW = timedelta(0)
evolve = HumanUser.evolve
code_to_send = HumanUser.code_to_send
verify_phone = HumanUser.verify_phone


# The outbox.


class NoLease(ObservedOutbox):
    def claim(self, instance_id: str) -> Claim | None:
        lease, self.lease = self.lease, timedelta(milliseconds=1)
        try:
            return super().claim(instance_id)
        finally:
            self.lease = lease


class LeaseByAnyClock(ObservedOutbox):
    def __init__(self, database: SimulatedDatabase, world: World) -> None:
        super().__init__(database, world)
        self._now = self._by_any_clock

    def _by_any_clock(self, connection: Connection) -> datetime:
        self._database.now(connection)
        process = self._world.running
        return self._world.now() + (process.skew if process else NOW)


class CrashCountsNot(ObservedOutbox):
    def claim(self, instance_id: str) -> Claim | None:
        claim = super().claim(instance_id)
        return claim and replace(claim, interruptions=0)


class NoPause(ObservedOutbox):
    def settle(self, claim: Claim, state: State, note: str = "", *, pause: timedelta = NOW) -> bool:  # noqa: ARG002
        return super().settle(claim, state, note)


class SettlesNothing(ObservedOutbox):
    def settle(self, claim: Claim, state: State, note: str = "", *, pause: timedelta = NOW) -> bool:  # noqa: ARG002
        seen = self._world.running_process.claim
        if seen is not None:
            seen.settled, seen.settled_ms = state, self._world.ms
        return True


class OneRowABatch(ObservedOutbox):
    def apply(self, connection: Connection, events: Sequence[Recorded]) -> None:
        super().apply(connection, events[:1])


# The worker.


class ClaimsAfterSending(OutboxWorker):
    def send_due(self) -> timedelta | None:
        due = self._outbox.due_in(self._instance_id)
        if due == NOW:
            assert isinstance(self._outbox, ObservedOutbox)
            for delivery in self._outbox.list(self._instance_id, (State.DUE,))[:1]:
                outcome = self._notifier.deliver(delivery.notification)
                if (claim := self._outbox.claim(self._instance_id)) and outcome:
                    self._outbox.settle(claim, *self._after(outcome, claim)[:2])
        return super().send_due()


class GivesUpEarly(OutboxWorker):
    def _after(self, outcome: SmsOutcome | NotWanted, claim: Claim) -> tuple[State, str, timedelta]:
        return (State.FAILED, "", NOW) if isinstance(outcome, Retryable) else super()._after(outcome, claim)


class TakesBusyForSent(OutboxWorker):
    def _after(self, outcome: SmsOutcome | NotWanted, claim: Claim) -> tuple[State, str, timedelta]:
        return (State.SENT, "", NOW) if isinstance(outcome, Retryable) else super()._after(outcome, claim)


class RetriesWhatIsPermanent(OutboxWorker):
    def _after(self, outcome: SmsOutcome | NotWanted, claim: Claim) -> tuple[State, str, timedelta]:
        return super()._after(Retryable(outcome.reason) if isinstance(outcome, Permanent) else outcome, claim)


class TakesUnknownForRefused(OutboxWorker):
    def _after(self, outcome: SmsOutcome | NotWanted, claim: Claim) -> tuple[State, str, timedelta]:
        return super()._after(Retryable(outcome.reason) if isinstance(outcome, Unknown) else outcome, claim)


class TakesUnknownForSent(OutboxWorker):
    def _after(self, outcome: SmsOutcome | NotWanted, claim: Claim) -> tuple[State, str, timedelta]:
        return (State.SENT, "", NOW) if isinstance(outcome, Unknown) else super()._after(outcome, claim)


class IgnoresRetryAfter(OutboxWorker):
    def _after(self, outcome: SmsOutcome | NotWanted, claim: Claim) -> tuple[State, str, timedelta]:
        return super()._after(replace(outcome, retry_after=None) if isinstance(outcome, Retryable) else outcome, claim)


class AlwaysPausesAlike(OutboxWorker):
    def _pause(self, attempts: int) -> timedelta:
        return super()._pause(min(attempts, 1))


class CountsNoInterruptions(OutboxWorker):
    def _send(self, claim: Claim, *, give_up_at: float) -> None:
        super()._send(replace(claim, interruptions=min(claim.interruptions, 1)), give_up_at=give_up_at)


class CountsOnlyWhatItHeard(OutboxWorker):
    """What kills its worker each time is sent for ever."""

    def _send(self, claim: Claim, *, give_up_at: float) -> None:
        counted = min(claim.interruptions, outbox.MOST_INTERRUPTIONS - 1)
        super()._send(replace(claim, interruptions=counted), give_up_at=give_up_at)


# The notifier.


class ChecksNoSupersession(PhoneNotifier):
    def deliver(self, notification: PhoneNotification, **options: Any) -> SmsOutcome | NotWanted | None:
        store = self._store
        history = store.load(notification.instance_id, notification.user_id)
        self._store = _As(store, history[: notification.code_sequence])
        try:
            return super().deliver(notification, **options)
        finally:
            self._store = store


class _As:
    """A store in which a history is as it was."""

    def __init__(self, store: Any, history: Sequence[Recorded]) -> None:
        self.load = lambda *_: history
        self.append, self.find_command, self.read_all, self.head = (
            store.append, store.find_command, store.read_all, store.head,
        )  # fmt: skip


class MarksFirst(PhoneNotifier):
    def _sms(self, notification: PhoneNotification, wanted: CodeToSend, language: str) -> Sms:
        record_sent(self._commands, notification)
        return super()._sms(notification, wanted, language)


class MarksTheUnknown(PhoneNotifier):
    def deliver(self, notification: PhoneNotification, **options: Any) -> SmsOutcome | NotWanted | None:
        outcome = super().deliver(notification, **options)
        if isinstance(outcome, Unknown):
            record_sent(self._commands, notification)
        return outcome


def _marks_twice(commands: Commands, notification: PhoneNotification) -> None:
    record_sent(commands, notification)
    record_sent(commands, replace(notification, message_id=notification.message_id + "again"))


def _marks_without_id(commands: Commands, notification: PhoneNotification) -> None:
    """Two workers, or one whose answer was lost, record it twice."""
    with contextlib.suppress(DomainError):
        commands.record_code_sent(
            notification.user_id,
            PhoneVerificationCodeSent(),
            code_sequence=notification.code_sequence,
            by=By("NOTIFICATION"),
        )


def _marks_nothing(commands: Commands, notification: PhoneNotification) -> None: ...


class SendsToTheCurrentNumber(PhoneNotifier):
    def _sms(self, notification: PhoneNotification, wanted: CodeToSend, language: str) -> Sms:
        gate = _world_of(self._sender).running_process
        sequence, ms = gate.gate_sequence, gate.gate_ms
        user = HumanUser.replay(self._store.load(notification.instance_id, notification.user_id))
        gate.gate_sequence, gate.gate_ms = sequence, ms
        return super()._sms(notification, replace(wanted, phone=user.phone or wanted.phone), language)


def _world_of(checked: CheckedSms) -> World:
    sender = checked._sender  # noqa: SLF001 - the simulated one
    assert isinstance(sender, SimulatedSender)
    return sender.world


class NewIdEachTime(PhoneNotifier):
    def _sms(self, notification: PhoneNotification, wanted: CodeToSend, language: str) -> Sms:
        sms = super()._sms(notification, wanted, language)
        return replace(sms, message_id=str(uuid5(phone_notifications._MESSAGE_IDS, str(self._clock()))))  # noqa: SLF001


class LooksNothingUp(PhoneNotifier):
    def deliver(
        self, notification: PhoneNotification, *, interrupted: bool = False, **options: Any
    ) -> SmsOutcome | NotWanted | None:
        del interrupted
        return super().deliver(notification, **options)


class IgnoresWhatItFound(PhoneNotifier):
    def deliver(
        self, notification: PhoneNotification, *, interrupted: bool = False, **options: Any
    ) -> SmsOutcome | NotWanted | None:
        if interrupted:
            _world_of(self._sender).port("asks the provider", ours=False)
        return super().deliver(notification, **options)


class NeverAsksWhoseTurnItIs(PhoneNotifier):
    def deliver(
        self,
        notification: PhoneNotification,
        *,
        interrupted: bool = False,
        still_ours: Callable[[], bool] = lambda: True,
    ) -> SmsOutcome | NotWanted | None:
        del still_ours
        return super().deliver(notification, interrupted=interrupted)


# The subscription.


class PositionBeforeRow(Subscription):
    def _take_in(self, position: int, entries: Sequence[Entry], end: int) -> tuple[int, int]:
        with self._database.write() as connection:
            if not subscription.move(connection, self.name, position, end):
                return subscription.position_of(connection, self.name), 0
        with self._database.write() as connection:
            self._consumer.apply(connection, [entry for entry in entries if isinstance(entry, Recorded)])
        return end, len(entries)


class LeavesOneOut(Subscription):
    """When somebody else has moved it meanwhile, this one moves on from there, past what is new."""

    def _take_in(self, position: int, entries: Sequence[Entry], end: int) -> tuple[int, int]:
        moved, count = super()._take_in(position, entries, end)
        if not count:
            with self._database.write() as connection:
                subscription.move(connection, self.name, moved, self._log.head())
        return moved, count


# The store.


class LosesTheLast(SimulatedStore):
    """The last event is gone when somebody crashes right after it."""

    def append(self, new: NewEvents) -> StoredCommand:
        stored = super().append(new)
        if self.log[-1] is stored.recorded[-1] and self.world.chance() < self.world.rates.crash:
            self.log.pop()
            self.histories[new.user_id].pop()
        return stored


class SaysItStored(SimulatedStore):
    def keep(self, recorded: list[Recorded], new: NewEvents) -> None:
        if self.world.chance() >= self.world.rates.unavailable:
            super().keep(recorded, new)


class StoresHalf(SimulatedStore):
    """Two events are two transactions."""

    def keep(self, recorded: list[Recorded], new: NewEvents) -> None:
        if self.world.running and recorded[1:] and self.world.chance() < self.world.rates.crash:
            super().keep(recorded[:1], new)
            raise Crashed
        super().keep(recorded, new)


class IgnoresConflicts(SimulatedStore):
    def require_end(self, user_id: str, after: int) -> None: ...


class AppendsAnyway(SimulatedStore):
    def append(self, new: NewEvents) -> StoredCommand:
        self.world.port("appends")
        after = max(new.after, len(self.histories.get(new.user_id, ())))
        port, self.world.port = self.world.port, _nothing  # type: ignore[method-assign]  # nobody comes in between
        try:
            return super().append(replace(new, after=after))
        finally:
            self.world.port = port  # type: ignore[method-assign]  # as before


def _nothing(what: str, *, ours: bool = True) -> None: ...


class IgnoresCommandIds(SimulatedStore):
    def keep(self, recorded: list[Recorded], new: NewEvents) -> None:
        super().keep(recorded, replace(new, command_id=None))


class ForgetsWhoseCommand(SimulatedStore):
    """What was stored under a command id is told only to who asks first, not to who appends."""

    def append(self, new: NewEvents) -> StoredCommand:
        stored = super().append(replace(new, command_id=None))
        self.commands.setdefault(new.command_id or "", stored)
        return stored


class ReadsLate(SimulatedStore):
    """A history as a replica has it, one event behind."""

    def load(self, instance_id: str, user_id: str) -> Sequence[Recorded]:
        history = super().load(instance_id, user_id)
        return history[:-1] if self.world.chance() < 0.1 else history

    def require_end(self, user_id: str, after: int) -> None: ...


# The rules.


def _keeps_the_old_code(self: HumanUser, recorded: Recorded) -> HumanUser:
    user = evolve(self, recorded)
    if isinstance(recorded.event, PhoneVerificationCodeAdded) and self.pending_code:
        return replace(user, pending_code=self.pending_code)
    return user


def _verifies_again(self: HumanUser, recorded: Recorded) -> HumanUser:
    user = evolve(self, recorded)
    return replace(user, pending_code=self.pending_code) if isinstance(recorded.event, PhoneVerified) else user


def _keeps_the_code_of_no_number(self: HumanUser, recorded: Recorded) -> HumanUser:
    user = evolve(self, recorded)
    return replace(user, pending_code=self.pending_code) if isinstance(recorded.event, PhoneRemoved) else user


def _forgets_failures(self: HumanUser, recorded: Recorded) -> HumanUser:
    user = evolve(self, recorded)
    return (
        replace(user, pending_code=self.pending_code) if isinstance(recorded.event, PhoneVerificationFailed) else user
    )


def _forgets_that_it_was_sent(self: HumanUser, recorded: Recorded) -> HumanUser:
    user = evolve(self, recorded)
    return (
        replace(user, pending_code=self.pending_code) if isinstance(recorded.event, PhoneVerificationCodeSent) else user
    )


def _sends_what_expired(self: HumanUser, code_sequence: int, *, now: datetime) -> CodeToSend | NotWanted:
    return code_to_send(self, code_sequence, now=self.pending_code.added_at if self.pending_code else now)


def _accepts_what_expired(self: HumanUser, *arguments: Any, now: datetime, **options: Any) -> list[Event]:
    return verify_phone(self, *arguments, now=self.pending_code.added_at if self.pending_code else now, **options)


def _stores_no_failure(self: HumanUser, *arguments: Any, **options: Any) -> list[Event]:
    events = verify_phone(self, *arguments, **options)
    if isinstance(events[0], PhoneVerificationFailed):
        raise CodeInvalid
    return events


def _records_whatever_was_sent(self: HumanUser, sent: PhoneVerificationCodeSent, *, code_sequence: int) -> list[Event]:
    del self, code_sequence
    return [sent]


class DecidesOnce(Commands):
    """After a conflict, the first decision is stored all the same."""

    def _carry_out(self, user_id: str, decide: Decision, *arguments: Any) -> tuple[HumanUser, Sequence[Recorded]]:
        decided: list[Event] = []

        def once(user: HumanUser, now: datetime) -> list[Event]:
            decided.extend([] if decided else decide(user, now))
            return list(decided)

        return super()._carry_out(user_id, once, *arguments)


class TakesLostForDone(Commands):
    """No answer is taken for a good one."""

    def _carry_out(
        self, user_id: str, decide: Decision, by: By, *arguments: Any
    ) -> tuple[HumanUser, Sequence[Recorded]]:
        try:
            return super()._carry_out(user_id, decide, by, *arguments)
        except StoreUnavailable:
            user = self._load(user_id, by)
            return user, list(self._store.load(self._instance_id, user_id))[-1:]


def _rule(name: str, fault: object) -> Parts:
    return Parts(patches=((HumanUser, name, fault),))


def _asks_for_an_sms(recorded: Recorded) -> PhoneNotification | None:
    return phone_notifications.phone_notification(_not_returned(recorded))


def _forgets_that_it_was_returned(self: HumanUser, recorded: Recorded) -> HumanUser:
    return evolve(self, _not_returned(recorded))


def _not_returned(recorded: Recorded) -> Recorded:
    event = recorded.event
    if isinstance(event, PhoneVerificationCodeAdded):
        return recorded._replace(event=event.model_copy(update={"code_returned": False}))
    return recorded


FAULTS: Mapping[str, Parts] = {
    "no lease": Parts(outbox=NoLease),
    "lease by the worker's clock": Parts(outbox=LeaseByAnyClock),
    "no fence": Parts(sql=((" AND fence = ?", " AND ? > 0"),)),
    "a crash counts not": Parts(outbox=CrashCountsNot),
    "pause not stored": Parts(outbox=NoPause),
    "settling stores nothing": Parts(outbox=SettlesNothing),
    "live codes dropped": Parts(sql=(("wanted_until <= ?", "wanted_until > ?"),)),
    "waiting SMS pruned": Parts(sql=(("AND due_at <= ? LIMIT ?", "OR due_at <= '9' OR '' = ? LIMIT ?"),)),
    "one row a batch": Parts(outbox=OneRowABatch),
    "no budget": Parts(patches=((outbox, "MOST_INTERRUPTIONS", 1_000),)),
    "interruptions not counted": Parts(worker=CountsNoInterruptions),
    "crashes are not in the budget": Parts(worker=CountsOnlyWhatItHeard),
    "claim after send": Parts(worker=ClaimsAfterSending),
    "gives up early": Parts(worker=GivesUpEarly),
    "busy is taken for sent": Parts(worker=TakesBusyForSent),
    "permanent is tried again": Parts(worker=RetriesWhatIsPermanent),
    "unknown is taken for refused": Parts(worker=TakesUnknownForRefused),
    "unknown is taken for sent": Parts(worker=TakesUnknownForSent),
    "retry-after ignored": Parts(worker=IgnoresRetryAfter),
    "pauses do not grow": Parts(worker=AlwaysPausesAlike),
    "no supersession check": Parts(notifier=ChecksNoSupersession),
    "mark before send": Parts(notifier=MarksFirst),
    "marked twice": Parts(patches=((phone_notifications, "record_sent", _marks_twice),)),
    "marked without a command id": Parts(patches=((phone_notifications, "record_sent", _marks_without_id),)),
    "never marked": Parts(patches=((phone_notifications, "record_sent", _marks_nothing),)),
    "unknown is marked as sent": Parts(notifier=MarksTheUnknown),
    "sent to the current number": Parts(notifier=SendsToTheCurrentNumber),
    "new id for each attempt": Parts(notifier=NewIdEachTime),
    "no look-up after unknown": Parts(notifier=LooksNothingUp),
    "look-up ignored": Parts(notifier=IgnoresWhatItFound),
    "sends when its turn is over": Parts(notifier=NeverAsksWhoseTurnItIs),
    "position before row": Parts(subscription=PositionBeforeRow),
    "a slow follower leaves events out": Parts(subscription=LeavesOneOut),
    "store loses an event": Parts(store=LosesTheLast),
    "store says it stored": Parts(store=SaysItStored),
    "store stores half": Parts(store=StoresHalf),
    "conflicts ignored": Parts(store=IgnoresConflicts),
    "conflicts appended behind": Parts(store=AppendsAnyway),
    "command ids ignored": Parts(store=IgnoresCommandIds),
    "command ids not asked for when appending": Parts(store=ForgetsWhoseCommand),
    "stale reads": Parts(store=ReadsLate),
    "old code not replaced": _rule("evolve", _keeps_the_old_code),
    "verifying does not consume": _rule("evolve", _verifies_again),
    "removed number keeps its code": _rule("evolve", _keeps_the_code_of_no_number),
    "failures not counted": _rule("evolve", _forgets_failures),
    "sent not remembered": _rule("evolve", _forgets_that_it_was_sent),
    "expired is sent": _rule("code_to_send", _sends_what_expired),
    "expired proves": _rule("verify_phone", _accepts_what_expired),
    "failed attempt not stored": _rule("verify_phone", _stores_no_failure),
    "sent recorded for any code": _rule("record_code_sent", _records_whatever_was_sent),
    "limits not kept": Parts(unlimited=True),
    "decides once": Parts(commands=DecidesOnce),
    "lost answer is taken for done": Parts(commands=TakesLostForDone),
    "returned code is sent": Parts(
        patches=(
            (outbox, "phone_notification", _asks_for_an_sms),
            (HumanUser, "evolve", _forgets_that_it_was_returned),
        )
    ),
}
