"""The main job on our own table: change, a text with a code, verify."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from humanuser import CodeInvalid, PhoneInvalid, PhoneNumber, UserAlreadyExists
from our_phones import OurPhones

ADA = "264170294872178691"
NUMBER = "+41791234567"
KEY = bytes(32)  # a real one comes from secrets.token_bytes(32), and stays out of the code
Texts = list[tuple[str, str]]


@pytest.fixture
def texts() -> Texts:
    """What was sent, to which number."""
    return []


@pytest.fixture
def phones(tmp_path: Path, texts: Texts) -> OurPhones:
    """Our phones, and Ada among our users."""
    phones = OurPhones(str(tmp_path / "ours.sqlite"), KEY, lambda to, text: texts.append((to, text)))
    phones.add_user(ADA, "ada")
    return phones


def test_a_user_proves_a_new_number_with_the_code_of_the_text(phones: OurPhones, texts: Texts) -> None:
    phones.change(ADA, "+41 79 123 45 67")
    [(to, text)] = texts
    assert to == NUMBER
    assert not phones.user(ADA).phone_verified

    phones.verify(ADA, re.findall(r"\d{6}", text)[0])

    assert phones.user(ADA).phone == PhoneNumber(NUMBER)
    assert phones.user(ADA).phone_verified


def test_a_wrong_code_counts(phones: OurPhones) -> None:
    phones.change(ADA, NUMBER)

    with pytest.raises(CodeInvalid):
        phones.verify(ADA, "wrong")

    assert phones.user(ADA).failures_in_a_row == 1


def test_what_is_refused_leaves_no_event_and_no_text(phones: OurPhones, texts: Texts) -> None:
    with pytest.raises(PhoneInvalid):
        phones.change(ADA, "+4912")
    with pytest.raises(UserAlreadyExists):
        phones.add_user(ADA, "ada")

    assert phones.user(ADA).sequence == 1
    assert texts == []


def test_the_table_does_not_tell_the_code(phones: OurPhones, texts: Texts, tmp_path: Path) -> None:
    phones.change(ADA, NUMBER)

    [(_, text)] = texts
    assert re.findall(r"\d{6}", text)[0].encode() not in (tmp_path / "ours.sqlite").read_bytes()


def test_neither_the_adapters_nor_what_they_need_is_imported() -> None:
    program = "import sys, our_phones; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    heavy = {"cryptography", "eventsourcing", "humanuser_adapters", "humanuser_projections", "msgspec"}
    assert heavy & set(done.stdout.split()) == set()
