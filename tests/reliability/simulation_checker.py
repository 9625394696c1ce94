"""Whether a schedule that has come to rest kept every promise. It shares no code with what it judges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from humanuser import (
    Accepted,
    CodeInvalid,
    Details,
    DomainError,
    HumanUserAdded,
    Misconfigured,
    Permanent,
    PhoneChanged,
    PhoneRemoved,
    PhoneSet,
    PhoneVerificationCodeAdded,
    PhoneVerificationCodeSent,
    PhoneVerificationFailed,
    PhoneVerified,
    Recorded,
    Retryable,
    Unknown,
)
from reliability.simulated_world import ClaimSeen, Post, Provider, Request, World

MOST_UNSETTLED = 3
"""SMS with one code that may have left without anybody knowing what became of them."""
MOST_GUESSES = 3
PAUSE_BETWEEN_CODES = timedelta(seconds=5)
NEVER = 1 << 60
GRACE = timedelta(seconds=20)
"""Clocks of processes differ by less."""


@dataclass(slots=True)
class Code:
    """A code, as its user's history tells it."""

    characters: str
    user_id: str
    sequence: int
    number: str
    added_at: datetime
    expires_at: datetime
    returned: bool
    ended: int = NEVER
    """The sequence of what made it worthless."""
    sent: int = NEVER
    failures: int = 0


def violations(world: World) -> Iterator[str]:
    """Every promise that *world* broke, in words."""
    codes: dict[str, Code] = {}
    for user_id, history in world.store.histories.items():
        yield from _gapless(user_id, history)
        yield from _story(user_id, history, world, codes)
    if [recorded.position for recorded in world.store.log] != list(range(1, len(world.store.log) + 1)):
        yield "the log has gaps"
    yield from _answers(world)
    posts: dict[str, list[Post]] = {}
    for post in world.posts:
        posts.setdefault(post.code, []).append(post)
    for characters, of_code in posts.items():
        if (code := codes.get(characters)) is None:
            yield f"{characters} was sent, and never stored"
        else:
            yield from _posts(code, of_code, world)
    for message_id, claims in world.claims.items():
        yield from _claims(message_id, claims, world)
    for code in codes.values():
        yield from _offered(code, posts.get(code.characters, ()), world)


def _gapless(user_id: str, history: Sequence[Recorded]) -> Iterator[str]:
    if [recorded.sequence for recorded in history] != list(range(1, len(history) + 1)):
        yield f"the history of {user_id} has gaps"


def _story(  # noqa: C901, PLR0912 - one case an event
    user_id: str, history: Sequence[Recorded], world: World, codes: dict[str, Code]
) -> Iterator[str]:
    """What may not follow from what; fills *codes*."""
    number = ""
    code: Code | None = None
    newest: Code | None = None
    sent = {
        id(recorded): post.code
        for post in world.posts
        if (stored := world.store.commands.get(post.message_id))
        for recorded in stored.recorded
    }
    guesses = {one.creator: one.code for one in world.requests if one.kind in ("verify", "verify by v2")}
    for recorded in history:
        before = code
        match recorded.event:
            case HumanUserAdded(phone=phone):
                number = phone.e164 if phone else ""
            case PhoneChanged(phone=phone):
                number, code = phone.e164, None
            case PhoneVerificationCodeAdded(code=sealed, code_returned=returned):
                assert sealed is not None
                alone = history[recorded.sequence - 2].creator != recorded.creator
                if alone and newest and abs(recorded.created_at - newest.added_at) < PAUSE_BETWEEN_CODES:
                    yield f"{sealed.crypted} came too soon after {newest.characters}"
                code = newest = Code(
                    sealed.crypted,
                    user_id,
                    recorded.sequence,
                    number,
                    recorded.created_at,
                    recorded.created_at + world.policy.code_lifetime,
                    returned,
                )
                codes[code.characters] = code
                if not number:
                    yield f"{code.characters} was made for no number"
            case PhoneVerified():
                if recorded.creator in guesses:
                    yield from _proof(guesses[recorded.creator], code, recorded, world)
                code = None
            case PhoneVerificationFailed():
                if code is None:
                    yield "there was no code to fail with"
                else:
                    code.failures += 1
                    if code.failures > MOST_GUESSES:
                        yield f"{code.failures} guesses at {code.characters}"
            case PhoneRemoved():
                number, code = "", None
            case PhoneVerificationCodeSent():
                about = codes.get(sent.get(id(recorded), ""), newest)
                if about is None:
                    yield "there was no code to be sent"
                elif about.sent != NEVER:
                    yield f"{about.characters} is said to be sent twice"
                elif code is not None and about is not code:
                    yield f"{about.characters} was sent, and it is {code.characters} that is said to be"
                else:
                    about.sent = recorded.sequence
            case _:
                yield f"nobody asked for {recorded.event.type}"
        if before is not None and before is not code:
            before.ended = recorded.sequence


def _proof(given: str, code: Code | None, recorded: Recorded, world: World) -> Iterator[str]:
    if code is None or given != code.characters:
        yield f"{given} proved the number, and {code and code.characters} was the code"
    elif abs(recorded.created_at - code.added_at) >= world.policy.code_lifetime:
        yield f"{given} proved the number, and had expired"
    elif code.failures >= MOST_GUESSES:
        yield f"{given} proved the number after {code.failures} failures"


def _answers(world: World) -> Iterator[str]:
    """What was answered is what was stored, once."""
    stored: dict[str, list[Recorded]] = {}
    for recorded in world.store.log:
        stored.setdefault(recorded.creator, []).append(recorded)
    for request in world.requests:
        events = stored.get(request.creator, [])
        if not _as_answered(request, events):
            yield f"{request.creator} was answered {request.answer!r}, and stored is {_names(events)}"
        elif request.answer is not None:
            yield from _arguments(request, events)


def _as_answered(request: Request, events: Sequence[Recorded]) -> bool:
    kinds = tuple(type(recorded.event) for recorded in events)
    match request.answer:
        case Details(sequence=sequence) | PhoneSet(details=Details(sequence=sequence)):
            return kinds in _EVENTS[request.kind] and events[-1].sequence == sequence
        case CodeInvalid():
            return kinds == (PhoneVerificationFailed,)
        case DomainError():
            return not kinds
        case _:
            return not kinds or kinds in (*_EVENTS[request.kind], (PhoneVerificationFailed,))


def _arguments(request: Request, events: Sequence[Recorded]) -> Iterator[str]:
    for recorded in events:
        if isinstance(recorded.event, PhoneChanged) and recorded.event.phone.e164 != request.number:
            yield f"{request.creator} changed to another number"
        if recorded.user_id != request.user_id:
            yield f"{request.creator} was another user's"
    if isinstance(request.answer, PhoneSet) and (given := request.answer.code):
        yield from _returned(given.characters, events)


def _returned(characters: str, events: Sequence[Recorded]) -> Iterator[str]:
    added = events[-1].event if events else None
    if not isinstance(added, PhoneVerificationCodeAdded) or not added.code or added.code.crypted != characters:
        yield f"{characters} was returned, and never stored"


def _posts(code: Code, posts: Sequence[Post], world: World) -> Iterator[str]:
    """What may leave, and what may arrive."""
    if len({post.message_id for post in posts}) != 1:
        yield f"{code.characters} has several ids"
    if code.returned:
        yield f"{code.characters} was sent, and returned as well"
    for post in posts:
        yield from _post(code, post, world)
    unsettled = [post for post in posts if post.claim is None or post.claim.broke_off]
    if len(unsettled) > MOST_UNSETTLED:
        yield f"{code.characters} was sent {len(unsettled)} times without anybody knowing what became of it"
    delivered = [post for post in posts if post.delivered]
    if len(delivered) > 1 and world.provider is not Provider.CARELESS and not any(_froze(post) for post in delivered):
        yield f"{code.characters} was delivered {len(delivered)} times, and the provider {world.provider}"
    if code.sent != NEVER and not any(post.arrived_ms is not None for post in posts):
        yield f"{code.characters} is said to be sent, and never arrived"


def _post(code: Code, post: Post, world: World) -> Iterator[str]:
    what = f"{code.characters} was sent by {post.worker}"
    if post.number != code.number:
        yield f"{what} to another number"
    if post.claim is None or post.claim.message_id != post.message_id:
        yield f"{what} without a claim"
        return
    if not code.sequence <= post.gate_sequence < code.ended:
        yield f"{what}, which had read that it was worth nothing"
    if code.sent <= post.gate_sequence:
        yield f"{what}, which had read that it was sent"
    if abs(post.gate_clock - code.added_at) >= world.policy.code_lifetime:
        yield f"{what} after it had expired"
    if post.gate_ms < post.claim.claimed_ms:
        yield f"{what} without another look at the history"
    if not post.gate_ms <= post.timer_ms <= post.claim.claimed_ms + post.claim.lease / timedelta(milliseconds=2):
        yield f"{what} without a look at whether it was its turn still"


def _froze(post: Post) -> bool:
    """Whether the worker stood still between its last look and the provider, until the lease was over.

    Nobody can help that without a provider that honours the id.
    """
    if post.claim is None or post.arrived_ms is None:
        return False
    return post.arrived_ms >= post.claim.claimed_ms + post.claim.lease / timedelta(milliseconds=1)


def _claims(message_id: str, claims: Sequence[ClaimSeen], world: World) -> Iterator[str]:
    """Nobody has what somebody else has, nor before its time."""
    claims = sorted(claims, key=lambda claim: claim.claimed_ms)
    posts = {id(post.claim): post for post in world.posts if post.message_id == message_id}
    for count, (claim, following) in enumerate(pairwise(claims), 1):
        what = f"{message_id[:8]} was claimed with fence {following.fence}"
        if following.fence <= claim.fence:
            yield f"{what} after {claim.fence}"
        post = posts.get(id(claim))
        if claim.settled is None or claim.settled_ms > following.claimed_ms:
            if not claim.maybe_settled and following.claimed_ms - claim.claimed_ms < claim.lease / _MS:
                yield f"{what} while somebody else had it"
            continue
        heard = post.heard if post else None
        if isinstance(heard, Permanent | Accepted):
            yield f"{what} after the provider had said {heard}"
        pause = timedelta(seconds=min(1 << count, 60) / 2)
        if isinstance(heard, Retryable) and heard.retry_after is not None:
            pause = heard.retry_after
        if isinstance(heard, Retryable | Misconfigured | Unknown) and (
            following.claimed_ms - claim.settled_ms < pause / _MS - 1
        ):
            yield f"{what} {following.claimed_ms - claim.settled_ms} ms after the provider had said {heard}"


def _offered(code: Code, posts: Sequence[Post], world: World) -> Iterator[str]:
    """A code that is wanted to the end has arrived, and the history says so."""
    if code.returned or code.ended != NEVER or code.expires_at < world.now() + GRACE:
        return
    if any(isinstance(post.heard, Permanent) for post in posts):
        return
    message_id = posts[0].message_id if posts else ""
    claims = world.claims.get(message_id, ()) if posts else [one for some in world.claims.values() for one in some]
    broken = world.lost_claims + sum(claim.broke_off or claim.maybe_settled for claim in claims)
    if broken >= (1 if world.provider is Provider.DEAF else MOST_UNSETTLED):
        return  # out of budget: people must look
    if not any(post.arrived_ms is not None for post in posts) or not _accepted(posts, world):
        yield f"{code.characters} is wanted, and never arrived"
    elif code.sent == NEVER:
        yield f"{code.characters} arrived, and the history does not say so"


def _accepted(posts: Sequence[Post], world: World) -> bool:
    return any(post.message_id in world.sender.accepted for post in posts)


def _names(events: Sequence[Recorded]) -> str:
    return ", ".join(type(recorded.event).__name__ for recorded in events) or "nothing"


_MS = timedelta(milliseconds=1)
_CODE = (PhoneVerificationCodeAdded,)
_CHANGED = (PhoneChanged, PhoneVerificationCodeAdded)
_EVENTS: dict[str, Sequence[tuple[type, ...]]] = {
    "add": [(HumanUserAdded, PhoneVerificationCodeAdded)],
    "change": [_CHANGED],
    "change and return": [_CHANGED],
    "ask": [_CODE],
    "resend": [_CODE],
    "resend and return": [_CODE],
    "verify": [(PhoneVerified,)],
    "verify by v2": [(PhoneVerified,)],
    "remove": [(PhoneRemoved,)],
    "vouch": [(PhoneVerified,), (PhoneChanged, PhoneVerified)],
}
