"""Who calls, and what they may do where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

EVERY_ORGANIZATION = "*"
"""Stands for all organizations of the instance; no organization has this id."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody whose identity is proven."""

    user_id: str
    organization: str
    permissions: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Permissions such as ``user.write`` by organization, or under ``EVERY_ORGANIZATION``."""

    def permissions_in(self, organization: str) -> frozenset[str] | None:
        """What the caller may do in *organization*; None: they have no part in it."""
        granted = [self.permissions[key] for key in (organization, EVERY_ORGANIZATION) if key in self.permissions]
        return frozenset().union(*granted) if granted else None
