"""What can be asked of a user's phone. Each command reads: parse, load, replay, decide, append, answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from humanuser.caller import EVERY_ORGANIZATION
from humanuser.clean_text import LONGEST_TEXT, is_clean_text, require_str
from humanuser.command_request import Request, canonical
from humanuser.details import Details, PhoneSet
from humanuser.errors import (
    CodeEmpty,
    CodeInvalid,
    CommandIdReused,
    PhoneInvalid,
    SequenceConflict,
    TextInvalid,
    TooMuchContention,
    UserIdMissing,
)
from humanuser.events import (
    Event,
    HumanUserAdded,
    PhoneVerificationCodeAdded,
    PhoneVerificationCodeSent,
    PhoneVerificationFailed,
    PhoneVerified,
    Recorded,
)
from humanuser.human_user import HumanUser
from humanuser.phone_number import PhoneNumber, parse_phone_number
from humanuser.policy import Policy
from humanuser.ports import Clock, CodeGenerator, CodeVault, EventStore, NewEvents, StoredCommand
from humanuser.utc import as_utc
from humanuser.verification_code import CodeOwner, VerificationCode

DECISIONS = 5
"""How often a command decides anew because others changed the user in between."""

Decision = Callable[[HumanUser, datetime], list[Event]]

Permitted = Callable[[HumanUser], None]
"""Raises unless the caller may give the command to the user."""

Permit = Callable[[str], None]
"""Raises unless the caller may change users of the organization that it is given."""


@dataclass(frozen=True, slots=True)
class By:
    """Who asks, for which organization, and with which request."""

    creator: str
    """The id of the user or service that asks."""
    organization: str = ""
    """Users of other organizations are not found; empty: users of all are."""
    command_id: str | None = None
    """Names one request of this creator: repeated, it is answered with the first result and changes nothing.

    The first result is repeated as it was, so a returned code may have expired or been replaced since. Who may not
    give the command now is refused, whatever it came to then. Another request with the same id, however little it
    differs, is refused with ``CommandIdReused``."""

    def __post_init__(self) -> None:
        require_str("creator", self.creator)
        require_str("organization", self.organization)
        if self.command_id is not None:
            require_str("command_id", self.command_id)


class Commands:
    """The commands of one instance (tenant).

    Every one may raise ``StoreUnavailable``, ``UnreadableEvent`` and, when others keep changing the same user,
    ``TooMuchContention``; and ``TypeError`` if an id, a number or a code is not a string.
    """

    def __init__(
        self,
        store: EventStore,
        vault: CodeVault,
        clock: Clock,
        generate_code: CodeGenerator,
        *,
        policy: Policy | None = None,
        instance_id: str = "default",
    ) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock
        self._generate_code = generate_code
        self._policy = policy or Policy.recommended()
        self._instance_id = instance_id
        require_str("instance_id", instance_id)
        if not is_clean_text(instance_id):
            raise ValueError("the instance id is empty, too long, or has control characters")

    def add_human_user(
        self, user_id: str, profile: HumanUserAdded, *, phone: str = "", verified: bool = False, by: By
    ) -> Details:
        """Add a user of the organization *by.organization*; *phone*, if given, is what a person typed.

        A number in the *profile* counts as typed, too; both may be given if they are the same number.
        Raises ``TextInvalid``, ``PhoneInvalid``, ``UserAlreadyExists``.
        """
        _require_id(user_id)
        _require_text("Organization", "" if by.organization == EVERY_ORGANIZATION else by.organization)
        _require_profile(profile)
        request = {
            "command": "add_human_user",
            "event": profile.type,
            "profile": profile.model_dump(mode="json", exclude_defaults=True),
            "phone": phone,
            "verified": verified,
        }
        number = self._number_of(profile, phone)
        profile = profile.model_copy(update={"phone": number})

        def decide(user: HumanUser, _: datetime) -> list[Event]:
            return user.add(profile, PhoneVerified() if verified else self._new_code(user_id))

        return _details(*self._carry_out(user_id, decide, by, request))

    def change_phone(self, user_id: str, phone: str, *, verified: bool = False, by: By) -> Details:
        """Change the number to *phone*, as a person typed it; unless *verified*, a code is to prove it.

        Raises ``PhoneEmpty``, ``PhoneInvalid``, ``UserNotFound``, ``PhoneNotChanged``, ``TooManyFailures``,
        ``TooManyCodes``.
        """
        number = parse_phone_number(phone, self._policy.phone)
        _require_id(user_id)
        request = {"command": "change_phone", "phone": phone, "verified": verified}

        def decide(user: HumanUser, now: datetime) -> list[Event]:
            if verified:
                return user.set_verified_phone(number)
            return user.change_phone(number, self._new_code(user_id), now=now, policy=self._policy)

        return _details(*self._carry_out(user_id, decide, by, request))

    def verify_phone(self, user_id: str, code: str, *, by: By) -> Details:
        """Prove the number with *code*. What failed is remembered before it is refused.

        Raises ``UserIdMissing``, ``CodeEmpty``, ``UserNotFound``, ``CodeNotFound``, ``TooManyFailures``,
        ``CodeUsedUp``, ``CodeInvalid``, and ``CodeUnreadable`` if the vault has not the key.
        """
        _require_id(user_id)
        given = VerificationCode(code)
        if not code:
            raise CodeEmpty
        request = {"command": "verify_phone", "code": code}

        def decide(user: HumanUser, now: datetime) -> list[Event]:
            return user.verify_phone(given, self._opened_code(user_id, user), now=now, policy=self._policy)

        return _proven(*self._carry_out(user_id, decide, by, request))

    def add_phone_code(self, user_id: str, *, by: By) -> Details:
        """Make a new code for the number there is; older codes are worth nothing from now on.

        Raises ``UserIdMissing``, ``UserNotFound``, ``PhoneNotFound``, ``PhoneAlreadyVerified``, ``TooManyFailures``,
        ``CodeAskedTooSoon``, ``TooManyCodes``.
        """
        _require_id(user_id)

        def decide(user: HumanUser, now: datetime) -> list[Event]:
            return user.add_code(self._new_code(user_id), now=now, policy=self._policy)

        return _details(*self._carry_out(user_id, decide, by, {"command": "add_phone_code"}))

    def record_code_sent(self, user_id: str, sent: PhoneVerificationCodeSent, *, code_sequence: int, by: By) -> Details:
        """Record that a provider took the SMS with the code of *code_sequence*.

        Raises ``UserIdMissing``, ``UserNotFound``, ``PhoneNotFound``, ``CodeSuperseded``.
        """
        _require_id(user_id)
        request = {
            "command": "record_code_sent",
            "sent": sent.model_dump(mode="json", exclude_defaults=True),
            "code_sequence": code_sequence,
        }

        def decide(user: HumanUser, _: datetime) -> list[Event]:
            return user.record_code_sent(sent, code_sequence=code_sequence)

        return _details(*self._carry_out(user_id, decide, by, request))

    def remove_phone(self, user_id: str, *, by: By) -> Details:
        """Remove the number.

        Raises ``UserIdMissing``, ``UserNotFound``, ``PhoneNotFound``.
        """
        _require_id(user_id)

        def decide(user: HumanUser, _: datetime) -> list[Event]:
            return user.remove_phone()

        return _details(*self._carry_out(user_id, decide, by, {"command": "remove_phone"}))

    # The same for API v2, which finds users of all organizations and asks for permission where it is needed.

    def set_phone(
        self,
        user_id: str,
        phone: str,
        *,
        verified: bool = False,
        return_code: bool = False,
        by: By,
        permit: Permit,
    ) -> PhoneSet:
        """Change the number to *phone*; unless it is *verified*, a code is to prove it.

        With *return_code* the caller is given the code, and no SMS goes out. Users may change their own number; to
        vouch for it or to be given the code takes permission in any case.
        Raises ``UserIdMissing``, ``UserNotFound``, ``UserNotInitialised``, what *permit* raises, ``PhoneEmpty``,
        ``PhoneInvalid``, ``PhoneNotChanged``, ``TooManyFailures``, ``TooManyCodes``.
        """
        _require_id(user_id)
        request = {"command": "set_phone", "phone": phone, "verified": verified, "return_code": return_code}

        permitted = _permission(permit, needed=by.creator != user_id or verified or return_code)

        def decide(user: HumanUser, now: datetime) -> list[Event]:
            user.refuse_unless_initialised()
            permitted(user)
            number = parse_phone_number(phone, self._policy.phone)
            if verified:
                return user.set_verified_phone(number)
            code = self._new_code(user_id, returned=return_code)
            return user.change_phone(number, code, now=now, policy=self._policy)

        return self._phone_set(user_id, *self._carry_out(user_id, decide, by, request, permitted))

    def resend_phone_code(self, user_id: str, *, return_code: bool = False, by: By, permit: Permit) -> PhoneSet:
        """Replace the pending code by a new one, which goes to the caller if *return_code*.

        Users may ask for themselves, but not to be given the code. Raises ``UserIdMissing``, ``UserNotFound``,
        ``UserNotInitialised``, what *permit* raises, ``CodeNotPending``, ``TooManyFailures``, ``CodeAskedTooSoon``,
        ``TooManyCodes``.
        """
        _require_id(user_id)
        request = {"command": "resend_phone_code", "return_code": return_code}

        permitted = _permission(permit, needed=by.creator != user_id or return_code)

        def decide(user: HumanUser, now: datetime) -> list[Event]:
            user.refuse_unless_initialised()
            permitted(user)
            return user.replace_code(self._new_code(user_id, returned=return_code), now=now, policy=self._policy)

        return self._phone_set(user_id, *self._carry_out(user_id, decide, by, request, permitted))

    def verify_user_phone(self, user_id: str, code: str, *, by: By, permit: Permit) -> Details:
        """Prove the number with *code*. Who brings another's takes permission: wrong codes are held against the user.

        Raises ``UserIdMissing``, ``UserNotFound``, ``UserNotInitialised``, what *permit* raises, ``CodeEmpty``,
        ``CodeNotFound``, ``TooManyFailures``, ``CodeUsedUp``, ``CodeInvalid``, and ``CodeUnreadable`` if the vault has
        not the key.
        """
        _require_id(user_id)
        given = VerificationCode(code)
        request = {"command": "verify_user_phone", "code": code}

        permitted = _permission(permit, needed=by.creator != user_id)

        def decide(user: HumanUser, now: datetime) -> list[Event]:
            user.refuse_unless_initialised()
            permitted(user)
            if not code:
                raise CodeEmpty
            return user.verify_phone(given, self._opened_code(user_id, user), now=now, policy=self._policy)

        return _proven(*self._carry_out(user_id, decide, by, request, permitted))

    def remove_user_phone(self, user_id: str, *, by: By, permit: Permit) -> Details:
        """Remove the number; users may remove their own.

        Raises ``UserIdMissing``, ``UserNotFound``, ``UserNotInitialised``, what *permit* raises, ``PhoneNotFound``.
        """
        _require_id(user_id)

        permitted = _permission(permit, needed=by.creator != user_id)

        def decide(user: HumanUser, _: datetime) -> list[Event]:
            user.refuse_unless_initialised()
            permitted(user)
            return user.remove_phone()

        return _details(*self._carry_out(user_id, decide, by, {"command": "remove_user_phone"}, permitted))

    def _carry_out(
        self, user_id: str, decide: Decision, by: By, request: Request, permitted: Permitted = lambda _: None
    ) -> tuple[HumanUser, Sequence[Recorded]]:
        """The user before the decision, and what is stored because of it: now, or when *request* came first.

        *permitted* raises unless the caller may have the answer. *decide* asks it at its place among the refusals.
        """
        asked = self._asked(user_id, by, request)
        for _ in range(DECISIONS):
            user = self._load(user_id, by)
            # after the load: an earlier command with this id that the decision would see is found here
            if earlier := self._find(by):
                if earlier.recorded[0].user_id != user_id:
                    raise CommandIdReused(earlier.recorded[0].user_id)
                user = self._load(user_id, by)
                if by.organization in ("", user.resource_owner):
                    permitted(user)
                    return user, self._of_this_request(earlier, user_id, by, asked)
            now = as_utc(self._clock())
            new = NewEvents(
                instance_id=self._instance_id,
                user_id=user_id,
                events=decide(user, now),
                after=user.sequence,
                created_at=now,
                creator=by.creator,
                resource_owner=user.resource_owner or by.organization,
                command_id=by.command_id,
                fingerprint=self._vault.fingerprint(asked) if by.command_id else None,
            )
            try:
                stored = self._store.append(new)
            except SequenceConflict:
                continue
            return user, self._of_this_request(stored, user_id, by, asked)
        raise TooMuchContention

    def _asked(self, user_id: str, by: By, request: Request) -> bytes:
        """What the fingerprint is made of; empty without a command id, to which it is bound."""
        if by.command_id is None:
            return b""
        _require_text("Command id", by.command_id)
        return canonical(
            request,
            instance_id=self._instance_id,
            user_id=user_id,
            creator=by.creator,
            organization=by.organization,
        )

    def _find(self, by: By) -> StoredCommand | None:
        return None if by.command_id is None else self._store.find_command(self._instance_id, by.command_id)

    def _of_this_request(self, stored: StoredCommand, user_id: str, by: By, asked: bytes) -> Sequence[Recorded]:
        """What was *stored*, unless it was stored for another request: a code may be in it.

        Without a fingerprint nobody can tell, so that counts as another.
        """
        first = stored.recorded[0]
        if by.command_id is not None and (
            (first.user_id, first.creator) != (user_id, by.creator)
            or stored.fingerprint is None
            or not self._vault.is_fingerprint(stored.fingerprint, asked)
        ):
            raise CommandIdReused(first.user_id)
        return stored.recorded

    def _load(self, user_id: str, by: By) -> HumanUser:
        """The user; one of another organization is not found, as if nothing had happened."""
        user = HumanUser.replay(self._store.load(self._instance_id, user_id))
        return user if by.organization in ("", user.resource_owner) else HumanUser(sequence=user.sequence)

    def _number_of(self, profile: HumanUserAdded, phone: str) -> PhoneNumber | None:
        """The number of a new user, by the rules of the policy, also where the profile brings it."""
        require_str("phone", phone)
        typed = [phone] if phone else []
        typed += [profile.phone.e164] if profile.phone else []
        numbers = {parse_phone_number(text, self._policy.phone) for text in typed}
        if len(numbers) > 1:
            raise PhoneInvalid("Phone is invalid: the profile has another number")
        return numbers.pop() if numbers else None

    def _phone_set(self, user_id: str, user: HumanUser, recorded: Sequence[Recorded]) -> PhoneSet:
        match recorded[-1].event:
            case PhoneVerificationCodeAdded(code_returned=True, code=sealed) if sealed is not None:
                code = self._vault.open(sealed, CodeOwner(self._instance_id, user_id))
                return PhoneSet(_details(user, recorded), code)
            case _:
                return PhoneSet(_details(user, recorded))

    def _new_code(self, user_id: str, *, returned: bool = False) -> PhoneVerificationCodeAdded:
        code = self._generate_code(self._policy.code)
        return PhoneVerificationCodeAdded(
            code=self._vault.seal(code, CodeOwner(self._instance_id, user_id)),
            expiry=self._policy.code_expiry_nanoseconds,
            code_returned=returned,
        )

    def _opened_code(self, user_id: str, user: HumanUser) -> VerificationCode | None:
        if user.pending_code is None or user.pending_code.added.code is None:
            return None
        return self._vault.open(user.pending_code.added.code, CodeOwner(self._instance_id, user_id))


def _proven(user: HumanUser, recorded: Sequence[Recorded]) -> Details:
    if isinstance(recorded[-1].event, PhoneVerificationFailed):
        raise CodeInvalid
    return _details(user, recorded)


def _permission(permit: Permit, *, needed: bool) -> Permitted:
    """Asks *permit* about the user's organization where permission is *needed*."""
    return lambda user: permit(user.resource_owner) if needed else None


def _require_id(user_id: str) -> None:
    require_str("user_id", user_id)
    if not user_id:
        raise UserIdMissing
    _require_text("User ID", user_id)


def _require_text(name: str, text: str) -> None:
    if not is_clean_text(text):
        raise TextInvalid.named(name, LONGEST_TEXT)


def _require_profile(profile: HumanUserAdded) -> None:
    _require_text("User name", profile.user_name)
    for name, value in profile:
        if isinstance(value, str) and value:
            _require_text(name.replace("_", " ").capitalize(), value)


def _details(user: HumanUser, recorded: Sequence[Recorded]) -> Details:
    last = recorded[-1]
    return Details(
        sequence=last.sequence,
        creation_date=user.created_at or last.created_at,
        change_date=last.created_at,
        resource_owner=last.resource_owner,
    )
