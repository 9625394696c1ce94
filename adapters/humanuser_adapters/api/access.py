"""Who calls, and whether they may: the answers of ZITADEL's authorization, in its order."""

from __future__ import annotations

import hashlib

from humanuser import LONGEST_TEXT, Authenticator, Caller, is_clean_text
from humanuser_adapters.api.call import Call, require_permission
from humanuser_adapters.api.methods import Method
from humanuser_adapters.api.status import CallError, Code

_SCHEME = "Bearer "


def authenticate(authenticator: Authenticator, authorization: str | None) -> Caller:
    """The caller whom the ``Authorization`` header proves. Raises ``CallError`` (Unauthenticated)."""
    if not authorization:
        raise CallError(Code.UNAUTHENTICATED, "auth header missing")
    if not authorization.startswith(_SCHEME):
        raise CallError(Code.UNAUTHENTICATED, "invalid auth header", "AUTH-toLo1")
    caller = authenticator.authenticate(authorization.removeprefix(_SCHEME))
    if caller is None:
        raise CallError(Code.UNAUTHENTICATED, "Errors.Token.Invalid", "AUTH-7fs1e")
    return caller


def authorize(caller: Caller, method: Method, *, organization: str | None, command_key: str | None) -> Call:
    """The call that *caller* may make of *method*; *organization* is the header's, if there is one.

    A method without a permission of its own is about the caller, or looks by itself. Raises ``CallError``: NotFound
    where the caller has no part in the organization, PermissionDenied where it is too small.
    """
    chosen = organization if organization and method.permission else caller.organization
    if method.permission:
        require_permission(caller, chosen, method.permission, error_id="AUTH-5mWD2")
    return Call(caller, chosen, _command_id(caller, method, command_key))


def _command_id(caller: Caller, method: Method, key: str | None) -> str | None:
    """The command's id: the same key means another command to another caller, and on another method."""
    if key is None:
        return None
    if not is_clean_text(key):
        raise CallError(Code.INVALID_ARGUMENT, f"Idempotency-Key must be 1 to {LONGEST_TEXT} printable characters")
    return hashlib.sha256("\0".join((caller.user_id, method.name, key)).encode()).hexdigest()
