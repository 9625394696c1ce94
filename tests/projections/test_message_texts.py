"""An SMS speaks the language of its reader, and what is put into its text stays what it is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from humanuser import (
    Event,
    HumanUserAdded,
    HumanUserSelfRegistered,
    PhoneChanged,
    PhoneNumber,
    ProfileChanged,
    VerificationCode,
)
from humanuser.testing import history
from humanuser_projections import MessageTexts, preferred_language
from humanuser_projections.message_texts import TEXTS

CODE = VerificationCode("271828")
ENGLISH = "271828 is your code to confirm this phone number. Give it to nobody else."
GERMAN = "271828 ist der Code zur Bestätigung dieser Telefonnummer. Bitte niemandem weitergeben."
GSM_7 = set(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", ENGLISH),
        ("EN", ENGLISH),
        ("en-GB", ENGLISH),
        ("de", GERMAN),
        ("De", GERMAN),
        ("de-CH", GERMAN),
        ("de_AT", GERMAN),
        ("de-Latn-CH-1996", GERMAN),
        ("und", ENGLISH),
        ("", ENGLISH),
        ("fr", ENGLISH),
        ("fr-DE", ENGLISH),
        ("den", ENGLISH),
        ("-", ENGLISH),
        ("de\n", ENGLISH),
    ],
)
def test_a_text_is_in_the_language_or_the_nearest_there_is(language: str, text: str) -> None:
    assert MessageTexts().text(CODE, language) == text


def test_a_region_may_have_a_text_of_its_own() -> None:
    texts = MessageTexts(templates={"en": "{code} en", "de": "{code} de", "de-ch": "{code} ch"})

    assert texts.text(CODE, "de-CH") == "271828 ch"
    assert texts.text(CODE, "de-CH-1996") == "271828 ch"
    assert texts.text(CODE, "de-AT") == "271828 de"


@pytest.mark.parametrize("language", list(TEXTS))
def test_a_text_fits_into_one_sms_also_with_a_domain(language: str) -> None:
    text = MessageTexts(web_otp_domain="login.some-company.example.com").text(VerificationCode("12345678"), language)

    assert len(text) <= 160
    assert set(text) <= GSM_7


@pytest.mark.parametrize("language", list(TEXTS))
def test_the_code_comes_first_and_once(language: str) -> None:
    text = MessageTexts().text(CODE, language)

    assert text.startswith("271828 ")
    assert text.count("271828") == 1
    assert "{" not in text


def test_the_last_line_is_for_the_form_of_a_website() -> None:
    text = MessageTexts(web_otp_domain="login.example.com").text(CODE, "de")

    assert text == f"{GERMAN}\n@login.example.com #271828"
    assert re.fullmatch(r"@\S+ #\S+", text.splitlines()[-1])


@pytest.mark.parametrize("code", ["{code}", "%s", "{0}", "\\1", "\\g<0>", "${jndi:ldap://x}", "{{.Code}}", "@evil.com"])
@pytest.mark.parametrize("domain", ["", "example.com"])
def test_what_is_put_in_is_not_read_as_a_template(code: str, domain: str) -> None:
    text = MessageTexts(templates={"en": "{code}|%s|{0}|{code}"}, web_otp_domain=domain).text(
        VerificationCode(code), "en"
    )

    assert text.splitlines()[0] == f"{code}|%s|{{0}}|{code}"
    assert text.splitlines()[1:] == ([f"@example.com #{code}"] if domain else [])


@given(st.text(), st.text())
def test_whatever_a_language_is_called_there_is_a_text(language: str, characters: str) -> None:
    text = MessageTexts().text(VerificationCode(characters), language)

    assert text in {template.replace("{code}", characters) for template in TEXTS.values()}


@pytest.mark.parametrize("templates", [{}, {"de": "{code}"}, {"EN": "{code}"}])
def test_there_must_be_a_text_to_fall_back_to(templates: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="the language en"):
        MessageTexts(templates=templates)


@pytest.mark.parametrize("template", ["", "your code", "{Code}", "{ code }"])
def test_a_text_without_a_place_for_the_code_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="place for the"):
        MessageTexts(templates={"en": "{code}", "de": template})


@pytest.mark.parametrize(
    "domain",
    [
        "https://example.com",
        "example.com/path",
        "example.com\n",
        "a b",
        "@example.com",
        "example.com #1",
        "ä.com",
        "-a.com",
        ".",
    ],
)
def test_a_domain_that_is_none_is_refused(domain: str) -> None:
    with pytest.raises(ValueError, match="host name"):
        MessageTexts(web_otp_domain=domain)


@pytest.mark.parametrize("domain", ["example.com", "a", "Login.Example.COM", "xn--4ca.com", "1.2.3.4", "a-b.c"])
def test_a_domain_is_a_host_name(domain: str) -> None:
    assert MessageTexts(web_otp_domain=domain).text(CODE, "en").endswith(f"\n@{domain} #271828")


@pytest.mark.parametrize(
    ("events", "language"),
    [
        ([], "und"),
        ([HumanUserAdded(user_name="ada")], "und"),
        ([HumanUserAdded(user_name="ada", preferred_language="de-CH")], "de-CH"),
        ([HumanUserSelfRegistered(user_name="ada", preferred_language="de")], "de"),
        ([PhoneChanged(phone=PhoneNumber("+41791234567"))], "und"),
        (
            [
                HumanUserAdded(user_name="ada", preferred_language="fr"),
                PhoneChanged(phone=PhoneNumber("+41791234567")),
            ],
            "fr",
        ),
        ([HumanUserAdded(user_name="ada", preferred_language="fr"), ProfileChanged(preferred_language="de")], "de"),
        ([HumanUserAdded(user_name="ada", preferred_language="fr"), ProfileChanged()], "fr"),
    ],
)
def test_the_language_is_the_one_that_the_user_chose_last(events: list[Event], language: str) -> None:
    assert preferred_language(history(*events)) == language


def test_no_code_is_shown() -> None:
    assert "271828" not in repr((MessageTexts(), CODE))
