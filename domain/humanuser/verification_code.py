"""The code that proves a phone number: in clear, and sealed."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field

from humanuser.clean_text import require_str


@dataclass(frozen=True, slots=True)
class VerificationCode:
    """A code in clear. It is never printed, stored or logged; ``characters`` holds it for the SMS alone."""

    characters: str = field(repr=False)

    def __post_init__(self) -> None:
        require_str("code", self.characters)

    def matches(self, other: VerificationCode) -> bool:
        """Whether both are the same, in a time that does not tell where they differ."""
        return hmac.compare_digest(self._bytes(), other._bytes())

    def _bytes(self) -> bytes:
        return self.characters.encode(errors="surrogatepass")  # what was given may be no valid text


class CodeFormat(BaseModel):
    """What codes look like: *length* characters, each drawn evenly from *alphabet*."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    length: int = Field(default=6, ge=4, le=20)
    alphabet: str = Field(default="0123456789", min_length=2)


class SealedCode(BaseModel):
    """An encrypted code, in the form in which ZITADEL stores its crypto values."""

    model_config = ConfigDict(frozen=True, validate_by_name=True, serialize_by_alias=True)

    crypto_type: int = Field(default=0, alias="CryptoType")
    algorithm: str = Field(alias="Algorithm")
    key_id: str = Field(alias="KeyID")
    crypted: str = Field(alias="Crypted", repr=False)
    """Standard base64."""


@dataclass(frozen=True, slots=True)
class CodeOwner:
    """Whose code it is. A sealed code opens for its owner alone."""

    instance_id: str
    user_id: str
