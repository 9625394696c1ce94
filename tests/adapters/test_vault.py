"""Codes are sealed for one owner, with keys that can change, and drawn evenly."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from humanuser import CodeFormat, CodeOwner, CodeUnreadable, Policy, VerificationCode
from humanuser_adapters.vault import KEY_BYTES, NONCE_BYTES, AesGcmVault, Keys, draw_code
from humanuser_adapters.zitadel.codes import WithZitadelCodes

CODE = VerificationCode("271828")
OWNER = CodeOwner("default", "user1")
OLD, NEW = b"o" * KEY_BYTES, b"n" * KEY_BYTES

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


def encoded(key: bytes) -> str:
    return base64.b64encode(key).decode()


@given(texts, texts, texts)
def test_what_is_sealed_for_an_owner_opens_for_that_owner(characters: str, instance_id: str, user_id: str) -> None:
    vault, owner = AesGcmVault(Keys("k", {"k": OLD})), CodeOwner(instance_id, user_id)

    sealed = vault.seal(VerificationCode(characters), owner)

    assert vault.open(sealed, owner).characters == characters


@given(st.tuples(texts, texts), st.tuples(texts, texts))
def test_a_code_opens_for_no_other_owner(owner: tuple[str, str], other: tuple[str, str]) -> None:
    vault = AesGcmVault(Keys("k", {"k": OLD}))
    sealed = vault.seal(CODE, CodeOwner(*owner))

    if owner == other:
        assert vault.open(sealed, CodeOwner(*other)) == CODE
    else:
        with pytest.raises(CodeUnreadable):
            vault.open(sealed, CodeOwner(*other))


@pytest.mark.parametrize(
    "other", [CodeOwner("default", "user2"), CodeOwner("other", "user1"), CodeOwner("defaultu", "ser1")]
)
def test_a_code_of_another_user_or_instance_does_not_open(vault: AesGcmVault, other: CodeOwner) -> None:
    sealed = vault.seal(CODE, OWNER)

    with pytest.raises(CodeUnreadable, match="another user"):
        vault.open(sealed, other)


@pytest.mark.parametrize("place", range(NONCE_BYTES + len(CODE.characters) + 16))
def test_a_byte_that_was_altered_anywhere_breaks_the_seal(vault: AesGcmVault, place: int) -> None:
    sealed = vault.seal(CODE, OWNER)
    raw = bytearray(base64.b64decode(sealed.crypted))

    raw[place] ^= 1

    with pytest.raises(CodeUnreadable):
        vault.open(sealed.model_copy(update={"crypted": encoded(bytes(raw))}), OWNER)


@pytest.mark.parametrize("crypted", ["", "AAAA", "no base64!", "ä", encoded(bytes(NONCE_BYTES)), encoded(bytes(200))])
def test_what_was_never_sealed_does_not_open(vault: AesGcmVault, crypted: str) -> None:
    sealed = vault.seal(CODE, OWNER).model_copy(update={"crypted": crypted})

    with pytest.raises(CodeUnreadable):
        vault.open(sealed, OWNER)


@pytest.mark.parametrize("change", [{"key_id": "lost"}, {"algorithm": "aes"}])
def test_a_code_under_an_unknown_key_or_algorithm_does_not_open(vault: AesGcmVault, change: dict[str, str]) -> None:
    sealed = vault.seal(CODE, OWNER).model_copy(update=change)

    with pytest.raises(CodeUnreadable, match="there is no key"):
        vault.open(sealed, OWNER)


def test_the_same_code_is_sealed_differently_every_time(vault: AesGcmVault) -> None:
    assert len({vault.seal(CODE, OWNER).crypted for _ in range(100)}) == 100


def test_after_a_rotation_old_codes_still_open_and_the_new_key_seals() -> None:
    before = AesGcmVault(Keys.parse(f"old:{encoded(OLD)}"))
    sealed_before = before.seal(CODE, OWNER)

    after = AesGcmVault(Keys.parse(f"new:{encoded(NEW)}, old:{encoded(OLD)}"))
    sealed_after = after.seal(CODE, OWNER)

    assert after.open(sealed_before, OWNER) == CODE
    assert sealed_after.key_id == "new"
    with pytest.raises(CodeUnreadable):
        before.open(sealed_after, OWNER)


SECRET = encoded(bytes(range(KEY_BYTES)))


@pytest.mark.parametrize(
    "text",
    [
        SECRET,  # the id forgotten
        f":{SECRET}",
        f"{SECRET}:key1",  # both swapped
        f"{SECRET}:",
        f"a:{SECRET[:-4]}",
        f"a:{SECRET}{SECRET}",
        f"a:{SECRET[:-1]}",
        f"a:!{SECRET}",
        f"a:ä{SECRET}",
        f"a:{SECRET},{SECRET}",
        f"a:{SECRET},a:{SECRET}",
        f"a:{SECRET};b:{SECRET}",
        "",
        " , ",
    ],
)
def test_keys_that_are_written_wrong_are_refused_without_showing_them(text: str) -> None:
    with pytest.raises(ValueError, match="key") as error:
        Keys.parse(text)

    assert SECRET[:8] not in str(error.value)
    assert error.value.__cause__ is None


@pytest.mark.parametrize(("current", "by_id"), [("b", {"a": OLD}), ("a", {"a": OLD[1:]}), ("a", {"a": OLD, "b": b""})])
def test_keys_must_have_the_current_one_and_the_right_length(current: str, by_id: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match="key"):
        Keys(current, by_id)


def test_keys_and_codes_have_no_readable_repr(vault: AesGcmVault) -> None:
    keys = Keys("id1", {"id1": OLD})

    shown = f"{keys!r} {keys} {CODE!r} {CODE} {vault.seal(CODE, OWNER)!r} {vault!r} {draw_code(CodeFormat())!r}"

    assert "id1" in shown
    assert not any(secret in shown for secret in (repr(OLD), encoded(OLD), CODE.characters, "o" * 8, "crypted"))
    assert [field.name for field in dataclasses.fields(VerificationCode) if field.repr] == []


def test_a_key_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys"

    first, second = Keys.of_file(path), Keys.of_file(path)

    assert first == second
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["keys"]
    assert Keys.of_file(tmp_path / "other").by_id != first.by_id


def test_a_key_file_written_by_hand_is_read(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"new:{encoded(NEW)},\n old:{encoded(OLD)}\n")

    assert Keys.of_file(tmp_path / "keys") == Keys("new", {"new": NEW, "old": OLD})


def test_a_missing_key_file_is_not_made_unless_wanted(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Keys.of_file(tmp_path / "keys", make=False)

    assert list(tmp_path.iterdir()) == []


def test_a_key_is_added_in_front_of_the_others(tmp_path: Path) -> None:
    path = tmp_path / "keys"

    first, second, third = (Keys.add_to_file(path) for _ in range(3))

    assert list(third.by_id) == [third.current, second.current, first.current]
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_broken_key_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("")

    with pytest.raises(ValueError, match="there is no key"):
        Keys.of_file(tmp_path / "keys")

    assert (tmp_path / "keys").read_text() == ""


def test_threads_that_start_together_get_the_same_key(tmp_path: Path) -> None:
    for attempt in range(20):
        keys: list[Keys] = []
        barrier = threading.Barrier(8)

        def start(path: Path, keys: list[Keys] = keys, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            keys.append(Keys.of_file(path))

        threads = [threading.Thread(target=start, args=(tmp_path / f"keys{attempt}",)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(keys) == 8
        assert all(one == keys[0] for one in keys)


STARTS = """
import hashlib, sys
from pathlib import Path
from humanuser_adapters.vault import Keys
print("ready", flush=True)
for path in sys.stdin.read().split():
    keys = Keys.of_file(Path(path))
    print(keys.current, hashlib.sha256(keys.by_id[keys.current]).hexdigest())
"""


def test_processes_that_start_together_get_the_same_keys(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", STARTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path
        )
        for _ in range(4)
    ]
    assert [process.stdout and process.stdout.readline() for process in processes] == ["ready\n"] * 4

    for process in processes:
        assert process.stdin
        process.stdin.write(" ".join(f"keys{number}" for number in range(50)))
        process.stdin.close()
        process.stdin = None
    told = [process.communicate(timeout=30)[0].splitlines() for process in processes]

    keys = [Keys.of_file(tmp_path / f"keys{number}") for number in range(50)]
    assert told == [[f"{one.current} {hashlib.sha256(one.by_id[one.current]).hexdigest()}" for one in keys]] * 4
    assert len(list(tmp_path.iterdir())) == 50


@pytest.mark.parametrize("code_format", [Policy.recommended().code, Policy.zitadel().code, CodeFormat(length=20)])
def test_codes_have_the_length_and_the_alphabet_of_their_format(code_format: CodeFormat) -> None:
    codes = [draw_code(code_format).characters for _ in range(1_000)]

    assert {len(code) for code in codes} == {code_format.length}
    for place in range(code_format.length):
        assert {code[place] for code in codes} == set(code_format.alphabet)
    assert len(set(codes)) > 990


@pytest.mark.parametrize("code_format", [Policy.recommended().code, Policy.zitadel().code])
def test_every_character_is_as_likely_as_every_other(code_format: CodeFormat) -> None:
    codes = [draw_code(code_format).characters for _ in range(10_000)]

    for drawn in ("".join(codes), *("".join(code[place] for code in codes) for place in range(code_format.length))):
        freedom = len(code_format.alphabet) - 1
        expected = len(drawn) / len(code_format.alphabet)
        counts = Counter(drawn)
        chi_square = sum((counts[character] - expected) ** 2 / expected for character in code_format.alphabet)
        assert chi_square < freedom + 8 * (2 * freedom) ** 0.5  # by chance not once in a million runs


def test_a_fingerprint_is_of_one_request_alone(vault: AesGcmVault) -> None:
    fingerprint = vault.fingerprint(b"request")

    assert fingerprint == vault.fingerprint(b"request")
    assert vault.is_fingerprint(fingerprint, b"request")
    assert not vault.is_fingerprint(fingerprint, b"another")


def test_a_fingerprint_cannot_be_made_without_the_key(vault: AesGcmVault) -> None:
    """A plain hash of a code or a number is found by trying all of them."""
    another = AesGcmVault(Keys("key1", {"key1": bytes([1]) * KEY_BYTES}))

    assert another.fingerprint(b"123456") != vault.fingerprint(b"123456")
    assert not another.is_fingerprint(vault.fingerprint(b"123456"), b"123456")


def test_a_fingerprint_of_an_older_key_is_still_checked() -> None:
    old, new = bytes(KEY_BYTES), bytes([1]) * KEY_BYTES
    fingerprint = AesGcmVault(Keys("a:b", {"a:b": old})).fingerprint(b"request")

    rotated = AesGcmVault(Keys("c", {"c": new, "a:b": old}))

    assert rotated.is_fingerprint(fingerprint, b"request")
    assert rotated.fingerprint(b"request") != fingerprint
    assert not AesGcmVault(Keys("c", {"c": new})).is_fingerprint(fingerprint, b"request")


@pytest.mark.parametrize(
    "fingerprint",
    ["", "key1", "key1:", ":", "key2:AAAA", "key1:\ud800", "key1:\N{LATIN SMALL LETTER A WITH DIAERESIS}"],
)
def test_what_is_no_fingerprint_is_that_of_no_request(vault: AesGcmVault, fingerprint: str) -> None:
    assert not vault.is_fingerprint(fingerprint, b"request")


def test_a_vault_for_codes_of_zitadel_fingerprints_as_ours_does(vault: AesGcmVault) -> None:
    both = WithZitadelCodes(vault, {})

    assert both.is_fingerprint(vault.fingerprint(b"request"), b"request")
    assert vault.is_fingerprint(both.fingerprint(b"request"), b"request")
