"""Settings, read once from the environment: ``HUMANUSER_DATABASE`` and so on."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from humanuser import Policy
from humanuser_adapters.database_name import is_url, postgresql_url


class SmsChoice(StrEnum):
    """Where an SMS goes."""

    NONE = "none"
    CONSOLE = "console"
    FILE = "file"
    TWILIO = "twilio"
    WEBHOOK = "webhook"


class LogFormat(StrEnum):
    """How lines of the log are written."""

    TEXT = "text"
    JSON = "json"


PROVIDERS = {
    SmsChoice.TWILIO: ("twilio_account_sid", "twilio_auth_token", "twilio_from"),
    SmsChoice.WEBHOOK: ("webhook_url", "webhook_keys"),
}
"""Those who are called over the network, and what must be set for them."""


class Settings(BaseSettings):
    """Everything that can be set. An argument of the command line wins over the environment."""

    model_config = SettingsConfigDict(
        env_prefix="HUMANUSER_", frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True
    )

    database: str = Field(
        "humanuser.sqlite",
        min_length=1,
        repr=False,  # a URL may hold a password
        description="The SQLite file, which is made if it is not there; or `postgresql://…`, the URL of a database.",
    )
    instance_id: str = Field("default", min_length=1, max_length=200, description="The tenant.")
    policy: str = Field(
        "recommended",
        description="`recommended`, `zitadel`, or a JSON file with the numbers that differ from the first.",
    )
    sms: SmsChoice = Field(
        SmsChoice.NONE, description="`none`, `console`, `file` (JSON lines in `sms_file`), `twilio` or `webhook`."
    )
    sms_fallback: SmsChoice = Field(
        SmsChoice.NONE, description="The same, for an SMS that `sms` refuses, or while it does not work."
    )
    sms_file: Path = Field(Path("sms.jsonl"), description="Where `sms=file` writes.")
    sms_workers: int = Field(2, ge=1, le=64, description="How many SMS a process sends at once.")
    sms_lease_seconds: float = Field(20, gt=0, le=3600, description="How long one worker has an SMS for itself.")
    sms_timeout_seconds: float = Field(
        8, gt=0, le=1800, description="How long a try may take, of all providers together; less than half of the lease."
    )
    sms_allow_private: bool = Field(
        False, description="Whether a provider's address may be private, such as this machine."
    )
    sms_allow_http: bool = Field(False, description="Whether a provider may be called without TLS.")
    sms_per_number_a_day: int = Field(20, ge=0, description="How many SMS one number may get; 0: any.")
    sms_per_range_an_hour: int = Field(
        100, ge=0, description="How many SMS the numbers that differ in their last three digits may get; 0: any."
    )
    sms_per_country_an_hour: int = Field(1000, ge=0, description="How many SMS one country may get; 0: any.")
    outbox_retention_days: int = Field(
        30, ge=0, le=36500, description="How many days a settled SMS stays in the outbox; 0: for ever."
    )
    twilio_account_sid: str | None = Field(None, description="The account at Twilio, `AC…`.")
    twilio_auth_token: SecretStr | None = Field(None, description="Its auth token.")
    twilio_from: str | None = Field(None, description="A number, a name, or the SID `MG…` of a messaging service.")
    twilio_url: str = Field(
        "https://api.twilio.com", repr=False, description="Twilio's API, of another region perhaps."
    )
    twilio_status_url: str | None = Field(
        None, repr=False, description="The URL that Twilio tells what becomes of an SMS."
    )
    twilio_redact: bool = Field(
        True, description="Whether Twilio is to keep neither text nor number; the account needs Message Redaction."
    )
    webhook_url: str | None = Field(None, repr=False, description="Where `sms=webhook` posts.")
    webhook_keys: SecretStr | None = Field(
        None, description="Keys that sign, `whsec_` and base64 of 24 to 64 bytes, comma between; each of them signs."
    )
    webhook_style: Literal["standard", "zitadel"] = Field(
        "standard", description="`standard`: Standard Webhooks; `zitadel`: ZITADEL's body and signature, and its keys."
    )
    code_keys: SecretStr | None = Field(
        None, description="Keys that seal codes, `id:base64` of 32 bytes, comma between; the first one seals."
    )
    code_key_file: Path | None = Field(
        None,
        description="A file with the same; made with a new key for a new database. Default: beside the SQLite file.",
    )
    zitadel_keys: SecretStr | None = Field(
        None,
        description="Keys that open what a ZITADEL sealed, `id:` and the 32 characters it uses, comma between.",
    )
    token_file: Path | None = Field(None, description="The TOML file of tokens that `humanuser token add` writes.")
    host: str = Field("127.0.0.1", description="The address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="The port to listen on; 0 takes a free one.")
    grpc_port: int | None = Field(
        None, ge=1, le=65535, description="A port of its own for gRPC. Default: it is on the same one as all else."
    )
    tls_certificate: Path | None = Field(
        None,
        description="The certificate and those that vouch for it, a PEM file; with it only TLS is spoken.",
    )
    tls_key: Path | None = Field(None, description="The key of `tls_certificate`, as a PEM file.")
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="A port of its own, on the same address, where Prometheus finds metrics; 0 takes a free one.",
    )
    standstill_seconds: float = Field(
        60,
        gt=0,
        le=86_400,
        description="How long events may wait for an open transaction, or for a subscription that does not move, "
        "before the server reports that it is not ready.",
    )
    log_format: LogFormat = Field(LogFormat.TEXT, description="`text`, or `json`: a line of JSON for each record.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least important records that are logged: `debug`, `info`, `warning` or `error`."
    )

    @model_validator(mode="after")
    def _providers_are_set_up(self) -> Self:
        chosen = [choice for choice in (self.sms, self.sms_fallback) if choice in PROVIDERS]
        for choice in chosen:
            if missing := [name for name in PROVIDERS[choice] if not getattr(self, name)]:
                raise ValueError(f"{choice} needs {', '.join(missing)}")
        if self.sms_fallback is not SmsChoice.NONE and self.sms in (SmsChoice.NONE, self.sms_fallback):
            raise ValueError("sms_fallback needs another sms before it")
        if chosen and self.sms_timeout_seconds >= self.sms_lease_seconds / 2:
            raise ValueError("sms_timeout_seconds must be less than half of sms_lease_seconds")
        return self

    @model_validator(mode="after")
    def _certificate_is_whole(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")
        return self

    @classmethod
    def variables(cls) -> dict[str, str]:
        """The variable of the environment of each setting."""
        return {name: f"{cls.model_config['env_prefix']}{name.upper()}" for name in cls.model_fields}

    @classmethod
    def strangers(cls, environment: Iterable[str]) -> list[str]:
        """Names of the *environment* that look like settings and are none: misspelt, perhaps."""
        prefix, known = cls.model_config["env_prefix"], cls.variables().values()
        return sorted(name for name in environment if name.upper().startswith(prefix) and name.upper() not in known)

    @field_validator("database")
    @classmethod
    def _database_is_a_file_or_a_url(cls, database: str) -> str:
        if is_url(database):
            postgresql_url(database)
        return database

    @property
    def sqlite_file(self) -> Path | None:
        """The file; None: the database is a URL."""
        return None if is_url(self.database) else Path(self.database)

    @property
    def key_file(self) -> Path | None:
        """The file with the keys of codes; None: there is no place for one."""
        file = self.sqlite_file
        return self.code_key_file or (file and file.with_name(f"{file.name}.keys"))

    def read_policy(self) -> Policy:
        """The policy that is chosen. Raises ``ValueError`` or ``OSError`` if its file is no policy."""
        if self.policy == "recommended":
            return Policy.recommended()
        if self.policy == "zitadel":
            return Policy.zitadel()
        return Policy.model_validate_json(Path(self.policy).read_bytes())


__all__ = ["LogFormat", "Settings", "SmsChoice"]
