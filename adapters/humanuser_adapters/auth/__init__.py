"""Ways to tell who calls."""

from humanuser_adapters.auth.roles import PERMISSIONS, ROLES, permissions_of
from humanuser_adapters.auth.tokens import DevelopmentToken, TokenFile, add_to_token_file, new_token

__all__ = ["PERMISSIONS", "ROLES", "DevelopmentToken", "TokenFile", "add_to_token_file", "new_token", "permissions_of"]
