"""What an SMS with a code says, in the language of its reader."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from humanuser import HumanUserAdded, ProfileChanged, Recorded, VerificationCode

FALLBACK_LANGUAGE = "en"

TEXTS: Mapping[str, str] = MappingProxyType(
    {
        "en": "{code} is your code to confirm this phone number. Give it to nobody else.",
        "de": "{code} ist der Code zur Bestätigung dieser Telefonnummer. Bitte niemandem weitergeben.",
    }
)
"""By language. The code comes first, because a phone shows the beginning of a message on its locked screen."""


def preferred_language(history: Iterable[Recorded]) -> str:
    """The language that the user of *history* chose last, as a BCP 47 tag; ``und`` if none."""
    language = "und"
    for recorded in history:
        match recorded.event:
            case HumanUserAdded(preferred_language=chosen):
                language = chosen
            case ProfileChanged(preferred_language=str(chosen)):
                language = chosen
            case _:
                pass
    return language


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageTexts:
    """A text for every language. Raises ``ValueError`` for a template without ``{code}``, if there is none for
    English, and for a *web_otp_domain* that is no host name.
    """

    templates: Mapping[str, str] = field(default_factory=lambda: TEXTS)
    """By language tag, in lower case."""
    web_otp_domain: str = ""
    """The website whose forms may take the code out of the SMS by themselves; empty: none."""

    def __post_init__(self) -> None:
        if FALLBACK_LANGUAGE not in self.templates:
            raise ValueError(f"there must be a text for the language {FALLBACK_LANGUAGE}")
        if not all("{code}" in template for template in self.templates.values()):
            raise ValueError("every text must have a place for the {code}")
        if self.web_otp_domain and not _HOST.fullmatch(self.web_otp_domain):
            raise ValueError("the domain must be a host name, such as login.example.com")

    def text(self, code: VerificationCode, language: str) -> str:
        """The message with *code* in *language*, or in the nearest there is: ``de-CH``, then ``de``, then English.

        What is put in is not read as a template again. The last line for a website is as
        https://wicg.github.io/sms-one-time-codes/ has it.
        """
        text = self._template(language).replace("{code}", code.characters)
        return f"{text}\n@{self.web_otp_domain} #{code.characters}" if self.web_otp_domain else text

    def _template(self, language: str) -> str:
        subtags = language.lower().replace("_", "-").split("-")
        nearest = ("-".join(subtags[:length]) for length in range(len(subtags), 0, -1))
        return next(
            (self.templates[tag] for tag in nearest if tag in self.templates), self.templates[FALLBACK_LANGUAGE]
        )


_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", re.IGNORECASE)
