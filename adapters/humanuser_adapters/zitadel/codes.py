"""Codes that a ZITADEL sealed: they are opened with its key, and never made here."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from humanuser import CodeOwner, CodeUnreadable, CodeVault, SealedCode, VerificationCode

ALGORITHM = "aes"
KEY_BYTES = 32
IV_BYTES = 16
MOST_CHARACTERS = 20


def zitadel_keys(text: str) -> Mapping[str, bytes]:
    """The keys in *text*: ``id:`` and the 32 characters that ZITADEL uses, comma between. Raises ``ValueError``."""
    keys: dict[str, bytes] = {}
    rest = text.strip()
    while rest:
        key_id, colon, rest = rest.partition(":")
        key, rest = rest[:KEY_BYTES].encode(), rest[KEY_BYTES:]
        if not key_id or not colon or len(key) != KEY_BYTES or rest[:1] not in ("", ","):
            raise ValueError(f"a key of ZITADEL must be written as id:key, with {KEY_BYTES} characters")
        keys[key_id] = key
        rest = rest[1:].strip()
    return keys


class WithZitadelCodes:
    """Seals and opens with a vault of ours, and opens what ZITADEL sealed (AES-256-CFB behind its IV)."""

    def __init__(self, vault: CodeVault, keys: Mapping[str, bytes]) -> None:
        self._vault = vault
        self._keys = keys

    def seal(self, code: VerificationCode, owner: CodeOwner) -> SealedCode:
        return self._vault.seal(code, owner)

    def open(self, sealed: SealedCode, owner: CodeOwner) -> VerificationCode:
        if sealed.algorithm != ALGORITHM:
            return self._vault.open(sealed, owner)
        key = self._keys.get(sealed.key_id)
        if key is None:
            raise CodeUnreadable(f"there is no key {sealed.key_id!r} for {ALGORITHM}")
        try:
            raw = base64.b64decode(sealed.crypted, validate=True)
            decryptor = Cipher(AES(key), CFB(raw[:IV_BYTES])).decryptor()
            clear = (decryptor.update(raw[IV_BYTES:]) + decryptor.finalize()).decode("ascii")
        except ValueError:
            raise CodeUnreadable("what ZITADEL sealed is spoilt, or the key is another one") from None
        if not clear.isprintable() or not 0 < len(clear) <= MOST_CHARACTERS:  # nothing else tells a wrong key
            raise CodeUnreadable("what ZITADEL sealed is spoilt, or the key is another one")
        return VerificationCode(clear)

    def fingerprint(self, request: bytes) -> str:
        return self._vault.fingerprint(request)

    def is_fingerprint(self, fingerprint: str, request: bytes) -> bool:
        return self._vault.is_fingerprint(fingerprint, request)


__all__ = ["WithZitadelCodes", "zitadel_keys"]
