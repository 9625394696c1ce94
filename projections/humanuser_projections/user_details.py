"""The read model behind every ``details`` that a read answers with."""

from __future__ import annotations

from collections.abc import Iterable

from humanuser import (
    Details,
    Fact,
    HumanUserAdded,
    HumanUserSelfRegistered,
    PhoneVerificationCodeAdded,
    PhoneVerificationCodeSent,
    PhoneVerificationFailed,
    Recorded,
    UserRemoved,
)

BEGIN_OR_END: frozenset[type[Fact]] = frozenset({HumanUserAdded, HumanUserSelfRegistered, UserRemoved})
"""Events behind which nothing counts that was before."""
OF_CODES: frozenset[type[Fact]] = frozenset(
    {PhoneVerificationCodeAdded, PhoneVerificationCodeSent, PhoneVerificationFailed}
)
"""Events that do not count."""


def user_details(before: Details | None, recorded: Recorded) -> Details | None:
    """The details of a user after *recorded*; None: there is no such user.

    As in ZITADEL's projection of users, events about codes do not count, so a read may show a smaller sequence than the
    command before it.
    """
    match recorded.event:
        case HumanUserAdded():
            return Details(
                sequence=recorded.sequence,
                creation_date=recorded.created_at,
                change_date=recorded.created_at,
                resource_owner=recorded.resource_owner,
            )
        case UserRemoved():
            return None
        case PhoneVerificationCodeAdded() | PhoneVerificationCodeSent() | PhoneVerificationFailed():
            return before
        case _:
            return before and Details(
                sequence=recorded.sequence,
                creation_date=before.creation_date,
                change_date=recorded.created_at,
                resource_owner=before.resource_owner,
            )


def user_details_after(before: Details | None, history: Iterable[Recorded]) -> Details | None:
    """The details of a user after all of *history*, as ``user_details`` one by one: only faster.

    Of events that only move the sequence, the last one tells all.
    """
    last: Recorded | None = None
    for recorded in history:
        kind = type(recorded.event)
        if kind in BEGIN_OR_END:
            before, last = user_details(before, recorded), None
        elif kind not in OF_CODES:
            last = recorded
    return before if last is None else user_details(before, last)
