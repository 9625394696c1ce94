"""What everything that tells who calls must do."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from humanuser.caller import Caller
from humanuser.ports import Authenticator


@dataclass(frozen=True)
class Known:
    """An authenticator, a token that it knows, and whom the token proves."""

    authenticator: Authenticator
    token: str = field(repr=False)
    caller: Caller


NEAR_MISSES: dict[str, Callable[[str], str]] = {
    "nothing": lambda _: "",
    "another word": lambda _: "wrong",
    "all but the first character": lambda token: token[1:],
    "the first half": lambda token: token[: len(token) // 2],
    "all but the last character": lambda token: token[:-1],
    "a character before": lambda token: f"x{token}",
    "a character behind": lambda token: f"{token}x",
    "twice": lambda token: token * 2,
    "backwards": lambda token: token[::-1],
    "in the other case": str.swapcase,
    "in upper case": str.upper,
    "in lower case": str.lower,
    "a space before": lambda token: f" {token}",
    "a space behind": lambda token: f"{token} ",
    "a tab behind": lambda token: f"{token}\t",
    "a new line behind": lambda token: f"{token}\n",
    "with the name of the scheme": lambda token: f"Bearer {token}",
    "a NUL behind": lambda token: f"{token}\0",
    "a NUL before": lambda token: f"\0{token}",
    "a NUL in the middle": lambda token: f"{token[:3]}\0{token[3:]}",
    "something invisible behind": lambda token: f"{token}\u200b",
    "in full width": lambda token: "".join(chr(ord(one) + 0xFEE0) if "!" <= one <= "~" else one for one in token),
    "letters beyond ASCII": lambda _: "żółć",
    "half a character": lambda token: f"{token}\ud800",
    "half a character alone": lambda _: "\udcff",
    "a wildcard": lambda _: "*",
    "a quote": lambda token: f"{token}' OR '1'='1",
    "a million characters": lambda _: "x" * 1_000_000,
    "a million characters behind": lambda token: token + "x" * 1_000_000,
}
"""What somebody may send who does not have the token."""


class AuthenticatorContract:
    """Subclass it, give it your authenticator with a token that it knows, and pytest runs it."""

    def create_known(self) -> Known:
        """Your authenticator, one good token of at least 4 characters, and whom that proves."""
        raise NotImplementedError("the contract needs create_known")

    @pytest.fixture
    def known(self) -> Known:
        """The authenticator under test."""
        return self.create_known()

    def test_a_good_token_tells_who_calls_every_time(self, known: Known) -> None:
        assert [known.authenticator.authenticate(known.token) for _ in range(3)] == [known.caller] * 3

    @pytest.mark.parametrize("miss", NEAR_MISSES)
    def test_a_near_miss_proves_nobody(self, known: Known, miss: str) -> None:
        guess = NEAR_MISSES[miss](known.token)
        if guess == known.token:
            pytest.skip("this token is the same that way")

        assert known.authenticator.authenticate(guess) is None
        assert known.authenticator.authenticate(known.token) == known.caller

    def test_a_good_token_stays_good_after_many_bad_ones(self, known: Known) -> None:
        assert not any(known.authenticator.authenticate(f"{known.token}{number}") for number in range(50))
        assert known.authenticator.authenticate(known.token) == known.caller

    def test_callers_of_several_threads_are_told_apart(self, known: Known) -> None:
        tokens = [known.token, f"{known.token}x"] * 20

        with ThreadPoolExecutor(8) as pool:
            callers = list(pool.map(known.authenticator.authenticate, tokens))

        assert callers == [known.caller, None] * 20

    def test_a_token_is_never_shown(self, known: Known, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(0):
            caller = known.authenticator.authenticate(known.token)
            known.authenticator.authenticate(f"{known.token}x")

        for shown in (repr(known.authenticator), str(known.authenticator), repr(caller), caplog.text):
            assert known.token not in shown
