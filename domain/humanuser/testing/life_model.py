"""What a user's phone should be, told a second time and without looking at the first: plain lists, plain texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from humanuser.clean_text import is_clean_text
from humanuser.commands import By
from humanuser.details import Details, PhoneSet
from humanuser.errors import (
    CodeAskedTooSoon,
    CodeEmpty,
    CodeInvalid,
    CodeNotFound,
    CodeNotPending,
    CodeSuperseded,
    CodeUsedUp,
    CommandIdReused,
    DomainError,
    PhoneAlreadyVerified,
    PhoneEmpty,
    PhoneHasExtension,
    PhoneInvalid,
    PhoneKindRefused,
    PhoneNotChanged,
    PhoneNotFound,
    PhoneNotGlobal,
    PhoneNotPossible,
    PhoneTooLong,
    TextInvalid,
    TooManyCodes,
    TooManyFailures,
    UserAlreadyExists,
    UserIdMissing,
    UserNotFound,
    UserNotInitialised,
)
from humanuser.policy import REMEMBERED_CODES, Policy
from humanuser.verification_code import VerificationCode

Refusal = type[DomainError]


class Forbidden(DomainError):
    """The caller may not do this to the user."""

    message = "The caller may not do this to the user"


NUMBERS = {
    "+41791234567": "+41791234567",
    "+41 79 123 45 67": "+41791234567",
    "tel:+41-79-123-45-68": "+41791234568",
    "+41791234568": "+41791234568",
    "+1 (201) 555-0123": "+12015550123",
    "+12015550123": "+12015550123",
}
"""What people type, and the number it stands for."""

NO_NUMBERS: dict[str, Refusal] = {
    "": PhoneEmpty,
    "079 123 45 67": PhoneNotGlobal,
    "+41791234567;ext=12": PhoneHasExtension,
    "+4912": PhoneNotPossible,
    "+41 900 123 456": PhoneKindRefused,
    "+41791234567" + " " * 60: PhoneTooLong,
    "number": PhoneInvalid,
}
"""What people type, and why it is no number."""

REFUSALS: dict[str, tuple[Refusal, ...]] = {
    "add": (UserAlreadyExists,),
    "change": (UserNotFound, PhoneNotChanged, TooManyFailures, TooManyCodes),
    "set verified": (UserNotFound, PhoneNotChanged),
    "verify": (UserNotFound, CodeNotFound, TooManyFailures, CodeUsedUp),
    "ask for a code": (
        UserNotFound,
        PhoneNotFound,
        PhoneAlreadyVerified,
        TooManyFailures,
        CodeAskedTooSoon,
        TooManyCodes,
    ),
    "record sent": (UserNotFound, PhoneNotFound, CodeSuperseded),
    "remove": (UserNotFound, PhoneNotFound),
    "set by v2": (
        UserNotFound,
        UserNotInitialised,
        Forbidden,
        *NO_NUMBERS.values(),
        PhoneNotChanged,
        TooManyFailures,
        TooManyCodes,
    ),
    "set verified by v2": (UserNotFound, UserNotInitialised, Forbidden, *NO_NUMBERS.values(), PhoneNotChanged),
    "resend by v2": (
        UserNotFound,
        UserNotInitialised,
        Forbidden,
        CodeNotPending,
        TooManyFailures,
        CodeAskedTooSoon,
        TooManyCodes,
    ),
    "verify by v2": (
        UserNotFound,
        UserNotInitialised,
        Forbidden,
        CodeEmpty,
        CodeNotFound,
        TooManyFailures,
        CodeUsedUp,
    ),
    "remove by v2": (UserNotFound, UserNotInitialised, Forbidden, PhoneNotFound),
}
"""What each command may be refused for, in the order in which it is."""

CHANGES = ("change", "set by v2")
"""Commands that need a code for the number they bring, not for the number there is."""

Key = tuple[str, str]
"""Instance id and user id."""

Line = tuple[str, str]
"""What happened, and the number or the code that it happened with."""

DRAWN = "the code drawn last"


@dataclass(frozen=True, kw_only=True)
class Request:
    """One command, as somebody gives it."""

    command: str
    """A key of ``REFUSALS``."""
    key: Key
    by: By
    phone: str = ""
    verified: bool = False
    code: str = field(default="", repr=False)
    code_sequence: int = 0
    return_code: bool = False
    permitted: bool = True
    """Whether the caller is given the permission that ``needs_permission``."""

    @property
    def needs_permission(self) -> bool:
        """Whether more is asked for, by API v2, than what users may do to themselves."""
        match self.command:
            case "set verified by v2":
                return True
            case "set by v2" | "resend by v2":
                return self.by.creator != self.key[1] or self.return_code
            case _:
                return self.by.creator != self.key[1]

    @property
    def content(self) -> tuple[object, ...]:
        """What a command id is bound to."""
        match self.command:
            case "add":
                asked: tuple[object, ...] = (self.phone, self.verified)
            case "change" | "set verified":
                asked = (self.phone,)
            case "set by v2" | "set verified by v2":
                asked = (self.phone, self.return_code)
            case "verify" | "verify by v2":
                asked = (self.code,)
            case "resend by v2":
                asked = (self.return_code,)
            case "record sent":
                asked = (self.code_sequence,)
            case _:
                asked = ()
        return (self.command, self.key, self.by, *asked)


@dataclass(frozen=True)
class Done:
    """What a request came to."""

    request: Request
    details: Details
    story: tuple[Line, ...] = field(repr=False)

    def answer(self) -> Refusal | Details | PhoneSet:
        """What the caller is told, now or when the request comes again with its command id."""
        what, characters = self.story[-1]
        match self.request.command:
            case "verify" | "verify by v2" if what == "failed":
                return CodeInvalid
            case "set by v2" | "set verified by v2" | "resend by v2":
                return PhoneSet(self.details, VerificationCode(characters) if what == "returned code" else None)
            case _:
                return self.details


@dataclass(frozen=True)
class Verdict:
    """What a request must come to: a refusal, what was done before, or a story to be stored."""

    refusal: Refusal | None = None
    repeated: Done | None = None
    story: tuple[Line, ...] = ()


@dataclass
class Code:
    """The code that can prove the number."""

    characters: str = field(repr=False)
    sequence: int
    number: str | None
    added_at: datetime
    failures: int = 0
    sent: bool = False
    returned: bool = False


@dataclass
class ModelUser:
    """All that a test needs to remember of one user."""

    there: bool = False
    initial: bool = False
    """The account is yet to be taken up."""
    sequence: int = 0
    owner: str = ""
    created_at: datetime | None = None
    number: str | None = None
    verified: bool = False
    last_verified: str | None = None
    code: Code | None = None
    failures: dict[str | None, int] = field(default_factory=dict)
    """By number."""
    asked_at: list[datetime] = field(default_factory=list)

    def facts(self) -> dict[str, object]:
        """What can be compared with a replayed user."""
        code = self.code
        return {
            "exists": self.there,
            "initial": self.initial,
            "sequence": self.sequence,
            "owner": self.owner,
            "created at": self.created_at,
            "phone": self.number,
            "verified": self.verified,
            "last verified": self.last_verified,
            "failures": {number: count for number, count in self.failures.items() if count},
            "codes asked at": tuple(self.asked_at[-REMEMBERED_CODES:]),
            "code": code and (code.sequence, code.number, code.added_at, code.failures, code.sent, code.returned),
        }

    def story(self, request: Request, now: datetime, policy: Policy) -> tuple[Line, ...]:  # noqa: PLR0911 - one case a command
        """What happens if nothing speaks against *request*."""
        number = NUMBERS.get(request.phone)
        changed: tuple[Line, ...] = (("changed", str(number)),) if number != self.number else ()
        code_by_v2 = ("returned code" if request.return_code else "code", DRAWN)
        match request.command:
            case "add":
                proof = ("verified", "") if request.verified else ("code", DRAWN)
                return (("added", number), proof) if number else (("added", ""),)
            case "change":
                return (*changed, ("code", DRAWN))
            case "set by v2":
                return (*changed, code_by_v2)
            case "set verified" | "set verified by v2":
                return (*changed, ("verified", ""))
            case "verify" | "verify by v2":
                assert self.code is not None
                proven = request.code == self.code.characters and abs(now - self.code.added_at) < policy.code_lifetime
                return (("verified", ""),) if proven else (("failed", ""),)
            case "ask for a code":
                return (("code", DRAWN),)
            case "resend by v2":
                return (code_by_v2,)
            case "record sent":
                return (("sent", ""),)
            case _:
                return (("removed", ""),)

    def speaks_against(self, refusal: Refusal, request: Request, now: datetime, policy: Policy) -> bool:
        """Whether *refusal* holds for *request*."""
        organization = request.by.organization
        number = NUMBERS.get(request.phone)
        if refusal in NO_NUMBERS.values():
            return NO_NUMBERS.get(request.phone) is refusal
        return {
            UserAlreadyExists: lambda: self.sequence > 0,
            UserNotFound: lambda: not self.there or organization not in ("", self.owner),
            UserNotInitialised: lambda: self.initial,
            Forbidden: lambda: request.needs_permission and not request.permitted,
            PhoneNotFound: lambda: self.number is None,
            PhoneNotChanged: lambda: number == self.number and (self.verified or "verified" not in request.command),
            PhoneAlreadyVerified: lambda: self.verified,
            CodeEmpty: lambda: not request.code,
            CodeNotFound: lambda: self.code is None,
            CodeNotPending: lambda: self.code is None,
            CodeSuperseded: lambda: self.code is not None and self.code.sequence != request.code_sequence,
            CodeUsedUp: lambda: _reached(self.code.failures if self.code else 0, policy.attempts_per_code),
            TooManyFailures: lambda: _reached(
                self.failures.get(number if request.command in CHANGES else self.number, 0), policy.failures_in_a_row
            ),
            CodeAskedTooSoon: lambda: (
                bool(self.asked_at) and abs(now - self.asked_at[-1]) < (policy.pause_between_codes or timedelta(0))
            ),
            TooManyCodes: lambda: any(
                sum(abs(now - asked_at) < limit.within for asked_at in self.asked_at) >= limit.count
                for limit in policy.code_limits
            ),
        }[refusal]()

    def take_in(  # noqa: C901, PLR0912 - one case a line
        self, line: Line, *, sequence: int, at: datetime, owner: str, by_user: bool
    ) -> None:
        """Let *line* have happened."""
        self.sequence = sequence
        match line:
            case ("added", number):
                self.there, self.owner, self.created_at, self.number = True, owner, at, number or None
            case ("changed", number):
                self.number, self.verified, self.code = number, False, None
            case ("code" | "returned code" as what, characters):
                self.code = Code(characters, sequence, self.number, at, returned=what == "returned code")
                self.asked_at.append(at)
            case ("verified", _):
                if self.code is None and not by_user:
                    self.failures = {}
                self.verified, self.last_verified, self.code = True, self.number, None
                self.failures[self.number] = 0
            case ("failed", _):
                assert self.code is not None
                self.code.failures += 1
                self.failures[self.number] = self.failures.get(self.number, 0) + 1
            case ("sent", _):
                if self.code:
                    self.code.sent = True
            case ("removed", _):
                self.number, self.verified, self.last_verified, self.code = None, False, None, None
                if not by_user:
                    self.failures = {}
            case ("initial", _):
                self.initial = True
            case ("not initial", _):
                self.initial = False
            case ("user removed", _):
                self.there, self.number, self.verified, self.last_verified, self.code = False, None, False, None, None
                self.initial, self.failures, self.asked_at = False, {}, []
            case _:
                pass  # it counts in the sequence


@dataclass
class Model:
    """The users of some instances, and the commands that were given with an id."""

    policy: Policy
    users: dict[Key, ModelUser]
    commands: dict[Key, Done] = field(default_factory=dict)
    """By instance and command id."""

    def knows(self, request: Request) -> bool:
        """Whether something was stored under its command id."""
        return request.by.command_id is not None and (request.key[0], request.by.command_id) in self.commands

    def verdict(self, request: Request, now: datetime) -> Verdict:
        """What *request* must come to if it is given now."""
        if refusal := _ill_formed(request):
            return Verdict(refusal)
        user = self.users[request.key]
        if earlier := self.commands.get((request.key[0], request.by.command_id or "")):
            if earlier.request.key != request.key:
                return Verdict(CommandIdReused)
            if request.by.organization in ("", user.owner):
                asks = Forbidden in REFUSALS[request.command]
                if asks and user.speaks_against(Forbidden, request, now, self.policy):
                    return Verdict(Forbidden)
                same = earlier.request.content == request.content
                return Verdict(repeated=earlier) if same else Verdict(CommandIdReused)
        for refusal in REFUSALS[request.command]:
            if user.speaks_against(refusal, request, now, self.policy):
                return Verdict(refusal)
        return Verdict(story=user.story(request, now, self.policy))


def _reached(count: int, limit: int | None) -> bool:
    return limit is not None and count >= limit


def _ill_formed(request: Request) -> Refusal | None:
    """What speaks against *request* whoever the user is."""
    user_id = UserIdMissing if not request.key[1] else None if is_clean_text(request.key[1]) else TextInvalid
    phone = NO_NUMBERS.get(request.phone)
    command_id = None if request.by.command_id is None or is_clean_text(request.by.command_id) else TextInvalid
    match request.command:
        case "add":
            organization = TextInvalid if request.by.organization in ("", "*") else None
            return user_id or organization or (phone if request.phone else None) or command_id
        case "change" | "set verified":
            return phone or user_id or command_id
        case "verify":
            return user_id or (None if request.code else CodeEmpty) or command_id
        case _:
            return user_id or command_id
