"""The read model behind every ``details`` that a read answers with."""

from __future__ import annotations

from humanuser import (
    Details,
    HumanUserAdded,
    PhoneVerificationCodeAdded,
    PhoneVerificationCodeSent,
    PhoneVerificationFailed,
    Recorded,
    UserRemoved,
)


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
