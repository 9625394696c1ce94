"""What can be set, and what is told when it is set wrong."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from humanuser import Policy
from humanuser_adapters.settings import LogFormat, Settings, SmsChoice

SECRET = "k:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="  # noqa: S105 - nobody's


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("HUMANUSER_")]:
        monkeypatch.delenv(name)


def test_nothing_needs_to_be_set() -> None:
    settings = Settings()

    assert settings.model_dump() == {
        "database": "humanuser.sqlite",
        "instance_id": "default",
        "policy": "recommended",
        "sms": SmsChoice.NONE,
        "sms_fallback": SmsChoice.NONE,
        "sms_file": Path("sms.jsonl"),
        "sms_workers": 2,
        "sms_lease_seconds": 20,
        "sms_timeout_seconds": 8,
        "sms_allow_private": False,
        "sms_allow_http": False,
        "outbox_retention_days": 30,
        "twilio_account_sid": None,
        "twilio_auth_token": None,
        "twilio_from": None,
        "twilio_url": "https://api.twilio.com",
        "twilio_status_url": None,
        "twilio_redact": True,
        "webhook_url": None,
        "webhook_keys": None,
        "webhook_style": "standard",
        "sms_per_number_a_day": 20,
        "sms_per_range_an_hour": 100,
        "sms_per_country_an_hour": 1000,
        "code_keys": None,
        "code_key_file": None,
        "zitadel_keys": None,
        "token_file": None,
        "host": "127.0.0.1",
        "port": 8080,
        "grpc_port": None,
        "tls_certificate": None,
        "tls_key": None,
        "metrics_port": None,
        "standstill_seconds": 60,
        "log_format": LogFormat.TEXT,
        "log_level": "info",
    }


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("database", "other.sqlite", "other.sqlite"),
        ("instance_id", "tenant1", "tenant1"),
        ("policy", "zitadel", "zitadel"),
        ("sms", "file", SmsChoice.FILE),
        ("sms_file", "out.jsonl", Path("out.jsonl")),
        ("sms_workers", "64", 64),
        ("sms_lease_seconds", "0.5", 0.5),
        ("sms_timeout_seconds", "30", 30),
        ("sms_allow_private", "true", True),
        ("sms_allow_http", "1", True),
        ("twilio_account_sid", "AC1", "AC1"),
        ("twilio_from", "+15005550006", "+15005550006"),
        ("twilio_url", "https://api.dublin.ie1.twilio.com", "https://api.dublin.ie1.twilio.com"),
        ("twilio_status_url", "https://example.com/status", "https://example.com/status"),
        ("twilio_redact", "no", False),
        ("webhook_url", "https://example.com/sms", "https://example.com/sms"),
        ("webhook_style", "zitadel", "zitadel"),
        ("code_key_file", "keys", Path("keys")),
        ("token_file", "tokens.toml", Path("tokens.toml")),
        ("host", "::1", "::1"),
        ("port", "0", 0),
        ("grpc_port", "8081", 8081),
    ],
)
def test_the_environment_sets_and_an_argument_wins(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: object
) -> None:
    default = getattr(Settings(), name)

    monkeypatch.setenv(f"HUMANUSER_{name.upper()}", text)

    assert getattr(Settings(), name) == value
    assert getattr(Settings(**{name: default}), name) == default


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("port", "http"),
        ("port", "65536"),
        ("port", "-1"),
        ("grpc_port", "0"),
        ("sms", "pigeon"),
        ("sms_workers", "0"),
        ("sms_workers", "65"),
        ("sms_lease_seconds", "0"),
        ("sms_lease_seconds", "inf"),
        ("sms_lease_seconds", "nan"),
        ("sms_fallback", "pigeon"),
        ("sms_timeout_seconds", "0"),
        ("sms_timeout_seconds", "inf"),
        ("sms_timeout_seconds", "nan"),
        ("sms_allow_private", "perhaps"),
        ("webhook_style", "pigeon"),
        ("instance_id", ""),
        ("instance_id", "x" * 201),
    ],
)
def test_a_bad_value_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    monkeypatch.setenv(f"HUMANUSER_{name.upper()}", text)

    with pytest.raises(ValidationError) as error:
        Settings()

    assert [problem["loc"] for problem in error.value.errors()] == [(name,)]


@pytest.mark.parametrize("name", ["code_keys", "twilio_auth_token", "webhook_keys"])
@pytest.mark.parametrize(("wrong", "value"), [("port", "http"), ("sms", "twilio"), ("sms_fallback", "file")])
def test_secrets_are_shown_nowhere(monkeypatch: pytest.MonkeyPatch, name: str, wrong: str, value: str) -> None:
    monkeypatch.setenv(f"HUMANUSER_{name.upper()}", SECRET)

    settings = Settings()
    monkeypatch.setenv(f"HUMANUSER_{wrong.upper()}", value)
    with pytest.raises(ValidationError) as error:
        Settings()

    assert getattr(settings, name).get_secret_value() == SECRET
    for shown in (repr(settings), str(settings), settings.model_dump_json(), str(error.value), repr(error.value)):
        assert SECRET[2:10] not in shown


TWILIO = {"sms": "twilio", "twilio_account_sid": "AC1", "twilio_auth_token": SECRET, "twilio_from": "+15005550006"}
WEBHOOK = {"sms": "webhook", "webhook_url": "https://example.com", "webhook_keys": SECRET}


@pytest.mark.parametrize("provider", [TWILIO, WEBHOOK])
def test_a_provider_needs_to_be_set_up_wholly(provider: dict[str, str]) -> None:
    Settings.model_validate(provider)
    choice, *needed = provider

    for missing in needed:
        for value in ({}, {missing: ""}):
            with pytest.raises(ValidationError, match=f"{provider[choice]} needs {missing}"):
                Settings.model_validate({name: provider[name] for name in provider if name != missing} | value)


@pytest.mark.parametrize("name", ["tls_certificate", "tls_key"])
def test_a_certificate_and_its_key_go_together(name: str) -> None:
    with pytest.raises(ValidationError, match="tls_certificate and tls_key go together"):
        Settings.model_validate({name: "a.pem"})


def test_a_provider_that_stands_in_needs_to_be_set_up_as_well() -> None:
    Settings.model_validate(TWILIO | WEBHOOK | {"sms": "twilio", "sms_fallback": "webhook"})

    with pytest.raises(ValidationError, match="webhook needs webhook_url, webhook_keys"):
        Settings.model_validate(TWILIO | {"sms_fallback": "webhook"})


@pytest.mark.parametrize("sms", ["none", "webhook"])
def test_a_provider_that_stands_in_needs_another_before_it(sms: str) -> None:
    with pytest.raises(ValidationError, match="sms_fallback needs another sms before it"):
        Settings.model_validate(WEBHOOK | {"sms": sms, "sms_fallback": "webhook"})


@pytest.mark.parametrize("provider", [TWILIO, WEBHOOK, WEBHOOK | {"sms": "console", "sms_fallback": "webhook"}])
def test_a_try_ends_before_half_of_its_lease(provider: dict[str, str]) -> None:
    Settings.model_validate(provider | {"sms_timeout_seconds": 9.99})
    Settings.model_validate(provider | {"sms_timeout_seconds": 10, "sms_lease_seconds": 20.1})
    Settings.model_validate({"sms": "file", "sms_lease_seconds": 0.5})  # which calls nobody

    for wrong in ({"sms_timeout_seconds": 10}, {"sms_lease_seconds": 16}):
        with pytest.raises(ValidationError, match="less than half of sms_lease_seconds"):
            Settings.model_validate(provider | wrong)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValidationError, match="colour"):
        Settings.model_validate({"colour": "red"})


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]  # what the test is about


def test_a_policy_is_chosen_by_name() -> None:
    assert Settings().read_policy() == Policy.recommended()
    assert Settings(policy="zitadel").read_policy() == Policy.zitadel()
    assert Policy.zitadel() != Policy.recommended()


def test_a_policy_file_says_what_differs_from_the_recommended_policy(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text('{"code": {"length": 8}, "code_lifetime": "PT5M", "pause_between_codes": null}')

    policy = Settings(policy=str(path)).read_policy()

    assert policy.code.length == 8
    assert policy.code_lifetime == timedelta(minutes=5)
    assert policy.pause_between_codes is None
    assert policy.code_limits == Policy.recommended().code_limits


@pytest.mark.parametrize("text", ["", "[]", '{"code": {"length": 2}}', '{"code_lifetime": 0}', '{"colour": "red"}'])
def test_a_file_that_is_no_policy_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "policy.json"
    path.write_text(text)

    with pytest.raises(ValueError, match="Policy"):
        Settings(policy=str(path)).read_policy()


def test_a_policy_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Settings(policy=str(tmp_path / "missing.json")).read_policy()
