"""Codes sealed with AES-256-GCM. Each seal names its key, so that keys can change, and opens for its owner alone."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from humanuser import CodeFormat, CodeOwner, CodeUnreadable, SealedCode, VerificationCode

ALGORITHM = "AES-256-GCM"
KEY_BYTES = 32
NONCE_BYTES = 12
FINGERPRINT_BYTES = 16
"""Of the HMAC: nobody without the key makes another request for one of 2**128 values."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys by their ids; the *current* one seals, all of them open."""

    current: str
    by_id: Mapping[str, bytes] = field(repr=False)

    def __post_init__(self) -> None:
        if self.current not in self.by_id:
            raise ValueError(f"there is no key {self.current!r}")
        for key_id, key in self.by_id.items():
            if len(key) != KEY_BYTES:
                raise ValueError(f"key {key_id!r} has {len(key)} bytes, not {KEY_BYTES}")

    def derived(self, purpose: str, key_id: str | None = None) -> bytes:
        """A key of its own for *purpose*, which reveals nothing about the key it is derived from.

        It is derived from the key of *key_id*, by default the current one.
        """
        return hmac.new(self.by_id[key_id or self.current], purpose.encode(), hashlib.sha256).digest()

    @classmethod
    def parse(cls, text: str) -> Keys:
        """The keys in *text*: ``id:base64`` separated by commas, the current one first. Raises ``ValueError``."""
        pairs = [pair.strip().partition(":") for pair in text.split(",") if pair.strip()]
        if not pairs:
            raise ValueError("there is no key")
        try:
            by_id = {key_id: base64.b64decode(encoded, validate=True) for key_id, _, encoded in pairs}
        except ValueError:
            raise ValueError("a key must be written as id:base64") from None
        if len(by_id) < len(pairs):
            raise ValueError("two keys have the same id")
        if not all(key_id and len(key) == KEY_BYTES for key_id, key in by_id.items()):
            # it names no id: a key without one, or with both swapped, is the id here
            raise ValueError(f"a key must be written as id:base64, with {KEY_BYTES} bytes in base64")
        return cls(pairs[0][0], by_id)

    @classmethod
    def of_file(cls, path: Path, *, make: bool = True) -> Keys:
        """The keys in the file at *path*. With *make* a missing file is made with a new key, for its owner alone.

        Without *make* a missing file raises ``FileNotFoundError``: a lost key is noticed instead of replaced. Raises
        ``ValueError`` for a file without valid keys, ``OSError`` for one that cannot be read or made.
        """
        if make and not path.exists():
            with _new_file(path, _new_key()) as fresh, contextlib.suppress(FileExistsError):
                os.link(fresh, path)  # unless another process was first: its key is used
        return cls._read(path)

    @classmethod
    def add_to_file(cls, path: Path) -> Keys:
        """Add a new key to the file at *path*, which is made if missing; the new key encrypts from now on.

        Processes that read the file before keep their keys until they start again. Raises as ``of_file``.
        """
        before = cls._text(path) if path.exists() else ""
        if before:
            cls._read(path)
        with _new_file(path, ",\n".join(filter(None, (_new_key(), before)))) as fresh:
            fresh.replace(path)
        return cls._read(path)

    @classmethod
    def _read(cls, path: Path) -> Keys:
        try:
            return cls.parse(cls._text(path))
        except ValueError as error:
            raise ValueError(f"the key file {path} is not usable: {error}") from None

    @staticmethod
    def _text(path: Path) -> str:
        return path.read_bytes().decode(errors="replace").strip()  # what is no text is no key


class AesGcmVault:
    """Seals and opens codes with ``Keys``, and fingerprints requests with keys derived from them."""

    def __init__(self, keys: Keys) -> None:
        self._current = keys.current
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.by_id.items()}
        self._fingerprint_keys = {key_id: keys.derived("request fingerprint", key_id) for key_id in keys.by_id}

    def seal(self, code: VerificationCode, owner: CodeOwner) -> SealedCode:
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = self._ciphers[self._current].encrypt(nonce, code.characters.encode(), _bound_to(owner))
        return SealedCode(
            crypto_type=0,
            algorithm=ALGORITHM,
            key_id=self._current,
            crypted=base64.b64encode(nonce + sealed).decode(),
        )

    def open(self, sealed: SealedCode, owner: CodeOwner) -> VerificationCode:
        cipher = self._ciphers.get(sealed.key_id)
        if sealed.algorithm != ALGORITHM or cipher is None:
            raise CodeUnreadable(f"there is no key {sealed.key_id!r} for {sealed.algorithm}")
        try:
            raw = base64.b64decode(sealed.crypted, validate=True)
            clear = cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], _bound_to(owner))
        except (InvalidTag, ValueError):
            raise CodeUnreadable("the seal is broken, or another user's") from None
        return VerificationCode(clear.decode())

    def fingerprint(self, request: bytes) -> str:
        return self._fingerprint(self._current, request)

    def is_fingerprint(self, fingerprint: str, request: bytes) -> bool:
        key_id, _, _ = fingerprint.rpartition(":")
        if key_id not in self._fingerprint_keys:
            return False
        return hmac.compare_digest(fingerprint.encode(errors="replace"), self._fingerprint(key_id, request).encode())

    def _fingerprint(self, key_id: str, request: bytes) -> str:
        digest = hmac.new(self._fingerprint_keys[key_id], request, hashlib.sha256).digest()
        return f"{key_id}:{base64.urlsafe_b64encode(digest[:FINGERPRINT_BYTES]).decode()}"


def draw_code(code_format: CodeFormat) -> VerificationCode:
    """A code from the operating system's random source, every character as likely as every other."""
    alphabet = code_format.alphabet
    number = secrets.randbelow(len(alphabet) ** code_format.length)  # one draw for all characters, so still even
    characters = []
    for _ in range(code_format.length):
        number, index = divmod(number, len(alphabet))
        characters.append(alphabet[index])
    return VerificationCode("".join(characters))


def _new_key() -> str:
    return f"{secrets.token_hex(4)}:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}"


@contextlib.contextmanager
def _new_file(path: Path, text: str) -> Iterator[Path]:
    """A file beside *path* with *text*, which the block links or renames to *path*; then that name is on disk."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(f"{text}\n")
            file.flush()
            os.fsync(file.fileno())
        yield fresh
    finally:
        fresh.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    """Have the names in *folder* on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _bound_to(owner: CodeOwner) -> bytes:
    return "\0".join(("phone", owner.instance_id, owner.user_id)).encode()  # no id has a NUL


__all__ = ["AesGcmVault", "Keys", "draw_code"]
