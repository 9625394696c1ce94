"""ZITADEL's roles, and the permissions about users that they hold by default."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from humanuser import EVERY_ORGANIZATION

PERMISSIONS = ("user.read", "user.write")
"""What a caller may be allowed to do with users."""

_WRITERS = (
    "IAM_OWNER",
    "IAM_ORG_MANAGER",
    "IAM_USER_MANAGER",
    "IAM_LOGIN_CLIENT",
    "ORG_OWNER",
    "ORG_USER_MANAGER",
)
_READERS = (
    "IAM_OWNER_VIEWER",
    "ORG_OWNER_VIEWER",
    "ORG_USER_PERMISSION_EDITOR",
    "ORG_PROJECT_PERMISSION_EDITOR",
    "PROJECT_OWNER",
    "PROJECT_OWNER_VIEWER",
    "PROJECT_GRANT_OWNER",
    "PROJECT_GRANT_OWNER_VIEWER",
)

ROLES: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(_WRITERS, frozenset(PERMISSIONS)),
    **dict.fromkeys(_READERS, frozenset({"user.read"})),
    "ORG_USER_SELF_MANAGER": frozenset(),
}
"""Permissions by role. A role whose name begins with ``IAM_`` holds in every organization of the instance."""


def permissions_of(roles: Iterable[str], organization: str) -> dict[str, frozenset[str]]:
    """Permissions by organization of somebody who has *roles* in *organization*.

    Raises ``ValueError`` for a role that is not in ``ROLES``.
    """
    permissions: dict[str, frozenset[str]] = {}
    for role in roles:
        if role not in ROLES:
            raise ValueError(f"there is no role {role!r}; there are {', '.join(ROLES)}")
        where = EVERY_ORGANIZATION if role.startswith("IAM_") else organization
        permissions[where] = permissions.get(where, frozenset()) | ROLES[role]
    return permissions
