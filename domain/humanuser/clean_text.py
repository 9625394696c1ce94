"""Text that shows what it holds: nothing in it hides, controls or turns the rest around."""

from __future__ import annotations

import unicodedata

LONGEST_TEXT = 200
"""Characters in an id or a name, as in ZITADEL's API."""

_DIRECTION_MARKS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})


def require_str(name: str, value: object) -> None:
    """Raise ``TypeError`` unless *value* is a string; *name* says what it is. The value itself is not shown."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")


def is_clean_text(text: str, *, longest: int = LONGEST_TEXT) -> bool:
    """Whether *text* has 1 to *longest* characters, no control characters, marks of direction or half characters."""
    if not 0 < len(text) <= longest:
        return False
    if text.isascii():
        return text.isprintable()
    return not any(
        character in _DIRECTION_MARKS or unicodedata.category(character) in _UNPRINTABLE for character in text
    )
