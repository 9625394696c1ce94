"""Several providers, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from humanuser import Accepted, Misconfigured, Permanent, Sms, SmsOutcome, SmsSender, Unknown
from humanuser_adapters.sms.circuit_breaker import Paused
from humanuser_projections import CheckedSms


class Failover:
    """Hands an SMS to the first of *senders*, and to the next where the one before surely did not take it.

    That is where it refused the number, is not set up, or is paused and was not called. What is retryable goes to the
    same one again, later: a server that fails may have taken the SMS. After an unknown outcome nobody is tried.
    """

    def __init__(self, senders: Sequence[SmsSender]) -> None:
        if not senders:
            raise ValueError("there is no sender")
        self._senders = [CheckedSms(sender) for sender in senders]

    def send(self, sms: Sms) -> SmsOutcome:
        """What the first answers who does not refuse.

        If all refuse, it is the first outcome that may change (a pause ends, an operator mends the set-up), or else the
        first provider's.
        """
        refusals: list[SmsOutcome] = []
        for sender in self._senders:
            outcome = sender.send(sms)
            if not isinstance(outcome, Permanent | Misconfigured | Paused):
                return outcome
            refusals.append(outcome)
        return next((one for one in refusals if not isinstance(one, Permanent)), refusals[0])

    def look_up(self, sms: Sms) -> Accepted | Unknown | None:
        """What the one says that has it; if nobody does, but one cannot tell, unknown."""
        doubt: Unknown | None = None
        for sender in self._senders:
            found = sender.look_up(sms)
            if isinstance(found, Accepted):
                return found
            doubt = doubt or found
        return doubt
