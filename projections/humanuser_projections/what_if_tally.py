"""What another policy would have refused, counted over all users."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from humanuser_projections.past_commands import CommandKind, Refusal
from humanuser_projections.refusal_timeline import RefusalTimeline
from humanuser_projections.what_if import JudgedCommand


class WhatIfTally:
    """Counts judged commands, user by user. What it keeps does not grow with them.

    Commands that are refused because an earlier one was are counted apart, as those that follow.
    """

    def __init__(self, *, most_examples: int = 10) -> None:
        self.users = 0
        self.users_refused = 0
        """Those with a command that is refused."""
        self.commands: Counter[CommandKind] = Counter()
        """All that were judged."""
        self.refused: Counter[CommandKind] = Counter()
        self.following: Counter[CommandKind] = Counter()
        self.refusals: Counter[Refusal] = Counter()
        """Why they are refused, without those that follow; as often as *refused* in all."""
        self.timeline = RefusalTimeline()
        """The same, over time."""
        self.examples: list[JudgedCommand] = []
        """The first ones of these."""
        self._most_examples = most_examples

    def add_user(self, judged: Iterable[JudgedCommand]) -> None:
        """Count what was *judged* of one user."""
        before = self.refused.total()
        for command in judged:
            self._add(command)
        self.users += 1
        self.users_refused += self.refused.total() > before

    def _add(self, command: JudgedCommand) -> None:
        self.commands[command.kind] += 1
        if command.refusal is None:
            return
        if command.follows:
            self.following[command.kind] += 1
            return
        self.refused[command.kind] += 1
        self.refusals[command.refusal] += 1
        self.timeline.add(command.refusal, command.created_at)
        if len(self.examples) < self._most_examples:
            self.examples.append(command)
