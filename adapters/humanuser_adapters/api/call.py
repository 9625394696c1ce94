"""A call: who makes it, and for which organization."""

from __future__ import annotations

from dataclasses import dataclass

from humanuser import EVERY_ORGANIZATION, By, Caller, is_clean_text
from humanuser_adapters.api.status import CallError, Code


@dataclass(frozen=True, slots=True)
class Call:
    """A call, apart from its request."""

    caller: Caller
    organization: str
    """The one that the call is about: of the header, or the caller's own."""
    command_id: str | None = None

    @property
    def by(self) -> By:
        """Who is to be recorded as the one who asked, about users of that organization."""
        return By(self.caller.user_id, organization=self.organization, command_id=self.command_id)

    @property
    def by_anywhere(self) -> By:
        """The same, about users of all organizations."""
        return By(self.caller.user_id, command_id=self.command_id)

    def permit(self, organization: str) -> None:
        """Raise ``CallError`` unless the caller may change users of *organization*."""
        require_permission(self.caller, organization, "user.write", error_id="AUTH-AWfge")


def require_permission(caller: Caller, organization: str, permission: str, *, error_id: str) -> None:
    """Raise ``CallError``: NotFound where the caller has no part in *organization*, PermissionDenied where it is too
    small; *error_id* is that of the second.
    """
    permissions = caller.permissions_in(organization)
    if permissions is None or organization == EVERY_ORGANIZATION or not is_clean_text(organization):
        raise CallError(Code.NOT_FOUND, "membership not found", "AUTHZ-cdgFk")
    if permission not in permissions:
        raise CallError(Code.PERMISSION_DENIED, "No matching permissions found", error_id)
