"""Our own package called domain: humanuser's is called humanuser, so neither is in the other's way."""

from domain.users import EmailTaken, OurUsers

__all__ = ["EmailTaken", "OurUsers"]
