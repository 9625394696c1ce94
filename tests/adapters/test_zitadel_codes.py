"""Codes that ZITADEL sealed: opened with its key, and nothing told about them."""

from __future__ import annotations

import base64
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from msgspec import Raw
from msgspec.structs import replace

from fakes import FakeClock
from humanuser import By, CodeInvalid, CodeOwner, CodeUnreadable, Policy, SealedCode, VerificationCode
from humanuser_adapters.application import Application
from humanuser_adapters.event_files import EventFile, FileFormat, new_file, write_events
from humanuser_adapters.vault import AesGcmVault
from humanuser_adapters.zitadel.codes import WithZitadelCodes, zitadel_keys
from zitadel_export import zitadel_events

KEY = "passphrasewhichneedstobe32bytes!"
ADA = CodeOwner("default", "ada")


def sealed(characters: str | bytes, key: str = KEY, iv: bytes = bytes(range(16))) -> SealedCode:
    """As a ZITADEL seals: the IV, and the text in AES-CFB behind it."""
    text = characters.encode() if isinstance(characters, str) else characters
    encryptor = Cipher(AES(key.encode()), CFB(iv)).encryptor()
    crypted = base64.b64encode(iv + encryptor.update(text) + encryptor.finalize()).decode()
    return SealedCode(algorithm="aes", key_id="userKey", crypted=crypted)


@pytest.fixture
def codes(vault: AesGcmVault) -> WithZitadelCodes:
    return WithZitadelCodes(vault, zitadel_keys(f"userKey:{KEY}"))


def test_what_zitadel_sealed_is_opened(codes: WithZitadelCodes) -> None:
    assert codes.open(sealed("A1B2C3"), ADA) == VerificationCode("A1B2C3")
    assert codes.open(sealed("0123456789ABCDEFGHIJ"), ADA) == VerificationCode("0123456789ABCDEFGHIJ")


def test_a_value_that_another_program_sealed_is_opened(codes: WithZitadelCodes) -> None:
    """Made with ``openssl enc -aes-256-cfb -K … -iv …``."""
    of_openssl = SealedCode(algorithm="aes", key_id="userKey", crypted="AAECAwQFBgcICQoLDA0ODzNRxYR4bQ==")

    assert codes.open(of_openssl, ADA) == VerificationCode("A1B2C3")


def test_our_own_are_sealed_and_opened_as_ever(codes: WithZitadelCodes, vault: AesGcmVault) -> None:
    ours = codes.seal(VerificationCode("123456"), ADA)

    assert codes.open(ours, ADA) == vault.open(ours, ADA) == VerificationCode("123456")


@pytest.mark.parametrize(
    "spoilt",
    [
        sealed("A1B2C3", key="another passphrase of 32 bytes!!"),
        sealed("A1B2C3").model_copy(update={"key_id": "otherKey"}),
        sealed("A1B2C3").model_copy(update={"crypted": "no base64"}),
        sealed("A1B2C3").model_copy(update={"crypted": "AAAA"}),
        sealed(""),
        sealed("A" * 21),
        sealed(b"A\x001"),
        sealed("Aé"),
    ],
)
def test_what_cannot_be_opened_says_nothing_of_what_it_holds(spoilt: SealedCode, codes: WithZitadelCodes) -> None:
    with pytest.raises(CodeUnreadable) as refusal:
        codes.open(spoilt, ADA)

    assert "A1B2" not in str(refusal.value)
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None


def test_keys_are_the_characters_that_zitadel_uses() -> None:
    other = "with,a comma and: a colon, 32 b!"

    assert zitadel_keys(f"userKey:{KEY}, otpKey:{other}") == {"userKey": KEY.encode(), "otpKey": other.encode()}
    assert zitadel_keys("") == {}


@pytest.mark.parametrize("text", [KEY, f":{KEY}", f"userKey:{KEY}x", f"userKey:{KEY[1:]}", f"userKey:{KEY},x"])
def test_keys_that_are_none_are_told_without_showing_them(text: str) -> None:
    with pytest.raises(ValueError, match="must be written as id:key, with 32 characters") as refusal:
        zitadel_keys(text)

    assert "passphrase" not in str(refusal.value)


def test_a_code_of_an_imported_user_proves_the_number(
    codes: WithZitadelCodes, clock: FakeClock, tmp_path: Path
) -> None:
    added = next(zitadel_events(1, 1))
    code = sealed("A1B2C3").model_dump_json(by_alias=True)
    payloads = {
        "added": '{"userName": "ada"}',
        "phone.changed": '{"phone": "+41791234567"}',
        "phone.code.added": f'{{"code": {code}, "expiry": 3600000000000}}',
    }
    rows = [
        replace(
            added,
            instance_id="default",
            event_type=f"user.human.{name}",
            sequence=sequence,
            payload=Raw(payload.encode()),
        )
        for sequence, (name, payload) in enumerate(payloads.items(), 1)
    ]
    with new_file(tmp_path / "ada.jsonl") as file:
        write_events(rows, file, "ada.jsonl", FileFormat.JSON)
    clock.now = added.created_at + timedelta(minutes=30)
    ada = By(added.aggregate_id, added.owner)

    with Application(tmp_path / "test.sqlite", codes, clock=clock, policy=Policy.zitadel()) as application:
        application.import_events(EventFile(tmp_path / "ada.jsonl"))
        with pytest.raises(CodeInvalid):
            application.commands.verify_phone(added.aggregate_id, "A1B2C4", by=ada)
        application.commands.verify_phone(added.aggregate_id, "A1B2C3", by=ada)
        found = application.find_user(added.aggregate_id)

    assert found is not None
    assert found[1].verified
