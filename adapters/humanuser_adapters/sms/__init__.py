"""Ways for an SMS to leave the house."""

from humanuser_adapters.sms.console import ConsoleSms
from humanuser_adapters.sms.file import FileSms

__all__ = ["ConsoleSms", "FileSms"]
