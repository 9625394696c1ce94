"""Settings, read once from the environment: ``HUMANUSER_DATABASE`` and so on."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from humanuser import Policy


class SmsChoice(StrEnum):
    """Where an SMS goes."""

    NONE = "none"
    CONSOLE = "console"
    FILE = "file"


class Settings(BaseSettings):
    """Everything that can be set. An argument of the command line wins over the environment."""

    model_config = SettingsConfigDict(env_prefix="HUMANUSER_", frozen=True, extra="forbid", validate_default=True)

    database: Path = Field(Path("humanuser.sqlite"), description="The SQLite file; it is made if it is not there.")
    instance_id: str = Field("default", min_length=1, max_length=200, description="The tenant.")
    policy: str = Field(
        "recommended",
        description="`recommended`, `zitadel`, or a JSON file with the numbers that differ from the first.",
    )
    sms: SmsChoice = Field(
        SmsChoice.NONE, description="`none`: nothing is sent; `console`: printed; `file`: a line of JSON in `sms_file`."
    )
    sms_file: Path = Field(Path("sms.jsonl"), description="Where `sms=file` writes.")
    sms_workers: int = Field(2, ge=1, le=64, description="How many SMS a process sends at once.")
    sms_lease_seconds: float = Field(20, gt=0, le=3600, description="How long one worker has an SMS for itself.")
    code_keys: SecretStr | None = Field(
        None, description="Keys that seal codes, `id:base64` of 32 bytes, comma between; the first one seals."
    )
    code_key_file: Path | None = Field(
        None, description="A file with the same; made with a new key if it is not there. Default: beside the database."
    )
    token_file: Path | None = Field(None, description="The TOML file of tokens that `humanuser token add` writes.")
    host: str = Field("127.0.0.1", description="The address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="The port to listen on; 0 takes a free one.")

    def read_policy(self) -> Policy:
        """The policy that is chosen. Raises ``ValueError`` or ``OSError`` if its file is no policy."""
        if self.policy == "recommended":
            return Policy.recommended()
        if self.policy == "zitadel":
            return Policy.zitadel()
        return Policy.model_validate_json(Path(self.policy).read_bytes())
