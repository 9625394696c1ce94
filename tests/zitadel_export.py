"""A synthetic export of a ZITADEL database: legal lives of users, interleaved, with all that real ones hold.

Legacy names, events we have no word for, odd but legal values, several events of one push, pushes at the same time.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Raw

from humanuser_adapters.event_row import NO_PAYLOAD, EventRow

BEGIN = datetime(2021, 3, 1, 8, 0, 0, tzinfo=UTC)
INSTANCE = "165617850692654601"
OWNERS = tuple(str(165617850692720137 + number) for number in range(40))
NAMES = (
    "Ada",
    "Zoë",
    "李雷",
    "O'Brien",
    'Sam "Sam" Smith',
    "back\\slash",
    "two\nlines",
    "",
    "a,b;c",
    "\u2028",
    "😀",
    "tab\there",
)
SEALED = {"CryptoType": 0, "Algorithm": "aes", "KeyID": "userKey", "Crypted": "7Zq1sK2pV3m0Xw9rLq4JtUuYd0c4Wg=="}

Pushed = list[tuple[str, dict[str, Any] | None]]  # Any: what a payload holds


class Life:
    """One user: what may be pushed next."""

    def __init__(self, number: int, chance: random.Random) -> None:
        self.user_id = str(165617850692785673 + number * 65536 + chance.randrange(65536))
        self.owner = chance.choice(OWNERS)
        self.sequence = 0
        self.over = False
        self._chance = chance
        self._legacy = number % 7 == 0
        self._phone = ""
        self._verified = False
        self._pending = False
        self._back = ""

    def push(self) -> tuple[str, Pushed]:
        """Who does what next."""
        if not self.sequence:
            return self._added()
        steps = [self._something_else, self._something_else, self._changes]
        if self._phone:
            steps += [self._removes] if self._chance.random() < 0.1 else []
            steps += [] if self._verified else [self._resends]
        steps += [self._comes_back] if self._back else []
        steps += [self._goes] if not self._back and self._chance.random() < 0.05 else []
        if self._pending:
            steps += [self._sent, self._verifies, self._verifies, self._fails]
        return self._chance.choice(steps)()

    def _added(self) -> tuple[str, Pushed]:
        name = self._chance.choice(NAMES)
        payload: dict[str, Any] = {
            "userName": f"user-{self.user_id}",
            "preferredLanguage": self._chance.choice(("de", "en", "und")),
        }
        payload |= {"firstName": name, "email": f"{self.user_id}@example.com"} if name else {}
        if self._chance.random() < 0.3:
            self._phone = payload["phone"] = self._number()
        kind = "human.selfregistered" if self._chance.random() < 0.2 else "human.added"
        return "system", [(self._named(kind), payload)]

    def _changes(self) -> tuple[str, Pushed]:
        self._phone = self._number()
        self._verified = vouched = self._chance.random() < 0.1
        self._pending = not vouched
        then = ("human.phone.verified", None) if vouched else self._code()
        return "admin", [(self._named("human.phone.changed"), {"phone": self._phone}), (self._named(then[0]), then[1])]

    def _resends(self) -> tuple[str, Pushed]:
        self._pending = True
        name, payload = self._code()
        return self.user_id, [(self._named(name), payload)]

    def _code(self) -> tuple[str, dict[str, Any]]:
        expiry = self._chance.choice((3_600_000_000_000, 600_000_000_000, 300_000_000_000))
        payload: dict[str, Any] = {"code": SEALED, "expiry": expiry, "triggerOrigin": "https://id.example.com"}
        if self._chance.random() < 0.1:
            payload["code_returned"] = True
        return "human.phone.code.added", payload

    def _sent(self) -> tuple[str, Pushed]:
        payload: dict[str, Any] | None = self._chance.choice(
            (None, {}, {"generatorInfo": {}}, {"generatorInfo": {"id": "1", "verificationId": "VE1"}})
        )
        return "NOTIFICATION", [(self._named("human.phone.code.sent"), payload)]

    def _verifies(self) -> tuple[str, Pushed]:
        self._verified, self._pending = True, False
        return self.user_id, [(self._named("human.phone.verified"), self._chance.choice((None, {})))]

    def _fails(self) -> tuple[str, Pushed]:
        return self.user_id, [(self._named("human.phone.verification.failed"), None)]

    def _removes(self) -> tuple[str, Pushed]:
        self._phone, self._verified, self._pending = "", False, False
        return "admin", [(self._named("human.phone.removed"), None)]

    def _goes(self) -> tuple[str, Pushed]:
        """For a while, or for good."""
        gone, self._back = self._chance.choice(
            (("locked", "unlocked"), ("deactivated", "reactivated"), ("removed", ""))
        )
        self.over = not self._back
        return "admin", [(f"user.{gone}", None)]

    def _comes_back(self) -> tuple[str, Pushed]:
        back, self._back = self._back, ""
        return "admin", [(f"user.{back}", None)]

    def _something_else(self) -> tuple[str, Pushed]:
        name = self._chance.choice(
            (
                "human.email.changed",
                "human.password.check.succeeded",
                "token.added",
                "human.mfa.init.skipped",
                "something.new",
            )
        )
        payload = self._chance.choice(
            (
                None,
                {},
                {"tokenId": str(self._chance.getrandbits(60))},
                {"nested": {"a": [1, 2.5, None, True]}, "text": self._chance.choice(NAMES)},
            )
        )
        return self.user_id, [(f"user.{name}", payload)]

    def _named(self, name: str) -> str:
        return "user." + (name.removeprefix("human.") if self._legacy else name)

    def _number(self) -> str:
        return f"+4179{self._chance.randrange(1_000_000, 10_000_000)}"


def zitadel_events(count: int, users: int, seed: int = 1) -> Iterator[EventRow]:
    """*count* events in position order; the same for the same *seed*.

    They are of at most *users* users, and of another one whenever all of these are removed.
    """
    chance = random.Random(seed)  # noqa: S311 - the same for the same seed
    lives: list[Life] = []
    born = given = 0
    now = BEGIN
    pushes = max(int(count / 1.18), 1)
    while given < count:
        if not lives or (born < users and chance.random() < users / pushes * 1.1):
            lives.append(Life(born, chance))
            born += 1
        life = lives[-1] if not lives[-1].sequence else chance.choice(lives)
        if chance.random() < 0.95:  # else at the same moment as the push before
            now += timedelta(microseconds=chance.choice((1, 1000, 250_000, 1_000_000, chance.randrange(1, 90_000_000))))
        creator, pushed = life.push()
        if life.over:
            lives.remove(life)
        for order, (name, payload) in enumerate(pushed[: count - given], 1):
            life.sequence += 1
            given += 1
            yield EventRow(
                INSTANCE, "user", life.user_id, name, life.sequence, 2, now, _payload(payload),
                creator, life.owner, Raw(f"{int(now.timestamp())}.{now.microsecond:06}".encode()), order,
            )  # fmt: skip


def _payload(payload: dict[str, Any] | None) -> Raw:
    """As ``jsonb`` writes it."""
    return Raw(NO_PAYLOAD if payload is None else json.dumps(payload, ensure_ascii=False).encode())
